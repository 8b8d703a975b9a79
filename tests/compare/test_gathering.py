"""What is stored stays the forest of all matches and the nearest of each picture, however they come in and go."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dupwatchd.arrays import Matches, MatchRow
from dupwatchd.compare.forest import gathering
from dupwatchd.compare.forest.gathering import Gathering, StoredRow
from dupwatchd.compare.forest.nearest import nearest
from dupwatchd.compare.forest.spanning import spanning, to_rejoin
from dupwatchd.model import Limits

LOOKS = 2
LIMITS = Limits(50.0, 0.04, mirrored=True, looks_per_picture=LOOKS)


class Stored:
    """The stored matches, answered as the database answers them."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int, int], StoredRow] = {}

    def around(self, picture_ids: list[int]) -> list[StoredRow]:
        joining = [row for row in self.rows.values() if row[7]]
        reached = set(picture_ids)
        while more := {end for a, b, *_ in joining for end in (a, b) if {a, b} & reached} - reached:
            reached |= more
        return [row for row in joining if row[0] in reached]

    def beside(self, picture_ids: list[int]) -> list[StoredRow]:
        return [row for one in picture_ids for row in self.rows.values() if one in row[:2]]

    def crowded_beside(self, gone: set[int], looks: int) -> set[int]:
        near = [row for row in self.rows.values() if row[6]]
        beside = {end for row in near if set(row[:2]) & gone for end in row[:2]} - gone
        return {one for one in beside if sum(one in row[:2] for row in near) >= looks}

    def take(self, taking: Gathering) -> None:
        changes = taking.changes()
        for key in changes.needless:
            del self.rows[key]
        for row in changes.new:
            assert self.rows.get(row[:3]) != row
            self.rows[row[:3]] = row


class Library:
    """Pictures with digests of their own, and all matches among them; few different values, so that many are equal."""

    def __init__(self, seed: int, pictures: int) -> None:
        self.random = np.random.default_rng(seed)
        self.digests = self.random.permutation(pictures).astype(np.uint64)
        steps = self.random.choice([1, 3, 1000])
        self.every: list[MatchRow] = [
            (a, b, mirrored, float(self.random.integers(0, 60)), self.random.integers(0, 1 + steps) / steps / 20, None)
            for a in range(pictures)
            for b in range(a + 1, pictures)
            for mirrored in (0, 1)
            if self.random.random() < 0.4
        ]
        self.every = [row for row in self.every if row[3] <= LIMITS.keep_mse or row[4] <= LIMITS.keep_structure]
        self.stored = Stored()
        self.reach = np.empty(0)
        self.there: set[int] = set()

    def prefixes(self, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
        return self.digests[ids]

    def search(self, ids: set[int], parts: int) -> None:
        """Store all matches of these pictures with those that are there."""
        found = [row for row in self.every if set(row[:2]) & ids and set(row[:2]) <= self.there]
        self.random.shuffle(found)
        taking = Gathering(LIMITS, self.stored, self.prefixes, self.reach)
        for part in np.array_split(np.arange(len(found)), parts):
            taking.add(Matches.from_rows([found[place] for place in part]))
        self.stored.take(taking)
        self.reach = taking.reach

    def add(self, ids: set[int], parts: int) -> None:
        self.there |= ids
        self.search(ids, parts)

    def remove(self, gone: set[int]) -> None:
        held = Matches.from_rows([row[:6] for row in self.stored.around(sorted(gone))])
        again = set(to_rejoin(held, np.array(sorted(gone)), LIMITS).tolist())
        again |= self.stored.crowded_beside(gone, LOOKS)
        self.stored.rows = {key: row for key, row in self.stored.rows.items() if not set(key[:2]) & gone}
        self.there -= gone
        changed = [one for one in gone | again if one < len(self.reach)]
        self.reach[changed] = np.inf
        self.search(again, 2)

    def expected(self) -> list[StoredRow]:
        rows = [row for row in self.every if set(row[:2]) <= self.there]
        joins = spanning(Matches.from_rows(rows), LIMITS).tolist()
        near = {row[:3] for one in self.there for row in self.nearest_of(one, rows)}
        return [
            (*row, int(row[:3] in near), int(joining))
            for row, joining in zip(rows, joins, strict=True)
            if row[:3] in near or joining
        ]

    def nearest_of(self, one: int, rows: Iterable[MatchRow]) -> list[MatchRow]:
        own = [row for row in rows if one in row[:2]]
        return sorted(own, key=lambda row: (row[4], row[3], row[2], self.digests[row[0] + row[1] - one]))[:LOOKS]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 9999), pictures=st.integers(2, 20), held=st.sampled_from([0, 10, 1000]), data=st.data())
def test_stored_are_the_forest_of_all_matches_and_the_nearest_of_each_picture(
    monkeypatch: pytest.MonkeyPatch, seed: int, pictures: int, held: int, data: st.DataObject
) -> None:
    monkeypatch.setattr(gathering, "_HELD", held)
    library = Library(seed, pictures)
    for _ in range(data.draw(st.integers(1, 6))):
        away = sorted({*range(pictures)} - library.there)
        if len(library.there) > 0 and data.draw(st.booleans()):
            library.remove(data.draw(st.sets(st.sampled_from(sorted(library.there)), min_size=1, max_size=4)))
        elif away:
            library.add(data.draw(st.sets(st.sampled_from(away), min_size=1)), data.draw(st.integers(1, 4)))
        assert sorted(library.stored.rows.values()) == library.expected()


def test_one_more_picture_in_a_crowd_loads_the_near_matches_of_its_neighbourhood_only() -> None:
    """A crowd on a line, in which all match all."""
    count = 400
    a, b = np.triu_indices(count, 1)
    apart = np.abs(a - b) * 1e-5
    every = Matches(a, b, np.zeros(len(a), bool), apart, apart, np.full(len(a), np.nan))
    loaded: list[int] = []

    class Noting(Stored):
        def beside(self, picture_ids: list[int]) -> list[StoredRow]:
            loaded.extend(picture_ids)
            return super().beside(picture_ids)

    stored, reach = Noting(), np.empty(0)
    for is_last in (False, True):
        loaded.clear()
        taking = Gathering(LIMITS, stored, lambda ids: ids.astype(np.uint64), reach)
        taking.add(every[(b == count - 1) == is_last])
        stored.take(taking)
        reach = taking.reach
    assert len(loaded) < 10
    assert {row[:2] for row in stored.rows.values() if row[7]} == set(pairwise(range(count)))
    assert len(stored.rows) == count + 1  # the two nearest: on both sides; at each end the next but one


def test_matches_of_equal_value_are_ordered_by_digest() -> None:
    count = 60
    a, b = np.triu_indices(count, 1)
    same = np.zeros(len(a))
    matches = Matches(a, b, np.zeros(len(a), bool), same, same, np.full(len(a), np.nan))
    of_a, of_b = nearest(matches, 3, lambda ids: (1000 - ids).astype(np.uint64), np.full(count, np.inf))
    near = {(int(x), int(y)) for x, y in zip(a[of_a], b[of_a], strict=True)}
    near |= {(int(y), int(x)) for x, y in zip(a[of_b], b[of_b], strict=True)}
    expected = {(one, other) for one in range(count) for other in [x for x in range(59, -1, -1) if x != one][:3]}
    assert near == expected
