"""A batch of files on its way to a machine, and what came of it on its way back: both as bytes; no Dask, no sockets.

A request is a frame of `index.messages` with the header

    {"thumbnail_px", "limits", "files": [[path, size_bytes, [known, …]], …]}

``known`` are the first bytes of digests, as hex, of contents with that size which need not be decoded. A reply is three
frames: {"worker", "error"}, one entry per file as the decode process sends them, and those files of it that were
decoded, likewise. They are checked in the same way, whoever may have sent them. A file that was read and not decoded
is known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dupwatchd.index import messages
from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import BadReply, NotDecoded, NotRead, ReadFile
from dupwatchd.model import Decoded, FileId, Job, Outcome, ReadStatus, Stamp

PREFIX_BYTES = 8  # of a digest; if two contents share them, the writer notices and reads the file itself


@dataclass(frozen=True)
class Request:
    """A batch as a machine gets it; the ids of the jobs are their places in it."""

    jobs: list[Job]
    known: list[frozenset[str]]  # for each job
    thumbnail_px: int
    limits: DecodeLimits


@dataclass(frozen=True)
class Reply:
    """What came of a batch."""

    worker: str  # its address
    error: str | None  # why the machine could read nothing at all
    outcomes: list[Outcome]  # those with a new content first


def request(
    jobs: Sequence[Job], known: Mapping[int, Sequence[bytes]], thumbnail_px: int, limits: DecodeLimits
) -> bytes:
    """Ask for these files; ``known``: digests by the size of their files in bytes."""
    files = [
        [
            job.path.decode("utf-8", "surrogateescape"),
            job.stamp.size_bytes,
            [digest[:PREFIX_BYTES].hex() for digest in known.get(job.stamp.size_bytes, ())],
        ]
        for job in jobs
    ]
    return messages.frame({"thumbnail_px": thumbnail_px, "limits": asdict(limits), "files": files})


def parse_request(data: bytes) -> Request:
    """The batch that is asked for, by a writer of the same version."""
    [(header, _)] = _frames(data)
    jobs = [
        Job(FileId(place), path.encode("utf-8", "surrogateescape"), Stamp(size_bytes, 0, 0, 0))
        for place, (path, size_bytes, _) in enumerate(header["files"])
    ]
    known = [frozenset(prefixes) for _, _, prefixes in header["files"]]
    return Request(jobs, known, header["thumbnail_px"], DecodeLimits(**header["limits"]))


def reply(worker: str, outcomes: Sequence[Outcome]) -> bytes:
    """Answer a request; one outcome for each of its jobs."""
    read: list[ReadFile | NotRead] = []
    decoded: list[tuple[int, Decoded | NotDecoded]] = []
    for place, outcome in enumerate(sorted(outcomes, key=lambda one: one.job.file_id)):
        if outcome.digest is None or outcome.stamp is None:
            read.append(NotRead(outcome.status, outcome.error, outcome.stamp))
            continue
        read.append(ReadFile(outcome.stamp, outcome.digest))
        if outcome.decoded is not None:
            decoded.append((place, outcome.decoded))
        elif outcome.status is not ReadStatus.KNOWN:
            decoded.append((place, NotDecoded(outcome.error or "", outcome.status is ReadStatus.FAILED)))
    head = messages.frame({"worker": worker, "error": None})
    return head + messages.read_reply(read) + messages.decode_reply(decoded)


def refusal(worker: str, error: str) -> bytes:
    """Answer a request on a machine that can read nothing."""
    return messages.frame({"worker": worker, "error": error}) + messages.read_reply([]) + messages.decode_reply([])


def parse_reply(data: bytes, jobs: Sequence[Job], thumbnail_px: int) -> Reply:
    """What came of the jobs of a request; raises BadReply."""
    try:
        (head, _), (read_header, _), (decoded_header, raw) = _frames(data)
        worker, error = head["worker"], head["error"]
        if not isinstance(worker, str) or not isinstance(error, str | None):
            raise TypeError  # noqa: TRY301
    except (TypeError, KeyError, ValueError) as wrong:
        raise BadReply("a malformed reply") from wrong
    if error is not None:
        return Reply(worker, error, [])
    read = messages.parse_read_reply(read_header, len(jobs))
    wanted = {place for place, result in enumerate(read) if isinstance(result, ReadFile)}
    decoded = dict(messages.parse_decode_reply(decoded_header, raw, wanted, thumbnail_px))
    places = [*decoded, *(place for place in range(len(jobs)) if place not in decoded)]
    return Reply(worker, None, [_outcome(jobs[place], read[place], decoded.get(place)) for place in places])


def _outcome(job: Job, read: ReadFile | NotRead, decoded: Decoded | NotDecoded | None) -> Outcome:
    if isinstance(read, NotRead):
        return Outcome(job, read.status, read.stamp, error=read.error)
    if decoded is None:
        return Outcome(job, ReadStatus.KNOWN, read.stamp, read.digest)
    if isinstance(decoded, Decoded):
        return Outcome(job, ReadStatus.DECODED, read.stamp, read.digest, decoded)
    status = ReadStatus.FAILED if decoded.picture else ReadStatus.NOT_A_PICTURE
    return Outcome(job, status, read.stamp, read.digest, error=decoded.error)


def _frames(data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The frames in some bytes as (header, raw bytes); raises BadReply, ValueError."""
    at = 0
    while at < len(data):
        header_bytes, raw_bytes = messages.frame_lengths(data[at : at + messages.LENGTHS_BYTES])
        at += messages.LENGTHS_BYTES
        end = at + header_bytes + raw_bytes
        if end > len(data):
            raise BadReply("cut short")
        yield messages.header_of(data[at : at + header_bytes]), data[at + header_bytes : end]
        at = end
