"""Questions asked over one socket that wait for their replies, by id. No I/O.

A reply counts only where its id and its question are those of a question that waits (RFC 5452 9.1); the source is the
affair of the connected socket. Whatever else arrives is ignored and counted, and the question waits on.
"""

import asyncio
import os
from collections.abc import Iterator

from kdns.dns.types import FORMERR, OPCODE, QR
from kdns.errors import NoReply, UpstreamError

Replied = asyncio.Future[bytes]


def _random_ids() -> Iterator[int]:
    """Ids that nobody can foretell (RFC 5452 4.3), drawn from the system a thousand at a time."""
    while True:
        yield from memoryview(os.urandom(2048)).cast("H")


fresh_id = _random_ids().__next__


class Waiting:
    """The questions of one socket."""

    __slots__ = ("_questions", "lies")

    def __init__(self) -> None:
        self._questions: dict[int, tuple[Replied, bytes, float]] = {}
        self.lies = 0  # what came and was no reply to a question that waits

    def __len__(self) -> int:
        return len(self._questions)

    def add(self, question: bytes, expires: float) -> tuple[int, Replied]:
        """A question (its section, as sent) that waits until a time of time.monotonic(): its id, and where its reply comes.

        The caller keeps well below 65,536 of them.
        """
        id = fresh_id()
        while id in self._questions:
            id = fresh_id()
        replied: Replied = asyncio.get_running_loop().create_future()
        self._questions[id] = (replied, question, expires)
        return id, replied

    def drop(self, id: int, replied: Replied) -> None:
        """Whoever asked does not wait any more."""
        entry = self._questions.get(id)
        if entry is not None and entry[0] is replied:
            del self._questions[id]

    def take(self, wire: bytes) -> None:
        """A message came: whose reply it is has it; else it is a lie."""
        id = int.from_bytes(wire[:2], "big")
        entry = self._questions.get(id)
        if entry is None or not answers(wire, entry[1]):
            self.lies += 1
            return
        del self._questions[id]
        if not entry[0].done():
            entry[0].set_result(wire)

    def expire(self, now: float) -> None:
        """NoReply for those who waited long enough."""
        for id in [id for id, (_, _, expires) in self._questions.items() if expires <= now]:
            self._fail(id, NoReply("no reply in time"))

    def fail(self, error: UpstreamError) -> None:
        """The socket is of no use: all who wait are told."""
        for id in list(self._questions):
            self._fail(id, error)

    def _fail(self, id: int, error: UpstreamError) -> None:
        replied = self._questions.pop(id)[0]
        if not replied.done():
            replied.set_exception(error)


def answers(wire: bytes, question: bytes) -> bool:
    """Is a message a reply to a question (its section, as sent)?

    The case of letters does not matter (RFC 4343). FORMERR may come without the question, for it was not understood.
    """
    size = len(question)
    if len(wire) < 12 or (wire[2] << 8) & (QR | OPCODE) != QR:
        return False
    if wire[4:6] == b"\0\0":
        return wire[3] & 15 == FORMERR and wire[6:10] == b"\0\0\0\0"
    if wire[4:6] != b"\0\1":
        return False
    asked = wire[12 : 12 + size]
    return asked == question or (asked[-4:] == question[-4:] and asked[:-4].lower() == question[:-4].lower())
