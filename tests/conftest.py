"""What all tests share."""

import pytest

from kdns.testing import ports

pytest.register_assert_rewrite("tests.support.processes")


@pytest.fixture
def free_port() -> int:
    """A port that neither UDP nor TCP uses just now."""
    return ports.free_port()
