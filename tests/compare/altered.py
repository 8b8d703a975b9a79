"""Pictures as people alter them, for the tests of verdicts."""

import io
import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tests.conftest import photo_like

Rgb = NDArray[np.uint8]


def photo(seed: int, width: int = 640, height: int = 480) -> Rgb:
    """A photo of something, with a noisy surface here and there."""
    picture = photo_like(seed, width, height).astype(np.float32)
    random = np.random.default_rng(seed)
    rough = np.asarray(Image.fromarray(random.uniform(0, 14, (4, 5)).astype(np.float32)).resize((width, height)))
    picture += (random.normal(size=(height, width)) * rough)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def jpeg(picture: Rgb, quality: int) -> Rgb:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data).convert("RGB"))


def resized(picture: Rgb, share: float) -> Rgb:
    height, width = picture.shape[:2]
    size = round(width * share), round(height * share)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def brighter(picture: Rgb, factor: float) -> Rgb:
    bright: Rgb = np.clip(picture.astype(np.float32) * factor, 0, 255).astype(np.uint8)
    return bright


def lit(picture: Rgb, corners: float, bottom: float = 1.0) -> Rgb:
    """With corners as bright as this share of the middle, and a lower side of the upper one."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = (1 - (1 - corners) * (x * x + y * y) / 2) * (1 - (1 - bottom) * (y + 1) / 2)
    darker: Rgb = np.clip(picture * light[..., None], 0, 255).astype(np.uint8)
    return darker


def flatter(picture: Rgb, darkest: int, brightest: int) -> Rgb:
    """With less contrast: black and white become these grey levels."""
    flat: Rgb = np.rint(darkest + (brightest - darkest) / 255 * picture.astype(np.float32)).astype(np.uint8)
    return flat


def cut(picture: Rgb, share: float) -> Rgb:
    """Without so much of the left and the upper side."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[round(height * share) :, round(width * share) :])


def framed(picture: Rgb, pixels: int) -> Rgb:
    return np.pad(picture, ((pixels, pixels), (pixels, pixels), (0, 0)), constant_values=255)


def captioned(picture: Rgb, text: str, px: int = 26) -> Rgb:
    image = Image.fromarray(picture)
    place = picture.shape[1] // 8, picture.shape[0] // 3
    ImageDraw.Draw(image).text(place, text, fill="white", stroke_fill="black", stroke_width=1, font=font(px))
    return np.asarray(image)


def sand(seed: int) -> Rgb:
    """A plain of fine grain in a pale, warm colour."""
    random = np.random.default_rng(seed)
    light = np.repeat(random.normal(0, 3, (900, 1200, 1)), 3, axis=2) + np.linspace(-14, 14, 1200)[:, np.newaxis]
    plain: Rgb = np.clip(light + np.array([200, 190, 150]), 0, 255).astype(np.uint8)
    return plain


def stamped(picture: Rgb, text: str) -> Rgb:
    """With a date of the colour that cameras write it in, here as bright as what is around it."""
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(
        (picture.shape[1] * 3 // 4, picture.shape[0] - 60), text, fill=(255, 172, 80), font=font(44)
    )
    return np.asarray(image)


def font(px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(px)


def arrow(side: int) -> Rgb:
    """An icon: a blue arrow on white, pointing to the right."""
    image = Image.new("RGB", (4 * side, 4 * side), "white")
    corners = [(0.1, 0.4), (0.55, 0.4), (0.55, 0.2), (0.9, 0.5), (0.55, 0.8), (0.55, 0.6), (0.1, 0.6)]
    ImageDraw.Draw(image).polygon([(4 * side * x, 4 * side * y) for x, y in corners], fill=(20, 90, 180))
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def stripes(side: int, colours: tuple[str, ...]) -> Rgb:
    """A flag: broad stripes, one above the other."""
    image = Image.new("RGB", (side, side))
    for number, colour in enumerate(colours):
        top, bottom = (side * place // len(colours) for place in (number, number + 1))
        ImageDraw.Draw(image).rectangle((0, top, side, bottom), fill=colour)
    return np.asarray(image)


def lipstick(shade: tuple[int, int, int]) -> Rgb:
    """A product in one of its colours, in front of white."""
    image = Image.new("RGB", (600, 600), (248, 246, 245))
    draw = ImageDraw.Draw(image)
    draw.rectangle((250, 300, 350, 540), fill=(25, 25, 28))
    draw.rectangle((262, 240, 338, 300), fill=(205, 180, 110))
    draw.polygon([(268, 240), (268, 140), (330, 100), (332, 240)], fill=shade)
    return np.asarray(image)


def lips(shade: tuple[int, int, int]) -> Rgb:
    """A thing in one of its colours before much that has colours as well."""
    image = Image.new("RGB", (600, 500), (226, 182, 155))
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 40, 260, 180), fill=(214, 160, 130))
    draw.polygon([(140, 300), (240, 250), (300, 270), (360, 250), (460, 300), (370, 360), (240, 360)], fill=shade)
    draw.line((140, 300, 460, 300), fill=(70, 20, 30), width=4)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1)))


def watch(dial: tuple[int, int, int]) -> Rgb:
    """Another product on white, with more around what has its colour."""
    image = Image.new("RGB", (600, 600), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((253, 0, 347, 600), fill=(90, 60, 40))
    draw.ellipse((147, 147, 453, 453), fill=(180, 180, 185))
    draw.ellipse((167, 167, 433, 433), fill=dial)
    draw.line((300, 300, 230, 240), fill="white", width=8)
    return np.asarray(image)


def states(colours: Sequence[tuple[int, int, int]]) -> Rgb:
    """A screen with a lamp in front of each line."""
    image = Image.new("RGB", (1600, 900), (245, 245, 245))
    draw = ImageDraw.Draw(image)
    for line, colour in enumerate(colours):
        top = 50 + 42 * line
        draw.text((66, top), f"host-{line:02d}.example  {(line * 37) % 89}  {(line * 53) % 97}", (40, 40, 40), font(18))
        draw.ellipse((33, top + 2, 48, top + 17), fill=colour)
    return np.asarray(image)


def lamps(seed: int) -> Rgb:
    """A photo of a few lamps in the night."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:480, 0:640].astype(np.float32)
    light = random.normal(4, 1.5, (480, 640)).astype(np.float32)
    for _ in range(6):
        across, down, reach = random.uniform(40, 600), random.uniform(40, 440), random.uniform(4, 14)
        light += 250 * np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * reach * reach))
    grey: Rgb = np.clip(light, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def stars(seed: int) -> Rgb:
    """A photo of a sky full of stars that left trails, above dark ground."""
    random = np.random.default_rng(seed)
    grey = 25 + random.normal(0, 3, (720, 1280))
    for _ in range(300):
        y, x, length = random.integers(0, 716), random.integers(0, 1220), random.integers(2, 60)
        grey[y : y + 2, x : x + length] += random.uniform(20, 140)
    grey[576:] = 6
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def grainy_night(seed: int, grain: int, *, noise: float = 2.0, moved_px: int = 0) -> Rgb:
    """Stars of many magnitudes over the noise of a sensor, which ``grain`` is of: another shot has another."""
    stars, sensor = np.random.default_rng(seed), np.random.default_rng(grain)
    dots = np.zeros((600, 900), np.float32)
    places, lights = stars.integers((40, 40), (860, 560), (250, 2)), stars.exponential(1, 250)
    for (x, y), light in zip(places, lights, strict=True):
        dots[y + moved_px, x + moved_px] += 180 * 10 ** (0.6 * light)
    seen = 12 + cv2.GaussianBlur(dots, (0, 0), 1.1) + sensor.normal(0, noise, dots.shape)
    return np.repeat(np.clip(np.rint(seen), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def sky(seed: int, level: int = 150, strength: float = 14.0) -> Rgb:
    """A photo of nothing but clouds, grey and smooth, with the noise of a sensor."""
    random = np.random.default_rng(seed)
    clouds = Image.fromarray(random.uniform(-strength, strength, (3, 4)).astype(np.float32))
    smooth = np.asarray(clouds.resize((400, 300), Image.Resampling.BICUBIC)) + random.normal(0, 1.5, (300, 400))
    grey: Rgb = np.clip(level + smooth, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def textured(seed: int, width: int = 481, height: int = 321) -> Rgb:
    """A photo with a cloth of fine stripes in its middle."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    inside = (x > 0.3 * width) & (x < 0.6 * width) & (y > 0.3 * height) & (y < 0.6 * height)
    stripes = 80 * np.sin(2 * np.pi * (x + 0.05 * y) / 4.4) * inside
    striped: Rgb = np.clip(photo(seed, width, height) + stripes[..., None], 0, 255).astype(np.uint8)
    return striped


def grey(picture: Rgb) -> Rgb:
    return np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))


def other_colours(picture: Rgb) -> Rgb:
    """Luma stays, hues go round by 130 degrees."""
    y, blue, red = (np.asarray(plane).astype(np.float32) for plane in Image.fromarray(picture).convert("YCbCr").split())
    turn = np.exp(1j * np.radians(130)) * ((blue - 128) + 1j * (red - 128))
    planes = np.clip(np.stack([y, turn.real + 128, turn.imag + 128], axis=-1), 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(planes, "YCbCr").convert("RGB"))


def page(number: str, *, px: int = 22, width: int = 900, height: int = 1200) -> Rgb:
    """A page of text with one number in it."""
    image = Image.new("RGB", (width, height), (252, 252, 250))
    draw = ImageDraw.Draw(image)
    lines = ["the", "boat", "leaves", "at", "noon", "from", "pier", "nine", "and", "is", "back", "before", "dark"]
    for row in range(24):
        text = " ".join(lines[(row * 5 + k) % len(lines)] for k in range(9))
        draw.text((90, 80 + row * 42), text, fill=(25, 25, 30), font=font(px))
    draw.text((560, 1110), f"no {number}", fill=(25, 25, 30), font=font(px))
    return np.asarray(image)


def straightened(picture: Rgb, degrees: float) -> tuple[Rgb, list[tuple[float, float]]]:
    """Turned clockwise, what lies within; and where its corners were, as shares of the picture."""
    image = Image.fromarray(picture)
    lean, middle = math.radians(abs(degrees)), np.array(image.size) / 2
    half = middle / (math.cos(lean) + math.sin(lean) * max(image.size) / min(image.size))
    inner = image.rotate(-degrees, Image.Resampling.BICUBIC).crop(
        (*(middle - half).tolist(), *(middle + half).tolist())
    )
    ways = (
        complex(x, y) * complex(math.cos(lean), -math.copysign(math.sin(lean), degrees))
        for x, y in half * [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    )
    return np.asarray(inner), [(0.5 + way.real / image.width, 0.5 + way.imag / image.height) for way in ways]
