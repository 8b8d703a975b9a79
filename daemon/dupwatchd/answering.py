"""Puts together all that answers questions for the service, as the settings say.

In: the settings, the updater, and how the roots are. Out: a `Server` with its handlers, not started yet, and what the
service has to run and to look after. Everything here reads the index, and nothing changes it but
`serve.remembered`, which keeps what people say of contents.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dupwatchd import __version__
from dupwatchd.db import pictures
from dupwatchd.db.connection import open_for_reading, open_second_writer
from dupwatchd.errors import DamagedBlocksError, DamagedStateError
from dupwatchd.find import Finder
from dupwatchd.live_checks import has_sidecar, measurer, presence
from dupwatchd.other_names import OtherNames
from dupwatchd.paths import at_or_below
from dupwatchd.previews import Previews
from dupwatchd.problems import Fault, Problems
from dupwatchd.serve.binding import default_endpoint
from dupwatchd.serve.clusters import LiveChecks
from dupwatchd.serve.library_cache import LibraryCache
from dupwatchd.serve.plan_policy import Policy
from dupwatchd.serve.questions import QuestionDefaults, Questions
from dupwatchd.serve.readers import Readers
from dupwatchd.serve.remembered import Remembered
from dupwatchd.serve.request_queue import Handler, OpenRequest, RequestError, Result
from dupwatchd.serve.results import Completeness, StatusResult
from dupwatchd.serve.server import Server
from dupwatchd.serve.uploads import Uploads
from dupwatchd.serve.waiting import Waiting
from dupwatchd.settings import Settings
from dupwatchd.status import completeness, left_out_lines, status_document
from dupwatchd.update.updater import Updater
from dupwatchd.watch.watcher import RootState

if TYPE_CHECKING:  # most services have no cluster
    from dupwatchd.cluster.machines import Machines

_log = logging.getLogger("dupwatchd")


class Answering:
    """What answers questions about one state directory; any thread may call its methods, but for `take_up_roots`."""

    def __init__(
        self,
        settings: Settings,
        state: str,
        thumbnail_px: int,
        updater: Updater,
        roots: Sequence[bytes],
        root_states: Callable[[], Mapping[bytes, RootState]],
        problems: Problems,
        machines: "Machines | None",
        stack: ExitStack,
    ) -> None:
        """``root_states`` tells how each root is watched now; ``stack`` closes what is opened here.

        Raises UsageError for an endpoint that will not do, StateError.
        """
        self._settings, self._state, self._thumbnail_px = settings, state, thumbnail_px
        self._updater = updater
        self._root_states = root_states
        self._problems = problems
        self._machines = machines
        self._readers = Readers(lambda: open_for_reading(state))
        stack.callback(self._readers.close)
        self.take_up_roots(roots)
        self.libraries = LibraryCache(lambda: open_for_reading(state), updater, lambda: self.roots)
        stack.callback(self.libraries.close)
        self._remembered = Remembered(self._readers, lambda: open_second_writer(state), self._is_gone)
        stack.callback(self._remembered.close)
        self.waiting = Waiting(lambda: updater.is_quiet, lambda: updater.pending)
        updater.rested = self.waiting.notify
        finder = Finder(settings, state, thumbnail_px, updater.find, updater.find_parts, self._live_checks)
        stack.callback(finder.close)
        self.server = self._new_server(finder, stack)

    def take_up_roots(self, roots: Sequence[bytes]) -> None:
        """From now on these are the roots in force; what is known of others is in no answer, and that is said."""
        self.roots = roots
        with self._readers.snapshot() as reader:
            self._left_out = left_out_lines(reader, roots)
        for line in self._left_out:
            _log.warning("%s", line)

    def take_up_policy(self, policy: Policy) -> None:
        """From now on this decides what goes in a plan, where a question does not say."""
        self._questions.take_up_policy(policy)

    def status(self) -> StatusResult:
        """The result of the command `status`."""
        result = status_document(self._updater, self._root_states(), self.roots, self._problems, self._left_out)
        if self._machines is not None:
            result["cluster"] = self._machines.document()
        return result

    def completeness(self) -> Completeness:
        """Whether an answer given now holds all that there is."""
        return completeness(self._updater, self._root_states(), self.roots, self._problems)

    def left_to_confirm(self) -> int | None:
        """How many pairs that seem the same are still to be looked at closely; None while that is not counted."""
        return self._updater.left_to_confirm

    @property
    def look_seconds(self) -> float:
        """What the last look at folders took that somebody had asked for."""
        return self._updater.look_seconds

    def rescan(self, folders: Sequence[bytes]) -> None:
        """Look through these folders soon."""
        self._updater.rescan(folders)

    def pause(self) -> None:
        """Read no more files."""
        self._updater.pause()

    def resume(self) -> None:
        """Go on."""
        self._updater.resume()

    def _offline(self) -> list[bytes]:
        away = [root for root, state in self._root_states().items() if not state.online]
        return [*away, *self._updater.survey.offline]

    def _is_gone(self, path: bytes) -> bool:
        return not os.path.lexists(path) and not any(at_or_below(path, folder) for folder in self._offline())

    def _live_checks(self) -> LiveChecks:
        is_there = presence(self._offline(), inside=self.roots)
        measure = measurer(self._settings, self._state, self._thumbnail_px, self._thumbnail_digests)
        return LiveChecks(measure, is_there, OtherNames(), has_sidecar)

    def _thumbnail_digests(self, picture_ids: Sequence[int]) -> list[bytes]:
        with self._readers.snapshot() as reader:
            return pictures.thumbnail_digests(reader, picture_ids)

    def _telling_of_damage(self, handler: Handler) -> Handler:
        """A handler that notes it if it meets damage in the index, and says so to whoever asked."""

        def handle(request: OpenRequest) -> "Result | Future[Result]":
            try:
                return handler(request)
            except DamagedBlocksError as error:
                self._updater.doubt_blocks()
                raise RequestError(
                    "busy", "damaged thumbnails are being made again from the photos; ask again"
                ) from error
            except DamagedStateError as error:
                self._problems.note(Fault.DATABASE, str(error))
                raise RequestError("internal", str(error)) from error

        return handle

    def _new_server(self, finder: Finder, stack: ExitStack) -> Server:
        settings = self._settings
        uploads = Uploads(self._state, settings.index.max_file_mb << 20)
        stack.callback(uploads.close)
        defaults = QuestionDefaults.of(settings)
        self._questions = Questions(
            self,
            self._readers,
            self.libraries,
            self._remembered,
            self.waiting,
            uploads,
            defaults,
            self._live_checks,
            finder.find,
            __version__,
        )
        previews = Previews(settings, self._thumbnail_px, uploads)
        stack.callback(previews.close)
        return Server(
            settings.endpoint or default_endpoint(),
            {
                command: self._telling_of_damage(handler)
                for command, handler in {**self._questions.handlers(), "preview": previews.preview}.items()
            },
            threads=settings.serve.threads,
            connection_closed=uploads.drop,
            group=settings.socket_group,
            keys=settings.serve.curve_keys,
            problems=self._problems,
        )
