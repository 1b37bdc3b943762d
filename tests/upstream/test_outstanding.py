"""Which reply counts, and what becomes of questions that have none."""

import asyncio
import struct

import pytest

from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.types import A
from kdns.errors import NoReply, Spoofed, UpstreamError
from kdns.upstream.outstanding import answers, fresh_id, Outstanding

QUERY = Query("www.example.org.", A)


def spelled(name: str, type: int = A, flags: int = 0x8180, counts: bytes = b"\0\1") -> bytes:
    return struct.pack("!HH", 1, flags) + counts + bytes(6) + names.wire(name) + struct.pack("!HH", type, 1)


REPLIES = [
    (spelled("www.example.org."), True),
    (spelled("wWw.eXample.org."), True),
    (spelled("www.example.com."), False),
    (spelled("www.example.org.", 65), False),
    (spelled("www.example.org.", 0x21), False),
    (spelled("www.example.org.", flags=0x0100), False),  # a question
    (spelled("www.example.org.", flags=0xA180), False),  # another opcode
    (spelled("www.example.org.", counts=b"\0\2"), False),
    (struct.pack("!6H", 1, 0x8181, 0, 0, 0, 0), True),  # FORMERR, the question not understood
    (struct.pack("!6H", 1, 0x8182, 0, 0, 0, 0), True),  # nor repeated where it failed
    (struct.pack("!6H", 1, 0x8185, 0, 0, 0, 1), True),
    (struct.pack("!6H", 1, 0x8180, 0, 0, 0, 0), False),
    (struct.pack("!6H", 1, 0x8183, 0, 0, 0, 0), False),
    (struct.pack("!6H", 1, 0x8182, 0, 0, 1, 0), False),
    (struct.pack("!6H", 1, 0x8181, 0, 1, 0, 0), False),
    (b"\0\1\x81\x80", False),
]


@pytest.mark.parametrize(("wire", "expected"), REPLIES)
def test_which_reply_counts(wire: bytes, expected: bool) -> None:
    assert expected == answers(wire, QUERY.question)


def reply(id: int, question: bytes = QUERY.question) -> bytes:
    return struct.pack("!6H", id, 0x8180, 1, 0, 0, 0) + question


LOUD = QUERY.question[:-4].upper() + QUERY.question[-4:]
OUTCOMES = [
    (False, QUERY.question, "reply"),
    (False, LOUD, "reply"),
    (True, QUERY.question, "reply"),
    (True, LOUD, "Spoofed"),
]


@pytest.mark.parametrize(("exact", "question", "expected"), OUTCOMES)
def test_the_spelling_counts_where_it_was_made_at_random(exact: bool, question: bytes, expected: str) -> None:
    async def run() -> str:
        outstanding = Outstanding(exact)
        id, replied = outstanding.add(QUERY.question, 10.0)
        assert outstanding.take(reply(id, question))
        try:
            return "reply" if await replied == reply(id, question) else "another"
        except Spoofed:
            return "Spoofed"

    assert expected == asyncio.run(run())


def test_a_reply_is_taken_once_and_by_its_id_alone() -> None:
    async def run() -> None:
        outstanding = Outstanding()
        id, replied = outstanding.add(QUERY.question, 10.0)
        assert [False, False, True, False] == [
            outstanding.take(octets) for octets in (reply(id ^ 1), reply(id)[:11], reply(id), reply(id))
        ]
        assert (reply(id), 0) == (await replied, len(outstanding))

    asyncio.run(run())


def test_those_who_wait_too_long_and_those_of_a_dead_socket_are_told() -> None:
    async def run() -> list[str]:
        outstanding = Outstanding()
        waiting = [outstanding.add(QUERY.question, expires)[1] for expires in (1.0, 2.0, 3.0)]
        outstanding.expire(2.0)
        outstanding.fail(UpstreamError("connection refused"))
        assert not outstanding
        return [type(error).__name__ for error in await asyncio.gather(*waiting, return_exceptions=True)]

    assert [NoReply.__name__, NoReply.__name__, UpstreamError.__name__] == asyncio.run(run())


def test_ids_are_spread_evenly() -> None:
    """Chi-square over 256 classes of the high and of the low octet: 255 degrees of freedom, under 400 but once in 10^8."""
    ids = [fresh_id() for _ in range(65536)]
    for octet in (0, 8):
        counts = [0] * 256
        for id in ids:
            counts[id >> octet & 255] += 1
        assert sum((count - 256) ** 2 / 256 for count in counts) < 400
