"""The page of an index that a scan has left: without a service, by one of its own that ends with it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zmq.auth

from dupwatch import private_service
from dupwatch.client import Client
from tests.review.conftest import Reviewing
from tests.system.in_process import scan
from tests.system.service import Service, until

COMMAND = [sys.executable, "-m", "dupwatch", "review", "--no-browser"]


@pytest.fixture
def state(photos: Path, tmp_path: Path) -> Path:
    """The state directory of a scan."""
    scan(photos, state=tmp_path / "state")
    return tmp_path / "state"


def told(page: Reviewing, cookie: str) -> dict[str, Any]:
    """All groups, once they have been read, and what was decided."""
    until(lambda: json.loads(page.ask("/api/groups", cookie=cookie)[2])["whole"])
    found: dict[str, Any] = json.loads(page.ask("/api/groups", cookie=cookie)[2])
    return found


def children(page: Reviewing) -> list[int]:
    assert page.process is not None
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(page.process.pid)], capture_output=True, check=False)
    return [int(number) for number in told.stdout.split()]


def refused(*arguments: str | Path, status: int) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, done
    [line] = done.stderr.splitlines()
    return line


def test_a_page_shows_what_a_scan_has_found_and_keeps_decisions(state: Path, tmp_path: Path) -> None:
    with Reviewing("", tmp_path / "home", state=state) as page:
        cookie = page.enter()
        rows = told(page, cookie)["rows"]
        assert len(rows) > 8
        start = json.loads(page.ask("/api/start", cookie=cookie)[2])
        assert start["endpoint"] == f"index {state}"
        pair = next(row for row in rows if len(row["files"]) == 2)
        stays, goes = ([file["path"]] for file in pair["files"])
        decision = {"key": pair["key"], "stays": stays, "goes": goes, "out": []}
        headers = {"x_dupwatch_token": start["token"], "sec_fetch_site": "same-origin"}
        body = json.dumps({"decisions": [decision]})
        assert page.ask("/api/decide", "POST", body, cookie=cookie, **headers)[0] == 200
        [service] = children(page)
    until(lambda: not os.path.exists(f"/proc/{service}"))
    scan(tmp_path / "photos", state=state)  # nobody holds the lock
    with Reviewing("", tmp_path / "home", state=state) as page:
        assert told(page, page.enter())["decided"] == {decision.pop("key"): decision}


def test_the_service_ends_even_if_the_page_is_killed(state: Path, tmp_path: Path) -> None:
    with Reviewing("", tmp_path / "home", state=state) as page:
        [service] = children(page)
        assert page.process is not None
        page.process.send_signal(signal.SIGKILL)
        page.process.wait()
    until(lambda: not os.path.exists(f"/proc/{service}"))


def test_an_index_that_a_service_holds_is_left_to_it(photos: Path, tmp_path: Path) -> None:
    with Service(tmp_path / "service", photos) as service:
        said = refused("--state", service.state, status=1)
        assert f"cannot start a service for {service.state}: the state directory" in said
        assert said.endswith("ask that service instead, without a state directory")
        service.settled()


def test_the_settings_of_a_service_for_others_keep_nobody_out(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    (keys / "clients").mkdir(parents=True)
    zmq.auth.create_certificates(keys, "server")
    (keys / "server.key_secret").chmod(0o600)
    zmq.auth.create_certificates(keys / "clients", "somebody")
    settings = tmp_path / "service.toml"
    settings.write_text(f'socket_group = "no such group"\n[serve]\ncurve_keys = "{keys}"\n')
    monkeypatch.setenv("DUPWATCH_CONFIG", str(settings))
    monkeypatch.setattr(private_service, "START_SECONDS", 15.0)
    with private_service.service_of_index(os.fsencode(state)) as endpoint, Client(endpoint) as client:
        assert client.request("version")


def test_what_is_no_index_is_told_in_one_line(tmp_path: Path) -> None:
    said = refused("--state", tmp_path, status=2)
    assert f"no index in {tmp_path}" in said
    assert not list(tmp_path.iterdir())
    assert (
        "it goes without --endpoint"
        in subprocess.run(
            [*COMMAND, "--state", tmp_path, "--endpoint", "/tmp/x"], capture_output=True, text=True, check=False
        ).stderr
    )


def test_a_report_and_a_group_are_shown_of_what_a_scan_has_left(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = [sys.executable, "-m", "dupwatch"]
    page = tmp_path / "copies.html"
    done = subprocess.run(
        [*run, "report", "--state", state, "--html", page, "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["groups"] > 8
    assert '"incomplete_because":[]' in page.read_text()
    one = next(tmp_path.joinpath("photos").rglob("*.jpg"))
    done = subprocess.run([*run, "show", "--state", state, "--json", one], capture_output=True, text=True, check=True)
    assert [copy["path"] for copy in json.loads(done.stdout)["copies"]].count(str(one)) == 1
    for command in (["report", "--html", str(tmp_path / "other.html")], ["show", str(one)]):
        done = subprocess.run(
            [*run, *command, "--state", state, "--keys", tmp_path], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "it goes without --endpoint and --keys" in done.stderr) == (2, True)
    scan(tmp_path / "photos", state=state)  # nobody holds the lock
