"""How much one file may cost, and which names claim to be a picture."""

from dataclasses import dataclass

IMAGE_SUFFIXES = frozenset(
    b".avif .avifs .bmp .dds .dib .gif .heic .heics .heif .heifs .hif .icns .ico .j2c .j2k .jfif .jp2 .jpc .jpe"
    b" .jpeg .jpf .jpg .jpx .jxl .mpo .pbm .pcx .pgm .pnm .png .ppm .psd .qoi .rgb .sgi .tga .tif .tiff"
    b" .webp".split()
)
RAW_SUFFIXES = frozenset(
    b".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf"
    b" .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one file may cost before it counts as failed; suffixes are lower case, with their dot."""

    decode_seconds: float = 30.0  # wall clock without any progress, for reading and for decoding one file
    memory_mb: int = 1024  # MiB of address space beyond what an idle worker has; the file's bytes count
    max_pixels: int = 300_000_000
    max_file_mb: int = 1024  # MiB
    image_suffixes: frozenset[bytes] = IMAGE_SUFFIXES
    raw_suffixes: frozenset[bytes] = RAW_SUFFIXES
