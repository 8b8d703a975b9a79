"""Turns watchdog's events into hints: any event, from our own observer or from one of watchdog's stock observers.

In go events, out go hints; nothing is read from disk. An event that names no picture file, or something that the rules
leave out, gives no hint.
"""

import logging
import os
from functools import lru_cache

from watchdog.events import (
    EVENT_TYPE_ATTRIB,
    EVENT_TYPE_CLOSED,
    EVENT_TYPE_CREATED,
    EVENT_TYPE_DELETED,
    EVENT_TYPE_MODIFIED,
    EVENT_TYPE_MOVED,
    FileSystemEvent,
    FileSystemEventHandler,
)

from dupwatchd.paths import at_or_below
from dupwatchd.suffixes import suffix
from dupwatchd.watch.hints import Hints
from dupwatchd.watch.walk import WalkRules

_log = logging.getLogger(__name__)
_CHANGES_A_FILE = frozenset([
    EVENT_TYPE_ATTRIB, EVENT_TYPE_CLOSED, EVENT_TYPE_CREATED, EVENT_TYPE_DELETED, EVENT_TYPE_MODIFIED, EVENT_TYPE_MOVED,
])  # fmt: skip
_CHANGES_A_TREE = frozenset([EVENT_TYPE_CREATED, EVENT_TYPE_DELETED, EVENT_TYPE_MOVED])
_FOLDERS_REMEMBERED = 1024


class HintingHandler(FileSystemEventHandler):
    """Gives hints for one root (absolute, resolved). May be called from any thread; never raises an Exception."""

    def __init__(self, root: bytes, rules: WalkRules, hints: Hints) -> None:
        self._root = root
        self._rules = rules
        self._hints = hints
        self._skip = len(root.rstrip(b"/")) + 1
        self._is_folder_left_out = lru_cache(_FOLDERS_REMEMBERED)(self._leaves_out)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Give the hints of an event; if that fails, one for the whole root, so that nothing is missed."""
        try:
            self._hint(event)
            if self._hints.are_too_many:
                self._hints.everything(self._root)
        except Exception:  # noqa: BLE001 - watchdog's thread would end, and the root would be deaf
            _log.exception("an event of %s could not be handled; the root is looked through", event.src_path)
            self._hints.everything(self._root)

    def _hint(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path:
                raw = os.fsencode(path)
                if event.is_directory:
                    self._hint_folder(raw, event.event_type)
                elif event.event_type in _CHANGES_A_FILE and self._is_wanted(raw):
                    self._hints.touched(raw, closed=event.event_type != EVENT_TYPE_MODIFIED)

    def _hint_folder(self, path: bytes, event_type: str) -> None:
        """That a folder was modified says nothing: what came into it or left it has an event of its own."""
        if path == self._root and event_type in _CHANGES_A_TREE:
            self._hints.everything(path)
        elif not at_or_below(path, self._root) or self._is_folder_left_out(path):
            return
        elif event_type in _CHANGES_A_TREE:
            self._hints.tree(path)
        elif event_type == EVENT_TYPE_ATTRIB:  # it may have become readable
            self._hints.folder(path)

    def _is_wanted(self, path: bytes) -> bool:
        """Is it the path of a picture file below the root that the rules do not leave out?"""
        wanted = self._rules.suffixes
        if suffix(path) not in wanted and path[path.rfind(b".") :] not in wanted:
            return False
        folder, _, name = path.rpartition(b"/")
        return (
            at_or_below(folder or b"/", self._root)
            and not self._is_folder_left_out(folder or b"/")
            and path not in self._rules.left_out
            and not self._rules.ignored.covers(name, path[self._skip :])
        )

    def _leaves_out(self, folder: bytes) -> bool:
        return self._rules.leaves_out(folder, self._root)
