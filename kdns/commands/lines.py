"""What a command writes: the log of the process on stdout, and errors on stderr; each a line of text, or a JSON object.

What answers the person who typed a command (-version, -plugins, a wrong flag) is text always, as with CoreDNS.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterator

from kdns.core.lines import json_object, Lines, stdout

_writes_json = False


def log_to_stdout(form: str = "text", quiet: bool = False) -> None:
    """Send the log of this process to stdout; a quiet one says nothing while all is well, but for what a reload does."""
    global _writes_json
    _writes_json = stdout().json = form == "json"
    logging.basicConfig(level=logging.WARNING, handlers=[Lines(stdout())], force=True)
    logging.getLogger("kdns").setLevel(logging.WARNING if quiet else logging.INFO)
    logging.getLogger("kdns.reloads").setLevel(logging.INFO)
    logging.raiseExceptions = False


def say(text: str) -> None:
    """Lines that stand in the log without a level: what is served, at start."""
    writer = stdout()
    for line in text.splitlines():
        writer.write(writer.line("INFO", line) if writer.json else line)


def say_error(text: str) -> None:
    """Why the work could not be done, a line for each thing."""
    for line in text.splitlines():
        print(json_object("ERROR", line) if _writes_json else f"kdns: {line}", file=sys.stderr)


@contextlib.contextmanager
def progress(text: Callable[[], str]) -> Iterator[None]:
    """Work of the running loop; where it takes over a second a terminal's stderr says meanwhile what it is at."""
    saying = asyncio.create_task(_said(text)) if sys.stderr.isatty() else None
    try:
        yield
    finally:
        if saying is not None:
            saying.cancel()
            print(end="\r\x1b[K", file=sys.stderr, flush=True)


async def _said(text: Callable[[], str]) -> None:
    while True:
        await asyncio.sleep(1)
        print(end=f"\r{text()}\x1b[K", file=sys.stderr, flush=True)
