"""Where the service listens: ``ipc://`` and the path of a socket file, or ``tcp://`` and host:port.

The client and the service both use this module, so that they agree on what an endpoint is and which one is the default.
"""

import os
import stat
from collections.abc import Mapping

from dupwatch.errors import WrongUsageError

SYSTEM_SOCKET = "/run/dupwatch/query.sock"
_LOOPBACK_NAMES = ("localhost", "[::1]")
_SOCKET_PATH_BYTES_MAX = 107  # sun_path of Linux, without its final NUL


def default_endpoints(environment: Mapping[str, str]) -> list[str]:
    """Where a client looks if no endpoint is named: at the user's own service, then at the system's."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    user = [f"ipc://{runtime}/dupwatch/query.sock"] if runtime.startswith("/") else []
    return [*user, f"ipc://{SYSTEM_SOCKET}"]


def checked(endpoint: str) -> str:
    """The endpoint in full; a bare path stands for its socket file.

    Raises WrongUsageError for what is no endpoint, or one whose socket files the system cannot name.
    """
    if endpoint.startswith(("/", "./", "../")):
        endpoint = f"ipc://{os.path.abspath(endpoint)}"
    scheme, separator, address = endpoint.partition("://")
    if scheme == "ipc" and separator and address.startswith("/") and address.strip("/") and "\0" not in address:
        path = os.path.abspath(address)
        if len(os.fsencode(events_path(path))) > _SOCKET_PATH_BYTES_MAX:
            raise WrongUsageError(
                f"{endpoint!r} is too long: the path of a socket has at most {_SOCKET_PATH_BYTES_MAX} bytes, "
                f"and the one for events, {events_path(path)}, would have more"
            )
        return f"ipc://{path}"
    host, colon, port = address.rpartition(":")
    if scheme == "tcp" and colon and host and port.isdecimal() and port.isascii() and 0 < int(port) < 65535:
        return endpoint
    raise WrongUsageError(
        f"{endpoint!r} is neither a path nor an endpoint: it should be ipc:///path/of/a/socket or tcp://host:port, "
        "with a port below 65535"
    )


def events_endpoint(endpoint: str) -> str:
    """Where the events of the service at a checked endpoint come from: ``events.sock`` beside it, or the next port."""
    path = socket_path(endpoint)
    if path is not None:
        return f"ipc://{events_path(path)}"
    host, _, port = endpoint.rpartition(":")
    return f"{host}:{int(port) + 1}"


def events_path(path: str) -> str:
    """The socket file for events beside the one for requests."""
    folder, name = os.path.split(path)
    return os.path.join(folder, "events.sock" if name == "query.sock" else f"{name}.events")


def socket_path(endpoint: str) -> str | None:
    """The socket file of a checked endpoint; None for TCP."""
    return endpoint.removeprefix("ipc://") if endpoint.startswith("ipc://") else None


def is_local(endpoint: str) -> bool:
    """Whether only processes of this machine can reach the endpoint, so that paths mean the same to both sides."""
    if socket_path(endpoint) is not None:
        return True
    host = endpoint.removeprefix("tcp://").rpartition(":")[0]
    if host in _LOOPBACK_NAMES:
        return True
    numbers = host.split(".")
    return len(numbers) == 4 and numbers[0] == "127" and all(n.isdecimal() and int(n) < 256 for n in numbers)


def why_unreachable(endpoint: str) -> OSError | None:
    """Try to connect; returns what the system says against it, or None if somebody listens."""
    import socket  # it takes some ms to load, and only failures need it

    path = socket_path(endpoint)
    try:
        if path is not None:
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                return OSError(f"{path} is not a socket")
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(path)
        else:
            host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except BlockingIOError:  # the queue of connections of whoever listens is full, so somebody does
        return None
    except (OSError, UnicodeError) as error:
        return error if isinstance(error, OSError) else OSError(str(error))
    return None
