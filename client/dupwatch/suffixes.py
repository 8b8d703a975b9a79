"""The suffixes that a picture may have, in lower case with their dot, and how one is found in a name.

The client and the service share them.

What they mean for the service, such as that a file claims to be a picture, is in `dupwatchd.suffixes`.

Every suffix of IMAGE_SUFFIXES is read: tests/index/test_odd_files.py has a file for each.
"""

IMAGE_SUFFIXES = frozenset(
    b".apng .avif .avifs .bmp .dds .dib .gif .heic .heics .heif .heifs .hif .icns .ico .j2c .j2k .jfi .jfif .jif .jp2"
    b" .jpc .jpe .jpeg .jpf .jpg .jpg-large .jpg_large .jpm .jps .jpx .jxl .mpo .pbm .pcx .pgm .pjp .pjpeg .png"
    b" .png-large .png_large .pnm .ppm .psd .qoi .rgb .sgi .tga .tif .tiff .webp .xbm .xpm".split()
)
RAW_SUFFIXES = frozenset(
    b".3fr .ari .arw .bay .cap .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos .mrw .nef .nrw"
    b" .orf .pef .ptx .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)


def suffix_of_name(name: str) -> str:
    """The lower-case suffix of a file's name with its dot, or nothing.

    A number at the end does not count if a suffix stands before it: wget, for one, saves a second `a.jpg` as `a.jpg.1`.
    Stops and blanks at the end do not count either, and what has a blank in it is a part of the name ("St. Ives").
    """
    name = name.rstrip(". ")
    dot = name.rfind(".")
    if dot > 1 and name[dot + 1 :].isdecimal():
        before = name.rfind(".", 1, dot)
        if before > 0:
            return name[before:dot].lower()
    suffix = name[dot:].lower() if dot > 0 else ""
    return "" if " " in suffix else suffix
