"""Queries over TCP, whatever their lengths say, in pieces, and the end.

What must hold: each message that is whole has at most one reply, each reply is one that dnspython reads and has the id of such a
message; the connection ends; nothing is left behind.
"""

import asyncio
import socket
from random import Random

import dns.message

from kdns.server import tcp
from kdns.server.in_flight import InFlight
from kdns.server.sockets import listen
from tests.fuzz.judging import Cost
from tests.fuzz.mutation import mutated
from tests.support.stage import framed, known, listener, question

PATIENCE = 10.0  # seconds for a connection


class Streams:
    dear = 200
    bound, bound_by_octet = Cost(20_000, 2 << 20), Cost(300, 2000)

    def __init__(self, rnd: Random) -> None:
        self._rnd = rnd
        queries = [question(name, type, id) for id, name in enumerate(("a.b.", "www.example.org.", ".")) for type in (1, 28, 252)]
        each = [framed(query) for query in queries]
        self._seeds = [*each, b"".join(each), each[0] * 50]

    async def prepare(self) -> None:
        self._in_flight = InFlight()
        sock = listen("127.0.0.1", 0, socket.SOCK_STREAM)
        self._port = sock.getsockname()[1]
        self._served = tcp.Tcp(sock, listener(known), self._in_flight)
        await self._served.start()

    async def end(self) -> None:
        await self._served.close(1)
        assert (0, 0, 0) == (len(self._served.connections), len(self._in_flight), self._served.untaken), "something is left"

    def make(self) -> bytes:
        return mutated(self._rnd, self._seeds)

    async def judge(self, octets: bytes) -> None:
        ids = [message[:2] for message in _messages(octets)]
        for reply in _messages(await said(self._port, octets)):
            assert reply[:2] in ids, "a reply to nothing"
            ids.remove(reply[:2])
            dns.message.from_wire(reply)


async def said(port: int, octets: bytes) -> bytes:
    """What comes back over TCP of octets in two pieces, and the end; nothing where the connection is closed with some unread."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        cut = len(octets) // 3
        for piece in (octets[:cut], octets[cut:]):
            writer.write(piece)
            await asyncio.sleep(0)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            return await reader.read(-1)
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def _messages(octets: bytes) -> list[bytes]:
    """Those that are whole."""
    out, at = [], 0
    while at + 2 <= len(octets):
        end = at + 2 + int.from_bytes(octets[at : at + 2], "big")
        if end > len(octets):
            break
        out.append(octets[at + 2 : end])
        at = end
    return out
