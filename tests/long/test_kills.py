"""A scan that is killed a hundred times, at moments all over its run."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

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
