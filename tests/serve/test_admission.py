"""Who may begin to listen, and when: decided from users and times alone."""

from dupwatchd.serve.admission import (
    FORGIVEN_SECONDS,
    LISTENERS_AT_ONCE,
    LISTENERS_PER_SECOND,
    TURNED_AWAY_SECONDS,
    TURNED_AWAY_SECONDS_MAX,
    Admission,
)


def test_a_user_may_some_times_at_once_and_again_as_time_goes_by() -> None:
    admission = Admission(LISTENERS_AT_ONCE, LISTENERS_PER_SECOND)
    assert [admission.may(1000, 5.0) for _ in range(LISTENERS_AT_ONCE + 2)].count(True) == LISTENERS_AT_ONCE
    assert admission.may(1001, 5.0)  # others are not concerned
    assert admission.may(None, 5.0)
    later = 5.0 + 3 / LISTENERS_PER_SECOND
    assert [admission.may(1000, later) for _ in range(5)] == [True] * 3 + [False] * 2
    assert [admission.may(1000, later + 500) for _ in range(99)].count(True) == LISTENERS_AT_ONCE


def test_who_says_too_much_again_is_turned_away_for_longer_but_not_for_ever() -> None:
    admission, now, waits = Admission(LISTENERS_AT_ONCE, LISTENERS_PER_SECOND), 0.0, []
    for _ in range(9):
        assert admission.may(1000, now)
        admission.has_overdone(1000, now)
        admission.has_overdone(1000, now + 0.1)  # the same flood
        began = now
        while admission.is_turned_away(1000, now):
            assert not admission.may(1000, now)
            now += 0.5
        waits.append(now - began)
    assert waits[:3] == [TURNED_AWAY_SECONDS, 2 * TURNED_AWAY_SECONDS, 4 * TURNED_AWAY_SECONDS]
    assert waits[-2:] == [TURNED_AWAY_SECONDS_MAX] * 2
    assert not admission.is_turned_away(1001, began)


def test_after_a_long_peace_all_is_forgotten() -> None:
    admission = Admission(LISTENERS_AT_ONCE, LISTENERS_PER_SECOND)
    for user in range(2000, 2100):
        for now in (0.0, 10.0, 20.0):
            admission.has_overdone(user, now)
    now = 20.0 + TURNED_AWAY_SECONDS_MAX + FORGIVEN_SECONDS
    admission.has_overdone(2000, now)
    assert not admission.is_turned_away(2000, now + TURNED_AWAY_SECONDS)
    assert admission.may(1, now)
    assert len(admission._records) < 3  # of the others nothing is kept
