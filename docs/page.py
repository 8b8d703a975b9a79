"""Draws the pictures of the page in docs/screenshots: a real review of photos that `scenes` draws.

    .venv/bin/python docs/page.py

Makes a small library with copies as they come to be, starts a service and the page on it, and takes pictures with
Debian's chromium (/usr/bin/chromium): on a desk, light and dark, and on a phone. Run it again when the page has
changed.
"""

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from scenes import scene

HERE = os.path.dirname(os.path.abspath(__file__))
SHOTS = os.path.join(HERE, "screenshots")
BINARIES = os.path.dirname(os.path.abspath(sys.executable))
CAMERAS = ("Fujifilm X-T4", "Apple iPhone 14", "Canon EOS R6")
DESK = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
PHOTOS = 30


def main() -> None:
    os.makedirs(SHOTS, exist_ok=True)
    home = os.path.join(tempfile.gettempdir(), "home")  # the paths that the pictures show
    shutil.rmtree(home, ignore_errors=True)
    os.makedirs(home)
    try:
        make_photos(os.path.join(home, "Photos"))
        with service(home) as endpoint, page(home, endpoint) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            take_all(browser, address)
            browser.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def make_photos(folder: str) -> None:
    """Albums, and what lies beside them: a phone's backup, pictures sent around, prints, scans."""
    for number in range(PHOTOS):
        picture = scene(number, 2400, 1800)
        taken = dt.datetime(2021 + number % 4, 1 + number % 12, 1 + number % 27, 9 + number % 11, number * 7 % 60, 11)
        name = f"{folder}/albums/{taken.year}/{taken:%m-%d} {PLACES[number % len(PLACES)]}/IMG_{4120 + 7 * number}.jpg"
        write(picture, name, 93, camera(CAMERAS[number % 3], taken))
        backup = f"{folder}/phone-backup/DCIM/Camera/{taken:IMG_%Y%m%d_%H%M%S}"
        if number % 3 == 0:
            os.makedirs(os.path.dirname(backup), exist_ok=True)
            shutil.copy2(name, f"{backup}.jpg")
        if number % 3 == 1:
            write(
                picture.resize((1600, 1200), Image.Resampling.LANCZOS),
                f"{folder}/phone-backup/WhatsApp/{taken:IMG-%Y%m%d}-WA{number:04}.jpg",
                78,
            )
        if number % 6 == 0:
            write(picture.transpose(Image.Transpose.ROTATE_90), f"{folder}/scans/turned {number}.jpg", 88)
        if number % 6 == 2:
            write(picture.crop((60, 45, 2340, 1755)), f"{folder}/prints/IMG_{4120 + 7 * number} cut.jpg", 92)
        if number % 10 == 5:
            write(picture.convert("L"), f"{folder}/prints/IMG_{4120 + 7 * number} black and white.jpg", 92)


PLACES = ("Lake", "Ridge", "Old Town", "Desert", "Valley", "Coast")


def camera(model: str, taken: dt.datetime) -> Image.Exif:
    """What a camera writes into a file."""
    exif = Image.Exif()
    exif[271], exif[272] = model.split()[0], model
    exif.get_ifd(0x8769)[36867] = f"{taken:%Y:%m:%d %H:%M:%S}"
    return exif


def write(picture: Image.Image, path: str, quality: int, exif: Image.Exif | None = None) -> None:
    """Save a picture, with its folders."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    picture.save(path, quality=quality, exif=exif or Image.Exif())


@contextmanager
def service(home: str) -> Iterator[str]:
    """A service that has read the photos; yields where it listens."""
    endpoint = f"ipc://{home}/.s"
    command = [f"{BINARIES}/dupwatchd", "run", "--root", f"{home}/Photos", "--endpoint", endpoint]
    log = open(f"{home}/.log", "wb")  # noqa: SIM115 - it is closed below
    process = subprocess.Popen(command, env={**os.environ, "DUPWATCH_STATE": f"{home}/.state"}, stderr=log)
    try:
        subprocess.run([f"{BINARIES}/dupwatch", "wait", "--endpoint", endpoint], check=True)
        yield endpoint
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        log.close()


@contextmanager
def page(home: str, endpoint: str) -> Iterator[str]:
    """The page; yields its address."""
    environment = {**os.environ, "XDG_CACHE_HOME": f"{home}/.cache", "XDG_STATE_HOME": f"{home}/.local"}
    process = subprocess.Popen(
        [f"{BINARIES}/dupwatch", "review", "--no-browser", "--endpoint", endpoint],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


def take_all(browser: Browser, address: str) -> None:
    """Take the pictures."""
    shown = browser.new_context(viewport=DESK, device_scale_factor=1).new_page()
    shown.goto(address)
    shown.locator(".pane img").nth(1).wait_for()
    for _ in range(7):
        shown.keyboard.press("Enter")
    open_kind(shown, "Same", 3)
    take(shown, "desk-light")
    shown.emulate_media(color_scheme="dark")
    open_kind(shown, "Cropped")
    shown.keyboard.press("s")
    take(shown, "desk-dark")
    shown.emulate_media(color_scheme="light")
    open_kind(shown, "Recoloured")
    shown.keyboard.press("d")
    take(shown, "desk-difference")
    shown.keyboard.press("c")
    shown.keyboard.press("r")
    shown.get_by_role("button", name="Look", exact=True).click()
    shown.locator(".result", has_text="groups, ").wait_for()
    take(shown, "desk-rules")
    shown.keyboard.press("Escape")
    shown.locator("#kinds .chip").first.click()
    shown.set_viewport_size(PHONE)
    open_kind(shown, "Same")
    take(shown, "phone-group")
    shown.emulate_media(color_scheme="dark")
    shown.locator("#to-list").click()
    shown.locator("#kinds .chip").first.click()
    take(shown, "phone-list")


def open_kind(shown: Page, kind: str, place: int = 0) -> None:
    """Look at a group of a class, in the list of all."""
    if shown.locator("#to-list").is_visible():
        shown.locator("#to-list").click()
    shown.locator("#kinds .chip", has_text=kind).click()
    shown.locator(f"#row-{place}").click()
    if shown.viewport_size == DESK:
        shown.locator("#kinds .chip").first.click()
        shown.evaluate("document.querySelector('[aria-selected=true]')?.scrollIntoView({block: 'center'})")


def take(shown: Page, name: str) -> None:
    """Take a picture once everything on it is there."""
    time.sleep(1.5)  # the page listens for ever, so the network is never idle
    shown.screenshot(path=os.path.join(SHOTS, f"{name}.png"))


if __name__ == "__main__":
    main()
