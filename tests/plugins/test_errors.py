import asyncio
import logging

import pytest

from kdns.dns.query import Query
from kdns.dns.response import ExtendedError, Response
from kdns.dns.types import NXDOMAIN, SERVFAIL
from kdns.plugins.errors import Errors
from tests.support.configured import ask, generation_of, in_block

TIMEOUT = Response(rcode=SERVFAIL, error=ExtendedError(22, "10.0.0.1:53: i/o timeout"))
CONSOLIDATE = 'errors {\nconsolidate 50ms ".* timeout$" warning\nconsolidate 1h "^other"\n}'


def broken(query: Query) -> Response:
    raise RuntimeError("two\nlines")


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"[{record.levelname}] {record.message}" for record in caplog.records if record.name == "kdns.plugins.errors"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (TIMEOUT, ["[ERROR] 2 example.org. A: 10.0.0.1:53: i/o timeout"]),
        (broken, ["[ERROR] 2 example.org. A: RuntimeError: two lines"]),
        (Response(rcode=SERVFAIL), []),
        (Response(rcode=NXDOMAIN, error=ExtendedError(0, "0 of 3 endpoints are ready")), []),
    ],
    ids=["reason", "exception", "servfail without a reason", "nxdomain"],
)
def test_a_line_for_each_error(answer: Response, expected: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asyncio.run(ask(generation_of(in_block("errors"), answer), "Example.org", "A"))
    assert expected == logged(caplog)


@pytest.mark.parametrize(
    ("block", "levels"),
    [("errors", ["DEBUG", "ERROR"]), ("errors {\nstacktrace\n}", ["ERROR", "ERROR"])],
)
def test_a_traceback_only_when_asked_for(block: str, levels: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.run(ask(generation_of(in_block(block), broken), "example.org", "TYPE4711"))
    assert levels == [record.levelname for record in caplog.records if record.name == "kdns.plugins.errors"]
    assert "RuntimeError" in caplog.text
    assert logged(caplog)[-1] == "[ERROR] 2 example.org. TYPE4711: RuntimeError: two lines"


@pytest.mark.parametrize(
    ("block", "times", "expected"),
    [
        (CONSOLIDATE, 3, ["[WARNING] 3 errors like '.* timeout$' occurred in last 50ms"]),
        (
            CONSOLIDATE.replace("warning", "info show_first"),
            3,
            [
                "[INFO] 2 example.org. A: 10.0.0.1:53: i/o timeout",
                "[INFO] 3 errors like '.* timeout$' occurred in last 50ms",
            ],
        ),
        (CONSOLIDATE.replace("warning", "show_first"), 1, ["[ERROR] 2 example.org. A: 10.0.0.1:53: i/o timeout"]),
    ],
    ids=["counted", "first shown", "only one, shown"],
)
def test_errors_are_consolidated(
    block: str, times: int, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> None:
        generation = generation_of(in_block(block), TIMEOUT)
        for _ in range(times):
            await ask(generation, "example.org", "A")
        await asyncio.sleep(0.1)

    asyncio.run(run())
    assert expected == logged(caplog)


def test_what_was_counted_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> bool:
        generation = generation_of(in_block(CONSOLIDATE.replace("50ms", "1h")), TIMEOUT)
        [plugin] = generation.blocks[0].named("errors")
        assert isinstance(plugin, Errors)
        running = asyncio.ensure_future(plugin.run())
        await asyncio.sleep(0)
        for _ in range(2):
            await ask(generation, "example.org", "A")
        timer = plugin.patterns[0].timer
        running.cancel()
        await asyncio.wait([running])
        assert timer is not None
        return timer.cancelled()

    assert asyncio.run(run())
    assert ["[WARNING] 2 errors like '.* timeout$' occurred in last 1h"] == logged(caplog)
