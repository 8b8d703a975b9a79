"""What `tests/system/test_crowds.py` tries once in two steps: in five steps, with more random choices."""

from pathlib import Path

import pytest

from tests.system.test_crowds import remove_and_bring_back

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("seed", range(10))
def test_a_chain_falls_apart_and_closes_again_as_a_fresh_scan_says(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    remove_and_bring_back(root, tmp_path, seed, steps=5)
