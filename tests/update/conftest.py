import pytest


@pytest.fixture(autouse=True)
def quick_start(quick_decoders: None) -> None:
    """The many short jobs of these tests."""
