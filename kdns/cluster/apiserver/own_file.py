"""A file that nobody else may have written: opened without following links, in a directory that is ours.

Whoever can write a snapshot says what DNS answers, so one is read only where its user and root alone could write it; and
whoever can put a link in its place would have us write elsewhere. All functions raise OSError or ValueError.
"""

import errno
import os
import stat
from io import BufferedWriter

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hold us
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read(path: str, most: int) -> bytes:
    """All of a file of at most so many octets."""
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("it is a symbolic link") from None
        raise
    with open(descriptor, "rb") as file:
        at = os.fstat(descriptor)
        if not stat.S_ISREG(at.st_mode):
            raise ValueError("it is not a file")
        _judge("it", at, stat.S_IWGRP | stat.S_IWOTH)
        check_directory(path)
        octets = file.read(most + 1)
    if len(octets) > most:
        raise ValueError(f"it is too large: more than {most >> 20} MiB")
    return octets


def create(path: str) -> BufferedWriter:
    """A new, empty file that its user alone may read; what was there is removed, not written to.

    Once it is closed without an error, all that was written to it is there: a full disk takes a part and says nothing.
    """
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        os.mkdir(directory, 0o700)
    check_directory(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    return open(path, "wb", opener=lambda path, _: os.open(path, _WRITE, 0o600))


def check_directory(path: str) -> None:
    """ValueError where another user may put what they like at the path.

    The group may write: it is the Pod's fsGroup, and a volume of a Pod that is not root is written so.
    """
    directory = os.path.dirname(path) or "."
    at = os.stat(directory)
    _judge(f"its directory {directory}", at, stat.S_IWOTH, "; name a directory in it, that is made")


def _judge(what: str, at: os.stat_result, writers: int, advice: str = "") -> None:
    if at.st_uid not in (0, os.geteuid()):
        raise ValueError(f"{what} belongs to another user (uid {at.st_uid})")
    if at.st_mode & writers:
        raise ValueError(f"{what} may be written to by others (mode {stat.S_IMODE(at.st_mode):04o}){advice}")
