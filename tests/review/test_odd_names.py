"""Photos whose names are no text are decided on and planned like all others."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext

from tests.review.conftest import NEEDS_BROWSER, Reviewing, opened, wait_until
from tests.system.service import Service


def test_a_photo_whose_name_is_not_utf_8_is_decided_on_and_planned(
    photos: Path, tmp_path: Path, start_review: Callable[[Service], Reviewing]
) -> None:
    odd = os.fsencode(photos) + b"/backup/caf\xe9.jpg"
    shutil.copy2(os.fsencode(photos / "albums/2023/alone-11.jpg"), odd)
    with Service(tmp_path / "service", photos) as service:
        service.settled()
        review = start_review(service)
        cookie = review.enter()
        same_origin = {"Cookie": cookie, "Sec_Fetch_Site": "same-origin"}

        def asked(path: str, method: str = "GET", body: str | None = None, **headers: str) -> dict[str, object]:
            status, _, text = review.ask(f"/api/{path}", method, body, **same_origin, **headers)
            assert status == 200, text
            told: dict[str, object] = json.loads(text)
            return told

        wait_until(lambda: asked("groups")["whole"] is True)
        token = str(asked("start")["token"])
        rule = json.dumps({"kinds": ["identical"]})
        looked = asked("rules", "POST", rule, X_Dupwatch_Token=token)
        assert looked["files"]
        decided = json.dumps(asked("rules/accept", "POST", json.dumps(looked), X_Dupwatch_Token=token))
        assert "backup/caf\\udce9.jpg" in decided
        assert asked("plan", "POST", "{}", X_Dupwatch_Token=token)["held_back"] == []


@NEEDS_BROWSER
def test_names_that_turn_round_or_hide_what_is_shown_are_shown_as_they_are(
    photos: Path, tmp_path: Path, start_review: Callable[[Service], Reviewing], context: BrowserContext
) -> None:
    """Else two names may look alike, and one of them is chosen to go."""
    shutil.rmtree(photos / "backup")
    odd = os.fsencode(photos) + b"/prints/alone\\xff\xff \xe2\x80\xaegpj\x1b\n\xd8\xb5\xd9\x88\xd8\xb1\xd8\xa9.jpg"
    shutil.copy2(os.fsencode(photos / "albums/2023/alone-11.jpg"), odd)
    with Service(tmp_path / "service", photos) as service:
        service.settled()
        page = opened(context, start_review(service).address)
        page.fill("#search", "gpj")
        page.locator("#row-0").click()
        name = page.locator("#caption-b .file-name")
        wait_until(lambda: "gpj" in name.inner_text())
        shown = "alone\\\\xff\\xff \\u202egpj\\x1b\\nصورة.jpg"
        assert name.inner_text() == shown
        assert str(name.get_attribute("title")).endswith(f"/prints/{shown}")
        page.keyboard.press("Enter")  # and means the file all the same
        page.keyboard.press("p")
        page.wait_for_selector(".result:has-text('1 file of 1 group goes')")
