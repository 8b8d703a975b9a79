"""The server on real sockets: everybody gets an answer, and nobody can spoil it for the others."""

import contextlib
import logging
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
import zmq.auth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupwatch import wire
from dupwatch.client import Client
from dupwatch.endpoints import events_endpoint
from dupwatch.errors import NoServiceError, NotAllowedError, RequestFailedError, VersionError
from dupwatch.missed_events import Notice
from dupwatchd.errors import UsageError
from dupwatchd.problems import Fault, Problems
from dupwatchd.serve import admission as admission_module
from dupwatchd.serve import binding as binding_module
from dupwatchd.serve import connections as connections_module
from dupwatchd.serve import publisher as publisher_module
from dupwatchd.serve.connections import (
    HANDSHAKES_AT_ONCE,
    SUBSCRIPTIONS_MAX,
    TOPIC_BYTES_MAX,
    Connections,
)
from dupwatchd.serve.request_queue import (
    CHANGING,
    OPEN_PER_CONNECTION_MAX,
    RESTS_PER_REQUEST,
    WAITING_MAX,
    FairQueue,
    Handler,
    OpenRequest,
    Peer,
    RequestError,
    Result,
)
from dupwatchd.serve.server import Server
from dupwatchd.serve.usage import Usage
from tests.client.small_service import SmallService

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: those of sockets have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="dw", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def endpoint(folder: Path) -> str:
    return f"ipc://{folder}/query.sock"


@pytest.fixture
def service() -> SmallService:
    return SmallService()


@pytest.fixture
def server(endpoint: str, service: SmallService) -> Iterator[Server]:
    with serving(endpoint, service.handlers()) as running:
        yield running
    service.gate.set()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.endpoint, timeout_seconds=20) as one:
        yield one


@contextlib.contextmanager
def serving(endpoint: str, handlers: dict[str, Handler], **options: Any) -> Iterator[Server]:
    running = Server(endpoint, handlers, **options)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def raw_socket(endpoint: str, kind: int = zmq.DEALER) -> Iterator["zmq.Socket[bytes]"]:
    with zmq.Context() as context, context.socket(kind) as made:
        made.linger = 0
        made.rcvtimeo = made.sndtimeo = 20_000
        made.connect(endpoint)
        yield made


def request(do: str, request_id: int = 1, **args: Any) -> bytes:
    return bytes(msgpack.packb({"v": 1, "id": request_id, "do": do, **args}))


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def got_and_done(waiting: FairQueue) -> OpenRequest | None:
    request = waiting.get()
    if request is not None:
        waiting.done(request)
    return request


def memory_mb(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


# ---- answers


def test_a_request_gets_the_result_of_its_handler_which_knows_who_asks(client: Client, service: SmallService) -> None:
    assert client.request("status")["files"] == 6
    assert client.request("clusters", limit=1, under=None)["total_clusters"] == 3
    assert service.asked == [("status", {}), ("clusters", {"limit": 1})]
    peer = service.peers[0]
    assert (peer.uid, peer.gid, peer.pid) == (os.getuid(), os.getgid(), os.getpid())


def test_bytes_and_odd_paths_arrive_as_they_are(client: Client, service: SmallService) -> None:
    data = random.Random(1).randbytes(wire.PIECE_BYTES_MAX)
    client.request("find", data=data)
    client.request("clusters", under=b"/caf\xe9\n")
    assert service.asked == [("find", {"data": data}), ("clusters", {"under": b"/caf\xe9\n"})]


def test_a_plain_req_socket_is_served_with_and_without_correlation(server: Server) -> None:
    for correlate in (0, 1):
        with raw_socket(server.endpoint, zmq.REQ) as req:
            req.req_relaxed = req.req_correlate = correlate
            for number in range(3):
                req.send(request("version", number))
                assert msgpack.unpackb(req.recv()) == {
                    "v": 1, "id": number, "ok": True, "result": {"version": "0", "protocol": 1},
                }  # fmt: skip


def test_an_error_of_a_handler_is_told_and_a_bug_is_logged(
    client: Client, service: SmallService, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RequestFailedError, match=r"above compare\.keep_structure") as refused:
        client.request("clusters", threshold=2.0)
    assert (refused.value.code, refused.value.exit_status) == ("out_of_range", 2)
    with caplog.at_level(logging.ERROR), pytest.raises(RequestFailedError) as failed:
        client.request("clusters", under=b"/bug")
    assert (failed.value.code, failed.value.exit_status) == ("internal", 1)
    assert "KeyError: 'a bug'" in caplog.text
    assert client.request("status")


@pytest.mark.parametrize(
    ("result", "code"),
    [({"a": object()}, "internal"), ({"a": 2**70}, "internal"), ({"a": b"\0" * wire.REPLY_BYTES_MAX}, "too_large")],
)
def test_a_result_that_cannot_be_sent_is_an_error(endpoint: str, result: dict[str, Any], code: str) -> None:
    with serving(endpoint, {"status": lambda *_: result}), Client(endpoint) as client:
        with pytest.raises(RequestFailedError) as failed:
            client.request("status")
        assert failed.value.code == code
        with pytest.raises(RequestFailedError) as failed:
            client.request("version")
        assert failed.value.code == "unknown_command"


def test_another_version_is_told_apart(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_socket(server.endpoint) as dealer:
        dealer.send_multipart([b"", request("status", v=2)])
        reply = wire.decode_reply(dealer.recv_multipart()[1:])
    assert (reply.id, reply.version, reply.code) == (1, 1, "version")
    monkeypatch.setattr(wire, "encode_request", lambda *_: [request("status", v=2)])
    with pytest.raises(VersionError, match="update the older"):
        client.request("status")


# ---- many at once


def test_twenty_clients_get_their_own_answers(server: Server) -> None:
    def ask(number: int) -> None:
        with Client(server.endpoint) as client:
            for offset in range(20):
                found = client.request("clusters", offset=offset % 3, limit=1, threshold=number / 100)
                assert found["threshold"] == number / 100
                assert found["clusters"][0]["id"] == f"{offset % 3:016x}"

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(ask, range(20)))


def test_a_slow_request_holds_nobody_back(server: Server, client: Client, service: SmallService) -> None:
    with raw_socket(server.endpoint) as slow:
        for number in range(OPEN_PER_CONNECTION_MAX):  # more than there are threads
            slow.send_multipart([b"", request("clusters", number, under=b"/slow")])
        until(lambda: len(service.asked) == 3)  # one of four threads is left to other users
        assert client.request("status", timeout_seconds=2)["state"] == "idle"
        service.gate.set()
        answers = {wire.decode_reply(slow.recv_multipart()[1:]).id for _ in range(OPEN_PER_CONNECTION_MAX)}
        assert answers == set(range(OPEN_PER_CONNECTION_MAX))


def test_too_many_open_requests_are_answered_with_busy_and_others_still_get_their_turn(
    server: Server, client: Client, service: SmallService
) -> None:
    with raw_socket(server.endpoint) as greedy, ThreadPoolExecutor(1) as pool:
        for number in range(OPEN_PER_CONNECTION_MAX + 1):
            greedy.send_multipart([b"", request("clusters", number, under=b"/slow")])
        reply = wire.decode_reply(greedy.recv_multipart()[1:])
        assert (reply.id, reply.code) == (OPEN_PER_CONNECTION_MAX, "busy")
        with contextlib.ExitStack() as stack:
            stack.callback(service.gate.set)
            more = [stack.enter_context(raw_socket(server.endpoint)) for _ in range(9)]
            for dealer in more:
                for number in range(OPEN_PER_CONNECTION_MAX):
                    dealer.send_multipart([b"", request("clusters", number, under=b"/slow")])
            assert OPEN_PER_CONNECTION_MAX * 10 > WAITING_MAX
            until(lambda: any(dealer.poll(0) for dealer in more))
            with Client(server.endpoint, 20) as modest:
                page = pool.submit(modest.request, "clusters")  # it gets the place of one of those who have many
                assert client.request("status")
                service.gate.set()
                assert page.result(20)["total_clusters"] == 3
    until(lambda: not server._request_queue._open)  # nothing stays of those who are gone
    assert not server._request_queue._of_connection
    assert client.request("clusters")


def test_what_waits_takes_turns_between_connections() -> None:
    waiting = FairQueue(5)
    many, one, other = Peer(b"many"), Peer(b"one"), Peer(b"other")
    asked = [OpenRequest([], number, "clusters", {}, many) for number in range(5)]
    assert [waiting.put(request) for request in asked] == [[]] * 5
    assert waiting.put(late := OpenRequest([], 5, "clusters", {}, many)) == [late]
    of_one, of_other = (OpenRequest([], 0, "clusters", {}, peer) for peer in (one, other))
    assert [waiting.put(of_one), waiting.put(of_other)] == [[asked[4]], [asked[3]]]
    assert [got_and_done(waiting) for _ in range(3)] == [asked[0], of_one, of_other]
    waiting.remove(many)
    waiting.close()
    assert waiting.get() is None


def test_users_take_turns_however_many_connections_they_have() -> None:
    waiting = FairQueue(8)
    crowd = [Peer(b"crowd %d" % number, uid=1) for number in range(8)]
    asked = [OpenRequest([], number, "clusters", {}, peer) for number, peer in enumerate(crowd)]
    assert [waiting.put(request) for request in asked] == [[]] * 8
    alone = Peer(b"alone", uid=2)
    of_alone = [OpenRequest([], number, "clusters", {}, alone) for number in range(5)]
    given_way = [waiting.put(request) for request in of_alone]
    assert [len(evicted) for evicted in given_way] == [1] * 5
    assert {evicted.peer.uid for [evicted] in given_way[:3]} == {1}
    assert given_way[4] == [of_alone[4]]  # four each, and one more would be more than the others have
    turns = [got_and_done(waiting) for _ in range(8)]
    assert [request.peer.uid for request in turns if request] == [1, 2] * 4


def test_no_user_has_all_threads_of_a_lane() -> None:
    waiting = FairQueue(8, shares=2)
    many, one = Peer(b"many", uid=1), Peer(b"one", uid=2)
    asked = [OpenRequest([], number, "clusters", {}, many) for number in range(4)]
    for request in asked:
        waiting.put(request)
    assert [waiting.get(), waiting.get()] == asked[:2]
    with ThreadPoolExecutor(1) as third:
        later = third.submit(waiting.get)
        waiting.put(of_one := OpenRequest([], 0, "clusters", {}, one))
        assert later.result(20) is of_one
        later = third.submit(waiting.get)
        assert not later.done()
        waiting.done(asked[0])
        assert later.result(20) is asked[2]


def test_who_takes_much_of_the_processor_while_others_are_about_has_one_thread_and_rests() -> None:
    usage = Usage()
    waiting = FairQueue(8, shares=2, usage=usage)
    many, one = Peer(b"many", uid=1), Peer(b"one", uid=2)
    asked = [OpenRequest([], number, "clusters", {}, many) for number in range(5)]
    for request in asked:
        waiting.put(request)
    assert [waiting.get(), waiting.get()] == asked[:2]
    for request in asked[:2]:
        waiting.done(request, 10.0)
    assert waiting.get() is asked[2]
    assert waiting.get() is asked[3]  # alone: both shares, and no rest
    usage.asks(2)
    waiting.done(asked[2], 0.1, 0.1)
    with ThreadPoolExecutor(1) as thread:
        later = thread.submit(waiting.get)
        waiting.put(of_one := OpenRequest([], 0, "clusters", {}, one))
        assert later.result(20) is of_one  # not the fifth one of the other user, who has a thread already
        later = thread.submit(waiting.get)
        began = time.monotonic()
        waiting.done(asked[3], 0.1, 0.1)
        assert later.result(20) is asked[4]
        assert time.monotonic() - began >= 0.1 * RESTS_PER_REQUEST


def test_what_waits_is_bounded_in_bytes() -> None:
    waiting = FairQueue(100, most_bytes=1000)
    many, one = Peer(b"many", uid=1), Peer(b"one", uid=2)
    asked = [OpenRequest([], number, "find", {}, many, size_bytes=300) for number in range(3)]
    assert [waiting.put(request) for request in asked] == [[]] * 3
    assert waiting.put(late := OpenRequest([], 3, "find", {}, many, size_bytes=300)) == [late]
    of_one = OpenRequest([], 0, "find", {}, one, size_bytes=600)
    assert waiting.put(of_one) == [asked[2], asked[1]]
    assert [got_and_done(waiting), got_and_done(waiting)] == [asked[0], of_one]
    assert waiting.put(huge := OpenRequest([], 0, "find", {}, one, size_bytes=1001)) == [huge]


def test_finds_that_take_long_hold_up_no_other_question(endpoint: str, service: SmallService) -> None:
    go_on = threading.Event()
    begun: list[int] = []

    def find(request: OpenRequest) -> Result:
        begun.append(request.request_id)
        assert go_on.wait(20)
        return {"copies": []}

    with serving(endpoint, {**service.handlers(), "find": find}) as server, Client(endpoint, 20) as client:
        with raw_socket(endpoint) as slow:
            for number in range(OPEN_PER_CONNECTION_MAX):
                slow.send_multipart([b"", request("find", number), b"x"])
            until(lambda: begun == [0])
            for command in ("status", "clusters", "failed", "resume", "wait"):
                assert client.request(command, **({"timeout": 0} if command == "wait" else {}))
            assert client.request("send", offset=0, size=5, data=b"x") == {"received": 1}
        until(lambda: len(server._request_queue._open) == 0)  # those of a client that has gone are dropped unbegun
        go_on.set()
        assert client.request("find", data=b"x") == {"copies": []}
    assert len(begun) == 2


def test_a_find_whose_time_is_up_before_it_is_begun_is_not_begun(endpoint: str, service: SmallService) -> None:
    go_on = threading.Event()
    begun: list[int] = []

    def find(request: OpenRequest) -> Result:
        begun.append(request.request_id)
        assert go_on.wait(20)
        return {"abandoned": request.is_abandoned}

    with serving(endpoint, {**service.handlers(), "find": find}), raw_socket(endpoint) as dealer:
        for number, timeout in enumerate((60, 0, 60)):
            dealer.send_multipart([b"", request("find", number, timeout=timeout), b"x"])
        until(lambda: begun == [0])
        go_on.set()
        replies = [wire.decode_reply(dealer.recv_multipart()[1:]) for _ in range(3)]
    assert [(reply.id, reply.code) for reply in replies] == [(0, ""), (1, "busy"), (2, "")]
    assert begun == [0, 2]


def test_an_answer_that_comes_later_holds_no_thread(server: Server, client: Client, service: SmallService) -> None:
    service.idle.clear()
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(raw_socket(server.endpoint)) for _ in range(30)]
        for dealer in waiting:
            dealer.send_multipart([b"", request("wait", timeout=20)])
        until(lambda: len(service.asked) == 30)
        assert client.request("status")
        assert client.request("wait", timeout=0.05) == {"idle": False, "pending": 2}
        service.idle.set()
        for dealer in waiting:
            reply = wire.decode_reply(dealer.recv_multipart()[1:])
            assert reply.result == {"idle": True, "pending": 0}


@pytest.mark.parametrize("error", [RequestError("busy", "no"), ValueError("a bug")])
def test_an_answer_that_fails_later_is_an_error(endpoint: str, error: Exception) -> None:
    future: Future[Result] = Future()
    with serving(endpoint, {"wait": lambda *_: future}), Client(endpoint) as client:
        threading.Timer(0.1, future.set_exception, [error]).start()
        with pytest.raises(RequestFailedError) as failed:
            client.request("wait")
    assert failed.value.code == ("busy" if isinstance(error, RequestError) else "internal")


# ---- hostile and careless clients


def hostile_streams() -> list[bytes]:
    noise = random.Random(3)
    greeting = b"\xff" + b"\0" * 8 + b"\x7f\x03\0NULL" + b"\0" * 48
    return [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise.randbytes(500),
        *(noise.randbytes(noise.randrange(1, 300)) for _ in range(300)),
        # ZMTP/1.0: identity, then messages of several frames
        *(b"\x01\x00" + b"\x02\x01x" * parts + b"\x06\x00hello" for parts in range(20)),
        b"\x01\x00" + b"\x01\x01" * 3000 + b"\x01\x00",
        greeting,
        greeting + b"\x04\x29\x05READY" + noise.randbytes(40),
        greeting + b"\x02" + b"\xff" * 8,
        greeting + b"\x06" + b"\x7f" + b"\xff" * 7,
    ]


@pytest.mark.parametrize("name", ["query.sock", "events.sock"])
def test_connections_without_end_do_not_end_the_service(endpoint: str, folder: Path, name: str) -> None:
    with start_process(endpoint) as process, Client(endpoint, 20) as client, contextlib.ExitStack() as stack:
        assert client.request("status")
        for _ in range(800):  # no process may have more than 1024 without asking for it
            peer = stack.enter_context(socket.socket(socket.AF_UNIX))
            peer.connect(str(folder / name))
        assert client.request("status")
        until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) < 1100)
        stack.close()
        with Client(endpoint, 20) as other:
            assert other.request("status")
        assert process.poll() is None
        process.terminate()


GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\0NULL" + b"\0" * 48


@contextlib.contextmanager
def idle_connection(path: Path, kind: bytes = b"DEALER") -> Iterator[socket.socket]:
    """A connection that has shaken hands, and asks nothing; raises OSError if it is turned away."""
    ready = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4) + kind
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(20)
        peer.connect(str(path))
        peer.sendall(GREETING)
        left = len(GREETING)
        while left:  # the greeting of the service comes in two parts
            part = peer.recv(left)
            if not part:
                raise ConnectionResetError
            left -= len(part)
        peer.sendall(b"\x04" + bytes([len(ready)]) + ready)
        if not peer.recv(200):  # its READY
            raise ConnectionResetError
        yield peer


def test_who_is_refused_without_end_waits_in_the_handshake_and_others_are_served(
    endpoint: str, service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "REFUSALS_AT_ONCE", 40)
    monkeypatch.setattr(connections_module, "REFUSALS_PER_SECOND", 0.0)
    monkeypatch.setattr(admission_module, "TURNED_AWAY_SECONDS", 3600.0)
    monkeypatch.setattr(admission_module, "TURNED_AWAY_SECONDS_MAX", 3600.0)
    with (
        serving(endpoint, service.handlers()) as server,
        Client(endpoint, 20) as modest,
        raw_socket(endpoint) as flood,
        flood.get_monitor_socket(zmq.Event.DISCONNECTED) as monitor,
    ):
        assert modest.request("status")
        for _ in range(99):  # who waits for answers may try again as often as he likes
            flood.send_multipart([b"", request("no command")])
            assert flood.recv_multipart()
        flood.send_multipart([b"", request("clusters", 99, under=b"/slow")])
        for number in range(40):
            flood.send_multipart([b"", request("no command", number)])
            assert wire.decode_reply(flood.recv_multipart()[1:]).id == number
        assert not monitor.poll(0)
        flood.send_multipart([b"", request("no command", 40)])
        assert monitor.poll(20_000)
        service.gate.set()
        flood.send_multipart([b"", request("status", 41)])  # over a new connection
        until(lambda: bool(server._connections._held))
        assert not flood.poll(0)
        assert modest.request("status")  # of the same user, but not refused
        [record] = server._connections._refusals._records.values()
        record.until = time.monotonic()
        assert wire.decode_reply(flood.recv_multipart()[1:]).id == 41
        assert not server._connections._held


@pytest.mark.parametrize("is_let_in", [True, False])
def test_a_client_that_waits_in_the_handshake_for_long_comes_again_and_is_told_if_that_is_in_vain(
    endpoint: str, service: SmallService, monkeypatch: pytest.MonkeyPatch, is_let_in: bool
) -> None:
    monkeypatch.setattr(binding_module, "HANDSHAKE_MS", 700)
    with serving(endpoint, service.handlers()) as server, ThreadPoolExecutor(1) as pool:
        connections = server._connections
        connections._refusals.has_overdone(os.getuid(), time.monotonic() + 3600)
        with Client(endpoint, 20 if is_let_in else 1) as client:
            asked = pool.submit(client.request, "status")
            if is_let_in:
                until(lambda: len(connections._held.get(os.getuid(), [])) == 2)  # it has come again
                [record] = connections._refusals._records.values()
                record.until = time.monotonic()
                assert asked.result(20)
            else:
                with pytest.raises(NoServiceError, match=r"within 1 s; it may be overloaded, or lets its user wait"):
                    asked.result(20)


def test_idle_connections_give_way_to_new_clients_and_busy_ones_do_not(
    endpoint: str, folder: Path, service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "CONNECTIONS_MAX", 20)
    service.idle.clear()
    with (
        serving(endpoint, service.handlers()) as server,
        Client(endpoint, 20) as waits,
        ThreadPoolExecutor(1) as pool,
        contextlib.ExitStack() as stack,
    ):
        busy = pool.submit(waits.request, "wait", timeout=20)
        until(lambda: len(service.asked) == 1)
        for _ in range(60):
            stack.enter_context(idle_connection(folder / "query.sock"))
        for _ in range(3):
            with Client(endpoint, 20) as newcomer:
                assert newcomer.request("status")
        service.idle.set()
        assert busy.result(20)["idle"]
        until(lambda: len(server._connections._asking) <= 20)


def test_the_user_with_most_connections_loses_one_when_there_are_too_many(
    endpoint: str, folder: Path, service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "CONNECTIONS_MAX", 8)
    users: dict[int, int] = {}  # of the first connection and of all others, by the number of the socket's file

    def other_end(connection: socket.socket) -> tuple[int, int]:
        return 1, users.setdefault(os.fstat(connection.fileno()).st_ino, 1001 if users else 1000)

    monkeypatch.setattr(connections_module, "_other_end", other_end)
    with serving(endpoint, service.handlers()) as server, contextlib.ExitStack() as stack:
        modest = stack.enter_context(idle_connection(folder / "query.sock"))
        for _ in range(20):
            stack.enter_context(idle_connection(folder / "query.sock"))
        until(lambda: len(server._connections._asking) == 8)
        assert {one.user for one in server._connections._asking.values()} == {1000, 1001}
        modest.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            assert modest.recv(200)  # what is left of the handshake, else nothing: but it is open


@pytest.mark.parametrize("name", ["query.sock", "events.sock"])
def test_garbage_on_a_socket_harms_nobody(server: Server, client: Client, folder: Path, name: str) -> None:
    client.request("status")
    before = memory_mb(os.getpid())
    for stream in hostile_streams():
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(folder / name))
            with contextlib.suppress(OSError):
                peer.sendall(stream)
    assert client.request("status")
    with Client(server.endpoint) as other:
        assert other.request("clusters")
    assert memory_mb(os.getpid()) - before < 50


frames_of_peers = st.lists(st.one_of(st.just(b""), st.binary(max_size=40), st.just(request("status"))), max_size=6)


@given(messages=st.lists(frames_of_peers, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_frames_get_an_error_or_nothing_and_the_next_client_is_served(
    server: Server, client: Client, messages: list[list[bytes]]
) -> None:
    with raw_socket(server.endpoint) as dealer:
        for frames in messages:
            if frames:
                dealer.send_multipart(frames)
        dealer.send_multipart([b"", request("version", 12345)])
        while True:
            reply = wire.decode_reply(dealer.recv_multipart()[-1:])
            if reply.id == 12345:
                break
    assert client.request("version")


def test_a_message_of_many_frames_is_refused(server: Server, client: Client) -> None:
    with raw_socket(server.endpoint) as dealer:
        dealer.send_multipart([b"", *[b"x" * 1000] * 5000])
        assert wire.decode_reply(dealer.recv_multipart()[1:]).code == "bad_request"
        dealer.send_multipart([b"no envelope"] * 5000)
    assert client.request("status")


def test_a_frame_beyond_the_limit_ends_its_connection_only(server: Server, client: Client) -> None:
    with raw_socket(server.endpoint) as dealer:
        dealer.rcvtimeo = 500
        dealer.send_multipart([b"", request("find"), b"\0" * (wire.PIECE_BYTES_MAX + 1)])
        with pytest.raises(zmq.Again):
            dealer.recv_multipart()
    assert client.request("status")


def test_a_client_that_reads_no_replies_costs_little(endpoint: str, service: SmallService) -> None:
    big = {"data": b"x" * 1_000_000}
    handlers = {**service.handlers(), "clusters": lambda *_: big}
    with serving(endpoint, handlers) as server, raw_socket(endpoint) as deaf, Client(endpoint) as client:
        deaf.rcvhwm = 1
        deaf.disconnect(endpoint)
        deaf.connect(endpoint)
        before = memory_mb(os.getpid())
        for number in range(300):
            deaf.send_multipart([b"", request("clusters", number)])
        assert client.request("status")
        until(lambda: not server._request_queue._open and not server._replies)
        assert memory_mb(os.getpid()) - before < 150
        assert client.request("clusters") == big


def test_a_client_that_vanishes_takes_its_questions_with_it(
    server: Server, client: Client, service: SmallService
) -> None:
    service.idle.clear()
    for number in range(40):
        with raw_socket(server.endpoint) as dealer:
            dealer.send_multipart([b"", request("wait", number, timeout=60)])
            until(lambda number=number: len(service.asked) > number)  # type: ignore[misc]
    until(lambda: not server._request_queue._open)
    assert all(peer.closed.is_set() for peer in service.peers)
    assert client.request("status")
    service.idle.set()


def test_what_a_client_has_sent_goes_with_it(endpoint: str, service: SmallService) -> None:
    with serving(endpoint, service.handlers(), connection_closed=service.uploads.drop), Client(endpoint, 20) as stays:
        assert stays.request("send", offset=0, size=5, data=b"abc") == {"received": 3}
        with Client(endpoint, 20) as leaves:
            assert leaves.request("send", offset=0, size=9, data=b"abc") == {"received": 3}
            assert len(os.listdir(f"{service.folder}/uploads")) == 2
        until(lambda: len(os.listdir(f"{service.folder}/uploads")) == 1)
        assert stays.request("find", offset=3, data=b"de")["copies"] == []
    assert os.listdir(f"{service.folder}/uploads") == []


def test_a_client_is_not_taken_for_a_listener_that_has_just_gone(server: Server, client: Client) -> None:
    events = server.endpoint.replace("query", "events").removeprefix("ipc://")
    assert client.request("status")
    for _ in range(40):
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                listener = stack.enter_context(socket.socket(socket.AF_UNIX))
                listener.connect(events)
        with Client(server.endpoint, 20) as newcomer:  # it gets a descriptor that a listener had a moment ago
            assert newcomer.request("status")


def test_a_connection_under_the_name_of_one_that_has_closed_is_another_one(
    server: Server, client: Client, service: SmallService
) -> None:
    for number in range(20):
        until(lambda: b"always the same" not in server._connections._peers)
        assert client.request("status")  # libzmq, which serves no two of one name, has forgotten the other one by now
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger, dealer.rcvtimeo = 0, 20_000
            dealer.routing_id = b"always the same"
            dealer.connect(server.endpoint)
            dealer.send_multipart([b"", request("status", number)])
            assert wire.decode_reply(dealer.recv_multipart()[1:]).id == number
    assert client.request("status")
    assert len({id(peer) for peer in service.peers}) == 21


# ---- start and stop


def test_stop_answers_what_is_open_and_does_not_wait_for_handlers(
    server: Server, client: Client, service: SmallService
) -> None:
    service.idle.clear()
    with raw_socket(server.endpoint) as dealer:
        for number, do in enumerate(["clusters"] * 6 + ["wait"]):
            args: dict[str, Any] = {"under": b"/slow"} if do == "clusters" else {"timeout": 20}
            dealer.send_multipart([b"", request(do, number, **args)])
        until(lambda: len(service.asked) == 4)  # three of the questions, and the wait
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 10  # the handlers go on for 20
        replies = [wire.decode_reply(dealer.recv_multipart()[1:]) for _ in range(7)]
    assert {reply.id for reply in replies} == set(range(7))
    assert {reply.code for reply in replies} == {"stopping"}
    server.stop()  # twice is once


def test_stop_is_quick_while_clients_read_nothing(endpoint: str) -> None:
    with serving(endpoint, {"status": lambda *_: {"data": b"x" * 1_000_000}}) as server, raw_socket(endpoint) as deaf:
        for number in range(100):
            deaf.send_multipart([b"", request("status", number)])
        time.sleep(0.2)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 10  # the client would never read


def test_publishing_and_finishing_after_the_stop_do_nothing(endpoint: str, service: SmallService) -> None:
    with serving(endpoint, service.handlers()) as server:
        pass
    server.publish("indexed", {})
    assert not os.listdir(endpoint.removeprefix("ipc://").rpartition("/")[0])


def test_one_client_is_served_across_a_restart(endpoint: str, service: SmallService) -> None:
    with Client(endpoint, timeout_seconds=20) as client:
        for _ in range(12):  # of one in some dozens the first request was lost
            with pytest.raises(NoServiceError, match=r"does not exist|went away"):
                client.request("status")
            with serving(endpoint, service.handlers()):
                assert client.request("status")
                assert client.request("status")


def start_process(endpoint: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-m", "tests.client.small_service", endpoint], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_client_whose_connections_are_ended_at_once_is_told_so(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as full, Client(f"ipc://{folder}/query.sock", timeout_seconds=1) as client:
        full.bind(str(folder / "query.sock"))
        full.listen()

        def end_each() -> None:
            with contextlib.suppress(OSError):
                while True:
                    full.accept()[0].close()

        thread = threading.Thread(target=end_each)
        thread.start()
        try:
            with pytest.raises(
                NoServiceError, match=r"ends every connection at once: it has more clients than it can take"
            ):
                client.request("status")
        finally:
            full.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_killed_service_is_noticed_at_once_and_its_socket_does_not_hinder_the_next(endpoint: str) -> None:
    process = start_process(endpoint)
    with process, Client(endpoint, timeout_seconds=30) as client:
        assert client.request("status")
        threading.Timer(0.3, process.kill).start()
        started = time.monotonic()
        with pytest.raises(NoServiceError, match="went away"):
            client.request("clusters", under=b"/slow")
        assert time.monotonic() - started < 5
        process.wait()
        assert os.path.exists(endpoint.removeprefix("ipc://"))
        with pytest.raises(NoServiceError, match="no service listens"):
            client.request("status")
        with start_process(endpoint) as second:
            assert client.request("status")
            second.terminate()


def test_a_frozen_service_is_given_up_after_the_timeout(endpoint: str) -> None:
    with start_process(endpoint) as process, Client(endpoint, timeout_seconds=0.5) as client:
        assert client.request("status")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)  # the signal takes a while on a busy machine
        with pytest.raises(NoServiceError, match="does not answer within"):
            client.request("status")
        process.send_signal(signal.SIGCONT)
        assert client.request("clusters")["total_clusters"] == 3  # not the late answer to the other question
        process.terminate()


def test_the_loop_shows_that_it_turns(server: Server) -> None:
    first = server.last_turn_monotonic
    until(lambda: server.last_turn_monotonic > first, 3)


def test_a_loop_that_fails_in_a_turn_goes_on(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug in the loop")

    with monkeypatch.context() as patched:
        patched.setattr(server, "_take_request", fail)
        with pytest.raises(NoServiceError):
            client.request("status", timeout_seconds=0.3)
    assert "a bug in the loop" in caplog.text
    assert client.request("status")


# ---- who may


def test_socket_files_serve_owner_and_group_only(server: Server, folder: Path) -> None:
    for name in ("query.sock", "events.sock"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o660
    assert os.umask(0o022) != 0o117
    os.umask(0o022)


def test_the_folder_of_the_sockets_is_made_for_the_owner_only(folder: Path, service: SmallService) -> None:
    with serving(f"{folder}/run/query.sock", service.handlers()) as server:
        assert stat.S_IMODE((folder / "run").stat().st_mode) == 0o700
        assert server.endpoint == f"ipc://{folder}/run/query.sock"


def test_a_file_that_is_no_socket_is_left_alone(folder: Path) -> None:
    (folder / "query.sock").write_text("a letter")
    with pytest.raises(UsageError, match="is a file that is no socket"):
        Server(f"{folder}/query.sock", {}).start()
    assert (folder / "query.sock").read_text() == "a letter"


def test_a_second_service_does_not_steal_the_socket(server: Server, client: Client) -> None:
    with pytest.raises(UsageError, match="another service listens"):
        Server(server.endpoint, {}).start()
    assert client.request("status")


def test_a_server_that_cannot_start_leaves_nothing_behind(folder: Path) -> None:
    (folder / "events.sock").mkdir()
    with pytest.raises(UsageError):
        Server(f"{folder}/query.sock", {}).start()
    assert os.listdir(folder) == ["events.sock"]


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("ipc:///tmp/" + "x" * 110, "too long"),
        ("ipc:///proc/query.sock", "cannot listen"),
        ("ipc:///nowhere\0/q", "neither a path"),
        ("ipc://@abstract", "neither a path"),
        ("ipc://*", "neither a path"),
        ("inproc://x", "neither a path"),
        ("tcp://127.0.0.1", "neither a path"),
        ("tcp://127.0.0.1:*", "neither a path"),
        ("tcp://127.0.0.1:65535", "neither a path"),
        ("tcp://0.0.0.0:5555", "that needs keys"),
        ("tcp://*:5555", "that needs keys"),
        ("tcp://[::]:5555", "that needs keys"),
        ("tcp://eth0:5555", "that needs keys"),
        ("tcp://192.0.2.1:5555", "that needs keys"),
        ("tcp://127.0.0.1.example.org:5555", "that needs keys"),
    ],
)
def test_an_endpoint_that_will_not_do_is_one_clear_line(endpoint: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Server(endpoint, {}).start()
    assert "\n" not in str(caught.value)


def test_an_unknown_group_is_one_clear_line(folder: Path) -> None:
    with pytest.raises(UsageError, match="there is no group 'nosuch'"):
        Server(f"{folder}/query.sock", {}, group="nosuch").start()
    assert os.listdir(folder) == []


ASK_AS_SOMEBODY = """
import os, socket, sys  # this interpreter may lie where nobody else can read
from dupwatch.client import Client
from dupwatch.errors import ClientError
os.setgroups([int(sys.argv[2])] if sys.argv[2] else [])
os.setgid(65534)
os.setuid(65534)
try:
    with Client(sys.argv[1], 3) as client:
        print(client.request("status")["state"])
except ClientError as error:
    print(type(error).__name__, error)
"""


def asked_as_somebody(endpoint: str, group: int | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ASK_AS_SOMEBODY, endpoint, "" if group is None else str(group)],
        capture_output=True, check=False, timeout=30,
    )  # fmt: skip
    return (done.stdout + done.stderr).decode()


@is_root
def test_another_user_is_refused_and_told_so_but_the_group_is_served(folder: Path, service: SmallService) -> None:
    import grp

    folder.chmod(0o755)
    endpoint = f"{folder}/query.sock"
    games = grp.getgrnam("games").gr_gid
    with serving(endpoint, service.handlers(), group="games"):
        assert (folder / "query.sock").stat().st_gid == games
        assert asked_as_somebody(endpoint).startswith("NotAllowedError you may not use")
        assert asked_as_somebody(endpoint, games) == "idle\n"
    with serving(f"{folder}/own/query.sock", service.handlers()):
        assert asked_as_somebody(f"{folder}/own/query.sock").startswith("NotAllowedError")


def free_port() -> int:
    """A port that nobody has, nor the next one, which is for events."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first, contextlib.suppress(OSError):
            port = int(first.getsockname()[1])
            with socket.create_server(("127.0.0.1", port + 1)):
                return port


def test_over_tcp_without_keys_nothing_can_be_changed(service: SmallService) -> None:
    arguments: dict[str, dict[str, Any]] = {
        "rescan": {"dir": b"/srv/photos"}, "ignore": {"paths": [b"/a", b"/b"]}, "unignore": {"all": True},
        "decide": {"keep": [b"/a"]}, "removed": {"digests": [b"0" * 32]}, "restored": {"digests": [b"0" * 32]},
    }  # fmt: skip
    handlers: dict[str, Handler] = dict.fromkeys([*CHANGING, "status"], lambda _: {"state": "answered"})
    with serving(f"tcp://127.0.0.1:{free_port()}", handlers) as server, Client(server.endpoint, 20) as anybody:
        for do in sorted(CHANGING):
            with pytest.raises(RequestFailedError, match=f"{do} is refused over TCP without keys") as refused:
                anybody.request(do, **arguments.get(do, {}))
            assert (refused.value.code, refused.value.exit_status) == ("not_allowed", 1)
        assert anybody.request("status") == {"state": "answered"}
    with serving(f"ipc://{service.folder}/s", handlers) as server, Client(server.endpoint, 20) as owner:
        for do in sorted(CHANGING):
            assert owner.request(do, **arguments.get(do, {})) == {"state": "answered"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_loopback_is_served_without_keys(host: str, service: SmallService) -> None:
    endpoint = f"tcp://{host}:{free_port()}"
    try:
        running = serving(endpoint, service.handlers())
        with running, Client(endpoint, 20) as client:
            assert client.request("status")
            assert client.shares_paths
            assert service.peers[0].uid is None
    except UsageError:
        if host == "127.0.0.1":
            raise
        pytest.skip(f"{host} cannot be bound here")
    with Client(endpoint, 20) as client, pytest.raises(NoServiceError, match="no service listens"):
        client.request("status")


@pytest.fixture
def keys(folder: Path) -> Path:
    """Keys of a server, of a client it knows (``known``), of a ``stranger``, and one with the key of another server."""
    (folder / "server" / "clients").mkdir(parents=True)
    zmq.auth.create_certificates(folder / "server", "server")
    (folder / "server" / "server.key_secret").chmod(0o600)
    zmq.auth.create_certificates(folder, "server")  # another one
    for name in ("known", "stranger", "misled"):
        (folder / name).mkdir()
        zmq.auth.create_certificates(folder / name, "client")
        shutil.copy(folder / "server.key" if name == "misled" else folder / "server" / "server.key", folder / name)
    for name in ("known", "misled"):
        shutil.copy(folder / name / "client.key", folder / "server" / "clients" / f"{name}.key")
    return folder


def test_with_keys_only_known_clients_are_served(keys: Path, service: SmallService) -> None:
    endpoint = f"tcp://0.0.0.0:{free_port()}"
    with serving(endpoint, service.handlers(), keys=str(keys / "server")) as server:
        near = server.endpoint.replace("0.0.0.0", "127.0.0.1")
        with Client(near, 5, str(keys / "known")) as client:
            assert client.request("status")
            events = client.events()
            threading.Timer(0.2, server.publish, ["indexed", {"path": b"/a"}]).start()
            assert isinstance(next(events), wire.Event)
        public, _ = zmq.auth.load_certificate(keys / "known" / "client.key")
        assert service.peers[0].key == public.decode()
        for name in ("stranger", "misled", None):
            with Client(near, 2, name and str(keys / name)) as client, pytest.raises(NoServiceError) as refused:
                client.request("status")
            if name != "misled":
                assert isinstance(refused.value, NotAllowedError), name
        assert len(service.peers) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda keys: (keys / "server.key_secret").chmod(0o644), "others may read"),
        (lambda keys: (keys / "server.key_secret").unlink(), "cannot use the keys"),
        (lambda keys: (keys / "server.key_secret").write_text("metadata"), "cannot use the keys"),
        (lambda keys: shutil.copyfile(keys / "server.key", keys / "server.key_secret"), "secret key"),
        (lambda keys: shutil.rmtree(keys / "clients"), "cannot use the keys"),
        (lambda keys: [file.unlink() for file in (keys / "clients").iterdir()], "clients/"),
    ],
)
def test_keys_that_will_not_do_are_one_clear_line(keys: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(keys / "server")
    with pytest.raises(UsageError, match=message):
        Server(f"tcp://0.0.0.0:{free_port()}", {}, keys=str(keys / "server")).start()


# ---- events


def test_events_of_all_threads_arrive_in_the_order_of_their_numbers(server: Server, client: Client) -> None:
    events = client.events(["indexed"])
    heard: list[wire.Event | Notice] = []

    def publish() -> None:
        for number in range(250):
            server.publish("indexed", {"path": b"/%d" % number})
            server.publish("removed", {"path": b"/x"})

    listener = threading.Thread(target=lambda: heard.extend(next(events) for _ in range(1000)))
    listener.start()
    until(lambda: server._publisher._tick_at > 0)
    time.sleep(0.3)
    publishers = [threading.Thread(target=publish) for _ in range(4)]
    for thread in publishers:
        thread.start()
    listener.join(20)
    assert [event.seq for event in heard if isinstance(event, wire.Event)] == list(range(1, 1001))


def test_a_slow_listener_is_told_that_it_missed_events_and_holds_nobody_up(
    endpoint: str, service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "LISTENER_MAX", 100)
    monkeypatch.setattr("dupwatch.client.EVENTS_WAITING_MAX", 100)
    monkeypatch.setattr(publisher_module, "TICK_SECONDS", 0.2)
    with serving(endpoint, service.handlers()) as server, Client(endpoint) as client:
        events = client.events()
        threading.Timer(0.3, server.publish, ["indexed", {}]).start()
        next(events)
        for _ in range(5_000):
            server.publish("indexed", {"path": b"x" * 1000})
        assert client.request("status")
        heard: list[wire.Event | Notice] = []
        while not heard or not isinstance(heard[-1], Notice):
            heard.append(next(events))
        assert len(heard) < 5_000
        notice = heard[-1]
        assert isinstance(notice, Notice)
        assert (notice.kind, notice.reason[-6:]) == ("resync", "missed")


def test_listening_goes_on_across_a_restart(endpoint: str, service: SmallService) -> None:
    with Client(endpoint) as client:
        with serving(endpoint, service.handlers()) as server:
            events = client.events()
            threading.Timer(0.3, server.publish, ["indexed", {"path": b"/a"}]).start()
            first = next(events)
        assert (first[0], next(events)[0]) == ("indexed", "away")
        with serving(endpoint, service.handlers()) as server:
            threading.Timer(1.5, server.publish, ["removed", {"path": b"/a"}]).start()
            assert next(events)[:2] == ("resync", "the service was started anew")
            assert next(events)[0] == "removed"


def test_an_event_that_cannot_be_sent_leaves_a_gap(server: Server, client: Client) -> None:
    events = client.events()
    threading.Timer(0.2, server.publish, ["indexed", {}]).start()
    next(events)
    server.publish("indexed", {"path": b"x" * wire.EVENT_BYTES_MAX})
    server.publish("indexed", {"path": object()})
    server.publish("indexed", {"path": b"/c"})
    assert next(events) == Notice("resync", "2 events missed")
    last = next(events)
    assert isinstance(last, wire.Event)
    assert last.fields == {"path": b"/c"}


def test_listening_where_nobody_publishes(endpoint: str) -> None:
    with Client(endpoint, 1) as client, pytest.raises(NoServiceError, match="does not exist"):
        next(client.events())


def test_subscribing_without_end_costs_little_and_harms_nobody(endpoint: str, folder: Path) -> None:
    process = start_process(endpoint)  # of its own: here the attack would hold the interpreter up
    try:
        with Client(endpoint, timeout_seconds=20) as client:
            assert client.request("status")
            before = memory_mb(process.pid)
            noise = random.Random(5)
            ended = 0
            for _ in range(300):  # some 60 MB if all of it were kept
                try:
                    with idle_connection(folder / "events.sock", b"XSUB") as listener:
                        for _ in range(5_000):
                            listener.sendall(b"\x00\x65\x01" + noise.randbytes(100))
                except OSError:
                    ended += 1
            assert ended > 1
            assert client.request("status")
            assert memory_mb(process.pid) - before < 50
    finally:
        process.terminate()
        process.communicate()


def test_answers_do_not_wait_for_what_listeners_have_subscribed_to(endpoint: str, folder: Path) -> None:
    """libzmq walked fifty thousand long subscriptions for each of these listeners that went: for 50 s in all."""
    process = start_process(endpoint)
    try:
        with Client(endpoint, timeout_seconds=20) as client:
            assert client.request("status")
            before = memory_mb(process.pid)
            noise = random.Random(5)
            for _ in range(170):
                with contextlib.suppress(OSError), idle_connection(folder / "events.sock", b"XSUB") as listener:
                    listener.sendall(b"".join(b"\x00\x65\x01" + noise.randbytes(100) for _ in range(300)))
            assert client.request("status")
            assert memory_mb(process.pid) - before < 50
    finally:
        process.terminate()
        process.communicate()


def test_requests_are_answered_while_the_thread_of_the_events_is_held_up(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "STUCK_SECONDS", 2.0)
    with held_up(server, monkeypatch):
        server.publish("indexed", {})
        until(lambda: server._problems.has(Fault.LISTENERS))
        assert client.request("status")
    until(lambda: not server._problems.has(Fault.LISTENERS))


@contextlib.contextmanager
def held_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The thread of the events stands still, as it does while libzmq is busy."""
    stands, goes_on = threading.Event(), threading.Event()
    take = server._publisher._take_subscriptions

    def wait_and_take() -> None:
        stands.set()
        goes_on.wait(20)
        take()

    monkeypatch.setattr(server._publisher, "_take_subscriptions", wait_and_take)
    assert stands.wait(20)
    try:
        yield
    finally:
        goes_on.set()


def test_events_that_found_no_room_are_told_as_missed_even_if_no_other_of_their_kind_follows(
    endpoint: str, service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "EVENTS_MAX", 50)
    monkeypatch.setattr(publisher_module, "TICK_SECONDS", 0.2)
    with serving(endpoint, service.handlers()) as server, Client(endpoint, 20) as client:
        events = client.events(["indexed"])
        threading.Timer(0.3, server.publish, ["indexed", {}]).start()
        next(events)
        with held_up(server, monkeypatch):
            for topic in ("indexed", "removed"):
                for _ in range(100):
                    server.publish(topic, {})
        assert next(events) == Notice("resync", "100 events missed")


def test_a_user_who_listens_too_often_waits_and_comes_back_by_itself(
    endpoint: str, folder: Path, service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "LISTENERS_AT_ONCE", 3)
    monkeypatch.setattr(connections_module, "LISTENERS_PER_SECOND", 0.0)
    with serving(endpoint, service.handlers()) as server, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(idle_connection(folder / "events.sock", b"SUB"))
        with pytest.raises(OSError), idle_connection(folder / "events.sock", b"SUB"):  # noqa: PT011 - as it comes
            pass
        assert list(server._connections._admission._records) == [os.getuid()]
        with Client(endpoint, 20) as client, pytest.raises(NoServiceError, match="more clients than it can take"):
            next(client.events())
        listener = stack.enter_context(raw_socket(events_endpoint(endpoint), zmq.SUB))
        monitor = stack.enter_context(listener.get_monitor_socket(zmq.Event.DISCONNECTED))
        listener.subscribe(wire.TICK)
        assert monitor.poll(20_000)
        monkeypatch.setattr(server._connections._admission, "_per_second", 1000.0)
        assert wire.decode_event(listener.recv_multipart()).topic == wire.TICK


def test_handshakes_without_end_leave_time_to_end_listeners_that_say_too_much() -> None:
    with (
        zmq.Context() as context,
        context.socket(zmq.XPUB) as events,
        zmq.Context() as another,
        another.socket(zmq.ROUTER) as requests,
    ):
        connections = Connections(requests, events, lambda _peer: False, asks_whom_to_admit=True)
        gate = connections._listeners_gate
        assert gate is not None
        assert connections.gate is not None
        poller = zmq.Poller()
        poller.register(gate, zmq.POLLIN)
        with (
            gate,
            connections.gate,
            connections.monitor,
            connections._listeners_monitor,
            context.socket(zmq.DEALER) as asks,
        ):
            asks.linger = 0
            asks.sndhwm = asks.rcvhwm = 0
            asks.connect("inproc://zeromq.zap.01")
            for number in range(3 * HANDSHAKES_AT_ONCE):
                asks.send_multipart([b"", b"1.0", b"%d" % number, b"dupwatch", b"127.0.0.1", b"", b"NULL"])
            for turns in range(1, 4):
                connections._watch_once(poller, {})
                for number in range((turns - 1) * HANDSHAKES_AT_ONCE, turns * HANDSHAKES_AT_ONCE):
                    assert asks.poll(20_000)
                    assert asks.recv_multipart()[2] == b"%d" % number
                assert not asks.poll(0)
        connections._wake_up.close()


@pytest.mark.parametrize(
    ("subscriptions", "name_bytes", "is_ended"), [(SUBSCRIPTIONS_MAX, TOPIC_BYTES_MAX, False),
    (SUBSCRIPTIONS_MAX + 1, TOPIC_BYTES_MAX, True), (1, TOPIC_BYTES_MAX + 1, True)],
)  # fmt: skip
def test_a_listener_with_more_subscriptions_than_any_client_needs_is_ended(
    server: Server, client: Client, subscriptions: int, name_bytes: int, is_ended: bool
) -> None:
    with (
        raw_socket(server.endpoint.replace("query", "events"), zmq.XSUB) as listener,
        listener.get_monitor_socket(zmq.Event.DISCONNECTED) as monitor,
    ):
        for number in range(subscriptions - 1):
            listener.send(b"\x01" + b"%d" % number)
        listener.send(b"\x01" + wire.TICK.encode().ljust(name_bytes, b"x"))
        listener.send(b"\x00" + b"no subscription")
        if is_ended:
            assert monitor.poll(20_000)
        else:
            until(lambda: [one.subscriptions for one in server._connections._listening.values()] == [subscriptions])
            assert client.request("status")
            assert not monitor.poll(0)


def test_listeners_are_admitted_after_a_turn_that_failed(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug in watching")

    with monkeypatch.context() as patched:
        patched.setattr(server._connections, "_watch_those_open", fail)
        with raw_socket(events_endpoint(server.endpoint), zmq.SUB):
            until(lambda: "a bug in watching" in caplog.text)
    with raw_socket(events_endpoint(server.endpoint), zmq.SUB) as listener:
        listener.rcvtimeo = 20_000
        listener.subscribe(wire.TICK)
        assert wire.decode_event(listener.recv_multipart()).topic == wire.TICK


def test_who_says_too_much_over_tcp_keeps_no_other_address_from_listening(keys: Path) -> None:
    with serving(f"tcp://127.0.0.1:{free_port()}", {}, keys=str(keys / "server")) as server:
        there = events_endpoint(server.endpoint).removeprefix("tcp://")
        public, secret = zmq.auth.load_certificate(keys / "known" / "client.key_secret")
        with zmq.Context() as context, context.socket(zmq.XSUB) as listener:
            listener.curve_publickey, listener.curve_secretkey = public, secret or b""
            listener.curve_serverkey, _ = zmq.auth.load_certificate(keys / "known" / "server.key")
            listener.connect(f"tcp://127.0.0.2:0;{there}")
            for number in range(SUBSCRIPTIONS_MAX + 1):
                listener.send(b"\x01" + b"%d" % number)
            admission = server._connections._admission
            until(lambda: bool(admission._records))
            context.destroy(linger=0)
        assert list(admission._records) == ["127.0.0.2"]
        with Client(server.endpoint, 20, str(keys / "known")) as client:
            events = client.events()
            threading.Timer(0.2, server.publish, ["indexed", {"path": b"/a"}]).start()
            assert isinstance(next(events), wire.Event)


def test_subscriptions_count_although_nobody_has_watched_for_their_listener_yet(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/events.sock"
    with zmq.Context() as context, context.socket(zmq.ROUTER) as requests, context.socket(zmq.XPUB) as events:
        connections = Connections(requests, events, lambda peer: False)
        events.rcvtimeo = 20_000
        events.bind(endpoint)
        with (
            raw_socket(endpoint, zmq.XSUB) as listener,
            listener.get_monitor_socket(zmq.Event.DISCONNECTED) as monitor,
        ):
            for number in range(SUBSCRIPTIONS_MAX + 1):
                assert not monitor.poll(0)
                listener.send(b"\x01" + b"%d" % number)
                connections.subscribed(events.recv(copy=False))
            assert monitor.poll(20_000)
        context.destroy()


def test_the_number_of_a_connection_that_has_become_a_file_s_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "upload").open("wb") as file:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            assert connections_module._credentials(file.fileno()) == (None, None)
            connections_module._end(connections_module._Connection(file.fileno(), None, None, 0.0))
        assert len(os.listdir("/proc/self/fd")) == before
        file.write(b"as it was")


def test_the_number_of_a_connection_that_has_become_somebody_else_s_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        client.connect(str(tmp_path / "socket"))
        with listening.accept()[0] as accepted:
            process, user = connections_module._credentials(accepted.fileno())
            for gone in ((1, user), (process, 12345)):
                connections_module._end(connections_module._Connection(accepted.fileno(), gone[0], gone[1], 0.0))
                client.send(b"asked")
                assert accepted.recv(99) == b"asked"
            client.send(b"flood")
            connections_module._end(connections_module._Connection(accepted.fileno(), process, user, 0.0))
            assert accepted.recv(99) == b""


def test_a_peer_is_not_taken_for_a_local_process_over_tcp() -> None:
    assert Peer(b"x").uid is None


def stamp_of(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns


def replace_with_dead_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


@pytest.mark.parametrize("spoil", [Path.unlink, replace_with_dead_socket])
@pytest.mark.parametrize("endpoint_of", [str, events_endpoint])
def test_a_socket_file_that_is_removed_or_replaced_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
    endpoint_of: Callable[[str], str],
    spoil: Callable[[Path], None],
) -> None:
    monkeypatch.setattr(binding_module, "FILES_CHECK_SECONDS", 0.1)
    file = Path(endpoint_of(server.endpoint).removeprefix("ipc://"))
    with Client(server.endpoint) as old:
        old.request("version")
        before = stamp_of(file)  # a new file may get the number of the old one
        spoil(file)
        until(lambda: stamp_of(file) not in (None, before) and can_connect(file))
        old.request("version")  # whoever is connected stays so
        with Client(server.endpoint) as new:
            new.request("version")
    assert stat.S_IMODE(file.stat().st_mode) == 0o660


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def test_a_socket_file_in_whose_place_another_service_listens_is_left_alone_and_told(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, folder: Path, service: SmallService
) -> None:
    monkeypatch.setattr(binding_module, "FILES_CHECK_SECONDS", 0.1)
    problems = Problems()
    with serving(endpoint, service.handlers(), problems=problems):
        (folder / "query.sock").unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(folder / "query.sock"))
            other.listen()
            until(lambda: bool(problems.lines()))
            [line] = problems.lines()
            assert "another service listens at" in line
            assert can_connect(folder / "query.sock")
        until(lambda: not problems.lines())
        with Client(endpoint) as client:
            client.request("version")
