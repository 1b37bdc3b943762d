"""Rdata as text and on the wire, judged by dnspython, dnslib and octets written by hand."""

import dns.name
import dns.rdata
import dns.rdatatype
import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns import rdata
from kdns.dns.types import A, AAAA, CNAME, MX, NS, PTR, SOA, TXT

EXAMPLE = b"\7example\0"
ROWS = [  # type, text, octets as the RFC of the type has them, text again where it is another
    ("A", "192.0.2.1", bytes([192, 0, 2, 1]), None),
    ("AAAA", "2001:DB8::1", bytes.fromhex("20010db8000000000000000000000001"), "2001:db8::1"),
    ("AAAA", "::ffff:192.0.2.1", bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1]), None),
    ("CNAME", "@", EXAMPLE, "example."),
    ("CNAME", "web", b"\3web" + EXAMPLE, "web.example."),
    ("CNAME", "web.other.", b"\3web\5other\0", None),
    ("PTR", r"a\.b", b"\3a.b" + EXAMPLE, r"a\.b.example."),
    ("NS", r"end\.", b"\4end." + EXAMPLE, r"end\..example."),
    ("DNAME", ".", b"\0", None),
    ("MX", "10 mail", b"\0\x0a\4mail" + EXAMPLE, "10 mail.example."),
    ("SRV", "0 5 5060 sip", b"\0\0\0\5\x13\xc4\3sip" + EXAMPLE, "0 5 5060 sip.example."),
    ("TXT", '"a b" c', b"\3a b\1c", '"a b" "c"'),
    ("TXT", r'"quo\"te" "\200"', b'\6quo"te\1\xc8', None),
    ("TXT", '""', b"\0", None),
    ("SOA", "ns host 1 2h 30m 1d 300", b"\2ns" + EXAMPLE + b"\4host" + EXAMPLE
     + b"".join(n.to_bytes(4, "big") for n in (1, 7200, 1800, 86400, 300)),
     "ns.example. host.example. 1 7200 1800 86400 300"),
    ("CAA", '0 issue "ca.example"', b"\0\5issueca.example", None),
    ("NAPTR", r'100 10 "S" "SIP+D2U" "" _sip._udp', b"\0\x64\0\x0a\1S\7SIP+D2U\0\4_sip\4_udp" + EXAMPLE,
     '100 10 "S" "SIP+D2U" "" _sip._udp.example.'),
    ("HTTPS", "1 . alpn=h2 port=443", b"\0\1\0\0\1\0\3\2h2\0\3\0\2\1\xbb", '1 . alpn="h2" port="443"'),
    ("TYPE65280", r"\# 4 0a00 0001", b"\x0a\0\0\1", r"\# 4 0a000001"),
    ("TYPE65280", r"\# 0", b"", None),
    ("A", r"\# 4 0a000001", b"\x0a\0\0\1", "10.0.0.1"),
    ("MX", r"\# 4 000a0161", b"\0\x0a\1a", r"\# 4 000a0161"),  # a name that does not end: told as it is
]  # fmt: skip


@pytest.mark.parametrize(("type", "text", "octets", "again"), ROWS, ids=lambda v: v if isinstance(v, str) else "")
def test_text_and_wire(type: str, text: str, octets: bytes, again: str | None) -> None:
    number = dns.rdatatype.from_text(type)
    assert octets == rdata.to_wire(number, text, "example.")
    assert (text if again is None else again) == rdata.to_text(number, octets)


@pytest.mark.parametrize("row", [row for row in ROWS if row[0] in ("A", "AAAA", "CNAME", "MX", "SRV", "CAA", "NAPTR", "HTTPS")])
def test_dnslib_reads_the_octets_too(row: tuple[str, str, bytes, str | None]) -> None:
    type, text, octets, _ = row
    if "\\#" in text:
        return
    read = dnslib.RDMAP[type].parse(dnslib.DNSBuffer(octets), len(octets))
    packed = dnslib.DNSBuffer()
    read.pack(packed)
    assert octets == bytes(packed.data)


WRONG = [
    (A, "10.0.0", "'10.0.0' is not an IP address"),
    (A, "::1", "'::1' is not an IPv4 address"),
    (AAAA, "192.0.2.1", "'192.0.2.1' is not an IPv6 address"),
    (A, "192.0.2.1 192.0.2.2", "'192.0.2.1 192.0.2.2' is not an IP address"),
    (CNAME, "", "'' is not one domain name"),
    (NS, "a b", "'a b' is not one domain name"),
    (PTR, "a..b", "'a..b.example.' is not a domain name: a label is empty"),
    (CNAME, "ü", "'ü.example.' is not a domain name: what is not ASCII is written \\DDD"),
    (A, r"\# 3 0a0000", r"'\# 3 0a0000' is not rdata of its type"),
    (NS, r"\# 2 c00c", r"'\# 2 c00c' is not rdata of its type"),
    (TXT, r"\# 4 0a", r"'\# 4 0a' is not rdata: \# is followed by a number of octets, and these in hexadecimal"),
    (TXT, r"\# 1 0", r"'\# 1 0' is not rdata: \# is followed by a number of octets, and these in hexadecimal"),
]


@pytest.mark.parametrize(("type", "text", "why"), WRONG)
def test_what_is_wrong_is_told_on_one_line(type: int, text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        rdata.to_wire(type, text, "example.")
    assert why == str(caught.value)


@pytest.mark.parametrize(
    ("type", "text"),
    [(MX, "mail"), (MX, "10"), (MX, "70000 mail"), (SOA, "ns host 1 2 3"), (TXT, '"open'), (TXT, "x" * 256),
     (257, "0 issue"), (52, "3 1 1 xyz"), (43, "1 8 2 0g"), (64, "1 . alpn"), (29, "north"), (MX, ""), (250, "x"), (65280, "x"),
     (SOA, "ns host x 1 1 1 1")],
)  # fmt: skip
def test_what_dnspython_refuses_is_told_on_one_line(type: int, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        rdata.to_wire(type, text, "example.")
    assert str(caught.value).startswith(f"'{text[:60]}") and "\n" not in str(caught.value)


@given(st.integers(0, 300), st.binary(max_size=80))
def test_any_octets_have_a_text(type: int, octets: bytes) -> None:
    text = rdata.to_text(type, octets)
    assert "\n" not in text
    if text.startswith("\\#"):
        assert text == f"\\# {len(octets)} {octets.hex()}".rstrip()


@given(st.integers(1, 300), st.text(max_size=40))
def test_any_text_is_rdata_or_a_value_error(type: int, text: str) -> None:
    try:
        octets = rdata.to_wire(type, text, "example.")
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        judged = dns.rdata.from_wire("IN", dns.rdatatype.RdataType.make(type), octets, 0, len(octets))
        assert judged.to_wire(origin=dns.name.root) == octets
