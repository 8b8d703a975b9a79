"""Copies of which one shows a part of the other: cut, framed, captioned, shown on a phone, or written over.

A photo goes in, pictures as phones, messengers and albums make them come out, each by its kind. Every draw comes from
the random numbers that are passed in, so that a set can be made again.
"""

import io
import math
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from tests.bench.drawn import font, words

Picture = Image.Image
Maker = Callable[[Picture, random.Random], Picture]
Colour = tuple[int, int, int]

WHITE, BLACK, PAPER, WOOD = (255, 255, 255), (0, 0, 0), (247, 246, 242), (60, 40, 20)


def jpeg(picture: Picture, quality: int) -> Picture:
    """What a JPEG of that quality brings."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def scaled(picture: Picture, share: float) -> Picture:
    size = tuple(max(8, round(side * share)) for side in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def cut(picture: Picture, rng: random.Random, percent: float) -> Picture:
    """Without so much of each side, from wherever."""
    width, height = picture.size
    across, down = max(1, round(width * percent / 100)), max(1, round(height * percent / 100))
    left, top = rng.randint(0, across), rng.randint(0, down)
    return picture.crop((left, top, left + width - across, top + height - down))


def cut_to_shape(picture: Picture, rng: random.Random, ratio: float) -> Picture:
    """The largest piece with that width for its height, from wherever; of another ratio if it has that already."""
    width, height = picture.size
    if height > width:
        ratio = 1 / ratio
    if abs(math.log(width / height / ratio)) < 0.08:
        ratio *= 0.8
    if width / height > ratio:
        wide = round(height * ratio)
        left = rng.randint(0, width - wide)
        return picture.crop((left, 0, left + wide, height))
    tall = round(width / ratio)
    top = rng.randint(0, height - tall)
    return picture.crop((0, top, width, top + tall))


def straightened(picture: Picture, rng: random.Random, least: float = 1, most: float = 3) -> Picture:
    """Turned by so many degrees, and what lies within."""
    angle = rng.choice((-1, 1)) * rng.uniform(least, most)
    lean = math.radians(abs(angle))
    width, height = picture.size
    share = 1 / (math.cos(lean) + math.sin(lean) * max(width / height, height / width))
    turned = picture.rotate(angle, Image.Resampling.BICUBIC)
    across, down = width * share / 2, height * share / 2
    middle = width / 2, height / 2
    return turned.crop((
        math.ceil(middle[0] - across), math.ceil(middle[1] - down), int(middle[0] + across), int(middle[1] + down),
    ))  # fmt: skip


def on_ground(picture: Picture, margins: tuple[int, int, int, int], colour: Colour) -> Picture:
    """With margins: left, upper, right, lower."""
    return ImageOps.expand(picture, margins, colour)


def bordered(picture: Picture, rng: random.Random) -> Picture:
    side = max(2, round(min(picture.size) * rng.uniform(0.015, 0.04)))
    return on_ground(picture, (side, side, side, side), rng.choice((WHITE, BLACK)))


def letterboxed(picture: Picture, rng: random.Random) -> Picture:
    """Within another shape, with bars."""
    width, height = picture.size
    ratio = rng.choice((16 / 9, 1.0, 9 / 16, 2.0))
    more = max(0, round(height * ratio) - width), max(0, round(width / ratio) - height)
    if more[0] < 0.06 * width and more[1] < 0.06 * height:
        more = 0, round(0.2 * height)
    left, top = more[0] // 2, more[1] // 2
    colour = rng.choice((BLACK, BLACK, WHITE))
    return on_ground(picture, (left, top, more[0] - left, more[1] - top), colour)


def on_white(picture: Picture, rng: random.Random) -> Picture:
    """With unequal white margins; every second one is a scan, with noise."""
    left, top, right, bottom = (round(min(picture.size) * rng.uniform(0.04, 0.18)) for _ in range(4))
    framed = on_ground(picture, (left, top, right, bottom), rng.choice((WHITE, (250, 249, 244))))
    if rng.random() < 0.5:
        return framed
    noise = np.random.default_rng(rng.getrandbits(30)).normal(0, 2.5, (framed.height, framed.width, 1))
    return Image.fromarray(np.clip(np.asarray(framed) + noise, 0, 255).astype(np.uint8))


def framed_twice(picture: Picture, rng: random.Random) -> Picture:
    inner, outer = round(min(picture.size) * 0.01) + 1, round(min(picture.size) * rng.uniform(0.03, 0.07))
    passe_partout = on_ground(picture, (inner, inner, inner, inner), WHITE)
    return on_ground(passe_partout, (outer, outer, outer, outer), rng.choice((BLACK, WOOD)))


def polaroid(picture: Picture, rng: random.Random) -> Picture:
    side, below = round(min(picture.size) * 0.06), round(min(picture.size) * 0.24)
    made = on_ground(picture, (side, side, side, below), PAPER)
    if rng.random() < 0.5:
        at = 2 * side, made.height - 0.7 * below
        ImageDraw.Draw(made).text(at, words(rng, 2), font=font(0.3 * below), fill=(40, 40, 60))
    return made


def on_blurred_self(picture: Picture, rng: random.Random) -> Picture:
    """Within a square that the picture itself fills, blurred and darkened."""
    width, height = picture.size
    side = max(width, height) if abs(width / height - 1) > 0.12 else round(1.25 * max(width, height))
    ground = ImageOps.fit(picture, (side, side)).filter(ImageFilter.GaussianBlur(side / 18))
    ground = ImageEnhance.Brightness(ground).enhance(rng.uniform(0.6, 0.8))
    ground.paste(picture, ((side - width) // 2, (side - height) // 2))
    return ground


def caption_strip(picture: Picture, rng: random.Random, *, above: bool) -> Picture:
    """A strip with two lines of text."""
    strip = round(picture.height * rng.uniform(0.10, 0.25))
    colour = rng.choice((WHITE, WHITE, BLACK))
    made = on_ground(picture, (0, strip if above else 0, 0, 0 if above else strip), colour)
    draw, top = ImageDraw.Draw(made), 0 if above else picture.height
    for line in range(2):
        at = 0.04 * picture.width, top + strip * (0.12 + 0.4 * line)
        draw.text(at, words(rng, 5), font=font(0.27 * strip), fill=BLACK if colour == WHITE else WHITE)
    return made


def dated_below(picture: Picture, rng: random.Random) -> Picture:
    """A narrow black strip with a date, a time and a place, as surveillance cameras write them."""
    strip = max(14, round(0.05 * picture.height))
    made = on_ground(picture, (0, 0, 0, strip), BLACK)
    date = f"{rng.randint(10, 28)}-{rng.randint(10, 12)}-20{rng.randint(10, 24)}"
    text = f"{date} {rng.randint(10, 23)}:{rng.randint(10, 59)}"
    at = 0.02 * picture.width, picture.height + 0.1 * strip
    ImageDraw.Draw(made).text(at, f"{text}  {words(rng, 2)}", font=font(0.7 * strip), fill=WHITE)
    return made


def in_a_story(picture: Picture, rng: random.Random) -> Picture:
    """Across a phone's screen that the picture itself fills, blurred and darkened."""
    ground = ImageOps.fit(picture, (720, 1280)).filter(ImageFilter.GaussianBlur(30))
    ground = ImageEnhance.Brightness(ground).enhance(rng.uniform(0.6, 0.8))
    shown = ImageOps.contain(picture, (720, 1180), Image.Resampling.LANCZOS)
    ground.paste(shown, ((720 - shown.width) // 2, (1280 - shown.height) // 2))
    return ground


def _phone(rng: random.Random) -> tuple[Picture, ImageDraw.ImageDraw, Colour]:
    """An empty screen with a clock and a battery."""
    is_dark = rng.random() < 0.6
    colour: Colour = (230, 230, 230) if is_dark else (30, 30, 30)
    screen = Image.new("RGB", (540, 1170), BLACK if is_dark else WHITE)
    draw = ImageDraw.Draw(screen)
    draw.text((24, 12), f"{rng.randint(1, 23)}:{rng.randint(0, 59):02}", font=font(20), fill=colour)
    draw.rectangle((470, 14, 510, 32), outline=colour)
    draw.rectangle((472, 16, 510 - rng.randint(5, 30), 30), fill=colour)
    return screen, draw, colour


def gallery_screenshot(picture: Picture, rng: random.Random) -> Picture:
    """A phone that shows the picture, with a title and buttons."""
    screen, draw, colour = _phone(rng)
    shown = ImageOps.contain(picture, (540, 970), Image.Resampling.LANCZOS)
    screen.paste(shown, ((540 - shown.width) // 2, (1170 - shown.height) // 2))
    draw.text((24, 52), words(rng, 2), font=font(24), fill=colour)
    for button in range(4):
        draw.ellipse((60 + 120 * button, 1090, 100 + 120 * button, 1130), outline=colour, width=3)
    return screen


def chat_screenshot(picture: Picture, rng: random.Random) -> Picture:
    """A phone with a conversation in which the picture was sent."""
    screen, draw, colour = _phone(rng)
    ground: Colour = (30, 40, 50) if colour[0] > 128 else (235, 230, 222)
    bubble: Colour = (50, 70, 80) if colour[0] > 128 else WHITE
    draw.rectangle((0, 100, 540, 1170), fill=ground)
    draw.text((90, 56), words(rng, 2), font=font(24), fill=colour)
    shown = ImageOps.contain(picture, (430, 620), Image.Resampling.LANCZOS)
    top = rng.randint(130, 400)
    draw.rounded_rectangle((18, top - 6, 30 + shown.width, top + shown.height + 40), 12, fill=bubble)
    screen.paste(shown, (24, top))
    draw.text((30, top + shown.height + 8), words(rng, 3), font=font(20), fill=colour)
    y = top + shown.height + 70
    while y < 1080:
        left = rng.choice((18, 180))
        draw.rounded_rectangle((left, y, left + rng.randint(180, 330), y + 54), 12, fill=bubble)
        draw.text((left + 14, y + 14), words(rng, 2), font=font(20), fill=colour)
        y += 74
    return screen


def written_over(picture: Picture, rng: random.Random) -> Picture:
    """Large letters with outlines at the upper or lower edge, or at both."""
    made = picture.copy()
    draw = ImageDraw.Draw(made)
    for place in rng.choice(((0.02,), (0.87,), (0.02, 0.87), (0.02, 0.87))):
        text, px = words(rng, rng.randint(2, 4)).upper(), 0.085 * made.height
        while draw.textlength(text, font=font(px)) > 0.96 * made.width and px > 9:
            px *= 0.9
        at = (made.width - draw.textlength(text, font=font(px))) / 2, made.height * place
        width = max(1, round(px / 12))
        draw.text(at, text, font=font(px), fill="white", stroke_width=width, stroke_fill="black")
    return made


def sticker(picture: Picture, rng: random.Random) -> Picture:
    """A yellow face."""
    made = picture.copy()
    side = min(made.size) * rng.uniform(0.14, 0.24)
    left, top = rng.uniform(0, made.width - side), rng.uniform(0, made.height - side)
    draw = ImageDraw.Draw(made)

    def box(x: float, y: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return left + side * x, top + side * y, left + side * right, top + side * bottom

    draw.ellipse(box(0, 0, 1, 1), fill=(255, 205, 40), outline=(120, 80, 0), width=2)
    for eye in (0.25, 0.62):
        draw.ellipse(box(eye, 0.3, eye + 0.13, 0.45), fill=(60, 30, 0))
    draw.arc(box(0.2, 0.35, 0.8, 0.8), 20, 160, fill=(60, 30, 0), width=max(2, round(side / 18)))
    return made


def stamped(picture: Picture, rng: random.Random) -> Picture:
    """A date and a place, as cameras and apps write them."""
    made = picture.copy()
    px = 0.045 * made.height
    text = f"{rng.randint(1, 28):02}.{rng.randint(1, 12):02}.20{rng.randint(10, 24)} {words(rng, 1)}"
    at = made.width * rng.choice((0.03, 0.55)), made.height * 0.93
    ImageDraw.Draw(made).text(at, text, font=font(px), fill=rng.choice(((255, 160, 40), WHITE)))
    return made


def vignetted(picture: Picture, rng: random.Random) -> Picture:
    """Darker towards the corners."""
    down, across = (np.linspace(-1, 1, side) ** 2 for side in picture.size[::-1])
    light = 1 - rng.uniform(0.25, 0.5) * (down[:, None] + across) / 2
    return Image.fromarray((np.asarray(picture) * light[..., None]).astype(np.uint8))


def filtered(picture: Picture, rng: random.Random) -> Picture:
    """Like a filter of an app: with more contrast, faded, in a tint, and darker towards the corners."""
    strong = ImageEnhance.Contrast(picture).enhance(rng.uniform(1.1, 1.3))
    strong = ImageEnhance.Color(strong).enhance(rng.uniform(0.7, 1.3))
    faded = 20 + 0.9 * np.asarray(strong) + rng.choice(((12, 4, -10), (-8, 2, 14), (16, 0, 10)))
    down, across = (np.linspace(-1, 1, side) ** 2 for side in picture.size[::-1])
    light = 1 - 0.25 * (down[:, None] + across) / 2
    return Image.fromarray(np.clip(faded * light[..., None], 0, 255).astype(np.uint8))


def cut_round(picture: Picture, rng: random.Random) -> Picture:
    """The middle of it, as a portrait of a user."""
    side = min(picture.size)
    made, mask = Image.new("RGB", (side, side), rng.choice((WHITE, BLACK))), Image.new("L", (2 * side, 2 * side))
    ImageDraw.Draw(mask).ellipse((0, 0, 2 * side - 1, 2 * side - 1), fill=255)
    made.paste(ImageOps.fit(picture, (side, side)), mask=mask.resize((side, side), Image.Resampling.LANCZOS))
    return made


def feed_screenshot(picture: Picture, rng: random.Random) -> Picture:
    """A phone that shows a piece of the picture, with a name above, buttons and a text below."""
    screen, draw, colour = _phone(rng)
    shown = cut_to_shape(picture, rng, 1.0).resize((540, 540), Image.Resampling.LANCZOS)
    top = rng.randint(180, 320)
    screen.paste(shown, (0, top))
    draw.ellipse((16, top - 56, 60, top - 12), fill=(120, 90, 160))
    draw.text((72, top - 48), words(rng, 2), font=font(22), fill=colour)
    for button in range(3):
        left = 16 + 60 * button
        draw.ellipse((left, top + 556, left + 34, top + 590), outline=colour, width=3)
    for line in range(2):
        draw.text((16, top + 610 + 34 * line), words(rng, 6), font=font(22), fill=colour)
    return screen


def large_letters(picture: Picture, rng: random.Random) -> Picture:
    """At the upper and the lower edge, as wide as the picture."""
    made = picture.copy()
    draw = ImageDraw.Draw(made)
    for place in (0.02, 0.84):
        text, px = words(rng, 3).upper(), 0.12 * made.height
        while draw.textlength(text, font=font(px)) > 0.96 * made.width and px > 9:
            px *= 0.9
        at = (made.width - draw.textlength(text, font=font(px))) / 2, made.height * place
        draw.text(at, text, font=font(px), fill="white", stroke_width=max(1, round(px / 10)), stroke_fill="black")
    return made


def grey(picture: Picture) -> Picture:
    return picture.convert("L").convert("RGB")


def _cut(percent: float) -> Maker:
    return lambda picture, rng: cut(picture, rng, percent)


CUT: dict[str, Maker] = {
    **{f"cut {percent} %": _cut(percent) for percent in (2, 5, 10, 15, 20, 25)},
    "cut to 16:9": lambda picture, rng: cut_to_shape(picture, rng, 16 / 9),
    "cut to 4:3": lambda picture, rng: cut_to_shape(picture, rng, 4 / 3),
    "cut to a square": lambda picture, rng: cut_to_shape(picture, rng, 1.0),
    "straightened": straightened,
    "straightened, 3-10 degrees": lambda picture, rng: straightened(picture, rng, 3, 10),
    "cut 10 %, messenger": lambda picture, rng: jpeg(scaled(cut(picture, rng, 10), 0.8), 62),
    "cut 10 %, grey": lambda picture, rng: grey(cut(picture, rng, 10)),
    "cut 5 %, turned": lambda picture, rng: cut(picture, rng, 5).transpose(Image.Transpose.ROTATE_90),
    "cut 10 %, filter": lambda picture, rng: filtered(cut(picture, rng, 10), rng),
    "cut round": cut_round,
    "piece on a phone": feed_screenshot,
    "cut 20 %, quarter size": lambda picture, rng: scaled(cut(picture, rng, 20), 0.25),
}
FRAMED: dict[str, Maker] = {
    "border": bordered,
    "letterbox": letterboxed,
    "white margin": on_white,
    "white margin, messenger": lambda picture, rng: jpeg(scaled(on_white(picture, rng), 0.8), 62),
    "double frame": framed_twice,
    "polaroid": polaroid,
    "blurred fill": on_blurred_self,
    "date below": dated_below,
    "caption above": lambda picture, rng: caption_strip(picture, rng, above=True),
    "caption below": lambda picture, rng: caption_strip(picture, rng, above=False),
    "gallery screenshot": gallery_screenshot,
    "chat screenshot": chat_screenshot,
}
WRITTEN: dict[str, Maker] = {
    "overlay text": written_over,
    "large letters": large_letters,
    "sticker": sticker,
    "stamp": stamped,
    "vignette": vignetted,
}
# What both show is less than half of one of them: found as far as it goes.
DEEP: dict[str, Maker] = {
    "cut 30 %": _cut(30),
    "cut 40 %": _cut(40),
    "cut 50 %": _cut(50),
    "turned by 10-20 degrees": lambda picture, rng: straightened(picture, rng, 10, 20),
    "turned by 20-45 degrees": lambda picture, rng: straightened(picture, rng, 20, 45),
    "cut 10 %, white margin": lambda picture, rng: on_white(cut(picture, rng, 10), rng),
    "cut 10 %, story": lambda picture, rng: in_a_story(cut(picture, rng, 10), rng),
}
KINDS: dict[str, Maker] = {**CUT, **FRAMED, **WRITTEN, **DEEP}


def shifted(picture: Picture, rng: random.Random, percent: float) -> tuple[Picture, Picture]:
    """Two pieces that share a part, each without what the other one has beyond it."""
    width, height = picture.size
    across = round(width * percent / 100)
    pieces = [picture.crop((left, 0, left + width - across, height)) for left in (0, across)]
    return pieces[0], pieces[1]


def side_by_side(picture: Picture, other: Picture) -> Picture:
    """The left half of one and the right half of another."""
    made, half = picture.copy(), picture.width // 2
    made.paste(ImageOps.fit(other, picture.size).crop((half, 0, *picture.size)), (half, 0))
    return made
