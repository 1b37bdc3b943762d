"""Zone transfers as messages (RFC 5936, and IXFR answered in full, RFC 1995 4), and NOTIFY (RFC 1996). No I/O.

What goes out is cut into messages small enough that making one holds nobody up. What comes in is bounded, and is a zone only
when its SOA has come twice.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kdns.dns import names, reply
from kdns.dns.query import Query
from kdns.dns.response import Response, RRset
from kdns.dns.types import AA, IN, NOERROR, NOTIFY, rcode_text, SOA
from kdns.dns.zone import Timers
from kdns.errors import Garbage

RECORDS = 200  # of one message
OCTETS = 16384  # of one message, without what names in it have in common
LARGEST = 64 << 20  # octets of rdata and owner names that a zone may have


class Outgoing(NamedTuple):
    """A zone to be transferred: its SOA, and its records in steps, the SOA first and last (RFC 5936 2.2)."""

    soa: RRset
    steps: Iterator[Sequence[RRset]]


def is_newer(serial: int, other: int) -> bool:
    """Does a serial come after another? They go round (RFC 1982 3.2)."""
    return 0 < (serial - other) & 0xFFFFFFFF < 1 << 31


def messages(steps: Iterable[Sequence[RRset]]) -> Iterator[Response | None]:
    """The messages of a transfer, from the SOA to the SOA; None is work that did not fill one."""
    waiting: list[RRset] = []
    records = octets = 0
    for step in steps:
        for rrset in step:
            for part in _parts(rrset):
                size = _size(part)
                if waiting and (records + len(part.rdata) > RECORDS or octets + size > OCTETS):
                    yield Response(answer=tuple(waiting))
                    waiting, records, octets = [], 0, 0
                waiting.append(part)
                records += len(part.rdata)
                octets += size
        yield None
    if waiting:
        yield Response(answer=tuple(waiting))


def _parts(rrset: RRset) -> Iterator[RRset]:
    """An RRset in parts that fit a message; a record alone may be larger."""
    if len(rrset.rdata) <= RECORDS and _size(rrset) <= OCTETS:
        yield rrset
        return
    part: list[bytes] = []
    octets = 0
    for rdata in rrset.rdata:
        size = len(rdata) + len(rrset.name) + 12
        if part and (len(part) >= RECORDS or octets + size > OCTETS):
            yield rrset._replace(rdata=tuple(part))
            part, octets = [], 0
        part.append(rdata)
        octets += size
    yield rrset._replace(rdata=tuple(part))


def _size(rrset: RRset) -> int:
    return sum(map(len, rrset.rdata)) + len(rrset.rdata) * (len(rrset.name) + 12)


def known_serial(query: Query) -> int | None:
    """The serial that whoever asks for IXFR has (RFC 1995 3); None where the question does not say."""
    try:
        authority = reply.decode(query.wire, query).authority
    except Garbage:
        return None
    return next((Timers.of(rrset.rdata[0]).serial for rrset in authority if rrset.type == SOA), None)


def question(id: int, origin: str, type: int) -> bytes:
    """A question of a secondary to its primary."""
    return struct.pack("!6H", id, 0, 1, 0, 0, 0) + names.wire(origin) + struct.pack("!2H", type, IN)


def notify(id: int, soa: RRset) -> bytes:
    """The message that a zone has changed, with its SOA (RFC 1996 3.7).

    A secondary that transfers the zone just then learns from the serial that there is more to come.
    """
    owner, rdata = names.wire(soa.name), soa.rdata[0]
    question = owner + struct.pack("!2H", SOA, IN)
    record = owner + struct.pack("!2HIH", SOA, IN, soa.ttl, len(rdata)) + rdata
    return struct.pack("!6H", id, NOTIFY | AA, 1, 1, 0, 0) + question + record


class Incoming:
    """What a primary answers to one AXFR, or to a question for the SOA: message by message."""

    def __init__(self, origin: str, type: int) -> None:
        self._origin = origin
        self._query = Query(origin, type)
        self._octets = 0
        self._tops: list[bytes] = []  # the SOA, each time it came
        self.rrsets: list[RRset] = []

    def soa(self, wire: bytes) -> RRset:
        """The SOA of the reply to a question for it; Garbage where there is none."""
        for rrset in self._read(wire):
            if rrset.type == SOA and rrset.name == self._origin:
                return rrset
        raise Garbage("its reply has no SOA record")

    def feed(self, wire: bytes) -> bool:
        """One message more: is the zone complete? Garbage where this is no transfer."""
        answer = self._read(wire)
        if not self._tops and (not answer or (answer[0].name, answer[0].type) != (self._origin, SOA)):
            raise Garbage("its transfer does not begin with the SOA record")
        for rrset in answer:
            if rrset.type == SOA and rrset.name == self._origin:
                self._tops += rrset.rdata  # of a short zone both are in one message
            elif not names.is_below(rrset.name, self._origin):
                continue
            self._octets += _size(rrset)
            self.rrsets.append(rrset)
        if self._octets > LARGEST:
            raise Garbage(f"its transfer has more than {LARGEST} octets")
        if len(set(self._tops)) > 1:
            raise Garbage("its zone changed while it was transferred")
        return len(self._tops) > 1

    def _read(self, wire: bytes) -> tuple[RRset, ...]:
        if len(wire) < 12 or not wire[2] & 0x80:
            raise Garbage("its reply is no reply")
        rcode = wire[3] & 15
        if rcode != NOERROR:
            raise Garbage(f"it answered {rcode_text(rcode)}")
        with_question = wire[4:6] == b"\0\1"
        if with_question and wire[12 : 12 + len(self._query.question)].lower() != self._query.question:
            raise Garbage("its reply is to another question")
        if not with_question and wire[4:6] != b"\0\0":
            raise Garbage("its reply has more than one question")
        return reply.decode(wire, self._query).answer
