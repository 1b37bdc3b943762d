"""The tables of tests/peer are whole: each difference is told by a manual, and every question is one."""

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
