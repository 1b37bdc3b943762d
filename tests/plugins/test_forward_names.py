"""*forward* to host names: whom it asks for their addresses, when again, and what it does while that fails."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import dns.edns
import dns.message
import pytest

from kdns.core.generation import Generation
from kdns.core.plugin import Kept
from kdns.plugins.forward import Forward
from kdns.server.load import load, notes
from kdns.testing.upstream import answer, Asked, FakeUpstream, Script, Step
from kdns.upstream import resolving
from kdns.upstream.targets import Host
from kdns.upstream.upstream import Upstream
from tests.support.certificates import certificate
from tests.support.configured import answers, ask, in_block
from tests.support.waiting import until


@asynccontextmanager
async def serving(corefile: str, before: Generation | None = None) -> AsyncIterator[Generation]:
    """A generation of a Corefile, with what it starts; the one before it may end first."""
    generation = Generation(before)
    load(corefile, generation=generation)
    for kept in list(generation.kept.values()):
        if isinstance(kept, Kept) and (before is None or kept not in before.kept.values()):
            await kept.start()
    try:
        yield generation
    finally:
        await generation.close()


def plugin(generation: Generation) -> Forward:
    found = generation.blocks[0].named("forward")[0]
    assert isinstance(found, Forward)
    return found


def names(generation: Generation) -> list[str]:
    return [upstream.target.host for upstream in plugin(generation).upstreams]


def why(message: dns.message.Message) -> list[str]:
    return [str(option.text) for option in message.options if isinstance(option, dns.edns.EDEOption)]


def resolving_to(*records: str) -> Script:
    """A resolver that has these records, the TTL and all, of dns.example."""

    def script(asked: Asked) -> list[Step]:
        type = asked.message.question[0].rdtype.name
        return [answer(asked, *(f"{asked.name} {record}" for record in records if f" {type} " in record))]

    return script


def forwarding(resolver: int, to: str, options: str = "") -> str:
    return in_block(f"forward . {to} {{\nresolver 127.0.0.1:{resolver}\n{options}\n}}")


def test_a_name_is_resolved_at_the_start_and_asked() -> None:
    async def run() -> None:
        async with (
            FakeUpstream() as up,
            FakeUpstream(resolving_to("60 IN A 127.0.0.1")) as resolver,
            serving(forwarding(resolver.port, f"dns.example:{up.port}")) as generation,
        ):
            assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org"))
            assert ["dns.example.", "dns.example."] == [asked.name for asked in resolver.asked]
            assert {"A", "AAAA"} == {asked.message.question[0].rdtype.name for asked in resolver.asked}
            assert ["www.example.org."] == [asked.name for asked in up.asked]
            assert [] == plugin(generation).remarks()

    asyncio.run(run())


FOUND: list[tuple[list[str], str, list[str]]] = [
    (["60 IN A 127.0.0.3", "60 IN A 127.0.0.2"], "dns.example", ["127.0.0.2", "127.0.0.3"]),
    (["60 IN A 127.0.0.2"], "127.0.0.9 dns.example 127.0.0.8", ["127.0.0.9", "127.0.0.2", "127.0.0.8"]),
    (["60 IN A 127.0.0.2"], "127.0.0.2 dns.example", ["127.0.0.2"]),
    ([f"60 IN A 127.0.1.{n}" for n in range(1, 40)], "dns.example", sorted(f"127.0.1.{n}" for n in range(1, 40))[:15]),
    (["60 IN A 127.0.0.2", "60 IN AAAA 2001:db8::2"], "dns.example", ["127.0.0.2"]),  # from 127.0.0.1 none leads there
    (["60 IN AAAA 2001:db8::2"], "dns.example", ["2001:db8::2"]),
]


@pytest.mark.parametrize(("records", "to", "expected"), FOUND)
def test_all_addresses_with_a_route_are_upstreams_in_the_place_of_the_name(
    records: list[str], to: str, expected: list[str]
) -> None:
    async def run() -> list[str]:
        async with (
            FakeUpstream(resolving_to(*records)) as resolver,
            serving(forwarding(resolver.port, to, "source_address 127.0.0.1")) as generation,
        ):
            return names(generation)

    assert expected == asyncio.run(run())


def test_aliases_are_followed() -> None:
    def script(asked: Asked) -> list[Step]:
        if asked.message.question[0].rdtype.name == "AAAA":
            return [answer(asked)]
        return [answer(asked, f"{asked.name} 60 IN CNAME other.example.", "other.example. 60 IN A 127.0.0.2")]

    async def run() -> list[str]:
        async with FakeUpstream(script) as resolver, serving(forwarding(resolver.port, "dns.example")) as generation:
            return names(generation)

    assert ["127.0.0.2"] == asyncio.run(run())


def test_a_name_is_resolved_again_and_keeps_its_addresses_while_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kdns.upstream")
    monkeypatch.setattr(resolving, "LEAST", 0.02)
    monkeypatch.setattr(resolving, "AGAIN", 0.02)
    states = [
        (resolving_to("0 IN A 127.0.0.2"), ["127.0.0.2"], ""),
        (resolving_to("0 IN A 127.0.0.3"), ["127.0.0.3"], ""),
        (lambda asked: [answer(asked, rcode="SERVFAIL")], ["127.0.0.3"], "127.0.0.1:PORT answers SERVFAIL"),
        (resolving_to(), ["127.0.0.3"], "it has no address"),
        (lambda asked: [answer(asked, rcode="NXDOMAIN")], ["127.0.0.3"], "it has no address"),
        (resolving_to("0 IN A 127.0.0.4"), ["127.0.0.4"], ""),
    ]

    async def run() -> None:
        async with FakeUpstream(states[0][0]) as resolver, serving(forwarding(resolver.port, "dns.example")) as generation:
            remarks = plugin(generation).remarks
            for script, expected, reason in states:
                resolver.script = script
                reason = reason.replace("PORT", str(resolver.port))
                line = f"forward: dns.example cannot be resolved: {reason}; its addresses stay as they were"
                said = [line] if reason else []
                await until(lambda said=said, at=expected: (said, at) == (remarks(), names(generation)))
            resolver.script = states[3][0]
            await until(lambda: remarks() != [])

    asyncio.run(run())
    lines = [record.message.partition(": ")[0] for record in caplog.records if record.name == "kdns.upstream.resolving"]
    assert [
        "upstream dns.example has the addresses 127.0.0.2",
        "upstream dns.example has the addresses 127.0.0.3",
        "upstream dns.example cannot be resolved",
        "upstream dns.example is resolved again",
        "upstream dns.example has the addresses 127.0.0.4",
        "upstream dns.example cannot be resolved",
    ] == lines


def test_one_family_that_cannot_be_had_leaves_the_other() -> None:
    def script(asked: Asked) -> list[Step]:
        if asked.message.question[0].rdtype.name == "AAAA":
            return [answer(asked, rcode="REFUSED")]
        return [answer(asked, f"{asked.name} 60 IN A 127.0.0.2")]

    async def run() -> list[str]:
        async with FakeUpstream(script) as resolver, serving(forwarding(resolver.port, "dns.example")) as generation:
            assert [] == plugin(generation).remarks()
            return names(generation)

    assert ["127.0.0.2"] == asyncio.run(run())


def test_a_start_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(resolving, "START", 0.1)

    async def run() -> None:
        async with (
            FakeUpstream(lambda asked: []) as resolver,
            serving(forwarding(resolver.port, "dns.example other.example")) as generation,
        ):
            reply = await ask(generation, "www.example.org", use_edns=0)
            assert (2, []) == (reply.rcode(), answers(reply))

    asyncio.run(run())
    assert ["upstream dns.example, other.example: no address within 0.1 s, the start goes on without"] == caplog.messages


def test_what_was_never_resolved_fails_and_says_why() -> None:
    async def run() -> None:
        async with (
            FakeUpstream(resolving_to()) as resolver,
            serving(forwarding(resolver.port, "dns.example")) as generation,
        ):
            reply = await ask(generation, "www.example.org", use_edns=0)
            said = "forward: dns.example cannot be resolved: it has no address; it has none yet"
            assert (2, [said]) == (reply.rcode(), why(reply))
            assert [said] == plugin(generation).remarks()

    asyncio.run(run())


def test_the_second_resolver_is_asked_where_the_first_is_away(free_port: int) -> None:
    async def run() -> list[str]:
        async with FakeUpstream(resolving_to("60 IN A 127.0.0.2")) as resolver:
            line = f"forward . dns.example {{\nresolver 127.0.0.1:{free_port} 127.0.0.1:{resolver.port}\n}}"
            async with serving(in_block(line)) as generation:
                return names(generation)

    assert ["127.0.0.2"] == asyncio.run(run())


def test_the_nameservers_of_resolv_conf_are_asked_where_nothing_else_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(resolving, "RESOLV_CONF", str(file))

    async def run() -> list[str]:
        async with serving(in_block("forward . dns.example")) as generation:
            return plugin(generation).remarks()

    file.write_text("search example.org\n")
    none = f"forward: dns.example cannot be resolved: {file} names no nameserver; it has none yet"
    assert [none] == asyncio.run(run())
    file.write_text("nameserver 127.0.0.99\n")
    closed = "forward: dns.example cannot be resolved: 127.0.0.99:53: connection refused; it has none yet"
    assert [closed] == asyncio.run(run())


def test_nameservers_that_change_while_both_families_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(resolving, "RESOLV_CONF", str(file))

    async def run() -> None:
        file.write_text("nameserver 127.0.0.97\nnameserver 127.0.0.98\n")
        resolver = resolving.Resolver([Host("dns.example.", 53)])
        await resolver._asked()
        file.write_text("nameserver 127.0.0.9\n")
        for found in await asyncio.gather(resolver._asked(), resolver._asked()):
            assert ["127.0.0.9"] == [upstream.target.host for upstream in found]
        await resolver.close()

    asyncio.run(run())


def test_a_reload_keeps_the_addresses() -> None:
    async def run() -> tuple[list[str], int]:
        async with FakeUpstream(resolving_to("60 IN A 127.0.0.2")) as resolver:
            corefile = forwarding(resolver.port, "dns.example")
            first = Generation()
            load(corefile, generation=first)
            for kept in list(first.kept.values()):
                if isinstance(kept, Kept):
                    await kept.start()
            async with serving(corefile, first) as second:
                await first.close(second.kept.values())
                return names(second), len(resolver.asked)

    assert (["127.0.0.2"], 2) == asyncio.run(run())


def test_the_name_is_what_must_be_in_the_certificate(tmp_path: Path) -> None:
    context, ca = certificate(tmp_path, "dns.example")
    cases = [
        ("dns.example", "", ["192.0.2.1"]),
        ("other.example", "", []),
        ("other.example%dns.example", "", ["192.0.2.1"]),
        ("other.example", "tls_servername dns.example", ["192.0.2.1"]),
    ]

    async def run(name: str, options: str) -> list[str]:
        async with FakeUpstream(context=context) as up, FakeUpstream(resolving_to("60 IN A 127.0.0.1")) as resolver:
            line = forwarding(resolver.port, f"tls://{name}:{up.port}", f"tls {ca}\n{options}")
            async with serving(line) as generation:
                return answers(await ask(generation, "www.example.org"))

    assert [expected for *_, expected in cases] == [asyncio.run(run(name, options)) for name, options, _ in cases]


def test_addresses_that_change_for_ever_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "LEAST", 0.001)
    monkeypatch.setattr("kdns.plugins.forward.LEFT", 5)
    count = 0

    def script(asked: Asked) -> list[Step]:
        nonlocal count
        if asked.message.question[0].rdtype.name == "AAAA":
            return [answer(asked)]
        count += 1
        return [answer(asked, f"{asked.name} 0 IN A 127.1.{count >> 8}.{count & 255}")]

    def kept(generation: Generation) -> int:
        return sum(isinstance(one, Upstream) for one in generation.kept.values())

    async def run() -> None:
        async with FakeUpstream(script) as resolver:
            corefile = forwarding(resolver.port, "dns.example:9", "max_connect_attempts 1\nhealth_check 10ms")
            corefile += corefile.replace(". {", "example. {", 1)  # the same upstreams for another zone
            async with serving(corefile) as generation:
                generation.metrics.registry()
                while count < 40:
                    await ask(generation, "www.example.org")
                tallies = plugin(generation)._tallies
                await until(lambda: kept(generation) <= 6)
                assert kept(generation) > 1
                assert len(tallies.requests) <= 7 and len(tallies.states) <= 7 and len(tallies._reuse) <= 13

    asyncio.run(run())


def test_a_resolver_for_no_name_is_said() -> None:
    generation = load(in_block("forward . 127.0.0.1 {\nresolver 127.0.0.2\n}"))
    assert ["Corefile:2: forward: resolver has no effect: no upstream is a host name"] == notes(generation)
    asyncio.run(generation.close())


def test_an_error_of_ours_does_not_end_the_resolving(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(resolving, "AGAIN", 0.01)
    honest, calls = resolving.Resolver._reachable, 0

    def reachable(self: resolving.Resolver, addresses: Sequence[str], port: int) -> Sequence[str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError("on purpose")
        return honest(self, addresses, port)

    monkeypatch.setattr(resolving.Resolver, "_reachable", reachable)
    monkeypatch.setattr(resolving, "LEAST", 0.01)

    async def run() -> None:
        async with (
            FakeUpstream(resolving_to("0 IN A 127.0.0.2")) as resolver,
            serving(forwarding(resolver.port, "dns.example")) as generation,
        ):
            await until(lambda: names(generation) == ["127.0.0.2"])

    asyncio.run(run())
    assert ["upstreams could not be resolved"] == [record.message for record in caplog.records if record.levelname == "ERROR"]
