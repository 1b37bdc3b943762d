"""*forward* and who asks the same: one question goes upstream, whatever differs that does not go there."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import dns.edns
import dns.flags
import dns.rcode
import pytest

from kdns.core.generation import Generation
from kdns.dns.query import Transport
from kdns.server.load import load
from kdns.testing.upstream import answer, Asked, FakeUpstream, Script, Step
from kdns.upstream import upstream
from tests.support.configured import answers, ask, in_block, refused


@asynccontextmanager
async def serving(*lines: str) -> AsyncIterator[Generation]:
    generation = load(in_block("\n".join(lines)))
    try:
        yield generation
    finally:
        await generation.close()


def slow(asked: Asked) -> Sequence[Step]:
    return [0.05, answer(asked, f"{asked.name} 60 IN A 192.0.2.1")]


def silent(asked: Asked) -> Sequence[Step]:
    return []


SECOND: list[tuple[dict[str, Any], int]] = [
    ({}, 1),
    ({"name": "WWW.example.org"}, 1),
    ({"use_edns": 0, "payload": 1400}, 1),
    ({"flags": "RD AD"}, 1),
    ({"transport": Transport.TCP}, 1),
    ({"name": "w.example.org"}, 2),
    ({"type": "AAAA"}, 2),
    ({"flags": "RD CD"}, 2),
    ({"flags": ""}, 2),
    ({"want_dnssec": True}, 2),
]


@pytest.mark.parametrize("cache", ["", "cache"])
@pytest.mark.parametrize(("second", "expected"), SECOND)
def test_equal_questions_are_one(cache: str, second: dict[str, Any], expected: int) -> None:
    async def run() -> tuple[int, list[list[str]]]:
        asking = {"name": "www.example.org", **second}
        asking["flags"] = dns.flags.from_text(asking.get("flags", "RD"))
        async with FakeUpstream(slow) as up, serving(cache, f"forward . 127.0.0.1:{up.port}") as generation:
            replies = await asyncio.gather(ask(generation, "www.example.org"), ask(generation, **asking))
            return len(up.asked), [answers(reply) for reply in replies]

    count = 1 if expected == 1 else 2
    first, other = asyncio.run(run())
    assert (count, ["192.0.2.1"]) == (first, other[0])


def test_nine_hundred_sizes_are_one_question() -> None:
    """A birthday attack needs many equal questions under way, each with an id of its own."""

    async def run() -> int:
        async with FakeUpstream(slow) as up, serving(f"forward . 127.0.0.1:{up.port}") as generation:
            asks = (ask(generation, "www.example.org", use_edns=0, payload=size) for size in range(600, 1500))
            assert [["192.0.2.1"]] * 900 == [answers(reply) for reply in await asyncio.gather(*asks)]
            return len(up.asked)

    assert 1 == asyncio.run(run())


@pytest.mark.parametrize("cache", ["", "cache"])
def test_who_asks_over_tcp_has_the_whole_answer(cache: str) -> None:
    many = [f"www.example.org. 5 IN A 192.0.2.{n}" for n in range(1, 60)]

    def cut_over_udp(asked: Asked) -> Sequence[Step]:
        return [0.05, answer(asked, flags="QR TC RD RA") if asked.transport == "udp" else answer(asked, *many)]

    async def run() -> None:
        async with FakeUpstream(cut_over_udp) as up, serving(cache, f"forward . 127.0.0.1:{up.port}") as generation:
            udp, tcp = await asyncio.gather(
                *(ask(generation, "www.example.org", transport=transport) for transport in (Transport.UDP, Transport.TCP))
            )
            assert (True, 0, False, 59) == (
                bool(udp.flags & dns.flags.TC), len(answers(udp)), bool(tcp.flags & dns.flags.TC), len(answers(tcp))
            )  # fmt: skip
            assert ["udp", "tcp"] == [asked.transport for asked in up.asked]

    asyncio.run(run())


def test_who_gives_up_takes_nobody_along() -> None:
    async def run() -> None:
        async with FakeUpstream(slow) as up, serving(f"forward . 127.0.0.1:{up.port}") as generation:
            asks = [asyncio.ensure_future(ask(generation, "www.example.org")) for _ in range(3)]
            await asyncio.sleep(0.01)
            asks[0].cancel()
            replies = await asyncio.gather(*asks[1:])
            assert [["192.0.2.1"]] * 2 == [answers(reply) for reply in replies]

    asyncio.run(run())


FAILURES: list[tuple[str, Script]] = [
    ("silent", silent),
    ("SERVFAIL", lambda asked: [answer(asked, rcode="SERVFAIL")]),
]


@pytest.mark.parametrize(("kind", "script"), FAILURES)
def test_failures_are_kept_for_a_while(kind: str, script: Script) -> None:
    """RFC 9520 3.2: who asks again has the same at once, and no upstream is asked."""

    async def run() -> None:
        options = "read_timeout 20ms\nmax_fails 0"
        async with FakeUpstream(script) as up, serving("cache", f"forward . 127.0.0.1:{up.port} {{\n{options}\n}}") as generation:
            codes = [dns.rcode.to_text((await ask(generation, "www.example.org")).rcode())]
            asked = len(up.asked)
            for _ in range(5):
                codes.append(dns.rcode.to_text((await ask(generation, "www.example.org")).rcode()))
            assert (["SERVFAIL"] * 6, asked) == (codes, len(up.asked))

    asyncio.run(run())


def test_what_nobody_was_asked_for_is_not_kept() -> None:
    async def run() -> None:
        line = "forward . 127.0.0.1:{} {{\nfailfast_all_unhealthy_upstreams\n}}"
        async with FakeUpstream() as up, serving("cache", line.format(up.port)) as generation:
            forward: Any = generation.blocks[0].named("forward")[0]
            forward.upstreams[0].health.fails = 2
            assert dns.rcode.SERVFAIL == (await ask(generation, "www.example.org")).rcode()
            forward.upstreams[0].health.fails = 0
            assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org"))

    asyncio.run(run())


# ---------------------------------------------------------------- 0x20


def normal(asked: Asked) -> Sequence[Step]:
    """A server that writes names as it likes."""
    wire = asked.message.to_wire()
    octets = answer(asked, f"{asked.name} 60 IN CNAME web.{asked.name}", f"web.{asked.name} 60 IN A 192.0.2.1")
    return [octets[:12] + octets[12 : 12 + 17].lower() + octets[29:]] if len(wire) > 29 else []


SPELLINGS: list[tuple[str, Script, list[str]]] = [
    ("kept", lambda q: [answer(q, f"{q.name} 60 IN CNAME web.{q.name}", f"web.{q.name} 60 IN A 192.0.2.1")], ["udp"]),
    ("changed", normal, ["udp", "tcp"]),
]


@pytest.mark.parametrize(("kind", "script", "transports"), SPELLINGS)
def test_random_letters(kind: str, script: Script, transports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_chance", random.Random(20))  # one spelling in 8,192 is all in small letters, as normal() has it

    async def run() -> None:
        line = "forward . 127.0.0.1:{} {{\nuse_caps_for_id\n}}"
        async with FakeUpstream(script) as up, serving(line.format(up.port)) as generation:
            spelled = set()
            for _ in range(8):
                up.asked.clear()
                reply = await ask(generation, "www.example.org")
                assert ["web.www.example.org.", "192.0.2.1"] == answers(reply)
                assert "www.example.org." == reply.question[0].name.to_text()
                assert transports == [asked.transport for asked in up.asked]
                spelled.add(up.asked[0].name)
            assert {"www.example.org."} == {name.lower() for name in spelled}
            assert len(spelled) > 5  # of 2 to the power of 13

    asyncio.run(run())


def test_nothing_is_left_open() -> None:
    async def run() -> None:
        before = len(os.listdir("/proc/self/fd"))
        async with FakeUpstream(slow) as up, serving(f"forward . 127.0.0.1:{up.port}") as generation:
            await asyncio.gather(*(ask(generation, f"{n}.example.org") for n in range(50)))
        await asyncio.sleep(0.01)
        assert before == len(os.listdir("/proc/self/fd"))

    asyncio.run(run())


# ---------------------------------------------------------------- EDNS options

NSID, SUBNET, COOKIE = dns.edns.NSIDOption(b"one"), dns.edns.ECSOption("192.0.2.0", 24), dns.edns.CookieOption(b"01234567", b"")
OPTIONS: list[tuple[str, list[dns.edns.Option], list[int], str]] = [
    ("", [NSID, SUBNET, COOKIE], [], "udp"),
    ("edns_options nsid", [NSID, SUBNET, COOKIE], [3], "tcp"),
    ("edns_options nsid subnet", [SUBNET, COOKIE], [8], "tcp"),
    ("edns_options 3 8", [NSID, SUBNET, COOKIE], [3, 8], "tcp"),
    ("edns_options subnet", [], [], "udp"),
]


@pytest.mark.parametrize("cache", ["", "cache"])
@pytest.mark.parametrize(("option", "sent", "expected", "transport"), OPTIONS)
def test_options_go_through_by_choice(
    cache: str, option: str, sent: list[dns.edns.Option], expected: list[int], transport: str
) -> None:
    """Both ways, and whoever asks without has an answer that nobody's options changed."""

    def script(asked: Asked) -> Sequence[Step]:
        return [answer(asked, f"{asked.name} 60 IN A 192.0.2.1", options=[*asked.message.options, COOKIE])]

    async def run() -> None:
        async with FakeUpstream(script) as up, serving(cache, f"forward . 127.0.0.1:{up.port} {{\n{option}\n}}") as generation:
            for _ in range(2):
                reply = await ask(generation, "www.example.org", use_edns=0, options=sent)
                assert (expected, ["192.0.2.1"]) == ([int(each.otype) for each in reply.options], answers(reply))
            assert (2 if expected or not cache else 1) == len(up.asked)
            assert {transport} == {asked.transport for asked in up.asked}
            assert [expected] * len(up.asked) == [[int(each.otype) for each in asked.message.options] for asked in up.asked]
            plain = await ask(generation, "www.example.org", use_edns=0)
            assert ([], ["192.0.2.1"]) == (list(plain.options), answers(plain))

    asyncio.run(run())


REFUSED = [
    ("edns_options cookie", "'cookie' is neither nsid nor subnet nor a code up to 65535"),
    ("edns_options 70000", "'70000' is neither nsid nor subnet nor a code up to 65535"),
    ("edns_options 10", "10: cookies, keepalive, padding and errors are between two neighbours"),
]


@pytest.mark.parametrize(("option", "expected"), REFUSED)
def test_options_that_do_not_go_through(option: str, expected: str) -> None:
    line = in_block(f"forward . 192.0.2.1 {{\n{option}\n}}")
    assert f"Corefile:3: forward: edns_options: {expected}" == refused(line)
