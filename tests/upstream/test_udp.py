"""Source ports: how many questions each asks, how they are drawn, what makes them suspicious, and that none is left open."""

import asyncio
import math
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kdns.dns.query import Query
from kdns.dns.types import A
from kdns.errors import NoReply, Spoofed, UpstreamError
from kdns.upstream import udp
from kdns.upstream.tallies import Reuse
from kdns.upstream.udp import Datagrams

QUESTION = Query("www.example.org.", A).question
BODY = b"\x01\x00\0\1\0\0\0\0\0\0" + QUESTION
Says = Callable[[bytes], list[bytes]]


def echo(wire: bytes) -> list[bytes]:
    """The question as a reply."""
    return [wire[:2] + b"\x81\x80" + wire[4:]]


class Peer(asyncio.DatagramProtocol):
    """Whoever is asked: notes the port and the id of each question, and says what it is told to."""

    def __init__(self, says: Says) -> None:
        self.says = says
        self.seen: list[tuple[int, int]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, octets: bytes, client: tuple[str, int]) -> None:
        self.seen.append((client[1], int.from_bytes(octets[:2], "big")))
        for reply in self.says(octets):
            self.transport.sendto(reply, client)


@asynccontextmanager
async def asking(says: Says = echo, exact: bool = False) -> AsyncIterator[tuple[Datagrams, Peer]]:
    before = len(os.listdir("/proc/self/fd"))
    transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Peer(says), local_addr=("127.0.0.1", 0)
    )
    reuse = Reuse()
    datagrams = Datagrams(transport.get_extra_info("sockname"), "", reuse, exact)
    try:
        yield datagrams, peer
    finally:
        datagrams.close()
        transport.close()
        await asyncio.sleep(0)
    assert before == len(os.listdir("/proc/self/fd"))


async def one(datagrams: Datagrams) -> bytes:
    return await datagrams.ask(BODY, QUESTION, asyncio.get_running_loop().time() + 5)


def test_ports_and_ids_cannot_be_foretold() -> None:
    """Both are drawn anew: as many ports as there are sockets, ids spread evenly, neither counting up.

    The expected share of equal ones among n of m is n/m, of neighbours a few of m.
    """

    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())

    async def run() -> None:
        async with asking() as (datagrams, peer):
            for _ in range(4000):
                await one(datagrams)
            ports = [port for port, _ in peer.seen]
            drawn = [port for port, _ in Counter(ports).items()]
            assert max(Counter(ports).values()) <= 2 * udp.QUESTIONS  # the system may draw a port a second time
            assert len(drawn) > 480  # of 500 sockets
            assert sum(0 < b - a < 16 for a, b in pairwise(drawn)) < 10
            eighths = Counter((port - low) * 8 // (high + 1 - low) for port in drawn)
            assert entropy(eighths) > 2.9, eighths  # of 3 bits
            ids = [id for _, id in peer.seen]
            assert len(set(ids)) > 3800
            assert sum((b - a) & 0xFFFF < 16 for a, b in pairwise(ids)) < 10
            assert entropy(Counter(id >> 8 for id in ids)) > 7.9  # of 8 bits; 4000 drawn evenly have 7.95
            assert entropy(Counter(id & 255 for id in ids)) > 7.9

    asyncio.run(run())


def entropy(counts: Counter[int]) -> float:
    """Bits."""
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values())


def test_a_socket_asks_few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "LIFE", 60.0)

    async def run() -> None:
        async with asking() as (datagrams, peer):
            await asyncio.gather(*(one(datagrams) for _ in range(100)))
            counts = Counter(port for port, _ in peer.seen)
            assert [udp.QUESTIONS] * 12 + [4] == sorted(counts.values(), reverse=True)
            assert 1 == len(datagrams._open)  # those that are worn are closed with their last reply

    asyncio.run(run())


def test_a_socket_asks_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "LIFE", 0.0)

    async def run() -> None:
        async with asking() as (datagrams, peer):
            for _ in range(5):
                await one(datagrams)
            assert 5 == len({port for port, _ in peer.seen})

    asyncio.run(run())


def test_sockets_are_bounded_and_then_ask_more_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "SOCKETS", 3)

    async def run() -> None:
        async with asking() as (datagrams, peer):
            await asyncio.gather(*(one(datagrams) for _ in range(100)))
            assert (3, 100) == (len({port for port, _ in peer.seen}), len(peer.seen))

    asyncio.run(run())


@pytest.mark.plain
def test_without_descriptors_open_sockets_ask_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    async def run() -> None:
        async with asking() as (datagrams, peer):
            waiting = asyncio.ensure_future(one(datagrams))
            await asyncio.sleep(0)
            monkeypatch.setattr(udp, "connected", no_more)
            await asyncio.gather(waiting, *(one(datagrams) for _ in range(20)))
            assert 1 == len({port for port, _ in peer.seen})
        async with asking() as (datagrams, peer):
            with pytest.raises(UpstreamError, match="too many open files"):
                await one(datagrams)

    asyncio.run(run())


def other_id(wire: bytes, n: int) -> bytes:
    [reply] = echo(wire)
    return (int.from_bytes(wire[:2], "big") + n & 0xFFFF).to_bytes(2, "big") + reply[2:]


def other_name(wire: bytes) -> bytes:
    return echo(wire)[0].replace(b"example", b"exomple")


GUESSED: list[tuple[str, Says, str]] = [
    ("two ids", lambda wire: [other_id(wire, 1), other_id(wire, 2), *echo(wire)], "reply"),
    ("three ids", lambda wire: [other_id(wire, n) for n in (1, 2, 3)] + echo(wire), "Spoofed"),
    ("three names", lambda wire: [other_name(wire)] * 3 + echo(wire), "Spoofed"),
    ("the reply ten times", lambda wire: echo(wire) * 10, "reply"),
    ("another spelling", lambda wire: [echo(wire)[0].replace(b"www", b"WwW")], "reply"),
]


@pytest.mark.parametrize(("kind", "says", "expected"), GUESSED)
def test_what_is_a_guess(kind: str, says: Says, expected: str) -> None:
    async def run() -> str:
        async with asking(says) as (datagrams, _):
            try:
                await one(datagrams)
            except Spoofed:
                return "Spoofed"
            return "reply"

    assert expected == asyncio.run(run())


def test_replies_that_are_late_or_come_twice_are_no_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "LIFE", 60.0)
    late: list[bytes] = []

    def says(wire: bytes) -> list[bytes]:
        late.extend(echo(wire) * 2)
        return late if len(late) == 2 * udp.QUESTIONS else []

    async def run() -> None:
        async with asking(says) as (datagrams, _):
            for _ in range(udp.QUESTIONS - 1):
                asked = datagrams.ask(BODY, QUESTION, 0.0)
                await asyncio.sleep(0.001)
                datagrams.sweep(1.0)
                with pytest.raises(NoReply):
                    await asked
            assert echo(late[-1])[0][2:] == (await one(datagrams))[2:]

    asyncio.run(run())
