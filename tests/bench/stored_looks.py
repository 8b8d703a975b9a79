"""What the index of a finished scan says of any two of its files.

In: the state directory of a scan. Out: the verdict of a pair of files, as stored with the match of their pictures.
Groups say less: they are joined through other files as well.
"""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from dupwatchd.model import Verdict

NOT_MATCHED = "-"  # the two pictures are not near enough to be looked at
NOT_LOOKED_AT = "?"


@dataclass(frozen=True, slots=True)
class _Look:
    verdict: str
    structure: float
    mirrored: bool


class StoredLooks:
    """Verdicts of pairs of files."""

    def __init__(self, state: str) -> None:
        """Reads all of the index in ``state``. Raises sqlite3.Error."""
        uri = (Path(state) / "dupwatch.sqlite").absolute().as_uri()
        database = sqlite3.connect(f"{uri}?mode=ro", uri=True)
        try:
            self._read(database)
        finally:
            database.close()

    def _read(self, database: sqlite3.Connection) -> None:
        rows = database.execute(
            "SELECT folder.path, name, content_id, picture_id, camera FROM file JOIN folder ON folder.id = folder_id "
            "JOIN content ON content.id = content_id WHERE picture_id IS NOT NULL"
        )
        self._of_file: dict[str, tuple[int, int]] = {}
        self._with_camera: set[str] = set()
        for folder, name, content, picture, camera in rows:
            path = os.fsdecode(os.path.join(folder, name))
            self._of_file[path] = content, picture
            if camera:
                self._with_camera.add(path)
        self._of_pair: dict[tuple[int, int], list[_Look]] = {}
        # versions of a picture that share a part with it, too, count whatever the distance
        for a, b, mirrored, structure, code in database.execute(
            "SELECT a, b, mirrored, CASE WHEN verdict IN (3, 4, 5) AND mirrored = 0 AND EXISTS ("
            "SELECT 1 FROM part_match WHERE part_match.a = match.a AND part_match.b = match.b) "
            "THEN 0 ELSE structure END, verdict FROM match WHERE near = 1"
        ):
            verdict = NOT_LOOKED_AT if code is None else list(Verdict)[code - 1].value
            self._of_pair.setdefault((a, b), []).append(_Look(verdict, structure, bool(mirrored)))
        # what shares a part counts whatever the distance
        for a, b, code in database.execute(
            "SELECT a, b, verdict FROM part_match WHERE verdict IS NOT NULL AND within = 0"
        ):
            self._of_pair.setdefault((a, b), []).append(_Look(list(Verdict)[code - 1].value, 0.0, mirrored=False))

    def says_its_camera(self, path: str) -> bool:
        """Whether the metadata of a file name the camera that took it."""
        return path in self._with_camera

    def equal_bytes(self, one: str, other: str) -> bool:
        """Whether two files are equal byte by byte."""
        first, second = self._of_file.get(one), self._of_file.get(other)
        return first is not None and second is not None and first[0] == second[0]

    def verdict(self, one: str, other: str, threshold: float, *, mirrored: bool) -> str:
        """The word for two files, within a threshold of structure; `NOT_MATCHED` or `NOT_LOOKED_AT` if there is none.

        Of a picture that matches both the other one and its mirror image, the stronger verdict counts.
        """
        first, second = self._of_file.get(one), self._of_file.get(other)
        if first is None or second is None:
            return NOT_MATCHED
        if first[0] == second[0]:
            return Verdict.IDENTICAL.value
        if first[1] == second[1]:
            return Verdict.SAME.value
        looks = self._of_pair.get((min(first[1], second[1]), max(first[1], second[1])), [])
        told = [look.verdict for look in looks if look.structure <= threshold and look.mirrored <= mirrored]
        return min(told, key=_strength, default=NOT_MATCHED)


def _strength(verdict: str) -> int:
    return Verdict(verdict).code if verdict != NOT_LOOKED_AT else len(Verdict) + 1
