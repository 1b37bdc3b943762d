"""Queries read from the wire, asked by dnspython and by hand."""

import socket
import struct

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdns.dns import types
from kdns.dns.encoding import refusal
from kdns.dns.query import Address, decode, Edns, Query, Transport
from kdns.dns.types import BADVERS, FORMERR, NOTIMP, REFUSED
from kdns.errors import FormatError
from tests.support.messages import EDNS, NAME, ODD_NAME


@given(NAME | ODD_NAME, st.integers(1, 250).filter(lambda t: t != types.OPT), EDNS, st.booleans())
def test_a_query_by_dnspython_is_understood(name: str, type: int, edns: Edns | None, recursion: bool) -> None:
    asked = dns.message.make_query(dns.name.from_text(name), type, flags=dns.flags.RD if recursion else 0)
    if edns is not None:
        asked.use_edns(0, dns.flags.DO if edns.do else 0, edns.size)
    got = decode(asked.to_wire())
    assert got is not None
    assert (name, type, edns) == (got.name, got.type, got.edns)
    assert recursion == bool(got.flags & types.RD)


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
        ("an update", header(0x2800) + QUESTION, NOTIMP),
        ("notify of no zone", header(0x2000, (0, 0, 0, 0)), FORMERR),
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
        ("class NONE", header() + b"\3web\0\0\x10\0\xfe", REFUSED),
        ("class ANY", header() + b"\3web\0\0\1\0\xff", REFUSED),
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
    ("edns", "most", "expected"),
    [
        (None, 4096, 512),
        (0, 4096, 512),
        (512, 4096, 512),
        (1232, 4096, 1232),
        (8192, 4096, 4096),
        (8192, 65507, 8192),
        (65535, 65507, 65507),
    ],
)
def test_a_reply_may_be_as_large_as_the_client_takes(edns: int | None, most: int, expected: int) -> None:
    asked = Query("web.", 1, edns=None if edns is None else Edns(edns, False))
    assert expected == asked.limit(most)
    assert min(expected, 65507) == asked.limit(most=max(most, expected))
    asked.transport = Transport.TCP
    assert 65535 == asked.limit(most)


def test_a_notification_is_understood_and_never_kept() -> None:
    told = dns.message.make_query("example.org", "SOA")
    told.set_opcode(dns.opcode.NOTIFY)
    told.answer = [dns.rrset.from_text("example.org.", 60, "IN", "SOA", "ns. host. 1 2 3 4 5")]
    query = decode(told.to_wire())
    assert query is not None
    assert ("example.org.", types.SOA, types.NOTIFY) == (query.name, query.type, query.flags & types.OPCODE)


def sockaddr_in6(address: str) -> bytes:
    return struct.pack("=H", socket.AF_INET6) + b"\0\5" + bytes(4) + socket.inet_pton(socket.AF_INET6, address) + bytes(4)


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (Address("192.0.2.1", 5), False),
        (Address("2001:db8::1", 5), True),
        (struct.pack("=H", socket.AF_INET) + b"\0\5\xc0\0\2\1" + bytes(8), False),
        (sockaddr_in6("2001:db8::1"), True),
        (sockaddr_in6("::ffff:192.0.2.1"), False),
    ],
)
def test_over_which_protocol_it_came(client: Address | bytes, expected: bool) -> None:
    got = decode(dns.message.make_query("a.test.", "A").to_wire(), client)
    assert got is not None
    assert expected == got.over_ipv6
