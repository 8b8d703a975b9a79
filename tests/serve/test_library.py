"""Pages of clusters, against a program that looks at everything."""

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupwatchd.db.answers import Copy
from dupwatchd.serve import ranking
from dupwatchd.serve.clusters import LiveChecks, Question
from dupwatchd.serve.library import Library
from dupwatchd.serve.results import Cluster
from tests.serve import plain
from tests.serve.made import KEEP_MSE, KEEP_STRUCTURE, Content, File, Made, Picture, forest, written

FOLDERS = [b"/", b"/p", b"/p/a", b"/p/a\xff", b"/pa", b"/q\n"]
NAMES = [b"a", b"b", b"bb", b"\xff\xfe", b"c\n", b"\xc3\xa9", *(b"%03d.jpg" % number for number in range(20))]


@st.composite
def libraries(draw: st.DrawFn) -> Made:
    """Few pictures and folders, so that everything meets; or some more, so that there are clusters to put in order."""
    one_of = draw(st.randoms(use_true_random=False))
    crowd = draw(st.sampled_from([4, 8, 30]))
    room = 12 if crowd < 30 else 200  # how far pictures can be apart
    shown = [Picture(one_of.randrange(room), one_of.randrange(room), flat=one_of.random() < 0.2) for _ in range(crowd)]
    contents = {}
    for _ in range(draw(st.integers(1, 2 * crowd))):
        # few digests: clusters of one id are a case of their own
        digest = bytes([one_of.randrange(crowd)]) * 8 + bytes([one_of.randrange(9)]) * 24
        way = one_of.randrange(2)
        contents[digest, way] = Content(
            digest,
            one_of.randrange(crowd),
            one_of.choice([10, 20]),
            one_of.choice([10, 20]),
            one_of.choice([100, 100, 100, 200, 250]),
            way,
        )
    known = list(contents.values())
    made = {}
    for _ in range(draw(st.integers(0, 3 * crowd))):
        file = File(
            one_of.choice(FOLDERS),
            one_of.choice(NAMES),
            one_of.randrange(len(known)),
            mtime_ns=one_of.randrange(2),
            inode=one_of.choice([None, None, 1, 2]),
            body=one_of.randrange(2),
            there=one_of.random() < 0.85,
        )
        made[file.path] = file
    return Made(shown, known, list(made.values()))


thresholds = {
    "mse": st.sampled_from([0.0, 1.0, 2.5, KEEP_MSE]),
    "structure": st.sampled_from([0.0, 0.02, KEEP_STRUCTURE]),
}
folders = st.lists(st.sampled_from([*FOLDERS, b"/p/", b"/nothing"]), max_size=2).map(tuple)
questions = st.sampled_from(["mse", "structure"]).flatmap(
    lambda measure: st.builds(Question, st.just(measure), thresholds[measure], st.booleans(), st.none() | folders)
)


@pytest.fixture
def looking_at_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, and forgetting soon: what takes a big library otherwise happens in a small one, too."""
    monkeypatch.setattr(ranking, "_LOOK_AT_LEAST", 1)
    monkeypatch.setattr(ranking, "_REMEMBERED", 2)


@pytest.mark.usefixtures("looking_at_few")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    libraries(),
    st.lists(questions, min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), max_size=2),
    st.booleans(),
    st.none() | folders,
)
def test_pages_hold_what_looking_at_everything_finds(
    made: Made, asked: list[Question], places: list[tuple[int, int]], forest_only: bool, roots: tuple[bytes, ...] | None
) -> None:
    matches = forest(made.matches()) if forest_only else made.matches()
    live_checks = made.live_checks()
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state", matches)) as database:
        library = Library.load(database, roots)
        for question in asked:
            expected = plain.clusters(made if roots is None else made.below(roots), question)
            for offset, limit in places:
                _, found = library.page(database, question, live_checks, limit, offset)
                assert found == expected[offset : offset + limit]
            paged: list[Cluster] = []
            while page := library.page(database, question, live_checks, 1, len(paged))[1]:
                paged += page
            assert paged == expected
            assert library.page(database, question, live_checks, None) == (len(expected), expected)


class Counting:
    """A live_checks that knows how many files it was asked about."""

    def __init__(self, made: Made) -> None:
        honest = made.live_checks()
        self.looked_at = 0

        def is_there(copy: Copy) -> bool:
            self.looked_at += 1
            return honest.is_there(copy)

        self.live_checks = LiveChecks(honest.measure_pairs, is_there, honest.are_linked)


def pairs_of_files(sizes_bytes: list[int], **options: Any) -> Made:
    """Clusters of two byte-equal files, in no order of their ids."""
    digests = [bytes([number * 89 % 256, number // 256]) * 16 for number in range(len(sizes_bytes))]
    return Made(
        [Picture(flat=True)] * len(sizes_bytes),
        [
            Content(digest, n, size_bytes=size)
            for n, (digest, size) in enumerate(zip(digests, sizes_bytes, strict=True))
        ],
        [File(b"/p", b"%d %d" % (n, copy), n, **options) for n in range(len(sizes_bytes)) for copy in range(2)],
    )


EVERYTHING = Question("structure", 0.02, mirrored=False)


def test_clusters_that_free_the_same_come_in_the_order_of_ids_and_few_are_looked_at(tmp_path: Path) -> None:
    made = pairs_of_files([1000] * 500)
    counting = Counting(made)
    with closing(written(made, tmp_path)) as database:
        total, found = Library.load(database).page(database, EVERYTHING, counting.live_checks, 20, 100)
    assert total == 500
    assert found == plain.clusters(made, EVERYTHING)[100:120]
    assert counting.looked_at <= 2 * (120 + 60)


def test_a_page_asked_for_again_looks_at_nothing(tmp_path: Path) -> None:
    counting = Counting(made := pairs_of_files(list(range(100))))
    with closing(written(made, tmp_path)) as database:
        library = Library.load(database)
        first = library.page(database, EVERYTHING, counting.live_checks, 10, 5)
        looked_at = counting.looked_at
        assert library.page(database, EVERYTHING, counting.live_checks, 10, 5) == first
        assert library.page(database, EVERYTHING, counting.live_checks, 5, 0)[1] == plain.clusters(made, EVERYTHING)[:5]
    assert counting.looked_at == looked_at


def test_hard_links_that_were_looked_at_once_are_not_looked_at_for_every_page(tmp_path: Path) -> None:
    linked, copies = pairs_of_files([10**6] * 100), pairs_of_files([1000] * 10)
    made = Made(
        linked.pictures + copies.pictures,
        linked.contents + [Content(b"\xff" * 31 + bytes([n]), 100 + n) for n in range(10)],
        [File(f.folder, f.name, f.content, inode=f.content) for f in linked.files]
        + [File(b"/q", f.name, 100 + f.content) for f in copies.files],
    )
    expected = plain.clusters(made, EVERYTHING)
    with closing(written(made, tmp_path)) as database:
        counting = Counting(made)
        library = Library.load(database)
        assert library.page(database, EVERYTHING, counting.live_checks, 5) == (110, expected[:5])
        looked_at = counting.looked_at
        assert library.page(database, EVERYTHING, counting.live_checks, 5, 1) == (110, expected[1:6])
        assert counting.looked_at - looked_at <= 2 * 16


def test_the_number_of_clusters_is_that_of_the_index_where_nobody_looked(tmp_path: Path) -> None:
    made = pairs_of_files([1000] * 100, there=False)
    with closing(written(made, tmp_path)) as database:
        library = Library.load(database)
        total, found = library.page(database, EVERYTHING, made.live_checks(), 0)
        assert (total, found) == (100, [])
        assert library.page(database, EVERYTHING, made.live_checks(), 10) == (0, [])


def test_what_is_near_stays_together_when_the_one_between_is_missing(tmp_path: Path) -> None:
    names = [b"left", b"middle", b"right", b"far right"]
    made = Made(
        [Picture(mse=n, structure=n) for n in (0, 1, 2, 4)],
        [Content(bytes([n]) * 32, n) for n in range(4)],
        [File(b"/p", name, n, there=name != b"middle") for n, name in enumerate(names)],
    )
    stored = forest(made.matches())
    assert (0, 2) not in [(match.a, match.b) for match in stored]
    with closing(written(made, tmp_path, stored)) as database:
        for threshold, expected in ((0.01, []), (0.02, [{b"/p/left", b"/p/right", b"/p/far right"}])):
            question = Question("structure", threshold, mirrored=False)
            _, found = Library.load(database).page(database, question, made.live_checks(), None)
            assert [{file["path"] for file in cluster["files"]} for cluster in found] == expected


def test_a_picture_that_no_file_shows_joins_nothing(tmp_path: Path) -> None:
    made = Made(
        [Picture(structure=n) for n in (0, 2, 4)],
        [Content(bytes([n]) * 32, n) for n in (0, 2)],
        [File(b"/p", b"left", 0), File(b"/p", b"right", 1)],
    )
    with closing(written(made, tmp_path)) as database:
        assert Library.load(database).page(database, EVERYTHING, made.live_checks(), None) == (0, [])


def test_a_library_takes_at_most_100_bytes_a_file(tmp_path: Path) -> None:
    made = Made(
        [Picture(structure=3 * (n // 4), mse=9 * (n // 4)) for n in range(400)],
        [Content(n.to_bytes(32, "big"), n) for n in range(400)],
        [File(b"/p", b"%d" % n, n) for n in range(400)],
    )
    with closing(written(made, tmp_path, forest(made.matches()))) as database:
        assert 20 * 400 < Library.load(database).memory_bytes <= 100 * 400


def test_an_unknown_measure_is_our_own_mistake(tmp_path: Path) -> None:
    made = pairs_of_files([1000])
    with closing(written(made, tmp_path)) as database, pytest.raises(ValueError, match="beauty"):
        Library.load(database).page(database, Question("beauty", 1, mirrored=False), made.live_checks(), 1)
