"""The file that `dupwatchd backup` writes and `restore` reads: a zip archive, which `unzip -t` can verify, too.

Members, in this order:

- ``dupwatch-backup.json``: the format, which program made it, and when
- ``thumbnails``: those of all pictures, by ascending id
- ``proofs``: of each picture that has one, its id (8 bytes) and the length of the proof (4 bytes), both little-endian,
  and the proof
- ``dupwatch.sqlite``: the index that they belong to, with all that people said

Each member has a checksum in the archive; besides, thumbnails and proofs have digests in the index.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, BinaryIO, Protocol

from dupwatchd.errors import StateError
from dupwatchd.model import PictureId

MARK = b"dupwatch-backup.json"  # in the first bytes of each
THUMBNAILS, PROOFS, INDEX = "thumbnails", "proofs", "dupwatch.sqlite"
FORMAT = 1
_HEADER = "dupwatch-backup.json"
_PROOF = struct.Struct("<qI")
_PROOF_BYTES_MAX = 64 << 20  # far more than any has: what announces more is no proof
_CHUNK_BYTES = 1 << 20
_FAST = 1  # level of zlib: an index becomes hardly smaller with more


@dataclass(frozen=True)
class Header:
    """What a backup says of itself."""

    format: int
    schema: int  # of the index
    program: str
    made_at: str  # UTC, ISO 8601


class BackupWriter:
    """Writes the members one after the other."""

    def __init__(self, stream: BinaryIO, header: Header) -> None:
        self._archive = zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=_FAST)
        try:
            self._archive.writestr(_HEADER, json.dumps(vars(header)) + "\n")
        except BaseException:
            self.abandon()
            raise

    @contextmanager
    def member(self, name: str, *, packed: bool = False) -> Iterator[IO[bytes]]:
        """The next member, to be written to until the block is left; thumbnails and proofs cannot be packed more."""
        with self._archive.open(name if packed else zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
            yield stream

    def abandon(self) -> None:
        """End it without a table of contents that counts; else the archive would want to write one when it is freed."""
        with suppress(OSError, ValueError):
            self._archive.close()

    def close(self) -> None:
        """Write the table of contents; without it no member counts."""
        self._archive.close()


def write_proofs(stream: IO[bytes], proofs: Mapping[PictureId, bytes]) -> None:
    """Write the proofs of some pictures."""
    for picture_id, proof in proofs.items():
        stream.write(_PROOF.pack(picture_id, len(proof)) + proof)


class BackupReader:
    """Reads the members of a backup; raises StateError if it is damaged, none of ours, or of a newer version."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """``name`` is what messages call the file."""
        self._name = name
        with self._damage():
            self._archive = zipfile.ZipFile(stream)
            with self._archive.open(_HEADER) as member:
                self.header = _header(member.read(_CHUNK_BYTES))
        if self.header.format > FORMAT:
            raise self.newer()

    def newer(self) -> StateError:
        """The error to raise for a backup that a newer program made."""
        return StateError(f"{self._name} was made by a newer dupwatch ({self.header.program}): install that version")

    def damaged(self, what: str) -> StateError:
        """The error to raise for what cannot be true of a sound backup."""
        return StateError(f"{self._name} is damaged, or no backup of dupwatch ({what}); nothing was changed")

    @contextmanager
    def member(self, name: str) -> Iterator["Member"]:
        """A member; when the block is left without an error it was read to its end, and its checksum is right."""
        with self._damage():
            stream = self._archive.open(name)
        with stream:
            member = Member(stream, self._damage)
            yield member
            if member.read(1):
                raise self.damaged(f"{name} is too long")

    def exactly(self, member: "Member", size_bytes: int) -> bytes:
        """The next bytes of a member."""
        data = member.read(size_bytes)
        if len(data) != size_bytes:
            raise self.damaged("it is too short")
        return data

    def proofs(self, member: "Member") -> Iterator[tuple[PictureId, bytes]]:
        """All proofs: id of the picture, and bytes."""
        while head := member.read(_PROOF.size):
            if len(head) != _PROOF.size:
                raise self.damaged("it is too short")
            picture_id, size_bytes = _PROOF.unpack(head)
            if size_bytes > _PROOF_BYTES_MAX:
                raise self.damaged("a proof is too long")
            yield PictureId(picture_id), self.exactly(member, size_bytes)

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (
            zipfile.BadZipFile,
            zlib.error,
            KeyError,
            TypeError,
            ValueError,
            EOFError,
            RuntimeError,  # it is encrypted, needs what is not implemented, or its header has no end of brackets
        ) as error:
            raise self.damaged(str(error)) from error
        except OSError as error:
            raise StateError(f"cannot read {self._name}: {error.strerror or error}; nothing was changed") from error


class Member:
    """A member that is being read: an error of its own is told from one of whoever writes it elsewhere."""

    def __init__(self, stream: IO[bytes], damage: Callable[[], AbstractContextManager[None]]) -> None:
        self._stream, self._damage = stream, damage

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, fewer at the end; raises StateError."""
        with self._damage():
            return self._stream.read(size_bytes)


class _Readable(Protocol):
    def read(self, size_bytes: int, /) -> bytes: ...


def _header(text: bytes) -> Header:
    header = Header(**json.loads(text))
    numbers, texts = (header.format, header.schema), (header.program, header.made_at)
    if not all(type(one) is int for one in numbers) or not all(isinstance(one, str) for one in texts):
        raise ValueError("its header has other types")
    return header


def copied(source: _Readable, target: IO[bytes]) -> Iterator[int]:
    """Copy all that is left of one stream to another; gives the number of bytes after each part."""
    while part := source.read(_CHUNK_BYTES):
        target.write(part)
        yield len(part)
