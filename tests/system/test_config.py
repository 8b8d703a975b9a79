"""`dupwatchd config`, and settings files as the real commands read them."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupwatchd.settings import Settings, fields, load, load_with_origins, model, printing, values

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("DUPWATCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path))  # nobody's own settings


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "dupwatchd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_what_is_printed_says_where_it_comes_from_and_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "dupwatch.toml"
    file.write_text('[watch]\nignore = ["a b", "c\\"d"]\n')
    monkeypatch.setenv("DUPWATCH_COMPARE__THRESHOLD", "0.01")
    done = run("config", "--config", file, "--state", "/x")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split(" = ")[0]: line.split("# ")[-1] for line in done.stdout.splitlines()}
    assert lines["state"] == "flag"
    assert lines["ignore"] == f"{file}:2"
    assert lines["threshold"] == "environment DUPWATCH_COMPARE__THRESHOLD"
    assert lines["workers"] == "default"
    again = tmp_path / "again.toml"
    again.write_text(done.stdout)
    monkeypatch.delenv("DUPWATCH_COMPARE__THRESHOLD")
    assert load({}, str(again)) == load(
        {"state": "/x", "compare": {"threshold": 0.01}, "watch": {"ignore": ["a b", 'c"d']}}
    )


def test_the_json_document_holds_every_setting(tmp_path: Path) -> None:
    (tmp_path / "dupwatch.toml").write_text('roots = ["/srv/photos"]')
    document = json.loads(run("config", "--json").stdout)
    assert document["file"] == str(tmp_path / "dupwatch.toml")
    assert set(document["settings"]) == set(fields())
    assert document["settings"]["roots"] == {"value": ["/srv/photos"], "from": f"{tmp_path}/dupwatch.toml:1"}
    assert document["settings"]["compare.threshold"] == {"value": None, "from": "default"}


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_any_text_survives_being_printed(ignore: list[str]) -> None:
    loaded = load_with_origins({"state": "/x", "watch": {"ignore": ignore}})
    assert tomllib.loads(printing.in_force(loaded))["watch"]["ignore"] == ignore


def test_a_path_that_toml_cannot_hold_is_shown_in_a_comment() -> None:
    text = printing.in_force(load_with_origins({"state": os.fsdecode(b"/\xff")}))
    assert "#state = " in text
    assert "state" not in tomllib.loads(text)


def test_the_example_sets_nothing_and_each_of_its_lines_could(tmp_path: Path) -> None:
    text = printing.example()
    assert all(values == {} for values in tomllib.loads(text).values())
    uncommented = tmp_path / "all.toml"
    uncommented.write_text(re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE))
    loaded = load_with_origins({}, str(uncommented))
    assert {origin.rpartition(":")[0] for origin in loaded.origins.values()} == {str(uncommented)}
    examples = {name for name, field in fields().items() if field.examples}
    assert all(
        values(loaded.settings)[name] == value
        for name, value in values(Settings(state="/x")).items()
        if name not in examples
    )


def test_scan_and_check_read_the_file_they_are_given(tmp_path: Path) -> None:
    file = tmp_path / "dupwatch.toml"  # where the service would look: the others must not
    file.write_text(f'state = "{tmp_path}/state"')
    (tmp_path / "photos").mkdir()
    assert run("scan", "--config", file, tmp_path / "photos").returncode == 0
    assert (tmp_path / "state" / "dupwatch.sqlite").exists()
    assert "all is sound" in run("check", "--config", file).stdout
    file.write_text("stat = 1")
    for done in (run("check", "--config", file), run("scan", "--config", file, tmp_path), run("config")):
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (f"dupwatchd: {file}:1: setting stat: there is no such setting; is state meant?\n")


# ---- the index of the service, if nobody names one


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, where the user's own service keeps its index in a place of its own."""
    monkeypatch.delenv("CONFIGURATION_DIRECTORY")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config" / "dupwatch").mkdir(parents=True)
    (tmp_path / ".config" / "dupwatch" / "dupwatch.toml").write_text(f'state = "{tmp_path}/of the service"')
    (tmp_path / "photos").mkdir()
    return tmp_path


def test_check_finds_the_index_of_the_service_and_says_so(home: Path) -> None:
    assert run("scan", home / "photos", "--state", home / "of the service").returncode == 0
    done = run("check")
    assert done.returncode == 0
    assert f"all is sound in {home}/of the service" in done.stdout
    assert done.stderr == f"dupwatchd: this is about the index of the service, {home}/of the service\n"
    assert json.loads(run("check", "--json").stdout)["state"] == f"{home}/of the service"


def test_check_of_ones_own_index_says_that_there_is_another(home: Path) -> None:
    for state in ("of the service", ".local/state/dupwatch"):
        assert run("scan", home / "photos", "--state", home / state).returncode == 0
    done = run("check")
    assert f"all is sound in {home}/.local/state/dupwatch" in done.stdout
    assert f"there is an index in {home}/of the service, too" in done.stderr
    named = run("check", "--state", home / "of the service")
    assert named.stderr == ""
    assert "of the service" in named.stdout


def test_the_system_s_settings_file_means_the_system_s_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert model.default_state("/etc/dupwatch/dupwatch.toml") == "/var/lib/dupwatch"
    assert model.default_state("/etc/dupwatch/../dupwatch/dupwatch.toml") == "/var/lib/dupwatch"
    assert model.default_state("/home/ann/dupwatch.toml") == model.default_state()
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/other:/var/lib/more")
    assert model.default_state("/etc/dupwatch/dupwatch.toml") == "/var/lib/other"
