"""Photos whose names are no text are decided on and planned like all others."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.review.conftest import Reviewing, wait_until
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
