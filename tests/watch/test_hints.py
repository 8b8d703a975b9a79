"""Hints with a clock in our hands: nothing here sleeps."""

import random
import threading
import time

from dupwatchd.watch.hints import Due, Hints

SETTLE, LONGEST, MOST = 2.0, 60.0, 10


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    def __init__(self, most_files_per_folder: int = MOST) -> None:
        self.clock = Clock()
        self.hints = Hints(SETTLE, LONGEST, most_files_per_folder, self.clock)

    def after(self, seconds: float) -> Due:
        self.clock.now += seconds
        return self.hints.due()

    def write_for(self, seconds: float, path: bytes) -> list[bytes]:
        """A writer that says something every second; what was handed out meanwhile."""
        out = []
        for _ in range(int(seconds)):
            self.hints.touched(path, closed=False)
            out += self.after(1).files
        return out


def test_a_file_is_due_once_when_it_has_been_quiet() -> None:
    rig = Rig()
    assert rig.hints.seconds_until_due() is None
    rig.hints.touched(b"/r/a.jpg", closed=True)
    assert rig.hints.pending() == 1
    assert not rig.after(1.9)
    assert 0 < (rig.hints.seconds_until_due() or 0) <= 0.11
    assert rig.after(0.2) == Due(files=[b"/r/a.jpg"])
    assert rig.hints.pending() == 0
    assert not rig.after(100)


def test_both_halves_of_a_move_are_due_together() -> None:
    rig = Rig()
    rig.hints.touched(b"/r/a.jpg", closed=True)
    rig.clock.now += 0.04
    rig.hints.touched(b"/r/b.jpg", closed=True)
    rig.clock.now += 0.04
    rig.hints.touched(b"/r/later.jpg", closed=True)
    assert not rig.after(SETTLE - 0.09)
    assert rig.after(0.02).files == [b"/r/a.jpg", b"/r/b.jpg"]
    assert rig.after(0.08).files == [b"/r/later.jpg"]


def test_nothing_is_due_before_half_of_a_short_settling_time() -> None:
    clock = Clock()
    hints = Hints(0.02, LONGEST, MOST, clock)
    for seconds, path in ((0.008, b"/r/a.jpg"), (0.010, b"/r/b.jpg"), (0.006, b"/r/c.jpg")):
        hints.touched(path, closed=True)
        clock.now += seconds
    assert hints.due().files == [b"/r/a.jpg", b"/r/b.jpg"]
    assert not hints.due()


def test_a_file_being_written_is_not_due_before_it_rests() -> None:
    rig = Rig()
    assert rig.write_for(30, b"/r/a.jpg") == []
    rig.hints.touched(b"/r/a.jpg", closed=True)
    assert not rig.after(1.9)
    assert rig.after(0.2).files == [b"/r/a.jpg"]


def test_a_file_never_left_alone_is_due_after_the_longest_wait_each_time() -> None:
    rig = Rig()
    assert rig.write_for(LONGEST * 3 + 5, b"/r/a.jpg") == [b"/r/a.jpg"] * 3


def test_an_upload_that_stalls_is_given_more_time_than_a_closed_file() -> None:
    rig = Rig()
    rig.hints.touched(b"/r/a.jpg", closed=False)
    assert not rig.after(SETTLE * 4)
    rig.hints.touched(b"/r/a.jpg", closed=True)
    assert rig.after(SETTLE).files == [b"/r/a.jpg"]
    rig.hints.touched(b"/r/a.jpg", closed=False)  # never closed: cut off, or a mere truncate
    assert rig.after(SETTLE * 5).files == [b"/r/a.jpg"]


def test_many_files_of_a_folder_become_that_folder_when_all_is_quiet() -> None:
    rig = Rig()
    for number in range(MOST + 1):
        rig.hints.touched(b"/r/d/%d.jpg" % number, closed=True)
    rig.hints.touched(b"/r/other.jpg", closed=True)
    assert rig.hints.pending() == 2
    rig.clock.now += 1
    rig.hints.touched(b"/r/d/again.jpg", closed=True)
    assert rig.after(1) == Due(files=[b"/r/other.jpg"])
    assert rig.after(1) == Due(folders=[b"/r/d"])


def test_a_folder_never_quiet_is_due_after_the_longest_wait_of_its_first_file() -> None:
    rig = Rig()
    first, out = rig.clock.now, []
    while rig.clock.now < first + LONGEST + 1:
        rig.hints.touched(b"/r/d/%d.jpg" % int(rig.clock.now * 10), closed=True)
        out += rig.after(0.1).folders
    assert out == [b"/r/d"]


def test_a_tree_covers_what_lies_below_it_seen_before_or_after() -> None:
    rig = Rig()
    rig.hints.touched(b"/r/d/before.jpg", closed=True)
    rig.hints.folder(b"/r/d/e")
    rig.hints.tree(b"/r/d/e/f")
    rig.hints.tree(b"/r/d")
    rig.hints.touched(b"/r/d", closed=True)
    rig.hints.touched(b"/r/d/e/after.jpg", closed=True)
    rig.hints.touched(b"/r/dd.jpg", closed=True)
    assert rig.after(SETTLE) == Due(files=[b"/r/dd.jpg"], trees=[b"/r/d"])
    assert rig.hints.pending() == 0


def test_a_root_covers_all_and_waits_while_anything_below_it_is_busy() -> None:
    rig = Rig()
    rig.hints.touched(b"/r/a.jpg", closed=True)
    rig.hints.tree(b"/r/d")
    rig.hints.folder(b"/r")
    rig.hints.everything(b"/r")
    assert rig.hints.pending() == 1
    rig.clock.now += 1.5
    rig.hints.touched(b"/r/x/y/z.jpg", closed=False)
    assert not rig.after(1.5)
    assert rig.after(0.5) == Due(roots=[b"/r"])


def test_the_file_systems_own_root_may_be_watched() -> None:
    rig = Rig()
    rig.hints.touched(b"/a.jpg", closed=True)
    rig.hints.tree(b"/d")
    rig.hints.everything(b"/")
    rig.hints.touched(b"/d/b.jpg", closed=True)
    assert rig.after(SETTLE) == Due(roots=[b"/"])


def test_what_could_not_be_dealt_with_comes_again() -> None:
    rig = Rig()
    due = Due([b"/r/a.jpg"], [b"/r/b"], [b"/r/c"], [b"/s"])
    rig.hints.put_back(due)
    assert rig.hints.pending() == 4
    assert not rig.after(SETTLE / 2)
    assert rig.after(SETTLE / 2) == due


def test_waiting_ends_when_something_is_due_sooner_than_was_said() -> None:
    rig = Rig()
    assert rig.hints.seconds_until_due() is None
    rig.hints.touched(b"/r/a.jpg", closed=False)  # between the question and the wait
    rig.hints.wait(None)
    assert rig.hints.seconds_until_due() == SETTLE * 5
    waiter = threading.Thread(target=rig.hints.wait, args=(30,))
    waiter.start()
    rig.hints.touched(b"/r/a.jpg", closed=True)
    waiter.join(20)
    assert not waiter.is_alive()
    assert rig.hints.seconds_until_due() == SETTLE
    rig.hints.touched(b"/r/a.jpg", closed=True)
    rig.hints.wait(0.001)  # nothing is sooner: the time runs out
    rig.hints.wake()
    rig.hints.wait(None)


def test_whatever_happens_everything_comes_out_in_time_and_covered_things_only_through_their_cover() -> None:
    dice = random.Random(1)
    for _ in range(200):
        rig = Rig(most_files_per_folder=3)
        owed: dict[bytes, float] = {}  # path → since when
        for _ in range(100):
            path = b"/r" + b"".join(b"/" + dice.choice([b"a", b"b", b"c"]) for _ in range(dice.randint(1, 4)))
            act = dice.randrange(12)
            if act == 0:
                rig.hints.everything(b"/r")
            elif act == 1:
                rig.hints.tree(path)
            elif act == 2:
                rig.hints.folder(path)
                path += b"/file"
            else:
                rig.hints.touched(path, closed=dice.random() < 0.5)
            owed.setdefault(path, rig.clock.now)
            pay(owed, rig.after(dice.choice([0.1, 1, 3])))
            assert all(rig.clock.now - since <= LONGEST + 3 for since in owed.values())
        for _ in range(20):
            pay(owed, rig.after(SETTLE * 5))
        assert owed == {}
        assert rig.hints.pending() == 0
        assert rig.hints.seconds_until_due() is None


def pay(owed: dict[bytes, float], due: Due) -> None:
    tops = due.trees + due.roots
    for path in list(owed):
        below = any(path == top or path.startswith(top + b"/") for top in tops)
        if below or path in due.files or path[: path.rfind(b"/")] in due.folders:
            del owed[path]
    covered = [*due.files, *due.folders, *due.trees]
    assert not [path for path in covered for top in tops if path.startswith(top + b"/")]


def test_memory_stays_bounded_in_a_storm_without_end() -> None:
    rig = Rig()
    for number in range(120_000):
        rig.hints.touched(b"/r/%d/a.jpg" % number, closed=True)
        if rig.hints.are_too_many:
            rig.hints.everything(b"/r")
        rig.clock.now += 0.0001
    assert rig.hints.pending() == 1
    assert len(rig.hints._queue) <= 2


def test_a_wake_is_not_lost_to_who_asks_how_long_to_wait() -> None:
    hints = Rig().hints
    hints.wake()
    assert hints.seconds_until_due() is None
    began = time.monotonic()
    hints.wait(10)
    assert time.monotonic() - began < 5
