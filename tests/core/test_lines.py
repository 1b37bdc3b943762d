"""Lines of the log: never waiting, one to a line, and bounded."""

import asyncio
import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kdns.core import lines
from kdns.core.lines import Lines, Writer


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The end to read and the end to write, the latter blocking as standard output is."""
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            pass


def log_of(writer: Writer, clock: Any = lambda: 0.0) -> logging.Logger:
    log = logging.Logger("kdns.plugins.errors")
    log.addHandler(Lines(writer, clock))
    return log


def read_all(descriptor: int) -> list[str]:
    os.set_blocking(descriptor, False)
    octets = b""
    while True:
        try:
            piece = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            piece = b""
        if not piece:
            return octets.decode().splitlines()
        octets += piece


def test_lines_as_coredns_writes_them(pipe: tuple[int, int]) -> None:
    log = log_of(Writer(pipe[1]))
    log.error("%d %s: %s", 2, "a.test. A", "why\nnot")
    log.name = "kdns.server.run"
    log.info("reloaded")
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        log.exception("it failed")
    found = read_all(pipe[0])
    assert ["[ERROR] plugin/errors: 2 a.test. A: why\\nnot", "[INFO] reloaded", "[ERROR] it failed"] == found[:3]
    assert ("Traceback (most recent call last):", "thing") == (found[3], found[-1])


@pytest.mark.parametrize("looped", [False, True])
def test_a_log_that_nobody_reads_holds_nobody_up(pipe: tuple[int, int], looped: bool) -> None:
    """The pipe is a blocking one, and full after 64 kB: all calls return, what waits is bounded, the rest is counted."""
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 65536)
    writer = Writer(pipe[1])

    async def write() -> None:
        for i in range(20_000):
            writer.write(f"{i:0100}")
            if i % 1000 == 0:
                await asyncio.sleep(0)

    if looped:
        asyncio.run(write())
    else:
        for i in range(20_000):
            writer.write(f"{i:0100}")
    kept = 20_000 - writer.dropped
    assert lines.LARGEST < kept * 101 < lines.LARGEST + 65536 + 4096
    writer.end(0.01)
    first = read_all(pipe[0])
    assert f"{0:0100}" == first[0]


def test_once_lines_are_taken_again_a_line_says_how_many_were_not(pipe: tuple[int, int]) -> None:
    writer = Writer(pipe[1])
    for _ in range(20_000):
        writer.write("x" * 99)
    dropped = writer.dropped
    count = 0
    while writer._waiting:
        count += "".join(read_all(pipe[0])).count("x")
        writer._flush_some()
    count += "".join(read_all(pipe[0])).count("x")
    writer.write("again")
    assert [f"[WARNING] {dropped} lines were left out: nobody took them", "again"] == read_all(pipe[0])
    assert 20_000 == count // 99 + dropped


def test_who_reads_is_gone(pipe: tuple[int, int]) -> None:
    writer = Writer(pipe[1])
    os.close(pipe[0])
    writer.write("x")
    writer.write("y")
    assert 2 == writer.dropped


def test_a_logger_has_so_many_lines_a_second(pipe: tuple[int, int]) -> None:
    now = 0.0
    log = log_of(writer := Writer(pipe[1]), lambda: now)
    for i in range(1000):
        log.error("%d", i)
    log.name = "kdns.plugins.kubernetes"
    log.error("another")
    now = 1.0
    log.error("later")
    found = read_all(pipe[0])
    assert [f"[ERROR] plugin/errors: {i}" for i in range(lines.A_SECOND)] == found[: lines.A_SECOND]
    assert [
        "[ERROR] plugin/kubernetes: another",
        f"[WARNING] plugin/errors: {1000 - lines.A_SECOND} lines were left out: more than {lines.A_SECOND} in a second",
        "[ERROR] plugin/kubernetes: later",
    ] == found[lines.A_SECOND :]
    assert 1000 - lines.A_SECOND == writer.dropped


def test_from_another_thread(pipe: tuple[int, int]) -> None:
    writer = Writer(pipe[1])
    log = log_of(writer)

    async def check() -> None:
        log.info("begun")
        thread = threading.Thread(target=lambda: log.info("from a thread"))
        thread.start()
        await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(check())
    assert ["[INFO] plugin/errors: begun", "[INFO] plugin/errors: from a thread"] == read_all(pipe[0])


def test_a_writer_outlives_an_event_loop(pipe: tuple[int, int]) -> None:
    writer = Writer(pipe[1])

    async def check(line: str) -> None:
        writer.write(line)

    for line in ("one", "two"):
        asyncio.run(check(line))
    writer.end()
    assert ["one", "two"] == read_all(pipe[0])
