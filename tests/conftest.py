"""What all tests share."""

import os

import pytest
from hypothesis import HealthCheck, settings

from kdns.testing import ports

pytest.register_assert_rewrite("tests.support.processes")

# How long an example takes says nothing on a busy machine; in CI the examples are the same each time.
settings.register_profile(
    "kdns", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("kdns")


@pytest.fixture
def free_port() -> int:
    """A port that neither UDP nor TCP uses just now."""
    return ports.free_port()
