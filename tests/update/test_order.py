"""What the index holds of files and matches follows from the pictures, not from the order in which they came."""

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dupwatchd.compare import search
from dupwatchd.update import intake, looking
from tests.cluster.rows import rows
from tests.conftest import encoded, photo_like
from tests.update.test_looking import Index

# More of each than are looked at: what is near at first is not when all are there, and one match that is never near
# then holds both together.
NAMES = [f"{version} {number}.jpg" for version in ("plain", "changed") for number in range(5)]

Held = dict[str, set[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    """Of each of two versions of a picture some that are nearer to each other than to those of the other one."""
    random = np.random.default_rng(1)
    plain = photo_like(1, 96, 72).astype(np.float32)
    changed = plain.copy()
    changed[20:44, 30:62] += 0.2 * (255 - 2 * changed[20:44, 30:62])
    noisy = [(plain if "plain" in name else changed) + random.normal(0, 3, plain.shape) for name in NAMES]
    return dict(zip(NAMES, (encoded(one.clip(0, 255).astype(np.uint8), "PNG") for one in noisy), strict=True))


def held_after(photos: dict[str, bytes], batches: Iterable[Iterable[str]]) -> Held:
    """What an index holds after these files came, those of each batch at once; one that is there goes."""
    with tempfile.TemporaryDirectory() as place:
        root, state = Path(place, "photos"), Path(place, "state")
        root.mkdir()
        index = Index(root, state)
        with closing(index.database):
            for batch in batches:
                for path in map(root.joinpath, batch):
                    if path.exists():
                        path.unlink()
                    else:
                        path.write_bytes(photos[path.name])
                index.update()
                while index.intake().looking.confirm_for(60):
                    pass
        found = rows(state)
    return {"files": {row[1:3] for row in found["files"]}, "matches": found["matches"]}


@pytest.fixture(scope="module")
def expected(photos: dict[str, bytes]) -> Held:
    held = held_after(photos, [NAMES])
    looked_at = [row for row in held["matches"] if row[6]]
    assert 10 < len(looked_at) < len(held["matches"])
    assert all((row[7] is None) == (row not in looked_at) for row in held["matches"])
    return held


@settings(max_examples=6, phases=[Phase.generate])  # a failure is not made smaller: that takes minutes
@given(
    order=st.permutations(NAMES),
    ends=st.lists(st.integers(1, 9), min_size=1, max_size=2, unique=True).map(sorted),
    gone=st.sets(st.sampled_from(NAMES), max_size=4),
)
def test_in_any_order_matches_get_the_same_rows(
    photos: dict[str, bytes], expected: Held, order: Sequence[str], ends: list[int], gone: set[str]
) -> None:
    batches = [order[start:end] for start, end in zip([0, *ends], [*ends, len(order)], strict=True)]
    assert held_after(photos, [*batches, gone, gone] if gone else batches) == expected


@pytest.mark.parametrize("passing_at_once", [0, 256])
def test_pairs_that_others_may_replace_wait_until_everything_has_come_in(
    photos: dict[str, bytes], expected: Held, monkeypatch: pytest.MonkeyPatch, passing_at_once: int
) -> None:
    """Then no look is in vain; but a few are not worth the wait. The end is the same."""
    looked_at = []

    def look_again(*proofs: Any, **how: Any) -> Any:
        looked_at.append(proofs)
        return look(*proofs, **how)

    look = search.look_again
    monkeypatch.setattr(search, "look_again", look_again)
    monkeypatch.setattr(intake, "_BATCH_PICTURES", 4)
    monkeypatch.setattr(looking, "_PASSING_AT_ONCE", passing_at_once)
    assert held_after(photos, [NAMES]) == expected
    near = sum(row[7] is not None for row in expected["matches"])
    assert (len(looked_at) == near) == (passing_at_once == 0)
