"""Matches get their verdicts, whoever is interrupted, and closely where proofs cannot tell."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dupwatchd.db import verdicts
from dupwatchd.db.connection import Database
from dupwatchd.db.proofs import Proofs
from dupwatchd.errors import Interrupted
from dupwatchd.model import Verdict
from dupwatchd.update.pipeline import IntakeOnDemand, bring_up_to_date
from tests.conftest import Rgb, encoded, photo_like
from tests.update.small_index import LIMITS, RULES, PhotoPool, Silent, intake_on_demand, new_database, write

Told = dict[tuple[str, str], tuple[str | None, bool | None]]


class BreakingOff(Silent):
    """Progress that interrupts the work at one of its steps."""

    def __init__(self, at_step: int) -> None:
        self._left = at_step

    def stage(self, description: str, total: int | None, unit: str = "files") -> None:
        self.advance(0)

    def advance(self, steps: int) -> None:
        self._left -= 1
        if self._left == 0:
            raise Interrupted("interrupted")


class Index:
    """The photos of a folder, in a real index."""

    def __init__(self, folder: Path, state: Path, pool: PhotoPool | None = None, *, frames: bool = True) -> None:
        self.frames = frames
        self.root = os.fsencode(folder)
        self.state = state
        self.database: Database = new_database(state)
        self.pool = pool or PhotoPool()
        self.intake: IntakeOnDemand

    def update_in_two(self, step: int) -> bool:
        """Is interrupted at that step, and goes on; False if it has come to its end before."""
        try:
            self.update(BreakingOff(step))
        except Interrupted:
            self.update()
            return True
        return False

    def update(self, progress: Silent | None = None) -> None:
        """As a new process does."""
        self.intake = intake_on_demand(self.database, self.state, self.pool, progress, frames=self.frames)
        bring_up_to_date(
            self.database, [self.root], RULES, LIMITS, self.intake, progress or Silent(), frames=self.frames
        )

    def told(self) -> Told:
        """By the names of the files of each near match: the verdict, and whether it is confirmed."""
        names = names_of(self.database)
        rows = self.database.rows("SELECT a, b, verdict, confirmed FROM match WHERE near = 1")
        pairs = {tuple(sorted((names[a], names[b]))): (verdict, confirmed) for a, b, verdict, confirmed in rows}
        return {
            (pair[0], pair[1]): (
                None if verdict is None else list(Verdict)[verdict - 1].value,
                None if confirmed is None else bool(confirmed),
            )
            for pair, (verdict, confirmed) in sorted(pairs.items())
        }


def names_of(database: Database) -> dict[int, str]:
    """The first file of each picture."""
    rows = database.rows(
        "SELECT picture_id, CAST(name AS TEXT) FROM content JOIN file ON content_id = content.id WHERE picture_id >= 0"
    )
    return dict(sorted(rows, reverse=True))


def page(number: str, size_px: tuple[int, int] = (900, 1200)) -> Rgb:
    """A page of text with a number in it."""
    image = Image.new("RGB", (900, 1200), "white")
    draw = ImageDraw.Draw(image)
    random = np.random.default_rng(1)
    for line in range(40):
        words = "".join(chr(97 + letter) if letter < 26 else " " for letter in random.integers(0, 31, 60))
        draw.text((60, 60 + 26 * line), words, fill="black", font_size=20)
    draw.text((600, 20), number, fill="black", font_size=16)
    return np.asarray(image.resize(size_px, Image.Resampling.LANCZOS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    for seed in (1, 2):
        photo = photo_like(seed, 640, 480)
        write(photos / f"{seed}.jpg", encoded(photo, "PNG"))
        write(photos / f"{seed} q80.jpg", encoded(photo, "JPEG", quality=80))
        half = np.asarray(Image.fromarray(photo).resize((320, 240), Image.Resampling.LANCZOS))
        write(photos / f"{seed} turned.jpg", encoded(np.rot90(half).copy(), "PNG"))
    grey = np.asarray(Image.fromarray(photo_like(1, 640, 480)).convert("L").convert("RGB"))
    write(photos / "grey.jpg", encoded(grey, "PNG"))
    return photos


def test_copies_are_the_same_and_grey_ones_recoloured(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    told = index.told()
    assert {pair: verdict for pair, (verdict, _) in told.items()} == {
        ("1 q80.jpg", "1 turned.jpg"): "same",
        ("1 q80.jpg", "1.jpg"): "same",
        ("1 q80.jpg", "grey.jpg"): "recoloured",
        ("1 turned.jpg", "1.jpg"): "same",
        ("1 turned.jpg", "grey.jpg"): "recoloured",
        ("1.jpg", "grey.jpg"): "recoloured",
        ("2 q80.jpg", "2 turned.jpg"): "same",
        ("2 q80.jpg", "2.jpg"): "same",
        ("2 turned.jpg", "2.jpg"): "same",
    }


def test_interrupted_at_any_step_the_verdicts_are_the_same_in_the_end(folder: Path, tmp_path: Path) -> None:
    undisturbed = Index(folder, tmp_path / "undisturbed")
    undisturbed.update()
    for step in count(1):
        index = Index(folder, tmp_path / f"state {step}")
        if not index.update_in_two(step):
            break
        assert index.told() == undisturbed.told()
        index.database.close()
    assert step > 10


def test_copies_of_a_page_are_looked_at_closely_at_once_and_another_number_is_told(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos / "a.jpg", encoded(page("No. 4711"), "PNG"))
    write(photos / "a copy.jpg", encoded(page("No. 4711"), "JPEG", quality=85))
    write(photos / "b.jpg", encoded(page("No. 4718"), "PNG"))
    index = Index(photos, tmp_path / "state")
    index.update()
    told = index.told()
    assert told["a copy.jpg", "a.jpg"] == ("same", True)
    assert told["a.jpg", "b.jpg"][0] == "retouched"
    index.pool.looked_at.clear()
    index.update()
    assert index.pool.looked_at == []  # that was enough


def test_a_photo_that_is_away_is_looked_at_closely_when_it_is_back(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    away = (folder / "2.jpg").rename(tmp_path / "2.jpg")
    looking = index.intake().looking
    while looking.confirm_for(0.01):
        pass
    told = index.told()
    assert told["2 q80.jpg", "2 turned.jpg"] == ("same", True)
    assert told["2 q80.jpg", "2.jpg"] == told["2 turned.jpg", "2.jpg"] == ("same", None)
    assert told["1.jpg", "grey.jpg"] == ("recoloured", None)  # nothing is to be confirmed there
    away.rename(folder / "2.jpg")
    assert not looking.confirm_for(1.0)
    looking.expect_any()
    while looking.confirm_for(0.01):
        pass
    assert {verdict for verdict in index.told().values() if verdict[0] == "same"} == {("same", True)}


def test_pairs_left_to_confirm_are_never_told_to_be_none_while_there_are_some(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    looking = index.intake().looking
    assert looking.confirm_for(0.0)  # they are counted now
    assert looking.confirm_for(0.0)  # and one of them is looked at
    looking.expect_any()  # as a look through all roots does, in the middle
    assert looking.left_to_confirm is None
    while looking.confirm_for(0.0):
        assert looking.left_to_confirm == len(verdicts.to_confirm(index.database))
    assert looking.left_to_confirm == len(verdicts.to_confirm(index.database)) == 0


def test_the_pairs_that_free_most_come_first(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    sizes = {name: (folder / name).stat().st_size for name in os.listdir(folder)}
    names = names_of(index.database)
    freed = [min(sizes[names[a]], sizes[names[b]]) for a, b, _ in verdicts.to_confirm(index.database)]
    assert freed == sorted(freed, reverse=True)
    assert len(freed) > 3


def line_of_text(text: str, size_px: tuple[int, int] = (620, 877)) -> Rgb:
    """A page with nothing but one line on it."""
    image = Image.new("RGB", (1240, 1754), "white")
    ImageDraw.Draw(image).text((300, 200), text, fill="black", font_size=30)
    return np.asarray(image.resize(size_px, Image.Resampling.LANCZOS))


def test_pages_with_one_line_are_found_and_told_apart_and_blank_ones_are_not_compared(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name, text in (("left", "This page is left blank"), ("sum", "The sum is 4,711.00 EUR")):
        write(photos / f"{name}.jpg", encoded(line_of_text(text), "PNG"))
        write(photos / f"{name} q85.jpg", encoded(line_of_text(text), "JPEG", quality=85))
        write(photos / f"{name} small.jpg", encoded(line_of_text(text, (496, 702)), "PNG"))
    random = np.random.default_rng(1)
    for number in range(3):
        scanned = np.clip(245 + random.normal(0, 6, (800, 600, 3)), 0, 255).astype(np.uint8)
        write(photos / f"blank {number}.jpg", encoded(scanned, "PNG"))
        write(photos / f"black {number}.jpg", encoded(scanned // 20, "PNG"))
    index = Index(photos, tmp_path / "state")
    index.update()
    told = index.told()
    same = {pair for pair, (verdict, _) in told.items() if verdict == "same"}
    assert {frozenset(name.partition(" ")[0].removesuffix(".jpg") for name in pair) for pair in same} == {
        frozenset(["left"]),
        frozenset(["sum"]),
    }
    assert {name for pair in same for name in pair} == {
        f"{name}{kind}.jpg" for name in ("left", "sum") for kind in ("", " q85", " small")
    }
    assert not [pair for pair in told if any(name.startswith("bla") for name in pair)]


@pytest.mark.parametrize("seed", range(2))  # test_order.py tries more, with small pictures
def test_verdicts_do_not_depend_on_the_order_in_which_photos_came_and_went(
    folder: Path, tmp_path: Path, seed: int
) -> None:
    """Of each photo five copies match, and the three nearest of each picture are looked at."""
    for name in ("1", "2"):
        for quality in (95, 60):
            data = encoded(photo_like(int(name), 640, 480), "JPEG", quality=quality)
            write(folder / f"{name} q{quality}.jpg", data)
    expected = Index(folder, tmp_path / "at once")
    expected.update()
    random = np.random.default_rng(seed)
    away = tmp_path / "away"
    away.mkdir()
    names = sorted(os.listdir(folder))
    for name in names:
        (folder / name).rename(away / name)
    index = Index(folder, tmp_path / "one by one")
    for _ in range(6):
        for name in random.choice(names, 5, replace=False):
            here, there = (folder / name, away / name) if random.random() < 0.3 else (away / name, folder / name)
            if here.exists():
                here.rename(there)
        index.update()
    for path in away.iterdir():
        path.rename(folder / path.name)
    index.update()
    assert index.told() == expected.told()
    assert len(index.told()) > 15


def test_the_proofs_of_pictures_that_are_gone_go_too(folder: Path, tmp_path: Path) -> None:
    index = Index(folder, tmp_path / "state")
    index.update()
    proofs = Proofs(str(index.state))
    assert len(proofs.ids()) == 7
    (folder / "grey.jpg").unlink()
    (folder / "1.jpg").unlink()
    index.update()
    assert proofs.ids() == [row[0] for row in index.database.rows("SELECT id FROM picture ORDER BY id")]
    assert len(proofs.ids()) == 5


@pytest.fixture
def scanned(folder: Path, tmp_path: Path) -> Iterator[Index]:
    index = Index(folder, tmp_path / "state")
    index.update()
    yield index
    index.database.close()


def test_a_damaged_proof_is_no_proof_and_its_matches_wait_for_another(scanned: Index) -> None:
    before = scanned.told()
    scanned.database.rows("UPDATE match SET verdict = NULL")
    picture_id = scanned.database.value("SELECT min(id) FROM picture")
    proofs = scanned.intake().stores.proofs
    proofs.write({picture_id: b"damaged"})
    scanned.intake().looking.expect_any()
    scanned.intake().looking.look_at_all()
    assert scanned.database.rows("SELECT id FROM picture WHERE proof_digest IS NULL") == [(picture_id,)]
    waiting = scanned.database.rows("SELECT a, b FROM match WHERE verdict IS NULL AND near = 1")
    assert waiting
    assert all(picture_id in pair for pair in waiting)
    assert verdicts.count_not_looked_at(scanned.database) == len(waiting) < len(before)
