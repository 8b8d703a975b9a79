"""Runs one other program's library over folders, for `scan_speed`; started with the interpreter that has it installed.

    PEERS-PYTHON tests/bench/peer.py czkawka|imagededup|difpy FOLDER...
    PEERS-PYTHON tests/bench/peer.py --version czkawka|imagededup|difpy

Prints the clusters as JSON: a list of lists of paths. Settings: czkawka 2 bits; imagededup's PHash as it comes (10
bits); difPy "similar", rotated, and not only among pictures of equal size, so that it may find what the others find.
"""

import contextlib
import importlib
import importlib.metadata
import json
import sys
from collections.abc import Callable

Clusters = list[list[str]]


def czkawka(folders: list[str]) -> Clusters:
    finder = importlib.import_module("czkawka").ImageSimilarity()
    finder.set_directories(folders)
    finder.set_similarity(2)
    return [[str(path) for path in cluster] for cluster in finder.find_similar()]


def imagededup(folders: list[str]) -> Clusters:
    (folder,) = folders  # it takes one
    encoder = importlib.import_module("imagededup.methods").PHash()
    found = encoder.find_duplicates(image_dir=folder, recursive=True)
    prefix = folder.rstrip("/") + "/"
    return [[prefix + name, *(prefix + other for other in others)] for name, others in found.items() if others]


def difpy(folders: list[str]) -> Clusters:
    library = importlib.import_module("difPy")
    built = library.build(*folders, show_progress=False)
    found = library.search(built, similarity="similar", same_dim=False, show_progress=False)
    return [[str(path), *(str(match[0]) for match in matches)] for path, matches in found.result.items()]


PEERS: dict[str, tuple[str, Callable[[list[str]], Clusters]]] = {
    "czkawka": ("czkawka", czkawka),
    "imagededup": ("imagededup", imagededup),
    "difpy": ("difPy", difpy),
}


def main(arguments: list[str]) -> None:
    if arguments[0] == "--version":
        package, _ = PEERS[arguments[1]]
        importlib.import_module(package)
        print(importlib.metadata.version(package))
        return
    with contextlib.redirect_stdout(sys.stderr):
        clusters = PEERS[arguments[0]][1](arguments[1:])
    json.dump(clusters, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
