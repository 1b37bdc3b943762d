"""What tests of the whole server share: a server on free ports, and a client that asks it many questions at once.

Server and client live on one event loop; what comes back is judged by dnspython.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import AsyncIterator
from typing import Self

import dns.flags
import dns.message

from kdns.server.run import Server

TIMEOUT = 5.0  # seconds until a question counts as lost
AT_ONCE = 50  # questions under way


@contextlib.asynccontextmanager
async def serving(corefile: str) -> AsyncIterator[Server]:
    """A server of a Corefile, ended in order."""
    server = Server(corefile)
    try:
        await asyncio.wait_for(server.start(), 20)
        yield server
    finally:
        await asyncio.wait_for(server.stop(), 20)


class Client(asyncio.DatagramProtocol):
    """Asks over one UDP socket and one TCP connection; replies find their questions by id."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, int], asyncio.Future[bytes]] = {}
        self._ids = itertools.cycle(range(1, 0xFFFF))
        self._room = asyncio.Semaphore(AT_ONCE)
        self._udp: asyncio.DatagramTransport
        self._tcp: asyncio.StreamWriter
        self._reading: asyncio.Task[None]

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, port: int, host: str = "127.0.0.1") -> AsyncIterator[Self]:
        """A client of the server at a port."""
        self = cls()
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._udp, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=(host, port), family=family)
        reader, self._tcp = await asyncio.open_connection(host, port)
        self._reading = asyncio.create_task(self._read(reader))
        try:
            yield self
        finally:
            self._udp.close()
            self._tcp.close()
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            with contextlib.suppress(OSError):
                await self._tcp.wait_closed()

    def datagram_received(self, octets: bytes, address: tuple[str, int]) -> None:
        self._arrived("udp", octets)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            self._arrived("tcp", await reader.readexactly(length))

    def _arrived(self, transport: str, octets: bytes) -> None:
        waiting = self._waiting.pop((transport, int.from_bytes(octets[:2], "big")), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(octets)

    async def octets(self, wire: bytes, transport: str = "udp") -> bytes:
        """The reply to a message, whose id is replaced; TimeoutError where none comes."""
        async with self._room:
            id = next(self._ids)
            waiting = self._waiting[transport, id] = asyncio.get_running_loop().create_future()
            message = id.to_bytes(2, "big") + wire[2:]
            if transport == "udp":
                self._udp.sendto(message)
            else:
                self._tcp.write(len(message).to_bytes(2, "big") + message)
            try:
                return await asyncio.wait_for(waiting, TIMEOUT)
            finally:
                self._waiting.pop((transport, id), None)

    async def ask(self, name: str, type: str = "A", transport: str = "udp") -> dns.message.Message:
        """The reply to a question; a truncated one is asked for again over TCP."""
        query = dns.message.make_query(name, type).to_wire()
        reply = dns.message.from_wire(await self.octets(query, transport))
        if reply.flags & dns.flags.TC and transport == "udp":
            return await self.ask(name, type, "tcp")
        return reply
