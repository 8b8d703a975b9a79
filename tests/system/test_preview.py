"""Previews from a real service: sent by the client, made by a process of their own, beside everything else."""

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dupwatchd.index.pillow_formats  # noqa: F401 - so that Pillow can write HEIF
from dupwatch.client import Client
from dupwatch.errors import RequestFailedError, WrongUsageError
from dupwatch.sending import find_stream, opened, preview_stream, suffix_of
from tests.conftest import encoded, photo_like
from tests.index.files import png_of_zeros
from tests.system.service import Service

PX = 320


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = tmp_path_factory.mktemp("p")
    photos = place / "photos"
    photos.mkdir()
    (photos / "known.jpg").write_bytes(encoded(photo_like(1)))
    with Service(place, photos, DUPWATCH_INDEX__MEMORY_MB="400") as running:
        running.settled()
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.endpoint, 30) as made:
        yield made


def preview_of(client: Client, path: Path, px: int = PX, **wish: Any) -> dict[str, Any]:
    name = os.fsencode(path)
    with opened(name) as stream:
        return preview_stream(client, stream, suffix_of(name), px, **wish)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_file_that_the_service_has_never_seen_is_shown_to_whoever_can_read_it(
    client: Client, service: Service, tmp_path: Path
) -> None:
    large = written(tmp_path / "large.bmp", encoded(photo_like(2, 1600, 1200), "BMP"))
    assert large.stat().st_size > 2 << 20
    result = preview_of(client, large)
    assert {name: value for name, value in result.items() if name != "data"} == {
        "type": "image/jpeg", "preview_width": 320, "preview_height": 240, "width": 1600, "height": 1200,
        "frame": 0, "frames": 1,
    }  # fmt: skip
    assert Image.open(io.BytesIO(result["data"])).size == (320, 240)
    for name, options in (("a.heic", {"format": "HEIF"}), ("a.jp2", {"format": "JPEG2000"}), ("a.tif", {})):
        Image.fromarray(photo_like(3)).save(tmp_path / name, **options)
        assert preview_of(client, tmp_path / name, kind="webp")["type"] == "image/webp"
    plain = preview_of(client, large, 64, kind="rgb")
    assert (len(plain["data"]), plain["preview_width"]) == (3 * 64 * 48, 64)
    assert os.listdir(service.state / "uploads") == []


def test_a_page_is_chosen_by_its_number(client: Client, tmp_path: Path) -> None:
    pages = [Image.fromarray(photo_like(seed, 160, 120)) for seed in (1, 2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert (preview_of(client, tmp_path / "a.tif", frame=1)["frame"]) == 1
    with pytest.raises(RequestFailedError, match="2 frames or pages") as beyond:
        preview_of(client, tmp_path / "a.tif", frame=2)
    assert beyond.value.code == "out_of_range"


@pytest.mark.parametrize(
    ("make", "reason"),
    [(lambda: b"some text", "not an image"), (lambda: encoded(photo_like(1))[:900], "truncated JPEG"),
     (bytes, "zero bytes"), (lambda: png_of_zeros(14_000, 14_000), "more than 400 MB")],
)  # fmt: skip
def test_what_cannot_be_shown_says_why(client: Client, tmp_path: Path, make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(RequestFailedError, match=reason) as failed:
        preview_of(client, written(tmp_path / "a.jpg", make()))
    assert failed.value.code == "not_a_picture"


def test_sizes_and_forms_have_limits(client: Client, tmp_path: Path) -> None:
    small = written(tmp_path / "a.jpg", encoded(photo_like(1, 40, 30)))
    assert preview_of(client, small, 2048)["preview_width"] == 40
    for px in (15, 2049):
        with pytest.raises(WrongUsageError, match="px must be a whole number from 16 to 2048"):
            preview_of(client, small, px)
    with pytest.raises(WrongUsageError, match="kind must look like"):
        preview_of(client, small, kind="bmp")
    with pytest.raises(RequestFailedError, match="at most 1024 for rgb") as failed:
        preview_of(client, small, 1025, kind="rgb")
    assert failed.value.code == "bad_request"


def with_client(service: Service, ask: Callable[[Client], Any]) -> Any:
    with Client(service.endpoint, 60) as client:
        return ask(client)


def test_twenty_previews_a_find_and_questions_do_not_wait_for_each_other(service: Service, tmp_path: Path) -> None:
    slow = written(tmp_path / "slow.png", encoded(np.tile(photo_like(4, 1000, 750), (4, 4, 1)), "PNG"))
    photos = [written(tmp_path / f"{n}.jpg", encoded(photo_like(n, 1200, 900))) for n in range(20)]

    def find(client: Client) -> list[Any]:
        with slow.open("rb") as stream:
            return list(find_stream(client, stream, ".png", {})["copies"])

    ended: list[str] = []
    with ThreadPoolExecutor(26) as threads:
        finds = [threads.submit(with_client, service, find) for _ in range(3)]
        previews = [threads.submit(with_client, service, partial(preview_of, path=photo)) for photo in photos]
        for future in finds:
            future.add_done_callback(lambda _: ended.append("find"))
        for future in previews:
            future.add_done_callback(lambda _: ended.append("preview"))
        with Client(service.endpoint, 5) as client:
            while not all(future.done() for future in (*finds, *previews)):
                for question in ("status", "clusters"):
                    client.request(question)
    assert "find" in ended[ended.index("preview") :]  # previews did not stand behind the finds
    assert [future.result() for future in finds] == [[], [], []]
    assert all(future.result()["preview_width"] == PX for future in previews)


def decoders_of(service: Service) -> set[int]:
    """The process ids of all processes that decode pictures for the service."""
    found = set()
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/status") as status:
                fields = dict(line.split(":\t", 1) for line in status.read().splitlines() if ":\t" in line)
            with open(f"/proc/{fields['PPid'].strip()}/status") as status:
                grandparent = next(line.split()[1] for line in status if line.startswith("PPid"))
        except (OSError, KeyError, StopIteration):
            continue
        if fields["Name"] == "dupwatch-decode" and int(grandparent) == service.process.pid:
            found.add(int(name))
    return found


def test_previews_go_on_when_decode_processes_are_killed(client: Client, service: Service, tmp_path: Path) -> None:
    photo = written(tmp_path / "a.jpg", encoded(photo_like(1)))
    assert preview_of(client, photo)["preview_width"] == PX
    killed = decoders_of(service)
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert preview_of(client, photo)["preview_width"] == PX
    with pytest.raises(RequestFailedError, match="was killed"):
        preview_of_a_file_that_kills_its_decoder(client, service, tmp_path)
    assert preview_of(client, photo)["preview_width"] == PX


def preview_of_a_file_that_kills_its_decoder(client: Client, service: Service, tmp_path: Path) -> dict[str, Any]:
    """Kills whoever decodes it, as long as it is asked for."""
    slow = written(tmp_path / "slow.png", encoded(np.tile(photo_like(4, 1500, 1000), (3, 3, 1)), "PNG"))
    ended = threading.Event()

    def kill_whoever_decodes() -> None:
        spent = {pid: cpu_ticks(pid) for pid in decoders_of(service)}
        while not ended.wait(0.01):
            for pid in decoders_of(service):
                if cpu_ticks(pid) > spent.get(pid, 0) + 5:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass

    killing = threading.Thread(target=kill_whoever_decodes)
    killing.start()
    try:
        return preview_of(client, slow)
    finally:
        ended.set()
        killing.join()


def cpu_ticks(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def test_a_preview_that_nobody_waits_for_is_given_up(service: Service) -> None:
    data = encoded(photo_like(4), "PNG")
    with Client(service.endpoint, 10) as client:
        with pytest.raises(RequestFailedError) as failed:
            client.request("preview", data=data, px=100, timeout=0.0)
        assert failed.value.code == "busy"
        assert client.request("preview", data=data, px=100)["preview_width"] == 100
