"""Photos as the worker pool takes them: a job for each path, and nothing that is known before."""

import os

from dupwatchd.model import FileId, Job, Stamp


def job(number: int, path: str) -> Job:
    """The work on one file that is there. Raises OSError."""
    status = os.stat(path)
    stamp = Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)
    return Job(FileId(number), os.fsencode(path), stamp)


def never_known(_: Job, digest: bytes) -> bool:
    """For `WorkerPool.index`: every file is decoded."""
    return False
