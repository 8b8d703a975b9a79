"""What is stored stays the forest of all matches, however they come in and whatever is stored already."""

from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupwatchd.arrays import Matches
from dupwatchd.compare.forest import gathering
from dupwatchd.compare.forest.gathering import Gathering
from dupwatchd.compare.forest.spanning import spanning
from dupwatchd.model import Limits

LIMITS = Limits(50.0, 0.04, mirrored=True)
Rows = dict[tuple[int, int, int], tuple[int, int, int, float, float, float | None]]


def around(stored: Rows, ids: list[int]) -> Matches:
    """All that is joined with these, as the database answers it."""
    reached = set(ids)
    while True:
        more = {end for a, b, *_ in stored.values() for end in (a, b) if {a, b} & reached}
        if more <= reached:
            return Matches.from_rows([row for row in stored.values() if row[0] in reached])
        reached |= more


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 9999), pictures=st.integers(2, 25), held=st.sampled_from([0, 10, 1000]), data=st.data())
def test_stored_matches_are_the_forest_of_all(
    monkeypatch: pytest.MonkeyPatch, seed: int, pictures: int, held: int, data: st.DataObject
) -> None:
    monkeypatch.setattr(gathering, "_HELD", held)
    random = np.random.default_rng(seed)
    every = Matches.from_rows(
        [
            (a, b, mirrored, float(random.integers(0, 60)), float(random.integers(0, 6)) / 100, None)
            for a in range(pictures)
            for b in range(a + 1, pictures)
            for mirrored in (0, 1)
            if random.random() < 0.3
        ]
    )
    every = every[(every.mse <= LIMITS.keep_mse) | (every.structure <= LIMITS.keep_structure)]
    stored: Rows = {}
    order = random.permutation(len(every))
    while len(order):
        batch, order = np.split(order, [data.draw(st.integers(1, len(order)))])
        taking = Gathering(LIMITS, partial(around, stored))
        for part in np.array_split(batch, data.draw(st.integers(1, 4))):
            taking.add(every[part])
        new, needless = taking.changes()
        for row in needless.rows():
            assert stored.pop(row[:3]) == row
        stored |= {row[:3]: row for row in new.rows()}
    assert sorted(stored.values()) == sorted(every[spanning(every, LIMITS)].rows())
