"""Who is to stand back: decided from users, times and processor time alone."""

from dupwatchd.serve.rescans import RESCANS_AT_ONCE, SECONDS_PER_RESCAN, Rescans
from dupwatchd.serve.usage import FORGOTTEN_SECONDS, MUCH_SECONDS, Usage


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_only_who_has_used_much_while_others_are_about_stands_back_and_not_for_long() -> None:
    clock = Clock()
    usage = Usage(clock)
    usage.asks(1)
    usage.used(1, 2 * MUCH_SECONDS)
    assert not usage.must_stand_back(1)  # nobody else is about
    usage.asks(2)
    assert [usage.must_stand_back(user) for user in (1, 2, 3)] == [True, False, False]
    clock.now += FORGOTTEN_SECONDS / 2
    assert usage.must_stand_back(1)
    clock.now += FORGOTTEN_SECONDS / 2
    usage.used(1, 2 * MUCH_SECONDS)
    assert not usage.must_stand_back(1)  # the other one has asked for nothing since
    usage.asks(2)
    assert usage.must_stand_back(1)
    clock.now += 2 * FORGOTTEN_SECONDS
    usage.asks(2)
    assert not usage.must_stand_back(1)  # what was used long ago counts no more


def test_of_several_who_have_used_much_only_the_one_who_used_most_stands_back() -> None:
    usage = Usage(Clock())
    for user, seconds in ((1, 3.0), (2, 2.0), (3, 0.0)):
        usage.asks(user)
        usage.used(user, seconds)
    assert [usage.must_stand_back(user) for user in (1, 2, 3)] == [True, False, False]
    usage.used(2, 2.0)
    assert [usage.must_stand_back(user) for user in (1, 2, 3)] == [False, True, False]


def test_of_users_who_have_gone_nothing_is_kept() -> None:
    clock = Clock()
    usage = Usage(clock)
    for user in range(1000):
        usage.asks(user)
        usage.used(user, 1.0)
    clock.now += 20 * FORGOTTEN_SECONDS
    usage.asks(5000)
    assert len(usage._records) == 1


def test_folders_are_looked_through_some_times_at_once_and_again_as_time_goes_by() -> None:
    rescans = Rescans()
    assert [rescans.may_ask(1, 5.0, 0.0) for _ in range(99)].count(True) == RESCANS_AT_ONCE
    assert rescans.may_ask(2, 5.0, 0.0)  # others are not concerned
    later = 5.0 + 3 * SECONDS_PER_RESCAN
    assert [rescans.may_ask(1, later, 0.0) for _ in range(99)].count(True) == 3
    assert [rescans.may_ask(1, later + 1000, 0.0) for _ in range(99)].count(True) == RESCANS_AT_ONCE


def test_folders_that_take_long_are_looked_through_less_often() -> None:
    rescans = Rescans()
    while rescans.may_ask(1, 5.0, 60.0):
        pass
    assert [rescans.may_ask(1, 5.0 + seconds, 60.0) for seconds in range(0, 960, 60)].count(True) in (3, 4)
