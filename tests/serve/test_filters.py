"""Filters of clusters, against a program that looks at every pair of files."""

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupwatchd.serve.clusters import Order, Question
from dupwatchd.serve.filters import Filters, Linkage, Within
from dupwatchd.serve.library import Library
from dupwatchd.serve.results import Cluster, FoundPair, NotLookedAt
from tests.serve import plain
from tests.serve.made import Content, File, Made, Picture, written
from tests.serve.test_library import FOLDERS, libraries, looking_at_few, questions

__all__ = ["looking_at_few"]  # a fixture

some_folders = st.lists(st.sampled_from(FOLDERS), min_size=1, max_size=2).map(tuple)


@st.composite
def filters(draw: st.DrawFn) -> Filters:
    """Mostly one or two of them, so that something is left."""
    chosen: dict[str, Any] = {}
    for kind in draw(
        st.sets(
            st.sampled_from(
                ["exact", "size", "aspect", "across", "upright", "each", "named", "linkage", "linkage too"]
            ),
            max_size=2,
        )
    ):
        if kind == "exact":
            chosen["exact"] = True
        elif kind == "size":
            chosen["same_size"] = True
        elif kind == "aspect":
            chosen["aspect"] = draw(st.sampled_from([1.0, 1.5, 2.0]))
        elif kind == "across":
            chosen["across"], chosen["against"] = draw(some_folders), draw(some_folders)
        elif kind.startswith("linkage"):
            chosen["linkage"] = draw(st.sampled_from(Linkage))
        elif kind == "upright":
            chosen["upright"] = True
        elif kind == "each":
            chosen["within"] = Within.EACH
        else:
            chosen["within"], chosen["named"] = Within.NAMED, draw(some_folders)
    return Filters(**chosen)


@st.composite
def filtered(draw: st.DrawFn) -> Question:
    question, chosen = draw(questions), draw(filters())
    return replace(
        question,
        filters=replace(chosen, upright=chosen.upright and question.measure != "custom"),
        min_files=draw(st.sampled_from([2, 2, 3, 4])),
        order=draw(st.sampled_from(Order)),
    )


@pytest.mark.usefixtures("looking_at_few")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(libraries(), st.lists(filtered(), min_size=1, max_size=4), st.none() | some_folders)
def test_filtered_pages_hold_what_looking_at_every_pair_finds(
    made: Made, asked: list[Question], roots: tuple[bytes, ...] | None
) -> None:
    live_checks = made.live_checks()
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        library = Library.load(database, roots)
        for question in asked:
            question = replace(question, ignored=made.ignored)
            expected = plain.clusters(made if roots is None else made.below(roots), question)
            paged: list[Cluster] = []
            while page := library.page(database, question, live_checks, 1, len(paged))[1]:
                paged += page
            assert paged == expected
            assert library.page(database, question, live_checks, None) == (len(expected), expected)


@settings(max_examples=40, deadline=None)
@given(libraries(), filtered(), st.none() | some_folders)
def test_all_numbers_of_a_filtered_answer_are_exact_from_the_first_page_on(
    made: Made, question: Question, roots: tuple[bytes, ...] | None
) -> None:
    made = replace(made, files=[replace(file, there=True) for file in made.files])
    question = replace(question, ignored=made.ignored)
    inside, live_checks = made if roots is None else made.below(roots), made.live_checks()
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        library = Library.load(database, roots)
        total, _ = library.page(database, question, live_checks, 1)
        assert total == len(plain.clusters(inside, question))
        assert library.count_ignored(database, question, live_checks) == plain.count_ignored(inside, question)
        assert library.further_groups(database, question, live_checks) == plain.further_groups(inside, question)


CHAIN = Made(  # each is near its neighbours only
    [Picture(structure=n, mse=50) for n in (0, 2, 4, 6)],
    [Content(bytes([9 - n]) * 32, n, 400 + n, 300) for n in range(4)],  # the last one has most pixels
    [File(b"/p", b"abcd"[n : n + 1], n) for n in range(4)],
)


@pytest.mark.parametrize(
    ("linkage", "expected"),
    [
        (Linkage.TRANSITIVE, [{b"a", b"b", b"c", b"d"}]),
        (Linkage.STAR, [{b"d", b"c"}, {b"b", b"a"}]),
        (Linkage.COMPLETE, [{b"a", b"b"}, {b"c", b"d"}]),
    ],
)
def test_linkage_says_what_holds_a_group_together(linkage: Linkage, expected: list[set[bytes]], tmp_path: Path) -> None:
    question = Question("structure", 0.02, mirrored=False, filters=Filters(linkage=linkage))
    with closing(written(CHAIN, tmp_path)) as database:
        _, found = Library.load(database).page(database, question, CHAIN.live_checks(), None)
    names = [{file["path"].removeprefix(b"/p/") for file in cluster["files"]} for cluster in found]
    assert sorted(names, key=sorted) == sorted(expected, key=sorted)


@pytest.mark.parametrize(("linkage", "sizes"), [(Linkage.STAR, [3]), (Linkage.COMPLETE, [2])])
def test_what_lies_between_two_others_is_the_centre_of_a_star(
    linkage: Linkage, sizes: list[int], tmp_path: Path
) -> None:
    contents = [replace(content, width=500 if n == 1 else 400) for n, content in enumerate(CHAIN.contents)]
    made = replace(CHAIN, files=CHAIN.files[:3], contents=contents)
    question = Question("structure", 0.02, mirrored=False, filters=Filters(linkage=linkage))
    with closing(written(made, tmp_path)) as database:
        _, found = Library.load(database).page(database, question, made.live_checks(), None)
    assert [len(cluster["files"]) for cluster in found] == sizes


def test_a_sidecar_makes_a_file_the_centre_of_a_star_as_it_makes_it_the_one_to_keep(tmp_path: Path) -> None:
    contents = [replace(content, width=400) for content in CHAIN.contents]
    files = [replace(file, sidecar=n == 1) for n, file in enumerate(CHAIN.files[:3])]  # only it is near both others
    made = replace(CHAIN, files=files, contents=contents)
    question = Question("structure", 0.02, mirrored=False, filters=Filters(linkage=Linkage.STAR))
    with closing(written(made, tmp_path)) as database:
        total, found = Library.load(database).page(database, question, made.live_checks(), None)
    assert found == plain.clusters(made, question)
    assert [[file["path"] for file in cluster["files"]] for cluster in found] == [[b"/p/b", b"/p/a", b"/p/c"]]
    assert total == 1


@pytest.mark.parametrize(("linkage", "left_out"), [(Linkage.TRANSITIVE, 0), (Linkage.STAR, 2), (Linkage.COMPLETE, 2)])
def test_pairs_that_nobody_has_looked_at_are_told_although_they_are_not_stored(
    linkage: Linkage, left_out: int, tmp_path: Path
) -> None:
    """At 0.02 these are the first and the third, the second and the fourth."""
    made = replace(CHAIN, pictures=[Picture(structure=n, mse=50) for n in range(4)])
    stored = [match for match in made.matches() if match.b == match.a + 1 and not match.mirrored]
    question = Question("structure", 0.02, mirrored=False, filters=Filters(linkage=linkage))
    with closing(written(made, tmp_path, stored)) as database:
        counted = Library.load(database).count_not_looked_at(database, question, made.live_checks())
    assert counted == NotLookedAt(0, left_out)


@pytest.mark.parametrize("linkage", Linkage)
def test_what_a_missing_file_keeps_apart_as_indexed_is_shown(linkage: Linkage, tmp_path: Path) -> None:
    files = [File(b"/a", b"1", 0, there=False), File(b"/q", b"2", 0), File(b"/p", b"3", 0)]
    made = Made([Picture(0, 0)], [Content(bytes(32), 0)], files)
    filters = Filters(linkage=linkage, across=(b"/q",), against=(b"/",))
    question = Question("structure", 0.02, mirrored=False, touching=(b"/p",), filters=filters)
    with closing(written(made, tmp_path)) as database:
        total, found = Library.load(database).page(database, question, made.live_checks(), None)
    assert found == plain.clusters(made, question)
    assert (total, len(found)) == (1, 1)


@pytest.mark.usefixtures("looking_at_few")
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(libraries(), filtered(), st.integers(0, 30), st.integers(1, 9))
def test_pairs_are_the_linked_files_of_each_group(made: Made, question: Question, offset: int, limit: int) -> None:
    question = replace(question, ignored=made.ignored, pairs=True)
    expected = plain.pairs(made, question)
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        library = Library.load(database)
        _, part = library.pairs_page(database, question, made.live_checks(), limit, offset)
        assert part == expected[offset : offset + limit]
        paged: list[FoundPair] = []
        while page := library.pairs_page(database, question, made.live_checks(), 3, len(paged))[1]:
            paged += page
        assert paged == expected
        assert library.pairs_page(database, question, made.live_checks(), None) == (len(expected), expected)


@settings(max_examples=40, deadline=None)
@given(libraries(), filtered())
def test_the_number_of_pairs_is_exact_from_the_first_page_on(made: Made, question: Question) -> None:
    made = replace(made, files=[replace(file, there=True) for file in made.files])
    question = replace(question, ignored=made.ignored, pairs=True)
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        total, _ = Library.load(database).pairs_page(database, question, made.live_checks(), 1)
    assert total == len(plain.pairs(made, question))


def test_by_a_measure_of_ones_own_what_the_forest_does_not_hold_is_measured(tmp_path: Path) -> None:
    """Only neighbours are stored; the first and the last lie within the threshold as well."""
    made = replace(CHAIN, pictures=[Picture(structure=n, mse=50) for n in (0, 1, 2, 9)])
    stored = [match for match in made.matches() if match.b == match.a + 1 and not match.mirrored]
    complete = Question("custom", 0.02, mirrored=False, filters=Filters(linkage=Linkage.COMPLETE))
    with closing(written(made, tmp_path, stored)) as database:
        library = Library.load(database)
        _, [cluster] = library.page(database, complete, made.live_checks(), None)
        total, pairs = library.pairs_page(database, replace(complete, pairs=True), made.live_checks(), None)
    assert {file["path"] for file in cluster["files"]} == {b"/p/a", b"/p/b", b"/p/c"}
    assert (total, sorted(pair["custom"] or 0.0 for pair in pairs)) == (3, [0.01, 0.01, 0.02])


def test_a_file_may_be_named_as_one_side(tmp_path: Path) -> None:
    made = replace(CHAIN, files=[File(b"/p", b"a", 0), File(b"/q", b"b", 0)])
    question = Question("structure", 0.02, mirrored=False, filters=Filters(across=(b"/p/a",), against=(b"/q",)))
    with closing(written(made, tmp_path)) as database:
        _, found = Library.load(database).page(database, question, made.live_checks(), None)
    assert [len(cluster["files"]) for cluster in found] == [2]
