"""The page under fingers: what taps, drags and pinches do, with chromium's own emulation of a touch screen."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.review.conftest import NEEDS_BROWSER, Reviewing, shown_name, wait_for, wait_until
from tests.system.service import PATIENCE_SECONDS, Service

pytestmark = NEEDS_BROWSER

Point = tuple[float, float]


@pytest.fixture
def page(shared: Service, start_review: Any, browser: Browser) -> Iterator[Page]:
    review: Reviewing = start_review(shared)
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto(review.address)
    page.locator("#row-3").wait_for()  # a phone shows the list first
    yield page
    context.close()


class Fingers:
    """Fingers on the screen of a page."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)

    def _send(self, kind: str, *points: Point) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def go(self, *ways: tuple[Point, Point], steps: int = 8) -> None:
        """Put down a finger for each way, move all of them at once, and lift them."""
        self._send("touchStart", *(start for start, _ in ways))
        for step in range(1, steps + 1):
            self._send("touchMove", *(_between(start, end, step / steps) for start, end in ways))
        self._send("touchEnd")


def _between(start: Point, end: Point, share: float) -> Point:
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def middle_of(page: Page, selector: str) -> Point:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def transforms(page: Page) -> list[list[str]]:
    return list(
        page.evaluate(
            "[...document.querySelectorAll('.pane img')].map((one) => [one.style.transform, one.style.width])"
        )
    )


def open_pair(page: Page) -> None:
    page.locator(".row", has=page.locator(".name:text-is('identical-0.jpg')")).tap()
    wait_until(lambda: shown_name(page) == "identical-0.jpg")
    page.locator("#stage").wait_for(state="visible")
    wait_for(page, "['.pane-a img', '.pane-b img'].every((one) => document.querySelector(one)?.naturalHeight > 600)")


def test_taps_open_a_group_decide_it_and_take_it_back(page: Page) -> None:
    open_pair(page)
    page.locator("#list").wait_for(state="hidden")
    page.locator(".strip-file").nth(1).tap()
    page.locator("#keep-this").tap()
    assert page.locator(".strip-file").nth(1).get_attribute("data-fate") == "stays"
    page.locator("#accept").tap()
    wait_until(lambda: page.locator("#progress-text").inner_text().startswith("1 of "))
    assert shown_name(page) != "identical-0.jpg"
    page.locator("#take-back").tap()
    wait_until(lambda: page.locator("#progress-text").inner_text().startswith("0 of "))
    assert shown_name(page) == "identical-0.jpg"
    page.locator("#to-list").tap()
    page.locator("#list").wait_for(state="visible")


def test_two_fingers_zoom_both_pictures_and_one_moves_them(page: Page) -> None:
    open_pair(page)
    fingers = Fingers(page)
    x, y = middle_of(page, ".pane-a")
    before = transforms(page)
    fingers.go(((x - 20, y), (x - 90, y)), ((x + 20, y), (x + 90, y)))
    wait_until(lambda: transforms(page) != before)
    zoomed = transforms(page)
    assert zoomed[0] == zoomed[1]
    assert page.locator("#zoom").get_attribute("aria-pressed") == "true"
    assert page.locator("#zoom .label").inner_text().endswith("×")
    fingers.go(((x, y), (x - 60, y + 30)))
    wait_until(lambda: transforms(page) != zoomed)
    moved = transforms(page)
    assert moved[0] == moved[1]
    fingers.go(((x - 90, y), (x - 10, y)), ((x + 90, y), (x + 10, y)))
    fingers.go(((x - 90, y), (x - 10, y)), ((x + 90, y), (x + 10, y)))
    wait_until(lambda: page.locator("#zoom .label").inner_text() == "Fit")
    assert page.evaluate("visualViewport.scale") == 1  # the page itself does not zoom


def test_a_finger_moves_the_split_and_scrolls_the_list(page: Page) -> None:
    open_pair(page)
    page.locator('.modes [data-mode="split"]').tap()
    fingers = Fingers(page)
    x, y = middle_of(page, "#stage")
    fingers.go(((x, y), (x + 100, y)))
    wait_for(page, "parseFloat(document.querySelector('.split-line').style.left) > 60")
    page.locator("#to-list").tap()
    page.locator("#list").wait_for(state="visible")
    x, y = middle_of(page, "#list")
    fingers.go(((x, y + 150), (x, y - 150)))
    wait_for(page, "document.getElementById('list').scrollTop > 0 || document.scrollingElement.scrollTop > 0")


def test_pages_are_turned_by_taps(page: Page) -> None:
    page.locator(".row", has=page.locator(".name:text-is('identical-pages.tif')")).tap()
    frames = page.locator("#stage .frames")
    for text in ("1 of 3", "2 of 3"):
        frames.get_by_label("Next frame or page").tap()
        assert frames.locator("span").inner_text() == text
