"""A scan and a service that are killed a hundred times, at moments all over their run."""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from dupwatch.errors import RequestFailedError
from tests.conftest import encoded, photo_like
from tests.system.service import Service, as_scanned, scanned, until
from tests.system.test_scan import many, run, scan, start

KILLS = 100


@pytest.mark.timeout(1200)
def test_a_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    root = many(tmp_path / "many", 300)
    expected = scan(root, state=tmp_path / "undisturbed")
    began = time.monotonic()
    scan(root, state=tmp_path / "measured")
    whole_seconds = time.monotonic() - began
    moments = np.random.default_rng(1).permutation(np.linspace(0.05, whole_seconds, KILLS))
    for moment in moments.tolist():
        state = tmp_path / "killed"
        process = start(root, state)
        time.sleep(moment)  # what is tried here is the moment itself
        process.kill()
        process.communicate()
        assert scan(root, state=state) == expected
        assert run("check", state=state).returncode == 0
        shutil.rmtree(state)


@pytest.mark.timeout(3600)
def test_a_hundred_kills_of_a_service_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    root = many(tmp_path / "root", 60)
    unlike = [os.fsencode(root / f"{number:04d}.jpg") for number in range(30)]  # no two of them are copies
    random = np.random.default_rng(2)
    service = Service(tmp_path / "s", root)
    said = 0
    for number in range(KILLS):
        service.start()
        if number % 2:
            until(service.answers)
            with suppress(RequestFailedError):  # they were not read yet
                said += service.ask("ignore", paths=[unlike[number % 7], unlike[7 + number % 23]])["new"]
            (root / f"new {number}.jpg").write_bytes(encoded(photo_like(number, 160, 120), quality=70))
            (root / f"new {number - 20}.jpg").unlink(missing_ok=True)
        time.sleep(random.uniform(0, 1.0))  # what is tried here is the moment itself
        service.kill()
    assert said > 20
    with service:
        service.settled()
        assert as_scanned(service.clusters()) == scanned(tmp_path / "undisturbed", root)
        assert service.ask("ignored")["total"] == said
    assert "Traceback" not in service.lines()
    assert run("check", state=service.state).returncode == 0
