"""Opens the sockets that clients see, so that nobody but the owner, the group or the holder of a key can use them.

Going in: a checked endpoint, the group that may ask, the folder of keys. Coming out: a bound socket and its file.
The umask of the process is 0117 while a socket file is made: the file has the rights 0660 from the start, and there is
no moment at which strangers could connect.
"""

import logging
import os
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq
from zmq.auth import load_certificate, load_certificates

from dupwatch.endpoints import default_endpoints, is_local, socket_path, why_unreachable
from dupwatchd.errors import UsageError
from dupwatchd.problems import Fault, Problems

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

_log = logging.getLogger(__name__)

HANDSHAKE_MS = 5_000
HEARTBEAT_MS = 5_000
GOODBYE_SECONDS = 0.3  # for the last messages to leave
FILES_CHECK_SECONDS = 5.0
UNBIND_SECONDS = 0.5  # until libzmq has removed the file of a socket that it was told to unbind; it takes milliseconds
_SOCKET_UMASK = 0o117
_ZAP_DOMAIN = "dupwatch"


@dataclass(frozen=True, slots=True)
class SocketFile:
    """A socket file that we made; its inode tells it from one that another service has put in its place."""

    path: str
    inode: int

    @property
    def is_in_place(self) -> bool:
        """Whether clients that come now find this file."""
        try:
            return os.lstat(self.path).st_ino == self.inode
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the file if it is still ours."""
        try:
            if os.lstat(self.path).st_ino == self.inode:
                os.unlink(self.path)
        except OSError:
            pass  # the file, or its folder, is gone already


def new_socket(context: "zmq.Context[zmq.Socket[bytes]]", kind: int, endpoint: str) -> "zmq.Socket[bytes]":
    """A socket for clients that waits for none of them, and ends connections that do not shake hands."""
    made = context.socket(kind)
    made.linger = int(GOODBYE_SECONDS * 1000)
    made.sndtimeo = 0
    made.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    if socket_path(endpoint) is None:
        made.heartbeat_ivl = HEARTBEAT_MS
        made.heartbeat_timeout = 2 * HEARTBEAT_MS
        made.ipv6 = True
    return made


class BoundSocket:
    """A socket that listens at an endpoint, and does so again if its file was removed or replaced.

    It belongs to the thread of the socket, but for `remove_file`.
    """

    def __init__(
        self, zmq_socket: "zmq.Socket[bytes]", endpoint: str, group: str | None, fault: Fault, problems: Problems
    ) -> None:
        """Bind; raises UsageError if that is not possible. ``fault`` is noted while nobody new can reach the socket."""
        self._socket, self._endpoint, self._group = zmq_socket, endpoint, group
        self._fault, self._problems = fault, problems
        self._check_at = 0.0
        self._is_bound = True
        self._file = bind(zmq_socket, endpoint, group)  # None: TCP

    def keep_in_place(self) -> None:
        """Now and then: listen again where the file was removed or replaced: nobody new could reach the service."""
        now = time.monotonic()
        if now < self._check_at or self._file is None:
            return
        self._check_at = now + FILES_CHECK_SECONDS
        try:
            if not self._is_bound:
                self._file = bind(self._socket, self._endpoint, self._group)
                self._is_bound = True
                _log.warning("listening again at %s, whose file was removed", self._endpoint)
            elif not self._file.is_in_place:
                make_room_again(self._socket, self._endpoint, self._group)
                self._is_bound = False
                self._check_at = now + UNBIND_SECONDS
        except UsageError as error:
            self._problems.note(self._fault, f"new clients cannot reach the service: {error}")
        else:
            if self._is_bound:
                self._problems.clear(self._fault)

    def remove_file(self) -> None:
        """Remove the socket file, if it is still there and ours."""
        if self._file is not None:
            self._file.remove()


def bind(zmq_socket: "zmq.Socket[bytes]", endpoint: str, group: str | None) -> SocketFile | None:
    """Bind to a checked endpoint; returns the socket file, None for TCP.

    Raises UsageError if that is not possible, or another service listens there.
    """
    path = socket_path(endpoint)
    if path is not None:
        _make_room(path, group)
    before = os.umask(_SOCKET_UMASK)
    try:
        zmq_socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise UsageError(f"cannot listen at {path or endpoint}: {error.strerror}") from error
    finally:
        os.umask(before)
    if path is None:
        return None
    file = SocketFile(path, os.lstat(path).st_ino)
    if group is not None:
        try:
            _give_to_group(path, group)
        except UsageError:
            file.remove()
            raise
    return file


def make_room_again(zmq_socket: "zmq.Socket[bytes]", endpoint: str, group: str | None) -> None:
    """Stop listening at a socket file that is not in place any more, so that `bind` can be called a moment later.

    Connections that are open stay. libzmq removes whatever has the name of the file a moment after this call, so
    nothing may be there that is somebody else's: then UsageError is raised and nothing is done.
    """
    path = socket_path(endpoint)
    assert path is not None
    _make_room(path, group)
    zmq_socket.unbind(endpoint)


def _make_room(path: str, group: str | None) -> None:
    """Make the folder of a socket file, and make sure that binding, which replaces any file, destroys nothing.

    Raises UsageError if the folder cannot be used, or a file is there that is not the socket of a service that ended.
    """
    folder = os.path.dirname(path)
    try:
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700)
            if group is not None:
                _give_to_group(folder, group)
                os.chmod(folder, 0o750)  # noqa: S103 - the group must be able to reach the sockets
        status = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot listen in {folder}: {error.strerror}; name another place with --endpoint") from error
    if not stat.S_ISSOCK(status.st_mode):
        raise UsageError(f"cannot listen at {path}: there is a file that is no socket")
    reason = why_unreachable(f"ipc://{path}")
    if reason is None:
        raise UsageError(f"another service listens at {path}; stop it, or name another place with --endpoint")
    if not isinstance(reason, ConnectionRefusedError):  # refused: the service that made the socket has ended
        raise UsageError(f"cannot tell whether a service listens at {path}: {reason.strerror or reason}")


def _give_to_group(path: str, group: str) -> None:
    import grp

    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        raise UsageError(f"there is no group {group!r} to serve") from None
    except PermissionError:
        raise UsageError(f"cannot give {path} to group {group!r}: the service's user is not a member of it") from None
    except OSError as error:
        raise UsageError(f"cannot give {path} to group {group!r}: {error.strerror}") from error


class Keys:
    """The keys of a service: its own, and those of the clients that may use it.

    Clients that are added or removed later count after a restart.
    """

    def __init__(self, folder: str) -> None:
        """Read ``server.key_secret`` and ``clients/*.key``; raises UsageError if they cannot be used."""
        secret_file = os.path.join(folder, "server.key_secret")
        self._folder = folder
        self._clients = os.path.join(folder, "clients")
        try:
            if os.stat(secret_file).st_mode & 0o077:
                raise UsageError(f"others may read {secret_file}: run chmod 600 on it")
            self._public, secret = load_certificate(secret_file)
            allowed = load_certificates(self._clients)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot use the keys in {folder}: {error}") from error
        if secret is None or not allowed:
            raise UsageError(f"{folder} must hold server.key_secret with a secret key, and clients/*.key")
        self._secret = secret
        self._authenticators: list[ThreadAuthenticator] = []

    def demand(self, context: "zmq.Context[zmq.Socket[bytes]]", zmq_socket: "zmq.Socket[bytes]") -> None:
        """Let the only socket of a context, which is not bound yet, accept clients with one of the keys and no others.

        Raises UsageError for keys that cannot be used.
        """
        from zmq.auth.thread import ThreadAuthenticator  # brings asyncio along, which no local service needs

        try:
            authenticator = ThreadAuthenticator(context)
            authenticator.start()
            self._authenticators.append(authenticator)
            authenticator.configure_curve(domain=_ZAP_DOMAIN, location=self._clients)
            zmq_socket.zap_domain = _ZAP_DOMAIN.encode()
            zmq_socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
            zmq_socket.curve_server = True
            zmq_socket.curve_publickey, zmq_socket.curve_secretkey = self._public, self._secret
        except (OSError, ValueError, zmq.ZMQError) as error:
            raise UsageError(f"cannot use the keys in {self._folder}: {error}") from error

    def close(self) -> None:
        """End the threads that compare keys."""
        for authenticator in self._authenticators:
            authenticator.stop()


def keys_for(endpoint: str, folder: str | None) -> Keys | None:
    """The keys in a folder; None without one, which is a UsageError if other machines can reach the endpoint."""
    if folder is not None:
        return Keys(folder)
    if not is_local(endpoint):
        raise UsageError(
            f"{endpoint} can be reached from other machines: that needs keys; "
            "name their folder, or listen at a socket file or at 127.0.0.1"
        )
    return None


def default_endpoint() -> str:
    """The socket where the service listens if no setting names one.

    It lies in the runtime directory that the service manager made, else in the user's, where a client looks first.
    Raises UsageError if its folder cannot be made.
    """
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return f"ipc://{os.path.join(given, 'query.sock')}"
    own = default_endpoints(os.environ)[0]
    folder = os.path.dirname(own.removeprefix("ipc://"))
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make {folder} for the socket: {error.strerror}; name another with --endpoint"
        ) from error
    return own
