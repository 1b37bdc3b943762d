"""An upstream that does as it is told: UDP, TCP and TLS on one port of loopback.

A *script* takes each question and returns steps: octets to send, seconds to wait, or one of the steps below. What scripts
are made of: `answer` makes an honest reply; a lie is one that was changed.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


@dataclass
class Asked:
    """A question that came."""

    message: dns.message.Message
    transport: str  # udp, tcp, tls
    client: tuple[str, int]
    connection: int = 0  # over TCP and TLS: which

    @property
    def name(self) -> str:
        return self.message.question[0].name.to_text()

    @property
    def id(self) -> int:
        return self.message.id


@dataclass(frozen=True)
class Elsewhere:
    """Octets that are sent from another port."""

    octets: bytes


@dataclass(frozen=True)
class Half:
    """Over TCP the first so many octets of a message with its length, and then the end of the connection."""

    octets: bytes
    size: int


class Close:
    """Over TCP the end of the connection."""


Step = bytes | float | Elsewhere | Half | Close
Script = Callable[[Asked], Sequence[Step]]


def answer(asked: Asked, *records: str, rcode: str = "NOERROR", flags: str = "QR RD RA", authority: Sequence[str] = (),
           edns: bool = True, options: Sequence[Any] = ()) -> bytes:  # fmt: skip
    """An honest reply with records as zone files have them ("name TTL IN A 192.0.2.1"); without any, the qname's address."""
    reply = dns.message.make_response(asked.message)
    reply.flags = dns.flags.from_text(flags)
    reply.use_edns(0 if edns and asked.message.edns >= 0 else -1, payload=4096, options=list(options))
    reply.set_rcode(dns.rcode.from_text(rcode))
    for text in records:
        reply.answer.append(_rrset(text))
    for text in authority:
        reply.authority.append(_rrset(text))
    return reply.to_wire(max_size=65535)


def _rrset(text: str) -> dns.rrset.RRset:
    name, ttl, cls, type, rdata = text.split(" ", 4)
    return dns.rrset.from_text(name, int(ttl), cls, type, rdata)


def address(asked: Asked) -> list[Step]:
    """The honest script: any name has the address 192.0.2.1."""
    return [answer(asked, f"{asked.name} 60 IN A 192.0.2.1")]


def with_id(octets: bytes, id: int) -> bytes:
    return id.to_bytes(2, "big") + octets[2:]


@dataclass
class FakeUpstream:
    """To be used as `async with FakeUpstream(script) as upstream`. `asked` are the questions so far."""

    script: Script = address
    context: ssl.SSLContext | None = None  # with one, TCP is TLS
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    async def __aenter__(self) -> "FakeUpstream":
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        loop = asyncio.get_running_loop()
        for _ in range(20):
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self.context)
            port = self._server.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=("127.0.0.1", port))
            except OSError:  # the port of TCP is taken for UDP
                self._server.close()
                continue
            self.port = port
            return self
        raise OSError("no port is free for UDP and TCP")

    async def __aexit__(self, *error: object) -> None:
        self._udp.close()
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def play(self, asked: Asked, send: Callable[[Step], Awaitable[None]]) -> None:
        """The steps for a question, in the background."""
        self.asked.append(asked)
        task = asyncio.get_running_loop().create_task(self._play(asked, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, asked: Asked, send: Callable[[Step], Awaitable[None]]) -> None:
        for step in self.script(asked):
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                await send(step)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)

        async def send(step: Step) -> None:
            if isinstance(step, Half):
                writer.write((len(step.octets).to_bytes(2, "big") + step.octets)[: step.size])
                await writer.drain()
                writer.close()
            elif isinstance(step, Close):
                writer.close()
            elif isinstance(step, bytes):
                writer.write(len(step).to_bytes(2, "big") + step)

        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                message = dns.message.from_wire(await reader.readexactly(size))
                client = writer.get_extra_info("peername")[:2]
                self.play(Asked(message, "tls" if self.context else "tcp", client, connection), send)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, upstream: FakeUpstream) -> None:
        self.upstream = upstream

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, octets: bytes, client: tuple[str, int]) -> None:
        async def send(step: Step) -> None:
            if isinstance(step, Elsewhere):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.sendto(step.octets, client)
            elif isinstance(step, bytes):
                self.transport.sendto(step, client)

        self.upstream.play(Asked(dns.message.from_wire(octets), "udp", client), send)
