"""Draws photos for pictures in the documents: mountains, seas, dunes, woods and towns; another one for every seed.

In: a seed. Out: a picture with light, haze, water and grain, so that a preview shows something and a comparison finds
something. Nothing is loaded: every shape is made here.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

# From the top of the sky to the horizon, then the land from far to near.
PALETTES: tuple[tuple[tuple[Colour, Colour, Colour], tuple[Colour, Colour]], ...] = (
    (((58, 92, 158), (240, 178, 140), (255, 226, 176)), ((176, 128, 140), (38, 40, 66))),  # dusk
    (((66, 134, 206), (164, 208, 238), (232, 242, 244)), ((138, 170, 190), (30, 70, 58))),  # noon
    (((34, 40, 82), (150, 88, 128), (250, 150, 110)), ((116, 70, 108), (24, 20, 44))),  # afterglow
    (((120, 164, 172), (214, 222, 208), (248, 238, 214)), ((166, 184, 170), (52, 78, 62))),  # mist
    (((14, 22, 48), (34, 56, 98), (88, 112, 150)), ((48, 64, 98), (8, 12, 24))),  # night
    (((92, 150, 196), (248, 216, 170), (255, 238, 204)), ((218, 160, 104), (128, 72, 40))),  # desert
)


def scene(seed: int, width: int = 1600, height: int = 1200) -> Image.Image:
    """Return a picture of a landscape."""
    random = np.random.default_rng(seed)
    sky, land = PALETTES[seed % len(PALETTES)]
    horizon = height * random.uniform(0.5, 0.66)
    picture = _sky(sky, width, height, horizon, random)
    draw = ImageDraw.Draw(picture)
    sun = (random.uniform(0.15, 0.85) * width, horizon * random.uniform(0.35, 0.8))
    picture = _with_sun(picture, sun, height * random.uniform(0.03, 0.05), is_moon=seed % len(PALETTES) == 4)
    draw = ImageDraw.Draw(picture)
    for layer in range(4):
        near = layer / 3
        base = horizon + (height - horizon) * near * 0.45
        ridge = base - _ridge(width, height * (0.26 - 0.16 * near), 0.55 - 0.1 * near, random)
        colour = _mixed(land[0], land[1], near**0.8)
        draw.polygon([(0, height), *zip(range(width), ridge.tolist(), strict=True), (width, height)], fill=colour)
    kind = seed // len(PALETTES) % 3
    if kind == 0:
        picture = _with_water(picture, int(horizon + (height - horizon) * 0.42), random)
    elif kind == 1:
        _trees(picture, random, land[1])
    else:
        _houses(picture, random, land[1])
    if random.random() < 0.6:
        _balloon(picture, random)
    return _with_grain(picture, random)


def _sky(
    colours: tuple[Colour, Colour, Colour], width: int, height: int, horizon: float, random: np.random.Generator
) -> Image.Image:
    places = np.linspace(0, height / horizon, height)
    rows = np.stack([np.interp(places, (0, 0.65, 1), [colour[i] for colour in colours]) for i in range(3)], axis=-1)
    sky = np.repeat(rows[:, None, :], width, axis=1)
    clouds = sum(_field(cells, width, height, random) * strength for cells, strength in ((4, 0.5), (9, 0.3), (24, 0.2)))
    veil = np.clip((clouds - 0.1) * 1.6, 0, 0.55)[..., None] * np.clip(1.2 - places, 0, 1)[:, None, None]
    sky += (255 - sky) * veil * 0.7
    return Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))


def _field(cells: int, width: int, height: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return smooth noise between -1 and 1, wider than high."""
    coarse = random.uniform(-1, 1, (cells * 2, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _with_sun(picture: Image.Image, place: tuple[float, float], radius: float, *, is_moon: bool) -> Image.Image:
    x, y = place
    colour = (236, 240, 250) if is_moon else (255, 244, 214)
    light = Image.new("RGB", picture.size)
    draw = ImageDraw.Draw(light)
    for times, share in ((9, 0.1), (5, 0.16), (2.4, 0.25)):
        r = radius * times
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_mixed((0, 0, 0), colour, share))
    light = light.filter(ImageFilter.GaussianBlur(radius * 1.6))
    lit = np.asarray(picture, np.float32) + np.asarray(light, np.float32)
    picture = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture


def _ridge(width: int, height: float, roughness: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Return heights of mountains, one a column."""
    ridge = np.zeros(width)
    strength, cells = 1.0, 3
    while cells < width // 4:
        ridge += np.interp(np.linspace(0, cells, width), range(cells + 1), random.uniform(0, strength, cells + 1))
        strength, cells = strength * roughness, cells * 2
    return np.asarray(ridge / ridge.max() * height)


def _with_water(picture: Image.Image, shore: int, random: np.random.Generator) -> Image.Image:
    """Return the picture with its upper part mirrored in a lake."""
    pixels = np.asarray(picture, np.float32).copy()
    depth = picture.height - shore
    rows = np.clip(shore - np.arange(depth) * 1.15, 0, shore - 1).astype(int)
    water = pixels[rows]
    for row in range(depth):
        water[row] = np.roll(water[row], int(random.normal(0, 1 + row / depth * 9)), axis=0)
    pixels[shore:] = water * 0.82 + np.array([14, 26, 38]) * 0.35
    pixels[shore : shore + 2] = pixels[shore : shore + 2] * 0.4 + 140
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _trees(picture: Image.Image, random: np.random.Generator, colour: Colour) -> None:
    draw = ImageDraw.Draw(picture)
    for near in np.sort(random.uniform(0, 1, 70)):
        x = random.uniform(-0.02, 1.02) * picture.width
        foot = picture.height * (0.84 + 0.2 * near)
        size = picture.height * (0.06 + 0.16 * near)
        shade = _mixed(colour, (8, 14, 12), 0.25 + 0.5 * near)
        for step in range(4):
            top, half = foot - size * (1 - step * 0.2), size * (0.1 + step * 0.05)
            draw.polygon([(x, top), (x - half, top + size * 0.36), (x + half, top + size * 0.36)], fill=shade)


def _houses(picture: Image.Image, random: np.random.Generator, colour: Colour) -> None:
    draw = ImageDraw.Draw(picture)
    x = -20.0
    while x < picture.width:
        wide = picture.width * random.uniform(0.04, 0.09)
        top = picture.height * random.uniform(0.7, 0.88)
        draw.rectangle((x, top, x + wide, picture.height), fill=_mixed(colour, (6, 8, 16), random.uniform(0.2, 0.6)))
        if random.random() < 0.5:
            draw.polygon(
                [(x - 4, top), (x + wide / 2, top - wide * 0.4), (x + wide + 4, top)],
                fill=_mixed(colour, (60, 24, 20), 0.5),
            )
        step = picture.width / 90
        for row in np.arange(top + step, picture.height, step * 1.6):
            for column in np.arange(x + step * 0.6, x + wide - step * 0.8, step * 1.3):
                if random.random() < 0.55:
                    lit = _mixed((255, 214, 130), (120, 110, 110), random.uniform(0, 0.5))
                    draw.rectangle((column, row, column + step * 0.5, row + step * 0.75), fill=lit)
        x += wide + picture.width * random.uniform(-0.005, 0.012)


def _balloon(picture: Image.Image, random: np.random.Generator) -> None:
    draw = ImageDraw.Draw(picture)
    r = picture.height * random.uniform(0.035, 0.07)
    x, y = random.uniform(0.2, 0.8) * picture.width, picture.height * random.uniform(0.14, 0.34)
    first, second = (tuple(int(v) for v in random.integers(90, 245, 3)) for _ in range(2))
    for stripe, half in enumerate((1.0, 0.72, 0.42, 0.14)):
        fill = first if stripe % 2 else second
        draw.ellipse((x - r * half, y - r, x + r * half, y + r), fill=(fill[0], fill[1], fill[2]))
    draw.line([(x - r * 0.5, y + r * 0.86), (x - r * 0.16, y + r * 1.5)], fill=(60, 50, 46), width=2)
    draw.line([(x + r * 0.5, y + r * 0.86), (x + r * 0.16, y + r * 1.5)], fill=(60, 50, 46), width=2)
    draw.rectangle((x - r * 0.18, y + r * 1.45, x + r * 0.18, y + r * 1.75), fill=(96, 66, 44))


def _with_grain(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    grain = random.normal(0, 3.0, pixels.shape[:2])[..., None]
    texture = _field(60, picture.width, picture.height, random)[..., None] * 5
    return Image.fromarray(np.clip(pixels + grain + texture, 0, 255).astype(np.uint8))


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    first, second, third = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return first, second, third
