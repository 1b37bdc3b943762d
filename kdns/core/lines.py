"""Lines on their way to standard output: the log of the process, and that of queries.

Rules that must never be broken:

- Nothing here waits. A pipe that nobody reads, a full disk, a terminal that was stopped: answers go on, lines are left out, and a
  line says how many once lines are taken again.
- There is one writer for a descriptor, so that no line stands in another one.
- A line is a line: what came with a query, from an upstream, an API server or a file has its control characters escaped
  (`one_line`).
- Each logger has so many lines a second and no more: what others make us say must not fill a disk.
"""

import asyncio
import json
import logging
import os
import select
import sys
import time
from collections.abc import Callable
from datetime import datetime, UTC

from kdns.errors import one_line

LARGEST = 1 << 20  # octets that may wait
PIECE = 4096  # a pipe that takes something takes that much (PIPE_BUF)
AT_ONCE = 64  # pieces, then the event loop has its turn
PAUSE = 0.02  # seconds until a pipe that is full is tried again
A_SECOND = 200  # lines of one logger
PLUGINS = "kdns.plugins."  # how the names of plugins' loggers begin


class Writer:
    """Lines to one descriptor. Without an event loop they are written as far as they are taken."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.json = False  # is each line a JSON object?
        self.dropped = 0
        self._lost = 0  # since the last line that was taken
        self._waiting = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flushing: asyncio.Handle | None = None
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, line: str) -> None:
        """Write a line soon; what is no part of a line in it is escaped."""
        if len(self._waiting) > LARGEST:
            self.dropped += 1
            self._lost += 1
            return
        if self._lost:
            self._waiting += self.line("WARNING", f"{self._lost} lines were left out: nobody took them").encode() + b"\n"
            self._lost = 0
        self._waiting += one_line(line).encode(errors="backslashreplace") + b"\n"
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._flush_some()
            return
        if self._flushing is None or self._loop is not loop:
            self._loop, self._flushing = loop, loop.call_soon(self._flush)

    def line(self, level: str, text: str, plugin: str = "", traceback: str = "") -> str:
        """What is said as a line: `[INFO] plugin/reload: …`, or a JSON object."""
        if self.json:
            return json_object(level, text, plugin, traceback)
        return f"[{level}] plugin/{plugin}: {text}" if plugin else f"[{level}] {text}"

    def write_from_anywhere(self, line: str) -> None:
        """The same from any thread."""
        loop = self._loop
        if loop is None or loop.is_closed() or not loop.is_running():
            self.write(line)
            return
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        if here:
            self.write(line)
        else:
            loop.call_soon_threadsafe(self.write, line)

    def _flush(self) -> None:
        self._flushing = None
        self._flush_some()
        if self._waiting:
            self._flushing = asyncio.get_running_loop().call_later(PAUSE, self._flush)

    def _flush_some(self) -> None:
        for _ in range(AT_ONCE):
            if not self._waiting or not self._write_piece():
                return

    def _write_piece(self) -> bool:
        """Write some; False where nothing is taken now."""
        try:
            if not self._poll.poll(0):
                return False
            del self._waiting[: os.write(self.descriptor, self._waiting[:PIECE])]
        except BlockingIOError:
            return False
        except OSError:  # whoever read is gone
            self.dropped += self._waiting.count(b"\n")
            self._waiting.clear()
        return True

    def end(self, seconds: float = 1.0) -> None:
        """Write what waits, for so long at most: the process ends."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            if not self._write_piece():
                self._poll.poll(1000 * PAUSE)


def json_object(level: str, text: str, plugin: str = "", traceback: str = "") -> str:
    """What is said as a JSON object on one line, with CoreDNS's fields; those that are empty are left out."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    fields = {"time": at, "level": level, "msg": text, "plugin": plugin, "traceback": traceback}
    return json.dumps({name: value for name, value in fields.items() if value}, ensure_ascii=False)


_writers: dict[int, Writer] = {}


def stdout() -> Writer:
    """The writer of standard output."""
    descriptor = sys.stdout.fileno()
    writer = _writers.get(descriptor)
    if writer is None:
        writer = _writers[descriptor] = Writer(descriptor)
    return writer


def end_all() -> None:
    """Write what waits anywhere: the process ends."""
    for writer in _writers.values():
        writer.end()


class Lines(logging.Handler):
    """The log of the process, as CoreDNS writes it."""

    def __init__(self, writer: Writer, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._writer, self._clock = writer, clock
        self._second = -1
        self._said: dict[str, int] = {}  # by logger, in this second

    def emit(self, record: logging.LogRecord) -> None:
        plugin = record.name.removeprefix(PLUGINS) if record.name.startswith(PLUGINS) else ""
        second = int(self._clock())
        if second != self._second:
            self._begin(second)
        said = self._said[plugin] = self._said.get(plugin, 0) + 1
        if said > A_SECOND:
            self._writer.dropped += 1
            return
        traceback = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        self._writer.write_from_anywhere(self._writer.line(record.levelname, record.getMessage(), plugin, traceback))
        if traceback and not self._writer.json:
            for line in traceback.splitlines():
                self._writer.write_from_anywhere(line)

    def _begin(self, second: int) -> None:
        """A second begins: what was left out in the last one is told."""
        for plugin, said in self._said.items():
            if said > A_SECOND:
                lost = f"{said - A_SECOND} lines were left out: more than {A_SECOND} in a second"
                self._writer.write_from_anywhere(self._writer.line("WARNING", lost, plugin))
        self._said, self._second = {}, second
