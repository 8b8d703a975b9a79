"""Files that clients send: kept with their suffix, bounded, and gone when nobody needs them any more."""

import os
from pathlib import Path

import pytest

from dupwatchd.serve import uploads as uploads_module
from dupwatchd.serve.request_queue import Peer, RequestError
from dupwatchd.serve.uploads import Uploads

MAX = 1000


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(str(tmp_path), MAX)


def kept(tmp_path: Path) -> list[str]:
    return os.listdir(tmp_path / "uploads")


def refused(code: str, uploads: Uploads, peer: Peer, offset: int, size: int, piece: bytes = b"x") -> None:
    with pytest.raises(RequestError) as caught:
        uploads.add_piece(peer, offset, size, piece)
    assert caught.value.code == code


def test_a_stop_leaves_nothing(uploads: Uploads, tmp_path: Path) -> None:
    uploads.add_piece(Peer(b"1"), 0, 9, b"abc")
    uploads.close()
    assert kept(tmp_path) == []


def test_pieces_make_a_file_with_its_suffix_that_is_removed_when_it_was_looked_up(
    uploads: Uploads, tmp_path: Path
) -> None:
    peer = Peer(b"1")
    assert uploads.add_piece(peer, 0, 9, b"abc") == 3
    assert uploads.add_piece(peer, 3, 9, b"def") == 6
    with uploads.complete(peer, 6, b"ghi", ".tga") as path:
        assert path.endswith(b".tga")
        assert Path(os.fsdecode(path)).read_bytes() == b"abcdefghi"
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert kept(tmp_path) == []
    for whole in (b"whole", b""):
        with uploads.complete(peer, 0, whole, "") as path:
            assert Path(os.fsdecode(path)).read_bytes() == whole
    assert kept(tmp_path) == []


def test_a_piece_that_does_not_go_on_is_refused_and_a_file_can_be_begun_anew(uploads: Uploads) -> None:
    peer = Peer(b"1")
    refused("bad_request", uploads, peer, 3, 9)
    uploads.add_piece(peer, 0, 9, b"abc")
    refused("bad_request", uploads, peer, 2, 9)
    refused("bad_request", uploads, peer, 3, 8)
    refused("bad_request", uploads, peer, 3, 9, b"x" * 7)
    refused("bad_request", uploads, Peer(b"2"), 3, 9)
    with pytest.raises(RequestError, match="does not go on"), uploads.complete(peer, 3, b"x", ""):
        pass
    uploads.add_piece(peer, 0, 2, b"a")
    with uploads.complete(peer, 1, b"b", "") as path:
        assert Path(os.fsdecode(path)).read_bytes() == b"ab"


def test_what_a_connection_has_sent_goes_with_it(uploads: Uploads, tmp_path: Path) -> None:
    peer = Peer(b"1")
    uploads.add_piece(peer, 0, 9, b"abc")
    peer.closed.set()
    uploads.drop(peer)
    assert kept(tmp_path) == []
    refused("stopping", uploads, peer, 0, 9)
    assert kept(tmp_path) == []


def test_what_a_killed_service_left_is_removed_at_the_next_start(uploads: Uploads, tmp_path: Path) -> None:
    uploads.add_piece(Peer(b"1"), 0, 9, b"abc")
    assert len(kept(tmp_path)) == 1
    Uploads(str(tmp_path), MAX)
    assert kept(tmp_path) == []


def test_files_are_bounded_each_by_user_and_in_all(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, bert, carl = ([Peer(b"%d %d" % (uid, n), uid=uid) for n in range(3)] for uid in (1, 2, 3))
    refused("too_large", uploads, anna[0], 0, MAX + 1)
    uploads.add_piece(anna[0], 0, 600, b"x")
    refused("busy", uploads, anna[1], 0, 500)
    uploads.add_piece(anna[1], 0, 400, b"x")
    uploads.add_piece(bert[0], 0, 900, b"x")
    refused("busy", uploads, carl[0], 0, 200)
    with uploads.complete(anna[0], 1, b"x" * 599, ""):  # what is being looked up still counts
        refused("busy", uploads, carl[0], 0, 200)
    uploads.add_piece(carl[0], 0, 200, b"x")
    refused("busy", uploads, carl[1], 0, 800)
    monkeypatch.setattr(uploads_module, "_IDLE_SECONDS", 0.0)
    uploads.add_piece(carl[1], 0, 800, b"x")  # nobody went on with the others
    assert len(kept(tmp_path)) == 1
    monkeypatch.setattr(uploads_module, "_SPARE_BYTES", 2**60)
    refused("busy", uploads, bert[1], 0, 1)
