"""Questions to one upstream over TCP and DNS over TLS (RFC 7766, RFC 7858).

Connections are kept, and several questions are under way on each, answered in any order. An idle one is taken first;
where all are busy another is opened, up to a limit, for many servers answer a connection's questions one after the
other.
"""

import asyncio
import time

from kdns.errors import Closed, NoReply, UpstreamError
from kdns.upstream.connections import Connection, Connections
from kdns.upstream.outstanding import Outstanding

CONNECTIONS = 16  # to one upstream
QUESTIONS = 1000  # under way on one connection
LIES = 64  # messages that are no reply to an outstanding question, which end a connection


class Stream(Connection):
    def __init__(self, streams: "Streams", now: float) -> None:
        self.outstanding = Outstanding()
        self.lies = 0
        self._unsent: list[bytes] = []
        self._received = bytearray()
        super().__init__(streams, now)

    @property
    def under_way(self) -> int:
        return len(self.outstanding)

    def expire(self, now: float) -> None:
        self.outstanding.expire(now)

    def fail(self, error: UpstreamError) -> None:
        self.outstanding.fail(error)

    async def ask(self, body: bytes, question: bytes, expires: float) -> bytes:
        id, replied = self.outstanding.add(question, expires)
        octets = (len(body) + 2).to_bytes(2, "big") + id.to_bytes(2, "big") + body
        if self._transport is None:
            self._unsent.append(octets)
        else:
            self._transport.write(octets)
        began = time.monotonic()
        try:
            return await replied
        except NoReply:
            self.no_reply(began)
            raise
        finally:
            self.outstanding.drop(id, replied)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self.usable:
            transport.abort()
        elif self._unsent:
            transport.write(b"".join(self._unsent))
            self._unsent.clear()

    def data_received(self, octets: bytes) -> None:
        received = self._received
        received += octets
        while len(received) >= 2 and len(received) >= 2 + (size := int.from_bytes(received[:2], "big")):
            self.lies += not self.outstanding.take(bytes(received[2 : 2 + size]))
            del received[: 2 + size]
        self.used = self.heard = time.monotonic()
        if self.lies >= LIES:
            self.end(UpstreamError("it sends replies that nobody asked for"))


class Streams(Connections[Stream]):
    """The connections to one upstream: see `Connections`."""

    async def ask(self, body: bytes, question: bytes, expires: float) -> bytes:
        """Send a message (all but its id) whose question section is given; the reply, or UpstreamError."""
        while True:
            stream = self._stream(time.monotonic())
            kept = stream.connected
            try:
                return await stream.ask(body, question, expires)
            except Closed:
                if not kept:
                    raise

    def _stream(self, now: float) -> Stream:
        young = [stream for stream in self._open if stream.usable and self._young(stream, now)]
        best = min(young, key=lambda stream: stream.under_way, default=None)
        if best is None or (best.under_way and len(self._open) < CONNECTIONS):
            self._reuse.misses += 1
            best = Stream(self, now)
            self._open.append(best)
        elif best.under_way >= QUESTIONS:
            raise UpstreamError(f"{QUESTIONS} questions are under way on each of its connections")
        else:
            self._reuse.hits += 1
        best.used = now
        return best
