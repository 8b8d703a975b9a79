"""Files of the kinds that programs which look for copies are known to get wrong, made from nothing.

Each function gives the files of one case by their names. What is right for each of them is in `test_field_cases`.
"""

import io
import math
import random
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from tests.bench.drawn import drawn, font
from tests.compare.altered import photo
from tests.conftest import Rgb, encoded

Files = dict[str, bytes]
Colour = tuple[int, int, int]
EOI = b"\xff\xd9"
COLOURS: dict[str, Colour] = {
    "red": (205, 30, 40), "blue": (35, 60, 200), "green": (25, 140, 60), "black": (22, 22, 24),
    "white": (238, 238, 236), "navy": (20, 28, 74), "grey": (128, 128, 130), "orange": (240, 140, 20),
}  # fmt: skip


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The picture as the bytes of a file."""
    buffer = io.BytesIO()
    if kind in ("JPEG", "PNG"):
        options = {"quality": 90, "compress_level": 1} | options
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def resized(data: bytes, width: int, height: int, kind: str = "PNG", **options: object) -> bytes:
    """The picture of a file in another size."""
    smaller = Image.open(io.BytesIO(data)).resize((width, height), Image.Resampling.LANCZOS)
    return saved(smaller, kind, **options)


def in_inks(data: bytes) -> bytes:
    """The picture of a file as a JPEG of four inks."""
    return saved(Image.open(io.BytesIO(data)).convert("CMYK"), "JPEG")


# ---- documents and screens


def documents(kind: str, layout: int) -> Files:
    """Three of one layout with other contents."""
    return {f"{kind}{number}.png": saved(drawn(kind, layout, number)) for number in range(3)}


def invoices(width: int, totals: Sequence[str]) -> Files:
    """Letters that are white but for a few lines, and differ in a number."""
    files = {}
    for number, total in enumerate(totals):
        page = Image.new("L", (width, round(width * math.sqrt(2))), 255)
        draw, unit = ImageDraw.Draw(page), width / 100
        draw.rectangle((8 * unit, 6 * unit, 22 * unit, 12 * unit), fill=20)
        draw.text((10 * unit, 7 * unit), "FERN", font=font(3 * unit), fill=255)
        draw.text((66 * unit, 7 * unit), "INVOICE", font=font(3.4 * unit), fill=0)
        for row, text in enumerate(("Harbour kettles", "9 Mill Lane", "Copperton")):
            draw.text((8 * unit, (20 + 2.4 * row) * unit), text, font=font(1.8 * unit), fill=40)
        draw.rectangle((8 * unit, 40 * unit, 92 * unit, 43 * unit), fill=215)
        for row, text in enumerate(("Kettle, copper", "Lantern oil", "Postage")):
            draw.text((9 * unit, (45 + 4 * row) * unit), text, font=font(1.8 * unit), fill=0)
            draw.text((80 * unit, (45 + 4 * row) * unit), f"{12 + row}.40", font=font(1.8 * unit), fill=0)
        draw.text((68 * unit, 60 * unit), f"Total  {total}", font=font(2.2 * unit), fill=0)
        files[f"inv{number}.png"] = saved(page)
    return files


def memes(seed: int) -> Files:
    """A template with other captions."""
    captions = ("WHEN IT RAINS", "MY KETTLE"), ("NOBODY AT ALL", "THE CAT AT NIGHT"), ("MONDAYS", "AGAIN"), ("", "WHY")
    files = {}
    for number, (upper, lower) in enumerate(captions):
        image = Image.fromarray((photo(seed, 800, 600) * 0.5).astype(np.uint8))
        draw = ImageDraw.Draw(image)
        for y, text in ((40, upper), (560, lower)):
            draw.text((400, y), text, font=font(46), fill="white", stroke_fill="black", stroke_width=3, anchor="mm")
        files[f"m{number}.jpg"] = saved(image, "JPEG")
    return files


def tickets(band: Colour) -> Files:
    """Tickets with another square of random modules and another seat."""
    files = {}
    for number in range(3):
        modules = np.random.default_rng(number).integers(0, 2, (33, 33)).astype(np.uint8) * 255
        for y, x in ((0, 0), (0, 26), (26, 0)):
            modules[y : y + 7, x : x + 7] = 0
            modules[y + 1 : y + 6, x + 1 : x + 6] = 255
            modules[y + 2 : y + 5, x + 2 : x + 5] = 0
        ticket = Image.new("RGB", (600, 900), "white")
        ticket.paste(Image.fromarray(modules).resize((396, 396), Image.Resampling.NEAREST), (102, 340))
        draw = ImageDraw.Draw(ticket)
        draw.rectangle((0, 0, 600, 150), fill=band)
        draw.text((40, 50), "OPEN AIR AT THE PIER", font=font(42), fill="white")
        draw.text((40, 190), f"Row {'CDE'[number]}  Seat {7 + 3 * number}", font=font(36), fill="black")
        files[f"t{number}.png"] = saved(ticket)
    return files


def arrows(side: int, colour: Colour) -> Files:
    """One drawing that is turned four ways."""
    image = Image.new("RGBA", (side, side))
    points = [(0.1, 0.5), (0.5, 0.1), (0.5, 0.32), (0.9, 0.32), (0.9, 0.68), (0.5, 0.68), (0.5, 0.9)]
    ImageDraw.Draw(image).polygon([(x * side, y * side) for x, y in points], fill=(*colour, 255))
    return {f"arrow{turn}.png": saved(image.rotate(turn)) for turn in (0, 90, 180, 270)}


def page_with_one_line(text: str) -> Files:
    """An almost empty page, as PNG and JPEG, and half as large."""
    page = Image.new("RGB", (1240, 1754), "white")
    ImageDraw.Draw(page).text((220, 330), text, font=font(34), fill="black")
    whole = saved(page)
    return {"a.png": whole, "a.jpg": saved(page, "JPEG"), "small.png": resized(whole, 620, 877)}


def white_logo(text: str) -> Files:
    """White on transparency."""
    image = Image.new("RGBA", (600, 300), (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    draw.text((40, 90), text, font=font(110), fill=(255, 255, 255, 255))
    draw.ellipse((470, 30, 570, 130), fill=(255, 255, 255, 255))
    whole = saved(image)
    return {"a.png": whole, "a.webp": saved(image, "WEBP", quality=80), "a_half.png": resized(whole, 300, 150)}


# ---- things that look alike


def shirts(names: Sequence[str]) -> Files:
    """A product in several colours, in front of white."""
    y, x = np.mgrid[0:600, 0:600] / 600
    body = (np.abs(x - 0.5) < 0.2) & (y > 0.15) & (y < 0.92)
    sleeves = (y > 0.15) & (y < 0.15 + 0.35) & (np.abs(np.abs(x - 0.5) - 0.2) < 0.35 - y * 0.5)
    folds = (0.86 + 0.14 * np.cos(x * 14 + 3 * np.sin(y * 4)))[..., None]
    files = {}
    for name in names:
        cloth = np.asarray(COLOURS[name]) * folds
        shown = np.where((body | sleeves)[..., None], cloth, 255).astype(np.uint8)
        files[f"{name}.jpg"] = saved(Image.fromarray(shown), "JPEG")
    return files


def signals(names: Sequence[str], labels: str) -> Files:
    """A board of lamps that are all of one colour."""
    files = {}
    for name in names:
        board = Image.new("RGB", (400, 400), (235, 235, 235))
        draw = ImageDraw.Draw(board)
        for number in range(9):
            x, y = 20 + 125 * (number % 3), 20 + 125 * (number // 3)
            draw.rounded_rectangle((x, y, x + 110, y + 110), 14, fill=COLOURS[name])
            draw.text((x + 55, y + 55), f"{labels}{number}", font=font(26), fill="white", anchor="mm")
        files[f"{name}.png"] = saved(board)
    return files


def horizons(seed: int) -> Files:
    """Sea and sky with a boat and clouds elsewhere."""
    files = {}
    for number in range(3):
        places = random.Random(f"{seed} {number}")
        shades = np.random.default_rng(seed).normal(0, 4, (600, 900))[..., None]
        y = np.linspace(0, 1, 600)[:, None, None]
        sky, sea = np.array([70, 120, 215]) + 120 * y, np.array([40, 90, 110]) - 30 * y
        image = Image.fromarray(np.clip(np.where(y < 0.52, sky, sea) + shades, 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(image)
        for _ in range(3):
            x, top = places.randint(0, 800), places.randint(20, 150)
            draw.ellipse((x, top, x + 190, top + 34), fill=(225, 230, 245))
        x = places.randint(120, 780)
        draw.polygon([(x, 330), (x + 18, 330), (x + 9, 296)], fill="white")
        files[f"sea{number}.jpg"] = saved(image, "JPEG")
    return files


def portraits(wall: Colour) -> Files:
    """Other people in one frame."""
    files = {}
    for number in range(4):
        who = random.Random(number)
        image = Image.new("RGB", (480, 600), wall)
        draw = ImageDraw.Draw(image)
        draw.polygon([(60, 600), (130, 470), (350, 470), (420, 600)], fill=(20, 26, 60))
        width, skin = who.randint(92, 112), who.choice(((240, 200, 170), (200, 150, 115), (140, 95, 70)))
        hair = who.choice(((90, 90, 92), (60, 40, 25), (150, 110, 50)))
        draw.ellipse((240 - width, 150, 240 + width, 440), fill=skin)
        draw.pieslice((236 - width, 140, 244 + width, 380), 180 - number * 6, 360 + number * 6, fill=hair)
        eyes = who.randint(36, 48)
        for x in (240 - eyes, 240 + eyes):
            draw.ellipse((x - 9, 292, x + 9, 304), fill="white")
            draw.ellipse((x - 4, 293, x + 4, 303), fill=(40, 30, 30))
        draw.line((236, 310, 232, 350, 244, 350), fill=(120, 80, 60), width=3)
        draw.arc((200, 350, 280, 390 + who.randint(0, 16)), 20, 160, fill=(150, 50, 50), width=6)
        files[f"p{number}.jpg"] = saved(image, "JPEG")
    return files


def objects_on_white(side: int, names: Sequence[str]) -> Files:
    """Round things of these colours in the middle of a white field."""
    unit = side / 100
    round_ = (13 * unit, 13 * unit, 87 * unit, 87 * unit)
    files = {}
    for number, name in enumerate(names):
        image = Image.new("RGB", (side, side), "white")
        draw = ImageDraw.Draw(image)
        draw.ellipse(round_, fill=COLOURS[name])
        if number == 0:
            draw.ellipse((25 * unit, 25 * unit, 75 * unit, 75 * unit), outline=(200, 195, 180), width=round(2 * unit))
        if number == 1:
            draw.ellipse((30 * unit, 22 * unit, 46 * unit, 36 * unit), fill=(240, 150, 140))
        if number == 2:
            draw.line((62 * unit, 24 * unit, 52 * unit, 52 * unit, 64 * unit, 76 * unit), "white", round(2 * unit))
        if number == 3:
            draw.text((50 * unit, 50 * unit), "1 c", font=font(20 * unit), fill=(120, 95, 20), anchor="mm")
        if number == 4:
            draw.ellipse((44 * unit, 44 * unit, 56 * unit, 56 * unit), fill=(30, 30, 30))
        files[f"o{number}.jpg"] = saved(image, "JPEG")
    return files


# ---- JPEGs as cameras write them


def beside_a_sound_one(seed: int, name: str, damage: str, size: tuple[int, int] = (640, 480)) -> Files:
    """A sound JPEG and one with the same picture that was written in an unusual way."""
    sound = encoded(
        photo(seed, *size),
        progressive=damage.startswith("progressive"),
        restart_marker_rows=1 if damage == "stray bytes" else 0,
    )
    return {"good.jpg": sound, name: unusual(sound, damage)}


def unusual(sound: bytes, how: str) -> bytes:
    """A sound JPEG written in an unusual way."""
    head = sound.index(b"\xff\xda") + 14
    if how in ("no end", "progressive without end"):
        return sound[:-2]
    if how == "zeros at the end":
        return sound[:-2] + b"\0" * 4096
    if how == "Samsung":
        return sound[:-2] + EOI + b"\0\0\x30\x0a\x14\0\0\0Motion_Panorama_Info" + bytes(range(64)) * 90 + b"SEFT"
    if how == "film":
        return sound + b"\0\0\0\x18ftypmp42" + b"\xff\xa6film" * 900
    if how == "unknown marker":
        return sound[:-2] + b"\xff\xa6\x12\x34\x56" + EOI
    if how == "bytes before the end":
        return sound[:-2] + b"1" * 399 + EOI
    assert how == "stray bytes"
    return sound[:head] + re.sub(rb"(\xff[\xd0-\xd7])", rb"kidcamera\1", sound[head:])


def lost_scans(seed: int, width: int) -> Files:
    """A progressive JPEG of which the first scans are left, and a sound one that is smaller."""
    large = photo(seed, width, width * 3 // 4)
    progressive = encoded(large, progressive=True)
    cut = [match.start() for match in re.finditer(rb"\xff\xda", progressive)][2]
    tables = progressive.rindex(b"\xff\xc4", 0, cut)
    half = Image.fromarray(large).resize((width // 2, width * 3 // 8), Image.Resampling.LANCZOS)
    return {"lost.jpg": progressive[:tables] + EOI, "intact.jpg": saved(half, "JPEG")}


def with_thumbnail(sound: bytes, thumbnail: bytes) -> bytes:
    """With EXIF whose segment says that it ends before its thumbnail begins, as a phone wrote it."""
    exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\0" * 28
    return b"\xff\xd8\xff\xe1" + (2 + len(exif)).to_bytes(2, "big") + exif + thumbnail + sound[2:]


def thumbnails_inside(seed: int) -> Files:
    """Thumbnails of the picture itself and of another one, beside copies of both."""
    whole, other = encoded(photo(seed, 1280, 960)), encoded(photo(seed + 1, 800, 600))
    return {
        "own-thumb.jpg": with_thumbnail(whole, resized(whole, 160, 120, "JPEG")),
        "small.jpg": resized(whole, 320, 240, "JPEG"),
        "other-thumb.jpg": with_thumbnail(whole, resized(other, 160, 120, "JPEG")),
        "other.jpg": other,
    }


# ---- several pictures in one file


def several(pictures: Sequence[Rgb], kind: str, **options: object) -> bytes:
    """An animation, or a file of pages."""
    first, *rest = [Image.fromarray(picture) for picture in pictures]
    timing: dict[str, object] = {} if kind == "TIFF" else {"duration": 100}
    return saved(first, kind, save_all=True, append_images=rest, **(timing | options))


def gif(pictures: Sequence[Rgb]) -> bytes:
    """An animation in rough colours: the palettes that Pillow chooses by itself take a hundred times as long."""
    first, *rest = [Image.fromarray(one).quantize(method=Image.Quantize.FASTOCTREE) for one in pictures]
    return saved(first, "GIF", save_all=True, append_images=rest, duration=100)


def titled(picture: Rgb, text: str) -> Rgb:
    """With a word across it."""
    image = Image.fromarray(picture)
    middle = picture.shape[1] // 2, picture.shape[0] // 2
    ImageDraw.Draw(image).text(middle, text, font=font(picture.shape[1] / 8), fill="white", anchor="mm")
    return np.asarray(image)


def pages(seed: int, size: tuple[int, int]) -> Files:
    """Two letters of three pages with one cover, and the cover alone."""
    written = []
    for number in range(5):
        page = Image.new("RGB", size, "white")
        draw, words = ImageDraw.Draw(page), random.Random(f"{seed} {number}")
        for row in range(24):
            text = " ".join(words.choice(("pier", "boat", "noon", "march", "ledger", "candle")) for _ in range(9))
            draw.text((60, 60 + row * size[1] // 28), text, font=font(size[0] / 38), fill="black")
        written.append(np.asarray(page))
    cover = written[0]
    return {
        "a.tif": several([cover, *written[1:3]], "TIFF", compression="tiff_lzw"),
        "b.tif": several([cover, written[1], written[3]], "TIFF", compression="tiff_lzw"),
        "cover.bmp": encoded(cover, "BMP"),
    }


def shots(seed: int, count: int, width: int = 320, height: int = 240) -> list[Rgb]:
    """Different pictures of one size."""
    return [photo(seed + number, width, height) for number in range(count)]


def fade_in(seed: int) -> list[Rgb]:
    """A picture that comes out of the dark."""
    shown = photo(seed, 320, 240)
    return [(shown * (step / 5)).astype(np.uint8) for step in range(6)]
