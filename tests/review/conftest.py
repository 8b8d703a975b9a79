"""A labelled library with a real service, the page as a process of its own, and a real browser."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.compare.altered import straightened
from tests.conftest import photo_like
from tests.system.service import PATIENCE_SECONDS, Service, until

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
HOSTILE_NAME = "<img src=x onerror=alert(1)>.jpg"
START = "import sys; from dupwatch.__main__ import main; main()"
NEEDS_BROWSER = pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="there is no chromium here")


def make_library(folder: Path) -> None:
    """Groups of every class that can be made for certain; what each is stands in the name of its folder."""

    def save(picture: Image.Image, name: str, quality: int = 92, **options: Any) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=quality, **options)
        return path

    def photo(seed: int) -> Image.Image:
        return Image.fromarray(photo_like(seed, 900, 675))

    for number in range(4):
        first = save(photo(number), f"albums/2021/identical-{number}.jpg")
        copy = folder / f"backup/phone/identical-{number} copy.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(first, copy)
    for number in range(4, 7):
        save(photo(number), f"albums/2022/same-{number}.jpg", 95, exif=camera(f"2022:0{number}:11 10:20:30"))
        save(
            photo(number).resize((720, 540)), f"backup/phone/same-{number}-sent.{'webp' if number == 5 else 'jpg'}", 75
        )
    save(photo(7), "albums/2023/three-7.jpg", 95)
    shutil.copy2(folder / "albums/2023/three-7.jpg", folder / "backup/phone/three-7 copy.jpg")
    with Image.open(folder / "albums/2023/three-7.jpg") as three:
        save(three.transpose(Image.Transpose.ROTATE_90), "backup/phone/three-7 turned.jpg", 80)
    save(photo(8), "albums/2023/grey-8.jpg", 95)
    save(photo(8).convert("L"), "prints/grey-8 bw.jpg", 95)
    save(photo(9), f"albums/2023/{HOSTILE_NAME}")
    shutil.copy2(folder / "albums/2023" / HOSTILE_NAME, folder / "backup" / "phone" / f"copy {HOSTILE_NAME}")
    save(photo(10), "albums/2023/crop-10.jpg", 95)
    save(photo(10).crop((18, 14, 882, 662)), "prints/crop-10 cut.jpg", 95)
    save(photo(11), "albums/2023/alone-11.jpg")
    scene = photo_like(15, 960, 675)
    save(Image.fromarray(scene[:, :900]), "albums/2023/lean-15.jpg", 95)
    save(Image.fromarray(straightened(scene[:, :900], 8)[0]), "prints/lean-15 straight.jpg", 95)
    aslant = Image.fromarray(straightened(scene[:, 220:], -9)[0])  # its right corner lies beyond the first one
    save(aslant.transpose(Image.Transpose.ROTATE_90), "prints/lean-15 turned.jpg", 95)
    pages = [Image.new("RGB", (320, 240), colour) for colour in ("red", "lime", "blue")]
    for number, page in enumerate(pages):
        page.paste(photo(12 + number).resize((200, 150)), (60, 45))
    save(pages[0], "albums/2023/identical-pages.tif", append_images=pages[1:], save_all=True)
    shutil.copy2(folder / "albums/2023/identical-pages.tif", folder / "backup/phone/identical-pages copy.tif")
    (folder / "albums/2022/same-4.xmp").write_bytes(b"rating 5")
    (folder / "albums/2022/same-4.MOV").write_bytes(b"movie")


def camera(taken: str) -> Image.Exif:
    """What a camera writes into a file."""
    exif = Image.Exif()
    exif[271], exif[272] = "Leica", "Leica Q2"
    exif.get_ifd(0x8769)[36867] = taken
    exif[0x9C9E] = "sea;dock".encode("utf-16-le")
    exif[0x010E] = "At the dock"
    return exif


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labelled pictures, to be copied and never changed."""
    folder = tmp_path_factory.mktemp("labelled")
    make_library(folder)
    return folder


@pytest.fixture
def photos(labelled: Path, tmp_path: Path) -> Path:
    """A copy of the labelled pictures, to be acted on."""
    return Path(shutil.copytree(labelled, tmp_path / "photos"))


@pytest.fixture
def service(photos: Path, tmp_path: Path) -> Iterator[Service]:
    """A service that has read them."""
    with Service(tmp_path / "service", photos) as running:
        running.settled()
        yield running


@pytest.fixture(scope="module")
def shared(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for tests that change no file."""
    place = tmp_path_factory.mktemp("shared")
    with Service(place / "service", Path(shutil.copytree(labelled, place / "photos"))) as running:
        running.settled()
        yield running


class Reviewing:
    """`dupwatch review` as a process of its own, with folders of its own."""

    def __init__(
        self, endpoint: str, home: Path, code: str = START, before: Sequence[str] = (), state: Path | None = None
    ) -> None:
        """``before``: a command that starts it. ``state``: of an index, instead of an endpoint."""
        self.home = home
        self._before = before
        self._of = ["--endpoint", endpoint] if state is None else ["--state", str(state)]
        self._code = code
        self.process: subprocess.Popen[str] | None = None
        self.address = ""

    def __enter__(self) -> Self:
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_STATE_HOME": str(self.home / "state"),
        }
        self.process = subprocess.Popen(
            [*self._before, sys.executable, "-c", self._code, "review", "--no-browser", *self._of],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.address
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def port(self) -> int:
        found = re.search(r":(\d+)/", self.address)
        assert found is not None
        return int(found[1])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """The status, headers and text of one answer; underscores in names of headers stand for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, told, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def enter(self) -> str:
        """Use the first address as a browser does, and return the cookie."""
        status, headers, _ = self.ask(self.address.removeprefix(self.origin))
        assert status == 200
        return headers["set-cookie"].partition(";")[0]


@pytest.fixture
def start_review(tmp_path: Path) -> Iterator[Callable[[Service], Reviewing]]:
    """Starts a page for a service."""
    running: list[Reviewing] = []

    def start(service: Service) -> Reviewing:
        running.append(Reviewing(service.endpoint, tmp_path / "home").__enter__())
        return running[-1]

    yield start
    for one in running:
        one.__exit__()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser without history, in which every error fails the test."""
    made = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    made.set_default_timeout(PATIENCE_SECONDS * 1000)
    yield made
    made.close()


def opened(context: BrowserContext, address: str) -> Page:
    """The page, once a group and its pictures are there; errors of its program fail the test."""
    page = context.new_page()
    page.on("pageerror", lambda error: page.evaluate("text => { window.failed = text }", str(error)))
    page.goto(address)
    page.locator(".pane img").nth(1).wait_for()
    return page


def shown_name(page: Page) -> str:
    """The name of the group that is looked at."""
    return page.locator("#group-name").inner_text()


def names(page: Page) -> list[str]:
    """The names of the groups in the list, from the top, as far as they are drawn."""
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll('.row:not([hidden])')]
            .sort((a, b) => a.dataset.place - b.dataset.place).map((row) => row.querySelector('.name').textContent)"""
        )
    )


def wait_for(page: Page, expression: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something holds in the page (playwright's own way is a string that becomes a program: forbidden)."""
    until(lambda: bool(page.evaluate(expression)), seconds)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    until(holds)
