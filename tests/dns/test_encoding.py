"""Replies, judged by dnspython and dnslib: whatever kdns encodes both decode to the same, and none writes it shorter."""

from itertools import pairwise
from unittest.mock import patch

import dns.flags
import dns.message
import dns.name
import dns.rrset
import dnslib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.dns import encoding, names
from kdns.dns.encoding import encode
from kdns.dns.query import decode, Edns, Query, Transport
from kdns.dns.response import ExtendedError, Response, RRset
from kdns.dns.ring import Ring
from kdns.dns.types import A, AAAA, CNAME, MX, NS, NXDOMAIN, PTR, SOA, SRV, TXT
from tests.support.messages import EDNS, NAME, octets, ODD_NAME, query

ADDRESSES = tuple(bytes((10, 2, i >> 8, i & 255)) for i in range(120))

RDATA = {
    A: st.binary(min_size=4, max_size=4),
    AAAA: st.binary(min_size=16, max_size=16),
    CNAME: NAME.map(names.wire),
    NS: (NAME | ODD_NAME).map(names.wire),
    MX: st.tuples(st.binary(min_size=2, max_size=2), NAME).map(lambda t: t[0] + names.wire(t[1])),
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
    every = answer + authority + additional
    if "\\" in name + "".join([r.name + "".join(map(names.text, r.rdata if r.type == NS else ())) for r in every]):
        return  # dnslib takes labels for UTF-8
    other = dnslib.DNSRecord.parse(wire)
    assert [len(answer), len(authority)] == [len({(str(r.rname), r.rtype) for r in s}) for s in (other.rr, other.auth)]
    assert sum(len(r.rdata) for r in additional) + 1 == len(other.ar)


@settings(max_examples=200)
@given(NAME, RRSETS, RRSETS, EDNS, st.integers(512, 4096), st.booleans())
def test_a_udp_reply_is_never_longer_than_asked_and_says_so(
    name: str, answer: tuple[RRset, ...], additional: tuple[RRset, ...], edns: Edns | None, most: int, rotate: bool
) -> None:
    q = query(name, edns=edns)
    wire = octets(encode(q, Response(answer=answer, additional=additional, rotate=rotate), most))
    limit = 512 if edns is None else min(max(512, edns.size), most)
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


COMPRESSED = st.lists(
    rrset(NAME | ODD_NAME).filter(lambda r: r.type != SRV), max_size=4, unique_by=lambda r: (r.name, r.type)
).map(tuple)


@settings(max_examples=300)
@given((NAME | ODD_NAME).filter(lambda name: name != "."), COMPRESSED, COMPRESSED)
def test_dnspython_writes_it_no_shorter(name: str, answer: tuple[RRset, ...], authority: tuple[RRset, ...]) -> None:
    q = query(name, transport=Transport.TCP)
    wire = octets(encode(q, Response(answer=answer, authority=authority)))
    assert len(dns.message.from_wire(wire, one_rr_per_rrset=True).to_wire()) == len(wire)


@pytest.mark.parametrize(
    ("asked", "type", "rdata", "expected"),
    [
        ("web.prod.", CNAME, names.wire("db.prod."), b"\2db\xc0\x10"),
        ("web.prod.", CNAME, names.wire("Db.PROD."), names.wire("Db.PROD.")),
        ("web.prod.", CNAME, names.wire("Db.prod."), b"\2Db\xc0\x10"),
        ("web.prod.", CNAME, names.wire("web.prod."), b"\xc0\x0c"),
        ("web.prod.", CNAME, names.wire("prod.web."), names.wire("prod.web.")),
        ("web.prod.", CNAME, b"\0", b"\0"),
        (".", NS, names.wire("a.root."), names.wire("a.root.")),
        ("prod.", NS, names.wire("ns.dns.prod."), b"\2ns\3dns\xc0\x0c"),
        ("1.0.10.in-addr.arpa.", PTR, names.wire("x.arpa."), b"\1x\xc0\x1b"),
        ("prod.", MX, b"\0\x0a" + names.wire("mx.prod."), b"\0\x0a\2mx\xc0\x0c"),
        ("prod.", SOA, names.wire("ns.dns.prod.") + names.wire("x.dns.prod.") + bytes(20),
         b"\2ns\3dns\xc0\x0c\1x\xc0\x25" + bytes(20)),
        ("a.dns.prod.", SOA, names.wire("ns.dns.prod.") + names.wire("x.prod.") + bytes(20),
         b"\2ns\xc0\x0e\1x\xc0\x12" + bytes(20)),
        ("prod.", SRV, bytes(6) + names.wire("web.prod."), bytes(6) + names.wire("web.prod.")),
        ("prod.", 17, names.wire("a.prod.") + names.wire("prod."), names.wire("a.prod.") + names.wire("prod.")),
        (r"a\.b.prod.", CNAME, names.wire(r"x.a\.b.prod."), b"\1x\xc0\x0c"),
    ],
)  # fmt: skip
def test_names_in_rdata(asked: str, type: int, rdata: bytes, expected: bytes) -> None:
    owner = asked if asked != "a.dns.prod." else "prod."
    made = encode(query(asked), Response(answer=(RRset(owner, type, 5, (rdata,)),)))
    assert isinstance(made, bytes)
    assert expected == made[-len(expected) :]
    assert len(expected).to_bytes(2, "big") == made[-len(expected) - 2 : -len(expected)]


@pytest.mark.parametrize("asked", ["web.prod.", "wEB.Prod."])
@pytest.mark.parametrize("target", ["Db.Example.COM.", "db.example.com.", "Db.prod.", "DB.PROD.", "x.Web.prod."])
def test_rdata_keep_their_spelling_and_owners_point_at_them(asked: str, target: str) -> None:
    q = query("web.prod.")
    q.question = names.wire(asked) + q.question[-4:]
    answer = (
        RRset("web.prod.", CNAME, 5, (names.wire(target),)),
        RRset(target.lower(), CNAME, 5, (names.wire("x.EXAMPLE.com."),)),
        RRset("x.example.com.", A, 5, ADDRESSES[:2]),
    )
    authority = (RRset("example.com.", NS, 5, (names.wire("ns.prod."), names.wire("ns.example.com."))),)
    ring = encode(q, Response(answer=answer, authority=authority, rotate=True))
    assert isinstance(ring, Ring)  # so the owner of the addresses is a pointer
    read = dns.message.from_wire(octets(ring))
    spelt = [str(rrset[0].target) for rrset in read.answer[:2]] + [str(rdata.target) for rdata in read.authority[0]]
    assert [target, "x.EXAMPLE.com.", "ns.example.com.", "ns.prod."] == spelt[:2] + sorted(spelt[2:])
    assert [asked, target, "x.EXAMPLE.com."] == [str(rrset.name) for rrset in read.answer]


def test_a_chain_of_aliases_fits_without_edns() -> None:
    chain = ["www.shop.example."] + [f"edge-{n}.geo.region-west.cdn-provider.example." for n in range(7)]
    aliases = tuple(RRset(a, CNAME, 60, (names.wire(b),)) for a, b in pairwise(chain))
    wire = octets(encode(query(chain[0]), Response(answer=(*aliases, RRset(chain[-1], A, 60, ADDRESSES[:8])))))
    read = dns.message.from_wire(wire)
    assert not read.flags & dns.flags.TC
    assert [1] * 7 + [8] == [len(rrset) for rrset in read.answer]
    assert 338 == len(wire)


def test_no_pointer_leads_further_than_it_can() -> None:
    every = tuple(RRset(f"n{i}.example.", PTR, 5, (names.wire(f"a-long-label-of-host-{i}.n{i}.example."),)) for i in range(600))
    wire = octets(encode(query("example.", transport=Transport.TCP), Response(answer=every)))
    assert len(wire) > 0x4000
    assert as_records(every) == by_dnspython(dns.message.from_wire(wire, one_rr_per_rrset=True).answer)


# ---------------------------------------------------------------- the reply that most are

ZONE = st.sampled_from(["cluster.local.", "example.", "x.", ".", "sub.example."])


@st.composite
def one_record(draw: st.DrawFn) -> tuple[Query, Response]:
    """A question, and a response of one record at its name or above it whose names have something in common with it."""
    zone = draw(ZONE)
    label = st.sampled_from(["a", "dns", "ns", "hostmaster", "Svc", "x", "local"])

    def name() -> str:
        return ".".join([*draw(st.lists(label, max_size=3)), draw(ZONE | st.just(zone)).lstrip(".")]).strip(".") + "."

    asked = name().lower()
    type = draw(st.sampled_from([A, CNAME, NS, PTR, MX, SOA, SRV, TXT]))
    rdata = {
        A: bytes(4), CNAME: names.wire(name()), NS: names.wire(name()), PTR: names.wire(name()),
        MX: bytes(2) + names.wire(name()), SOA: names.wire(name()) + names.wire(name()) + bytes(20),
        SRV: bytes(6) + names.wire(name()), TXT: b"\2hi",
    }[type]  # fmt: skip
    q = query(asked, edns=draw(EDNS))
    if draw(st.booleans()):
        q.question = q.question[:-4].upper() + q.question[-4:]
    above = [asked]
    while above[-1] != ".":
        above.append(names.parent(above[-1]))
    section = (RRset(draw(st.sampled_from([*above, name().lower()])), type, 5, (rdata,)),)
    response = Response(answer=section) if draw(st.booleans()) else Response(NXDOMAIN, authority=section)
    return q, response


@settings(max_examples=500)
@given(one_record(), st.integers(40, 200))
def test_the_short_way_says_what_the_long_one_does(asked: tuple[Query, Response], most: int) -> None:
    q, response = asked
    short = encode(q, response, most)
    with patch.object(encoding, "_usual", lambda *_: None):
        assert encode(q, response, most) == short


def test_the_short_way_is_taken() -> None:
    soa = names.wire("ns.dns.cluster.local.") + names.wire("hostmaster.cluster.local.") + bytes(20)
    for name, type, rdata in (("web.prod.svc.cluster.local.", A, bytes(4)), ("cluster.local.", SOA, soa),
                              ("1.0.0.10.in-addr.arpa.", PTR, names.wire("web.prod.svc.cluster.local."))):  # fmt: skip
        q = query("web.prod.svc.cluster.local." if type == SOA else name)
        with patch.object(encoding, "Places", None):
            assert encode(q, Response(answer=(RRset(name, type, 5, (rdata,)),)))


def test_what_is_announced_and_what_limits_a_reply_are_two_numbers() -> None:
    many = Response(answer=(RRset(query().name, A, 5, ADDRESSES),))
    for size, most, shown in ((4096, 65507, 120), (1232, 65507, 73), (4096, 512, 28)):
        read = dns.message.from_wire(octets(encode(query(edns=Edns(size, False)), many, most, 1400)))
        assert (1400, shown) == (read.payload, len(read.answer[0]))


def test_the_spelling_asked_is_echoed_and_srv_targets_are_not_compressed() -> None:
    wire = b"\0\7\1\0\0\1\0\0\0\0\0\0\5_hTTp\4_tCp\3wEb\0\0\x21\0\1"
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
