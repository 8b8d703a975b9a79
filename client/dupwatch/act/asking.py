"""Asks the service for the groups of a plan, page by page, all of one revision of the index.

In: a client and the question. Out: pages for `planning.make_plan`. Errors of the client pass through.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dupwatch.client import Client

_PAGE_GROUPS = 500
_ATTEMPTS = 5  # at groups that change while they are read, page by page


def plan_pages(client: "Client", question: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of the command `plan`; raises RequestFailedError if the index never holds still."""
    from dupwatch.errors import RequestFailedError

    for _ in range(_ATTEMPTS):
        pages: list[dict[str, Any]] = []
        offset = 0
        while True:
            page = client.request("plan", limit=_PAGE_GROUPS, offset=offset, **question)
            if pages and page.get("revision") != pages[0].get("revision"):
                break
            pages.append(page)
            offset += len(page["groups"])
            if not page["groups"] or offset >= page["total_groups"]:
                return pages
    raise RequestFailedError("busy", "the index changes faster than it can be read; `dupwatch wait`, then plan again")
