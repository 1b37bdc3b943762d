"""debug, pprof, cancel, root and shed: accepted, and what they say where they do nothing."""

import logging

import pytest

from tests.support.configured import generation_of, in_block, refused

CASES = [
    ("pprof", ["Corefile:2: pprof: has no effect: it profiles Go programs, nothing listens"]),
    ("pprof :6060 {\nblock 2\n}", ["Corefile:2: pprof: has no effect: it profiles Go programs, nothing listens"]),
    ("cancel", ["Corefile:2: cancel: has no effect: a plugin that waits for others has a deadline of its own"]),
    ("cancel 1s", ["Corefile:2: cancel: has no effect: a plugin that waits for others has a deadline of its own"]),
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
        generation = generation_of(in_block(block))
        assert (logging.DEBUG if block == "debug" else before) == logger.level
    finally:
        logger.setLevel(before)
    assert expected == [record.message for record in caplog.records] + generation.blocks[0].notes
    assert {} == generation.pages


def test_root_is_where_files_start() -> None:
    assert "/etc" == generation_of(in_block("root /etc")).blocks[0].root


def test_memo_bounds_what_replies_take() -> None:
    generation = generation_of(". {\n bind 127.0.0.1 127.0.0.2\n memo 64Mi\n whoami\n}\n")
    assert [32 << 20] * 2 == [listener.memo.budget for listener in generation.listeners.values()]
    assert "'1K' is not a size from 1M to 64G" in refused(in_block("memo 1K"))
    assert "'much' is not a size such as 64M" in refused(in_block("memo much"))


@pytest.mark.parametrize(("block", "expected"), [("whoami", 2000), ("shed", 2000), ("shed 7", 7)])
def test_shed_bounds_the_queries_in_flight(block: str, expected: int) -> None:
    assert expected == generation_of(in_block(block)).most_in_flight
