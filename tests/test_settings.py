import os
from typing import Any

import pytest

from dupwatchd.errors import UsageError
from dupwatchd.settings import load


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DUPWATCH_"):
            monkeypatch.delenv(name)


def test_a_flag_comes_before_the_environment_and_that_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load({}).index.workers == 0
    monkeypatch.setenv("DUPWATCH_INDEX__WORKERS", "3")
    monkeypatch.setenv("DUPWATCH_INDEX__MEMORY_MB", "500")
    assert load({}).index.workers == 3
    settings = load({"index": {"workers": 5}})
    assert (settings.index.workers, settings.index.memory_mb) == (5, 500)


def test_the_threshold_follows_the_measure() -> None:
    assert load({}).threshold == 0.02
    assert load({"compare": {"measure": "mse"}}).threshold == 25
    assert load({"compare": {"measure": "mse", "threshold": 7}}).threshold == 7


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"index": {"workers": -1}}, r"setting index.workers: .* not -1"),
        ({"index": {"thumbnail_px": 33}}, r"setting index.thumbnail_px"),
        ({"compare": {"measure": "ssim"}}, r"setting compare.measure: .* not 'ssim'"),
        ({"compare": {"threshold": 0.2}}, r"above compare.keep_structure = 0.04"),
        ({"compare": {"measure": "mse", "threshold": 51}}, r"above compare.keep_mse = 50"),
        ({"indx": {}}, r"setting indx"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(flags: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        load(flags)
    assert "\n" not in str(caught.value)


def test_a_higher_threshold_can_be_asked_for_once_it_is_kept() -> None:
    assert load({"compare": {"threshold": 0.2, "keep_structure": 0.2}}).threshold == 0.2


@pytest.mark.parametrize("name", ["DUPWATCH_INDEX__WORKER", "DUPWATCH_STAT", "DUPWATCH_NONSENSE__AT_ALL"])
def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(UsageError, match=f"no setting is called {name}"):
        load({})


def test_a_variable_that_is_no_value_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUPWATCH_WATCH__IGNORE", "not json")
    with pytest.raises(UsageError) as caught:
        load({})
    assert "\n" not in str(caught.value)


def test_suffixes_are_taken_with_and_without_dot_in_any_case() -> None:
    assert load({"watch": {"suffixes": ("JPG", ".heic")}}).watch.suffixes == (".jpg", ".heic")
