"""Overload: what goes first, and what goes at all."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from kdns.core.generation import Generation
from kdns.dns import names
from kdns.dns.response import Response
from kdns.server import backlog, mmsg, udp
from kdns.server.backlog import Backlog, is_near
from kdns.server.in_flight import InFlight
from kdns.server.load import load
from kdns.server.sockets import listen
from tests.support.stage import addresses, client, known, listener, question

ZONES = (names.wire("cluster.local."), names.wire("10.in-addr.arpa."))


@pytest.mark.parametrize(
    ("name", "zones", "near"),
    [
        ("web.prod.svc.cluster.local.", ZONES, True),
        ("WEB.prod.svc.Cluster.LOCAL.", ZONES, True),
        ("cluster.local.", ZONES, True),
        ("mycluster.local.", ZONES, False),
        ("cluster.local.example.", ZONES, False),
        ("1.2.3.10.in-addr.arpa.", ZONES, True),
        ("example.", (), False),
        (".", ZONES, False),
    ],
)
def test_is_near(name: str, zones: tuple[bytes, ...], near: bool) -> None:
    assert near == is_near(question(name), zones)
    assert near == is_near(question(name) + b"\0\0\x29\x04\xd0" + bytes(6), zones)


@pytest.mark.parametrize("wire", [b"", b"\0", bytes(12), b"\xff" * 40])
def test_what_is_no_query_is_not_near(wire: bytes) -> None:
    assert not is_near(wire, ZONES)


def waiting(limit: int, adds: list[tuple[str, bool]]) -> tuple[list[str], int]:
    """What is begun of some misses, in its order, where those that are far wait without end; and how many were dropped."""

    async def check() -> Any:
        in_flight = InFlight(limit)
        begun: list[str] = []

        async def far() -> bytes:
            await asyncio.sleep(5)
            return b""

        def begin(miss: str) -> None:
            begun.append(miss)
            if miss.startswith("far"):
                in_flight.start(far())

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            waits: Backlog[str] = Backlog(sock, in_flight, begin)
            for miss, near in adds:
                waits.add(miss, near)
            await asyncio.sleep(0.02)
            dropped = waits.dropped
            waits._far.clear()
            await asyncio.sleep(0.02)
        await in_flight.ended(0)
        return begun, dropped

    found: tuple[list[str], int] = asyncio.run(check())
    return found


def test_near_before_far_and_far_while_there_is_room() -> None:
    adds = [("far1", False), ("far2", False), ("near1", True), ("far3", False), ("near2", True)]
    assert (["near1", "near2", "far1", "far2"], 0) == waiting(2, adds)


def test_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST", 2)
    adds = [*((f"far{i}", False) for i in range(5)), *((f"near{i}", True) for i in range(3))]
    assert (["near1", "near2", "far3", "far4"], 4) == waiting(9, adds)


@pytest.mark.skipif(udp.mmsg is None, reason="recvmmsg is Linux's")
def test_a_deep_buffer_is_read_whole_and_what_need_not_wait_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 queries that wait without end, then a hit, then one of the zone: both are answered, few of the others are begun."""
    begun: list[str] = []

    async def answer(query: Any) -> Response:
        begun.append(query.name)
        if query.name.endswith(".far."):
            await asyncio.sleep(9)
        return await known(query)

    async def check() -> Any:
        loop = asyncio.get_running_loop()
        in_flight = InFlight(50)
        with client() as sock:
            listening = listen("127.0.0.1", 0, socket.SOCK_DGRAM)
            to = listening.getsockname()
            served = udp.Batched(listening, listener(answer), in_flight)
            served.listener.near = (names.wire("near."),)
            memo = served.listener.memo
            memo.put(question("n2.hit.")[2:], await _reply(question("n2.hit.")), (), None)
            for i in range(3000):
                sock.sendto(question(f"n{i}.far."), to)
            for id, name in enumerate(("n2.hit.", "n3.near.")):
                sock.sendto(question(name, id=id), to)
            await served.start()
            replies = sorted([await asyncio.wait_for(loop.sock_recv(sock, 4096), 5) for _ in range(2)])
            waits = len(served._backlog), served._backlog.dropped
            opened = served._backlog.open
            await in_flight.ended(0)
            served._backlog._far.clear()
            await served.close(1)
        return [addresses(reply) for reply in replies], waits, opened

    monkeypatch.setattr(backlog, "DEEP", 64 << 10)
    replies, (waits, dropped), opened = asyncio.run(check())
    assert ([["10.0.0.2"], ["10.0.0.3"]], True) == (replies, opened)
    assert "n3.near." in begun
    assert len(begun) <= mmsg.MESSAGES * udp.LOOKS + 60
    assert 0 < waits <= backlog.MOST
    assert dropped > 0


async def _reply(wire: bytes) -> bytes:
    from kdns.dns.query import Address, Transport

    reply = await listener(known).reply(wire, Address("127.0.0.1", 5), Address("127.0.0.1", 53), Transport.TCP)
    assert reply is not None
    return reply[2:]


def test_a_zone_that_a_cluster_answers_from_memory_is_near(tmp_path: Path) -> None:
    """Where it falls through, what it does not have waits for others."""
    (tmp_path / "empty.yaml").write_text("")
    generation = Generation()
    options = f"manifests {tmp_path}/empty.yaml\n fallthrough in-addr.arpa"
    load(f". {{\n kubernetes cluster.local in-addr.arpa {{\n {options}\n }}\n}}\n", generation=generation)
    assert [(names.wire("cluster.local."),)] == [listener.near for listener in generation.listeners.values()]
