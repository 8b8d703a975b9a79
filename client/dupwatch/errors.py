"""What can go wrong for somebody who asks the service, and whose fault it is.

``exit_status`` is part of the command contract: 1 failed, 2 wrong usage, 3 no service reachable.
"""

_USAGE_CODES = frozenset({"bad_request", "out_of_range", "unknown_command", "unknown_folder"})


class ClientError(Exception):
    """Something that ends the command; the message is one line for a person."""

    exit_status = 1


class WrongUsageError(ClientError):
    """The endpoint, a key file or an argument is wrong: the caller can mend it."""

    exit_status = 2


class NoServiceError(ClientError):
    """Nobody serves there, or nobody answers."""

    exit_status = 3


class NotAllowedError(NoServiceError):
    """Somebody serves there, but not us: file rights or keys say no."""


class ProtocolError(ClientError):
    """The service sent what the protocol does not allow: its bug, or it is no dupwatch service."""


class VersionError(ProtocolError):
    """Client and service speak different versions of the protocol."""


class RequestFailedError(ClientError):
    """The service understood, and answered with an error; ``code`` is one of PROTOCOL.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.exit_status = 2 if code in _USAGE_CODES else 1

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.code in ("busy", "starting", "stopping")
