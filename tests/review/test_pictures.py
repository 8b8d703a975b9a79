"""Previews are made once, kept for their user alone, and never more than the folder may hold."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from PIL import Image

from dupwatch.client import Client
from dupwatch.review.library import HeldFile
from dupwatch.review.pictures import NoPictureError, Previews, full_picture
from tests.conftest import encoded, photo_like
from tests.index.files import dng
from tests.system.service import Service


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    place = tmp_path_factory.mktemp("previews")
    (place / "photos").mkdir()
    with Service(place / "service", place / "photos") as service, Client(service.endpoint) as client:
        yield client


def held(path: Path) -> HeldFile:
    found = path.stat()
    return HeldFile(os.fsencode(path), blake3(path.read_bytes()).digest(), found.st_size, found.st_mtime_ns)


def photo(path: Path, seed: int, kind: str = "JPEG") -> HeldFile:
    path.write_bytes(encoded(photo_like(seed, 300, 200), kind))
    return held(path)


def cached(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_preview_is_made_once_and_readable_by_its_user_only(client: Client, tmp_path: Path) -> None:
    previews = Previews(str(tmp_path / "cache"))
    file = photo(tmp_path / "a.jpg", 1)
    made = previews.picture(client, [file], 160, None)
    assert made.type == "image/webp"
    os.unlink(file.path)
    assert previews.picture(client, [file], 160, None) == made
    (kept,) = cached(tmp_path / "cache")
    assert kept.stat().st_mode & 0o077 == 0
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    with pytest.raises(NoPictureError, match="cannot be opened"):
        previews.picture(client, [file], 1024, None)


@pytest.mark.parametrize("left", ["nothing", "zeros", "half", "zeros in the middle"])
def test_what_a_power_cut_left_of_a_preview_is_made_again(client: Client, tmp_path: Path, left: str) -> None:
    previews = Previews(str(tmp_path / "cache"))
    file = photo(tmp_path / "a.jpg", 1)
    made = previews.picture(client, [file], 320, None)
    (kept,) = cached(tmp_path / "cache")
    whole = kept.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "nothing": b"",
        "zeros": bytes(len(whole)),
        "half": whole[:middle],
        "zeros in the middle": whole[:middle] + bytes(512) + whole[middle + 512 :],
    }
    kept.write_bytes(damaged[left])
    assert previews.picture(client, [file], 320, None) == made
    assert kept.read_bytes() == whole


def test_the_cache_never_grows_beyond_its_size_and_loses_what_is_oldest(client: Client, tmp_path: Path) -> None:
    most = 30_000
    previews = Previews(str(tmp_path / "cache"), most)
    files = [photo(tmp_path / f"{number}.jpg", number) for number in range(12)]
    for file in files:
        previews.picture(client, [file], 320, None)
        assert sum(path.stat().st_size for path in cached(tmp_path / "cache")) <= most
    names = {path.name.partition("-")[0] for path in cached(tmp_path / "cache")}
    assert files[-1].digest.hex() in names
    assert files[0].digest.hex() not in names


def test_another_file_of_the_same_bytes_stands_in(client: Client, tmp_path: Path) -> None:
    first = photo(tmp_path / "a.jpg", 1)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    second = held(tmp_path / "b.jpg")
    os.unlink(first.path)
    assert Previews(str(tmp_path / "cache")).picture(client, [first, second], 160, None).data


def test_making_room_removes_nothing_but_previews(client: Client, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache/mine.jpg").write_bytes(b"a photo")
    Previews(str(tmp_path / "cache"), 1).picture(client, [photo(tmp_path / "a.jpg", 1)], 160, None)
    assert (tmp_path / "cache/mine.jpg").read_bytes() == b"a photo"


@pytest.mark.parametrize("how", ["link", "open"])
def test_a_cache_that_others_can_write_to_is_not_used(client: Client, tmp_path: Path, how: str) -> None:
    first = photo(tmp_path / "a.jpg", 1)
    other = Previews(str(tmp_path / "theirs")).picture(client, [photo(tmp_path / "b.jpg", 2)], 160, None)
    if how == "link":
        (tmp_path / "cache").symlink_to(tmp_path / "theirs")
    else:
        (tmp_path / "theirs").rename(tmp_path / "cache")
        (tmp_path / "cache").chmod(0o777)
    place = tmp_path / "cache" / first.digest.hex()[:2] / f"{first.digest.hex()}-160"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(other.data)
    before = set(cached(tmp_path / "cache"))
    assert Previews(str(tmp_path / "cache"), 1).picture(client, [first], 160, None).data != other.data
    assert set(cached(tmp_path / "cache")) == before


def test_a_file_that_is_no_picture_says_so(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not a picture")
    with pytest.raises(NoPictureError):
        Previews(str(tmp_path / "cache")).picture(client, [held(tmp_path / "a.jpg")], 160, None)
    assert cached(tmp_path / "cache") == []


@pytest.mark.parametrize("has_preview", [True, False])
def test_a_raw_photo_is_shown_upright(client: Client, tmp_path: Path, has_preview: bool) -> None:
    preview = encoded(photo_like(4, 320, 240)) if has_preview else b""
    (tmp_path / "a.dng").write_bytes(dng(preview, (320, 240) if has_preview else (0, 0), (400, 300), 6))
    file = held(tmp_path / "a.dng")
    assert full_picture([file]) is None
    made = Previews(str(tmp_path / "cache")).picture(client, [file], 160, None)
    with Image.open(io.BytesIO(made.data)) as shown:
        assert shown.size == (120, 160)
        assert np.asarray(shown.convert("L")).std() > 10


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_what_browsers_show_is_sent_as_it_is(tmp_path: Path, kind: str) -> None:
    file = photo(tmp_path / "picture.tif", 1, kind)
    picture = full_picture([file])
    assert picture is not None
    assert picture.type == f"image/{kind.lower()}"
    assert picture.data == (tmp_path / "picture.tif").read_bytes()


@pytest.mark.parametrize(
    "data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!doctype html><script>1</script>", b""]
)
def test_what_could_be_a_program_is_never_sent_as_it_is(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    assert full_picture([held(tmp_path / "a.jpg")]) is None
