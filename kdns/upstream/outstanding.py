"""Questions asked over one socket that have no reply yet, by id. No I/O.

A reply counts only where its id and its question are those of an outstanding question (RFC 5452 9.1); the source is the
affair of the connected socket. Whatever else arrives is ignored, and the question waits on.
"""

import asyncio
import os
from collections.abc import Iterator

from kdns.core.prompt import Prompt
from kdns.dns.types import FORMERR, NOTIMP, OPCODE, QR, REFUSED, SERVFAIL
from kdns.errors import NoReply, Spoofed, UpstreamError

Replied = Prompt[bytes]
_KIND, _REPLY = (QR | OPCODE) >> 8, QR >> 8
BARE = frozenset((FORMERR, SERVFAIL, NOTIMP, REFUSED))  # codes of replies that may come without the question


def _random_ids() -> Iterator[int]:
    """Ids that nobody can foretell (RFC 5452 4.3), drawn from the system a thousand at a time."""
    while True:
        yield from memoryview(os.urandom(2048)).cast("H")


fresh_id = _random_ids().__next__


class Outstanding:
    """The questions of one socket. `exact`: a reply must spell the name as the question does (0x20)."""

    __slots__ = ("_exact", "questions")

    def __init__(self, exact: bool = False) -> None:
        self.questions: dict[int, tuple[Replied, bytes, float]] = {}  # by id: whoever asked, the question, until when it waits
        self._exact = exact

    def __len__(self) -> int:
        return len(self.questions)

    def __contains__(self, id: int) -> bool:
        return id in self.questions

    def add(self, question: bytes, expires: float) -> tuple[int, Replied]:
        """A question (its section, as sent) that waits until a time of time.monotonic(): its id, and where its reply comes.

        The caller keeps well below 65,536 of them.
        """
        id = fresh_id()
        while id in self.questions:
            id = fresh_id()
        replied: Replied = Prompt(loop=asyncio.get_running_loop())
        self.questions[id] = (replied, question, expires)
        return id, replied

    def drop(self, id: int, replied: Replied) -> None:
        """Whoever asked does not wait any more."""
        entry = self.questions.get(id)
        if entry is not None and entry[0] is replied:
            del self.questions[id]

    def take(self, wire: bytes) -> bool:
        """Is a message the reply to an outstanding question? Then whoever asked has it.

        Where only the spelling is wrong and counts, whoever asked is told: Spoofed.
        """
        id = int.from_bytes(wire[:2], "big")
        entry = self.questions.get(id)
        if entry is None:
            return False
        replied, question, _ = entry
        if not answers(wire, question):
            return False
        del self.questions[id]
        if replied.done():
            pass
        elif self._exact and wire[4:6] == b"\0\1" and wire[12 : 12 + len(question)] != question:
            replied.set_exception(Spoofed("its reply does not spell the name as the question did"))
        else:
            replied.set_result(wire)
        return True

    def expire(self, now: float) -> None:
        """NoReply for those who waited long enough."""
        for id in [id for id, (_, _, expires) in self.questions.items() if expires <= now]:
            self._fail(id, NoReply("no reply in time"))

    def fail(self, error: UpstreamError) -> None:
        """The socket is of no use: all who wait are told."""
        for id in list(self.questions):
            self._fail(id, error)

    def _fail(self, id: int, error: UpstreamError) -> None:
        replied = self.questions.pop(id)[0]
        if not replied.done():
            replied.set_exception(error)


def answers(wire: bytes, question: bytes) -> bool:
    """Is a message a reply to a question (its section, as sent)?

    The case of letters does not matter (RFC 4343). A failure may come without the question: FORMERR where it was not
    understood, the others from servers that spare the effort.
    """
    if len(wire) < 12 or wire[2] & _KIND != _REPLY:
        return False
    if wire[4:6] != b"\0\1":
        return wire[4:6] == b"\0\0" and wire[3] & 15 in BARE and wire[6:10] == b"\0\0\0\0"
    asked = wire[12 : 12 + len(question)]
    return asked == question or (asked[-4:] == question[-4:] and asked[:-4].lower() == question[:-4].lower())
