"""What was decided is on disk at once, and counts for exactly the files it was decided for."""

import resource
import signal
from pathlib import Path

import pytest

from dupwatch.review.decisions import Decision, Decisions, WrongDecisionError
from dupwatch.review.library import Group, HeldFile

A, B, C = b"/photos/a.jpg", b"/photos/caf\xe9.jpg", b"/photos/c.jpg"


def group(*paths: bytes, key: str = "one") -> Group:
    return Group(key, "same", tuple(HeldFile(path, path[-32:].ljust(32), 10, 20) for path in paths), b"{}")


def told(stays: list[bytes], goes: list[bytes], out: list[bytes] | None = None) -> dict[str, list[str]]:
    named = {"stays": stays, "goes": goes, "out": out or []}
    return {name: [path.decode("utf-8", "surrogateescape") for path in paths] for name, paths in named.items()}


def test_decisions_are_read_again_with_stray_bytes_in_paths(tmp_path: Path) -> None:
    decision = Decision.of(group(A, B, C), told([A, C], [B], [C]))
    Decisions(f"{tmp_path}/j").add([decision])
    assert Decisions(f"{tmp_path}/j").decided() == {"one": decision}


def test_a_step_is_taken_back_as_one(tmp_path: Path) -> None:
    decisions = Decisions(f"{tmp_path}/j")
    first = Decision.of(group(A, B), told([A], [B]))
    many = [Decision.of(group(A, B, key=key), told([A], [B])) for key in ("two", "three")]
    decisions.add([first])
    decisions.add(many)
    assert decisions.take_back(lambda _: True) == many
    for known in (decisions, Decisions(f"{tmp_path}/j")):
        assert known.decided() == {"one": first}
    assert decisions.take_back(lambda _: True) == [first]
    assert decisions.take_back(lambda _: True) == []
    assert Decisions(f"{tmp_path}/j").decided() == {}


def test_two_pages_of_the_same_groups_keep_one_journal(tmp_path: Path) -> None:
    one, other = Decisions(f"{tmp_path}/j"), Decisions(f"{tmp_path}/j")
    first, second = (Decision.of(group(A, B, key=key), told([A], [B])) for key in ("one", "two"))
    one.add([first])
    assert other.catch_up()
    assert other.decided() == {"one": first}
    other.add([second])
    assert one.take_back(lambda _: True) == [second]  # what was decided last, in whichever
    assert other.catch_up()
    assert not other.catch_up()
    assert one.decided() == other.decided() == Decisions(f"{tmp_path}/j").decided() == {"one": first}
    (tmp_path / "j").unlink()
    one.add([second])
    assert Decisions(f"{tmp_path}/j").decided() == {"two": second}


def test_what_could_not_be_written_whole_is_not_decided(tmp_path: Path) -> None:
    decisions = Decisions(f"{tmp_path}/j")
    first, second = (Decision.of(group(A, B, key=key), told([A], [B])) for key in ("one", "two"))
    decisions.add([first])
    size = (tmp_path / "j").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))  # as on a disk that is nearly full
    try:
        with pytest.raises(OSError, match="No space left"):
            decisions.add([second])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / "j").stat().st_size == size
    assert decisions.decided() == {"one": first}
    decisions.add([second])
    assert Decisions(f"{tmp_path}/j").decided() == {"one": first, "two": second}


def test_what_is_over_is_not_taken_back(tmp_path: Path) -> None:
    decisions = Decisions(f"{tmp_path}/j")
    first, over = (Decision.of(group(A, B, key=key), told([A], [B])) for key in ("one", "over"))
    decisions.add([first])
    decisions.add([over])
    assert decisions.take_back(lambda one: one.key != "over") == [first]
    assert decisions.take_back(lambda one: one.key != "over") == []


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_a_journal_that_was_cut_off_keeps_all_lines_before(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    decisions = Decisions(str(path))
    first = Decision.of(group(A, B), told([A], [B]))
    decisions.add([first])
    whole = path.read_bytes()
    decisions.add([Decision.of(group(A, B, key="two"), told([B], [A]))])
    path.write_bytes(path.read_bytes()[: -min(cut, len(path.read_bytes()) - len(whole))])
    again = Decisions(str(path))
    assert again.decided()["one"] == first
    again.add([Decision.of(group(A, C, key="three"), told([C], [A]))])
    assert {"one", "three"} <= set(Decisions(str(path)).decided())


def test_a_group_that_has_gained_a_file_is_open_again() -> None:
    decision = Decision.of(group(A, B), told([A], [B]))
    assert decision.is_about(group(A, B))
    assert not decision.is_about(group(A, B, C))
    changed = group(A, B)._replace(files=(HeldFile(A, b"x" * 32, 10, 20), group(B).files[0]))
    assert not decision.is_about(changed)


@pytest.mark.parametrize(
    "wrong",
    [
        told([], [A, B]),
        told([A], []),
        told([A, B], [B]),
        told([A], [C]),
        told([A], [B], [A]),
        told([A, B], [], [C]),
        {"stays": "/photos/a.jpg", "goes": 7},
        {"stays": [7], "goes": [None]},
    ],
)
def test_a_decision_that_would_leave_nothing_or_is_about_other_files_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(WrongDecisionError):
        Decision.of(group(A, B), wrong)
