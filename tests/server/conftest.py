"""Plugins made of functions, for the Corefiles of these tests."""

import pytest

from kdns import plugins
from kdns.core.plugin import Plugin
from tests.support.stage import answering, ANSWERS, Bind


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[Plugin]]:
    """Plugins that Corefiles of a test may name: each of ANSWERS, `bind`, and what the test puts here, by name."""
    classes: dict[str, type[Plugin]] = {"bind": Bind, **{name: answering(answer) for name, answer in ANSWERS.items()}}
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda name: classes.get(name) or load(name))
    return classes
