"""Groups are those of difPy's definition, taken literally."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import dupwatchd.compat.difpy as difPy  # noqa: N812 - as its users write it
from dupwatchd.compat.difpy_matching import Searched, groups_of
from dupwatchd.compat.pairs import Pairs
from tests.compat.pictures import ONE, THREE, TWO, as_png, flat, smaller
from tests.conftest import photo_like


def literally(
    files: Sequence[Searched], mse: dict[tuple[int, int], float], threshold: float, *, same_dim: bool
) -> dict[str, list[tuple[str, float]]]:
    """All pairs in order; the second file joins the first one's list unless it is in a list already."""
    found: dict[str, list[tuple[str, float]]] = {}
    added: set[int] = set()
    for i, one in enumerate(files):
        for j in range(i + 1, len(files)):
            other = files[j]
            if one.folder != other.folder or (same_dim and one.sides != other.sides) or j in added:
                continue
            a, b = sorted((one.picture, other.picture))
            value = 0.0 if a == b else mse.get((a, b), np.inf)
            if value <= threshold:
                found.setdefault(f"{one.folder}{one.shown}", []).append((other.shown, value))
                added.add(j)
    return found


@pytest.mark.parametrize("seed", range(60))
def test_groups_are_those_of_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 40))
    pictures = int(random.integers(1, 15))
    files = [
        Searched(
            f"f{place:02}", b"/f%02d" % place, f"folder{random.integers(2)}", int(random.integers(pictures)),
            ((1, 2), (1, 3), (2, 2))[random.integers(3)], 1,
        )
        for place in range(count)
    ]  # fmt: skip
    a, b = np.triu_indices(pictures, 1)
    shown = [file.picture for file in files]
    chosen = (random.random(len(a)) < random.random()) & np.isin(a, shown) & np.isin(b, shown)
    pairs = Pairs(a[chosen], b[chosen], random.integers(0, 9, chosen.sum()).astype(float))
    mse = {(int(i), int(j)): float(value) for i, j, value in zip(*pairs, strict=True)}
    order = random.permutation(len(pairs.mse))
    parts = [Pairs(pairs.a[rows], pairs.b[rows], pairs.mse[rows]) for rows in np.array_split(order, 3)]
    for same_dim in (False, True):
        groups = groups_of(files, parts, same_dim=same_dim)
        found = {
            group.first.folder + group.first.shown: [(file.shown, value) for file, value in group.matches]
            for group in groups
        }
        assert found == literally(files, mse, 9, same_dim=same_dim)
        assert list(found) == [key for file in files if (key := file.folder + file.shown) in found]


def least(first: NDArray[np.uint8], second: NDArray[np.uint8], turns: Sequence[int]) -> float:
    """The mse in plain whole numbers."""
    x, y = first.astype(np.int64), second.astype(np.int64)
    return float(min(np.square(x - np.rot90(y, turn)).mean() for turn in turns))


def test_results_equal_brute_force_at_every_threshold(tmp_path: Path) -> None:
    photos = {
        "a.png": ONE, "a small.png": smaller(ONE), "a turned.png": np.rot90(ONE, 3), "b.png": TWO, "c.png": THREE,
        "b turned.png": np.rot90(TWO, 1), "black.png": flat(0), "nearly black.png": flat(2), "white.png": flat(255),
        "d.png": np.clip(ONE.astype(int) + 3, 0, 255).astype(np.uint8), "e.png": photo_like(9, 180, 240),
    }  # fmt: skip
    for name, picture in photos.items():
        (tmp_path / name).write_bytes(as_png(picture))
    (tmp_path / "copy.png").write_bytes((tmp_path / "c.png").read_bytes())
    dif = difPy.build(str(tmp_path), show_progress=False)
    names, tensors = dif._filename_dictionary, dif._tensor_dictionary
    sides = {name: tuple(sorted(photos.get(os.path.basename(name), THREE).shape)) for name in names.values()}
    for similarity in ("duplicates", "similar", 9.5, 4000, 70000):
        threshold = {"duplicates": 0, "similar": 5}.get(str(similarity), similarity)
        for rotate in (True, False):
            for same_dim in (True, False):
                expected: dict[str, list[list[object]]] = {}
                added = set()
                for i in names:
                    for j in range(i + 1, len(names)):
                        value = least(tensors[i], tensors[j], range(4) if rotate else (0,))
                        fits = not same_dim or sides[names[i]] == sides[names[j]]
                        if fits and value <= float(threshold) and j not in added:
                            expected.setdefault(names[i], []).append([names[j], value])
                            added.add(j)
                found = difPy.search(dif, similarity, rotate=rotate, same_dim=same_dim, show_progress=False)
                assert found.result == expected, (similarity, rotate, same_dim)
                assert found.stats["process"]["search"]["files_searched"] == len(names) == 12
