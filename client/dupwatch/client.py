"""Asks the service, and listens to its events; the only module of the client that knows ZeroMQ.

In: commands with their arguments. Out: results as dictionaries, events, or a `ClientError`. A `Client` belongs to one
thread. It can be used across a restart of the service: a request that was under way fails at once, and the next one is
answered by the new process.
"""

import itertools
import os
import struct
import time
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Any, Self

import zmq

from dupwatch import wire
from dupwatch.endpoints import checked, default_endpoints, events_endpoint, is_local, socket_path, why_unreachable
from dupwatch.errors import (
    NoServiceError,
    NotAllowedError,
    ProtocolError,
    RequestFailedError,
    VersionError,
    WrongUsageError,
)
from dupwatch.missed_events import MissedEventFinder, Notice

TIMEOUT_SECONDS = 10.0
RECONNECT_MS = 50
RECONNECT_MAX_MS = 1000
HEARTBEAT_MS = 5000  # over TCP a frozen peer would never be noticed
EVENTS_WAITING_MAX = 20_000  # a few MB; beyond that a slow listener loses events, and is told so
SILENCE_SECONDS = 15.0  # three ticks of the service
HELD_SECONDS = 0.5  # a handshake that fails after so long was not refused: the service lets the user wait

_REFUSED = zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
_FAILED = zmq.Event.CONNECT_RETRIED | zmq.Event.DISCONNECTED | _REFUSED
_WATCHED = _FAILED | zmq.Event.HANDSHAKE_SUCCEEDED


class Client:
    """Asks one service.

    ``endpoint`` as in PROTOCOL.md; without one, DUPWATCH_ENDPOINT, else the user's socket, else the system's.
    ``keys`` is a folder with ``client.key_secret`` and ``server.key``, for services that demand keys; for those on
    other machines it is ``dupwatch/keys`` in the user's configuration, if nobody says otherwise.
    """

    def __init__(
        self, endpoint: str | None = None, timeout_seconds: float = TIMEOUT_SECONDS, keys: str | None = None
    ) -> None:
        self.endpoint = chosen_endpoint(endpoint)
        self._timeout_seconds = timeout_seconds
        self._keys = keys or _default_keys(self.endpoint)
        self._context = zmq.Context()
        self._line: _Line | None = None
        self._ids = itertools.count(1)

    @property
    def shares_paths(self) -> bool:
        """Whether a path means the same file to the service as to us."""
        return is_local(self.endpoint)

    def request(self, do: str, timeout_seconds: float | None = None, **args: Any) -> dict[str, Any]:
        """The result of one command; arguments that are None are left out, ``data`` is the second frame.

        Raises WrongUsageError for arguments the protocol does not have, NoServiceError (its child NotAllowedError if
        rights or keys are the reason), RequestFailedError if the service says no, VersionError, or ProtocolError.
        """
        request_id = next(self._ids)
        try:
            frames = wire.encode_request(request_id, do, {name: args[name] for name in args if args[name] is not None})
        except wire.WireError as error:
            raise WrongUsageError(str(error)) from None
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        deadline = time.monotonic() + seconds
        if self._line is not None and self._line.was_cut():
            self._line.close()  # ZeroMQ connects anew, but may still give a message to the end that is gone: it is lost
            self._line = None
        if self._line is None:
            self._line = _Line(self._context, zmq.DEALER, self.endpoint, self._keys)
            self._line.socket.maxmsgsize = wire.REPLY_BYTES_MAX
        try:
            self._line.send([b"", *frames], deadline)
            while True:
                reply = wire.decode_reply(_without_envelope(self._line.receive(deadline)))
                if reply.id in (request_id, None):  # any other is the late answer to a request that was given up
                    return _result(reply)
        except _TooLateError:
            reason = "it may be overloaded"
            if self._line.was_held:
                reason += ", or lets its user wait, of whom it had to refuse too many requests; try again in a minute"
            raise NoServiceError(
                f"the service at {self.endpoint} does not answer within {seconds:g} s; {reason}"
            ) from None

    def events(self, topics: Collection[str] = ()) -> Iterator[wire.Event | Notice]:
        """The events from now on, of some topics or of all, without end; waits while the service is away.

        A `Notice` says what may have been missed: then whoever mirrors the state has to ask again. Raises
        NoServiceError if nobody serves at the beginning, and ProtocolError.
        """
        endpoint = events_endpoint(self.endpoint)
        line = _Line(self._context, zmq.SUB, endpoint, self._keys, receive_max=EVENTS_WAITING_MAX)
        line.socket.maxmsgsize = wire.EVENT_BYTES_MAX
        for topic in {*(topics or wire.TOPICS), wire.TICK}:
            line.socket.subscribe(topic)
        finder = MissedEventFinder(topics or wire.TOPICS)
        deadline = time.monotonic() + self._timeout_seconds
        try:
            while True:
                try:
                    event = wire.decode_event(line.receive(deadline))
                except _TooLateError:
                    if not finder.has_begun:
                        raise NoServiceError(f"no events come from {endpoint}") from None
                    yield from finder.lost("the service is silent")
                    deadline = time.monotonic() + SILENCE_SECONDS
                except NoServiceError as error:
                    if not finder.has_begun:
                        raise
                    yield from finder.lost(str(error))
                    deadline = time.monotonic() + SILENCE_SECONDS
                else:
                    yield from finder.take(event)
                    deadline = time.monotonic() + SILENCE_SECONDS
        finally:
            line.close()

    def close(self) -> None:
        """Give up what is under way; a second call does nothing."""
        if self._line is not None:
            self._line.close()
            self._line = None
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def chosen_endpoint(given: str | None) -> str:
    """The endpoint to ask, in full: the given one, else the environment's, else the first default that listens."""
    named = given or os.environ.get("DUPWATCH_ENDPOINT")
    if named:
        return checked(named)
    candidates = [checked(endpoint) for endpoint in default_endpoints(os.environ)]
    there = [endpoint for endpoint in candidates if os.path.lexists(socket_path(endpoint) or "")]
    if len(there) > 1:  # the first may be left over from a service that was killed
        there = [endpoint for endpoint in there if why_unreachable(endpoint) is None] or there
    return (there or candidates)[0]


class _TooLateError(Exception):
    pass


class _Line:
    """A socket that tells at once when nobody is at the other end; made for one thread."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        kind: int,
        endpoint: str,
        keys: str | None,
        receive_max: int = 16,
    ) -> None:
        self._endpoint = endpoint
        self._is_cut = False
        self._shakes_hands_since = time.monotonic()
        self.was_held = False  # the service let us wait for so long that a handshake failed
        self.socket = context.socket(kind)
        self.socket.linger = 0  # the default waits for ever when the context ends
        self.socket.immediate = 1  # else a message to nobody counts as sent
        self.socket.rcvhwm = receive_max
        self.socket.reconnect_ivl = RECONNECT_MS
        self.socket.reconnect_ivl_max = RECONNECT_MAX_MS
        if socket_path(endpoint) is None:
            self.socket.heartbeat_ivl = HEARTBEAT_MS
            self.socket.heartbeat_timeout = 2 * HEARTBEAT_MS
            self.socket.ipv6 = True
        if keys is not None:
            _use_keys(self.socket, keys)
        self._monitor = self.socket.get_monitor_socket(_WATCHED)
        self._poller = zmq.Poller()
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise WrongUsageError(f"cannot use endpoint {endpoint}: {error.strerror}") from None

    def was_cut(self) -> bool:
        """Whether the connection has ever ended."""
        for _ in iter(self._news, 0):
            pass  # what became of earlier requests
        return self._is_cut

    def send(self, frames: list[bytes], deadline: float) -> None:
        """Hand over a message once somebody is there."""
        while True:
            try:
                self.socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                self._wait(zmq.POLLOUT, deadline)
                self._raise_if_gone(self._news(), was_there=False)
            else:
                return

    def receive(self, deadline: float) -> list[bytes]:
        """The next message; raises NoServiceError as soon as the other end is gone."""
        news = 0
        while True:
            try:
                return self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                self._raise_if_gone(news, was_there=True)  # only now: what was sent before the end still counts
                news = 0 if self._wait(zmq.POLLIN, deadline) else self._news()

    def close(self) -> None:
        """Close the socket and its monitor, if the context is not gone already."""
        if self.socket.closed:
            return
        self.socket.disable_monitor()
        self._monitor.close(0)
        self.socket.close(0)

    def _wait(self, wanted: int, deadline: float) -> bool:
        """Whether the socket is ready; else there are news of the connection."""
        left = deadline - time.monotonic()
        self._poller.register(self.socket, wanted)
        ready = dict(self._poller.poll(max(int(left * 1000), 0)))
        if not ready:
            raise _TooLateError
        return self.socket in ready

    def _news(self) -> int:
        """What the monitor says next; 0 for nothing."""
        try:
            frames = self._monitor.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return 0
        (event,) = struct.unpack_from("=H", frames[0])  # zmq.utils.monitor would import asyncio for that
        self._is_cut |= event == zmq.Event.DISCONNECTED
        return int(event)

    def _raise_if_gone(self, event: int, was_there: bool) -> None:
        if event & zmq.Event.HANDSHAKE_FAILED_NO_DETAIL and socket_path(self._endpoint) is not None:
            now = time.monotonic()
            since, self._shakes_hands_since = self._shakes_hands_since, now
            if now - since > HELD_SECONDS:
                self.was_held = True
                return  # ZeroMQ comes again by itself
            reason = why_unreachable(self._endpoint)
            if reason is not None:  # it was just ended
                raise _unreachable(self._endpoint, reason)
            raise NoServiceError(
                f"the service at {self._endpoint} ends every connection at once: it has more clients than it can take, "
                "or demands keys; end some of the clients, or try again later"
            )
        if event & _REFUSED:
            raise NotAllowedError(
                f"the service at {self._endpoint} refuses this client: keys are missing, unknown or wrong"
            )
        if event & zmq.Event.DISCONNECTED and was_there:
            raise NoServiceError(f"the service at {self._endpoint} went away")
        if event & _FAILED:
            reason = why_unreachable(self._endpoint)
            if reason is not None:
                raise _unreachable(self._endpoint, reason)


def _unreachable(endpoint: str, reason: OSError) -> NoServiceError:
    path = socket_path(endpoint)
    if isinstance(reason, PermissionError):
        return NotAllowedError(
            f"you may not use {path}: the service serves its owner and group only; "
            "become a member of its group, or use a service of your own"
        )
    if isinstance(reason, FileNotFoundError):
        return NoServiceError(f"no service: {path} does not exist; start `dupwatchd run`, or name another --endpoint")
    if isinstance(reason, ConnectionRefusedError):
        return NoServiceError(f"no service listens at {path or endpoint}; start `dupwatchd run`")
    return NoServiceError(f"no service reachable at {endpoint}: {reason.strerror or reason}")


def _default_keys(endpoint: str) -> str | None:
    if is_local(endpoint):
        return None
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    folder = os.path.join(base, "dupwatch", "keys")
    return folder if os.path.isdir(folder) else None


def _use_keys(socket: "zmq.Socket[bytes]", folder: str) -> None:
    from zmq.auth import load_certificate

    try:
        public, secret = load_certificate(os.path.join(folder, "client.key_secret"))
        server, _ = load_certificate(os.path.join(folder, "server.key"))
        if secret is None:
            raise WrongUsageError(f"{folder}/client.key_secret holds no secret key")
        socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = public, secret, server
    except (OSError, ValueError, zmq.ZMQError) as error:
        raise WrongUsageError(f"cannot use the keys in {folder}: {error}") from error


def _without_envelope(frames: list[bytes]) -> list[bytes]:
    if not frames or frames[0]:
        raise ProtocolError("the service sent no envelope; is it a dupwatch service?")
    return frames[1:]


def _result(reply: wire.Reply) -> dict[str, Any]:
    if reply.version != wire.VERSION or reply.code == "version":
        raise VersionError(
            f"the service speaks version {reply.version} of the protocol, this client {wire.VERSION}; "
            "update the older of them"
        )
    if reply.result is None:
        raise RequestFailedError(reply.code, reply.message)
    return reply.result
