"""The names that claim to be a picture: lower-case suffixes with their dot."""

IMAGE_SUFFIXES = frozenset(
    b".apng .avif .avifs .bmp .dds .dib .gif .heic .heics .heif .heifs .hif .icns .ico .j2c .j2k .jfif .jp2 .jpc .jpe"
    b" .jpeg .jpf .jpg .jpm .jpx .jxl .mpo .pam .pbm .pcx .pfm .pgm .png .pnm .ppm .psd .qoi .rgb .sgi .tga .tif"
    b" .tiff .webp .xbm .xpm".split()
)
RAW_SUFFIXES = frozenset(
    b".3fr .ari .arw .bay .cap .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos .mrw .nef .nrw"
    b" .orf .pef .ptx .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)
