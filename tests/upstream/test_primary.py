"""Transfers from a primary, and notifications to secondaries; both are played by dnspython."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable

import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from kdns.dns import types
from kdns.dns.response import RRset
from kdns.errors import KdnsError
from kdns.upstream import primary
from kdns.upstream.targets import Target

Answers = Callable[[dns.message.Message], list[bytes]]
SOA = "example. 60 IN SOA ns. host. 5 2 3 4 5"
TOP = RRset("example.", types.SOA, 60, (b"\2ns\0\4host\0" + struct.pack("!5I", 5, 2, 3, 4, 5),))
ZONE = [SOA, "example. 60 IN NS ns.", "a.example. 60 IN A 192.0.2.1", SOA]


def reply(query: dns.message.Message, *lines: str, rcode: int = 0) -> bytes:
    made = dns.message.make_response(query)
    made.set_rcode(rcode)
    made.answer = [dns.rrset.from_text(*line.split(maxsplit=4)) for line in lines]  # type: ignore[arg-type]
    return made.to_wire()


def zone(query: dns.message.Message) -> list[bytes]:
    """A primary as it should be, a record in each message."""
    lines = ZONE if query.question[0].rdtype == dns.rdatatype.AXFR else [SOA]
    return [reply(query, line) for line in lines]


@contextlib.asynccontextmanager
async def serving(answers: Answers) -> AsyncIterator[tuple[Target, list[str]]]:
    """A primary over TCP, and what it was asked. It ends a connection after an empty message."""
    asked: list[str] = []

    talks = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                query = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
                asked.append(dns.rdatatype.to_text(query.question[0].rdtype))
                for wire in answers(query):
                    if not wire:
                        raise ConnectionError
                    writer.write(len(wire).to_bytes(2, "big") + wire)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield Target(*server.sockets[0].getsockname()), asked
        await asyncio.gather(*talks)


@pytest.mark.parametrize(
    ("serial", "asked", "count"), [(None, ["AXFR"], 4), (4, ["SOA", "AXFR"], 4), (5, ["SOA"], None), (6, ["SOA"], None)]
)
def test_a_zone_is_had_where_it_is_newer(serial: int | None, asked: list[str], count: int | None) -> None:
    async def run() -> None:
        async with serving(zone) as (target, heard):
            found = await primary.newer(target, "example.", serial)
            assert (asked, count) == (heard, found if found is None else len(found))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (lambda query: [reply(query, rcode=dns.rcode.REFUSED)], "it answered REFUSED"),
        (lambda query: [reply(query, SOA), b""], "it ended the connection before the zone was complete"),
        (lambda query: [reply(query, SOA)], "no reply in time"),
        (lambda query: [], "no reply in time"),
        (lambda query: [b"\0\0" + reply(query, SOA)[2:]], "no reply in time"),
        (lambda query: [reply(query, ZONE[1])], "its transfer does not begin with the SOA record"),
    ],
)
def test_what_a_primary_does_wrong_is_one_line(answers: Answers, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary, "MESSAGE", 0.1)
    monkeypatch.setattr(primary.secrets, "randbits", lambda bits: 4711)

    async def run() -> None:
        async with serving(answers) as (target, _):
            with pytest.raises(KdnsError) as caught:
                await primary.newer(target, "example.", None)
            assert why == str(caught.value)

    asyncio.run(run())


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(KdnsError, match="refused"):
        asyncio.run(primary.newer(Target("127.0.0.1", port), "example.", None))


class Secondary(asyncio.DatagramProtocol):
    """Takes what it is told the n-th time; to what it is not ready for it says nothing."""

    def __init__(self, deaf: int, rcode: int = 0) -> None:
        self.told: list[tuple[str, str, int]] = []
        self._deaf, self._rcode = deaf, rcode

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, octets: bytes, address: tuple[str, int]) -> None:
        message = dns.message.from_wire(octets)
        self.told.append((address[0], message.answer[0].to_text(), message.opcode()))
        if len(self.told) > self._deaf:
            for id in (message.id ^ 1, message.id):
                answer = dns.message.make_response(message)
                answer.id = id
                answer.set_rcode(self._rcode)
                self._transport.sendto(answer.to_wire(), address)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("deaf", "rcode", "told", "why"),
    [(0, 0, 1, ""), (2, 0, 3, ""), (9, 0, 3, "no reply in time"), (0, dns.rcode.NOTAUTH, 1, "it answered NOTAUTH")],
)
def test_a_secondary_is_told_until_it_takes_it(deaf: int, rcode: int, told: int, why: str) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        transport, secondary = await loop.create_datagram_endpoint(lambda: Secondary(deaf, rcode), ("127.0.0.1", 0))
        target = Target(*transport.get_extra_info("sockname"))
        try:
            if why:
                with pytest.raises(KdnsError, match=why):
                    await primary.tell(target, TOP, "127.0.0.2", (0.05, 0.05, 0.05))
            else:
                await primary.tell(target, TOP, "127.0.0.2", (0.05, 0.05, 0.5))
        finally:
            transport.close()
        assert [("127.0.0.2", SOA, int(dns.opcode.NOTIFY))] * told == secondary.told

    asyncio.run(run())
