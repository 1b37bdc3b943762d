"""kdns beside a real control plane."""

import pytest

pytest.register_assert_rewrite("tests.support.processes")
