"""Each system call of a scan that writes to the index fails once."""

from pathlib import Path

import pytest

from tests.system.test_failing_calls import ERRORS, assert_a_failing_call_does_no_harm, pytestmark
from tests.system.test_scan import many, scan

__all__ = ["pytestmark"]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("error", ERRORS)
def test_any_write_may_fail(tmp_path: Path, error: str) -> None:
    root = many(tmp_path / "photos", 20)
    expected = scan(root, state=tmp_path / "undisturbed")
    number = 1
    while assert_a_failing_call_does_no_harm(tmp_path, root, expected, error, number):
        number += 1
    assert number > 10
