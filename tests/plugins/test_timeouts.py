"""*timeouts*: what it bounds, and what it cannot take."""

import asyncio
import math
from typing import Any

import pytest

from tests.support.configured import generation_of, in_block, listener_of, refused
from tests.support.running import serving
from tests.support.stage import framed, question


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("read 15s\nwrite 30s", {"read": 15, "write": 30}),
        ("idle 2m\nmaxtcpqueries 128", {"idle": 120, "queries": 128}),
        ("maxtcpqueries -1", {"queries": math.inf}),
    ],
)
def test_bounds(options: str, expected: dict[str, Any]) -> None:
    assert expected == listener_of(generation_of(in_block(f"timeouts {{\n{options}\n}}"))).patience


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "Corefile:2: timeouts: says nothing: name read, write, idle or maxtcpqueries, or leave it out"),
        ("read 10ms", "Corefile:3: timeouts: read: '10ms' is out of range: at least 1s"),
        ("idle 25h", "Corefile:3: timeouts: idle: '25h' is out of range: at most 86400s"),
        ("maxtcpqueries 0", "Corefile:3: timeouts: maxtcpqueries: a connection brings one query at least: -1 for any number"),
        ("idel 5s", "Corefile:3: timeouts: unknown option 'idel', did you mean 'idle'?"),
    ],
)
def test_what_is_refused(options: str, expected: str) -> None:
    assert expected == refused(in_block(f"timeouts {{\n{options}\n}}"))


async def replies(port: int, *groups: int) -> list[int]:
    """The ids of the replies on one connection until it ends, so many questions asked at once each time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ids: list[int] = []
    try:
        async with asyncio.timeout(20):
            for count in groups:
                writer.write(framed(*(question("example.org", id=len(ids) + n) for n in range(1, count + 1))))
                for _ in range(count):
                    message = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                    ids.append(int.from_bytes(message[:2], "big"))
            assert b"" == await reader.read()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
    return ids


@pytest.mark.parametrize(("groups", "expected"), [((3,), [1, 2, 3]), ((1, 1, 1), [1, 2, 3]), ((2, 1, 1), [1, 2, 3])])
def test_a_connection_ends_after_so_many_queries(groups: tuple[int, ...], expected: list[int], free_port: int) -> None:
    async def run() -> list[int]:
        corefile = f".:{free_port} {{\nbind 127.0.0.1\ntimeouts {{\nmaxtcpqueries 3\n}}\nwhoami\n}}"
        async with serving(corefile):
            return await replies(free_port, *groups)

    assert expected == asyncio.run(run())


def test_a_quiet_connection_ends(free_port: int) -> None:
    async def run() -> list[int]:
        async with serving(f".:{free_port} {{\nbind 127.0.0.1\ntimeouts {{\nidle 1s\n}}\nwhoami\n}}"):
            return await replies(free_port, 2)

    assert [1, 2] == asyncio.run(run())
