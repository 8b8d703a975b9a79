"""How many files are taken in together."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dupwatchd.update import intake
from dupwatchd.update.intake import CommittedBatch
from dupwatchd.update.pipeline import bring_up_to_date
from tests.update.small_index import LIMITS, RULES, FilePool, Silent, intake_on_demand, new_database, write


@pytest.mark.parametrize(("storing_takes", "expected"), [(0, [2, 2, 2, 2, 2, 2]), (5, [2, 5, 5])])
def test_as_long_as_it_took_to_store_the_last_batch_the_next_one_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storing_takes: int, expected: list[int]
) -> None:
    """By a clock on which each file takes a second; a kill loses what two seconds brought, or as much as that."""
    now = 0.0
    sizes: list[int] = []

    class Advancing(Silent):
        def advance(self, steps: int) -> None:
            nonlocal now
            now += steps

    def announce(batch: CommittedBatch) -> None:
        nonlocal now
        now += storing_takes
        sizes.append(len(batch.outcomes))

    monkeypatch.setattr(intake, "time", SimpleNamespace(monotonic=lambda: now))
    photos = tmp_path / "photos"
    for number in range(12):
        write(photos / f"{number:02}.jpg", b"picture %d" % number)
    database = new_database(tmp_path / "state")
    taking = intake_on_demand(database, tmp_path / "state", FilePool(), Advancing(), announce)
    bring_up_to_date(database, [os.fsencode(photos)], RULES, LIMITS, taking, Silent())
    database.close()
    assert sizes == expected
