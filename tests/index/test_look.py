"""Pixels of single files, for a look that needs more than a thumbnail and a proof."""

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dupwatchd.index import messages
from dupwatchd.index.messages import BadReply
from dupwatchd.index.pool import DecodeLimits, Detail, NotDecoded, NotRead, WorkerPool
from dupwatchd.model import ReadStatus
from tests.conftest import encoded, photo_like
from tests.index.files import Claims, index, jobs, png_of_zeros


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2, 32, DecodeLimits(memory_mb=300)) as workers:
        yield workers


def written(folder: Path, name: str, data: bytes) -> bytes:
    (folder / name).write_bytes(data)
    return os.fsencode(folder / name)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_small_picture_comes_as_it_is(pool: WorkerPool, tmp_path: Path, kind: str) -> None:
    picture = photo_like(1, 300, 200)
    data = encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
    found = pool.detail(written(tmp_path, "a", data), 1600)
    assert isinstance(found, Detail)
    assert found.rgb.shape == (200, 300, 3)
    assert np.abs(found.rgb.astype(int) - np.asarray(Image.open(io.BytesIO(data))).astype(int)).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("size", "expected"), [((1501, 1000), (533, 800)), ((850, 2000), (800, 340))])
def test_a_large_picture_is_averaged_to_the_size_asked_for(
    pool: WorkerPool, tmp_path: Path, kind: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    picture = photo_like(2, *size)
    found = pool.detail(written(tmp_path, "a", encoded(picture, kind)), 800)
    assert isinstance(found, Detail)
    assert found.rgb.shape == (*expected, 3)
    whole = np.asarray(Image.fromarray(picture).resize(expected[::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(found.rgb.astype(int) - whole).mean() < 2.5


def test_pixels_are_upright_and_luma_is_as_stored(pool: WorkerPool, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(photo_like(3, 320, 240), "JPEG", quality=80, exif=exif.tobytes())
    path = written(tmp_path, "a.jpg", data)
    found = pool.detail(path, 200)
    assert isinstance(found, Detail)
    assert found.rgb.shape == (200, 150, 3)
    assert found.luma is not None
    assert np.array_equal(found.luma, np.asarray(Image.open(io.BytesIO(data)).convert("L"))) or (
        np.abs(found.luma.astype(int) - np.asarray(Image.open(io.BytesIO(data)).convert("L"))).mean() < 1
    )
    assert found.steps is not None
    table = Image.open(io.BytesIO(data)).quantization[0]  # type: ignore[attr-defined] # a JPEG's own
    assert found.steps.ravel().tolist() == table
    assert found.digest == blake3(data).digest()


def test_a_jpeg_of_inks_gives_its_colours_and_no_quantisation_of_luma(pool: WorkerPool, tmp_path: Path) -> None:
    inks = io.BytesIO()
    Image.fromarray(photo_like(3, 320, 240)).convert("CMYK").save(inks, "JPEG")
    found = pool.detail(written(tmp_path, "a.jpg", inks.getvalue()), 200)
    assert isinstance(found, Detail)
    assert found.rgb.shape == (150, 200, 3)
    assert found.steps is None


def test_another_content_than_expected_has_changed(pool: WorkerPool, tmp_path: Path) -> None:
    data = encoded(photo_like(4, 60, 40))
    path = written(tmp_path, "a.jpg", data)
    assert isinstance(pool.detail(path, 100, blake3(data).digest()), Detail)
    assert pool.detail(path, 100, bytes(32)) == NotRead(ReadStatus.CHANGED, None)


def test_what_gives_no_pixels_says_why(pool: WorkerPool, tmp_path: Path) -> None:
    assert pool.detail(os.fsencode(tmp_path / "gone.jpg"), 100) == NotRead(ReadStatus.VANISHED, None)
    cut = pool.detail(written(tmp_path, "cut.jpg", encoded(photo_like(1, 90, 60))[:700]), 100)
    assert cut == NotDecoded("truncated JPEG", picture=True)
    text = pool.detail(written(tmp_path, "a.txt", b"nothing to see"), 100)
    assert text == NotDecoded("not an image (text)", picture=False)


def test_a_picture_that_needs_too_much_memory_fails_alone(pool: WorkerPool, tmp_path: Path) -> None:
    bomb = pool.detail(written(tmp_path, "a.png", png_of_zeros(14_000, 14_000)), 100)
    assert bomb == NotDecoded("decoding needs more than 300 MB", picture=True)
    assert isinstance(pool.detail(written(tmp_path, "b.jpg", encoded(photo_like(1, 60, 40))), 100), Detail)


def test_pixels_are_served_between_batches_by_the_same_workers(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jpg", encoded(photo_like(1, 60, 40)))
    with WorkerPool(2, 32, DecodeLimits()) as pool:
        for _ in range(3):
            assert index(pool, [path])[b"a.jpg"].status is ReadStatus.DECODED
            assert isinstance(pool.detail(path, 100), Detail)
        assert len({worker.pid for worker in pool._workers}) == len(pool._workers) <= 2
        assert sum(worker.files_taken for worker in pool._workers) == 6
        outcomes = pool.index(jobs([tmp_path / "a.jpg"]), Claims())
        next(outcomes)
        with pytest.raises(RuntimeError, match="indexing"):
            pool.detail(path, 100)
        outcomes.close()


def test_a_worker_that_died_idle_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jpg", encoded(photo_like(1, 60, 40)))
    with WorkerPool(1, 32, DecodeLimits()) as pool:
        assert isinstance(pool.detail(path, 100), Detail)
        os.kill(pool._workers[0].pid, signal.SIGKILL)
        assert isinstance(pool.detail(path, 100), Detail)


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jpg", encoded(photo_like(1, 60, 40)))
    with WorkerPool(1, 32, DecodeLimits(decode_seconds=1.0)) as pool:
        assert isinstance(pool.detail(path, 100), Detail)
        os.kill(pool._workers[0].pid, signal.SIGSTOP)
        assert isinstance(pool.detail(path, 100), Detail)


def test_a_picture_over_which_two_workers_hang_is_given_up(tmp_path: Path) -> None:
    path = written(tmp_path, "a.png", png_of_zeros(6000, 6000))
    stopped: list[int] = []

    def stop_whoever_decodes() -> None:
        for worker in workers._workers:
            if worker.owed and worker.owed[0].look and worker.pid not in stopped:
                os.kill(worker.pid, signal.SIGSTOP)
                stopped.append(worker.pid)

    with WorkerPool(1, 32, DecodeLimits(decode_seconds=1.0), stop_whoever_decodes) as workers:
        assert workers.detail(path, 100) == NotDecoded("decoding took longer than 1 s", picture=True)
    assert len(stopped) == 2


# ---- messages


def split(frame: bytes) -> tuple[dict[str, Any], bytes]:
    header_bytes, _ = messages.frame_lengths(frame)
    end = messages.LENGTHS_BYTES + header_bytes
    return messages.header_of(frame[messages.LENGTHS_BYTES : end]), frame[end:]


DETAIL = Detail(
    np.arange(60, dtype=np.uint8).reshape(4, 5, 3), np.arange(12, dtype=np.uint8).reshape(3, 4),
    np.arange(1, 65, dtype=np.float32).reshape(8, 8), bytes(range(32)),
)  # fmt: skip


def test_an_answer_arrives_as_sent() -> None:
    found = messages.parse_look_reply(*split(b"".join(messages.look_reply(DETAIL))), 5)
    assert isinstance(found, Detail)
    assert found.luma is not None
    assert found.steps is not None
    assert DETAIL.luma is not None
    assert DETAIL.steps is not None
    assert np.array_equal(found.rgb, DETAIL.rgb)
    assert np.array_equal(found.luma, DETAIL.luma)
    assert np.array_equal(found.steps, DETAIL.steps)
    assert found.digest == DETAIL.digest


@pytest.mark.parametrize(
    "change",
    [
        {"rgb": [4, 6]}, {"rgb": [4]}, {"rgb": None}, {"rgb": [-4, -5]}, {"luma": [3, 5]}, {"luma": [1 << 40, 1 << 40]},
        {"luma": None}, {"steps": [1] * 63}, {"steps": [0.5] * 64}, {"steps": [float("inf")] * 64}, {"digest": "00"},
        {"status": "decoded", "error": None}, {"error": 3, "picture": True},
    ],
)  # fmt: skip
def test_an_answer_that_is_not_quite_right_is_a_bad_reply(change: dict[str, Any]) -> None:
    header, raw = split(b"".join(messages.look_reply(DETAIL)))
    header["looked"] |= change
    with pytest.raises(BadReply):
        messages.parse_look_reply(header, raw, 5)


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.integers(-1, 9))
entry = st.dictionaries(
    st.sampled_from(["rgb", "luma", "steps", "digest", "error", "picture", "status"]), anything | st.just("00" * 32)
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["looked", "x"]), anything | entry), st.binary(max_size=300))
def test_nothing_that_a_worker_answers_raises_anything_but_bad_reply(header: dict[str, Any], raw: bytes) -> None:
    try:
        messages.parse_look_reply(header, raw, 8)
    except BadReply:
        pass
