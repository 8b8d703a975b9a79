import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dupwatch import endpoints
from dupwatch.errors import WrongUsageError
from dupwatchd.errors import UsageError
from dupwatchd.settings import Settings, fields, load, load_with_origins, reload, values
from dupwatchd.settings.sources import find_file


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


@pytest.mark.parametrize("name", ["dupwatch_index__workers", "DUPWATCH_Index__Workers", "Dupwatch_Index__Workers"])
def test_a_variable_in_small_letters_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(UsageError, match=rf"no setting is called {name}; is DUPWATCH_INDEX__WORKERS meant\?"):
        load({})


def test_a_whole_section_in_one_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUPWATCH_INDEX", '{"workers": 3}')
    with pytest.raises(UsageError, match="no setting is called DUPWATCH_INDEX"):
        load({})


@pytest.mark.parametrize("name", ["DUPWATCH_ROOTS", "DUPWATCH_WATCH__SUFFIXES"])
def test_a_list_in_the_environment_is_json_and_a_mistake_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, '["/a", "/b"]')
    settings = load({})
    assert ("/a", "/b") in (settings.roots, tuple(suffix.lstrip(".") for suffix in settings.watch.suffixes))
    monkeypatch.setenv(name, '"/a"')
    with pytest.raises(UsageError, match=f"{name} must be a JSON list"):
        load({})


def test_every_single_value_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "state": "/x", "endpoint": "tcp://127.0.0.1:7000", "socket_group": "photos", "watch.ignore_junk": "false",
        "watch.settle_seconds": "3", "index.thumbnail_px": "64", "index.io_class": "none", "index.nice": "3",
        "index.load_window": "22:00-06:00", "compare.threshold": "0.01", "compare.mirrored": "true",
    }  # fmt: skip
    for name, text in given.items():
        monkeypatch.setenv("DUPWATCH_" + name.replace(".", "__").upper(), text)
    found = values(load({}))
    assert {name: found[name] for name in given} == {
        "state": "/x", "endpoint": "tcp://127.0.0.1:7000", "socket_group": "photos", "watch.ignore_junk": False,
        "watch.settle_seconds": 3, "index.thumbnail_px": 64, "index.io_class": "none", "index.nice": 3,
        "index.load_window": "22:00-06:00", "compare.threshold": 0.01, "compare.mirrored": True,
    }  # fmt: skip


def test_suffixes_are_taken_with_and_without_dot_in_any_case() -> None:
    assert load({"watch": {"suffixes": ("JPG", ".heic")}}).watch.suffixes == (".jpg", ".heic")


# ---- the file


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "dupwatch.toml"
        path.write_text(text)
        return str(path)

    return write


def test_the_file_comes_before_the_default_and_after_all_else(
    write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write('state = "/srv/state"\n[index]\nworkers = 1\nmemory_mb = 100\nmax_pixels = 7\n')
    monkeypatch.setenv("DUPWATCH_INDEX__MEMORY_MB", "200")
    monkeypatch.setenv("DUPWATCH_INDEX__MAX_PIXELS", "8")
    loaded = load_with_origins({"index": {"max_pixels": 9}}, file)
    index = loaded.settings.index
    assert (index.workers, index.memory_mb, index.max_pixels, index.decode_seconds) == (1, 200, 9, 30)
    assert loaded.origins["state"] == f"{file}:1"
    assert loaded.origins["index.workers"] == f"{file}:3"
    assert loaded.origins["index.memory_mb"] == "environment DUPWATCH_INDEX__MEMORY_MB"
    assert loaded.origins["index.max_pixels"] == "flag"
    assert loaded.origins["index.decode_seconds"] == "default"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[index]\n\nworker = 3", r":3: setting index.worker: there is no such setting; is index.workers meant\?"),
        ("workers = 3", r":1: setting workers: .* is index.workers meant\?"),
        ("[nonsense]", r":1: setting nonsense: there is no such setting"),
        ("index = 3", r":1: setting index: it is a section; write \[index\]"),
        ("[index]\nworkers = -1", r":2: setting index.workers: input should be greater than or equal to 0, not -1"),
        ("index.workers = 'x'", r":1: setting index.workers: .* integer.* not 'x'"),
        ("[watch]\n# a\nignore = 'x'", r":3: setting watch.ignore: input should be a valid list, not 'x'"),
        ("[watch]\nignore = [1]", r":2: setting watch.ignore: .* string, not 1"),
        ('roots = ["photos"]', r":1: setting roots: they should be absolute paths, not \['photos'\]"),
        ('endpoint = "ipc://@abstract"', r":1: setting endpoint: .* it should be ipc:///path"),
        (f'endpoint = "ipc:///{"x" * 107}"', r"at most 107 bytes"),
        ('endpoint = "tcp://0.0.0.0:7000"', r"can be reached from other machines; that needs serve.curve_keys"),
        ('[index]\nload_window = "22-6"', r":2: setting index.load_window: it should be two times such as 22:00-06:00"),
        ('[index]\nio_class = "low"', r":2: setting index.io_class: input should be 'idle', 'best-effort' or 'none'"),
        ('[compare]\nmeasure = "ssim"', r":2: .* it should be structure, mse or package.module:name, not 'ssim'"),
        ('[compare]\nmeasure = "a.b:c"', r"compare.threshold: the measure a.b:c is your own and needs one"),
        ("[index]\nworkers = ", r":2: this is not TOML: invalid value"),
        ("[index]\n[index]\n", r":2: this is not TOML: cannot declare"),
        ("[watch]\nsettle_seconds = inf", r":2: setting watch.settle_seconds"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line_that_says_where(
    write: Callable[[str], str], text: str, line: str
) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        load({}, write(text))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the settings file .*: No such file"):
        load({}, str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b'state = "/\xe4"')
    with pytest.raises(UsageError, match="not UTF-8"):
        load({}, str(tmp_path / "latin.toml"))


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONFIGURATION_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "dupwatch" / "dupwatch.toml"
    assert find_file(None, service=True) in (None, "/etc/dupwatch/dupwatch.toml")
    own.parent.mkdir()
    own.touch()
    assert find_file(None) is None  # a scan does not read the service's file unasked
    assert find_file(None, service=True) == str(own)
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path))
    assert find_file(None, service=True) is None
    monkeypatch.setenv("DUPWATCH_CONFIG", "/a")
    assert find_file(None) == find_file(None, service=True) == "/a"
    assert find_file("/b", service=True) == "/b"


def test_a_home_may_be_written_as_a_tilde(write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert load({}, write('roots = ["~/Pictures"]')).roots == ("/home/ann/Pictures",)


# ---- single settings


def test_folders_need_not_be_utf_8() -> None:
    name = os.fsdecode(b"/srv/\xff")
    settings = load({"state": name, "roots": [name]})
    assert (settings.state, settings.roots) == (name, (name,))


def test_a_measure_of_ones_own_needs_a_threshold_which_is_what_is_kept() -> None:
    compare = load({"compare": {"measure": "photo.tools:hue", "threshold": 3}}).compare
    assert (compare.is_custom, compare.kept) == (True, 3)
    assert load({"compare": {"measure": "a:b", "threshold": 3, "keep_custom": 5}}).compare.kept == 5
    with pytest.raises(UsageError, match=r"above compare.keep_custom = 2"):
        load({"compare": {"measure": "a:b", "threshold": 3, "keep_custom": 2}})


@pytest.mark.parametrize("endpoint", ["ipc:///run/x.sock", "tcp://127.0.0.1:7000", "tcp://[::1]:7000"])
def test_an_endpoint_on_this_machine_needs_no_keys(endpoint: str) -> None:
    assert load({"endpoint": endpoint}).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    ["/run/x.sock", "ipc:///run/x.sock", f"ipc:///{'x' * 99}", f"ipc:///{'x' * 100}", "tcp://127.0.0.1:7000",
     "tcp://127.0.0.1:65535", "tcp://127.0.0.1:0", "tcp://127.0.0.1", "ipc://x.sock", "ipc://", "http://x", ""],
)  # fmt: skip
def test_the_service_listens_where_a_client_can_look_and_nowhere_else(endpoint: str) -> None:
    try:
        wanted: str | None = endpoints.checked(endpoint)
    except WrongUsageError:
        wanted = None
    try:
        chosen = load({"endpoint": endpoint}).endpoint
    except UsageError:
        chosen = None
    assert chosen == wanted


def test_the_example_endpoint_is_where_a_client_looks_unasked() -> None:
    assert fields()["endpoint"].examples == [endpoints.default_endpoints({})[-1]]


@pytest.mark.parametrize(
    ("window", "open_at", "closed_at"),
    [
        ("22:00-06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "21:59"]),
        ("09:30-17:00", ["09:30", "16:59"], ["09:29", "17:00", "00:00"]),
        ("", ["00:00", "12:00"], []),
    ],
)
def test_the_load_window(window: str, open_at: list[str], closed_at: list[str]) -> None:
    index = load({"index": {"load_window": window}}).index
    assert all(index.may_run_at(dt.time.fromisoformat(clock)) for clock in open_at)
    assert not any(index.may_run_at(dt.time.fromisoformat(clock)) for clock in closed_at)


# ---- changed while running


def test_a_reload_takes_up_what_it_can_and_names_the_rest(write: Callable[[str], str]) -> None:
    file = write('roots = ["/a"]\n[index]\nworkers = 1\n')
    old = load({"watch": {"settle_seconds": 3}}, file)
    write('roots = ["/a", "/b"]\n[index]\nworkers = 2\n[watch]\nsettle_seconds = 9\nignore_junk = false')
    after = reload(old, {"watch": {"settle_seconds": 3}}, file)
    assert after.applied == ["roots", "watch.ignore_junk"]
    assert after.need_restart == ["index.workers"]
    assert (after.settings.roots, after.settings.index.workers) == (("/a", "/b"), 1)
    assert after.settings.watch.settle_seconds == 3  # a flag stays a flag
    again = reload(after.settings, {"watch": {"settle_seconds": 3}}, file)
    assert (again.settings, again.applied, again.need_restart) == (after.settings, [], ["index.workers"])


def test_settings_that_are_made_from_values_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUPWATCH_INDEX__WORKERS", "3")
    for name in ("DUPWATCH_SOCKET_GROUP", "SOCKET_GROUP", "socket_group"):
        monkeypatch.setenv(name, "photos")
    settings = Settings(state="/x")
    assert (settings.index.workers, settings.socket_group) == (0, None)


def test_a_reload_of_nothing_new_changes_nothing(write: Callable[[str], str]) -> None:
    file = write("")
    old = load({}, file)
    assert reload(old, {}, file) == (old, [], [])


def test_a_broken_or_lost_file_at_reload_is_refused(write: Callable[[str], str]) -> None:
    file = write('roots = ["/a"]')
    old = load({}, file)
    write("roots = ")
    with pytest.raises(UsageError, match="not TOML"):
        reload(old, {}, file)
    os.unlink(file)
    with pytest.raises(UsageError, match="cannot read"):
        reload(old, {}, file)
