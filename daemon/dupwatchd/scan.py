"""`dupwatchd scan`: brings the index up to date once, without the service, and answers which files are copies.

In: settings, and the folders as they were typed. Out: the answer document, with paths as bytes. The state directory is
locked all the while: if the service holds it, the service is the one to ask.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dupwatch.marking import mark_clusters
from dupwatchd import imports
from dupwatchd.assembly import limits_of, machines_of, processors, reading_pool, search_opener, walk_rules
from dupwatchd.db import answers, contents, facts, files, pictures, remembered
from dupwatchd.db.connection import Database, open_database
from dupwatchd.errors import StateError, StateInUseError, UsageError
from dupwatchd.interruption import stoppable
from dupwatchd.live_checks import has_sidecar, measurer, presence
from dupwatchd.model import Progress, Verdict
from dupwatchd.other_names import OtherNames
from dupwatchd.paths import outermost
from dupwatchd.serve.clusters import ONE_PICTURE, LiveChecks, Order, Question
from dupwatchd.serve.filters import NO_FILTERS, Filters, Linkage, Within
from dupwatchd.serve.ignored import IgnoredPairs
from dupwatchd.serve.plan_policy import Policy, missing_folder, policy_of
from dupwatchd.serve.plan_policy import verdicts as verdicts_that_let_go
from dupwatchd.serve.remembered import marked
from dupwatchd.serve.results import (
    Cluster,
    Completeness,
    FoundPair,
    NotLookedAt,
    PlannedGroup,
    also_in_words,
    in_words,
    with_not_looked_at,
)
from dupwatchd.settings import Settings
from dupwatchd.state import decoders, locked_state, retry_after_upgrade, stores_of, thumbnail_px_of
from dupwatchd.update.changes import Survey
from dupwatchd.update.listed import Listed
from dupwatchd.update.pipeline import IntakeOnDemand, bring_up_to_date

if TYPE_CHECKING:  # what needs numpy is imported where it is used: a scan that finds nothing new does without
    from dupwatchd.update.intake import Intake


class Asked(NamedTuple):
    """What the answer of a scan is to hold."""

    also: frozenset[Verdict] = frozenset()  # verdicts that join pictures, beside identical and same
    limit: int | None = None  # clusters; None: all
    confirm: bool = False  # look closely at all pairs that seem to be the same, however many these are
    plan: bool = False  # also give the groups of a plan; what has one of the verdicts `also` may go as well then
    filters: Filters = NO_FILTERS  # without `Filters.named`: those are the folders of the scan
    min_files: int = 2
    order: Order = Order.BYTES
    recursive: bool = True  # else only what lies directly in the folders
    pairs: bool = False  # the pairs of linked files instead of groups; of these `limit` then
    listed: tuple[bytes, ...] | None = None  # only these files, as they were typed, and no folder; None: the folders


_ALL = Asked()
_PAIRS_AT_ONCE = 10_000
# So few pairs are looked at closely though nobody asked for it, in some seconds: a number on a page or the time on a
# picture of a fixed camera is too small for proofs, and "the same" would be said of different pictures.
_CONFIRMED_AT_ONCE = 50


def scan(settings: Settings, folders: Sequence[bytes], progress: Progress, asked: Asked = _ALL) -> dict[str, Any]:
    """As `scanning`, for whoever asks for no pairs."""
    with scanning(settings, folders, progress, asked) as document:
        return document


@contextmanager
def scanning(
    settings: Settings, folders: Sequence[bytes], progress: Progress, asked: Asked = _ALL
) -> Iterator[dict[str, Any]]:
    """Index and compare what is new under the folders; gives the answer document, paths as bytes.

    If not all clusters are asked for, its sums are still those of all. Pairs are an iterator, which reads on while the
    index is open. Raises UsageError, StateError or Interrupted; whatever was committed before stays.
    """
    if settings.compare.is_custom and asked.filters.upright:
        raise UsageError("--no-rotate: by a measure of your own pictures are always compared in all turns")
    listed, roots = _listed(folders, asked)
    policy = _policy(settings, asked)
    asked = asked._replace(filters=_filters(folders, asked.filters, listed))
    with ExitStack() as stack:
        stack.enter_context(stoppable())
        state = stack.enter_context(_state_for_scan(settings.state))
        database = open_database(state)
        stack.callback(database.close)
        side = thumbnail_px_of(database, settings)
        retry_after_upgrade(database, settings)
        compare = settings.compare
        if compare.is_custom:
            from dupwatchd.compare.search import load_custom

            load_custom(compare.measure, side)  # whether it is any good is said before the work begins
        limits, frames = limits_of(settings), settings.index.frames

        def open_intake() -> "Intake":
            with imports.what_stays():
                from dupwatchd.update.intake import Intake

            facts.write(database, {"decoders": decoders(settings)})
            pool = reading_pool(settings, side, database, machines_of(settings))
            stack.callback(pool.close)
            stores = stores_of(state, side)
            return Intake(
                database, stores, pool, limits, search_opener(settings, side), progress, processors(), frames=frames
            )

        intake = IntakeOnDemand(open_intake)
        rules = walk_rules(settings, state)
        survey, changing = bring_up_to_date(database, roots, rules, limits, intake, progress, listed, frames=frames)
        pairs, several = answers.pairs_to_confirm(database, roots), contents.to_tell(database, roots)
        if (pairs or several) and (asked.confirm or len(pairs) + len(several) <= _CONFIRMED_AT_ONCE):
            intake().looking.confirm(pairs, several)
        is_there = presence(survey.offline, just_walked=roots if listed is None else ())
        live_checks = LiveChecks(
            measurer(settings, state, side, partial(pictures.thumbnail_digests, database)),
            is_there,
            OtherNames(),
            has_sidecar,
        )
        yield _answer(database, live_checks, settings, roots, survey, changing, asked, policy)


@contextmanager
def _state_for_scan(path: str) -> Iterator[str]:
    """Lock the state directory; raises StateError, which says whom to ask if the service holds it."""
    try:
        with locked_state(path) as state:
            yield state
    except StateInUseError as error:
        if error.owner is None or not _is_service(error.owner):
            raise
        raise StateError(
            f"the service (process {error.owner}) holds the state directory {os.path.realpath(path)} and keeps it "
            "current; ask it: dupwatch clusters --under DIR (or name another directory with --state)"
        ) from None


def _is_service(process: int) -> bool:
    """Tell whether a process was started as `dupwatchd run`; if its command line cannot be read, it counts as none."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as stream:
            words = stream.read().split(b"\0")
    except OSError:
        return False
    return b"run" in words and any(b"dupwatchd" in word for word in words)


def _listed(folders: Sequence[bytes], asked: Asked) -> tuple[Listed | None, list[bytes]]:
    """What to look at if not whole trees, and the roots; raises UsageError for what is no folder."""
    if asked.listed is None:
        roots = resolve_roots(folders)
        return (None if asked.recursive else Listed(folders=tuple(sorted(set(map(os.path.realpath, folders)))))), roots
    paths = {os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in asked.listed}
    paths = {path for path in paths if os.path.basename(path)}
    if not paths:
        raise UsageError("the list names no file")
    return Listed(tuple(sorted(paths))), outermost(map(os.path.dirname, paths))


def _filters(folders: Sequence[bytes], filters: Filters, listed: Listed | None) -> Filters:
    """The filters of the answer, now that it is known what was looked at."""
    if filters.within is Within.NAMED:
        filters = replace(filters, named=tuple(sorted(set(map(os.path.realpath, folders)))))
    if listed is None:
        return filters
    if listed.files:
        return replace(filters, only=frozenset(listed.files))
    return replace(filters, directly_in=frozenset(listed.folders))


def _failures(database: Database, roots: Sequence[bytes], filters: Filters, survey: Survey) -> list[dict[str, Any]]:
    found = [
        (failure.path, failure.error)
        for root in roots
        for failure in files.failures(database, root)
        if filters.takes(failure.path)
    ]
    return [{"path": path, "error": error} for path, error in sorted({*found, *survey.not_taken})]


def _answer(
    database: Database,
    live_checks: LiveChecks,
    settings: Settings,
    roots: list[bytes],
    survey: Survey,
    changing: int,
    asked: Asked,
    policy: Policy,
) -> dict[str, Any]:
    compare = settings.compare
    measure = "custom" if compare.is_custom else compare.measure
    verdicts = ONE_PICTURE | asked.also
    ignored = IgnoredPairs.of(remembered.ignored_pairs(database))
    question = Question(
        measure,
        settings.threshold,
        compare.mirrored,
        tuple(roots),
        verdicts,
        policy,
        ignored=ignored,
        filters=asked.filters,
        min_files=asked.min_files,
        order=asked.order,
        pairs=asked.pairs,
    )
    found = (
        _all_pairs(database, question, live_checks, asked.limit)
        if asked.pairs
        else _all_clusters(database, question, live_checks, with_plan=asked.plan)
    )
    clusters = found.clusters
    knows_all = asked.filters == NO_FILTERS and asked.min_files == _ALL.min_files
    at_most = mark_clusters(cast("list[dict[str, Any]]", clusters), policy.asked_in_words, knows_all=knows_all)
    complete = with_not_looked_at(_completeness(survey, changing), found.not_looked_at)
    planned = {
        "groups": found.planned,
        "rules": policy.in_words,
        "roots": roots,
        "verdicts": in_words(ONE_PICTURE | policy.also),
        "ask_when": policy.asked_in_words,
    }
    return {
        **({"plan": {**planned, **complete}} if asked.plan else {}),
        "measure": compare.measure,
        "threshold": settings.threshold,
        "verdicts": in_words(question.named_verdicts),
        **complete,
        **(
            {"total_pairs": found.total_pairs, "pairs": found.pairs}
            if asked.pairs
            else {
                "total_clusters": len(clusters),
                "also": also_in_words(found.also),
                "reclaimable_bytes": sum(cluster["reclaimable_bytes"] for cluster in clusters),
                "reclaimable_at_most": at_most,
                "ignored_groups": found.ignored_groups,
                "clusters": marked(database, clusters[: asked.limit]),
            }
        ),
        "failed": _failures(database, roots, asked.filters, survey),
        "unreadable_folders": [{"path": path, "error": error} for path, error in survey.unreadable],
        "offline": list(survey.offline),
        "files": survey.files if _is_partial(asked) else sum(files.count(database, root) for root in roots),
        "changing": changing,
        "pairs_left_out": found.not_looked_at.left_out,
        "groups_not_counted": found.not_looked_at.too_large,
    }


def _is_partial(asked: Asked) -> bool:
    return asked.listed is not None or not asked.recursive


def _completeness(survey: Survey, changing: int) -> Completeness:
    """Whether all that lies under the roots was read, and if not, why not."""
    because = [f"the disk of {os.fsdecode(path)} is not there" for path in survey.offline]
    because += [f"{os.fsdecode(path)} cannot be listed: {error}" for path, error in survey.unreadable]
    because += [f"{changing:,} files were still being written"] if changing else []
    because += [f"{len(survey.not_taken):,} paths of the list could not be taken up"] if survey.not_taken else []
    return {"complete": not because, "pending": changing, "incomplete_because": because}


class _Found(NamedTuple):
    """All clusters of a question, and what there is beside them."""

    clusters: list[Cluster]
    also: dict[Verdict, int]  # further groups
    not_looked_at: NotLookedAt
    planned: list[PlannedGroup]  # if they were asked for
    ignored_groups: int  # not shown, because somebody said that they are no duplicates
    total_pairs: int = 0  # if they were asked for instead of clusters
    pairs: Iterator[FoundPair] = iter(())


def _policy(settings: Settings, asked: Asked) -> Policy:
    """What decides which files go; raises UsageError for what cannot be meant."""
    policy = policy_of(settings.plan)
    if not asked.plan:
        return policy
    missing = missing_folder(policy)
    if missing is not None:
        raise UsageError(f"the settings [plan] name a folder that is not there: {os.fsdecode(missing)}")
    return replace(policy, also=verdicts_that_let_go([verdict.value for verdict in asked.also]))


def _all_clusters(
    database: Database, question: Question, live_checks: LiveChecks, *, with_plan: bool = False
) -> _Found:
    """The clusters of a question; the array library is loaded only if there can be any."""
    if not answers.any_copies(database, question.measure, question.threshold, mirrored=question.mirrored):
        none_further = question.joining is None or question.filters.exact
        further = [] if none_further else [one for one in Verdict if one not in question.verdicts]
        return _Found([], dict.fromkeys(further, 0), NotLookedAt(0, 0), [], 0)
    from dupwatchd.serve.library import Library

    library = Library.load(database)
    _, clusters = library.page(database, question, live_checks, limit=None)
    planned = library.plan_page(database, question, live_checks, limit=None)[1] if with_plan else []
    return _Found(
        clusters,
        library.further_groups(database, question, live_checks),
        library.count_not_looked_at(database, question, live_checks),
        planned,
        library.count_ignored(database, question, live_checks),
    )


def _all_pairs(database: Database, question: Question, live_checks: LiveChecks, limit: int | None) -> _Found:
    """The pairs of a question, read page by page."""
    if not answers.any_copies(database, question.measure, question.threshold, mirrored=question.mirrored):
        return _Found([], {}, NotLookedAt(0, 0), [], 0)
    from dupwatchd.serve.library import Library

    library = Library.load(database)
    total, _ = library.pairs_page(database, question, live_checks, 0)

    def read() -> Iterator[FoundPair]:
        given = 0
        while limit is None or given < limit:
            size = _PAIRS_AT_ONCE if limit is None else min(limit - given, _PAIRS_AT_ONCE)
            page = library.pairs_page(database, question, live_checks, size, given)[1]
            if not page:
                return
            yield from page
            given += len(page)

    return _Found([], {}, library.count_not_looked_at(database, question, live_checks), [], 0, total, read())


def choice_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Asked` that say which groups are shown, of arguments as `clusters` takes them (PROTOCOL.md)."""
    within = given.get("within_folder")
    filters = Filters(
        bool(given.get("exact")),
        bool(given.get("same_size")),
        given.get("aspect"),
        tuple(os.path.realpath(folder) for folder in given.get("across", ())),
        tuple(os.path.realpath(folder) for folder in given.get("against", ())),
        bool(given.get("upright")),
        Linkage(given.get("linkage", Linkage.TRANSITIVE.value)),
        None if within is None else Within(within),
    )
    order = Order(given.get("sort", Order.BYTES.value))
    return {"filters": filters, "min_files": given.get("min_files", 2), "order": order}


def resolve_roots(folders: Sequence[bytes]) -> list[bytes]:
    """Absolute, resolved roots, without those inside another; raises UsageError for what is no folder."""
    for folder in folders:
        if not os.path.lexists(folder):
            raise UsageError(f"no such folder: {os.fsdecode(folder)}")
        if not os.path.isdir(folder):
            what = "a file" if os.path.isfile(folder) else "no folder"
            raise UsageError(f"{os.fsdecode(folder)} is {what}; name the folder it lies in")
    return outermost(os.path.realpath(folder) for folder in folders)
