"""*cookie*: RFC 9018's own examples, who gets what, and that the memo keeps nobody's cookie for another."""

import asyncio

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from kdns.dns.query import Address, Query, Transport
from kdns.dns.response import replace, Response
from kdns.plugins import cookie
from kdns.plugins.cookie import made, siphash
from tests.plugins.test_acl import known
from tests.support.configured import ask, CLIENT, generation_of, in_block, listener_of, LOCAL, refused

SECRET = "e5e973e5a6b2a43f48e7dc849e37bfcf"
PART = bytes.fromhex("2464c4abcf10c957")
NOW = 1559731985


def test_siphash_is_that_of_its_authors() -> None:
    assert "310e0edd47db6f72" == siphash(bytes(range(16)), b"").hex()
    assert "e545be4961ca29a1" == siphash(bytes(range(16)), bytes(range(15))).hex()


def test_a_cookie_is_that_of_rfc_9018() -> None:  # A.1
    assert "010000005cf79f111f8130c3eee29480" == made(PART, "198.51.100.100", NOW, bytes.fromhex(SECRET)).hex()


async def asked(options: str, octets: bytes | None, host: str = CLIENT.host, transport: Transport = Transport.UDP) -> str:
    generation = generation_of(in_block(f"cookie {{\nsecret {SECRET}\n{options}\n}}"), known)
    given = None if octets is None else [dns.edns.GenericOption(10, octets)]
    wire = dns.message.make_query("example.org", "A", use_edns=0, options=given).to_wire()
    reply = await listener_of(generation).reply(wire, Address(host, 5353), LOCAL, transport)
    assert isinstance(reply, bytes)
    message = dns.message.from_wire(reply)
    found = [option.to_wire() for option in message.options if option.otype == 10]
    out = dns.rcode.to_text(message.rcode()) + (" TC" if message.flags & dns.flags.TC else "")
    if message.answer:
        out += " answered"
    for theirs in found:
        assert theirs is not None and theirs[:8] == PART
        out += " same" if theirs == octets else " fresh"
    return out


def ours(age: int, host: str = CLIENT.host) -> bytes:
    return PART + made(PART, host, NOW - age, bytes.fromhex(SECRET))


CASES = [
    ("none", "", None, "NOERROR answered"),
    ("new", "", PART, "NOERROR answered fresh"),
    ("good", "", ours(10), "NOERROR answered same"),
    ("renewed", "", ours(2000), "NOERROR answered fresh"),
    ("outdated", "", ours(4000), "NOERROR answered fresh"),
    ("another clock", "", ours(-200), "NOERROR answered same"),
    ("of the future", "", ours(-400), "NOERROR answered fresh"),
    ("of another client", "", ours(10, "10.244.0.8"), "NOERROR answered fresh"),
    ("made up", "", PART + bytes(16), "NOERROR answered fresh"),
    ("of another server", "", PART + bytes(32), "NOERROR answered fresh"),
    ("too short", "", PART[:7], "FORMERR"),
    ("nothing in it", "", b"", "FORMERR"),
    ("half", "", PART + bytes(7), "FORMERR"),
    ("too long", "", PART + bytes(33), "FORMERR"),
    ("required: none", "require", None, "NOERROR TC"),
    ("required: new", "require", PART, "BADCOOKIE fresh"),
    ("required: made up", "require", PART + bytes(16), "BADCOOKIE fresh"),
    ("required: good", "require", ours(10), "NOERROR answered same"),
]


@pytest.mark.parametrize(("what", "options", "octets", "expected"), CASES, ids=[case[0] for case in CASES])
def test_who_gets_what(what: str, options: str, octets: bytes | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cookie.time, "time", lambda: NOW + 0.5)
    assert expected == asyncio.run(asked(options, octets))


def test_over_tcp_nobody_needs_one() -> None:
    assert "NOERROR answered" == asyncio.run(asked("require", None, transport=Transport.TCP))
    assert "NOERROR answered fresh" == asyncio.run(asked("require", PART, transport=Transport.TCP))


def test_the_memo_has_what_came_without_a_cookie_alone() -> None:
    async def test() -> list[bool]:
        generation = generation_of(in_block("cookie"), known)
        listener = listener_of(generation)
        kept = []
        for options in (None, [dns.edns.GenericOption(10, PART)]):
            wire = dns.message.make_query("example.org", "A", use_edns=0, options=options).to_wire()
            await listener.reply(wire, CLIENT, LOCAL, Transport.UDP)
            kept.append(listener.memo.get(listener.key(wire, CLIENT)) is not None)
        return kept

    assert [True, False] == asyncio.run(test())


@pytest.mark.parametrize("text", ["0011", "xyz", "0" * 31 + "x"])
def test_what_is_no_secret(text: str) -> None:
    assert refused(in_block(f"cookie {{\nsecret {text}\n}}")).endswith("this is not 16 octets in hexadecimal")


def test_no_cookie_goes_further_and_nothing_else_is_touched() -> None:
    mine, within = dns.edns.GenericOption(10, PART), dns.edns.GenericOption(65001, b"\0\x0a\0\x08" + PART)
    seen: list[bytes] = []

    def upstream(query: Query) -> Response:
        seen.append(query.options((10, 65001)))
        return replace(known(query), options=octets_of(within) + octets_of(mine))

    async def test() -> list[dns.edns.Option]:
        reply = await ask(generation_of(in_block("cookie"), upstream), "a.", use_edns=0, options=[mine, within, mine])
        return [option for option in reply.options if option.otype == 65001]

    assert [within] == asyncio.run(test())
    assert [octets_of(within)] == seen


def octets_of(option: dns.edns.GenericOption) -> bytes:
    octets = option.to_wire()
    return option.otype.to_bytes(2, "big") + len(octets).to_bytes(2, "big") + octets
