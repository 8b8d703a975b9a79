"""Puts whole answers together from the pages in which the service sends them.

In: a client and a question. Out: one document with the rows of all pages, and how complete it is. Errors of the client
pass through.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dupwatch.marking import mark_clusters

if TYPE_CHECKING:
    from dupwatch.client import Client

PAGE_CLUSTERS = 1_000
PAGE_FAILURES = 10_000
PAGE_PAIRS = 5_000
_HEAD = ("measure", "threshold", "verdicts", "also", "ignored_groups")
_LEAVES_NOTHING_OUT = frozenset(["also", "mirrored", "sort", "under"])
ATTEMPTS = 3  # at a list that changes while it is read, page by page


def all_clusters(client: "Client", question: dict[str, Any], limit: int | None, offset: int) -> dict[str, Any]:
    """Return the clusters asked for, put together from pages of one revision of the index.

    What a plan would hold back for what lies beside it is marked, if the files are on this machine. The sums are upper
    bounds (``reclaimable_at_most``) if only a plan can tell of some.
    """
    for attempt in range(ATTEMPTS):
        document: dict[str, Any] = {}
        listed: list[dict[str, Any]] = []
        while True:
            count = PAGE_CLUSTERS if limit is None else min(limit - len(listed), PAGE_CLUSTERS)
            page = client.request("clusters", limit=max(count, 1), offset=offset + len(listed), **question)
            if document and page.get("revision") != document.get("revision") and attempt < ATTEMPTS - 1:
                break  # what was on the first pages may have changed: read again
            document = page
            listed += page["clusters"][:count]
            is_all = offset + len(listed) >= page["total_clusters"] or not page["clusters"]
            if is_all or (limit is not None and len(listed) >= limit):
                head: dict[str, Any] = {name: page[name] for name in _HEAD if name in page}
                if client.shares_paths:
                    knows_all = len(listed) == page["total_clusters"] and not _leaves_out(question)
                    mark_clusters(listed, page["ask_when"], knows_all=knows_all)
                total = {
                    "total_clusters": page["total_clusters"],
                    "reclaimable_at_most": is_at_most(client, listed),
                    "clusters": listed,
                }
                return {**head, **completeness([page]), **total}
    raise AssertionError("the last attempt always returns")


def _leaves_out(question: Mapping[str, Any]) -> bool:
    """Return whether a question may leave out groups that a plan of the same folder has."""
    return any(value is not None and name not in _LEAVES_NOTHING_OUT for name, value in question.items())


def is_at_most(client: "Client", clusters: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a plan may hold back more of these clusters, which `all_clusters` has given, than is marked."""
    open_if = "undecided" if client.shares_paths else "may_go"  # on another machine nothing was looked for
    return any(file[open_if] for cluster in clusters for file in cluster["files"])


def all_pairs(
    client: "Client", question: dict[str, Any], limit: int | None, offset: int
) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Return the head of an answer about pairs, and its pairs, which are asked for page by page as they are read.

    If the index changes meanwhile, the head says so from then on: it is complete once all pairs were read.
    """
    first = client.request("pairs", limit=_pairs_at_once(limit, 0), offset=offset, **question)
    head: dict[str, Any] = {name: first[name] for name in (*_HEAD, "total_pairs") if name in first}
    head |= completeness([first])

    def read() -> Iterator[dict[str, Any]]:
        page, given = first, 0
        while True:
            rows = page["pairs"] if limit is None else page["pairs"][: limit - given]
            yield from rows
            given += len(rows)
            if not rows or offset + given >= page["total_pairs"] or (limit is not None and given >= limit):
                return
            page = client.request("pairs", limit=_pairs_at_once(limit, given), offset=offset + given, **question)
            if page.get("revision") != first.get("revision"):
                because = [*head["incomplete_because"], "the index has changed while the pairs were read"]
                head.update(complete=False, incomplete_because=list(dict.fromkeys(because)))

    return head, read()


def _pairs_at_once(limit: int | None, given: int) -> int:
    return PAGE_PAIRS if limit is None else max(min(limit - given, PAGE_PAIRS), 1)


def all_failures(client: "Client", limit: int | None = None, offset: int = 0) -> dict[str, Any]:
    """Return the files that could not be read, put together from pages, and how many there are in all."""
    failed: list[dict[str, Any]] = []
    while True:
        size = PAGE_FAILURES if limit is None else min(limit - len(failed), PAGE_FAILURES)
        page = client.request("failed", limit=max(size, 1), offset=offset + len(failed))
        failed += page["failed"][:size]
        is_all = not page["failed"] or offset + len(failed) >= page["total"]
        if is_all or (limit is not None and len(failed) >= limit):
            return {**completeness([page]), "total": page["total"], "failed": failed}


def completeness(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the service says of how complete its answers are, for all of them together."""
    because = [reason for result in results for reason in result.get("incomplete_because", ())]
    return {
        "complete": all(result.get("complete", True) for result in results),
        "pending": max((result.get("pending", 0) for result in results), default=0),
        "incomplete_because": list(dict.fromkeys(because)),
    }
