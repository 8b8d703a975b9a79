"""How things stand with the service, as the command `status` tells it."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dupwatchd.update.updater import Updater
from dupwatchd.watch.watcher import RootState


def status_document(updater: Updater, states: Mapping[bytes, RootState], roots: Sequence[bytes]) -> dict[str, Any]:
    """The result of `status`, paths as bytes; any thread may call."""
    progress = updater.progress
    offline = {*updater.survey.offline}
    result: dict[str, Any] = {
        "state": updater.state,
        **{name: updater.counts.get(name, 0) for name in ("files", "failed", "pictures", "matches")},
        "pending": updater.pending,
        "roots": [
            {
                "path": root,
                "state": "online" if root not in offline and states[root].online else "offline",
                "watched": states[root].mode,
            }
            for root in roots
            if root in states
        ],
        "problems": [
            f"{os.fsdecode(root)}: {states[root].line}"
            for root in roots
            if root in states and states[root].mode == "polled"
        ]
        + [f"{os.fsdecode(path)}: {error}" for path, error in updater.survey.unreadable[:20]],
    }
    if updater.state not in ("idle", "paused", "stopping"):
        elapsed = time.monotonic() - progress.began
        rate = progress.done / elapsed if progress.done and elapsed > 0 else None
        left = None if progress.total is None or not rate else max(0.0, progress.total - progress.done) / rate
        result["progress"] = {
            "stage": progress.stage_name,
            "done": progress.done,
            "total": progress.total,
            "unit": "pictures" if progress.stage_name == "comparing" else "files",
            "rate": rate,
            "seconds_left": left,
        }
    return result
