"""The proofs of pictures, and their keypoints, in a database of their own beside the index: id of the picture → bytes.

A proof counts only if the index names its digest, so a kill between the two databases does no harm: proofs are durable
before the transaction that names them, and what no picture names is overwritten or removed later. They lie in a file of
their own because they take twenty times the room of the rest, and nothing is lost with them: a proof that is missing or
damaged is made again from the photo.

Keypoints are made from a proof, and lie apart from it, so that all of them can be read in one pass. They count only if
they were made from the proof that the index names.

One connection, used by the thread that writes to the index.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dupwatchd.db.connection import Database, open_beside
from dupwatchd.model import PictureId

FILE_NAME = "proofs.sqlite"
DIGEST_BYTES = 16
_APPLICATION_ID = 0x64757070  # "dupp"
_CHUNK = 200  # proofs, some 4 MB


def proof_digest(proof: bytes) -> bytes:
    """16 bytes that identify the stored bytes of a proof, and find a flipped bit in them."""
    return hashlib.blake2b(proof, digest_size=DIGEST_BYTES).digest()


class Proofs:
    """The proofs of one state directory; opened when first used."""

    def __init__(self, state: str) -> None:
        self._path = os.path.join(state, FILE_NAME)
        self._opened: Database | None = None

    def write(self, proofs: Mapping[PictureId, bytes]) -> None:
        """Store the proofs of these pictures in place of any that they had; durable when this returns."""
        if not proofs:
            return
        with self._database.transaction():
            self._database.many(
                "INSERT INTO proof VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data",
                list(proofs.items()),
            )

    def read(self, expected: Mapping[PictureId, bytes]) -> Iterator[tuple[PictureId, bytes]]:
        """The proofs of these pictures, id and bytes, a few at a time in memory; in no order.

        ``expected`` maps the ids to the digests in the index. What is missing or damaged is left out.
        """
        for ids in _chunks(list(expected)):
            rows = self._database.rows(f"SELECT id, data FROM proof WHERE id IN ({','.join('?' * len(ids))})", ids)
            yield from ((one, data) for one, data in rows if proof_digest(data) == expected[one])

    def write_keypoints(self, keypoints: Mapping[PictureId, tuple[bytes, bytes]]) -> None:
        """Store the digests of the proofs of these pictures and the keypoints made from these, in place of any others.

        Durable when this returns.
        """
        if not keypoints:
            return
        with self._database.transaction():
            self._database.many(
                "INSERT INTO keypoints VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, data = excluded.data",
                [(one, _digest_of_both(proof, data), data) for one, (proof, data) in keypoints.items()],
            )

    def read_keypoints(self, expected: Mapping[PictureId, bytes]) -> Iterator[tuple[PictureId, bytes]]:
        """The keypoints of these pictures, id and bytes, in order; all of them are read at once.

        ``expected`` maps the ids to the digests of their proofs in the index, in order. What is missing or damaged, or
        was made from another proof, is left out.
        """
        if not expected:
            return
        rows = self._database.rows(
            "SELECT id, digest, data FROM keypoints WHERE id BETWEEN ? AND ? ORDER BY id",
            (min(expected), max(expected)),
        )
        for one, digest, data in rows:
            proof = expected.get(one)
            if proof is not None and _digest_of_both(proof, data) == digest:
                yield one, data

    def read_some_keypoints(self, expected: Mapping[PictureId, bytes]) -> Iterator[tuple[PictureId, bytes]]:
        """Likewise, of few pictures that may lie far apart; in no order."""
        for ids in _chunks(list(expected)):
            marks = ",".join("?" * len(ids))
            rows = self._database.rows(f"SELECT id, digest, data FROM keypoints WHERE id IN ({marks})", ids)
            yield from ((one, data) for one, digest, data in rows if _digest_of_both(expected[one], data) == digest)

    def remove(self, picture_ids: Iterable[PictureId]) -> None:
        """Remove the proofs of pictures that are gone from the index."""
        gone = [(one,) for one in picture_ids]
        if gone and (self._opened is not None or os.path.exists(self._path)):
            with self._database.transaction():
                self._database.many("DELETE FROM proof WHERE id = ?", gone)
                self._database.many("DELETE FROM keypoints WHERE id = ?", gone)

    def ids(self) -> list[PictureId]:
        """The ids of all pictures of which anything is stored, whether the index names it or not."""
        if self._opened is None and not os.path.exists(self._path):
            return []
        found = self._database.rows("SELECT id FROM proof UNION SELECT id FROM keypoints")
        return [PictureId(row[0]) for row in found]

    def faults(self) -> list[str]:
        """What is wrong with the file itself, one line each; raises DamagedStateError if it is beyond reading."""
        if self._opened is None and not os.path.exists(self._path):
            return []
        return [str(row[0]) for row in self._database.rows("PRAGMA quick_check(20)") if row[0] != "ok"]

    def start_anew(self) -> None:
        """Remove all proofs, with the file; they are made again from the photos."""
        self.close()
        for ending in ("-wal", "-shm", ""):
            if os.path.exists(self._path + ending):
                os.unlink(self._path + ending)

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _database(self) -> Database:
        if self._opened is None:
            self._opened = open_beside(self._path, _APPLICATION_ID, _TABLES, _CURE)
        return self._opened


_CURE = "run `dupwatchd check --repair`, and what it held is made again from the photos"
_TABLES = (
    "CREATE TABLE IF NOT EXISTS proof (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT",
    # the digest is that of the keypoints with that of the proof they were made from
    "CREATE TABLE IF NOT EXISTS keypoints (id INTEGER PRIMARY KEY, digest BLOB NOT NULL, data BLOB NOT NULL) STRICT",
)


def _digest_of_both(proof_digest: bytes, keypoints: bytes) -> bytes:
    return hashlib.blake2b(keypoints, digest_size=DIGEST_BYTES, key=proof_digest).digest()


def _chunks(ids: Sequence[PictureId]) -> Iterator[Sequence[PictureId]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]
