"""Different pictures as `tests/system/test_field_cases.py` has them in every run, in other sizes, colours, layouts."""

import pytest

from tests.system.test_field_cases import APART_TOO, Cases


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    return Cases(tmp_path_factory.mktemp("field"), APART_TOO)


@pytest.mark.parametrize("case", APART_TOO)
def test_different_pictures_are_apart(cases: Cases, case: str) -> None:
    assert cases.groups(case) == []
    assert cases.failed(case) == {}
