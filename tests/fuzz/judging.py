"""What was found, and what some work costs: lines of kdns that ran, octets that were taken at once."""

import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

import kdns

OURS = str(Path(kdns.__file__).parent)
CASES = Path(__file__).parent / "cases"


class Found(AssertionError):
    """An input for which something does not hold."""

    def __init__(self, octets: bytes, why: str) -> None:
        super().__init__(f"{why}\n  the input: {octets.hex()}")
        self.octets, self.why = octets, why


class Fuzzer(Protocol):
    """One kind of input. `prepare` is awaited first, `end` last."""

    dear: int  # how often an input's steps and memory are looked at: one in so many
    bound: "Cost"  # of an empty input
    bound_by_octet: "Cost"

    async def prepare(self) -> None: ...
    def make(self) -> bytes: ...
    async def judge(self, octets: bytes) -> None: ...
    async def end(self) -> None: ...


class Cost(NamedTuple):
    """`steps` are lines of kdns that ran, `memory` is the most that was held at one moment, in octets."""

    steps: int
    memory: int


async def cost(work: Callable[[], Awaitable[Any]]) -> Cost:
    """What some work costs, if nothing else goes on meanwhile."""
    steps = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        steps += event == "line"
        return count if frame.f_code.co_filename.startswith(OURS) else None

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(count)
    try:
        await work()
    finally:
        sys.settrace(before)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return Cost(steps, memory)


async def run(fuzzer: Fuzzer, count: int, known: list[bytes]) -> None:
    """Judge the known inputs and so many new ones; Found is raised at the first that does not hold."""
    await fuzzer.prepare()
    try:
        for octets in known:
            await _judge(fuzzer, octets, True)
        for i in range(count):
            await _judge(fuzzer, fuzzer.make(), i % fuzzer.dear == fuzzer.dear - 1)
    finally:
        await fuzzer.end()


async def _judge(fuzzer: Fuzzer, octets: bytes, dear: bool) -> None:
    try:
        await fuzzer.judge(octets)
        if dear:
            found = await cost(lambda: fuzzer.judge(octets))
            for what, most, more, actual in zip(Cost._fields, fuzzer.bound, fuzzer.bound_by_octet, found, strict=True):
                assert actual <= most + more * len(octets), f"{actual} of {what} for {len(octets)} octets"
    except Found:
        raise
    except Exception as error:
        raise Found(octets, f"{type(error).__name__}: {error}") from error


def cases(name: str) -> list[bytes]:
    """What ever failed: octets in hexadecimal, a line each; `#` begins a remark."""
    path = CASES / name
    lines = path.read_text().splitlines() if path.exists() else []
    return [bytes.fromhex(line) for line in (line.partition("#")[0].strip() for line in lines) if line]
