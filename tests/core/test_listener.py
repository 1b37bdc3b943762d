"""Who asks: what the memo may answer, and for whom; several server blocks of one zone; several messages for one query."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable

import dns.message
import dns.rcode
import pytest

from kdns.core.generation import Generation
from kdns.core.listener import Messages
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Address, Query, Transport
from kdns.dns.response import Answer, replace, Response, RRset, SILENCE, Stream
from kdns.dns.types import AXFR, CNAME, REFUSED, SOA, TC
from kdns.server.load import load
from tests.support.configured import add, ask, Fixed, generation_of, in_block, listener_of, LOCAL

ALLOWED, DENIED = Address("127.0.0.3", 4711), Address("127.0.0.2", 4711)
WEB = RRset("web.", 1, 5, (bytes(4),))
STABLE = Response(answer=(WEB,), stable_for=math.inf, depends=("web",))


class Gate(Plugin):
    """Refuses one client, and says nothing of whom its answers are for."""

    def __init__(self) -> None:
        self.asked = 0

    async def answer(self, query: Query, next: Handler) -> Answer:
        self.asked += 1
        return Response(rcode=REFUSED) if query.client.host == DENIED.host else await next(query)


class Sorting(Gate):
    """The same, and says so."""

    def audience(self, client: str) -> bytes:
        return b"denied" if client == DENIED.host else b""


class Marked(Gate):
    """It claims to be the same for everyone."""

    same_for_everyone = True


def gated(gate: Plugin) -> Generation:
    generation = load(". {\n}\n")
    generation.blocks[0].complete([("gate", gate), ("fixed", Fixed(STABLE))])
    again = load(". {\n}\n")  # listeners look at a block when it is added: as it was made above
    again.blocks[:] = generation.blocks
    listener = listener_of(again)
    listener.blocks.clear()
    generation.blocks[0].listeners.clear()
    listener.add(".", generation.blocks[0])
    return again


def codes(generation: Generation, *clients: Address) -> list[str]:
    """What clients get of one name in turn, out of the memo where that has it: as sockets ask."""
    listener = listener_of(generation)
    wire = dns.message.make_query("web.", "A", id=7).to_wire()

    async def run() -> list[str]:
        out = []
        for client in clients:
            entry = listener.memo.get(listener.key(wire, client))
            reply = wire[:2] + entry.reply if entry is not None and entry.reply else None
            reply = reply or await listener.reply(wire, client, LOCAL, Transport.UDP)
            assert isinstance(reply, bytes)
            out.append(dns.rcode.to_text(dns.message.from_wire(reply).rcode()))
        return out

    return asyncio.run(run())


@pytest.mark.parametrize(("gate", "kept"), [(Gate, 0), (Sorting, 2)])
def test_the_memo_does_not_pass_by_a_gatekeeper(gate: Callable[[], Gate], kept: int) -> None:
    generation = gated(gate())
    assert ["NOERROR", "REFUSED", "NOERROR", "REFUSED"] == codes(generation, ALLOWED, DENIED, ALLOWED, DENIED)
    assert len(listener_of(generation).memo) in (kept, kept - 1)  # a refusal that is not stable is not kept


def test_who_is_the_same_for_everyone_is_asked_once() -> None:
    gate = Marked()
    assert ["NOERROR"] * 3 == codes(gated(gate), ALLOWED, ALLOWED, DENIED)
    assert 1 == gate.asked


def test_an_audience_is_asked_once_each() -> None:
    gate = Sorting()
    others = [Address(f"127.0.1.{n}", 53) for n in range(20)]
    assert ["NOERROR"] * 21 == codes(gated(gate), ALLOWED, *others)
    assert 1 == gate.asked


@pytest.mark.parametrize("client", [DENIED, ALLOWED, Address("fd00::7", 53)])
def test_an_audience_is_no_part_of_a_datagram(client: Address) -> None:
    """No datagram that a client makes up leads to another audience's entries: tokens are told apart by their lengths."""
    listener = listener_of(gated(Sorting()))
    wire = bytes(40)
    for other in (DENIED, ALLOWED):
        stored = listener.key(wire, other)
        for cut in range(len(stored)):
            made_up = bytes(2) + stored[cut:]
            assert listener.key(made_up, client) != stored or (cut, client.host == DENIED.host) in (
                (len(stored) - 38, other.host == DENIED.host),
            )


def test_kernel_addresses_and_others_have_one_audience() -> None:
    listener = listener_of(gated(Sorting()))
    sockaddr = b"\x02\0" + (53).to_bytes(2, "big") + bytes((127, 0, 0, 2)) + bytes(8)
    assert listener.key(bytes(20), DENIED) == listener.key(bytes(20), sockaddr)


class View(Plugin):
    """Takes the queries of one client."""

    def __init__(self, client: str) -> None:
        self.client = client

    def takes(self, query: Query) -> bool:
        return query.client.host == self.client


def test_several_server_blocks_of_one_zone() -> None:
    generation = load("a. {\nbind 127.0.0.1\n}\n. {\nbind 127.0.0.1\n}\n")
    listener = listener_of(generation)
    first, last = generation.blocks
    first.complete([("view", View(ALLOWED.host)), ("fixed", Fixed(replace(STABLE, rcode=3)))])
    last.complete([("fixed", Fixed(STABLE))])
    assert [3, 0] == [
        asyncio.run(ask(generation, "web.a.", client=client)).rcode() for client in (ALLOWED, DENIED)
    ]  # who is not taken is the affair of the zone above
    assert 0 == len([key for key in (listener.memo.find(b""),) if key is not None])
    assert not first.memoized


def test_where_a_view_decides_the_memo_is_out_for_those_whom_it_does_not_take() -> None:
    """Or whoever the view takes would get what the others got."""
    generation = viewed(View(ALLOWED.host))
    assert ["NOERROR", "NXDOMAIN"] * 2 == codes(generation, DENIED, ALLOWED, DENIED, ALLOWED)
    assert 0 == len(listener_of(generation).memo)


def test_a_view_that_names_its_audience_keeps_the_memo() -> None:
    class Sorted(View):
        def audience(self, client: str) -> bytes:
            return b"x" if client == self.client else b""

    generation = viewed(Sorted(ALLOWED.host))
    assert ["NOERROR", "NXDOMAIN"] * 2 == codes(generation, DENIED, ALLOWED, DENIED, ALLOWED)
    assert 2 == len(listener_of(generation).memo)


def viewed(view: Plugin) -> Generation:
    """Two server blocks of one zone: one that a view guards and has no names, and one for everybody else."""
    generation = load(". {\n}\n")
    guarded = load(". {\n}\n").blocks[0]
    guarded.complete([("view", view), ("fixed", Fixed(Response(rcode=3, stable_for=math.inf)))])
    generation.blocks[0].complete([("fixed", Fixed(STABLE))])
    listener = listener_of(generation)
    listener.blocks.clear()
    for block in (guarded, generation.blocks[0]):
        block.listeners.clear()
        listener.add(".", block)
    return generation


def test_an_alias_into_a_guarded_server_block_is_not_kept() -> None:
    alias = Response(answer=(RRset("alias.", CNAME, 5, (b"\3web\1b\0",)),), stable_for=math.inf, depends=("alias",))
    generation = load("alias. {\n}\nb. {\n}\n")
    first, guarded = generation.blocks
    first.complete([("alias", Fixed(lambda query: first.follow(query, alias, ())))])
    guarded.complete([("gate", Gate()), ("fixed", Fixed(lambda query: replace(STABLE, answer=(WEB._replace(name=query.name),))))])
    for client, count in ((ALLOWED, 2), (DENIED, 1)):
        reply = asyncio.run(ask(generation, "alias.", client=client))
        assert count == len(reply.answer) or reply.rcode() == REFUSED
    assert 0 == len(listener_of(generation).memo)


# ---------------------------------------------------------------- several messages


async def several() -> AsyncIterator[Response]:
    for n in range(3):
        yield Response(answer=(RRset("web.", SOA, n, (b"\0\0" + bytes(20),)),))


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
def test_a_stream(transport: Transport) -> None:
    generation = generation_of("web. {\n}\n")
    add(generation.blocks[0], "transfer", Fixed(lambda query: Stream(several())))
    wire = dns.message.make_query("web.", AXFR, id=7).to_wire()

    async def run() -> list[int]:
        reply = await listener_of(generation).reply(wire, ALLOWED, LOCAL, transport)
        if isinstance(reply, bytes):
            assert dns.message.from_wire(reply).flags & TC
            return []
        assert isinstance(reply, Messages)
        return [dns.message.from_wire(octets).answer[0].ttl async for octets in reply]

    assert ([0, 1, 2] if transport is Transport.TCP else []) == asyncio.run(run())


def test_silence_is_silence_over_any_transport() -> None:
    generation = generation_of(in_block(""), SILENCE)
    wire = dns.message.make_query("web.", "A").to_wire()
    for transport in (Transport.UDP, Transport.TCP):
        assert None is asyncio.run(listener_of(generation).reply(wire, ALLOWED, LOCAL, transport))


def test_counts_outlive_a_reload() -> None:
    old = generation_of(in_block("prometheus"), STABLE)
    listener = listener_of(old)
    asyncio.run(ask(old, "web."))
    asyncio.run(listener.reply(bytes(2) + b"\x28" + bytes(9), ALLOWED, LOCAL, Transport.UDP))
    listener.counts.hits += 5
    new = load(in_block("prometheus"), generation=Generation(old))
    new.begin()
    asyncio.run(old.close(new.kept.values()))

    async def values() -> tuple[float | None, ...]:
        value, server = new.metrics.registry().get_sample_value, {"server": "dns://:53"}
        dropped = {**server, "zone": "dropped", "view": "", "rcode": "NOTIMP", "plugin": ""}
        of_memo = [value(f"kdns_memo_{what}_total", server) for what in ("hits", "misses", "forgotten")]
        return *of_memo, value("coredns_dns_responses_total", dropped)

    assert (5, 2, 1, 1) == asyncio.run(values())
