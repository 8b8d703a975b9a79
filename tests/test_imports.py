"""What imports make is not looked through for rubbish, and all else is as before."""

import gc

import pytest

from dupwatchd import imports


@pytest.mark.parametrize("collects", [True, False])
def test_nothing_is_looked_through_while_importing_nor_what_it_made_later(collects: bool) -> None:
    was_on = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        with imports.what_stays():
            made: list[list[object]] = [[]]
            assert not gc.isenabled()
        assert gc.isenabled() is collects
        assert gc.get_freeze_count() > 0
        assert not any(each is made for each in gc.get_objects())
    finally:
        gc.unfreeze()
        (gc.enable if was_on else gc.disable)()
