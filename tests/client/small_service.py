"""A small service with answers of its own, for tests of the client and of the server: real sockets, no index.

Run as a program it serves until it is ended: ``python -m tests.client.small_service ENDPOINT``.
"""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import weakref
from concurrent.futures import Future
from typing import Any

from dupwatchd.serve.request_queue import Handler, OpenRequest, Peer, RequestError, Result
from dupwatchd.serve.server import Server
from dupwatchd.serve.uploads import Uploads

KNOWN = b"a picture that is known"
SMALLER = b"a picture that is known, but only smaller"
FILE_BYTES_MAX = 8 << 20
ODD = b"/srv/photos/caf\xe9\n\x1b[31m.jpg"


def make_file(path: bytes, keep: bool) -> dict[str, Any]:
    return {
        "path": path, "bytes": 1000, "width": 40, "height": 30, "mse": 0.0 if keep else 1.5,
        "structure": 0.0 if keep else 0.001, "turn": 0, "mirrored": False, "verdict": "identical" if keep else "same",
        "confirmed": True, "same_file_as": None, "damaged": False, "may_go": not keep, "keep": keep,
        "held_by": None if keep else ODD, "reason": "most pixels" if keep else "fewer pixels",
    }  # fmt: skip


def make_clusters(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{number:016x}",
            "reclaimable_bytes": 1000,
            "files": [
                make_file(ODD if number == 0 else b"/srv/photos/%d.jpg" % number, True),
                make_file(b"/srv/more/%d copy.jpg" % number, False),
            ],
        }
        for number in range(count)
    ]


class SmallService:
    """Handlers over a few values that tests set."""

    def __init__(self) -> None:
        self.clusters = make_clusters(3)
        self.failures = [
            {"path": b"/srv/photos/broken.jpg", "error": "truncated JPEG"},
            {"path": ODD, "error": "empty"},
        ]
        self.completeness: dict[str, Any] = {}  # what answers say of themselves
        self.state = "idle"
        self.pending = 2
        self.to_confirm = 0
        self.error: RequestError | None = None
        self.revision = 1
        self.known_as = [ODD]
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.peers: list[Peer] = []
        self.idle = threading.Event()
        self.idle.set()
        self.gate = threading.Event()  # `clusters` under /slow waits for it
        self._lock = threading.Lock()
        self.folder = tempfile.mkdtemp(prefix="dupwatch-")
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.uploads = Uploads(self.folder, FILE_BYTES_MAX)

    def handlers(self) -> dict[str, Handler]:
        names = ("version", "status", "wait", "clusters", "send", "find", "failed", "rescan", "pause", "resume")
        return {name: self._noted(name) for name in names}

    def _noted(self, name: str) -> Handler:
        def answer(request: OpenRequest) -> "Result | Future[Result]":
            with self._lock:
                self.asked.append((name, dict(request.args)))
                self.peers.append(request.peer)
            if self.error is not None:
                raise self.error
            if name in ("send", "find"):
                return self._with_data(request)
            answered: Result | Future[Result] = getattr(self, f"do_{name}")(request.args)
            return answered

        return answer

    def do_version(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"version": "0", "protocol": 1}

    def do_status(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "state": self.state, "files": 6, "failed": len(self.failures), "pending": self.pending, "pictures": 5,
            "matches": 4, "to_confirm": self.to_confirm,
            "roots": [{"path": b"/srv/photos", "state": "online"}, {"path": b"/srv/caf\xe9", "state": "offline"}],
            "progress": {
                "stage": "indexing", "done": 250, "total": 1000, "unit": "files", "rate": 12.5, "seconds_left": 60.0
            },
            "problems": ["part of the folders is not watched"],
        }  # fmt: skip

    def do_wait(self, args: dict[str, Any]) -> "Future[dict[str, Any]]":
        future: Future[dict[str, Any]] = Future()

        def watch() -> None:
            idle = self.idle.wait(args["timeout"])
            if future.set_running_or_notify_cancel():
                future.set_result({"idle": idle, "pending": 0 if idle else 2})

        threading.Thread(target=watch, daemon=True).start()
        return future

    def do_clusters(self, args: dict[str, Any]) -> dict[str, Any]:
        if args.get("under", b"").startswith(b"/slow"):
            self.gate.wait(20)
        if args.get("under") == b"/bug":
            raise KeyError("a bug")
        if args.get("threshold", 0) > 1:
            raise RequestError("out_of_range", "threshold 2 is above compare.keep_structure = 0.04, the largest kept")
        inside = args.get("under", b"/srv")
        all_of_them = [c for c in self.clusters if any(f["path"].startswith(inside) for f in c["files"])]
        offset = args.get("offset", 0)
        page = all_of_them[offset : offset + args.get("limit", 100)]
        return {
            "measure": args.get("measure", "structure"), "threshold": args.get("threshold", 0.02),
            "verdicts": ["identical", "same", *filter(None, args.get("also", "").split(","))],
            "also": {"cropped": 2}, "total_clusters": len(all_of_them), "revision": self.revision, "clusters": page,
            "ask_when": ["lacks metadata"], **self.completeness,
        }  # fmt: skip

    def _with_data(self, request: OpenRequest) -> Result:
        args = request.args
        if request.do == "send":
            received = self.uploads.add_piece(request.peer, args["offset"], args["size"], args["data"])
            return {"received": received}
        offset, suffix = args.get("offset", 0), args.get("suffix", "")
        with self.uploads.complete(request.peer, offset, args["data"], suffix) as path, open(path, "rb") as stream:
            data = stream.read()
        if data == b"text":
            raise RequestError("not_a_picture", "not a picture")
        found = {"verdict": "same", "lacks": "smaller" if data == SMALLER else None, "as_good": data != SMALLER}
        copies = [make_file(path, False) | found for path in self.known_as] if data.startswith(KNOWN) else []
        return {"measure": "structure", "threshold": 0.02, "copies": copies, **self.completeness}

    def do_failed(self, args: dict[str, Any]) -> dict[str, Any]:
        offset = args.get("offset", 0)
        page = self.failures[offset : offset + args.get("limit", 100)]
        return {"total": len(self.failures), "failed": page, **self.completeness}

    def do_rescan(self, args: dict[str, Any]) -> dict[str, Any]:
        if args.get("dir", b"/srv").startswith(b"/srv"):
            return {}
        raise RequestError("unknown_folder", "it lies under no root")

    def do_pause(self, _: dict[str, Any]) -> dict[str, Any]:
        self.state = "paused"
        return {"state": self.state}

    def do_resume(self, _: dict[str, Any]) -> dict[str, Any]:
        self.state = "idle"
        return {"state": self.state}


def main() -> None:
    service = SmallService()
    server = Server(
        sys.argv[1],
        service.handlers(),
        connection_closed=service.uploads.drop,
        group=os.environ.get("GROUP"),
    )
    server.start()
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    print("ready", flush=True)  # noqa: T201 - whoever started it waits for that
    while not stopped.wait(0.1):
        server.publish("indexed", {"path": b"/srv/photos/%d.jpg" % time.monotonic_ns()})
    server.stop()


if __name__ == "__main__":
    main()
