import asyncio
import socket
from dataclasses import dataclass, field

import dns.asyncquery
import dns.message
import pytest

from kdns.core.chain import UNANSWERED
from kdns.core.plugin import Plugin
from kdns.dns.query import Address, Query
from kdns.dns.response import Response
from kdns.dns.types import A, NXDOMAIN
from kdns.errors import NoReply
from kdns.plugins import loop
from kdns.plugins.loop import CAUSE, HINFO, Loop
from kdns.server.load import load
from kdns.server.run import Server
from kdns.upstream.upstream import Exclusion
from tests.support.configured import in_block, refused
from tests.support.waiting import until

CLIENT, LOCAL = Address("127.0.0.1", 55953), Address("127.0.0.1", 53)


@dataclass(eq=False)
class Upstream:
    name: str
    exclusions: list[Exclusion] = field(default_factory=list)


@dataclass(eq=False)
class Forward(Plugin):
    """*forward*, as far as *loop* knows it: what it asks of some upstreams comes back to a Loop."""

    upstreams: list[Upstream]
    zone: str = "."
    back: dict[str, Loop] = field(default_factory=dict)
    asked: list[tuple[str, Query]] = field(default_factory=list)

    async def answer(self, query: Query, next: object) -> Response:
        return UNANSWERED

    async def ask(self, upstream: Upstream, query: Query) -> Response:
        self.asked.append((upstream.name, query))
        if upstream.name not in self.back:
            raise NoReply("no reply in time")
        again = Query(query.name, query.type)
        again.client, again.local = CLIENT, LOCAL
        return await self.back[upstream.name].answer(again, lambda _: asyncio.sleep(0, UNANSWERED))


def scene(line: str = "loop", forwards: str = "forward . 192.0.2.1") -> tuple[Loop, Forward]:
    """A server block with *loop*, and a *forward* of three upstreams."""
    block = load(in_block(f"{line}\n{forwards}")).blocks[0]
    block.metrics.registry()
    forward = Forward([Upstream("127.0.0.53:53"), Upstream("192.0.2.1:53"), Upstream("192.0.2.2:53")])
    block.plugins = [("forward", forward) if name == "forward" else (name, plugin) for name, plugin in block.plugins]
    plugin = block.named("loop")[0]
    assert isinstance(plugin, Loop)
    return plugin, forward


def detected(plugin: Loop) -> list[dict[str, str]]:
    """The labels of what the metric shows as looping."""
    families = plugin.block.metrics.registry().collect()
    return [sample.labels for family in families if family.name == "kdns_loop_detected" for sample in family.samples]


def excluded(forward: Forward) -> list[str]:
    return [upstream.name for upstream in forward.upstreams if upstream.exclusions]


def test_only_the_looping_upstream_is_taken_out(caplog: pytest.LogCaptureFixture) -> None:
    plugin, forward = scene()
    forward.back = {"127.0.0.53:53": plugin}
    asyncio.run(plugin.probe(plugin.all()))
    asyncio.run(plugin.probe(plugin.all()))
    assert [{"zone": ".", "to": "127.0.0.53:53"}] == detected(plugin)
    assert (["127.0.0.53:53"], [CAUSE]) == (excluded(forward), [each.why for each in forward.upstreams[0].exclusions])
    assert ["upstream 127.0.0.53:53 is not asked: it forwards to this server (loop)"] == plugin.remarks()
    assert [
        'Loop (127.0.0.1:55953 -> 127.0.0.1:53) detected for zone ".": upstream 127.0.0.53:53 forwards to this server '
        "and is not asked any more; take it out of the Corefile or of the file of nameservers"
    ] == [record.message for record in caplog.records]


def test_no_two_probes_are_alike() -> None:
    plugin, forward = scene()
    for _ in range(3):
        asyncio.run(plugin.probe(plugin.all()))
    names = [query.name for _, query in forward.asked]
    assert (9, 9, {HINFO}) == (len(names), len(set(names)), {query.type for _, query in forward.asked})


@pytest.mark.parametrize(
    ("zone", "forwards", "expected"),
    [
        (".", "forward . 192.0.2.1", "."),
        (".", "forward corp.example 192.0.2.1", "corp.example."),
        ("corp.example", "forward . 192.0.2.1", "corp.example."),
        ("eu.corp.example", "forward corp.example 192.0.2.1", "eu.corp.example."),
    ],
)
def test_the_zone_of_a_probe(zone: str, forwards: str, expected: str) -> None:
    block = load(f"{zone} {{\nloop\n{forwards}\n}}\n").blocks[0]
    plugin = block.named("loop")[0]
    assert isinstance(plugin, Loop)
    assert [expected] == [probed.zone for probed in plugin.all()]


@pytest.mark.parametrize(
    ("name", "type", "expected"),
    [("PROBE", HINFO, NXDOMAIN), ("PROBE", A, UNANSWERED.rcode), ("1.2.", HINFO, UNANSWERED.rcode)],
)
def test_what_is_a_probe(name: str, type: int, expected: int) -> None:
    async def one() -> int:
        plugin, forward = scene()
        await plugin.probe(plugin.all())
        query = Query(forward.asked[0][1].name if name == "PROBE" else name, type)
        query.client, query.local = CLIENT, LOCAL
        response = await plugin.answer(query, lambda _: asyncio.sleep(0, UNANSWERED))
        assert excluded(forward) == (["127.0.0.53:53"] if expected == NXDOMAIN else [])
        assert isinstance(response, Response)
        return response.rcode

    assert expected == asyncio.run(one())


def test_it_is_taken_back_after_three_clean_probes() -> None:
    plugin, forward = scene()
    loops = {"127.0.0.53:53": plugin}
    states = []
    for back in (loops, {}, {}, loops, {}, {}, {}):
        forward.back = back
        asyncio.run(plugin.probe(plugin.all()))
        states.append(bool(excluded(forward)))
    assert [True, True, True, True, True, True, False] == states
    assert ([], []) == (plugin.remarks(), detected(plugin))


def test_one_that_is_no_upstream_any_more_is_forgotten() -> None:
    plugin, forward = scene()
    forward.back = {"127.0.0.53:53": plugin}
    asyncio.run(plugin.probe(plugin.all()))
    gone = forward.upstreams.pop(0)
    asyncio.run(plugin.probe(plugin.all()))
    assert ({}, []) == (plugin.looping, gone.exclusions)


def test_the_end_of_a_generation_undoes_only_its_own() -> None:
    first, forward = scene()
    second, _ = scene()
    second.block.plugins = [(n, forward if n == "forward" else p) for n, p in second.block.plugins]
    states = []
    for plugin in (first, second):
        forward.back = {"127.0.0.53:53": plugin}
        asyncio.run(plugin.probe(plugin.all()))
    for plugin in (first, second):
        plugin.close()
        states.append(excluded(forward))
    assert [["127.0.0.53:53"], []] == states


@pytest.mark.parametrize(("back", "expected"), [(True, 1), (False, None)])
def test_exit(back: bool, expected: int | None, caplog: pytest.LogCaptureFixture) -> None:
    plugin, forward = scene("loop exit")
    forward.back = {"127.0.0.53:53": plugin} if back else {}
    code = None
    try:
        asyncio.run(plugin.probe(plugin.all()))
    except SystemExit as end:
        code = end.code
    assert (expected, ["CRITICAL"] if back else []) == (code, [record.levelname for record in caplog.records])


def test_when_it_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at the start and when they change; those taken out again and again."""
    monkeypatch.setattr(loop, "LOOK", 0.001)
    monkeypatch.setattr(loop, "AGAIN", 0.003)
    monkeypatch.setattr(loop, "ALL", 0.3)

    async def some() -> list[str]:
        plugin, forward = scene()
        forward.back = {"127.0.0.53:53": plugin}
        running = asyncio.ensure_future(plugin.run())
        await until(lambda: len(forward.asked) >= 6)
        forward.upstreams[2] = Upstream("192.0.2.3:53")
        before = len(forward.asked)
        await until(lambda: "192.0.2.3:53" in [name for name, _ in forward.asked])
        running.cancel()
        assert {"127.0.0.53:53"} == {name for name, _ in forward.asked[3:before]}
        return [name for name, _ in forward.asked[:3]] + [name for name, _ in forward.asked[-3:]]

    expected = ["127.0.0.53:53", "192.0.2.1:53", "192.0.2.2:53", "127.0.0.53:53", "192.0.2.1:53", "192.0.2.3:53"]
    assert expected == asyncio.run(some())


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("loop halt", "Corefile:2: loop: 'halt' is none of exit"),
        ("loop exit now", "Corefile:2: loop: takes 0 to 1 argument, has 2"),
        ("loop\nloop", "Corefile:3: loop: may stand only once in a server block, and stands at Corefile:2"),
        ("loop {\nexit\n}", "Corefile:2: loop: takes no block"),
    ],
)
def test_what_it_refuses(lines: str, expected: str) -> None:
    assert expected == refused(in_block(lines))


class Real(asyncio.DatagramProtocol):
    """An upstream that answers every question with NOERROR and nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, wire: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(dns.message.make_response(dns.message.from_wire(wire)).to_wire(), address)  # type: ignore[attr-defined]


def test_a_server_that_forwards_to_itself_goes_on(free_port: int) -> None:
    async def some() -> tuple[list[str], list[int]]:
        running = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            transport, _ = await running.create_datagram_endpoint(Real, sock=sock)
            other = sock.getsockname()[1]
            lines = (
                f"bind 127.0.0.1\ncache\nloop\nforward . 127.0.0.1:{free_port} 127.0.0.1:{other} {{\npolicy sequential\n}}"
            )
            server = Server(in_block(lines), dns_port=free_port)
            await server.start()
            try:
                plugin = server.generation.blocks[0].named("loop")[0]
                assert isinstance(plugin, Loop)
                await until(lambda: bool(plugin.looping))
                query = dns.message.make_query("www.example.org", "A")
                replies = [await dns.asyncquery.udp(query, "127.0.0.1", 3, free_port) for _ in range(2)]
                return list(plugin.looping), [reply.rcode() for reply in replies]
            finally:
                hurry = asyncio.Event()
                hurry.set()
                await server.stop(hurry)
                transport.close()

    assert ([f"127.0.0.1:{free_port}"], [0, 0]) == asyncio.run(some())


def test_remarks_are_none_where_nothing_loops() -> None:
    plugin, _ = scene()
    asyncio.run(plugin.probe(plugin.all()))
    assert [] == plugin.remarks()
