"""Draws docs/terminal.svg, the picture in the README: a real session on photos that this script makes.

    .venv/bin/python docs/terminal.py

Makes a few pictures in a temporary home folder, with copies as they come to be (turned, sent by a messenger, renamed),
runs the commands below in a pseudo-terminal, and draws what they print. Run it again when the output has changed.
"""

import io
import os
import pty
import subprocess
import sys
import tempfile
import threading

import numpy as np
from PIL import Image
from rich.console import Console
from rich.text import Text

HERE = os.path.dirname(os.path.abspath(__file__))
BINARIES = os.path.dirname(os.path.abspath(sys.executable))
COLUMNS = 100
SESSION = ("dupwatchd scan --confirm ~/Photos",)
SVG = """<svg xmlns="http://www.w3.org/2000/svg" class="rich-terminal" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, Menlo, Consolas, monospace }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#1b1f24"/>
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory() as home:
        make_photos(os.path.join(home, "Photos"))
        for command in SESSION:
            console.print(Text("$ ", "bold green") + Text(command, "bold"))
            console.print(Text.from_ansi(output_of(command, home).replace(home, "~")))
    with open(os.path.join(HERE, "terminal.svg"), "w", encoding="utf-8") as file:
        file.write(console.export_svg(title="", code_format=SVG, unique_id="dupwatch"))


def make_photos(folder: str) -> None:
    """Some photos, and copies of three of them."""
    for number in range(1, 8):
        write(scenery(number), f"{folder}/2024/IMG_{2040 + number}.jpg", 95)
    write(scenery(1).resize((800, 600)), f"{folder}/phone/WhatsApp/IMG-20240601-WA0003.jpg", 70)
    write(scenery(1).transpose(Image.Transpose.ROTATE_90), f"{folder}/scans/turned.jpg", 85)
    write(scenery(4).convert("L"), f"{folder}/prints/dunes grey.jpg", 90)
    write(scenery(6), f"{folder}/backup/IMG_2046 (1).jpg", 95)


def scenery(seed: int) -> Image.Image:
    """A picture of 1600 × 1200 with broad shapes and some detail; another one for every seed."""
    random = np.random.default_rng(seed)
    picture = np.zeros((1200, 1600, 3))
    for cells, strength in ((3, 90), (8, 50), (60, 20)):
        coarse = random.uniform(-strength, strength, (cells, cells, 3)).astype(np.float32)
        for channel in range(3):
            field = Image.fromarray(coarse[..., channel]).resize((1600, 1200), Image.Resampling.BICUBIC)
            picture[..., channel] += np.asarray(field)
    return Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8))


def write(picture: Image.Image, path: str, quality: int = 75) -> None:
    """Save a picture, with its folders."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    picture.save(path, quality=quality)


def output_of(command: str, home: str) -> str:
    """What a command prints on a terminal, its progress apart."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(ours, shown))
    environment = {
        "HOME": home,
        "PATH": f"{BINARIES}:/usr/bin:/bin",
        "COLUMNS": str(COLUMNS),
        "TERM": "xterm-256color",
        "PAGER": "cat",
        "LANG": "C.UTF-8",
    }
    process = subprocess.Popen(["sh", "-c", command], stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    reader.start()
    process.wait()
    reader.join()
    return b"".join(shown).decode().replace("\r\n", "\n").rstrip()


def read_all(descriptor: int, into: list[bytes]) -> None:
    """Read a pseudo-terminal until its other end is closed."""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # EIO: nobody writes any more
            data = b""
        if not data:
            os.close(descriptor)
            return
        into.append(data)


if __name__ == "__main__":
    main()
