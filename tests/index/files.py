"""Files made from nothing, and jobs for them."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from dupwatchd.index.pool import WorkerPool
from dupwatchd.model import FileId, Job, Outcome, Stamp
from tests.conftest import Rgb


def job(path: Path | bytes, number: int = 0) -> Job:
    """What the walk would hand on."""
    name = os.fsencode(path)
    status = os.lstat(name)
    return Job(FileId(number), name, Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino))


def jobs(paths: Iterable[Path | bytes]) -> list[Job]:
    return [job(path, number) for number, path in enumerate(paths)]


class Claims:
    """A `known` that knows what it was asked before, and counts."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, job: Job, digest: bytes) -> bool:
        self.asked.append(digest)
        return digest in self.asked[:-1]


def index(
    pool: WorkerPool, paths: Iterable[Path | bytes], known: Callable[[Job, bytes], bool] | None = None
) -> dict[bytes, Outcome]:
    """The outcomes by file name."""
    found: dict[bytes, Outcome] = {}
    for outcome in pool.index(jobs(paths), known or Claims()):
        name = os.path.basename(outcome.job.path)
        assert name not in found
        found[name] = outcome
    return found


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_of_zeros(width: int, height: int) -> bytes:
    """A black RGB PNG that is tiny at rest and 3 * width * height bytes in memory."""
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    row_bytes = 1 + 3 * width
    row = packer.compress(bytes(row_bytes)) + packer.flush(zlib.Z_FULL_FLUSH)  # needs nothing of what is before it
    adler = row_bytes * height % 65521 << 16 | 1  # RFC 1950, of zeros
    body = b"\x78\x01" + row * height + packer.flush() + struct.pack(">I", adler)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG_SIGNATURE + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def png_of_16_bits(rgb: Rgb) -> bytes:
    """A PNG of 16 bits a channel whose levels are those of the picture."""
    height, width = rgb.shape[:2]
    deep = (rgb.astype(">u2") * 257).reshape(height, -1).view(np.uint8)
    rows = np.hstack([np.zeros((height, 1), np.uint8), deep])
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes())
    return PNG_SIGNATURE + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def apng_crasher() -> bytes:
    """169 bytes that OpenCV (4.12 to 5.0) dies of: an animation whose second frame is an empty fdAT chunk."""
    side = 32
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    frame = struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 10, 0, 0)
    rows = zlib.compress((b"\0" + b"\x10\x20\x30" * side) * side)
    return PNG_SIGNATURE + b"".join(
        png_chunk(kind, content)
        for kind, content in (
            (b"IHDR", header),
            (b"acTL", struct.pack(">II", 2, 0)),
            (b"IDAT", rows),
            (b"fcTL", frame),
            (b"fdAT", b""),
            (b"IEND", b""),
        )
    )


# ---- a RAW photo: the simplest DNG that LibRaw takes for one

_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}
Entries = dict[int, tuple[int, list[int] | bytes | list[tuple[int, int]]]]


def tiff_directory(entries: Entries, at: int, order: str = "<") -> bytes:
    """A TIFF directory that will lie at this offset, followed by what does not fit into its entries."""
    head = struct.pack(order + "H", len(entries))
    tail = b""
    tail_at = at + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        if isinstance(values, bytes):
            raw = values
        elif kind in (5, 10):
            raw = b"".join(struct.pack(order + "ii", *pair) for pair in values)  # type: ignore[misc] # rationals are pairs
        else:
            raw = struct.pack(f"{order}{len(values)}{_TIFF_TYPES[kind]}", *values)
        if len(raw) <= 4:
            field = raw.ljust(4, b"\0")
        else:
            field = struct.pack(order + "I", tail_at + len(tail))
            tail += raw + b"\0" * (len(raw) % 2)
        head += struct.pack(order + "HHI", tag, kind, len(values)) + field
    return head + struct.pack(order + "I", 0) + tail


def dng(preview: bytes, preview_size: tuple[int, int], size: tuple[int, int], orientation: int, seed: int = 0) -> bytes:
    """A DNG with a JPEG preview (none if empty); directories in front, the raw samples at the end."""
    (preview_width, preview_height), (width, height) = preview_size, size
    samples = np.random.default_rng(seed).integers(0, 4000, (height, width)).astype("<u2").tobytes()
    preview += b"\0" * (len(preview) % 2)
    unit = [(1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), (1, 1)]

    def whole(main_at: int, raw_at: int, preview_at: int, samples_at: int) -> tuple[bytes, bytes]:
        raw: Entries = {
            254: (4, [0]), 256: (4, [width]), 257: (4, [height]), 258: (3, [16]), 259: (3, [1]), 262: (3, [32803]),
            273: (4, [samples_at]), 277: (3, [1]), 278: (4, [height]), 279: (4, [len(samples)]),
            33421: (3, [2, 2]), 33422: (1, [0, 1, 1, 2]), 50717: (4, [4095]),
        }  # fmt: skip
        main: Entries = {
            271: (2, b"Test\0"), 272: (2, b"Camera\0"), 274: (3, [orientation]), 330: (4, [raw_at]),
            50706: (1, [1, 4, 0, 0]), 50708: (2, b"Test Camera\0"), 50721: (10, unit), 50728: (5, [(1, 1)] * 3),
        }  # fmt: skip
        if preview:
            main |= {
                254: (4, [1]), 256: (4, [preview_width]), 257: (4, [preview_height]), 258: (3, [8, 8, 8]),
                259: (3, [7]), 262: (3, [6]), 273: (4, [preview_at]), 277: (3, [3]), 278: (4, [preview_height]),
                279: (4, [len(preview)]),
            }  # fmt: skip
        return tiff_directory(main, main_at), tiff_directory(raw, raw_at)

    main, raw = whole(8, 0, 0, 0)  # offsets do not change lengths
    raw_at = 8 + len(main)
    preview_at = raw_at + len(raw)
    main, raw = whole(8, raw_at, preview_at, preview_at + len(preview))
    return b"II*\0" + struct.pack("<I", 8) + main + raw + preview + samples


def views(pictures: Sequence[Rgb], kind: int = 0x020002, first_kind: int = 0x030000) -> bytes:
    """A JPEG file with several pictures, as a stereo camera writes it; ``kind``: what it says all but the first are."""
    first, *rest = [Image.fromarray(picture) for picture in pictures]
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=rest, quality=90)
    data = bytearray(buffer.getvalue())
    begins = data.index(b"MPF\0") + 4
    directory = begins + int.from_bytes(data[begins + 4 : begins + 8], "little")
    for entry in range(
        directory + 2, directory + 2 + 12 * int.from_bytes(data[directory : directory + 2], "little"), 12
    ):
        if int.from_bytes(data[entry : entry + 2], "little") == 0xB002:
            listed = begins + int.from_bytes(data[entry + 8 : entry + 12], "little")
            for number in range(len(pictures)):
                said = kind if number else first_kind
                data[listed + 16 * number : listed + 16 * number + 4] = said.to_bytes(4, "little")
    return bytes(data)


def luma(picture: ArrayLike) -> NDArray[np.float64]:
    """Grey levels of RGB."""
    grey: NDArray[np.float64] = np.asarray(picture, np.float64) @ np.array([0.299, 0.587, 0.114])
    return grey


def as_stored(upright: Rgb, orientation: int) -> Image.Image:
    """A picture as a camera stores it that says how it was held, by EXIF 1 … 8."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = Image.fromarray(upright)
    return stored.transpose(undo[orientation]) if orientation in undo else stored


def deep_png(rgb: NDArray[np.uint8], *, finer: bool = False) -> bytes:
    """A PNG of 16 bits; ``finer``: with something that 8 bits have no room for."""
    values = rgb.astype(">u2") * 257
    values[100:200, 100:200] ^= finer
    height, width = rgb.shape[:2]
    chunks = [
        b"IHDR" + struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)),
        b"IEND",
    ]
    made = (struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)
