"""The suffixes of pictures; a path goes in, what its suffix promises comes out.

Every suffix of IMAGE_SUFFIXES is read: tests/index/test_odd_files.py has a file for each.
"""

IMAGE_SUFFIXES = frozenset(
    b".apng .avif .avifs .bmp .dds .dib .gif .heic .heics .heif .heifs .hif .icns .ico .j2c .j2k .jfi .jfif .jif .jp2"
    b" .jpc .jpe .jpeg .jpf .jpg .jpg_large .jpm .jpx .jxl .mpo .pbm .pcx .pgm .pjp .pjpeg .png .pnm .ppm .psd .qoi"
    b" .rgb .sgi .tga .tif .tiff .webp .xbm .xpm".split()
)
RAW_SUFFIXES = frozenset(
    b".3fr .ari .arw .bay .cap .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos .mrw .nef .nrw"
    b" .orf .pef .ptx .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)


def suffix(path: bytes) -> bytes:
    """The lower-case suffix of a path with its dot, or nothing."""
    name = path[path.rfind(b"/") + 1 :]
    dot = name.rfind(b".")
    return name[dot:].lower() if dot > 0 else b""


def claims_to_be_a_picture(path: bytes) -> bool:
    """Whether the suffix of a path is one of pictures."""
    return suffix(path) in IMAGE_SUFFIXES or suffix(path) in RAW_SUFFIXES


def way_of_reading(path: bytes) -> int:
    """Which reading a name asks for that the bytes do not tell: 1 camera raw, 2 Targa, 0 all else."""
    if suffix(path) in RAW_SUFFIXES:
        return 1
    return 2 if suffix(path) in (b".tga", b".tpic") else 0
