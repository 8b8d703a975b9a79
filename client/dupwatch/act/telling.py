"""Tells the service which contents an apply removed and an undo brought back, now or as soon as one answers.

In: digests. Out: requests `removed` and `restored`. What could not be told is kept in the caller's state directory and
told the next time, in order; of very many, the last ones.
"""

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dupwatch.act.state_folder import state_folder
from dupwatch.errors import ClientError

if TYPE_CHECKING:
    from dupwatch.client import Client

_DIGESTS_AT_ONCE = 10_000
_REQUESTS_KEPT = 1_000  # where no service ever runs, notes must not pile up


def tell(make_client: Callable[[], "Client"], do: str, digests: Sequence[bytes]) -> bool:
    """Tell of contents that were ``removed`` or ``restored``; returns False if that has to wait for the next time."""
    waiting = [*_noted(), *([(do, list(digests))] if digests else [])]
    if not waiting:
        return True
    try:
        with make_client() as client:
            while waiting:
                what, of = waiting[0]
                client.request(what, digests=of[:_DIGESTS_AT_ONCE])
                waiting[0] = (what, of[_DIGESTS_AT_ONCE:])
                if not waiting[0][1]:
                    del waiting[0]
    except ClientError:
        _note(waiting)
        return False
    _note([])
    return True


def _path() -> bytes:
    return os.path.join(state_folder(), b"untold.jsonl")


def _noted() -> list[tuple[str, list[bytes]]]:
    found = []
    try:
        with open(_path(), encoding="ascii") as lines:
            for line in lines:
                do, digests = json.loads(line)
                found.append((str(do), [bytes.fromhex(digest) for digest in digests]))
    except (OSError, ValueError, TypeError):
        pass  # it is a convenience: what is lost is only that the service remembers
    return found


def _note(waiting: Sequence[tuple[str, Sequence[bytes]]]) -> None:
    waiting = waiting[-_REQUESTS_KEPT:]
    try:
        if not waiting:
            if os.path.lexists(_path()):
                os.unlink(_path())
            return
        with open(_path() + b".part", "w", encoding="ascii") as stream:
            stream.writelines(json.dumps([do, [one.hex() for one in digests]]) + "\n" for do, digests in waiting)
        os.replace(_path() + b".part", _path())
    except OSError:
        pass
