"""What can go wrong that a person has to hear about, and whose fault it is.

A photo that cannot be read is never an exception: it is recorded as a value (see ``model.Outcome``).
Everything here ends the command with one line on stderr; ``exit_status`` is part of the command contract.
"""


class DupwatchError(Exception):
    """Something that ends the command; the message says what happened, to what, and what to do."""

    exit_status = 1


class UsageError(DupwatchError):
    """The command line, a setting or the environment is wrong: the caller can mend it."""

    exit_status = 2


class StateError(DupwatchError):
    """The state directory cannot be used: in use, full, damaged, of a newer version."""


class StateInUseError(StateError):
    """Another process holds the state directory; ``owner`` is its number, None if it did not leave it."""

    def __init__(self, message: str, owner: int | None) -> None:
        super().__init__(message)
        self.owner = owner


class StateLockedError(StateError):
    """Somebody else has been writing to the database for longer than anybody waits."""


class DamagedStateError(StateError):
    """The database or the blocks are damaged: ``dupwatchd check --repair`` is the cure."""


class DamagedBlocksError(DamagedStateError):
    """Thumbnails are missing or damaged. They can be made again from the photos; the database is not in question."""


class Interrupted(DupwatchError):  # noqa: N818 - it is not an error, it is the user's wish
    """The user or the system asked for a stop; all committed work is kept."""
