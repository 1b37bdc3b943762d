"""The tables of tests/peer are whole: each difference is told by a manual, and every question is one."""

import re

import pytest

from kdns import plugins
from tests.peer.case import Case, cases, differences
from tests.peer.questions import question
from tests.peer.standing import ON_CALL, STANDING
from tests.support import ROOT

CASES = [pytest.param(case, id=f"{table}: {case.name}") for table, case in cases()]
DIFFERENCES = differences()


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_told_to_those_whom_it_concerns(name: str) -> None:
    difference = DIFFERENCES[name]
    if difference.plugin:
        told = " ".join(plugins.differences(difference.plugin))  # what `kdns check` says
    else:
        told = (ROOT / "docs" / "from-coredns.md").read_text()
    assert difference.says in told
    assert difference.why


def test_each_difference_is_used_and_each_that_is_used_is_told() -> None:
    used = {name for _, case in cases() for name in case.differences}
    assert set(DIFFERENCES) == used | set(STANDING)
    assert set(ON_CALL) <= used


@pytest.mark.parametrize("case", CASES)
def test_a_case_asks_something_or_is_refused(case: Case) -> None:
    assert bool(case.asks) == (len(case.runs) == 2)
    for text in [*case.asks, *([case.until] if case.until else [])]:
        question(text)


TEXT = (ROOT / "docs" / "from-coredns.md").read_text().partition("## Every plugin")[2].partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| (\w+) \| (same|differs|no effect|refused) \|", TEXT, re.MULTILINE))
OWN = set(re.findall(r"^\| (\w+) \| differs \| kdns's own", TEXT, re.MULTILINE))


@pytest.mark.parametrize("plugin", [name for name, state in ROWS.items() if state != "refused" and name not in OWN])
def test_a_plugin_that_is_served_was_held_against_coredns(plugin: str) -> None:
    """What docs/from-coredns.md says of it is what its manual and these cases say."""
    assert (ROWS[plugin] == "differs") == bool(plugins.differences(plugin))
    assert any(re.search(rf"^\s*{plugin}\b", case.corefile, re.MULTILINE) for _, case in cases())
