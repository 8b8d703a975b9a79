"""The errors that a client can meet, by whose fault they are.

Each is raised with a message of one line for a person. ``exit_status`` is the status with which the command line ends:
1 failed, 2 wrong usage, 3 no service reachable.
"""

_USAGE_CODES = frozenset({"bad_request", "out_of_range", "unknown_command", "unknown_file", "unknown_folder"})


class ClientError(Exception):
    """The base of all errors that end a command of `dupwatch`."""

    exit_status = 1


class WrongUsageError(ClientError):
    """The endpoint, a key file or an argument is wrong; the caller can correct it."""

    exit_status = 2


class NoServiceError(ClientError):
    """No service listens at the endpoint, or it does not answer in time."""

    exit_status = 3


class NotAllowedError(NoServiceError):
    """A service listens at the endpoint, but file rights or keys do not let us in."""


class ProtocolError(ClientError):
    """The service sent what the protocol does not allow: a bug of it, or no dupwatch service listens there."""


class VersionError(ProtocolError):
    """Client and service speak different versions of the protocol."""


class RequestFailedError(ClientError):
    """The service answered a request with an error; ``code`` is one of those in PROTOCOL.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.exit_status = 2 if code in _USAGE_CODES else 1

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.code in ("busy", "starting", "stopping")
