"""The sidecars and movies beside the files of groups, which the service does not index.

In: paths. Out: the names of their companions, as the page tells them. Each folder is listed once.
"""

import os

from dupwatch.families import FolderNames


class Companions:
    """Answers for the files of one reading of the index."""

    def __init__(self) -> None:
        self._names: dict[bytes, FolderNames] = {}

    def of(self, path: bytes) -> list[bytes]:
        """Return the names of what belongs to a picture, in order; none if its folder cannot be listed."""
        folder, name = os.path.split(path)
        if folder not in self._names:
            try:
                self._names[folder] = FolderNames(os.listdir(folder))
            except OSError:
                self._names[folder] = FolderNames([])
        return [one.name for one in self._names[folder].companions(name)]
