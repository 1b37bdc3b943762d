"""*dns64*: the examples of RFC 6052 and RFC 6147, who is answered so, and the memo."""

import asyncio
from ipaddress import IPv6Network
from typing import Any

import dns.flags
import dns.message
import pytest

from kdns.core.generation import Generation
from kdns.dns import names
from kdns.dns.query import Address, Query
from kdns.dns.response import Response, RRset
from kdns.dns.types import A, AAAA, AD, CNAME, NXDOMAIN, RRSIG, SERVFAIL, SOA
from kdns.plugins.dns64 import embedded
from tests.support.configured import ask, generation_of, in_block, listener_of, refused

V6, V4 = Address("2001:db8::7", 5353), Address("192.0.2.7", 5353)
ADDRESS = names.packed("192.0.2.33")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ],
)
def test_addresses_in_prefixes(prefix: str, expected: str) -> None:
    assert names.packed(expected) == embedded(IPv6Network(prefix), ADDRESS)


def soa(ttl: int) -> RRset:
    return RRset("example.", SOA, ttl, (names.wire("a.") + names.wire("b.") + bytes(20),))


NODATA = Response(authority=(soa(300),), stable_for=60, depends=("no",))
FOUR = Response(answer=(RRset("h2.example.", A, 900, (ADDRESS,)),), stable_for=30, depends=("yes",))
SIX = Response(answer=(RRset("h2.example.", AAAA, 900, (names.packed("2001:db8::1"),)),), stable_for=60)
UNUSABLE = Response(answer=(RRset("h2.example.", AAAA, 900, (names.packed("::ffff:192.0.2.1"),)),), stable_for=60)
ALIASED = Response(answer=(RRset("h2.example.", CNAME, 100, (names.wire("h.example."),)), RRset("h.example.", A, 50, (ADDRESS,))))
SIGNATURE = RRset("h2.example.", RRSIG, 900, (b"\0\1" + bytes(16) + b"\0" + b"sig",))


def served(line: str, six: Response, four: Response) -> Generation:
    return generation_of(in_block(line), lambda query: {A: four, AAAA: six}[query.type])


def shown(reply: dns.message.Message) -> list[str]:
    records = [f"{rrset.name} {rrset.ttl} {rdata.to_text()}" for rrset in reply.answer for rdata in rrset]
    return [dns.rcode.to_text(reply.rcode()), *records]


def reply_of(line: str, six: Response, four: Response, client: Address = V6, type: str = "AAAA", **options: Any) -> list[str]:
    return shown(asyncio.run(ask(served(line, six, four), "h2.example.", type, client=client, **options)))


MADE = ["NOERROR", "h2.example. 300 64:ff9b::c000:221"]


@pytest.mark.parametrize(
    ("line", "six", "four", "expected"),
    [
        ("dns64", NODATA, FOUR, MADE),
        ("dns64 64:1337::/96", NODATA, FOUR, ["NOERROR", "h2.example. 300 64:1337::c000:221"]),
        ("dns64 {\nprefix 64:1337::/96\n}", NODATA, FOUR, ["NOERROR", "h2.example. 300 64:1337::c000:221"]),
        ("dns64", Response(), FOUR, ["NOERROR", "h2.example. 600 64:ff9b::c000:221"]),
        ("dns64", Response(rcode=SERVFAIL), FOUR, ["NOERROR", "h2.example. 600 64:ff9b::c000:221"]),
        ("dns64", UNUSABLE, FOUR, ["NOERROR", "h2.example. 600 64:ff9b::c000:221"]),
        ("dns64", Response(rcode=NXDOMAIN), FOUR, ["NXDOMAIN"]),
        ("dns64", SIX, FOUR, ["NOERROR", "h2.example. 900 2001:db8::1"]),
        ("dns64 {\ntranslate_all\n}", SIX, FOUR, ["NOERROR", "h2.example. 600 64:ff9b::c000:221"]),
        ("dns64 {\ntranslate_all\n}", SIX, Response(), ["NOERROR", "h2.example. 900 2001:db8::1"]),
        ("dns64", NODATA, Response(rcode=SERVFAIL), ["NOERROR"]),
        ("dns64", NODATA, ALIASED, ["NOERROR", "h2.example. 100 h.example.", "h.example. 50 64:ff9b::c000:221"]),
        ("dns64", NODATA, Response(answer=(*FOUR.answer, SIGNATURE)), MADE),
    ],
)
def test_what_is_made(line: str, six: Response, four: Response, expected: list[str]) -> None:
    assert expected == reply_of(line, six, four)


@pytest.mark.parametrize(
    ("line", "client", "type", "options", "expected"),
    [
        ("dns64", V4, "AAAA", {}, ["NOERROR"]),
        ("dns64 {\nallow_ipv4\n}", V4, "AAAA", {}, MADE),
        ("dns64", V6, "A", {}, ["NOERROR", "h2.example. 900 192.0.2.33"]),
        ("dns64", V6, "AAAA", {"want_dnssec": True}, MADE),
        ("dns64", V6, "AAAA", {"want_dnssec": True, "flags": dns.flags.RD | dns.flags.CD}, ["NOERROR"]),
    ],
)
def test_who_is_answered_so(line: str, client: Address, type: str, options: dict[str, Any], expected: list[str]) -> None:
    assert expected == reply_of(line, NODATA, FOUR, client, type, **options)


def test_what_was_made_is_not_authentic() -> None:
    validated = Response(answer=FOUR.answer, flags=AD)
    reply = asyncio.run(ask(served("dns64", NODATA, validated), "h2.example.", "AAAA", client=V6, want_dnssec=True))
    assert MADE == shown(reply) and not reply.flags & dns.flags.AD


@pytest.mark.parametrize(("line", "entries"), [("dns64", 2), ("dns64 {\nallow_ipv4\n}", 1)])
def test_the_memo_tells_clients_of_both_families_apart(line: str, entries: int) -> None:
    generation = served(line, NODATA, FOUR)

    async def run() -> list[list[str]]:
        return [shown(await ask(generation, "h2.example.", "AAAA", client=client)) for client in (V4, V6)]

    assert [MADE if "allow" in line else ["NOERROR"], MADE] == asyncio.run(run())
    assert entries == len(listener_of(generation).memo)
    generation.forget(["yes"])
    listener, wire = listener_of(generation), dns.message.make_query("h2.example.", "AAAA").to_wire()
    assert None is listener.memo.get(listener.key(wire, V6))


def test_a_made_answer_rests_on_both() -> None:
    query = Query("h2.example.", AAAA)
    query.client = V6
    response = asyncio.run(served("dns64", NODATA, FOUR).blocks[0].answer(query))
    assert isinstance(response, Response)
    assert (30, ("no", "yes"), "dns64") == (response.stable_for, response.depends, response.made.by)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dns64 10.0.0.0/8", "'10.0.0.0/8' is not an IPv6 prefix such as 64:ff9b::/96"),
        ("dns64 64:ff9b::/95", "'64:ff9b::/95' has 95 bits, and has to have one of 32, 40, 48, 56, 64, 96"),
        ("dns64 64::/96 65::/96", "takes 0 to 1 argument, has 2"),
        ("dns64 64::/96 {\nprefix 65::/96\n}", "has two prefixes: keep one"),
    ],
)
def test_what_is_wrong(line: str, expected: str) -> None:
    assert f"Corefile:2: dns64: {expected}" == refused(in_block(line))
