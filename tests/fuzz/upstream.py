"""What upstreams say, in place of the reply to a question.

What must hold: Garbage or a Response, nothing else; what dnspython reads without a complaint, and has all of its records in one
class, comes to the same records; what is sent on of it is no larger than the client takes, has its question, and has TC where
anything of the answer was left out.
"""

from collections.abc import Iterable
from random import Random

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from kdns.dns.encoding import encode
from kdns.dns.query import decode, Query, Transport
from kdns.dns.reply import decode as decode_reply
from kdns.dns.response import Response
from kdns.dns.types import QR
from kdns.errors import Garbage
from kdns.upstream.outstanding import answers
from tests.fuzz.judging import Cost
from tests.fuzz.mutation import mutated

NAME = "www.example.org."
RECORDS = (
    ("www.example.org. 60 IN A 192.0.2.1",),
    ("www.example.org. 60 IN A 192.0.2.1", "www.example.org. 30 IN A 192.0.2.2", "www.example.org. 30 IN AAAA 2001:db8::1"),
    ("www.example.org. 60 IN CNAME web.example.net.", "web.example.net. 5 IN CNAME web.example.org.",
     "web.example.org. 60 IN A 192.0.2.1"),
    ("www.example.org. 60 IN MX 10 mail.example.org.", "www.example.org. 60 IN TXT \"a\" \"b c\"",
     "www.example.org. 1 IN SRV 1 2 80 www.example.org.", "www.example.org. 1 IN NAPTR 1 2 \"u\" \"E2U\" \"!a!b!\" a.example.org."),
    ("www.example.org. 60 IN RRSIG A 8 3 60 20300101000000 20200101000000 1 example.org. AAAA",
     "www.example.org. 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1", "www.example.org. 9 IN PTR a.b.c.example.org.",
     "example.org. 9 IN DNAME example.net.", "www.example.org. 9 IN TYPE65280 \\# 3 010203"),
    tuple(f"www.example.org. 60 IN A 192.0.2.{n}" for n in range(60)),
)  # fmt: skip
SOA = "example.org. 300 IN SOA ns.example.org. admin.example.org. 1 2 3 4 5"


class Upstream:
    dear = 500
    bound, bound_by_octet = Cost(1500, 1 << 19), Cost(60, 2000)

    def __init__(self, rnd: Random) -> None:
        self._rnd = rnd
        self._asked = dns.message.make_query(NAME, "A", use_edns=0, payload=1232, id=7).to_wire()
        self._seeds = [self._reply(*records) for records in RECORDS] + [self._reply(rcode=3), self._reply()]

    def _reply(self, *records: str, rcode: int = 0) -> bytes:
        reply = dns.message.make_response(dns.message.from_wire(self._asked))
        reply.flags |= dns.flags.RA
        reply.set_rcode(rcode)  # type: ignore[arg-type]
        reply.answer = [_rrset(text) for text in records]
        reply.authority = [] if records else [_rrset(SOA)]
        return reply.to_wire(max_size=65535)

    async def prepare(self) -> None:
        pass

    async def end(self) -> None:
        pass

    def make(self) -> bytes:
        octets = mutated(self._rnd, self._seeds, 5)
        question = self._asked[12 : 12 + len(NAME) + 5]  # most would be no reply to it
        return octets[:2] + (QR | 0x100).to_bytes(2, "big") + octets[4:12] + question + octets[12 + len(question) :]

    async def judge(self, wire: bytes) -> None:
        query = decode(self._asked)
        assert query is not None
        if not answers(wire, query.question):
            return
        try:
            response = decode_reply(wire, query)
        except Garbage:
            return
        _same_records(wire, response)
        for transport in Transport:
            query.transport = transport
            _sent_on(query, response)


def _same_records(wire: bytes, response: Response) -> None:
    try:
        message = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        return
    sections = [message.answer, message.authority, message.additional]
    if any(rrset.rdclass != dns.rdataclass.IN for section in sections for rrset in section) or message.flags & dns.flags.TC:
        return
    ours = [response.answer, response.authority, response.additional]
    for theirs, mine in zip(sections, ours, strict=True):
        foreign = {rrset.rdtype for rrset in theirs for rdata in rrset if isinstance(rdata, dns.rdata.GenericRdata)}
        expected = {
            (rrset.name, int(rrset.rdtype), rdata.to_wire().lower())
            for rrset in theirs for rdata in rrset if rrset.rdtype not in foreign
        }  # fmt: skip
        actual = {
            (dns.name.from_text(rrset.name), rrset.type, rdata.lower())
            for rrset in mine for rdata in rrset.rdata if rrset.type not in foreign
        }  # fmt: skip
        assert expected == actual, f"dnspython reads {expected - actual}, we {actual - expected}"


def _sent_on(query: Query, response: Response) -> None:
    made = encode(query, response)
    octets = b"\0\7" + (made if isinstance(made, bytes) else made.turn())
    assert len(octets) <= query.limit(), f"{len(octets)} octets over {query.transport}"
    message = dns.message.from_wire(octets, continue_on_error=True)
    assert [NAME] == [question.name.to_text() for question in message.question], "another question"
    if not message.errors and not message.flags & dns.flags.TC:
        assert _kinds(message.answer) == {(dns.name.from_text(rrset.name), rrset.type) for rrset in response.answer}, "lost"


def _kinds(section: Iterable[dns.rrset.RRset]) -> set[tuple[dns.name.Name, int]]:
    return {(rrset.name, int(rrset.rdtype)) for rrset in section}


def _rrset(text: str) -> dns.rrset.RRset:
    name, ttl, cls, type, rdata = text.split(" ", 4)
    return dns.rrset.from_text(name, int(ttl), cls, type, rdata)
