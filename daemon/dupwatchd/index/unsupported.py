"""The bytes of a file go in, the name of its kind comes out, if it is sound but of a kind that nothing here reads."""

import io

from PIL import TiffImagePlugin

_BITS, _COMPRESSION, _SAMPLES, _SAMPLE_FORMAT = 258, 259, 277, 339
_COMPRESSIONS = {34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}
_SAMPLE_FORMATS = {2: "signed ", 3: "floating-point "}
_PSD_MODES = {0: "bitmap", 7: "multichannel", 9: "Lab"}


def unsupported_kind(data: bytes) -> str | None:
    """What to say of a file that Pillow has failed to open or to decode; None if its kind is not the reason."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff_kind(data)
    if data[:4] == b"MM\0+":  # Pillow reads the other order of bytes
        return "big-endian BigTIFF"
    if data[:4] == b"8BPS" and len(data) >= 26:
        bits, mode = int.from_bytes(data[22:24], "big"), int.from_bytes(data[24:26], "big")
        if bits not in (1, 8):
            return f"{bits}-bit PSD"
        if mode in _PSD_MODES:
            return f"{_PSD_MODES[mode]} PSD"
    return None


def _tiff_kind(data: bytes) -> str | None:
    stream = io.BytesIO(data)
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    try:
        stream.seek(directory.next)
        directory.load(stream)
        bits = tuple(directory.get(_BITS, (1,)))
        compression = int(directory.get(_COMPRESSION, 1))
        form = _SAMPLE_FORMATS.get(next(iter(directory.get(_SAMPLE_FORMAT, (1,)))), "")
        samples = int(directory.get(_SAMPLES, 1))
    except Exception:  # noqa: BLE001 - a damaged directory makes Pillow raise anything
        return None
    if compression in _COMPRESSIONS or compression not in TiffImagePlugin.COMPRESSION_INFO:
        return f"TIFF with {_COMPRESSIONS.get(compression, compression)} compression"
    if form or bits[0] not in (1, 2, 4, 8, 16) or (bits[0] == 16 and samples == 2):
        return f"TIFF with {samples} {form}sample{'s' if samples > 1 else ''} of {bits[0]} bits"
    return None
