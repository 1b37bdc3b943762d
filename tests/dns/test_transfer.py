"""Zone transfers: messages that dnspython takes for a zone, and zones out of messages that dnspython makes."""

import struct

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import dns.renderer
import dns.versioned
import dns.xfr
import dns.zone
import pytest

from kdns.dns import names, transfer
from kdns.dns.encoding import encode
from kdns.dns.query import decode, Query, Transport
from kdns.dns.response import RRset
from kdns.dns.ring import Ring
from kdns.dns.transfer import Incoming, OCTETS, RECORDS
from kdns.dns.types import A, AXFR, IXFR, SOA, TXT
from kdns.errors import Garbage

SOA_RDATA = b"\2ns\0\4host\0" + struct.pack("!5I", 7, 7200, 1800, 86400, 30)
TOP = RRset("example.", SOA, 60, (SOA_RDATA,))


def wires(rrsets: list[RRset], query: Query) -> list[bytes]:
    """The messages of a transfer, as they are sent."""
    query.transport = Transport.TCP
    out = []
    for response in transfer.messages([rrsets[i : i + 7] for i in range(0, len(rrsets), 7)]):
        if response is not None:
            made = encode(query, response)
            assert not isinstance(made, Ring)
            out.append(b"\0\7" + made)
    return out


ZONES = [
    [TOP],
    [TOP, RRset("example.", 2, 60, (b"\2ns\0",)), RRset("a.example.", A, 60, (b"\x0a\0\0\1", b"\x0a\0\0\2"))],
    [TOP, *[RRset(f"h{i}.sub.example.", A, 60, (struct.pack("!I", i),)) for i in range(3000)]],
    [TOP, RRset("many.example.", A, 60, tuple(struct.pack("!I", i) for i in range(3000)))],
    [TOP, RRset("long.example.", TXT, 60, tuple(b"".join(b"\xff" + bytes([65 + i]) * 255 for _ in range(60)) for i in range(9)))],
]


@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: str(len(zone)))
def test_a_transfer_is_a_zone_for_dnspython_and_for_ourselves(zone: list[RRset]) -> None:
    sent = wires([*zone, TOP], Query("example.", AXFR))
    expected = {(rrset.name, rrset.type, rdata) for rrset in zone for rdata in rrset.rdata}
    for wire in sent:
        read = dns.message.from_wire(wire, one_rr_per_rrset=True)
        assert not read.flags & dns.flags.TC
        assert len(read.answer) <= RECORDS and (len(wire) <= OCTETS + 100 or len(read.answer) == 1)

    judge = dns.versioned.Zone(dns.name.from_text("example."), relativize=False)
    with dns.xfr.Inbound(judge, dns.rdatatype.AXFR) as inbound:
        done = [inbound.process_message(dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True)) for wire in sent]
    assert [False] * (len(sent) - 1) + [True] == done
    found = {(names.absolute(name.to_text()), int(rdata.rdtype), rdata.to_wire()) for name, _, rdata in judge.iterate_rdatas()}
    assert expected == found

    incoming = Incoming("example.", AXFR)
    assert [False] * (len(sent) - 1) + [True] == [incoming.feed(wire) for wire in sent]
    assert expected == {(rrset.name, rrset.type, rdata) for rrset in incoming.rrsets for rdata in rrset.rdata}


def test_work_without_records_is_told() -> None:
    made = list(transfer.messages([[TOP], [], [TOP]]))
    assert ([None, None, None], (TOP, TOP)) == (made[:-1], made[-1].answer if made[-1] else None)


def test_the_transfer_of_dnspython_is_taken_without_what_is_outside() -> None:
    text = "@ 60 SOA ns host 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n*.w 60 MX 10 Mail\n"
    zone = dns.zone.from_text(text, "example.", relativize=False)
    query = dns.message.make_query("example.", "AXFR")
    every = [dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset)) for name in zone for rdataset in zone[name]]
    every.sort(key=lambda rrset: rrset.rdtype != dns.rdatatype.SOA)
    incoming = Incoming("example.", AXFR)
    outside = dns.rrset.from_text("www.other.", 60, "IN", "A", "192.0.2.9")
    for part in (every[:2], [*every[2:], outside], every[:1]):
        reply = dns.message.make_response(query)
        reply.answer = part
        done = incoming.feed(reply.to_wire())
    assert done
    found = {(rrset.name, rrset.type) for rrset in incoming.rrsets}
    assert {("example.", SOA), ("example.", 2), ("ns.example.", A), ("*.w.example.", 15)} == found


def reply(rcode: int = 0, answer: str = "", asked: str = "example.") -> bytes:
    made = dns.message.make_response(dns.message.make_query(asked, "AXFR"))
    made.set_rcode(rcode)
    made.answer = [dns.rrset.from_text(*line.split(maxsplit=4)) for line in answer.splitlines()]  # type: ignore[arg-type]
    return made.to_wire()


FIRST, LATER = "example. 60 IN SOA ns. host. 1 2 3 4 5", "example. 60 IN SOA ns. host. 2 2 3 4 5"


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([b""], "its reply is no reply"),
        ([b"\0" * 12], "its reply is no reply"),
        ([reply(5)], "it answered REFUSED"),
        ([reply(9)], "it answered NOTAUTH"),
        ([reply()], "its transfer does not begin with the SOA record"),
        ([reply(answer="a.example. 60 IN A 192.0.2.1")], "its transfer does not begin with the SOA record"),
        ([reply(answer="other. 60 IN SOA ns. host. 1 2 3 4 5")], "its transfer does not begin with the SOA record"),
        ([reply(answer=FIRST, asked="other.")], "its reply is to another question"),
        ([reply(answer=FIRST)[:-3]], "its reply is cut short"),
        ([reply(answer=FIRST), reply(answer=LATER)], "its zone changed while it was transferred"),
        ([reply(answer=FIRST)[:4] + b"\0\2" + reply(answer=FIRST)[6:]], "its reply has more than one question"),
    ],
)
def test_what_is_no_transfer(messages: list[bytes], why: str) -> None:
    incoming = Incoming("example.", AXFR)
    with pytest.raises(Garbage) as caught:
        list(map(incoming.feed, messages))
    assert why == str(caught.value)


def test_a_transfer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "LARGEST", 10_000)
    incoming = Incoming("example.", AXFR)
    incoming.feed(reply(answer=FIRST))
    with pytest.raises(Garbage, match="its transfer has more than 10000 octets"):
        list(map(incoming.feed, [reply(answer=f"h{i}.example. 60 IN A 192.0.2.1") for i in range(1000)]))


def test_the_soa_alone() -> None:
    assert ("example.", SOA, 60) == Incoming("example.", SOA).soa(reply(answer=FIRST).replace(b"\0\xfc", b"\0\6"))[:3]
    with pytest.raises(Garbage, match="its reply has no SOA record"):
        Incoming("example.", AXFR).soa(reply(answer="a.example. 60 IN A 192.0.2.1"))


@pytest.mark.parametrize(
    ("serial", "other", "expected"),
    [(2, 1, True), (1, 1, False), (1, 2, False), (0, 2**32 - 1, True), (5, 2**32 - 5, True), (2**31 + 1, 1, False),
     (2**31, 1, True)],
)  # fmt: skip
def test_serials_go_round(serial: int, other: int, expected: bool) -> None:
    assert expected is transfer.is_newer(serial, other)


def test_the_serial_of_who_asks_for_what_changed() -> None:
    asked = dns.message.make_query("example.", "IXFR")
    query = decode(asked.to_wire())
    assert query is not None and (IXFR, None) == (query.type, transfer.known_serial(query))
    asked.authority = [dns.rrset.from_text("example.", 0, "IN", "SOA", ". . 77 0 0 0 0")]
    query = decode(asked.to_wire())
    assert query is not None and 77 == transfer.known_serial(query)


def test_questions_and_notifications_as_dnspython_reads_them() -> None:
    asked = dns.message.from_wire(transfer.question(7, "example.", AXFR))
    assert (7, "example. IN AXFR", dns.opcode.QUERY) == (asked.id, asked.question[0].to_text(), asked.opcode())
    told = dns.message.from_wire(transfer.notify(8, TOP))
    assert (8, "example. IN SOA", dns.opcode.NOTIFY) == (told.id, told.question[0].to_text(), told.opcode())
    assert ["example. 60 IN SOA ns. host. 7 7200 1800 86400 30"] == [rrset.to_text() for rrset in told.answer]
    assert told.flags & dns.flags.AA
