"""What the service answers: each method takes a request for one command of PROTOCOL.md and returns its result.

Everything is read from what was committed, over connections of its own, so that no question waits for the indexing.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, cast

from dupwatch import wire
from dupwatchd.db import answers, files, parts, remembered
from dupwatchd.db.connection import Database
from dupwatchd.errors import UsageError
from dupwatchd.model import Verdict
from dupwatchd.paths import at_or_below
from dupwatchd.serve.clusters import ONE_PICTURE, LiveChecks, Order, Question
from dupwatchd.serve.filters import Filters, Linkage, Within
from dupwatchd.serve.library_cache import LibraryCache, Moment
from dupwatchd.serve.plan_explain import explained
from dupwatchd.serve.plan_policy import Policy, changed, missing_folder, policy_of, real_files
from dupwatchd.serve.readers import Readers
from dupwatchd.serve.remembered import Remembered
from dupwatchd.serve.request_queue import Handler, OpenRequest, RequestError, Result
from dupwatchd.serve.rescans import Rescans
from dupwatchd.serve.results import (
    Cluster,
    ClustersResult,
    Completeness,
    FailedResult,
    FindResult,
    FoundCopy,
    FoundPair,
    PairsResult,
    PlannedGroup,
    PlanResult,
    StatusResult,
    also_in_words,
    in_words,
    with_left_to_confirm,
    with_not_looked_at,
    with_not_searched,
)
from dupwatchd.serve.uploads import Uploads
from dupwatchd.serve.usage import User
from dupwatchd.serve.waiting import Waiting
from dupwatchd.settings import DEFAULT_THRESHOLDS, Settings

_LIMIT = 100
Answer = TypeVar("Answer")


class Working(Protocol):
    """The part of the service that keeps the index current."""

    @property
    def roots(self) -> Sequence[bytes]:
        """The roots in force: what lies elsewhere is in no answer."""

    @property
    def look_seconds(self) -> float:
        """What the last look at folders took that somebody had asked for."""

    def status(self) -> StatusResult:
        """The result of `status`."""

    def completeness(self) -> Completeness:
        """Whether an answer given now holds all that there is."""

    def left_to_confirm(self) -> int | None:
        """How many pairs that seem the same are still to be looked at closely; None while that is not counted."""

    def rescan(self, folders: Sequence[bytes]) -> None:
        """Look through these folders soon."""

    def pause(self) -> None:
        """Read no more files."""

    def resume(self) -> None:
        """Go on."""


class FindCopies(Protocol):
    """Looks up the picture in a file."""

    def __call__(self, reader: Database, path: bytes, question: Question, request: OpenRequest) -> list[FoundCopy]:
        """The files that show it; raises RequestError."""


@dataclass(frozen=True)
class QuestionDefaults:
    """What holds if a question does not say."""

    measure: str
    threshold: float
    mirrored: bool
    kept: dict[str, float]  # the largest threshold of each measure
    default_thresholds: dict[str, float]
    custom: str  # what the user calls the measure that is "custom" here
    policy: Policy = field(default=Policy())
    policies: int = 0  # how often another policy was taken up
    finds_parts: bool = True  # whether pictures that share a part are searched for

    @classmethod
    def of(cls, settings: Settings) -> "QuestionDefaults":
        """What the settings say; raises UsageError for a keep-rule that is none."""
        compare = settings.compare
        kept = {"mse": compare.keep_mse, "structure": compare.keep_structure}
        if compare.is_custom:
            kept["custom"] = compare.kept or 0.0
        measure, custom = ("custom", compare.measure) if compare.is_custom else (compare.measure, "")
        thresholds = dict(DEFAULT_THRESHOLDS)
        policy = policy_of(settings.plan)
        parts = settings.index.frames
        return cls(measure, settings.threshold, compare.mirrored, kept, thresholds, custom, policy, parts)


class Questions:
    """Answers on any thread."""

    def __init__(
        self,
        working: Working,
        readers: Readers,
        libraries: LibraryCache,
        remembered: Remembered,
        waiting: Waiting,
        uploads: Uploads,
        defaults: QuestionDefaults,
        live_checks: Callable[[], LiveChecks],
        find: FindCopies,
        version: str,
    ) -> None:
        self._working = working
        self._readers = readers
        self._libraries = libraries
        self._remembered = remembered
        self._waiting = waiting
        self._uploads = uploads
        self._defaults = defaults
        self._policy_lock = threading.Lock()
        self._rescans = Rescans()
        self._live_checks = live_checks
        self._find = find
        self._version = version

    def take_up_policy(self, policy: Policy) -> None:
        """From now on this holds in plans and clusters if a question does not say; any thread may call it."""
        with self._policy_lock:
            before = self._defaults
            self._defaults = replace(before, policy=policy, policies=before.policies + 1)

    def handlers(self) -> dict[str, Handler]:
        """By command."""
        return {
            **self._remembered.handlers(),
            "status": lambda _request: self._working.status(),
            "version": lambda _request: {"version": self._version, "protocol": wire.VERSION},
            "wait": self.wait,
            "clusters": self.clusters,
            "pairs": self.pairs,
            "plan": self.plan,
            "explain": self.explain,
            "send": self.send,
            "find": self.find,
            "failed": self.failed,
            "rescan": self.rescan,
            "pause": self.pause,
            "resume": self.resume,
        }

    def wait(self, request: OpenRequest) -> "Future[Result]":
        """A result once nothing is pending, or time is up."""
        seconds = request.args.get("timeout", wire.WAIT_SECONDS_MAX)
        return cast("Future[Result]", self._waiting.wait(request.peer, seconds))

    def clusters(self, request: OpenRequest) -> ClustersResult:
        """A page of clusters. Raises RequestError, StateError."""
        args = request.args
        under = args.get("under")
        question = self._filtered(self._question(request, None if under is None else (under,)), args)
        limit, offset = args.get("limit", _LIMIT), args.get("offset", 0)

        def page(moment: Moment) -> tuple[int, list[Cluster], dict[str, int], int]:
            library, reader = moment.library, moment.reader
            live_checks = self._live_checks()
            total, found = library.page(reader, question, live_checks, limit, offset)
            also = also_in_words(library.further_groups(reader, question, live_checks))
            return total, found, also, library.count_ignored(reader, question, live_checks)

        (total, found, also, ignored_groups), revision, completeness = self._answered(
            question, page, lambda answer: _are_there(file for one in answer[1] for file in one["files"])
        )
        return {
            "measure": self._named(question.measure),
            "threshold": question.threshold,
            "verdicts": in_words(question.named_verdicts),
            "also": also,
            "total_clusters": total,
            "ignored_groups": ignored_groups,
            "ask_when": question.policy.asked_in_words,
            "clusters": self._remembered.marked(found),
            "revision": revision,
            **completeness,
        }

    def pairs(self, request: OpenRequest) -> PairsResult:
        """A page of the pairs of linked files. Raises RequestError, StateError."""
        args = request.args
        under = args.get("under")
        question = replace(
            self._filtered(self._question(request, None if under is None else (under,)), args), pairs=True
        )
        limit, offset = args.get("limit", _LIMIT), args.get("offset", 0)

        def page(moment: Moment) -> tuple[int, list[FoundPair]]:
            return moment.library.pairs_page(moment.reader, question, self._live_checks(), limit, offset)

        (total, found), revision, completeness = self._answered(
            question,
            page,
            lambda answer: _all_exist(path for pair in answer[1] for path in (pair["first"], pair["second"])),
        )
        return {
            "measure": self._named(question.measure),
            "threshold": question.threshold,
            "verdicts": in_words(question.named_verdicts),
            "total_pairs": total,
            "pairs": found,
            "revision": revision,
            **completeness,
        }

    def plan(self, request: OpenRequest) -> PlanResult:
        """A page of the groups of a plan. Raises RequestError, StateError."""
        args = request.args
        question = self._plan_question(request)
        limit, offset = args.get("limit", _LIMIT), args.get("offset", 0)

        def page(moment: Moment) -> tuple[int, list[PlannedGroup]]:
            return moment.library.plan_page(moment.reader, question, self._live_checks(), limit, offset)

        left_to_confirm = self._working.left_to_confirm()  # before the page
        (total, found), revision, completeness = self._answered(
            question, page, lambda answer: _are_there(file for one in answer[1] for file in one["files"])
        )
        completeness = with_left_to_confirm(completeness, left_to_confirm)
        policy = question.policy
        with self._readers.snapshot() as reader:
            counts = {folder: files.count(reader, folder) for folder in (*policy.protect, *policy.reference)}
        return {
            "groups": found,
            "total_groups": total,
            "rules": policy.in_words,
            "protected": [{"path": folder, "files": counts[folder]} for folder in policy.protect],
            "reference": [{"path": folder, "files": counts[folder]} for folder in policy.reference],
            "roots": list(self._working.roots),
            "verdicts": in_words(ONE_PICTURE | policy.also),
            "ask_when": policy.asked_in_words,
            "revision": revision,
            **completeness,
        }

    def explain(self, request: OpenRequest) -> Result:
        """Why one file stays or goes, step by step. Raises RequestError, StateError."""
        [path] = real_files([request.args["path"]])
        question = self._plan_question(request)
        with self._readers.snapshot() as reader:
            if not answers.pictures_of_files(reader, [path]):
                raise RequestError("unknown_file", f"{os.fsdecode(path)} is not known, or shows no picture")
            digests = {file.digest for file in remembered.contents_at(reader, [path])}
        with self._libraries.moment() as moment:
            group = moment.library.group_of(moment.reader, question, self._live_checks(), path)
        is_ignored = not digests.isdisjoint(question.ignored.contents)
        return explained(group, path, question.policy, is_ignored=is_ignored)

    def _answered(
        self, question: Question, page: Callable[[Moment], Answer], is_there: Callable[[Answer], bool]
    ) -> tuple[Answer, int, Completeness]:
        """A page of something, the revision of the index that it is of, and how complete it is. Raises StateError."""
        before = self._working.completeness()  # before the page: what comes meanwhile need not be in it
        for _ in range(2):
            with self._libraries.moment() as moment:
                is_current = self._libraries.is_current(moment)
                # All of these only grow, so that their sum is another one whenever one of them is.
                revision = moment.revision + question.ignored.revision + question.policies
                answer = page(moment)
                completeness = with_not_looked_at(
                    before, moment.library.count_not_looked_at(moment.reader, question, self._live_checks())
                )
                if self._defaults.finds_parts and Verdict.CROPPED in (question.joining or ()):
                    completeness = with_not_searched(completeness, parts.count_to_search(moment.reader))
            if is_there(answer):
                break
            self._libraries.drop(moment)  # it remembers files that have gone since
        if not is_current:  # what has come in since is no longer pending, and not in the page either
            because = [*completeness["incomplete_because"], "the groups are those of a moment ago"]
            completeness = {**completeness, "complete": False, "incomplete_because": because}
        return answer, revision, completeness

    def send(self, request: OpenRequest) -> Result:
        """Keep a piece of a picture. Raises RequestError."""
        args = request.args
        received = self._uploads.add_piece(request.peer, args["offset"], args["size"], args["data"])
        return {"received": received}

    def find(self, request: OpenRequest) -> FindResult:
        """The copies of a picture. Raises RequestError, StateError."""
        args = request.args
        question = self._question(request, None)
        completeness = self._working.completeness()
        sent = self._uploads.complete(request.peer, args.get("offset", 0), args["data"], args.get("suffix", ""))
        with sent as path, self._readers.snapshot() as reader:
            copies = self._find(reader, path, question, request)
        return {
            "measure": self._named(question.measure),
            "threshold": question.threshold,
            "copies": copies,
            **completeness,
        }

    def failed(self, request: OpenRequest) -> FailedResult:
        """Files that could not be read. Raises StateError."""
        args = request.args
        completeness = self._working.completeness()
        with self._readers.snapshot() as reader:
            every = [failure for root in self._working.roots for failure in files.failures(reader, root)]
        every.sort(key=lambda failure: failure.path)
        start = args.get("offset", 0)
        page = every[start : start + args.get("limit", _LIMIT)]
        return {
            "total": len(every),
            "failed": [{"path": one.path, "error": one.error} for one in page],
            **completeness,
        }

    def rescan(self, request: OpenRequest) -> Result:
        """Look through a folder, or all roots, soon. Raises RequestError."""
        asked = request.args.get("dir")
        folder = None if asked is None else os.path.realpath(asked)
        roots = self._working.roots
        if folder is not None and not any(at_or_below(folder, root) for root in roots):
            raise RequestError("unknown_folder", "the folder lies under no root")
        if not self._rescans.may_ask(request.peer.user, time.monotonic(), self._working.look_seconds):
            raise RequestError("busy", "you have asked for that too often in a short time; try again in a minute")
        self._working.rescan(list(roots) if folder is None else [folder])
        return {}

    def pause(self, _request: OpenRequest) -> Result:
        """Read no more files."""
        self._working.pause()
        return {"state": self._working.status()["state"]}

    def resume(self, _request: OpenRequest) -> Result:
        """Go on."""
        self._working.resume()
        return {"state": self._working.status()["state"]}

    def _question(self, request: OpenRequest, touching: tuple[bytes, ...] | None) -> Question:
        """What is asked, with the defaults filled in. Raises RequestError for what is not kept."""
        return self._question_with(self._defaults, request.args, touching, request.peer.user)

    def _question_with(
        self, defaults: QuestionDefaults, args: dict[str, Any], touching: tuple[bytes, ...] | None, asked_by: User
    ) -> Question:
        measure = args.get("measure", defaults.measure)
        measure = "custom" if measure == defaults.custom else measure
        if measure not in defaults.kept:
            raise RequestError(
                "out_of_range", f"nothing is kept of a measure {measure}; there is {', '.join(defaults.kept)}"
            )
        default = defaults.threshold if measure == defaults.measure else defaults.default_thresholds[measure]
        threshold = args.get("threshold", default)
        if threshold > defaults.kept[measure]:
            raise RequestError(
                "out_of_range", f"the threshold {threshold:g} is above {defaults.kept[measure]:g}, the largest one kept"
            )
        mirrored = bool(args.get("mirrored", defaults.mirrored))
        if mirrored and not defaults.mirrored:
            raise RequestError("out_of_range", "mirror images are not compared: set compare.mirrored")
        verdicts = ONE_PICTURE | {Verdict(word) for word in wire.words(args.get("also", ""))}
        ignored, details = self._remembered.ignored, bool(args.get("details"))
        return Question(
            measure, float(threshold), mirrored, touching, verdicts, defaults.policy,
            policies=defaults.policies, ignored=ignored, details=details, asked_by=asked_by,
        )  # fmt: skip

    def _filtered(self, question: Question, args: dict[str, Any]) -> Question:
        """The question with the filters and the order that are asked for. Raises RequestError."""
        if ("across" in args) != ("against" in args):
            raise RequestError("bad_request", "across and against go together")
        if args.get("exact") and "also" in args:
            raise RequestError("bad_request", "exact asks for equal bytes only: also adds nothing to it")
        if args.get("upright") and question.joining is None:
            raise RequestError("bad_request", "by a measure of your own pictures are always compared in all turns")
        within = args.get("within_folder")
        filters = Filters(
            bool(args.get("exact")),
            bool(args.get("same_size")),
            args.get("aspect"),
            tuple(args.get("across", ())),
            tuple(args.get("against", ())),
            bool(args.get("upright")),
            Linkage(args.get("linkage", Linkage.TRANSITIVE.value)),
            None if within is None else Within(within),
            tuple(self._working.roots) if within == Within.NAMED.value else (),
        )
        order = Order(args.get("sort", Order.BYTES.value))
        return replace(question, filters=filters, min_files=args.get("min_files", 2), order=order)

    def _plan_question(self, request: OpenRequest) -> Question:
        """What a plan is asked for. Raises RequestError for a rule, a folder or a file that is none."""
        args, defaults = request.args, self._defaults
        try:
            policy = changed(defaults.policy, args.get("policy", {}))
        except UsageError as error:
            raise RequestError("bad_request", str(error)) from None
        missing = missing_folder(policy)
        if missing is not None:
            raise RequestError("unknown_folder", f"no such folder: {os.fsdecode(missing)}")
        under, holding = args.get("under"), args.get("files")
        question = self._question_with(defaults, {}, None if under is None else (under,), request.peer.user)
        return replace(
            question,
            policy=policy,
            verdicts=question.verdicts | policy.also,
            holding=None if holding is None else frozenset(holding),
        )

    def _named(self, measure: str) -> str:
        return self._defaults.custom if measure == "custom" else measure


def _all_exist(paths: Iterable[bytes]) -> bool:
    return all(os.path.lexists(path) for path in set(paths))


def _are_there(listed: Iterable[Any]) -> bool:
    """Are these files of an answer still what they were when somebody last looked?"""
    try:
        return all(os.lstat(file["path"]).st_size == file["bytes"] for file in listed)
    except OSError:
        return False
