"""any, minimal, header, chaos, nsid, local, erratic: what each says, and what it cannot take."""

import asyncio
import math
import socket
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.versioned
import dns.xfr
import pytest

from kdns import __version__
from kdns.core.generation import Generation
from kdns.dns.query import Query, Transport
from kdns.dns.response import Response, RRset
from kdns.dns.types import A, NS, NSEC, RA
from tests.plugins.test_transfer import messages
from tests.support.configured import ask, CLIENT, generation_of, in_block, listener_of, LOCAL, refused

HOST = f'"{socket.gethostname()}"'


def full(query: Query) -> Response:
    """An answer with all its sections; a denial for names that begin with "no"; a delegation below "sub"."""
    ns = RRset("example.org.", NS, 5, (b"\2ns\7example\3org\0",))
    glue = RRset("ns.example.org.", A, 5, (b"\x0a\0\0\x35",))
    own = RRset(query.name, A, 5, (b"\x0a\0\0\1",))
    proof = RRset("example.org.", NSEC, 5, (b"\0\0\1\x40",))
    if query.name.startswith("no"):
        return Response(rcode=3, authority=(ns,), stable_for=math.inf)
    if query.name.startswith("sub"):
        return Response(authoritative=False, authority=(ns,), additional=(glue,), stable_for=math.inf)
    return Response(answer=(own,), authority=(ns, proof), additional=(glue,), stable_for=math.inf)


def reply_of(generation: Generation, name: str, type: str = "A", **options: Any) -> dns.message.Message:
    return asyncio.run(ask(generation, name, type, **options))


def sections(message: dns.message.Message) -> list[int]:
    return [sum(len(rrset) for rrset in section) for section in message.sections[1:]]


def said(message: dns.message.Message) -> str:
    """The answer in a line, or the code with the authority's."""
    records = message.answer or message.authority
    text = " ".join(line for rrset in records for line in rrset.to_text().splitlines())
    return text if message.answer else f"{dns.rcode.to_text(message.rcode())} {text}".strip()


# ---------------------------------------------------------------- any, minimal


@pytest.mark.parametrize(
    ("type", "expected"),
    [("ANY", 'example.org. 8482 IN HINFO "ANY obsoleted" "See RFC 8482"'), ("A", "example.org. 5 IN A 10.0.0.1")],
)
def test_any(type: str, expected: str) -> None:
    assert expected == said(reply_of(generation_of(in_block("any"), full), "example.org", type))


@pytest.mark.parametrize(
    ("name", "do", "expected"),
    [
        ("example.org", False, [1, 0, 0]),
        ("example.org", True, [1, 1, 0]),
        ("no.example.org", False, [0, 1, 0]),
        ("sub.example.org", False, [0, 1, 1]),
    ],
)
def test_minimal(name: str, do: bool, expected: list[int]) -> None:
    assert expected == sections(reply_of(generation_of(in_block("minimal"), full), name, want_dnssec=do))


# ---------------------------------------------------------------- header


def flagged(query: Query) -> Response:
    """A reply that tells the query's RD by its address, with the flags of an upstream."""
    rdata = bytes((10, 0, 0, bool(query.flags & dns.flags.RD)))
    return Response(flags=RA, answer=(RRset(query.name, A, 5, (rdata,)),), stable_for=math.inf)


@pytest.mark.parametrize(
    ("rules", "rd", "expected"),
    [
        ("response set aa", True, "QR AA RD RA"),
        ("response clear aa", True, "QR RD RA"),
        ("response clear ra rd", True, "QR AA"),
        ("response set rd", False, "QR AA RD RA"),
        ("clear aa\nset aa", True, "QR AA RD RA"),
        ("response set aa\nresponse clear aa RA", True, "QR RD"),
        ("query clear rd", True, "QR AA RA"),
        ("query set rd", False, "QR AA RD RA"),
        ("query set rd\nresponse clear rd", False, "QR AA RA"),
    ],
)
def test_header(rules: str, rd: bool, expected: str) -> None:
    generation = generation_of(in_block(f"header {{\n{rules}\n}}"), flagged)
    for _ in range(2):  # the second one would be the memo's
        reply = reply_of(generation, "example.org", flags=dns.flags.RD if rd else 0)
        assert expected == dns.flags.to_text(reply.flags)
    sent = "0" if "query clear rd" in rules or not (rd or "query set rd" in rules) else "1"
    assert f"10.0.0.{sent}" == reply.answer[0][0].to_text()


# ---------------------------------------------------------------- chaos


@pytest.mark.parametrize(
    ("lines", "name", "type", "cls", "expected"),
    [
        ("chaos", "version.bind", "TXT", "CH", f'version.bind. 0 CH TXT "kdns-{__version__}"'),
        ("chaos", "Hostname.bind", "TXT", "CH", f"Hostname.bind. 0 CH TXT {HOST}"),
        ("chaos", "id.server", "TXT", "CH", f"id.server. 0 CH TXT {HOST}"),
        ("chaos", "authors.bind", "TXT", "CH", "REFUSED"),
        ("chaos DNS-001 a@b c", "version.server", "TXT", "CH", 'version.server. 0 CH TXT "DNS-001"'),
        ("chaos DNS-001 a@b c", "authors.bind", "TXT", "CH", 'authors.bind. 0 CH TXT "a@b" authors.bind. 0 CH TXT "c"'),
        (f"chaos {'x' * 300}", "version.bind", "TXT", "CH", f'version.bind. 0 CH TXT "{"x" * 255}"'),
        ("chaos", "version.bind", "A", "CH", "REFUSED"),
        ("chaos", "version.bind", "TXT", "IN", "REFUSED"),
        ("chaos", "example.org", "TXT", "CH", "REFUSED"),
        ("whoami", "version.bind", "TXT", "CH", "REFUSED"),
        ("chaos\nwhoami", "version.bind", "A", "CH", "REFUSED"),
    ],
)
def test_chaos(lines: str, name: str, type: str, cls: str, expected: str) -> None:
    assert expected == said(reply_of(generation_of(in_block(lines)), name, type, rdclass=cls))


# ---------------------------------------------------------------- nsid


@pytest.mark.parametrize(
    ("lines", "options", "expected"),
    [
        ("nsid Use The Force", [dns.edns.NSIDOption(b"")], [b"Use The Force"]),
        ("nsid", [dns.edns.NSIDOption(b"")], [socket.gethostname().encode()]),
        ("nsid abc", [dns.edns.GenericOption(10, b"12345678")], []),
        ("nsid abc", [], []),
        ("errors", [dns.edns.NSIDOption(b"")], []),
    ],
)
def test_nsid(lines: str, options: list[dns.edns.Option], expected: list[bytes]) -> None:
    reply = reply_of(generation_of(in_block(lines), full), "example.org", use_edns=0, options=options)
    assert expected == [option.nsid for option in reply.options if isinstance(option, dns.edns.NSIDOption)]
    assert len(expected) == len(reply.options)


def test_nsid_takes_the_place_of_an_upstreams() -> None:
    def upstream(query: Query) -> Response:
        return Response(options=b"\0\3\0\2us\0\x0f\0\2\0\5")

    reply = reply_of(generation_of(in_block("nsid ours"), upstream), "a.org", use_edns=0, options=[dns.edns.NSIDOption(b"")])
    assert ["EDE 5 (DNSSEC Indeterminate)", "NSID ours"] == [option.to_text() for option in reply.options]


def test_nsid_with_a_denial_that_has_a_reason() -> None:
    reply = reply_of(generation_of(in_block("nsid ours")), "a.org", use_edns=0, options=[dns.edns.NSIDOption(b"")])
    assert {"NSID ours", "EDE 20 (Not Authoritative): no plugin here answers for this name"} == {o.to_text() for o in reply.options}


def test_nsid_leaves_the_memo_to_those_who_do_not_ask() -> None:
    generation = generation_of(in_block("nsid ours"), full)
    for options in ([], [dns.edns.NSIDOption(b"")], []):
        reply = reply_of(generation, "example.org", use_edns=0, options=options)
        assert len(options) == len(reply.options)
    assert 1 == len(listener_of(generation).memo)


# ---------------------------------------------------------------- local

SOA = "SOA localhost. root.localhost. 1 0 0 0 604800"


@pytest.mark.parametrize(
    ("name", "type", "expected"),
    [
        ("localhost", "A", "localhost. 604800 IN A 127.0.0.1"),
        ("localhost", "AAAA", "localhost. 604800 IN AAAA ::1"),
        ("localhost", "NS", "localhost. 604800 IN NS localhost."),
        ("localhost", "SOA", f"localhost. 604800 IN {SOA}"),
        ("localhost", "MX", f"NOERROR localhost. 604800 IN {SOA}"),
        ("x.a.localhost", "A", "x.a.localhost. 604800 IN A 127.0.0.1"),
        ("x.a.localhost", "TXT", f"NOERROR localhost. 604800 IN {SOA}"),
        ("localhost.example.org", "A", "localhost.example.org. 604800 IN A 127.0.0.1"),
        ("localhost.example.org", "AAAA", "localhost.example.org. 604800 IN AAAA ::1"),
        ("localhost.example.org", "SOA", f"NOERROR localhost.example.org. 604800 IN {SOA}"),
        ("localhostess.example.org", "A", "localhostess.example.org. 5 IN A 10.0.0.1"),
        ("1.0.0.127.in-addr.arpa", "PTR", "1.0.0.127.in-addr.arpa. 604800 IN PTR localhost."),
        ("0.127.in-addr.arpa", "PTR", f"NOERROR 127.in-addr.arpa. 604800 IN {SOA}"),
        ("2.0.0.127.in-addr.arpa", "PTR", f"NXDOMAIN 127.in-addr.arpa. 604800 IN {SOA}"),
        ("0.in-addr.arpa", "NS", "0.in-addr.arpa. 604800 IN NS localhost."),
        ("255.255.255.255.in-addr.arpa", "PTR", f"NXDOMAIN 255.in-addr.arpa. 604800 IN {SOA}"),
        ("example.org", "A", "example.org. 5 IN A 10.0.0.1"),
        ("1.10.in-addr.arpa", "A", "1.10.in-addr.arpa. 5 IN A 10.0.0.1"),
    ],
)
def test_local(name: str, type: str, expected: str) -> None:
    reply = reply_of(generation_of(in_block("local"), full), name, type)
    assert (expected, True) == (said(reply), bool(reply.flags & dns.flags.AA))


def test_local_leaves_names_that_only_begin_with_it_to_others() -> None:
    generation = generation_of(in_block("local {\nlocalhost_prefix off\n}"), full)
    assert "localhost.example.org. 5 IN A 10.0.0.1" == said(reply_of(generation, "localhost.example.org"))
    assert "a.localhost. 604800 IN A 127.0.0.1" == said(reply_of(generation, "a.localhost"))


def test_local_counts_names_that_went_astray() -> None:
    generation = generation_of(in_block("local"), full)
    registry = generation.metrics.registry()
    for name in ("localhost", "a.localhost", "localhost.example.org", "example.org"):
        reply_of(generation, name)
    assert 2 == registry.get_sample_value("coredns_local_localhost_requests_total")


# ---------------------------------------------------------------- erratic


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ["silence", "answer", "silence", "answer", "silence", "answer"]),
        ("drop 3", ["silence", "answer", "answer", "silence", "answer", "answer"]),
        ("drop 0", ["answer"] * 6),
        ("delay 3 1ms\ntruncate", ["cut", "answer", "cut", "answer", "cut", "answer"]),
        ("drop\ntruncate 3", ["silence", "answer", "silence", "cut", "silence", "answer"]),
    ],
)
def test_erratic(options: str, expected: list[str]) -> None:
    async def run() -> list[str]:
        generation = generation_of(in_block(f"erratic {{\n{options}\n}}" if options else "erratic"))
        query = dns.message.make_query("example.org", "A").to_wire()
        found = []
        for _ in range(6):
            reply = await listener_of(generation).reply(query, CLIENT, LOCAL, Transport.UDP)
            assert reply is None or isinstance(reply, bytes)
            message = None if reply is None else dns.message.from_wire(reply)
            assert message is None or "192.0.2.53" == message.answer[0][0].to_text()
            found.append("silence" if message is None else "cut" if message.flags & dns.flags.TC else "answer")
        return found

    assert expected == asyncio.run(run())


@pytest.mark.parametrize(
    ("type", "expected"), [("AAAA", "example.org. 0 IN AAAA 2001:db8::53"), ("TXT", "SERVFAIL")]
)
def test_erratic_of_other_types(type: str, expected: str) -> None:
    assert expected == said(reply_of(generation_of(in_block("erratic {\ndrop 0\n}")), "example.org", type))


@pytest.mark.parametrize(("options", "expected"), [("drop 0", True), ("truncate 1", False)])
def test_erratic_has_a_small_zone_whose_end_may_be_missing(options: str, expected: bool) -> None:
    generation = generation_of(in_block(f"erratic {{\n{options}\n}}"))
    (message,) = asyncio.run(messages(generation, dns.message.make_query("example.org", "AXFR")))
    zone = dns.versioned.Zone(dns.name.from_text("example.org."), relativize=False)
    with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
        assert expected == inbound.process_message(message)
    assert ["SOA", "NS", "NS", "AAAA", "AAAA"] == [dns.rdatatype.to_text(rrset.rdtype) for rrset in message.answer][:5]


def test_erratic_has_no_zone_of_a_name_too_long_for_one() -> None:
    name = ".".join([*3 * ["a" * 63], "b" * 61])
    assert "SERVFAIL" == said(reply_of(generation_of(in_block("erratic {\ndrop 0\n}")), name, "AXFR", transport=Transport.TCP))


# ---------------------------------------------------------------- what they cannot take


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("any thing", "Corefile:2: any: takes no arguments, has 1"),
        ("minimal yes", "Corefile:2: minimal: takes no arguments, has 1"),
        ("local host", "Corefile:2: local: takes no arguments, has 1"),
        ("local {\nlocalhost_prefix maybe\n}", "Corefile:3: local: localhost_prefix: 'maybe' is none of on, off"),
        ("header", "Corefile:2: header: has no rule, such as: response set ra"),
        ("header {\nrespons set aa\n}", "Corefile:3: header: unknown option 'respons', did you mean 'response'?"),
        ("header {\nresponse sett aa\n}", "Corefile:3: header: response: 'sett' is none of set, clear"),
        ("header {\nresponse set\n}", "Corefile:3: header: response: which flag? aa, ra, rd"),
        ("header {\nresponse set tc\n}", "Corefile:3: header: response: 'tc' is none of aa, ra, rd"),
        ("nsid a\nnsid b", "Corefile:3: nsid: may stand only once in a server block, and stands at Corefile:2"),
        (f"nsid {'x' * 256}", "Corefile:2: nsid: has 256 octets, 255 at most fit"),
        ("erratic {\ndrop -1\n}", "Corefile:3: erratic: drop: '-1' is not a whole number from 0 to 2147483647"),
        ("erratic {\ndelay 2 1h\n}", "Corefile:3: erratic: delay: '1h' is out of range: at most 60s"),
    ],
)
def test_what_is_refused(lines: str, expected: str) -> None:
    assert expected == refused(in_block(lines))
