"""Files that plugins read: within bounds, never a pipe or a device, and told of when they change.

The one place below *server* that touches a disk; it may be slow, so looking is for a thread. What counts as a change is the
file's identity and its times, not its text: whoever is told reads it, and compares what matters to it.
"""

import asyncio
import glob
import os
import stat
from collections.abc import Callable, Sequence

from kdns.errors import FileError

LARGEST = 64 << 20  # octets, where whoever reads says nothing else

Stamp = tuple[int, int, int, int, int] | None  # device, inode, size, mtime and ctime (ns); None: not there


def stamp(path: str) -> Stamp:
    """What tells whether a file has changed. A symbolic link stands for what it leads to, as in a mounted ConfigMap."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_octets(path: str, most: int = LARGEST) -> bytes:
    """A regular file's octets; FileError where it is none, is larger than `most`, or cannot be read."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FileError(path, "it is no regular file")
            if found.st_size > most:
                raise FileError(path, f"it has {found.st_size} octets, more than {most}")
            octets = file.read(most + 1)
    except OSError as error:
        raise FileError(path, (error.strerror or str(error)).lower(), isinstance(error, FileNotFoundError)) from None
    if len(octets) > most:  # it grew meanwhile, or its size is not known before (/proc)
        raise FileError(path, f"it has more than {most} octets")
    return octets


def _at_once(path: str, flags: int) -> int:
    """A descriptor, without waiting for somebody to write to a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_text(path: str, most: int = LARGEST) -> str:
    """A regular file's text; FileError where it is none, is no UTF-8, is too large, or cannot be read."""
    try:
        return read_octets(path, most).decode()
    except UnicodeDecodeError:
        raise FileError(path, "it is not UTF-8 text") from None


class Reading:
    """How a Corefile's `import` reads files; `texts` are those that were read, by path."""

    def __init__(self, texts: dict[str, str] | None = None) -> None:
        self.texts: dict[str, str] = {} if texts is None else texts

    def read(self, path: str) -> str:
        self.texts[path] = read_text(path)
        return self.texts[path]

    def glob(self, pattern: str) -> list[str]:
        return glob.glob(pattern)


async def watch(paths: Callable[[], Sequence[str]], changed: Callable[[], None], every: float) -> None:
    """Look at files each so many seconds, for as long as this is awaited; `changed` is called when one is not what it was.

    `paths` is asked before each look, for files may name files.
    """
    seen = await asyncio.to_thread(_stamps, paths())
    while True:
        await asyncio.sleep(every)
        found = await asyncio.to_thread(_stamps, paths())
        if found != seen:
            seen = found
            changed()


def _stamps(paths: Sequence[str]) -> list[Stamp]:
    return [stamp(path) for path in paths]
