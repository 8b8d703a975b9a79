"""What is made of one file, and how much that may cost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one file may cost before it counts as failed."""

    decode_seconds: float = 30.0  # wall clock without any progress, for reading and for decoding one file
    memory_mb: int = 1536  # MiB of address space beyond what an idle worker has; the file's bytes count
    max_pixels: int = 300_000_000
    max_file_mb: int = 1024  # MiB
    with_keypoints: bool = False  # the keypoints of the picture are made as well
