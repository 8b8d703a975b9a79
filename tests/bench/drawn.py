"""Pictures that are drawn: documents, screens, charts and maps, many of one layout with other contents.

    python -m tests.bench.drawn DIR [--count N]

Writes N of each kind as PNG. Those of one kind and layout show different things and look alike at 32 px: what a program
that looks for copies must tell apart.
"""

import argparse
import os
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFont

WORDS = """harbour kettle march willow copper ledger bridge meadow candle orchard ribbon gravel lantern pepper saddle
timber velvet walnut anchor basket cellar dagger ember falcon garden hammer island jacket kernel locket marble
needle""".split()  # noqa: SIM905 - a list of so many literals is one word a line
LAYOUTS = 3  # of each kind


def font(px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow."""
    return ImageFont.load_default(max(7, round(px)))


def words(rng: random.Random, count: int) -> str:
    """So many words of ours."""
    return " ".join(rng.choice(WORDS) for _ in range(count))


def amount(rng: random.Random) -> str:
    """A sum of money."""
    return f"{rng.randint(1, 980)}.{rng.randint(0, 99):02d}"


def invoice(layout: random.Random, rng: random.Random) -> Image.Image:
    """A page with a letterhead and a table of sums."""
    page = Image.new("RGB", (992, 1403), (253, 253, 251))
    draw = ImageDraw.Draw(page)
    ink = layout.choice(((20, 20, 24), (30, 30, 60)))
    draw.text((80, 70), words(layout, 2).title(), font=font(38), fill=ink)
    draw.rectangle((700, 60, 900, 150), outline=ink, width=3)
    draw.text((720, 90), words(layout, 1), font=font(24), fill=ink)
    draw.text(
        (80, 240),
        f"Invoice {rng.randint(1000, 9999)}   {rng.randint(1, 28)}.{rng.randint(1, 12)}.2024",
        font=font(24),
        fill=ink,
    )
    top = 340 + layout.randrange(0, 90, 30)
    for row in range(layout.randint(6, 12)):
        y = top + row * 44
        draw.text((80, y), words(layout, 3), font=font(20), fill=ink)
        draw.text((760, y), amount(rng), font=font(20), fill=ink)
        draw.line((80, y + 34, 900, y + 34), fill=(190, 190, 190))
    draw.text((640, top + 14 * 44), f"Total  {amount(rng)}", font=font(26), fill=ink)
    return page


def receipt(layout: random.Random, rng: random.Random) -> Image.Image:
    """A long narrow slip."""
    page = Image.new("RGB", (420, 900), (246, 246, 242))
    draw = ImageDraw.Draw(page)
    draw.text((110, 30), words(layout, 1).upper(), font=font(34), fill=(40, 40, 40))
    for row in range(layout.randint(10, 16)):
        y = 130 + row * 36
        draw.text((30, y), words(layout, 2), font=font(18), fill=(50, 50, 50))
        draw.text((310, y), amount(rng), font=font(18), fill=(50, 50, 50))
    draw.text((30, 760), f"SUM {amount(rng)}", font=font(26), fill=(30, 30, 30))
    draw.text(
        (30, 820),
        f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}  no {rng.randint(10**6, 10**7)}",
        font=font(16),
        fill=(60, 60, 60),
    )
    return page


def statement(layout: random.Random, rng: random.Random) -> Image.Image:
    """A phone's screen with an account."""
    dark = layout.random() < 0.5
    page = Image.new("RGB", (540, 1170), (18, 20, 26) if dark else (244, 245, 248))
    draw = ImageDraw.Draw(page)
    ink = (235, 235, 240) if dark else (24, 26, 32)
    draw.rectangle((0, 0, 540, 120), fill=layout.choice(((190, 40, 40), (20, 90, 170), (20, 120, 80))))
    draw.text((30, 60), words(layout, 1).title(), font=font(34), fill="white")
    draw.text((30, 170), f"{amount(rng)} EUR", font=font(48), fill=ink)
    for row in range(layout.randint(7, 10)):
        y = 300 + row * 84
        draw.ellipse((30, y, 78, y + 48), fill=layout.choice(((90, 140, 220), (220, 140, 60), (120, 180, 110))))
        draw.text((100, y + 10), words(layout, 2).title(), font=font(22), fill=ink)
        draw.text((420, y + 10), f"-{amount(rng)}", font=font(22), fill=ink)
    return page


def chat(layout: random.Random, rng: random.Random) -> Image.Image:
    """Bubbles with text."""
    page = Image.new("RGB", (540, 1170), (229, 221, 213))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 540, 90), fill=(7, 94, 84))
    draw.text((60, 30), words(layout, 1).title(), font=font(28), fill="white")
    y = 120
    while y < 1040:
        mine, lines = layout.random() < 0.5, layout.randint(1, 3)
        left = 120 if mine else 20
        draw.rounded_rectangle(
            (left, y, left + 400, y + 24 + 32 * lines), 14, fill=(220, 248, 198) if mine else "white"
        )
        for line in range(lines):
            draw.text((left + 16, y + 12 + 32 * line), words(rng, 3), font=font(21), fill=(20, 20, 20))
        y += 44 + 32 * lines
    return page


def code(layout: random.Random, rng: random.Random) -> Image.Image:
    """An editor with coloured words."""
    page = Image.new("RGB", (1280, 800), (30, 30, 36))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 220, 800), fill=(38, 38, 46))
    for row in range(18):
        draw.text((20, 20 + row * 32), words(layout, 1), font=font(18), fill=(150, 150, 160))
    for row in range(30):
        x = 260 + 32 * layout.randint(0, 3)
        for _ in range(layout.randint(1, 5)):
            text = words(rng, 1)
            draw.text(
                (x, 16 + row * 26),
                text,
                font=font(17),
                fill=layout.choice(((200, 120, 220), (120, 190, 240), (220, 200, 130))),
            )
            x += 110
    return page


def chart(layout: random.Random, rng: random.Random) -> Image.Image:
    """Bars or a line above a scale."""
    page = Image.new("RGB", (900, 600), "white")
    draw = ImageDraw.Draw(page)
    draw.text((60, 20), words(layout, 3).title(), font=font(30), fill=(30, 30, 30))
    draw.line((70, 80, 70, 540), fill=(60, 60, 60), width=2)
    draw.line((70, 540, 860, 540), fill=(60, 60, 60), width=2)
    colour = layout.choice(((60, 110, 200), (210, 90, 60), (70, 150, 90)))
    heights = [layout.uniform(120, 400) + rng.uniform(-25, 25) for _ in range(12)]
    for place, height in enumerate(heights):
        x = 90 + place * 64
        draw.rectangle((x, 540 - height, x + 40, 540), fill=colour)
        draw.text((x + 4, 515 - height), f"{height:.0f}", font=font(17), fill=(40, 40, 40))
    return page


def street_map(layout: random.Random, rng: random.Random) -> Image.Image:
    """Streets and names."""
    page = Image.new("RGB", (800, 800), (238, 234, 226))
    draw = ImageDraw.Draw(page)
    for _ in range(16):
        ends = [layout.randint(0, 800) for _ in range(4)]
        draw.line(ends, fill="white", width=layout.randint(8, 20))
        draw.line(ends, fill=(215, 205, 190), width=1)
    draw.rectangle((500, 60, 700, 260), fill=(200, 224, 190))
    for _ in range(24):
        place = layout.randint(10, 680), layout.randint(10, 770)
        draw.text(place, words(rng, 1).title(), font=font(17), fill=(90, 90, 100))
    x, y = rng.randint(60, 740), rng.randint(60, 740)
    draw.ellipse((x - 14, y - 14, x + 14, y + 14), fill=(220, 50, 50))
    return page


def slide(layout: random.Random, rng: random.Random) -> Image.Image:
    """A title and points."""
    page = Image.new("RGB", (1280, 720), layout.choice(((255, 255, 255), (28, 40, 66), (246, 240, 226))))
    draw = ImageDraw.Draw(page)
    ink = (245, 245, 245) if page.getpixel((0, 0)) == (28, 40, 66) else (30, 30, 40)
    draw.rectangle((0, 660, 1280, 720), fill=layout.choice(((180, 50, 60), (60, 130, 180))))
    draw.text((80, 60), words(rng, 3).title(), font=font(54), fill=ink)
    for row in range(layout.randint(3, 5)):
        draw.text((110, 200 + row * 80), "- " + words(rng, 4), font=font(34), fill=ink)
    return page


KINDS: dict[str, Callable[[random.Random, random.Random], Image.Image]] = {
    "invoice": invoice, "receipt": receipt, "statement": statement, "chat": chat, "code": code, "chart": chart,
    "map": street_map, "slide": slide,
}  # fmt: skip


def drawn(kind: str, layout: int, number: int) -> Image.Image:
    """One picture of a kind; those of one layout differ in their contents."""
    return KINDS[kind](random.Random(f"{kind} layout {layout}"), random.Random(f"{kind} {layout} {number}"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=30)
    asked = parser.parse_args()
    for kind in KINDS:
        folder = os.path.join(asked.folder, kind)
        os.makedirs(folder, exist_ok=True)
        for number in range(asked.count):
            drawn(kind, number % LAYOUTS, number).save(os.path.join(folder, f"{number:04d}.png"), compress_level=1)


if __name__ == "__main__":
    main()
