"""Pictures that share a part, against a program that looks at everything."""

import os
import random
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dupwatchd.model import NO_PART, Facts, PartTold, Verdict
from dupwatchd.serve import ranking
from dupwatchd.serve.clusters import ONE_PICTURE, Question
from dupwatchd.serve.filters import NO_FILTERS, Filters, Linkage
from dupwatchd.serve.library import Library
from dupwatchd.serve.plan_policy import Policy
from tests.serve import plain
from tests.serve.made import Content, File, Made, Picture, Seen, written

LIBRARIES = int(os.environ.get("LIBRARIES", "8"))  # tests/long/README.md names a larger number
PICTURES = 14
QUESTION = Question("structure", 0.02, mirrored=False)
WITH_CROPPED = replace(QUESTION, verdicts=ONE_PICTURE | {Verdict.CROPPED})
LINKED = [NO_FILTERS, Filters(upright=True), Filters(linkage=Linkage.STAR), Filters(linkage=Linkage.COMPLETE)]


def looked(one_of: random.Random) -> Seen | None:
    if one_of.random() < 0.1:
        return None
    verdict = one_of.choice([None, Verdict.SAME, *[Verdict.CROPPED] * 5, Verdict.RETOUCHED, Verdict.RECOLOURED])
    return Seen(verdict=verdict, confirmed=None, part=lying(one_of), by_part=True)


def lying(one_of: random.Random) -> PartTold:
    shows_more, share = one_of.choice([-1, -1, 1, 1, 0]), one_of.choice([0.3, 0.5, 0.9])
    corners = (0.0, 0.0, 1.0, 0.0, 1.0, share, 0.0, share) if shows_more else ()
    return PartTold(one_of.choice([0, 0, 90, 180]), shows_more, one_of.random() < 0.3, corners)


def library_of(seed: int) -> Made:
    """Some pictures are near others, more of them lie in others; some files are missing."""
    one_of = random.Random(seed)
    shown = [Picture(one_of.randrange(70), one_of.randrange(70), flat=one_of.random() < 0.05) for _ in range(PICTURES)]
    for one in range(0, PICTURES - 1, 4):
        shown[one + 1] = replace(shown[one], structure=shown[one].structure + one_of.randrange(2))
    contents = [
        Content(
            bytes([number]) * 32, number % PICTURES, one_of.choice([10, 20, 40]), one_of.choice([10, 20, 40]),
            one_of.choice([100, 200, 300, 5000]), facts=Facts(has_colour=one_of.random() < 0.9),
        )
        for number in range(PICTURES + 6)
    ]  # fmt: skip
    files = [
        File(b"/p", b"%d.jpg" % number, number % len(contents), there=one_of.random() < 0.85) for number in range(26)
    ]
    made = Made(shown, contents, files)
    for match in made.matches():
        verdict = one_of.choice([Verdict.SAME, Verdict.SAME, Verdict.CROPPED, Verdict.RETOUCHED])
        part = lying(one_of) if verdict is Verdict.CROPPED and one_of.random() < 0.7 else NO_PART
        made.seen[match[:3]] = Seen(verdict=verdict, confirmed=one_of.choice([True, None]), part=part)
    for a in range(PICTURES):
        for b in range(a + 1, PICTURES):
            if one_of.random() < 0.08:
                made.parts[a, b] = looked(one_of)
    return made


@pytest.mark.parametrize("seed", range(LIBRARIES))
def test_groups_pairs_and_plans_hold_what_looking_at_everything_finds(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_LOOK_AT_LEAST", 1)
    made = library_of(seed)
    live_checks = made.live_checks()
    policy = Policy(also=frozenset({Verdict.CROPPED, Verdict.RETOUCHED}), ask_when=frozenset())
    with tempfile.TemporaryDirectory() as folder, closing(written(made, Path(folder) / "state")) as database:
        library = Library.load(database)
        for filters in LINKED:
            for plainly in (QUESTION, WITH_CROPPED, replace(WITH_CROPPED, measure="mse", mirrored=True)):
                question = replace(plainly, filters=filters)
                expected = plain.clusters(made, question)
                assert library.page(database, question, live_checks, None) == (len(expected), expected)
                pairs = plain.pairs(made, replace(question, pairs=True))
                assert library.pairs_page(database, replace(question, pairs=True), live_checks, None)[1] == pairs
            question = replace(WITH_CROPPED, filters=filters, policy=policy)
            question = replace(question, verdicts=question.verdicts | policy.also)
            expected = plain.clusters(made, question)
            paged = [library.page(database, question, live_checks, 1, n)[1] for n in range(len(expected) + 1)]
            assert paged == [*([cluster] for cluster in expected), []]
            _, planned = library.plan_page(database, question, live_checks, None)
            for group, other in zip(planned, plain.plan(made, question), strict=True):
                told = [(file["path"], file["goes"], file["held_by"], file["reason"]) for file in group["files"]]
                assert told == [(one["path"], one["goes"], one["held_by"], one["reason"]) for one in other["files"]]


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_another_answer_unless_parts_are_asked_for_or_are_the_same(seed: int) -> None:
    made = library_of(seed)
    parts = {pair: seen for pair, seen in made.parts.items() if seen is None or seen.verdict is not Verdict.SAME}
    answers = []
    for some in (parts, {}):
        other = replace(made, parts=some)
        with tempfile.TemporaryDirectory() as folder, closing(written(other, Path(folder) / "state")) as database:
            library = Library.load(database)
            rows = library.page(database, QUESTION, other.live_checks(), None)
            plans = library.plan_page(database, QUESTION, other.live_checks(), None)
        for cluster in rows[1]:
            for file in cluster["files"]:  # what the kept one is to a file beside it may be known by a part
                file["verdict"] = file["shows_more"] = file["outline"] = None
        answers.append((rows, plans))
    assert answers[0] == answers[1]


def test_enough_of_the_libraries_have_parts_that_matter() -> None:
    differing = 0
    for seed in range(LIBRARIES):
        made = library_of(seed)
        with_parts, without = plain.clusters(made, WITH_CROPPED), plain.clusters(replace(made, parts={}), WITH_CROPPED)
        differing += with_parts != without
    assert differing > LIBRARIES * 3 / 4
