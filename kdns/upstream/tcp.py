"""Questions to one upstream over TCP and DNS over TLS (RFC 7766, RFC 7858).

Connections are kept, and several questions are under way on each, answered in any order. An idle one is taken first;
where all are busy another is opened, up to a limit, for many servers answer a connection's questions one after the
other. A connection that the upstream had closed meanwhile costs one more attempt and no failure; one from which nothing at all
came while a question waited in vain is asked no more.
"""

import asyncio
import ssl
import time
from collections.abc import Callable

from kdns.errors import Closed, NoReply, UpstreamError
from kdns.upstream.outstanding import Outstanding
from kdns.upstream.tallies import Reuse
from kdns.upstream.udp import reason

CONNECTIONS = 16  # to one upstream
QUESTIONS = 1000  # under way on one connection
LIES = 64  # messages that are no reply to an outstanding question, which end a connection
CONNECT = 5.0  # seconds that a connection may take to be had


async def opened(
    protocol: Callable[[], asyncio.Protocol], address: tuple[str, int], source: str, tls: "ssl.SSLContext | None", server_name: str
) -> UpstreamError | None:
    """Open a connection; why it could not be had, or None. What must be in a certificate is the name, else the address."""
    try:
        async with asyncio.timeout(CONNECT):
            await asyncio.get_running_loop().create_connection(
                protocol, *address, ssl=tls, server_hostname=(server_name or address[0]) if tls else None,
                local_addr=(source, 0) if source else None,
            )  # fmt: skip
    except ssl.SSLCertVerificationError as error:
        return UpstreamError(f"its certificate: {error.verify_message or error.reason}")
    except ssl.SSLError as error:
        return UpstreamError(f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}")
    except TimeoutError:
        return UpstreamError("no connection in time")
    except OSError as error:
        return UpstreamError(reason(error))
    return None


class Stream(asyncio.Protocol):
    """One connection, from before it is made. Questions asked before are sent once it is."""

    def __init__(self, dial: "Streams", now: float) -> None:
        self.outstanding = Outstanding()
        self.born = self.used = self.heard = now
        self.usable = True
        self.lies = 0
        self._streams = dial
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._received = bytearray()
        self._opening = asyncio.get_running_loop().create_task(self._open())

    @property
    def connected(self) -> bool:
        return self._transport is not None

    async def _open(self) -> None:
        dial = self._streams
        error = await opened(lambda: self, dial.address, dial.source, dial.tls, dial.server_name)
        if error is not None:
            self.end(error)

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
            if self.connected and self.heard < began:  # it may be dead, as where a firewall has forgotten it
                self.usable = False
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

    def connection_lost(self, error: Exception | None) -> None:
        self.end(Closed("it closed the connection"))

    def end(self, error: UpstreamError) -> None:
        """No more: who waits is told why."""
        self.usable = False
        self._streams.gone(self)
        self.outstanding.fail(error)
        if self._transport is not None:
            self._transport.abort()

    async def ended(self) -> None:
        """Wait until nothing of it is left."""
        self.end(UpstreamError("the server is ending"))
        self._opening.cancel()
        await asyncio.gather(self._opening, return_exceptions=True)


class Streams:
    """The connections to one upstream. `idle` seconds unused close one, `age` seconds (0: none) end its use."""

    def __init__(
        self, address: tuple[str, int], source: str, idle: float, age: float, keep: int, reuse: Reuse,
        tls: "ssl.SSLContext | None" = None, server_name: str = "",
    ) -> None:  # fmt: skip
        self.address, self.source, self.tls, self.server_name = address, source, tls, server_name
        self._idle, self._age, self._keep, self._reuse = idle, age, keep, reuse
        self._open: list[Stream] = []

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
        young = [stream for stream in self._open if stream.usable and not (self._age and now - stream.born >= self._age)]
        best = min(young, key=lambda stream: len(stream.outstanding), default=None)
        if best is None or (len(best.outstanding) and len(self._open) < CONNECTIONS):
            self._reuse.misses += 1
            best = Stream(self, now)
            self._open.append(best)
        elif len(best.outstanding) >= QUESTIONS:
            raise UpstreamError(f"{QUESTIONS} questions are under way on each of its connections")
        else:
            self._reuse.hits += 1
        best.used = now
        return best

    def gone(self, stream: Stream) -> None:
        if stream in self._open:
            self._open.remove(stream)

    def sweep(self, now: float) -> bool:
        """End the waiting that is over, close connections that are idle or old; is any left open?"""
        idle = []
        for stream in list(self._open):
            stream.outstanding.expire(now)
            if stream.outstanding or not stream.connected:
                continue
            if not stream.usable or now - stream.used >= self._idle or (self._age and now - stream.born >= self._age):
                stream.end(Closed("it was idle"))
            else:
                idle.append(stream)
        if self._keep:
            for stream in idle[: -self._keep]:
                stream.end(Closed("enough others are idle"))
        return bool(self._open)

    async def close(self) -> None:
        await asyncio.gather(*(stream.ended() for stream in list(self._open)))
        await asyncio.sleep(0)  # transports close their sockets one turn of the loop after abort
