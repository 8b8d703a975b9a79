"""Pages of clusters, against a program that looks at everything."""

import itertools
import random
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dupwatchd.db.answers import Copy
from dupwatchd.db.contents import ContentLook
from dupwatchd.model import Facts, PartTold, Verdict
from dupwatchd.paths import at_or_below
from dupwatchd.serve import ranking
from dupwatchd.serve.clusters import ONE_PICTURE, LiveChecks, Question
from dupwatchd.serve.ignored import IgnoredPairs
from dupwatchd.serve.library import Library
from dupwatchd.serve.plan_policy import MAY_BE_ASKED_FOR, Doubt, Policy
from dupwatchd.serve.plan_rules import keep_rules
from dupwatchd.serve.results import Cluster, NotLookedAt, PlannedGroup
from dupwatchd.serve.spare import SameFile
from tests.serve import plain
from tests.serve.made import KEEP_MSE, KEEP_STRUCTURE, Content, File, Made, Match, Picture, Seen, written

FOLDERS = [b"/", b"/p", b"/p/a", b"/p/a\xff", b"/pa", b"/q\n"]
NAMES = [
    b"a",
    b"a.nef",
    b"A.jpg",
    b"b",
    b"b.nef",
    b"b.JPG",
    b"bb",
    b"\xff\xfe",
    b"c\n",
    b"\xc3\xa9",
    *(b"%03d.jpg" % number for number in range(20)),
]


def _looked(one_of: random.Random) -> Seen:
    """What a look may say of two pictures that share a part."""
    verdict = one_of.choice([None, Verdict.SAME, *[Verdict.CROPPED] * 3, Verdict.RETOUCHED, Verdict.RECOLOURED])
    return Seen(verdict=verdict, confirmed=None, part=_lying(one_of), by_part=True)


def _lying(one_of: random.Random) -> PartTold:
    """How one of two pictures may lie in the other."""
    share = one_of.choice([0.3, 0.5, 1.0])
    corners = (0.0, 0.0, 1.0, 0.0, 1.0, share, 0.0, share)
    shows_more = one_of.choice([-1, -1, 0, 1, 1])
    return PartTold(one_of.choice([0, 0, 90]), shows_more, one_of.random() < 0.3, corners if shows_more else ())


def _add_parts(library: Made, share: float, one_of: random.Random) -> None:
    """So many of the pairs of pictures, and most of those that are matches and cropped, lie in each other."""
    for pair in itertools.combinations(range(len(library.pictures)), 2):
        if one_of.random() < share:
            library.parts[pair] = _looked(one_of) if one_of.random() < 0.9 else None
    for key, seen in library.seen.items():
        if seen.verdict is Verdict.CROPPED and one_of.random() < 0.8:
            library.seen[key] = seen._replace(part=_lying(one_of))


@st.composite
def libraries(draw: st.DrawFn) -> Made:
    """Few pictures and folders, so that everything meets; or some more, so that there are clusters to put in order."""
    one_of = draw(st.randoms(use_true_random=False))
    crowd = draw(st.sampled_from([4, 8, 30]))
    room = draw(st.sampled_from([12, 60])) if crowd < 30 else 200  # how far pictures can be apart
    shown = [
        Picture(one_of.randrange(room), one_of.randrange(room), one_of.random() < 0.1, one_of.random() < 0.9)
        for _ in range(crowd)
    ]
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
            one_of.choice([None, None, None, "cut"]),
            one_of.choice([1, 1, 1, 1, 2]),
            Facts(
                camera=one_of.choice(["", "Canon"]),
                captured=one_of.choice(["", "2001-02-03T04:05:06", "2001-02-03T04:05:09", "2002-02-03T04:05:06"]),
                has_place=one_of.random() < 0.1,
                rating=one_of.choice([0, 0, 0, 0, 4]),
                keywords=one_of.choice(["", "", "sea", "Sea\nsun"]),
                place=one_of.choice(["", "", plain.NEAR, plain.FAR]),
                captions=one_of.choice(["", "", "", "by the sea", "By the sea\nlate", "late\nnoon"]),
                people=one_of.choice(["", "", "", "Anna", "Anna\nBert"]),
                bits=one_of.choice([8, 8, 8, 8, 16]),
                transparent=one_of.random() < 0.1,
                exposure=one_of.choice(["", "", "t=0.01", "t=0.01", "t=0.02"]),
                holds=one_of.choice(["", "", "", "", "film (1)", "film (2)\nlayers"]),
                quality=one_of.choice([0, 0, 60, 90, 95]),
                lossless=one_of.random() < 0.5,
                edited=one_of.random() < 0.3,
                has_colour=one_of.random() < 0.9,
                jpeg_grid=one_of.random() < 0.2,
                scan_digest=one_of.choice([b"", b"", b"1" * 16, b"2" * 16]),
            ),
            one_of.choice(["JPEG", "JPEG", "PNG", "RAW"]),
            one_of.choice([b"", b"1" * 24, b"1" * 24, b"2" * 24, b"3" * 24]),
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
            sidecar=one_of.random() < 0.2,
            how=one_of.choice([SameFile.LINK, SameFile.LINK, SameFile.ALIAS, SameFile.MAYBE]),
        )
        made[file.path] = file
    library = Made(shown, known, list(made.values()))
    for match in library.matches():
        verdict = one_of.choice([None, *list(Verdict)[1:], *[Verdict.SAME] * 6])
        confirmed, nearer = one_of.choice([True, True, None, False]), one_of.choice([0, 0, -1, 1])
        library.seen[match[:3]] = Seen(one_of.random() < 0.8, verdict, confirmed, nearer)
    for number, (a, b) in itertools.product(range(crowd), itertools.combinations([b"1" * 24, b"2" * 24, b"3" * 24], 2)):
        if one_of.random() < 0.6:
            verdict, confirmed = one_of.choice([(Verdict.SAME, True), (Verdict.SAME, None), (Verdict.RETOUCHED, False)])
            library.at_contents.append(ContentLook(number, a, b, verdict, confirmed))
    _add_parts(library, draw(st.sampled_from([0, 0.3, 0.8])), random.Random(draw(st.integers(0, 2**32))))
    digests = sorted({content.digest for content in known})
    share = draw(st.sampled_from([0, 0.2, 0.9]))
    pairs = [pair for pair in itertools.combinations(digests, 2) if one_of.random() < share]
    # one of them with a content that nobody knows
    return replace(library, ignored=IgnoredPairs.of([*pairs, (digests[0], b"\xff" * 32)]))


thresholds = {
    "mse": st.sampled_from([0.0, 1.0, 2.5, KEEP_MSE]),
    "structure": st.sampled_from([0.0, 0.02, KEEP_STRUCTURE]),
    "custom": st.sampled_from([0.0, 0.02, KEEP_STRUCTURE]),
}
folders = st.lists(st.sampled_from([*FOLDERS, b"/p/", b"/nothing"]), max_size=2).map(tuple)
more_verdicts = st.sets(st.sampled_from([Verdict.CROPPED, Verdict.RECOLOURED, Verdict.SIMILAR]))
questions = st.sampled_from(["mse", "structure", "custom"]).flatmap(
    lambda measure: st.builds(
        Question,
        st.just(measure),
        thresholds[measure],
        st.booleans(),
        st.none() | folders,
        more_verdicts.map(lambda also: ONE_PICTURE | also),
    )
)


@pytest.fixture
def looking_at_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, and forgetting soon: what takes a big library otherwise happens in a small one, too."""
    monkeypatch.setattr(ranking, "_LOOK_AT_LEAST", 1)
    monkeypatch.setattr(ranking, "_REMEMBERED", 2)


@pytest.mark.usefixtures("looking_at_few")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    libraries(),
    st.lists(questions, min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), max_size=2),
    st.none() | folders,
)
def test_pages_hold_what_looking_at_everything_finds(
    made: Made, asked: list[Question], places: list[tuple[int, int]], roots: tuple[bytes, ...] | None
) -> None:
    live_checks = made.live_checks()
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        library = Library.load(database, roots)
        for question in asked:
            question = replace(question, ignored=made.ignored)
            expected = plain.clusters(made if roots is None else made.below(roots), question)
            for offset, limit in places:
                _, found = library.page(database, question, live_checks, limit, offset)
                assert found == expected[offset : offset + limit]
            paged: list[Cluster] = []
            while page := library.page(database, question, live_checks, 1, len(paged))[1]:
                paged += page
            assert paged == expected
            assert library.page(database, question, live_checks, None) == (len(expected), expected)


def _equal(number: int, picture: int, size_bytes: int, name: str) -> Content:
    facts = Facts(lossless=name == "PNG")
    return Content(bytes([number]) * 32, picture, size_bytes=size_bytes, facts=facts, format=name, pixels=b"1" * 24)


# The PNG would be kept if nobody knew that it was made from the JPEG: then it would seem that less is won.
A_JPEG_AND_ITS_PNG = Made(
    [Picture(0, 0), Picture(150, 150)],
    [_equal(1, 0, 100, "JPEG"), _equal(2, 0, 900, "PNG"), _equal(3, 1, 250, "JPEG"), _equal(4, 1, 250, "JPEG")],
    [File(b"/p", b"%d" % number, number) for number in range(4)],
)


@st.composite
def few_pictures(draw: st.DrawFn) -> Made:
    """Pictures that are far from each other, with several contents each, of which much is known."""
    digests = [bytes([kind]) * 24 for kind in (1, 2, 3)]
    contents = [
        Content(
            bytes([number]) * 32,
            number % 2,
            size_bytes=draw(st.sampled_from([100, 200, 900])),
            damage=draw(st.sampled_from([None, None, None, "cut"])),
            frames=draw(st.sampled_from([1, 1, 2])),
            facts=Facts(lossless=draw(st.booleans()), scan_digest=draw(st.sampled_from([b"", b"", b"1" * 16]))),
            format=draw(st.sampled_from(["JPEG", "PNG", "WEBP"])),
            pixels=draw(st.sampled_from([b"", *digests])),
        )
        for number in range(draw(st.integers(2, 8)))
    ]
    looks = [
        ContentLook(picture, a, b, *told)
        for picture, (a, b) in itertools.product(range(2), itertools.combinations(digests, 2))
        if (
            told := draw(
                st.sampled_from([None, (Verdict.SAME, True), (Verdict.SAME, None), (Verdict.RETOUCHED, False)])
            )
        )
    ]
    files = [File(b"/p", b"%d" % number, number) for number in range(len(contents))]
    return Made([Picture(0, 0), Picture(150, 150)], contents, files, at_contents=looks)


def test_a_look_at_one_of_two_contents_lets_nothing_go_for_the_other(tmp_path: Path) -> None:
    """Two contents of one picture differ; a copy of one of them is the same as the picture."""
    one, other = b"1" * 24, b"2" * 24
    contents = [
        Content(bytes([number]) * 32, picture, pixels=pixels)
        for number, (picture, pixels) in enumerate([(0, one), (0, other), (1, b"")])
    ]
    files = [File(b"/p", b"%d" % number, number) for number in range(3)]
    alike = Made([Picture(0, 0), Picture(1, 1)], contents, files)
    apart = replace(alike, at_contents=[ContentLook(0, one, other, Verdict.RETOUCHED, False)])
    went: list[int] = []
    for made in (alike, apart):
        with closing(written(made, tmp_path / str(len(went)))) as database:
            library = Library.load(database)
            question = Question("structure", 0.02, mirrored=False)
            groups = library.plan_page(database, question, made.live_checks(), None)[1]
            went.append(sum(file["goes"] for group in groups for file in group["files"]))
    assert went == [1, 0]


@pytest.mark.usefixtures("looking_at_few")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(few_pictures())
@example(A_JPEG_AND_ITS_PNG)
def test_contents_of_one_picture_go_as_looking_at_everything_finds(made: Made) -> None:
    question = Question("structure", 0.02, mirrored=False)
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        library = Library.load(database)
        expected = plain.clusters(made, question)
        for place in range(len(expected)):
            assert library.page(database, question, made.live_checks(), 1, place)[1] == [expected[place]]
        planned = [
            {file["path"]: file["goes"] for file in group["files"]}
            for group in library.plan_page(database, question, made.live_checks(), None)[1]
        ]
    assert planned == [{file["path"]: file["goes"] for file in group["files"]} for group in plain.plan(made, question)]


@settings(max_examples=50, deadline=None)
@given(libraries(), questions, st.none() | folders)
def test_further_groups_are_those_that_asking_for_one_verdict_more_would_add(
    made: Made, question: Question, roots: tuple[bytes, ...] | None
) -> None:
    made = replace(made, files=[replace(file, there=True) for file in made.files])
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        found = Library.load(database, roots).further_groups(database, question, made.live_checks())
    assert found == plain.further_groups(made if roots is None else made.below(roots), question)


@settings(max_examples=40, deadline=None)
@given(libraries(), questions, st.none() | folders)
def test_what_is_not_a_duplicate_is_in_no_count_from_the_first_page_on(
    made: Made, question: Question, roots: tuple[bytes, ...] | None
) -> None:
    """Of files that are all there every page tells the same numbers, as a program that looks at everything."""
    made = replace(made, files=[replace(file, there=True) for file in made.files])
    question = replace(question, ignored=made.ignored)
    inside = made if roots is None else made.below(roots)
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        library = Library.load(database, roots)
        total, _ = library.page(database, question, made.live_checks(), 1)
        assert total == len(plain.clusters(inside, question))
        assert library.count_ignored(database, question, made.live_checks()) == plain.count_ignored(inside, question)
        assert library.further_groups(database, question, made.live_checks()) == plain.further_groups(inside, question)


def any_policy(made: Made, one_of: random.Random) -> Policy:
    """Few of them pin much, so that something goes."""

    def some(choices: Sequence[Any], most: int) -> list[Any]:
        return [one_of.choice(choices) for _ in range(one_of.randrange(most + 1))]

    folders: list[bytes] = [b"/p", b"/p/a", b"/q\n", b"/gone"]
    return Policy(
        keep_rules(some(RULES, 3)),
        tuple(some(folders, 1)),
        tuple(some(folders, 1)),
        frozenset(some([b"/gone", *(file.path for file in made.files)], 2)),
        frozenset(some(MAY_BE_ASKED_FOR, 2)),
        frozenset(some(list(Doubt), 2)),
        bursts=one_of.random() < 0.5,
        pairs=one_of.random() < 0.3,
    )


RULES = [
    "folder /p/a /p", "name not 'a*' *.jpg", "format raw png jpeg", "colour", "original", "metadata most",
    "pixels most", "taken earliest", "modified earliest", "bytes most", "bytes least", "path shortest",
]  # fmt: skip


@pytest.mark.usefixtures("looking_at_few")
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(libraries(), questions, st.randoms(use_true_random=False))
def test_plans_and_clusters_of_any_policy_hold_what_looking_at_everything_finds(
    made: Made, question: Question, one_of: random.Random
) -> None:
    policy = any_policy(made, one_of)
    paths = [b"/gone", *(file.path for file in made.files)]
    question = replace(
        question,
        policy=policy,
        ignored=made.ignored,
        verdicts=question.verdicts | policy.also,
        holding=one_of.choice([None, frozenset([one_of.choice(paths), one_of.choice(paths)])]),
    )
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        library = Library.load(database)
        paged: list[PlannedGroup] = []
        while page := library.plan_page(database, question, made.live_checks(), 1, len(paged))[1]:
            paged += page
        assert library.plan_page(database, question, made.live_checks(), None) == (len(paged), paged)
        expected = plain.clusters(made, question)
        assert library.page(database, question, made.live_checks(), None) == (len(expected), expected)
    keys = ("path", "goes", "held_by", "pinned", "reason")
    told = [
        {
            "id": group["id"],
            "asked": group["asked"] is not None,
            "files": [{key: file[key] for key in keys} for file in group["files"]],  # type: ignore[literal-required]
        }
        for group in paged
    ]
    for one, other in zip(told, plain.plan(made, question), strict=True):
        assert one == other
    check_promises(made, question, paged)


@settings(max_examples=40, deadline=None)
@given(libraries(), questions, st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_in_which_files_were_indexed(
    made: Made, question: Question, one_of: random.Random
) -> None:
    policy = any_policy(made, one_of)
    question = replace(question, policy=policy, ignored=made.ignored, verdicts=question.verdicts | policy.also)
    plans = []
    for files in (made.files, one_of.sample(made.files, len(made.files))):
        other = replace(made, files=files)
        with tempfile.TemporaryDirectory() as folder, closing(written(other, Path(folder) / "state")) as database:
            _, planned = Library.load(database).plan_page(database, question, made.live_checks(), None)
        plans.append(
            [
                [(file["path"], file["goes"], file["held_by"], file["reason"]) for file in one["files"]]
                for one in planned
            ]
        )
    assert plans[0] == plans[1]


def check_promises(made: Made, question: Question, plan: list[PlannedGroup]) -> None:
    """What holds of any plan, told from the files alone and not by how it is made."""
    policy, by_path = question.policy, {file.path: file for file in made.files}
    listed = [file["path"] for group in plan for file in group["files"]]
    assert len(listed) == len(set(listed))
    going = {file["path"] for group in plan for file in group["files"] if file["goes"]}
    for path in going:
        assert path not in policy.keep_files
        assert not any(at_or_below(path, kept) for kept in (*policy.protect, *policy.reference))
        names = [file for file in made.files if file.there and made.linked(file, by_path[path])]
        assert all(file.path in going for file in names if all(name.how is SameFile.LINK for name in names))
    for group in plan:
        inside = {file["path"] for file in group["files"]}
        assert inside - going
        for file in group["files"]:
            if not file["goes"]:
                continue
            assert group["asked"] is None
            assert file["held_by"] in inside - going
            holder = by_path[file["held_by"] or b""]
            assert not made.linked(holder, by_path[file["path"]])
            names = [file for file in made.files if file is holder or made.linked(file, holder)]
            inside_reference = any(at_or_below(name.path, folder) for name in names for folder in policy.reference)
            assert not policy.reference or inside_reference
            assert (file["verdict"], file["confirmed"]) in {("identical", True), ("same", True)} or file["verdict"] in {
                verdict.value for verdict in policy.also
            }
            held, goes = made.contents[holder.content], made.contents[by_path[file["path"]].content]
            assert held.damage is None or goes.damage or held.digest == goes.digest  # equal bytes, read in two ways


class Counting:
    """A live_checks that knows how many files it was asked about."""

    def __init__(self, made: Made) -> None:
        honest = made.live_checks()
        self.looked_at = 0

        def is_there(copy: Copy) -> bool:
            self.looked_at += 1
            return honest.is_there(copy)

        self.live_checks = LiveChecks(honest.measure_pairs, is_there, honest.other_names, honest.has_sidecar)


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


NAMES_OF_FOUR = [b"left", b"middle", b"right", b"far right"]
FOUR = Made(
    [Picture(mse=n, structure=n) for n in (0, 1, 2, 4)],
    [Content(bytes([n]) * 32, n) for n in range(4)],
    [File(b"/p", name, n, there=name != b"middle") for n, name in enumerate(NAMES_OF_FOUR)],
)


def names_of(clusters: list[Cluster]) -> list[set[bytes]]:
    return [{file["path"].removeprefix(b"/p/") for file in cluster["files"]} for cluster in clusters]


def test_by_a_measure_of_ones_own_what_is_near_stays_together_when_the_one_between_is_missing(tmp_path: Path) -> None:
    stored = [match for match in FOUR.matches() if match[:3] in ((0, 1, 0), (1, 2, 0), (2, 3, 0))]
    with closing(written(FOUR, tmp_path, stored)) as database:
        for threshold, expected in ((0.01, []), (0.02, [{b"left", b"right", b"far right"}])):
            question = Question("custom", threshold, mirrored=False)
            _, found = Library.load(database).page(database, question, FOUR.live_checks(), None)
            assert names_of(found) == expected


def test_what_only_the_missing_one_held_together_stays_apart_until_somebody_has_looked(tmp_path: Path) -> None:
    question = Question("structure", 0.02, mirrored=False)
    for place, also_seen in ((tmp_path / "chain", ()), (tmp_path / "seen", ((0, 2, 0),))):
        stored = [m for m in FOUR.matches() if m[:3] in ((0, 1, 0), (1, 2, 0), (2, 3, 0), *also_seen)]
        with closing(written(FOUR, place, stored)) as database:
            _, found = Library.load(database).page(database, question, FOUR.live_checks(), None)
        assert names_of(found) == [{b"right", b"far right"} | ({b"left"} if also_seen else set())]


def test_pairs_that_nobody_has_looked_at_join_nothing_and_are_counted(tmp_path: Path) -> None:
    seen = {(0, 1, 0): Seen(verdict=None), (1, 2, 0): Seen(near=False, verdict=None)}
    made = Made(FOUR.pictures, FOUR.contents, [replace(file, there=True) for file in FOUR.files], seen)
    stored = [match for match in made.matches() if match[:3] in ((0, 1, 0), (1, 2, 0), (2, 3, 0))]
    with closing(written(made, tmp_path, stored)) as database:
        library = Library.load(database)
        for threshold, not_looked_at, expected in (
            (0.005, (0, 0), []),
            (0.01, (1, 1), []),
            (0.02, (1, 1), [{b"right", b"far right"}]),
        ):
            question = Question("structure", threshold, mirrored=False)
            assert names_of(library.page(database, question, made.live_checks(), None)[1]) == expected
            assert library.count_not_looked_at(database, question, made.live_checks()) == NotLookedAt(*not_looked_at)


def test_files_of_one_thumbnail_without_a_proof_are_copies_only_if_their_bytes_are_equal(tmp_path: Path) -> None:
    made = Made(
        [Picture(has_proof=False)],
        [Content(bytes([n]) * 32, 0) for n in range(3)],
        [File(b"/p", b"%d %d" % (n, copy), n) for n in range(3) for copy in range(2 if n == 0 else 1)],
    )
    with closing(written(made, tmp_path)) as database:
        library = Library.load(database)
        assert names_of(library.page(database, EVERYTHING, made.live_checks(), None)[1]) == [{b"0 0", b"0 1"}]
        assert library.count_not_looked_at(database, EVERYTHING, made.live_checks()) == NotLookedAt(2, 0)


@pytest.mark.parametrize(
    ("change", "may_go"),
    [
        ({}, True),
        ({"confirmed": None}, False),
        ({"confirmed": False}, False),
        ({"verdict": Verdict.RETOUCHED}, False),
    ],
)
def test_only_what_a_closer_look_has_confirmed_may_go(tmp_path: Path, change: dict[str, Any], may_go: bool) -> None:
    made = Made(
        [Picture(), Picture()],
        [Content(b"1" * 32, 0), Content(b"2" * 32, 1, size_bytes=700)],
        [File(b"/p", b"one", 0), File(b"/p", b"other", 1)],
        {(0, 1, 0): Seen()._replace(**change)},
    )
    question = Question("structure", 0.02, mirrored=False, verdicts=ONE_PICTURE | {Verdict.RETOUCHED})
    with closing(written(made, tmp_path)) as database:
        _, [cluster] = Library.load(database).page(database, question, made.live_checks(), None)
    assert [file["may_go"] for file in cluster["files"]] == [False, may_go]
    assert cluster["reclaimable_bytes"] == (700 if may_go else 0)


@pytest.mark.usefixtures("looking_at_few")
def test_equal_bytes_that_are_read_in_two_ways_are_counted_before_they_are_looked_at(tmp_path: Path) -> None:
    """A camera's raw photo may lie there with the suffix of another format: one content, two pictures."""
    made = Made(
        [Picture(), Picture(), Picture(mse=100, structure=100)],
        [
            Content(b"2" * 32, 0),
            Content(b"2" * 32, 1, way=1),
            Content(b"1" * 32, 2, size_bytes=400),
        ],
        [File(b"/p", b"a.nef", 0), File(b"/p", b"a.tif", 1), File(b"/p", b"b.jpg", 2), File(b"/p", b"c.jpg", 2)],
        {(0, 1, 0): Seen(confirmed=None)},
    )
    with closing(written(made, tmp_path)) as database:
        total, [first] = Library.load(database).page(database, EVERYTHING, made.live_checks(), 1)
    assert (total, first["reclaimable_bytes"], len(first["files"])) == (2, 1000, 2)


def test_a_sound_file_never_goes_for_a_damaged_one(tmp_path: Path) -> None:
    made = Made(
        [Picture(), Picture()],
        [Content(b"1" * 32, 0, 400, 300, damage="cut short"), Content(b"2" * 32, 1, 200, 150)],
        [File(b"/p", b"large", 0), File(b"/p", b"small", 1)],
    )
    with closing(written(made, tmp_path)) as database:
        _, [cluster] = Library.load(database).page(database, EVERYTHING, made.live_checks(), None)
    told = [(file["path"], file["damaged"], file["may_go"]) for file in cluster["files"]]
    assert told == [(b"/p/small", False, False), (b"/p/large", True, True)]


def test_what_one_of_two_readings_of_equal_bytes_holds_goes_although_the_other_one_is_pinned(tmp_path: Path) -> None:
    """A file whose bytes are damaged by one reading only comes first, and yet is no reason to keep what it holds."""
    made = Made(
        [Picture(), Picture()],
        [
            Content(b"2" * 32, 0, 400, 300),
            Content(b"2" * 32, 0, 400, 300, way=1, damage="cut short"),
            Content(b"1" * 32, 1, 200, 150),
        ],
        [File(b"/p", b"a.nef", 0), File(b"/p", b"a.tif", 1), File(b"/p", b"b.tif", 1), File(b"/p", b"c.jpg", 2)],
        {(0, 1, 0): Seen(confirmed=True)},
    )
    question = replace(EVERYTHING, policy=Policy(keep_files=frozenset([b"/p/a.tif"])))
    with closing(written(made, tmp_path)) as database:
        _, [group] = Library.load(database).plan_page(database, question, made.live_checks(), None)
    told = {file["path"]: file["held_by"] for file in group["files"]}
    assert told == {b"/p/a.nef": None, b"/p/a.tif": None, b"/p/b.tif": b"/p/a.nef", b"/p/c.jpg": b"/p/a.nef"}


def test_clusters_of_which_nothing_is_confirmed_cost_no_look_at_all_of_them(tmp_path: Path) -> None:
    count = 500
    made = Made(
        [Picture(structure=9 * (n // 2), mse=90 * (n // 2)) for n in range(2 * count)],
        [Content((n * 37 % 1000).to_bytes(4, "big") * 8, n) for n in range(2 * count)],
        [File(b"/p", b"%d" % n, n) for n in range(2 * count)],
        {(2 * n, 2 * n + 1, 0): Seen(confirmed=None) for n in range(count)},
    )
    counting = Counting(made)
    stored = [Match(2 * n, 2 * n + 1, 0, 0.0, 0.0) for n in range(count)]
    with closing(written(made, tmp_path, stored)) as database:
        total, found = Library.load(database).page(database, EVERYTHING, counting.live_checks, 20)
    assert (total, len(found)) == (count, 20)
    assert [one["id"] for one in found] == sorted(one["id"] for one in found)
    assert counting.looked_at <= 2 * (20 + 16)


def test_clusters_of_a_large_and_a_small_file_cost_no_look_at_all_of_them(tmp_path: Path) -> None:
    count = 500
    made = Made(
        [Picture(structure=9 * (n // 2), mse=90 * (n // 2)) for n in range(2 * count)],
        [
            Content(
                (n * 37 % 1000).to_bytes(4, "big") * 8,
                n,
                width=200 + 200 * (n % 2),
                size_bytes=10_000 if n % 2 else 1000 + n * 89 % 1000,
            )
            for n in range(2 * count)
        ],
        [File(b"/p", b"%d" % n, n) for n in range(2 * count)],
    )
    counting = Counting(made)
    stored = [Match(2 * n, 2 * n + 1, 0, 0.0, 0.0) for n in range(count)]
    with closing(written(made, tmp_path, stored)) as database:
        _, found = Library.load(database).page(database, EVERYTHING, counting.live_checks, 20)
    freed = sorted((content.size_bytes for content in made.contents[::2]), reverse=True)
    assert [one["reclaimable_bytes"] for one in found] == freed[:20]
    assert counting.looked_at <= 2 * (20 + 16)


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
    stored = [Match(n - 1, n, 0, 0.0, 0.0) for n in range(400) if n % 4]
    with closing(written(made, tmp_path, stored)) as database:
        assert 20 * 400 < Library.load(database).memory_bytes <= 100 * 400


def test_an_unknown_measure_is_our_own_mistake(tmp_path: Path) -> None:
    made = pairs_of_files([1000])
    with closing(written(made, tmp_path)) as database, pytest.raises(ValueError, match="beauty"):
        Library.load(database).page(database, Question("beauty", 1, mirrored=False), made.live_checks(), 1)
