"""How quick is the page on which copies are looked at, and how large is the report?

    python -m tests.bench.review_page [--groups 10000] [--keep DIR]

Makes a library of so many groups, half of two files and half of three, in folders of 500: photos of 480 × 360, each
with an equal file, every second one with a smaller JPEG as well. A real service reads it; then `dupwatch review` and
`dupwatch report` are measured with Debian's chromium, which is to be at /usr/bin/chromium:

- first paint: from the call of the address until a group and its pictures are on the screen, previews not made yet;
- next group: from the key until both pictures of the next group are drawn, fetched ahead; filter: from the letter typed
  until the list shows what is left;
- memory: of the process of the page (proportional set size), and the bytes and first paint of the report.
"""

import argparse
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from tests.bench.arguments import add_count, make_parser
from tests.bench.report import Report
from tests.conftest import photo_like
from tests.review.conftest import CHROMIUM, Reviewing
from tests.system.service import Service

PER_FOLDER = 500
STEPS = 40  # groups walked through, letters typed
# What a person waits for: the next frame after the work of a key is done.
PRESSED = """([key, done]) => new Promise((told) => {
  const begun = performance.now();
  document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  const look = () => requestAnimationFrame(() => {
    const images = [...document.querySelectorAll('.pane img')];
    const ready = images.length === 2 && images.every((image) => image.complete && image.naturalWidth);
    if (ready) requestAnimationFrame(() => told(performance.now() - begun)); else look();
  });
  look();
})"""
TYPED = """(text) => new Promise((told) => {
  const field = document.getElementById('search');
  field.value = text;
  const begun = performance.now();
  field.dispatchEvent(new Event('input', { bubbles: true }));
  requestAnimationFrame(() => requestAnimationFrame(() => told(performance.now() - begun)));
})"""
WHOLE = "fetch('/api/groups?revision=1&from=1000000').then((answer) => answer.json()).then((page) => page.whole)"
TOTAL = "fetch('/api/groups?revision=1&from=1000000').then((answer) => answer.json()).then((page) => page.total)"
PAINTED = """() => new Promise((told) => {
  const look = () => requestAnimationFrame(() => {
    const images = [...document.querySelectorAll('.pane img')];
    const ready = images.length === 2 && images.every((image) => image.complete && image.naturalWidth);
    if (ready && document.querySelector('.row .name')?.textContent) told(performance.now()); else look();
  });
  look();
})"""


def main() -> None:
    arguments = _arguments()
    report = Report("The page")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        place = Path(arguments.keep or scratch)
        photos = place / "photos"
        if not photos.exists():
            make_library(photos, arguments.groups)
        with Service(place / "service", photos) as service:
            begun = time.monotonic()
            while not service.ask("wait", timeout=60, timeout_seconds=70)["idle"]:
                pass
            print(f"read in {time.monotonic() - begun:.0f} s")
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            rows = measured_page(browser, service, place / "home")
            rows += measured_report(browser, service, place)
            browser.close()
    report.table(("what", "measured"), rows)
    report.write(arguments.out)


def make_library(folder: Path, groups: int) -> None:
    """Write the photos, on all processors."""
    numbers = range(0, groups, PER_FOLDER)
    with ProcessPoolExecutor() as pool:
        list(pool.map(_make_folder, [folder] * len(numbers), numbers, [groups] * len(numbers)))


def _make_folder(folder: Path, first: int, groups: int) -> None:
    album, phone = folder / f"albums/{first:05}", folder / f"phone-backup/DCIM/{first:05}"
    album.mkdir(parents=True)
    phone.mkdir(parents=True)
    for number in range(first, min(first + PER_FOLDER, groups)):
        picture = Image.fromarray(photo_like(number, 480, 360))
        picture.save(album / f"IMG_{number:05}.jpg", quality=90)
        shutil.copy2(album / f"IMG_{number:05}.jpg", phone / f"IMG_{number:05} (1).jpg")
        if number % 2:
            picture.resize((400, 300)).save(phone / f"sent-{number:05}.jpg", quality=75)


def measured_page(browser: Browser, service: Service, home: Path) -> list[tuple[str, str]]:
    """Rows of the report about the live page."""
    shutil.rmtree(home, ignore_errors=True)
    rows = []
    with Reviewing(service.endpoint, home) as review:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(review.address)
        begun = time.monotonic()
        page.locator(".pane img").nth(1).wait_for(timeout=120_000)
        while not page.evaluate(WHOLE):
            time.sleep(0.5)
        total = int(page.evaluate(TOTAL))
        rows.append(("groups read by the page, for the first time", f"{total:,} in {time.monotonic() - begun:.1f} s"))
        page.goto(f"{review.origin}/#")
        paints = []
        for _ in range(5):
            page.close()  # an open page holds a connection for events, and a browser opens six at most
            page = context.new_page()
            page.goto(f"{review.origin}/", wait_until="commit")  # the time of a later event is not that of the paint
            paints.append(float(page.evaluate(PAINTED)))
        rows.append(("first paint", f"{median(paints):.0f} ms (at most {max(paints):.0f})"))
        while _groups(page) != total:
            time.sleep(0.1)
        nexts = []
        for _ in range(STEPS):
            time.sleep(0.7)  # a person looks; what is fetched ahead comes meanwhile
            nexts.append(float(page.evaluate(PRESSED, ["j", ""])))
        rows.append(("next group, fetched ahead", f"{median(nexts):.0f} ms (at most {max(nexts):.0f})"))
        typed = [float(page.evaluate(TYPED, f"img_{number}")) for number in range(STEPS)]
        rows.append(("filter", f"{median(typed):.0f} ms (at most {max(typed):.0f})"))
        assert review.process is not None
        rows.append(("memory of the page's process", f"{_pss_mib(review.process.pid):.0f} MiB"))
        context.close()
    return rows


def measured_report(browser: Browser, service: Service, place: Path) -> list[tuple[str, str]]:
    """Rows of the report about the report."""
    from dupwatch.client import Client
    from dupwatch.report import write_report
    from dupwatch.review.pictures import Previews

    path = place / "report.html"
    begun = time.monotonic()
    with Client(service.endpoint) as client:
        write_report(client, str(path), Previews(str(place / "previews")), lambda _done, _total: None)
    rows = [("report made", f"{time.monotonic() - begun:.0f} s, {path.stat().st_size / 1e6:.1f} MB")]
    paints = []
    for _ in range(3):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(f"file://{path}", wait_until="commit")
        paints.append(float(page.evaluate(PAINTED)))
        if len(paints) == 3:
            page.wait_for_load_state()
            time.sleep(2)
            typed = [float(page.evaluate(TYPED, f"img_{number}")) for number in range(STEPS)]
            rows.append(("filter in the report", f"{median(typed):.0f} ms (at most {max(typed):.0f})"))
        context.close()
    rows.append(("first paint of the report", f"{median(paints):.0f} ms (at most {max(paints):.0f})"))
    return rows


def _groups(page: Page) -> int:
    text: Any = page.evaluate("document.getElementById('shown').textContent")
    return int("".join(c for c in str(text).split("group")[0] if c.isdigit()) or 0)


def _pss_mib(process: int) -> float:
    with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _arguments() -> argparse.Namespace:
    made = make_parser(__doc__)
    add_count(made, "--groups", 10_000, "groups")
    made.add_argument("--keep", metavar="DIR", help="make the library here and keep it for the next run")
    return made.parse_args()


if __name__ == "__main__":
    np.seterr(all="raise")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
