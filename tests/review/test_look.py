"""The page can be read, told apart and used by everybody, on every screen, and stands still."""

import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from dupwatch.review.bundle import bundle
from tests.review.conftest import NEEDS_BROWSER, Reviewing, names, opened, shown_name, wait_for
from tests.review.test_touch import middle_of
from tests.system.service import Service

pytestmark = NEEDS_BROWSER

LOOK = (Path(__file__).parent / "look.js").read_text().strip().rstrip(";")
SCREENS = {"desk": (1440, 900), "small desk": (1100, 700), "tablet": (820, 1180), "phone": (390, 844)}
TWICE_THE_SIZE = {"desk": (960, 540), "small desk": (683, 384)}  # what is left of 1920 x 1080 and 1366 x 768


@pytest.fixture(scope="module")
def review(shared: Service, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Reviewing(shared.endpoint, tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="module")
def page(review: Reviewing, browser: Any) -> Any:
    context: BrowserContext = browser.new_context(viewport={"width": 1440, "height": 900})
    yield opened(context, review.address)
    context.close()


def ask(page: Page, question: str) -> Any:
    """What a function of look.js returns."""
    return page.evaluate(f"{LOOK}.{question}()")


def show_list(page: Page) -> None:
    """On a phone, go back to the groups."""
    wait_for(page, "matchMedia('(max-width: 760px)').matches && document.body.getBoundingClientRect().width < 760")
    wait_for(page, "document.getElementById('progress-text').ariaBusy !== 'true'")  # what is taken back opens its group
    if page.evaluate("document.body.classList.contains('in-group')"):
        page.locator("#to-list").click()


def views(page: Page, check: Callable[[str], None]) -> None:
    """Call ``check`` with the name of each view, once it is on the screen."""
    check("group")
    page.keyboard.press("f")
    check("filters")
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    for key in ("?", "r", "p"):
        page.keyboard.press(key)
        if page.locator("dialog").count():
            check(f"dialog {key}")
            page.keyboard.press("Escape")
            page.locator("dialog").wait_for(state="detached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(page: Page, scheme: Any) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.keyboard.press("Enter")
    views(page, lambda view: _is_empty(ask(page, "contrast"), view))
    page.keyboard.press("Backspace")


def test_what_is_chosen_is_seen_where_the_system_sets_all_colours(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(forced_colors="active")
    lines = page.locator("[aria-selected=true], [aria-checked=true], .strip-file[aria-pressed=true]").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).outlineWidth)"
    )
    page.emulate_media(forced_colors="none")
    assert lines == ["2px"] * 3


def test_everything_has_a_name_and_a_role(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.title")
    views(page, lambda view: _is_empty(ask(page, "nameless"), view))


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_overlaps_sticks_out_or_is_cut(page: Page, screen: str) -> None:
    width, height = SCREENS[screen]
    page.set_viewport_size({"width": width, "height": height})
    if screen == "phone":
        show_list(page)
        _is_empty(ask(page, "crowded"), "list")
        page.locator("#row-0").click()
    _is_empty(ask(page, "crowded"), "group")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.parametrize("screen", TWICE_THE_SIZE)
def test_everything_can_be_reached_at_twice_the_size(page: Page, screen: str) -> None:
    width, height = TWICE_THE_SIZE[screen]
    page.set_viewport_size({"width": width, "height": height})
    if width <= 760:
        show_list(page)
    page.locator("#open-filters").click()
    _is_empty(ask(page, "unreachable"), "list")
    page.locator("#open-filters").click()
    page.locator("#row-0").click()
    _is_empty(ask(page, "unreachable"), "group")
    page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.parametrize("screen", ["tablet", "phone"])
def test_messages_lie_over_no_control(page: Page, screen: str) -> None:
    width, height = SCREENS[screen]
    page.set_viewport_size({"width": width, "height": height})
    message = "one => { one.hidden = false; one.textContent = '1,234 new groups · show' }"
    if screen == "phone":
        show_list(page)
    page.locator("#news").evaluate(message)
    _is_empty(ask(page, "crowded"), "list")
    page.locator("#row-0").click()
    page.locator("#toast").evaluate(message)
    _is_empty(ask(page, "crowded"), "group")
    page.locator("#news, #toast").evaluate_all("all => all.forEach((one) => { one.hidden = true; })")
    page.set_viewport_size({"width": 1440, "height": 900})


def test_the_layout_never_moves_under_the_pointer(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    seen = [ask(page, "parts")]
    for key in (
        "j",
        "j",
        "j",
        "j",
        "j",
        "j",
        "ArrowRight",
        "2",
        "0",
        "x",
        "s",
        "d",
        " ",
        " ",
        "c",
        "z",
        "z",
        "Enter",
        "Backspace",
    ):
        page.keyboard.press(key)
        seen.append(ask(page, "parts"))
    assert all(before == after for before, after in pairwise(seen))


def test_a_finger_moves_and_a_phone_shows_one_thing_at_a_time(review: Reviewing, page: Page, browser: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    show_list(page)
    assert page.locator("#list").is_visible()
    page.locator("#stage").wait_for(state="hidden")
    page.locator(".row:not([hidden])").nth(1).click()
    page.locator("#stage").wait_for(state="visible")
    page.locator("#list").wait_for(state="hidden")
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.decide button')].map((one) => one.getBoundingClientRect().height))"
    )
    assert smallest >= 44
    assert page.evaluate("getComputedStyle(document.getElementById('stage')).touchAction") == "none"


def test_the_split_and_the_part_that_is_seen_move_by_keys(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator("#row-0").click()
    page.keyboard.press("s")
    page.locator(".slider").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".slider").input_value() == "501"
    page.mouse.click(*middle_of(page, "#stage"))  # then the keys belong to the group again
    page.keyboard.press("End")
    assert shown_name(page) == names(page)[-1]
    page.keyboard.press("Home")
    assert shown_name(page) == names(page)[0]
    page.keyboard.press("j")
    assert shown_name(page) == names(page)[1]  # the other keys are the group's
    page.keyboard.press("c")
    page.keyboard.press("z")
    where = "[...document.querySelectorAll('.pane img')].map((one) => one.getBoundingClientRect().toJSON())"
    before = page.evaluate(where)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    after = page.evaluate(where)
    assert all(new["x"] < old["x"] and new["y"] < old["y"] for old, new in zip(before, after, strict=True))
    page.keyboard.press("z")


def test_two_clicks_enlarge_what_they_point_at(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator("#row-0").click()
    place = """([x, y]) => { const image = document.querySelector('.pane-a img').getBoundingClientRect();
        return [(x - image.left) / image.width, (y - image.top) / image.height]; }"""
    box = page.locator(".pane-a img").bounding_box()
    assert box is not None
    point = [box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4]
    before = page.evaluate(place, point)
    page.mouse.dblclick(*point)
    assert page.locator("#zoom").get_attribute("aria-pressed") == "true"
    assert page.evaluate(place, point) == pytest.approx(before, abs=0.01)
    page.keyboard.press("z")


def test_a_name_is_found_however_its_letters_are_written(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator("#row-0").click()
    found = page.evaluate(
        f"([path, text]) => {{ {bundle('groups.js')}"
        """
        const groups = new Groups();
        groups.add([{ key: 'one', kind: 'same', files: [{ path, bytes: 1, modified: 0 }] }], {});
        return groups.shown({ ...NO_FILTER, text }, 'kind').length; }""",
        [f"/photos/{unicodedata.normalize('NFD', 'Été à Málaga')}.jpg", "málaga ÉTÉ"],
    )
    assert found == 1


def test_a_class_is_chosen_by_arrows_and_keeps_the_focus(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator("#row-0").click()
    checked = "document.activeElement.getAttribute('aria-checked') === 'true' && document.activeElement.dataset.kind"
    page.locator("#kinds [aria-checked=true]").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(checked) == "identical"
    assert {"Identical"} == set(page.locator(".row:not([hidden]) .kind").all_inner_texts())
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(checked) == page.evaluate("document.querySelector('#kinds').lastChild.dataset.kind")
    page.keyboard.press("f")
    page.get_by_role("button", name="Clear").press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Clear"
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    page.locator("#kinds .chip").first.click()


def _is_empty(found: list[Any], view: str) -> None:
    assert found == [], view


AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, scheme: Any) -> None:
    """Automated checks of WCAG AA by axe-core, which the package brings along."""
    package = pytest.importorskip("axe_playwright_python", reason="axe is not installed here")
    page.evaluate((Path(package.__file__).parent / "axe.min.js").read_text())
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    def check(view: str) -> None:
        found = page.evaluate("rules => axe.run({ runOnly: rules, resultTypes: ['violations'] })", AXE_RULES)
        _is_empty([(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]], view)

    page.set_viewport_size({"width": 1440, "height": 900})
    views(page, check)
    page.set_viewport_size({"width": 390, "height": 844})
    show_list(page)
    check("list on a phone")
    page.locator("#row-0").click()
    check("group on a phone")
    page.set_viewport_size({"width": 1440, "height": 900})


def test_tab_reaches_every_control_and_shows_where_it_is(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    reached: list[str] = []
    for _ in range(200):
        page.keyboard.press("Tab")
        place = ask(page, "focused")
        if place is not None:  # else it is outside the page, and comes back
            if reached and place["name"] == reached[0]:
                break
            assert place["visible"], place
            reached.append(place["name"])
    wanted = set(ask(page, "controls"))
    assert wanted - set(reached) == set()
    assert len(wanted) > 20
