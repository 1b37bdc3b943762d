"""What an upstream says, judged by dnspython and dnslib."""

import struct
import time
from collections import Counter

import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.wire
import dnslib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.dns import names
from kdns.dns.encoding import encode
from kdns.dns.query import Query, Transport
from kdns.dns.reply import decode
from kdns.dns.response import ExtendedError, Response, RRset
from kdns.dns.types import A, AA, AD, NS, RA, TC
from kdns.errors import Garbage
from tests.support.steps import steps

QUERY = Query("www.example.org.", A)
RECORDS = [
    "www.example.org. 60 IN A 192.0.2.1", "www.example.org. 60 IN A 192.0.2.2", "WWW.example.org. 30 IN A 192.0.2.3",
    "www.example.org. 60 IN AAAA 2001:db8::1", "www.example.org. 300 IN CNAME web.example.org.",
    "web.example.org. 5 IN A 192.0.2.4", "example.org. 3600 IN NS ns1.example.org.",
    "example.org. 3600 IN NS ns2.other.net.",
    "example.org. 3600 IN SOA ns1.example.org. Hostmaster.example.org. 1 7200 1800 86400 30",
    "example.org. 60 IN MX 10 mail.example.org.", "_http._tcp.example.org. 60 IN SRV 0 100 80 web.example.org.",
    "1.2.0.192.in-addr.arpa. 60 IN PTR www.example.org.", "example.org. 60 IN TXT \"a b\" \"c\"",
    ". 60 IN NS a.root-servers.net.",
    "example.org. 60 IN DNAME example.net.", "example.org. 60 IN RP admin.example.org. txt.example.org.",
    "example.org. 60 IN NAPTR 10 20 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.org.",
    "example.org. 60 IN AFSDB 1 afs.example.org.",
    "example.org. 60 IN CAA 0 issue \"ca.example.net\"", "example.org. 60 IN TYPE65280 \\# 3 010203",
    "www.example.org. 60 IN RRSIG A 13 3 60 20300101000000 20200101000000 1 example.org. AAAA",
    "www.example.org. 60 IN RRSIG AAAA 13 3 60 20300101000000 20200101000000 1 example.org. AAAA",
    "example.org. 60 IN HTTPS 1 . alpn=h2", "a\\.b.example.org. 60 IN KX 1 kx.example.org.",
]  # fmt: skip


def message(answer: list[str], authority: list[str] = (), additional: list[str] = (), flags: str = "QR RD RA") -> bytes:  # type: ignore[assignment]
    """A reply to QUERY, as dnspython writes it, names compressed."""
    reply = dns.message.make_response(dns.message.make_query("www.example.org.", "A", use_edns=0))
    reply.flags = dns.flags.from_text(flags)
    for section, texts in ((reply.answer, answer), (reply.authority, authority), (reply.additional, additional)):
        for text in texts:
            name, ttl, cls, type, rdata = text.split(" ", 4)
            section.append(dns.rrset.from_text(name, int(ttl), cls, type, rdata))
    return reply.to_wire(max_size=65535)


def judged(wire: bytes) -> list[Counter[tuple[str, int, bytes]]]:
    """The records of each section as dnspython reads them: owner, type, uncompressed rdata; without OPT."""
    read = dns.message.from_wire(wire, ignore_trailing=True, one_rr_per_rrset=True)
    return [
        Counter(
            (names.text((rrset.name.to_wire() or b"").lower()), int(rrset.rdtype), rdata.to_wire())
            for rrset in section
            for rdata in rrset
            if rrset.rdclass == dns.rdataclass.IN
        )
        for section in (read.answer, read.authority, read.additional)
    ]


def records(response: Response) -> list[Counter[tuple[str, int, bytes]]]:
    return [
        Counter((rrset.name, rrset.type, rdata) for rrset in section for rdata in rrset.rdata)
        for section in (response.answer, response.authority, response.additional)
    ]


def outline(wire: bytes) -> list[Counter[tuple[str, int]]]:
    """Owner and type of the records of each section, in the hands of dnspython's reader of names; rdata are opaque."""
    parser = dns.wire.Parser(wire, 12)
    parser.get_name()
    parser.get_bytes(4)
    sections = []
    for count in struct.unpack("!3H", wire[6:12]):
        sections.append(Counter[tuple[str, int]]())
        for _ in range(count):
            owner = names.text((parser.get_name(decompress=True).to_wire() or b"").lower())
            type, cls, _, size = parser.get_struct("!HHIH")
            parser.get_bytes(size)
            if cls == dns.rdataclass.IN and type != dns.rdatatype.OPT:
                sections[-1][owner, type] += 1
    return sections


TEXTS = st.lists(st.sampled_from(RECORDS), max_size=8)


@given(TEXTS, TEXTS, TEXTS)
def test_a_reply_is_read_as_dnspython_reads_it(answer: list[str], authority: list[str], additional: list[str]) -> None:
    wire = message(answer, authority, additional)
    assert judged(wire) == records(decode(wire, QUERY))


OWNERS = [*["www.example.org."] * 4, "a.org."]
ADDRESSES = [f"{name} {ttl} IN A 192.0.2.{n}" for name in OWNERS for ttl in (60, 30) for n in range(3)]


@given(st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=5), st.data())
def test_the_usual_reply_is_read_as_any(answer: list[str], data: st.DataObject) -> None:
    """The short way is not taken where an octet follows."""
    wire = bytearray(message(answer))
    if data.draw(st.booleans()):
        wire[data.draw(st.integers(33, len(wire) - 1))] = data.draw(st.integers(0, 255))

    def read(octets: bytes) -> Response | str:
        try:
            return decode(octets, QUERY)
        except Garbage as error:
            return str(error)

    short, long = read(bytes(wire)), read(bytes(wire) + b"\0")
    assert short == long or "its reply is cut short" in (short, long)


@given(TEXTS)
def test_what_was_read_can_be_sent_on(answer: list[str]) -> None:
    wire = message(answer)
    query = Query("www.example.org.", A)
    query.transport = Transport.TCP
    sent = encode(query, decode(wire, query))
    assert isinstance(sent, bytes)
    assert judged(wire) == judged(b"\0\0" + sent)


@given(TEXTS, st.data())
@settings(max_examples=500)
def test_changed_octets_are_refused_or_read_as_dnspython_reads_them(answer: list[str], data: st.DataObject) -> None:
    wire = bytearray(message(answer))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(33, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(wire), QUERY)
    except Garbage:
        return
    read = (found.answer, found.authority, found.additional)
    assert outline(bytes(wire)) == [
        Counter((rrset.name, rrset.type) for rrset in section for _ in rrset.rdata) for section in read
    ]


@given(st.binary(max_size=300), st.tuples(*[st.integers(0, 20)] * 3), st.booleans())
@settings(max_examples=500)
def test_garbage_is_refused_in_one_way(octets: bytes, counts: tuple[int, int, int], truncated: bool) -> None:
    head = struct.pack("!6H", 1, 0x8180 | (TC if truncated else 0), 1, *counts) + QUERY.question
    try:
        response = decode(head + octets, QUERY)
    except Garbage:
        return
    assert truncated == bool(response.flags & TC)


def test_a_reply_is_read_as_dnslib_wrote_it() -> None:
    record = dnslib.DNSRecord(dnslib.DNSHeader(qr=1, ra=1), q=dnslib.DNSQuestion("www.example.org", dnslib.QTYPE.A))
    record.add_answer(*dnslib.RR.fromZone("www.example.org 60 CNAME web.example.org\nweb.example.org 5 A 192.0.2.4"))
    expected = (
        RRset("www.example.org.", 5, 60, (names.wire("web.example.org."),)),
        RRset("web.example.org.", A, 5, (bytes([192, 0, 2, 4]),)),
    )
    assert expected == decode(bytes(record.pack()), QUERY).answer


def test_an_rrset_stands_once_with_its_least_ttl() -> None:
    response = decode(message([RECORDS[0], RECORDS[3], RECORDS[2]], flags="QR AA RA AD TC"), QUERY)
    assert [("www.example.org.", 1, 30, 2), ("www.example.org.", 28, 60, 1)] == [
        (rrset.name, rrset.type, rrset.ttl, len(rrset.rdata)) for rrset in response.answer
    ]
    assert (True, RA | AD | TC, True, 0.0) == (
        response.authoritative, response.flags, response.foreign, response.stable_for
    )  # fmt: skip
    assert AA & response.flags == 0


def record(owner: bytes, type: int, rdata: bytes, ttl: int = 60, cls: int = 1) -> bytes:
    return owner + struct.pack("!HHIH", type, cls, ttl, len(rdata)) + rdata


def raw(*octets: bytes, flags: int = 0x8180, counts: tuple[int, int, int] | None = None) -> bytes:
    return struct.pack("!6H", 1, flags, 1, *(counts or (len(octets), 0, 0))) + QUERY.question + b"".join(octets)


HERE = (12 + len(QUERY.question)) | 0xC000
ADDRESS = record(b"\xc0\x0c", A, bytes([192, 0, 2, 1]))
LONG = b"".join(b"\x3f" + b"a" * 63 for _ in range(3))
REFUSED = [
    (raw(record(struct.pack("!H", HERE), A, bytes(4))), "its reply has names that run in circles"),
    (raw(record(struct.pack("!H", HERE + 40), A, bytes(4))), "its reply has names that run in circles"),
    (raw(record(b"\x01a" + struct.pack("!H", HERE), A, bytes(4))), "its reply has names that run in circles"),
    (raw(record(struct.pack("!H", HERE - 3), A, bytes(4))), "its reply has a name that runs into itself"),
    (raw(record(b"\x41a\0", A, bytes(4))), "its reply has a label of an unknown kind"),
    (raw(record(LONG + b"\x3f" + b"a" * 63 + b"\0", A, bytes(4))), "its reply has a name of over 255 octets"),
    (raw(record(LONG + b"\x2e" + b"b" * 46 + b"\xc0\x0c", A, bytes(4))), "its reply has a name of over 255 octets"),
    (raw(record(b"\xc0\x0c", A, bytes(3))), "its reply has an address of 3 octets"),
    (raw(record(b"\xc0\x0c", 28, bytes(4))), "its reply has an address of 4 octets"),
    (raw(record(b"\xc0\x0c", NS, b"\xc0\x0c\0")), "its reply has a record of type 2 that does not end where it says"),
    (raw(record(b"\xc0\x0c", NS, b"")), "its reply is cut short"),
    (raw(record(b"\xc0\x0c", 33, bytes(3)) + ADDRESS), "its reply has a record of type 33 that does not end where it says"),
    (raw(ADDRESS[:-1]), "its reply is cut short"),
    (raw(ADDRESS, counts=(2, 0, 0)), "its reply is cut short"),
    (raw(b"\xc0"), "its reply is cut short"),
    (raw(counts=(65535, 65535, 65535)), "its reply is cut short"),
]


@pytest.mark.parametrize(("wire", "expected"), REFUSED)
def test_what_is_wrong_is_said_in_one_line(wire: bytes, expected: str) -> None:
    with pytest.raises(Garbage) as caught:
        decode(wire, QUERY)
    assert expected == str(caught.value)


TOLERATED = [
    (raw(ADDRESS, ADDRESS[:-1], flags=0x8180 | TC), [(60, 1)]),  # cut, and says so
    (raw(record(b"\xc0\x0c", A, bytes(4), ttl=2**31)), [(0, 1)]),
    (raw(record(b"\xc0\x0c", A, bytes(4), cls=3)), []),
    (raw(ADDRESS) + b"rest", [(60, 1)]),
]


@pytest.mark.parametrize(("wire", "expected"), TOLERATED)
def test_what_is_odd_but_can_be_read(wire: bytes, expected: list[tuple[int, int]]) -> None:
    assert expected == [(rrset.ttl, len(rrset.rdata)) for rrset in decode(wire, QUERY).answer]


def test_names_cannot_be_made_to_cost_much() -> None:
    first = 12 + len(QUERY.question) + 12  # each pointer leads to the one before
    chain = record(b"\xc0\x0c", 16, b"".join(struct.pack("!H", 0xC000 | first - 2 + 2 * n) for n in range(8000)))
    last = (12 + len(QUERY.question) + len(chain) - 2) | 0xC000
    wire = raw(chain, *[record(struct.pack("!H", last), A, bytes(4))] * 2500)
    began = time.process_time()
    with pytest.raises(Garbage):
        decode(wire, QUERY)
    assert time.process_time() - began < 0.5


OPTIONS = [
    (b"", 0, None),
    (struct.pack("!HHH", 15, 4, 22) + b"no", 0, ExtendedError(22, "no")),
    (struct.pack("!HHH", 15, 5, 9) + b"a\nb", 0, ExtendedError(9, "a b")),
    (struct.pack("!HHHH", 10, 0, 15, 2) + struct.pack("!H", 6), 0, ExtendedError(6, "")),
    (struct.pack("!HHH", 15, 99, 6), 0, ExtendedError(6, "")),
    (struct.pack("!HH", 15, 0), 16, None),
    (b"\0", 0, None),
]


@pytest.mark.parametrize(("options", "upper", "expected"), OPTIONS)
def test_opt_is_read_and_taken_out(options: bytes, upper: int, expected: ExtendedError | None) -> None:
    opt = record(b"\0", 41, options, ttl=(upper >> 4) << 24, cls=4096)
    response = decode(raw(opt, counts=(0, 0, 1)), QUERY)
    assert (upper, expected, ()) == (response.rcode, response.error, response.additional)


def crowd(region: bytes, labels: list[int], pointed: bool) -> bytes:
    """64 kB: labels in the rdata of a TXT record, and records whose owners (or rdata) point at each of them in turn."""
    out = bytearray(QUERY.question + b"\0" + struct.pack("!HHIH", 16, 1, 5, len(region)))
    base = 12 + len(out)  # REGION
    out += region
    count = 1
    while len(out) < 65_000:
        pointer = struct.pack("!H", 0xC000 | base + labels[count % len(labels)])
        record = struct.pack("!HHI", 12, 1, 5)
        out += b"\1x" + pointer + record + b"\0\1\0" if pointed else b"\0" + record + b"\0\2" + pointer
        count += 1
    return struct.pack("!6H", 7, 0x8180, 1, count, 0, 0) + bytes(out)


RUNS = (b"\1." * 126 + b"\0") * 55  # names of 126 labels, each of which is pointed at
REGION = 12 + len(QUERY.question) + 11  # where such a region stands
STARTS = [0, *(3 + 6 * n for n in range(30))]
CHAINS = b"\1.\0" + b"".join(b"\1.\1." + struct.pack("!H", 0xC000 | REGION + before) for before in STARTS[:-1])


@pytest.mark.parametrize("pointed", [True, False], ids=["owners", "rdata"])
@pytest.mark.parametrize(
    ("region", "labels"),
    [(RUNS, [253 * run + 2 * n for run in range(55) for n in range(126)]), (CHAINS, STARTS[1:])],
    ids=["long runs", "chains of pointers"],
)
def test_no_reply_costs_more_than_some_steps_an_octet(region: bytes, labels: list[int], pointed: bool) -> None:
    wire = crowd(region, labels, pointed)

    def read() -> None:
        with pytest.raises(Garbage, match="too many names for its size"):
            decode(wire, QUERY)

    assert steps(read, ("kdns/dns/reply.py", "kdns/dns/names.py")) < 16 * len(wire)


@pytest.mark.parametrize("type", ["PTR", "NS", "MX"])
def test_a_large_reply_with_every_name_compressed_is_read(type: str) -> None:
    reply = dns.message.make_response(dns.message.make_query("www.example.org", "A"))
    rdata = "10 " if type == "MX" else ""
    many = [f"{rdata}host-{n}.rack-{n % 40}.region.example.org." for n in range(1500)]
    reply.answer = [dns.rrset.from_text_list("www.example.org.", 60, "IN", type, many)]
    reply.additional = [
        dns.rrset.from_text(each.removeprefix(rdata), 60, "IN", kind, address)
        for each in many[:400] for kind, address in (("A", "192.0.2.1"), ("AAAA", "2001:db8::1"))
    ]  # fmt: skip
    read = decode(reply.to_wire(max_size=65535), QUERY)
    assert (1500, 800) == (len(read.answer[0].rdata), len(read.additional))
