"""Asks the service for the groups of a plan, page by page, all of one revision of the index.

In: a client and the question. Out: pages for `planning.make_plan`. Errors of the client pass through.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dupwatch.terminal import counted

if TYPE_CHECKING:
    from dupwatch.client import Client
    from dupwatch.progress import Bars

_PAGE_GROUPS = 500
_ASK_AGAIN_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0  # without a pair being looked at: the service is not at work, or its files are away
_TIMEOUT_SECONDS = 120.0  # the first page decides on every group
_ATTEMPTS = 5  # at groups that change while they are read, page by page


def wait_for_close_looks(client: "Client", bars: "Bars", tell: Callable[[str], None] = lambda _: None) -> None:
    """Wait until the service has looked closely at all pairs that seem the same; until then their files stay.

    It does so when it has nothing else to do. While it is paused, or if it does not get on, nobody waits: the plan
    says what it lacks. ``tell`` is called once with what is waited for, if anything is.
    """
    most, done, left, got_on_at = 0, 0, -1, time.monotonic()
    while True:
        status = client.request("status")
        now_left = status.get("to_confirm", 0)
        if now_left == 0 or status.get("state") in ("paused", "failing"):
            return
        if most == 0 and now_left is not None:
            tell(f"waiting for {counted(now_left, 'close look')} at pairs that seem the same; --now does not wait")
        if now_left != left:
            left, got_on_at = now_left, time.monotonic()
        if time.monotonic() - got_on_at > _PATIENCE_SECONDS and status.get("state") == "idle":
            return
        if now_left is not None:
            if now_left > most:
                most = now_left
                bars.stage("looking closely", most, "pairs")
                done = 0
            bars.advance(most - now_left - done)
            done = most - now_left
        time.sleep(_ASK_AGAIN_SECONDS)


def plan_pages(client: "Client", question: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of the command `plan`; raises RequestFailedError if the index never holds still."""
    from dupwatch.errors import RequestFailedError

    for _ in range(_ATTEMPTS):
        pages: list[dict[str, Any]] = []
        offset = 0
        while True:
            page = client.request(
                "plan", timeout_seconds=_TIMEOUT_SECONDS, limit=_PAGE_GROUPS, offset=offset, **question
            )
            if pages and page.get("revision") != pages[0].get("revision"):
                break
            pages.append(page)
            offset += len(page["groups"])
            if not page["groups"] or offset >= page["total_groups"]:
                return pages
    raise RequestFailedError("busy", "the index changes faster than it can be read; `dupwatch wait`, then plan again")
