"""Nobody but the caller's own page gets anything, each line tried on the real server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.conftest import WITH_PLAIN_RIGHTS
from tests.review.conftest import Reviewing, wait_until
from tests.system.service import Service

SAME_ORIGIN = {"Sec_Fetch_Site": "same-origin"}


@pytest.fixture(scope="module")
def review(shared: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewing]:
    with Reviewing(shared.endpoint, tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="module")
def cookie(review: Reviewing) -> str:
    return review.enter()


@pytest.fixture(scope="module")
def token(review: Reviewing, cookie: str) -> str:
    return str(json.loads(review.ask("/api/start", Cookie=cookie)[2])["token"])


def test_it_listens_on_loopback_only(review: Reviewing) -> None:
    with open("/proc/net/tcp", encoding="ascii") as table:
        listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
    ours = [address for address in listening if address.endswith(f":{review.port:04X}")]
    assert ours == [f"0100007F:{review.port:04X}"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example", "0.0.0.0:{port}", ""])
def test_a_foreign_host_is_refused(review: Reviewing, cookie: str, host: str) -> None:
    status, _, text = review.ask("/api/start", Host=host.format(port=review.port), Cookie=cookie)
    assert status == 421
    assert "token" not in text


def test_the_first_address_works_once_and_leaves_no_token_behind(review: Reviewing, cookie: str) -> None:
    path = review.address.removeprefix(review.origin)
    assert review.ask(path)[0] == 403
    status, headers, text = review.ask(path, Cookie=cookie)  # in the browser that has used it, it leads to the page
    assert (status, "set-cookie" in headers) == (200, False)
    assert 'content="0;url=/"' in text


def test_the_cookie_is_for_this_server_alone(shared: Service, tmp_path: Path) -> None:
    with Reviewing(shared.endpoint, tmp_path) as review:
        flags = review.ask(review.address.removeprefix(review.origin))[1]["set-cookie"].lower().split("; ")
        assert flags[0].startswith(f"dupwatch-review-{review.port}=")
        assert {"httponly", "samesite=strict", "path=/"} <= set(flags)
        assert not any(flag.startswith("domain") for flag in flags)


@pytest.mark.parametrize("path", ["/", "/api/start", "/api/groups", "/static/review.js", "/api/events"])
@pytest.mark.parametrize("given", ["", "dupwatch-review=x", "dupwatch-review-{port}=guessed"])
def test_without_the_cookie_nothing_is_told(review: Reviewing, path: str, given: str) -> None:
    status, _, text = review.ask(path, Cookie=given.format(port=review.port))
    assert status == 403
    assert "groups" not in text


def test_a_wrong_token_is_refused(shared: Service, tmp_path: Path) -> None:
    with Reviewing(shared.endpoint, tmp_path) as review:
        assert review.ask("/?token=wrong")[0] == 403
        assert review.ask("/?token=")[0] == 403
        assert review.enter()  # the right one still works


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_of_this_machine_cannot_take_the_first_address(shared: Service, tmp_path: Path) -> None:
    code = f"import urllib.request as u; print(u.urlopen({'{!r}'}).status)"
    with Reviewing(shared.endpoint, tmp_path) as review:
        other = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", code.format(review.address)]
        done = subprocess.run(other, capture_output=True, text=True, check=False, cwd="/")
        assert "403" in done.stderr, done
        assert review.enter()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("path", ["/api/start", "/api/groups"])
def test_another_user_of_this_machine_is_refused_even_with_the_cookie(
    review: Reviewing, cookie: str, path: str
) -> None:
    code = (
        "import sys, urllib.request as u; headers = {'Cookie': sys.argv[2], 'Sec-Fetch-Site': 'same-origin'}; "
        "print(u.urlopen(u.Request(sys.argv[1], headers=headers)).status)"
    )
    asked = [sys.executable, "-c", code, review.origin + path, cookie]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "200\n"
    other = ["setpriv", "--reuid=65534", "--clear-groups", *asked]
    done = subprocess.run(other, capture_output=True, text=True, check=False, cwd="/")
    assert "403" in done.stderr, done


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_only_the_page_itself_is_answered(review: Reviewing, cookie: str, site: str) -> None:
    assert review.ask("/api/groups", Cookie=cookie, Sec_Fetch_Site=site)[0] == 403
    assert review.ask("/api/groups", Cookie=cookie, **SAME_ORIGIN)[0] == 200


@pytest.mark.parametrize("path", ["decide", "take-back", "rules", "rules/accept", "plan", "apply", "undo", "stop"])
def test_a_change_needs_the_header_and_the_word_of_the_browser(
    review: Reviewing, cookie: str, token: str, path: str
) -> None:
    def change(**headers: str) -> int:
        return review.ask(f"/api/{path}", "POST", "{}", Cookie=cookie, **headers)[0]

    assert change() == 403
    assert change(**SAME_ORIGIN) == 403
    assert change(X_Dupwatch_Token=token) == 403  # nobody says where it comes from
    assert change(X_Dupwatch_Token=token, Sec_Fetch_Site="same-site") == 403  # another port of this host
    assert change(X_Dupwatch_Token="wrong", **SAME_ORIGIN) == 403
    if path in ("take-back", "stop"):  # that do nothing here
        assert change(X_Dupwatch_Token=token, **SAME_ORIGIN) == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("decide", "{"), ("decide", "[]"), ("decide", '{"decisions": 5}'), ("decide", '{"decisions": ["a"]}'),
        ("rules", '{"kinds": 5}'), ("rules", '{"kinds": ["same"], "keys": [[]]}'), ("apply", '"a"'),
    ],
)  # fmt: skip
def test_what_no_page_sends_is_refused(review: Reviewing, cookie: str, token: str, path: str, body: str) -> None:
    headers = {**SAME_ORIGIN, "Cookie": cookie, "X_Dupwatch_Token": token}
    assert review.ask(f"/api/{path}", "POST", body, **headers)[0] == 400


@pytest.mark.parametrize("name", ["folder", "inside", "reference"])
@pytest.mark.parametrize("path", ["photos", "/\ud800"])
def test_a_folder_that_cannot_be_is_told(review: Reviewing, cookie: str, token: str, name: str, path: str) -> None:
    headers = {**SAME_ORIGIN, "Cookie": cookie, "X_Dupwatch_Token": token}
    body = json.dumps({"kinds": ["same"], "keep": "original", name: path})
    status, _, text = review.ask("/api/rules", "POST", body, **headers)
    assert (status, json.loads(text)) == (409, {"error": f"{path!r} is no full path of a folder"})


def test_nothing_may_be_loaded_from_elsewhere_or_guessed_to_be_a_program(review: Reviewing, cookie: str) -> None:
    for path in ("/", "/static/review.js", "/api/start", "/nowhere", f"/?token={'x' * 32}"):
        _, headers, _ = review.ask(path, Cookie=cookie)
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


@pytest.mark.parametrize(
    "wanted", ["/etc/passwd", "..%2f..%2fetc%2fpasswd", "00" * 32, "00", "zz" * 32, "%2Fetc%2Fpasswd"]
)
def test_pictures_have_no_paths_and_are_of_groups_only(review: Reviewing, cookie: str, wanted: str) -> None:
    assert review.ask(f"/api/picture/{wanted}?px=160", Cookie=cookie, **SAME_ORIGIN)[0] == 404
    assert review.ask(f"/api/picture/{wanted}/full", Cookie=cookie, **SAME_ORIGIN)[0] == 404


def test_a_picture_that_is_in_no_group_is_not_shown(review: Reviewing, shared: Service, cookie: str) -> None:
    photos = Path(os.fsdecode(shared.roots[0]))
    files = (photos / "albums/2021/identical-0.jpg", photos / "albums/2023/alone-11.jpg")
    grouped, alone = (blake3(file.read_bytes()).hexdigest() for file in files)
    assert review.ask(f"/api/picture/{grouped}?px=160", Cookie=cookie, **SAME_ORIGIN)[0] == 200
    assert review.ask(f"/api/picture/{alone}?px=160", Cookie=cookie, **SAME_ORIGIN)[0] == 404
    assert review.ask(f"/api/picture/{grouped}?px=161", Cookie=cookie, **SAME_ORIGIN)[0] == 404


def test_a_page_that_nobody_uses_ends(shared: Service, tmp_path: Path) -> None:
    code = (
        "import sys; from dupwatch.client import Client; from dupwatch.review.server import serve\n"
        f"serve(lambda: Client({shared.endpoint!r}), 0, lambda address: print(address, flush=True), "
        "opens_browser=False, idle_seconds=0.5)"
    )
    with Reviewing(shared.endpoint, tmp_path, code) as review:
        assert review.process is not None
        assert review.process.wait(10) == 0


def test_a_page_does_not_end_while_a_plan_is_carried_out(service: Service, tmp_path: Path) -> None:
    code = (
        "import sys, time; from dupwatch.client import Client; from dupwatch.review import acting, server\n"
        "server.STOP_SECONDS, carry_out = 0, acting.apply_plan\n"
        "acting.apply_plan = lambda *given: (time.sleep(2), carry_out(*given))[1]  # as if the disk were slow\n"
        f"server.serve(lambda: Client({service.endpoint!r}), 0, lambda address: print(address, flush=True), "
        "opens_browser=False, idle_seconds=0.8)"
    )
    with Reviewing(service.endpoint, tmp_path, code) as review:
        cookie = review.enter()

        def asked(path: str, **body: Any) -> dict[str, Any]:
            headers = {**SAME_ORIGIN, "Cookie": cookie, "X_Dupwatch_Token": str(token)}
            told: dict[str, Any] = json.loads(review.ask(path, "POST", json.dumps(body), **headers)[2])
            return told

        token = json.loads(review.ask("/api/start", Cookie=cookie, **SAME_ORIGIN)[2])["token"]
        wait_until(lambda: asked("/api/rules", kinds=["identical"])["files"] > 4)
        asked("/api/rules/accept", **asked("/api/rules", kinds=["identical"]))
        plan = asked("/api/plan")["plan"]
        assert asked("/api/apply", plan=plan, action="quarantine")["files"] > 4
        assert review.process is not None
        assert review.process.wait(10) == 0


def test_a_port_that_is_taken_is_told_in_one_line(review: Reviewing, shared: Service) -> None:
    command = [sys.executable, "-m", "dupwatch", "review", "--no-browser", "--endpoint", shared.endpoint]
    done = subprocess.run([*command, "--port", str(review.port)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"dupwatch: port {review.port} cannot be used: Address already in use\n"


def test_without_a_service_nothing_is_served(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dupwatch", "review", "--no-browser", "--endpoint", f"{tmp_path}/none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stdout == ""


@pytest.mark.skipif(not WITH_PLAIN_RIGHTS, reason="needs root, to take rights away")
def test_the_page_shows_only_what_its_user_may_read(service: Service, photos: Path, tmp_path: Path) -> None:
    """A service that may read more shows nothing of it to those who may not."""
    file, copy = photos / "albums/2021/identical-0.jpg", photos / "backup/phone/identical-0 copy.jpg"
    digest = blake3(file.read_bytes()).hexdigest()
    file.chmod(0)
    copy.chmod(0)
    with Reviewing(service.endpoint, tmp_path / "home", before=WITH_PLAIN_RIGHTS) as review:
        cookie = review.enter()
        wait_until(lambda: digest in review.ask("/api/groups", Cookie=cookie)[2])
        status, _, text = review.ask(f"/api/picture/{digest}?px=160", Cookie=cookie, **SAME_ORIGIN)
        assert (status, text) == (422, "the file cannot be opened: Permission denied")


@pytest.mark.parametrize("change", ["other bytes", "a link"])
def test_a_file_that_is_not_as_it_was_indexed_is_not_shown(
    shared: Service, review: Reviewing, cookie: str, change: str
) -> None:
    photos = Path(os.fsdecode(shared.roots[0]))
    name = {"other bytes": "identical-1", "a link": "identical-2"}[change]
    files = [photos / f"albums/2021/{name}.jpg", photos / f"backup/phone/{name} copy.jpg"]
    digest = blake3(files[0].read_bytes()).hexdigest()
    for file in files:
        file.rename(file.with_suffix(".kept"))
        if change == "a link":
            file.symlink_to(file.with_suffix(".kept"))
        else:
            file.write_bytes(b"something else")
    status, _, text = review.ask(f"/api/picture/{digest}?px=1024", Cookie=cookie, **SAME_ORIGIN)
    assert status == 422
    assert "changed" in text or "cannot be opened" in text


@pytest.mark.parametrize("command", [["review", "--no-browser"], ["report", "--html", "copies.html"]])
def test_photos_on_another_machine_are_looked_at_there(tmp_path: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dupwatch", *command, "--endpoint", "tcp://192.0.2.1:7420"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "lie on another machine" in done.stderr
