"""debug, pprof, cancel, root and shed: accepted, and what they say where they do nothing."""

import logging

import pytest

from tests.support.configured import in_block, instance_of

CASES = [
    ("pprof", ["ignored: it profiles Go programs, nothing listens on localhost:6053"]),
    ("pprof :6060 {\nblock 2\n}", ["ignored: it profiles Go programs, nothing listens on :6060"]),
    ("cancel", ["ignored: a plugin that waits for others has a deadline of its own"]),
    ("cancel 1s", ["ignored: a plugin that waits for others has a deadline of its own"]),
    ("root /nonexistent", ["'/nonexistent' is not a folder (yet): files below it will not be found"]),
    ("root /", []),
    ("debug", []),
]


@pytest.mark.parametrize(("block", "expected"), CASES)
def test_they_are_accepted(block: str, expected: list[str], caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("kdns")
    before = logger.level
    caplog.set_level(logging.INFO)
    try:
        instance = instance_of(in_block(block))
        assert (logging.DEBUG if block == "debug" else before) == logger.level
    finally:
        logger.setLevel(before)
    assert expected == [record.message for record in caplog.records]
    assert [] == instance.sites[0].plugins
    assert {} == instance.http


def test_root_is_where_files_start() -> None:
    assert "/etc" == instance_of(in_block("root /etc")).sites[0].root


@pytest.mark.parametrize(("block", "expected"), [("whoami", 2000), ("shed", 2000), ("shed 7", 7)])
def test_shed_bounds_the_queries_in_flight(block: str, expected: int) -> None:
    assert expected == instance_of(in_block(block)).most_in_flight
