"""Files that are asked about: opened by the client, sent in pieces, and told of one by one."""

import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dupwatch.client import Client
from dupwatch.errors import RequestFailedError
from dupwatch.sending import find_file, find_stream, suffix_of
from dupwatch.wire import PIECE_BYTES_MAX
from dupwatchd.serve.request_queue import RequestError
from dupwatchd.serve.server import Server
from tests.client.small_service import FILE_BYTES_MAX, KNOWN, SmallService


@pytest.fixture
def service() -> SmallService:
    return SmallService()


@pytest.fixture
def client(service: SmallService) -> Iterator[Client]:
    folder = tempfile.mkdtemp(prefix="dw", dir="/tmp")  # short, for the path of a socket
    server = Server(f"{folder}/query.sock", service.handlers(), connection_closed=service.uploads.drop)
    server.start()
    with Client(server.endpoint, 20) as made:
        yield made
    server.stop()
    shutil.rmtree(folder)


def file_of(tmp_path: Path, size_bytes: int, name: str = "a.jpg") -> Path:
    path = tmp_path / name
    path.write_bytes((KNOWN + os.urandom(size_bytes))[:size_bytes])
    return path


@pytest.mark.parametrize("size", [40, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 3 * PIECE_BYTES_MAX, FILE_BYTES_MAX])
def test_a_file_is_sent_in_pieces_and_arrives_whole(
    client: Client, service: SmallService, tmp_path: Path, size: int
) -> None:
    file = file_of(tmp_path, size)
    found = find_file(client, os.fsencode(file), {"threshold": 0.01, "mirrored": None})
    assert (found["path"], found["known"], len(found["copies"])) == (os.fsencode(file), True, 1)
    assert b"".join(args["data"] for _, args in service.asked) == file.read_bytes()
    assert [do for do, _ in service.asked] == ["send"] * ((size - 1) // PIECE_BYTES_MAX) + ["find"]
    assert service.asked[-1][1]["suffix"] == ".jpg"
    assert service.asked[-1][1]["threshold"] == 0.01
    assert os.listdir(f"{service.folder}/uploads") == []


def test_one_file_after_the_other_on_one_connection(client: Client, tmp_path: Path) -> None:
    large, small = file_of(tmp_path, PIECE_BYTES_MAX * 2 + 5, "large.png"), file_of(tmp_path, 50, "small.png")
    (tmp_path / "other.png").write_bytes(b"something else")
    for file, known in ((large, True), (small, True), (tmp_path / "other.png", False), (large, True)):
        assert find_file(client, os.fsencode(file), {})["known"] == known


def test_what_is_wrong_with_one_file_is_told_of_it(client: Client, service: SmallService, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_bytes(b"text")
    with open(tmp_path / "large", "wb") as sparse:
        sparse.truncate(FILE_BYTES_MAX + 1)
    for name, error in (
        ("gone", "No such file"), (".", "Is a directory"), ("pipe", "not a file"), ("text", "not a picture"),
        ("large", "larger than index.max_file_mb = 8"),
    ):  # fmt: skip
        found = find_file(client, os.fsencode(tmp_path / name), {})
        assert (found["known"], found["copies"]) == (False, [])
        assert error in found["error"]
    assert [do for do, _ in service.asked] == ["find", "send"]  # of what is too large only the first piece was sent


def test_what_concerns_all_files_is_raised(client: Client, service: SmallService, tmp_path: Path) -> None:
    service.error = RequestError("starting", "not yet")
    with pytest.raises(RequestFailedError, match="not yet"):
        find_file(client, os.fsencode(file_of(tmp_path, 10)), {})


def test_a_service_that_is_busy_is_asked_again(client: Client, service: SmallService, tmp_path: Path) -> None:
    service.error = RequestError("busy", "not now")
    threading.Timer(0.5, setattr, (service, "error", None)).start()
    assert find_file(client, os.fsencode(file_of(tmp_path, 2 * PIECE_BYTES_MAX)), {})["known"]
    assert len(service.asked) > 2


def test_a_file_that_grows_or_shrinks_while_it_is_sent_is_not_taken_for_another(client: Client, tmp_path: Path) -> None:
    for change, told in ((-PIECE_BYTES_MAX - 11, "shorter"), (5, "longer")):
        file = file_of(tmp_path, PIECE_BYTES_MAX * 2 + 10)
        with open(file, "rb", buffering=0) as stream:
            meddled = Meddled(stream, change)
            with pytest.raises(OSError, match=told):
                find_stream(client, meddled, None, {})


class Meddled(io.RawIOBase):
    """A file that somebody changes the size of once its first bytes have been read."""

    def __init__(self, file: io.FileIO, change_bytes: int) -> None:
        self._file, self._change_bytes = file, change_bytes

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(size)
        if self._change_bytes and found:
            os.truncate(str(self._file.name), os.fstat(self._file.fileno()).st_size + self._change_bytes)
            self._change_bytes = 0
        return found or b""


@pytest.mark.parametrize(
    ("path", "suffix"),
    [(b"/a/b.tga", ".tga"), (b"b.NEF", ".nef"), (b"b", None), (b".tga", None), (b"b.\xff", None), (b"b.a b", None),
     (b"b.", None), (b"b.tar.gz", ".gz"), (b"b." + b"x" * 16, None),
     (b"b.tga.1", ".tga"), (b"b.2024", ".2024"), (b".tga.1", ".1")],
)  # fmt: skip
def test_the_suffix_of_a_name_is_sent_if_it_can_be_one(path: bytes, suffix: str | None) -> None:
    assert suffix_of(path) == suffix
