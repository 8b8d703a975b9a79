"""A person at the page: every key, every filter, decisions that last, an apply and its undo, in a real browser."""

import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.review.conftest import (
    HOSTILE_NAME,
    NEEDS_BROWSER,
    Reviewing,
    names,
    opened,
    shown_name,
    wait_for,
    wait_until,
)
from tests.system.service import Service

pytestmark = NEEDS_BROWSER

BOTH_ARE_THERE = "['.pane-a img', '.pane-b img'].every((one) => document.querySelector(one)?.naturalHeight > 600)"

Start = Callable[[Service], Reviewing]


@pytest.fixture(scope="module")
def entered(shared: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where a page is that decides nothing, and the cookie that shows it."""
    with Reviewing(shared.endpoint, tmp_path_factory.mktemp("entered")) as running:
        yield running.origin, running.enter()


@pytest.fixture
def page(entered: tuple[str, str], context: BrowserContext) -> Page:
    """A page to be looked at."""
    origin, cookie = entered
    name, _, value = cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "url": origin}])
    return opened(context, f"{origin}/")


@pytest.fixture
def deciding(shared: Service, start_review: Start, context: BrowserContext) -> Page:
    """A page to decide in, with a memory of its own."""
    return opened(context, start_review(shared).address)


def go_to(page: Page, name: str) -> None:
    page.locator(".row", has=page.locator(f".name:text-is({name!r})")).first.click()
    wait_until(lambda: shown_name(page) == name)


def fates(page: Page) -> list[str]:
    return [str(one.get_attribute("data-fate")) for one in page.locator(".strip-file").all()]


def decided(page: Page) -> int:
    text = page.locator("#progress-text").inner_text()
    return int(text.split(" of ")[0]) if " of " in text else 0


def photos_of(page: Page) -> str:
    return str(page.evaluate("document.getElementById('group-name').title")).rsplit("/albums", 1)[0]


def test_groups_come_with_the_easy_ones_first(page: Page) -> None:
    order = ["Identical", "Same", "Cropped", "Retouched", "Recoloured", "Similar", "To be asked"]
    kinds = """() => [...document.querySelectorAll('.row:not([hidden])')]
    .sort((a, b) => a.dataset.place - b.dataset.place).map((row) => row.querySelector('.kind').textContent)"""
    places = [order.index(kind) for kind in page.evaluate(kinds)]  # rows are drawn in any order, by their places
    assert places == sorted(places)
    assert places[0] == 0
    assert len(set(places)) > 2


def test_a_file_name_is_text_and_nothing_else(page: Page) -> None:
    go_to(page, HOSTILE_NAME)
    page.keyboard.press("ArrowRight")
    assert page.locator("#caption-a .file-name").inner_text() == HOSTILE_NAME
    assert page.locator("#group img[src='x']").count() == 0
    assert page.evaluate("window.failed") is None


def test_sidecars_keywords_and_captions_are_among_the_facts(page: Page) -> None:
    go_to(page, "same-4.jpg")
    for name, told in (("Sidecars", "same-4.MOV, same-4.xmp"), ("Keywords", "dock, sea"), ("Caption", "At the dock")):
        cells = page.locator("#facts tr", has=page.locator(f"th:text-is('{name}')")).locator("td span:first-child")
        assert [one.inner_text() for one in cells.all()] == [told, "—"]
    go_to(page, "same-5.jpg")
    assert page.locator("#facts th:text-is('Sidecars')").count() == 0


def corner(page: Page, pane: str) -> list[int]:
    """The colour of the upper left corner of a picture."""
    return list(
        page.evaluate(
            """pane => {
                const context = new OffscreenCanvas(1, 1).getContext('2d');
                context.drawImage(document.querySelector(`.pane-${pane} img`), -4, -4);
                return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((one) => Math.round(one / 64));
            }""",
            pane,
        )
    )


def test_pages_of_a_document_are_shown_on_demand(page: Page) -> None:
    frames = page.locator("#stage .frames")
    go_to(page, "identical-0.jpg")
    frames.wait_for(state="hidden")
    go_to(page, "identical-pages.tif")
    frames.wait_for(state="visible")
    assert frames.inner_text() == "3 frames or pages"
    red, lime, blue = [4, 0, 0], [0, 4, 0], [0, 0, 4]
    shows = frames.locator("span")
    for key, text, colour in (
        (".", "1 of 3", red), (".", "2 of 3", lime), (".", "3 of 3", blue), (".", "1 of 3", red), (",", "3 of 3", blue),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert shows.inner_text() == text
        wait_until(lambda colour=colour: corner(page, "a") == colour == corner(page, "b"))  # type: ignore[misc]
    frames.get_by_label("Previous frame or page").click()
    assert shows.inner_text() == "2 of 3"
    wait_until(lambda: corner(page, "a") == lime == corner(page, "b"))
    go_to(page, "identical-0.jpg")
    frames.wait_for(state="hidden")
    go_to(page, "identical-pages.tif")
    assert shows.inner_text() == "3 frames or pages"


def test_keys_walk_through_groups_and_files(page: Page) -> None:
    listed = names(page)
    for key, place in (("j", 1), ("ArrowDown", 2), ("k", 1), ("ArrowUp", 0), ("k", 0), ("PageDown", 10), ("PageUp", 0)):
        page.keyboard.press(key)
        assert shown_name(page) == listed[min(place, len(listed) - 1)], key
    go_to(page, "three-7.jpg")
    second = page.locator("#caption-b .badge")
    for key, wanted in (("ArrowRight", "2"), ("ArrowRight", "3"), ("ArrowLeft", "2")):
        page.keyboard.press(key)
        assert second.inner_text() == wanted


def test_keys_choose_what_stays(deciding: Page) -> None:
    page = deciding
    go_to(page, "three-7.jpg")
    first = fates(page)
    assert first[0] == "stays"
    page.keyboard.press("2")
    assert fates(page) == ["goes", "stays", "goes"]
    page.keyboard.press("1")
    assert fates(page) == ["stays", "goes", "goes"]
    page.keyboard.press("3")
    page.keyboard.press("x")  # the third is no copy: another one of the rest has to stay
    assert fates(page) == ["stays", "goes", "out"]
    page.keyboard.press("x")
    assert fates(page)[2] == "goes"
    page.keyboard.press("0")
    assert fates(page) == ["out", "out", "out"]
    assert "Not copies" in page.locator("#outcome").inner_text()


def test_keys_show_pictures_in_each_way(page: Page) -> None:
    stage = page.locator("#stage")
    for key, mode in (("s", "split"), ("d", "difference"), ("d", "side"), ("c", "side"), (" ", "blink")):
        page.keyboard.press(key)
        assert stage.get_attribute("data-mode") == mode
    assert stage.get_attribute("data-front") == "b"
    page.keyboard.press(" ")
    assert stage.get_attribute("data-front") == "a"
    page.keyboard.press("Escape")
    assert stage.get_attribute("data-mode") == "side"
    page.keyboard.press("z")
    assert page.locator("#zoom").get_attribute("aria-pressed") == "true"
    transforms = page.evaluate(
        "[...document.querySelectorAll('.pane img')].map((image) => [image.style.transform, image.style.width])"
    )
    assert transforms[0] == transforms[1]  # equal pictures: zoom and place are those of both
    page.keyboard.press("+")
    page.keyboard.press("-")
    page.keyboard.press("z")
    assert page.locator("#zoom").inner_text() == "Fit"


def test_what_is_under_the_pointer_stays_there_while_zooming(page: Page) -> None:
    box = page.locator(".pane-a").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4
    place = """([x, y]) => { const image = document.querySelector('.pane-a img').getBoundingClientRect();
        return [(x - image.left) / image.width, (y - image.top) / image.height]; }"""
    before = page.evaluate(place, [x, y])
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -240)
    wait_for(page, "document.querySelector('#zoom').getAttribute('aria-pressed') === 'true'")
    after = page.evaluate(place, [x, y])
    assert after == pytest.approx(before, abs=0.01)
    page.mouse.down()
    page.mouse.move(x - 60, y - 40, steps=4)
    page.mouse.up()
    moved = page.evaluate(place, [x - 60, y - 40])
    assert moved == pytest.approx(after, abs=0.02)


def test_a_turned_copy_is_shown_upright(page: Page) -> None:
    go_to(page, "three-7.jpg")
    turned = page.evaluate(
        "[...document.querySelectorAll('.strip-file')].findIndex((file) => file.title.endsWith('turned.jpg'))"
    )
    page.locator(".strip-file").nth(turned).click()
    wait_for(page, BOTH_ARE_THERE)
    boxes = page.evaluate(
        """['.pane-a img', '.pane-b img'].map((one) => {
        const box = document.querySelector(one).getBoundingClientRect(); return [box.width, box.height]; })"""
    )
    assert boxes[0] == pytest.approx(boxes[1], abs=2)
    page.keyboard.press("d")
    assert greatest_difference(page) < 40  # the same picture, aligned; the same turned differs by more


def test_a_crop_lies_where_it_lies_in_the_whole_picture(page: Page) -> None:
    go_to(page, "crop-10.jpg")
    wait_for(page, BOTH_ARE_THERE)
    wide, high = page.evaluate(
        """() => { const [a, b] = ['.pane-a img', '.pane-b img'].map((one) => document.querySelector(one)
        .getBoundingClientRect()); return [b.width / a.width, b.height / a.height]; }"""
    )
    assert (wide, high) == pytest.approx((864 / 900, 648 / 675), abs=0.01)
    outlined = page.evaluate(
        """() => { const box = document.querySelector('.pane-a .outline polygon').getBoundingClientRect();
        const part = document.querySelector('.pane-b img').getBoundingClientRect();
        return [box.width - part.width, box.height - part.height]; }"""
    )
    assert outlined == pytest.approx((4, 4), abs=5)  # with its border
    page.keyboard.press("d")
    assert greatest_difference(page) < 40


def test_parts_that_lean_are_outlined_aslant_and_lie_so(page: Page) -> None:
    go_to(page, "lean-15.jpg")
    for name, lean, reaches_beyond in (("straight", -8, False), ("turned", 9, True)):
        page.locator(f".strip-file[title$='lean-15 {name}.jpg']").click()
        wait_for(page, BOTH_ARE_THERE.replace("600", "500"))
        told, drawn, beyond = page.evaluate(
            """() => {
                const outline = document.querySelector('.pane-a .outline polygon');
                const corners = [...outline.points].map(({ x, y }) => [x, y]);
                const image = document.querySelector('.pane-b img');
                const [width, height] = [image.offsetWidth / 2, image.offsetHeight / 2];
                const matrix = new DOMMatrix(getComputedStyle(image).transform);
                const drawn = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) => {
                    const { x: right, y: down } = matrix.transformPoint(new DOMPoint(x * width, y * height));
                    return [right + width, down + height];
                });
                return [corners, drawn, document.querySelector('.pane-b .outline').checkVisibility()];
            }"""
        )
        assert beyond is reaches_beyond
        (left, top), (right, bottom) = told[:2]
        assert math.degrees(math.atan2(bottom - top, right - left)) == pytest.approx(lean, abs=0.7)
        assert np.abs(np.subtract(sorted(told), sorted(drawn))).max() < 4
        page.keyboard.press("d")
        assert greatest_difference(page) < 15
        page.keyboard.press("d")


def greatest_difference(page: Page) -> int:
    """In percent, as the page says it."""
    note = page.locator("#stage-note").inner_text()
    if note.startswith("Not a single pixel"):
        return 0
    assert note.startswith("Differences"), note
    return int("".join(character for character in note.split("largest")[-1] if character.isdigit()))


def test_only_what_differs_is_listed_and_better_is_marked(page: Page) -> None:
    go_to(page, "same-4.jpg")
    rows = {row.locator("th").inner_text(): row for row in page.locator("#facts tr").all()}
    assert {"Name", "Folder", "Pixels", "Size", "Camera", "Taken"} <= set(rows)
    assert "Damaged" not in rows
    assert "Format" not in rows
    assert rows["Pixels"].locator("td").nth(0).get_attribute("class") == "better"
    assert rows["Pixels"].locator("td").nth(1).get_attribute("class") == "worse"
    assert page.locator("#why p").count() >= 2


def test_each_filter_leaves_what_it_says(page: Page) -> None:
    everything = names(page)
    page.locator("#kinds .chip", has_text="Identical").click()
    assert 0 < len(names(page)) < len(everything)
    assert all("identical" in name or "img" in name for name in names(page))
    page.locator("#kinds .chip", has_text="All").click()
    page.keyboard.press("/")
    page.keyboard.type("SAME-5 phone")
    assert set(names(page)) == {"same-5.jpg"}
    page.keyboard.press("Escape")
    assert names(page) == everything
    page.keyboard.press("f")
    folder = f"{photos_of(page)}/prints"
    for control, value, wanted in (
        ("#filter-folder", folder, {"grey-8.jpg", "crop-10.jpg", "lean-15.jpg"}),
        ("#filter-camera", "Leica Q2", {"same-4.jpg", "same-5.jpg", "same-6.jpg"}),
        ("#filter-format", "WEBP", {"same-5.jpg"}),
        ("#filter-year", "2022", {"same-4.jpg", "same-5.jpg", "same-6.jpg"}),
        ("#filter-bytes", "1000000", set()),
    ):
        if control == "#filter-folder":
            page.fill(control, value)
        else:
            page.select_option(control, value)
        assert set(names(page)) == wanted, control
        page.get_by_role("button", name="Clear").click()
    assert names(page) == everything
    page.select_option("#order", "folder")
    assert names(page) != everything or len(set(everything)) == 1
    page.select_option("#order", "bytes")
    sizes = page.evaluate("[...document.querySelectorAll('.row:not([hidden])')].length")
    assert sizes == len(everything)


def test_undecided_only_leaves_out_what_is_decided_when_it_is_asked_for(deciding: Page) -> None:
    page = deciding
    first = shown_name(page)
    page.keyboard.press("Enter")
    assert first in names(page)  # what is looked at does not move
    page.keyboard.press("f")
    page.check("#filter-undecided")
    assert decided(page) == 1
    assert first not in names(page)


def test_enter_accepts_and_goes_on_and_backspace_takes_back_to_what_was_before(page: Page) -> None:
    first, second = names(page)[:2]
    page.keyboard.press("Enter")
    assert shown_name(page) == second
    assert decided(page) == 1
    page.keyboard.press("Backspace")
    wait_until(lambda: shown_name(page) == first)
    assert decided(page) == 0
    page.keyboard.press("Enter")
    page.keyboard.press("k")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.keyboard.press("Backspace")
    wait_until(lambda: shown_name(page) == first and fates(page) == ["stays", "goes"])
    assert decided(page) == 1


def test_a_key_that_is_held_down_decides_nothing(deciding: Page) -> None:
    deciding.keyboard.down("Enter")
    for key in ("Enter", "Enter", "j"):
        deciding.keyboard.down(key)  # of a key that is down already: as the keyboard repeats it
    wait_until(lambda: decided(deciding) == 1)
    deciding.keyboard.up("Enter")
    deciding.keyboard.press("Enter")
    wait_until(lambda: decided(deciding) == 2)
    deciding.keyboard.down("Backspace")
    deciding.keyboard.down("Backspace")
    wait_until(lambda: decided(deciding) == 1)
    deciding.keyboard.up("Backspace")
    deciding.keyboard.press("Backspace")
    wait_until(lambda: decided(deciding) == 0)


def test_two_windows_know_what_was_decided_in_either(
    shared: Service, start_review: Start, context: BrowserContext
) -> None:
    review = start_review(shared)
    first = opened(context, review.address)
    second = opened(context, review.origin)
    first.keyboard.press("Enter")
    wait_until(lambda: decided(second) == 1)
    second.keyboard.press("j")
    second.keyboard.press("Enter")
    wait_until(lambda: decided(first) == decided(second) == 2)
    first.keyboard.press("Backspace")  # whatever was decided last, in whichever window
    wait_until(lambda: decided(first) == decided(second) == 1)
    assert first.locator("#group-name").inner_text() == second.locator("#row-1 .name").inner_text()


def test_two_pages_of_one_person_know_what_was_decided_in_either(
    shared: Service, start_review: Start, context: BrowserContext
) -> None:
    first, second = (opened(context, start_review(shared).address) for _ in range(2))
    first.keyboard.press("Enter")
    wait_until(lambda: decided(second) == 1)
    second.keyboard.press("Backspace")
    wait_until(lambda: decided(first) == decided(second) == 0)


def test_a_server_that_is_gone_is_told_in_words(shared: Service, start_review: Start, context: BrowserContext) -> None:
    review = start_review(shared)
    page = opened(context, review.address)
    assert review.process is not None
    review.process.kill()
    page.keyboard.press("Enter")
    page.wait_for_selector("#toast:has-text('does not answer. Start `dupwatch review` again')")
    assert decided(page) == 0


def test_keys_are_shown_by_a_question_mark(page: Page) -> None:
    page.keyboard.press("?")
    text = page.get_by_role("dialog").inner_text()
    assert all(key in text for key in ("Enter", "1 … 9", "0", "Space", "Z", "D", "X", "Backspace", "J", "K"))
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0


def test_decisions_outlive_a_reload_and_the_page_itself(
    shared: Service, start_review: Start, context: BrowserContext
) -> None:
    review = start_review(shared)
    page = opened(context, review.address)
    total = page.locator("#progress-text").inner_text().split(" of ")[1].split(" ")[0]
    page.keyboard.press("2")
    for _ in range(3):
        page.keyboard.press("Enter")
    wait_for(page, "document.querySelectorAll('.row.decided').length === 3")
    wait_for(page, "document.querySelector('#progress-text').ariaBusy === 'false'")
    page.reload()
    wait_for(page, "document.querySelector('#progress-text').textContent.startsWith('3 of')")
    assert f"3 of {total} decided" in page.locator("#progress-text").inner_text()
    page.keyboard.press("Home")
    page.locator("#row-0").click()
    assert fates(page) == ["goes", "stays"]
    page.goto("about:blank")
    review.__exit__()
    page = opened(context, start_review(shared).address)
    assert f"3 of {total} decided" in page.locator("#progress-text").inner_text()


def test_the_service_may_be_restarted_in_the_middle(
    service: Service, start_review: Start, context: BrowserContext
) -> None:
    page = opened(context, start_review(service).address)
    page.keyboard.press("Enter")
    wait_until(lambda: decided(page) == 1)
    service.stop()
    page.keyboard.press("Enter")  # it is kept, and told later
    page.wait_for_selector("#toast:has-text('told later'), #toast:has-text('away')")
    assert decided(page) == 2
    service.start()
    wait_until(service.answers)
    page.keyboard.press("Enter")
    wait_until(lambda: decided(page) == 3)
    service.settled()

    def chosen() -> int:
        return sum(file.get("choice") == "keep" for one in service.clusters() for file in one["files"])

    wait_until(lambda: chosen() >= 3)


def test_new_copies_are_offered_and_nothing_moves(
    service: Service, start_review: Start, context: BrowserContext, photos: Path
) -> None:
    page = opened(context, start_review(service).address)
    page.keyboard.press("j")
    before = names(page), shown_name(page)
    shutil.copy(photos / "albums/2023/alone-11.jpg", photos / "backup/phone/alone-11 copy.jpg")
    page.wait_for_selector("#news:not([hidden])")
    assert "1 new group" in page.locator("#news").inner_text()
    assert (names(page), shown_name(page)) == before
    (photos / "backup/phone/alone-11 copy.jpg").unlink()
    page.wait_for_selector("#news", state="hidden")  # all is as it was
    shutil.copy(photos / "albums/2023/alone-11.jpg", photos / "backup/phone/alone-11 copy.jpg")
    page.wait_for_selector("#news:not([hidden])")
    page.locator("#news").click()
    assert shown_name(page) == before[1]
    assert len(names(page)) == len(before[0]) + 1


def test_a_hidden_page_holds_no_connection_and_misses_nothing(
    service: Service, start_review: Start, context: BrowserContext, photos: Path
) -> None:
    review = start_review(service)
    page = opened(context, review.address)
    hide = """(is) => {
        Object.defineProperty(document, 'hidden', { value: is, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    others = [context.new_page() for _ in range(6)]
    for other in others:  # a browser opens six connections to one server at most
        page.evaluate(hide, True)
        other.goto(f"{review.origin}/")
        other.wait_for_selector(".row")
        other.evaluate(hide, True)

    shutil.copy(photos / "albums/2023/alone-11.jpg", photos / "backup/phone/alone-11 copy.jpg")
    others[0].evaluate(hide, False)
    others[0].wait_for_selector("#news:not([hidden])")
    assert page.locator("#news").is_hidden()

    page.evaluate(hide, False)
    page.wait_for_selector("#news:not([hidden])")


def test_a_whole_review_is_applied_and_put_back(
    service: Service, start_review: Start, context: BrowserContext, photos: Path
) -> None:
    def there() -> set[str]:
        return {
            os.path.relpath(os.path.join(folder, name), photos)
            for folder, _, files in os.walk(photos)
            for name in files
            if ".dupwatch" not in folder
        }

    before = there()
    page = opened(context, start_review(service).address)
    page.keyboard.press("r")
    page.get_by_role("button", name="Look", exact=True).click()
    page.wait_for_selector(".result:has-text('groups, ')")
    page.get_by_role("button", name="Decide").click()
    page.wait_for_selector("#toast:has-text('decided')")
    go_to(page, "grey-8.jpg")
    page.keyboard.press("1")  # a person lets the grey one go
    page.keyboard.press("Enter")
    page.keyboard.press("p")
    page.wait_for_selector(".result:has-text('go:')")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the plan").click()
    assert download.value.suggested_filename == "copies.plan"
    with (photos / "backup/phone/identical-1 copy.jpg").open("ab") as changed:
        changed.write(b"more")
    page.get_by_role("button", name="Apply", exact=True).click()
    page.wait_for_selector(".result:has-text('moved')", timeout=20_000)
    assert "identical-1 copy.jpg has changed" in page.locator(".troubles").inner_text()
    gone = before - there()
    assert "backup/phone/identical-0 copy.jpg" in gone
    assert "prints/grey-8 bw.jpg" in gone
    assert f"backup/phone/copy {HOSTILE_NAME}" in gone
    assert not any(name.startswith("albums/") for name in gone)
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    wait_until(lambda: decided(page) == 0)  # what is left holds other files than were decided on
    page.reload()  # what could not be done, and what can be put back, outlive that
    page.locator("#row-0").wait_for()
    page.keyboard.press("p")
    page.wait_for_selector(".result:has-text('Nothing goes')")
    assert "identical-1 copy.jpg has changed" in page.locator(".troubles").inner_text()
    page.get_by_role("button", name="Put back").click()
    page.wait_for_selector(".result:has-text('put back')")
    assert there() == before


def test_one_decision_for_a_pair_of_folders(shared: Service, start_review: Start, context: BrowserContext) -> None:
    page = opened(context, start_review(shared).address)
    photos = photos_of(page)
    page.keyboard.press("r")
    page.fill("#bulk-inside", f"{photos}/backup/phone")
    page.fill("#bulk-reference", f"{photos}/albums")
    page.get_by_role("button", name="Look", exact=True).click()
    page.wait_for_selector(".result:has-text('group')")
    page.get_by_role("button", name="Decide").click()
    page.wait_for_selector("#toast:has-text('decided')")
    assert decided(page) >= 5
    for row in range(3):
        page.locator(f"#row-{row}").click()
        going = page.locator(".strip-file[data-fate=goes]").all()
        assert going
        assert all("/backup/phone/" in str(file.get_attribute("title")) for file in going)
    page.keyboard.press("Backspace")
    wait_until(lambda: decided(page) == 0)


def test_groups_that_are_no_copies_are_not_shown_again(
    service: Service, start_review: Start, context: BrowserContext
) -> None:
    page = opened(context, start_review(service).address)
    go_to(page, "same-6.jpg")
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    wait_until(lambda: "same-6.jpg" not in service.shown())
    page.keyboard.press("Backspace")
    wait_until(lambda: "same-6.jpg" in service.shown())


def test_a_page_on_another_port_can_do_nothing(
    service: Service, start_review: Start, context: BrowserContext, tmp_path: Path
) -> None:
    import functools
    import http.server
    import threading

    review = start_review(service)
    opened(context, review.address)
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "index.html").write_text("<!doctype html><title>evil</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "evil"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        evil = context.new_page()
        evil.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        answers = evil.evaluate(
            """async (origin) => {
            const tried = [];
            for (const [path, options] of [
              ['/api/take-back', {method: 'POST', mode: 'no-cors', body: '{}'}],
              ['/api/start', {}], ['/api/groups', {}],
              ['/api/decide', {method: 'POST', headers: {'x-dupwatch-token': 'x'}, body: '{}'}],
            ]) {
              try {
                const answer = await fetch(origin + path, {credentials: 'include', ...options});
                tried.push(answer.type === 'opaque' ? 'opaque' : await answer.text());
              } catch (error) { tried.push('refused'); }
            }
            const image = new Image();
            tried.push(await new Promise((done) => {
              image.onload = () => done('shown'); image.onerror = () => done('refused');
              image.src = origin + '/static/mark.svg';
            }));
            const frame = document.createElement('iframe');
            frame.src = origin + '/';
            document.body.append(frame);
            await new Promise((done) => { frame.onload = done; });
            try { tried.push(frame.contentDocument ? 'framed' : 'refused'); } catch { tried.push('refused'); }
            return tried; }""",
            review.origin,
        )
        server.shutdown()
    assert answers == ["refused", "refused", "refused", "refused", "refused", "refused"]


def test_the_page_is_one_program_and_one_style(shared: Service, start_review: Start, context: BrowserContext) -> None:
    """Each file more is another answer to wait for before anything is on the screen."""
    page = context.new_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url.rpartition("/")[2]) if "/static/" in request.url else None)
    page.goto(start_review(shared).address)
    page.locator(".pane img").first.wait_for()
    assert asked == {"review.js", "page.css", "mark.svg"}


def test_a_plan_waits_for_the_last_decision_and_taking_back_takes_that_one(
    shared: Service, start_review: Start, context: BrowserContext
) -> None:
    page = opened(context, start_review(shared).address)

    def slowly(route: Route) -> None:
        page.wait_for_timeout(700)
        route.continue_()

    page.route("**/api/decide", slowly)
    first = shown_name(page)
    page.keyboard.press("Enter")
    page.keyboard.press("p")
    page.wait_for_selector(".result:has-text('1 file of 1 group goes')")
    page.keyboard.press("Escape")
    second = shown_name(page)
    assert second != first
    page.keyboard.press("Enter")
    page.keyboard.press("Backspace")
    wait_until(lambda: shown_name(page) == second)
    assert decided(page) == 1
