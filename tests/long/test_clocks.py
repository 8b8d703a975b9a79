"""The clocks of a cluster's machines jump."""

import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from tests.cluster.nodes import Nodes
from tests.cluster.test_pool import Reading, Told, files, here
from tests.jumping_clock import JumpingClock

__all__ = ["files", "here"]

_YEAR_SECONDS = 365 * 24 * 3600


@pytest.mark.parametrize("jump_seconds", [_YEAR_SECONDS, -_YEAR_SECONDS])
def test_clocks_that_jump_cost_a_cluster_nothing(
    tmp_path: Path, files: list[Path], here: Told, jump_seconds: int
) -> None:
    """Dask takes a worker for dead that was last heard of a year ago; it ends then, and its unit starts it again."""
    clock = JumpingClock(tmp_path / "clock")
    with Nodes(tmp_path, **clock.environment) as nodes:
        reading = Reading(nodes.start(["one", "two"]))
        began = time.monotonic()
        assert reading.read(files, lambda: clock.jump(jump_seconds)) == here
        assert time.monotonic() - began < 60
        assert reading.share("one") + reading.share("two") > 0
        assert {process.poll() for process in nodes.processes.values()} <= {None, 0}
