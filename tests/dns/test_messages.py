"""The codec, judged by dnspython and dnslib: whatever kdns encodes both decode to the same."""

import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dnslib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdns.dns import names, types
from kdns.dns.encoding import encode, refusal, Ring
from kdns.dns.query import decode, Edns, Query, Transport
from kdns.dns.response import ExtendedError, Response, RRset
from kdns.dns.types import A, AAAA, BADVERS, CNAME, FORMERR, NOTIMP, NXDOMAIN, PTR, REFUSED, SOA, SRV, TXT
from kdns.errors import FormatError

LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
NAME = st.lists(LABEL, max_size=6).map(lambda labels: ".".join(labels) + ".")
ODD_NAME = st.lists(st.binary(min_size=1, max_size=9), max_size=5).map(
    lambda labels: names.text(b"".join(bytes((len(x),)) + x for x in labels).lower() + b"\0")
)
EDNS = st.none() | st.builds(Edns, st.integers(0, 65535), st.booleans(), st.just(b""))


def query(name: str = "web.prod.svc.cluster.local.", type: int = A, **more: object) -> Query:
    q = Query(name, type)
    for slot, value in more.items():
        setattr(q, slot, value)
    return q


def octets(made: bytes | Ring) -> bytes:
    return b"\0\7" + (made.turn() if isinstance(made, Ring) else made)


# ---------------------------------------------------------------- wire -> Query


@given(NAME | ODD_NAME, st.integers(1, 250).filter(lambda t: t != types.OPT), EDNS, st.booleans())
def test_a_query_by_dnspython_is_understood(name: str, type: int, edns: Edns | None, recursion: bool) -> None:
    asked = dns.message.make_query(dns.name.from_text(name), type, flags=dns.flags.RD if recursion else 0)
    if edns is not None:
        asked.use_edns(0, dns.flags.DO if edns.do else 0, edns.size)
    got = decode(asked.to_wire())
    assert got is not None
    assert (name, type, edns) == (got.name, got.type, got.edns)
    assert recursion == bool(got.flags & types.RD)
    assert got.memoizable


@given(st.binary(max_size=600) | st.binary(max_size=60).map(lambda b: b"\0\1\1\0\0\1\0\0\0\0\0\1" + b))
@example(b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1")
@example(b"\0\1\1\0\0\1\0\0\0\0\0\1\0\0\1\0\1\xc0")
def test_no_octets_make_it_raise(octets: bytes) -> None:
    try:
        decode(octets)
    except FormatError as error:
        reply = octets[:2] + refusal(octets, error)
        assert dns.message.from_wire(reply).flags & dns.flags.QR
        assert len(reply) <= 512


def header(flags: int = 0x0100, counts: tuple[int, int, int, int] = (1, 0, 0, 0)) -> bytes:
    return struct.pack("!6H", 7, flags, *counts)


QUESTION = b"\3web\4prod\0\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("what", "wire", "expected"),
    [
        ("shorter than a header", header()[:11], None),
        ("a response", header(0x8100) + QUESTION, None),
        ("a response with another opcode", header(0xF800), None),
        ("opcode 15, header only", header(0x7800, (0, 0, 0, 0)), NOTIMP),
        ("notify", header(0x2000) + QUESTION, NOTIMP),
        ("no question", header(counts=(0, 0, 0, 0)), FORMERR),
        ("two questions", header(counts=(2, 0, 0, 0)) + QUESTION * 2, FORMERR),
        ("cut short in the name", header() + QUESTION[:4], FORMERR),
        ("cut short in the type", header() + QUESTION[:-1], FORMERR),
        ("a name that points at itself", header() + b"\xc0\x0c\0\1\0\1", FORMERR),
        ("a label of 64 octets", header() + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", FORMERR),
        ("a name of 256 octets", header() + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", FORMERR),
        ("two OPT records", header(counts=(1, 0, 0, 2)) + QUESTION + OPT * 2, FORMERR),
        ("an OPT record with a name", header(counts=(1, 0, 0, 1)) + QUESTION + b"\1x" + OPT, FORMERR),
        ("an OPT record cut short", header(counts=(1, 0, 0, 1)) + QUESTION + OPT[:-2] + b"\0\4", FORMERR),
        ("a record that is missing", header(counts=(1, 1, 0, 0)) + QUESTION, FORMERR),
        ("type OPT asked", header() + b"\3web\0\0\x29\0\1", FORMERR),
        ("EDNS version 1", header(counts=(1, 0, 0, 1)) + QUESTION + b"\0\0\x29\x04\xd0\0\1\0\0\0\0", BADVERS),
        ("class CH", header() + b"\3web\0\0\x10\0\3", REFUSED),
        ("class HS", header() + b"\3web\0\0\1\0\4", REFUSED),
    ],
)
def test_bad_queries(what: str, wire: bytes, expected: int | None) -> None:
    if expected is None:
        assert decode(wire) is None
        return
    with pytest.raises(FormatError) as caught:
        decode(wire)
    assert expected == caught.value.rcode
    reply = dns.message.from_wire(wire[:2] + refusal(wire, caught.value))
    assert expected == reply.rcode()
    assert not reply.flags & dns.flags.AA
    assert (expected in (BADVERS, REFUSED)) == bool(reply.question)
    assert (expected == BADVERS) == (reply.edns == 0)
    assert not reply.options


@pytest.mark.parametrize(
    ("what", "wire", "expected"),
    [
        ("plain", header() + QUESTION, True),
        ("AD and CD", header(0x0130) + QUESTION, True),
        ("EDNS with DO", header(counts=(1, 0, 0, 1)) + QUESTION + b"\0\0\x29\x04\xd0\0\0\x80\0\0\0", True),
        ("a cookie", header(counts=(1, 0, 0, 1)) + QUESTION + OPT[:-2] + b"\0\x0c\0\x0a\0\x08" + b"c" * 8, False),
        ("an unknown EDNS flag", header(counts=(1, 0, 0, 1)) + QUESTION + b"\0\0\x29\x04\xd0\0\0\0\x40\0\0", False),
        ("the Z flag", header(0x0140) + QUESTION, False),
        ("random case", header() + b"\3wEb\4prod\0\0\1\0\1", False),
        ("octets after the end", header() + QUESTION + b"x", False),
        ("a record in the answer section", header(counts=(1, 1, 0, 0)) + QUESTION + QUESTION + b"\0\0\0\1\0\0", False),
    ],
)
def test_what_may_enter_the_memo(what: str, wire: bytes, expected: bool) -> None:
    got = decode(wire)
    assert got is not None
    assert expected == got.memoizable
    assert "web.prod." == got.name


# ---------------------------------------------------------------- Response -> wire

RDATA = {
    A: st.binary(min_size=4, max_size=4),
    AAAA: st.binary(min_size=16, max_size=16),
    CNAME: NAME.map(names.wire),
    PTR: NAME.map(names.wire),
    TXT: st.binary(max_size=40).map(lambda b: bytes((len(b),)) + b),
    SRV: st.tuples(st.binary(min_size=6, max_size=6), NAME).map(lambda t: t[0] + names.wire(t[1])),
    SOA: st.tuples(NAME, NAME, st.binary(min_size=20, max_size=20)).map(
        lambda t: names.wire(t[0]) + names.wire(t[1]) + t[2]
    ),
}


@st.composite
def rrset(draw: st.DrawFn, owner: st.SearchStrategy[str] = NAME | ODD_NAME) -> RRset:
    type = draw(st.sampled_from(sorted(RDATA)))
    rdata = draw(st.lists(RDATA[type], min_size=1, max_size=40 if type == A else 8, unique=True))
    return RRset(draw(owner), type, draw(st.integers(0, 2**31 - 1)), tuple(rdata))


RRSETS = st.lists(rrset(), max_size=4, unique_by=lambda r: (r.name, r.type)).map(tuple)


def as_records(rrsets: tuple[RRset, ...]) -> list[tuple[str, int, int, bytes]]:
    return sorted((r.name, r.type, r.ttl, rdata) for r in rrsets for rdata in r.rdata)


def by_dnspython(section: list[dns.rrset.RRset]) -> list[tuple[str, int, int, bytes]]:
    return sorted(
        (str(names.text(r.name.to_wire().lower())), int(r.rdtype), r.ttl, d.to_wire(origin=dns.name.root))
        for r in section for d in r
    )  # fmt: skip


@settings(max_examples=300)
@given(NAME | ODD_NAME, RRSETS, RRSETS, RRSETS)
def test_dnspython_and_dnslib_read_what_was_meant(
    name: str, answer: tuple[RRset, ...], authority: tuple[RRset, ...], additional: tuple[RRset, ...]
) -> None:
    q = query(name, transport=Transport.TCP, edns=Edns(1232, True))
    response = Response(NXDOMAIN, True, 0, answer, authority, additional)
    wire = octets(encode(q, response))
    read = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert as_records(answer) == by_dnspython(read.answer)
    assert as_records(authority) == by_dnspython(read.authority)
    assert as_records(additional) == by_dnspython(read.additional)
    assert NXDOMAIN == read.rcode()
    assert read.flags & dns.flags.AA and not read.flags & dns.flags.TC
    assert read.edns == 0 and read.ednsflags & dns.flags.DO and read.payload == 1232
    if "\\" in name + "".join(r.name for r in answer + authority + additional):
        return  # dnslib takes labels for UTF-8
    other = dnslib.DNSRecord.parse(wire)
    assert [len(answer), len(authority)] == [len({(str(r.rname), r.rtype) for r in s}) for s in (other.rr, other.auth)]
    assert sum(len(r.rdata) for r in additional) + 1 == len(other.ar)


@settings(max_examples=200)
@given(NAME, RRSETS, RRSETS, EDNS, st.integers(512, 4096), st.booleans())
def test_a_udp_reply_is_never_longer_than_asked_and_says_so(
    name: str, answer: tuple[RRset, ...], additional: tuple[RRset, ...], edns: Edns | None, ours: int, rotate: bool
) -> None:
    q = query(name, edns=edns)
    wire = octets(encode(q, Response(answer=answer, additional=additional, rotate=rotate), ours))
    limit = 512 if edns is None else min(max(512, edns.size), ours)
    assert len(wire) <= limit
    read = dns.message.from_wire(wire, one_rr_per_rrset=True)
    complete = as_records(answer) == by_dnspython(read.answer)
    assert complete != bool(read.flags & dns.flags.TC)
    assert set(by_dnspython(read.answer)) <= set(as_records(answer))
    assert (edns is not None) == (read.edns == 0)
    left_out = {r.name for r in additional} - {n for n, *_ in by_dnspython(read.additional)}
    for some in additional:  # glue comes by whole RRsets
        if some.name not in left_out and complete:
            got = [r for r in by_dnspython(read.additional) if r[:2] == (some.name, some.type)]
            assert len(got) in (0, len(some.rdata))


ADDRESSES = tuple(bytes((10, 2, i >> 8, i & 255)) for i in range(120))


@pytest.mark.parametrize(
    ("edns", "shown"), [(None, 29), (Edns(512, False), 28), (Edns(1232, False), 73), (Edns(4096, False), 73)]
)
def test_a_truncated_reply_holds_what_fits_and_turns_through_all(edns: Edns | None, shown: int) -> None:
    q = query("crowd.prod.svc.cluster.local.", edns=edns)
    response = Response(answer=(RRset(q.name, A, 5, ADDRESSES),), rotate=True)
    ring = encode(q, response)
    assert isinstance(ring, Ring)
    seen: dict[str, int] = {}
    for _ in range(120):
        read = dns.message.from_wire(octets(ring))
        assert read.flags & dns.flags.TC
        got = [d.address for d in read.answer[0]]
        assert shown == len(got) == len(set(got))
        for address in got:
            seen[address] = seen.get(address, 0) + 1
    assert {shown} == set(seen.values()) and 120 == len(seen)


def test_a_ring_turns_one_record_at_a_time_and_starts_anywhere() -> None:
    q = query()
    response = Response(answer=(RRset(q.name, A, 5, ADDRESSES[:3]),), rotate=True)
    firsts = set()
    for _ in range(60):
        ring = encode(q, response)
        assert isinstance(ring, Ring)
        order = [[d.address for d in dns.message.from_wire(octets(ring)).answer[0]] for _ in range(4)]
        assert order[0] == order[3]
        assert order[1] == order[0][1:] + order[0][:1]
        firsts.add(order[0][0])
    assert 3 == len(firsts)


def test_behind_an_alias_the_owner_points_at_the_alias() -> None:
    q = query("alias.dev.svc.cluster.local.")
    response = Response(
        answer=(RRset(q.name, CNAME, 5, (names.wire("db.example.com."),)), RRset("db.example.com.", A, 5, ADDRESSES[:3])),
        rotate=True,
    )
    ring = encode(q, response)
    assert isinstance(ring, Ring)
    for _ in range(3):
        read = dns.message.from_wire(octets(ring))
        assert ["alias.dev.svc.cluster.local.", "db.example.com."] == [str(r.name) for r in read.answer]
        assert 3 == len(read.answer[1])
    assert len(octets(ring)) == 12 + len(q.question) + (12 + len(names.wire("db.example.com."))) + 3 * 16


def test_the_spelling_asked_is_echoed_and_srv_targets_are_not_compressed() -> None:
    wire = header() + b"\5_hTTp\4_tCp\3wEb\0\0\x21\0\1"
    q = decode(wire)
    assert q is not None
    target = b"\0\0\0\x64\0\x50" + names.wire("web.")
    reply = octets(encode(q, Response(answer=(RRset("_http._tcp.web.", SRV, 5, (target,)),))))
    assert b"\5_hTTp\4_tCp\3wEb\0\0\x21\0\1" == reply[12 : 12 + 20]
    assert reply.endswith(target)
    assert "_hTTp._tCp.wEb." == str(dns.message.from_wire(reply).answer[0].name)


def test_an_extended_error_is_told_to_those_who_speak_edns() -> None:
    response = Response(NXDOMAIN, error=ExtendedError(0, "0 of 3 endpoints of prod/web are ready"))
    read = dns.message.from_wire(octets(encode(query(edns=Edns(1232, False)), response)))
    assert ["0 of 3 endpoints of prod/web are ready"] == [o.text for o in read.options]
    assert not dns.message.from_wire(octets(encode(query(), response))).options


def test_flags_of_a_reply() -> None:
    for asked, expected in ((0x0100, 0x8500), (0x0110, 0x8510), (0x0130, 0x8510), (0, 0x8400)):
        wire = octets(encode(query(flags=asked), Response()))
        assert expected == int.from_bytes(wire[2:4], "big")
