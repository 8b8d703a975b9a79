"""From the service's plan to files moved and put back: the real service, the real client, real pictures."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.act.trees import seen
from tests.conftest import encoded, photo_like
from tests.system.service import Service


def make_photos(root: Path) -> None:
    """Six pictures, of each a copy: of even ones a smaller one, of odd ones an equal one."""
    for folder in ("best", "spare"):
        (root / folder).mkdir(parents=True)
    for number in range(6):
        picture = photo_like(number, 640, 480)
        best = encoded(picture)
        (root / f"best/{number}.jpg").write_bytes(best)
        spare = best if number % 2 else encoded(picture[::2, ::2], quality=80)
        (root / f"spare/{number}.jpg").write_bytes(spare)
    for folder in ("best", "spare"):
        (root / folder / "3.xmp").write_bytes(b"rating 5")


def test_copies_go_into_quarantine_and_come_back(tmp_path: Path) -> None:
    root, plan = tmp_path / "photos", tmp_path / "copies.plan"
    make_photos(root)
    with Service(tmp_path / "service", root) as service:
        environment = {**os.environ, "DUPWATCH_ENDPOINT": service.endpoint, "XDG_STATE_HOME": str(tmp_path / "state")}

        def dupwatch(*arguments: str) -> dict[str, Any]:
            done = subprocess.run(
                [sys.executable, "-m", "dupwatch", *arguments, "--json"],
                env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        dupwatch("wait")
        before = seen(root)
        groups = dupwatch("clusters")["total_clusters"]
        made = dupwatch("plan", "--out", str(plan))
        assert made["summary"]["groups"] == groups == 6
        assert made["summary"]["files"] == 7
        applied = dupwatch("apply", str(plan), "--yes")
        assert len(applied["done"]) == 7
        dupwatch("wait")
        assert dupwatch("clusters")["total_clusters"] == 0
        status = dupwatch("status")
        assert (status["files"], status["quarantine"]["files"]) == (6, 7)
        dupwatch("rescan")
        dupwatch("wait")
        assert dupwatch("status")["files"] == 6  # a full walk does not look into the quarantine either
        dupwatch("undo", str(plan), "--yes")
        assert seen(root) == before
        dupwatch("wait")
        assert dupwatch("clusters")["total_clusters"] == groups
        assert not (tmp_path / "state/dupwatch/untold.jsonl").exists()
