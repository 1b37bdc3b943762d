"""Overload: what goes first, and what goes at all."""

import asyncio
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from kdns.core.generation import Generation
from kdns.dns import names
from kdns.dns.response import Response
from kdns.server import backlog, udp
from kdns.server.backlog import Backlog, is_near, Share, Turns, whose
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
    """What is begun of some misses, in its order, where those that are far wait without end; and how many were dropped.

    A miss is called by its client and a number.
    """

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
                waits.add(miss, miss[:-1].encode(), near)
            await asyncio.sleep(0.02)
            dropped = waits.dropped
            waits._far = Turns()
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


def turns(adds: str) -> tuple[str, int]:
    """Which misses are taken, in their order, and how many went for others; a client is a letter, its misses are 0, 1, 2."""
    made, gone = Turns[str](), 0
    for n, who in enumerate(adds):
        gone += made.add(who.encode(), who + str(adds[:n].count(who)))
    return " ".join(made.take() for _ in range(len(made))), gone


@pytest.mark.parametrize(
    ("adds", "expected"),
    [
        ("aaabbc", ("a0 b0 c0 a1 b1 a2", 0)),
        ("aaaaaaaab", ("a0 b0 a1 a2 a3 a4 a5 a6 a7", 0)),
        ("aaaaaaaaaaa", ("a3 a4 a5 a6 a7 a8 a9 a10", 3)),  # 8 may wait
        ("baaaaaaaa", ("b0 a4 a5 a6 a7", 4)),  # as there are two, 4 of each
        ("abcdefghi", ("b0 c0 d0 e0 f0 g0 h0 i0", 1)),
        ("aabbccddeeffgghhi", ("b0 c0 d0 e1 f1 g1 h1 i0 b1 c1 d1", 6)),
    ],
)
def test_clients_have_their_turns_and_lose_of_their_own(
    adds: str, expected: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MOST", 8)
    assert expected == turns(adds)


@pytest.mark.parametrize("address", ["10.0.0.1", "2001:db8::1", "::1", "::ffff:10.0.0.1"])
def test_whose(address: str) -> None:
    """The port does not count, nor do the lower 64 bits of an IPv6 address."""
    own = whose(sockaddr(address, 53))
    assert own == whose(sockaddr(address, 54))
    others = ["10.0.0.2", "2001:db8:0:1::1", "::2", "::ffff:10.0.0.2"]
    assert own not in [whose(sockaddr(other, 53)) for other in others]
    assert whose(sockaddr("2001:db8::1", 53)) == whose(sockaddr("2001:db8::ff", 53))


def sockaddr(address: str, port: int) -> bytes:
    """As the kernel writes it."""
    if ":" in address:
        return struct.pack("=H", socket.AF_INET6) + port.to_bytes(2, "big") + bytes(4) + packed(address) + bytes(4)
    return struct.pack("=H", socket.AF_INET) + port.to_bytes(2, "big") + packed(address) + bytes(8)


def packed(address: str) -> bytes:
    return ip_address(address).packed


def test_those_who_ask_most_are_passed_over_while_the_buffer_overflows(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 are read in one go: 60 of one client, 4 of another. What is looked at is halved, no further than helps."""
    fill = {"octets": 600}
    monkeypatch.setattr(backlog, "queued", lambda sock: (fill["octets"], 1000))
    clients = [sockaddr("10.0.0.1" if n % 16 else "10.0.0.2", n) for n in range(64)]

    def go(ended: Callable[[], None]) -> tuple[int, int]:
        lengths = [40] * 64
        share.skim(lengths, clients)
        ended()
        looked_at = [n % 16 != 0 for n in range(64) if lengths[n]]
        return looked_at.count(True), looked_at.count(False)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        share = Share(sock, 64)
        found = [go(share.left_some) for _ in range(6)]
        fill["octets"] = 400
        found += [go(share.left_some), go(share.read_all), go(share.read_all), go(share.left_some)]
    assert [(flooding, 4) for flooding in (60, 32, 16, 8, 4, 4, 4, 4, 8, 16)] == found
    assert sum(60 - flooding for flooding, _ in found) == share.passed_over


@pytest.mark.skipif(not udp.BY_BATCHES, reason="recvmmsg is Linux's")
def test_a_deep_buffer_is_read_whole_and_what_need_not_wait_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 queries that wait without end, then a hit, then one of the zone: both are answered, few of the others are begun."""
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
            for i in range(400):
                sock.sendto(question(f"n{i}.far."), to)
            for id, name in enumerate(("n2.hit.", "n3.near.")):
                sock.sendto(question(name, id=id), to)
            await served.start()
            replies = sorted([await asyncio.wait_for(loop.sock_recv(sock, 4096), 5) for _ in range(2)])
            of_100 = len(begun) - 1 + len(served._backlog), served._backlog.dropped
            opened = served._backlog.open
            await in_flight.ended(0)
            served._backlog._far = Turns()
            await served.close(1)
        return [addresses(reply) for reply in replies], of_100, opened

    monkeypatch.setattr(backlog, "DEEP", 64 << 10)
    monkeypatch.setattr(backlog, "MOST", 100)
    replies, of_100, opened = asyncio.run(check())
    assert ([["10.0.0.2"], ["10.0.0.3"]], True) == (replies, opened)
    assert "n3.near." in begun
    assert (100, 300) == of_100
    assert len(begun) <= 51


@pytest.mark.skipif(not udp.BY_BATCHES, reason="recvmmsg is Linux's")
def test_a_flood_of_hits_costs_those_who_ask_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """128 are read in one go, and the buffer stays full: of 300 hits of one client and 5 of another, these are all answered."""

    async def check() -> Any:
        loop = asyncio.get_running_loop()
        with client() as flooding, client(host="127.0.0.2") as other:
            listening = listen("127.0.0.1", 0, socket.SOCK_DGRAM)
            served = udp.Batched(listening, listener(known), InFlight())
            served.listener.memo.put(question("n2.hit.")[2:], await _reply(question("n2.hit.")), (), None)
            for sock, times in ((flooding, 150), (other, 5), (flooding, 150)):
                for _ in range(times):
                    sock.sendto(question("n2.hit."), listening.getsockname())
            await served.start()
            for sock, times in ((other, 5), (flooding, 128 + 64 + 32)):
                for _ in range(times):
                    await asyncio.wait_for(loop.sock_recv(sock, 4096), 20)
            await served.close(1)
            with pytest.raises(BlockingIOError):
                flooding.recv(4096)
        return served.given_up()

    monkeypatch.setattr(udp, "READ_ON", 2)
    monkeypatch.setattr(backlog, "queued", lambda sock: (600, 1000))
    monkeypatch.setattr(backlog, "DEEP", 100)
    assert {"send_buffer": 0, "turn": 300 - 128 - 64 - 32} == asyncio.run(check())


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
