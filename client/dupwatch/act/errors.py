"""What can go wrong when acting: with a plan, with one file, with everything.

`PlanError` and `ActError` end a command. `SkipError` concerns one file and its family: they stay, the rest goes on.
`HaltError` ends an apply, an undo or a purge between two files: what was done stays done and can be undone.
"""

from dupwatch.errors import ClientError


class PlanError(ClientError):
    """A plan cannot be believed; nothing has been touched."""

    exit_status = 2


class ActError(ClientError):
    """Nothing could be done at all: no journal, no lock, no such run."""


class SkipError(Exception):
    """One file must stay where it is; the message says why."""


class HaltError(Exception):
    """No further file may be acted on; the message says why."""
