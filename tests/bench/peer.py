"""Runs one other program's library over folders and prints its clusters as JSON: a list of lists of paths.

    PEERS-PYTHON tests/bench/peer.py NAME FOLDER...
    PEERS-PYTHON tests/bench/peer.py --version NAME

`scan_speed` starts it with the interpreter that has the program installed; so it imports nothing of ours. Settings:
czkawka (its binding on PyPI) 2 bits; imagededup's PHash as it comes (10 bits); difPy "similar", rotated, and not only
among pictures of equal size, so that it may find what the others find; fastdup's connected components as they come;
immaculate's PDQ, its default.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import tempfile
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


def fastdup(folders: list[str]) -> Clusters:
    (folder,) = folders  # it takes one
    with tempfile.TemporaryDirectory() as work:
        dataset = importlib.import_module("fastdup").create(work, folder)
        dataset.run(verbose=False)
        components = dataset.connected_components()[0]
    clusters: dict[int, list[str]] = {}
    for component, name in zip(components["component_id"], components["filename"], strict=True):
        clusters.setdefault(component, []).append(os.path.abspath(name))  # names are relative to where it was started
    return [cluster for cluster in clusters.values() if len(cluster) > 1]


def immaculate(folders: list[str]) -> Clusters:
    (folder,) = folders  # it takes one
    found = importlib.import_module("immaculate").find_duplicates(folder, method="pdq")
    return [[str(path) for path in cluster] for cluster in (*found.exact, *found.near)]


PEERS: dict[str, tuple[str, Callable[[list[str]], Clusters]]] = {
    "czkawka": ("czkawka", czkawka),
    "imagededup": ("imagededup", imagededup),
    "difpy": ("difPy", difpy),
    "fastdup": ("fastdup", fastdup),
    "immaculate": ("immaculate", immaculate),
}


def main() -> None:
    arguments = _arguments()
    package, clusters_of = PEERS[arguments.name]
    if arguments.version:
        importlib.import_module(package)
        print(importlib.metadata.version(package))
        return
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print, native code included, must not mix with the answer
    clusters = clusters_of(arguments.folders)
    with open(answer, "w", encoding="utf-8") as file:
        json.dump(clusters, file)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="store_true", help="print the version of the program, and end")
    parser.add_argument("name", choices=PEERS, metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="folders with photos")
    return parser.parse_args()


if __name__ == "__main__":
    main()
