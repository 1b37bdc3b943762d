"""Plugins made of functions, for the Corefiles of these tests."""

from types import SimpleNamespace
from typing import Any

import pytest

from kdns import plugins
from tests.support.stage import ANSWERS, bind, Fixed


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Plugins that Corefiles of a test may name: each of ANSWERS, `bind`, and what the test puts here (name: setup)."""
    setups: dict[str, Any] = {"bind": bind}
    for name, answer in ANSWERS.items():
        setups[name] = lambda directive, site, answer=answer: Fixed(answer)
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda name: SimpleNamespace(setup=setups[name]) if name in setups else load(name))
    return setups
