"""Opens the sockets that clients see, so that nobody but the owner, the group or the holder of a key can use them.

Going in: a checked endpoint, the group that may ask, the folder of keys. Coming out: a bound socket and its file.
The umask of the process is 0117 while a socket file is made: the file has the rights 0660 from the start, and there is
no moment at which strangers could connect.
"""

import os
import stat
from dataclasses import dataclass

import zmq
from zmq.auth import load_certificate, load_certificates
from zmq.auth.thread import ThreadAuthenticator

from dupwatch.endpoints import default_endpoints, is_local, socket_path, why_unreachable
from dupwatchd.errors import UsageError

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


def demand_keys(
    context: "zmq.Context[zmq.Socket[bytes]]", sockets: "list[zmq.Socket[bytes]]", endpoint: str, keys: str | None
) -> ThreadAuthenticator | None:
    """Make unbound sockets accept only clients whose public key lies in ``keys/clients``; None without keys.

    ``keys`` also holds ``server.key_secret``. Raises UsageError for keys that cannot be used, and if other machines can
    reach the endpoint and there are no keys. Clients that are added or removed later count after a restart.
    """
    if keys is None:
        if not is_local(endpoint):
            raise UsageError(
                f"{endpoint} can be reached from other machines: that needs keys; "
                "name their folder, or listen at a socket file or at 127.0.0.1"
            )
        return None
    secret_file = os.path.join(keys, "server.key_secret")
    try:
        if os.stat(secret_file).st_mode & 0o077:
            raise UsageError(f"others may read {secret_file}: run chmod 600 on it")
        public, secret = load_certificate(secret_file)
        allowed = load_certificates(os.path.join(keys, "clients"))
        if secret is None or not allowed:
            raise UsageError(f"{keys} must hold server.key_secret with a secret key, and clients/*.key")
        authenticator = ThreadAuthenticator(context)
        authenticator.start()
        authenticator.configure_curve(domain=_ZAP_DOMAIN, location=os.path.join(keys, "clients"))
        for zmq_socket in sockets:
            zmq_socket.zap_domain = _ZAP_DOMAIN.encode()
            zmq_socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
            zmq_socket.curve_server = True
            zmq_socket.curve_publickey, zmq_socket.curve_secretkey = public, secret
    except (OSError, ValueError, zmq.ZMQError) as error:
        raise UsageError(f"cannot use the keys in {keys}: {error}") from error
    return authenticator


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
