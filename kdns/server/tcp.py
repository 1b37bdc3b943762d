"""TCP: messages with their length before them (RFC 1035 4.2.2), several of a connection in flight at once (RFC 7766 6.2.1).

DNS over TLS (RFC 7858) is the same, encrypted: what the listener has an encryption for.

What was read is answered message by message: from the memo, or by the listener where it need not wait; the replies leave in
one write. Late replies leave as they are ready, in any order. A connection lets others have their turn after some messages,
may have a few queries in flight, and is closed when nothing comes of it.

Nothing more is read of a connection, nor answered, while it leaves any octet of its replies untaken, so what waits in memory
is late replies only. They are bounded for each connection and for all together.
"""

import asyncio
import logging
import math
import socket
import ssl
import time
from typing import Any

from kdns.core.entries import tell
from kdns.core.listener import Listener, Messages, Reply
from kdns.core.served import Served
from kdns.dns.query import Address, Transport
from kdns.server.accept import Acceptor, client, Connections, room
from kdns.server.in_flight import InFlight, outcome, Stepped
from kdns.server.stream import Stream

log = logging.getLogger(__name__)

CONNECTIONS = 1000
IN_FLIGHT = 32  # queries of one connection that wait
AT_ONCE = 64  # messages of one connection that are answered before others on the loop have their turn
LONGEST = 16384  # octets of a message; a query has no use for more
IDLE = 10.0  # seconds without a message, all replies sent
READ = 5.0  # seconds that a message may take to arrive
WRITE = 5.0  # seconds that a client may leave its replies untaken
ROOM = 16384  # octets of replies that are made at once; and what the kernel is to keep of a connection, each way
MOST_UNTAKEN = 131072  # octets of late replies that one connection may leave untaken: many may come at one moment
ALL_UNTAKEN = 8 << 20  # and all together
PARTS = 4  # of the process's descriptors, one part in so many is for connections
DRAIN = 5.0  # seconds that connections have to end when the socket is given up

_room = memoryview(bytearray(LONGEST))  # what was just read; each connection takes its octets at once


class Tcp:
    """A listening socket and its connections. `listener` may be exchanged at any time."""

    def __init__(
        self, sock: socket.socket, listener: Listener, in_flight: InFlight, connections: Connections | None = None
    ) -> None:
        self.listener = listener
        self.in_flight = in_flight
        self.idle, self.read, self.write = IDLE, READ, WRITE  # seconds
        self.loop = asyncio.get_running_loop()
        self.connections = Connections(room(CONNECTIONS, PARTS)) if connections is None else connections
        self.mine: dict[_Connection, None] = {}
        self.untaken = 0  # octets of replies that wait in memory, of all connections here
        self.closing = False
        self._acceptor = Acceptor(sock, lambda: _Connection(self), self.connections, self._context, self._begin)
        self._sweeper: asyncio.TimerHandle | None = None
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # or the kernel would keep megabytes of each connection
            sock.setsockopt(socket.SOL_SOCKET, option, ROOM)

    def _context(self) -> "ssl.SSLContext | None":
        encryption = self.listener.encryption
        return encryption.context if encryption is not None and self.listener.stream is Transport.TLS else None

    def _begin(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        Stream(self.loop, sock, peer, _Connection(self))

    async def start(self) -> None:
        """Accept connections from now on."""
        self._acceptor.start()
        self._sweep()

    def given_up(self) -> dict[str, int]:
        """Connections that made room for others, or found none."""
        return {"connection": self.connections.put_out}

    def _sweep(self) -> None:
        """Close what is idle, too slow, or stuck."""
        now = self.loop.time()
        for connection in list(self.mine):
            connection.check(now)
        self._sweeper = self.loop.call_later(min(1.0, *[self.bound(name) / 4 for name in ("idle", "read", "write")]), self._sweep)

    def bound(self, name: str) -> float:
        """Seconds to `idle`, `read` or `write`: what a server block says (*timeouts*), else our own."""
        own: float = getattr(self, name)
        return self.listener.patience.get(name, own)

    async def close(self, timeout: float = DRAIN) -> None:
        """Give the socket up: take the connections that are queued, answer what was asked, close."""
        end = self.loop.time() + timeout
        await asyncio.sleep(0.01)  # the loop accepts and reads meanwhile
        self._acceptor.close()
        self.closing = True
        while self.mine and self.loop.time() < end:
            for connection in list(self.mine):
                connection.end_if_done()
            await asyncio.sleep(0.01)
        for connection in list(self.mine):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()


class _Connection(asyncio.BufferedProtocol):
    def __init__(self, server: Tcp) -> None:
        self._server = server
        self._octets = b""  # read and not yet answered
        self._asked = 0  # messages until now
        self._in_flight = 0
        self._stopped = False  # not read from: its turn is over, too much is in flight, or replies are not taken
        self._turn: asyncio.Handle | None = None
        self._eof = False
        self._active = self._began = server.loop.time()  # the last message or reply; the last octet of an unfinished message
        self._stuck = 0.0  # since when replies are not taken
        self._taken = asyncio.Event()  # the client has all that was written
        self._taken.set()
        self._untaken = 0  # octets of them that wait in memory

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._encrypted = transport.get_extra_info("ssl_object") is not None
        # Whatever waits in memory is to be known. asyncio's TLS would pause at 0 with nothing written, so it pauses at 1, and
        # what it has passed on to the socket below, up to 64 KiB, is not known.
        transport.set_write_buffer_limits(1 if self._encrypted else 0)
        self._peer = _end(transport.get_extra_info("peername"))
        self._local = _end(transport.get_extra_info("sockname"))
        self.client = client(self._peer.host)
        self._server.mine[self] = None
        if not self._server.connections.opened(self):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._taken.set()
        self._server.connections.closed(self)
        self._server.mine.pop(self, None)
        self._weigh(0)
        self._octets = b""
        if self._turn is not None:
            self._turn.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _room

    def buffer_updated(self, nbytes: int) -> None:
        if not self._octets:
            self._began = self._server.loop.time()
            self._octets = bytes(_room[:nbytes])
        else:
            self._octets += _room[:nbytes]
        self._answer()

    def eof_received(self) -> bool:
        """The client sends no more: it still has its answers, but for TLS, which asyncio ends both ways."""
        self._eof = True
        self.end_if_done()
        return not self._encrypted

    def _answer(self) -> None:
        """Answer what was read, some messages at a time."""
        self._turn = None
        if self._transport.is_closing():
            return
        began = time.monotonic()
        listener = self._server.listener
        replay = listener.replay
        octets, length, at, space = self._octets, len(self._octets), 0, ROOM
        replies: list[bytes] = []
        hits = messages = 0
        missed = b""
        more = True
        left = listener.patience.get("queries", math.inf) - self._asked
        while messages < min(AT_ONCE, left) and space > 0:
            end = at + 2 + int.from_bytes(octets[at : at + 2], "big")
            if end > at + 2 + LONGEST:
                self._transport.close()
                return
            if end > length or length < at + 2 or self._in_flight >= IN_FLIGHT or self._stuck:
                more = False
                break
            wire = octets[at + 2 : end]
            reply = replay(wire[2:], self._peer, listener.stream)
            if reply is not None:
                hits += 1
                replies += ((len(reply) + 2).to_bytes(2, "big"), wire[:2], reply)
                space -= len(reply)
                if listener.tells:
                    seconds = time.monotonic() - began
                    tell(listener.given, Served(wire, self._peer, self._local, listener.stream, len(reply) + 2, seconds))
            else:
                missed, reply = wire, self._start(wire)
                if reply is not None:
                    replies += (len(reply).to_bytes(2, "big"), reply)
                    space -= len(reply)
            messages += 1
            at = end
        self._asked += messages
        if at:
            self._octets = octets[at:]
            self._touched()
        if messages >= left:  # the client is to come again, perhaps to another server
            self._octets, self._eof, more = b"", True, False
        if replies:
            self._write(b"".join(replies))
        if hits:
            counts = listener.counts
            counts.hits += hits
            counts.hit_seconds += (time.monotonic() - began) * hits / messages
        if messages and began > listener.look_at:
            listener.look(wire, self._peer, reply if reply is None or missed is wire else wire[:2] + reply)
        if more:
            self._turn = self._server.loop.call_soon(self._answer)
        self._read_or_stop(more or self._in_flight >= IN_FLIGHT or bool(self._stuck))
        self.end_if_done()

    def _start(self, wire: bytes) -> bytes | None:
        """The reply where it is there at once; else it is written later."""
        server = self._server
        listener = server.listener
        begun = listener.begin(wire, self._peer, self._local, listener.stream)
        if begun is None or isinstance(begun, bytes):
            return begun
        if isinstance(begun, Messages):
            made: Reply | Stepped[Reply] = begun
        else:
            made = server.in_flight.start(begun, listener.server)
        if isinstance(made, Stepped):
            self._in_flight += 1
            server.connections.waits(self)
            made.add_done_callback(self._answered)
            return None
        if isinstance(made, Messages):
            self._write_all(made)
            return None
        return made

    def _write_all(self, messages: Messages) -> None:
        """Write several messages as they come, no faster than the client takes them."""

        async def write() -> None:
            try:
                async for octets in messages:
                    await self._taken.wait()
                    if self._transport.is_closing():
                        return
                    self._write(len(octets).to_bytes(2, "big") + octets)
                    self._touched()
            except Exception:
                self.abort()  # the client is not to wait for the rest
                raise

        self._in_flight += 1
        self._server.connections.waits(self)
        self._server.loop.create_task(write()).add_done_callback(self._answered)

    def _answered(self, made: "Stepped[Reply] | asyncio.Task[Reply]") -> None:
        self._in_flight -= 1
        reply = outcome(made)
        if self._transport.is_closing():
            return
        if isinstance(reply, Messages):
            self._write_all(reply)
            return
        if not self._in_flight:
            self._server.connections.quiet(self)
        if reply is not None:
            if self._untaken > MOST_UNTAKEN:
                self.abort()
                return
            self._write(len(reply).to_bytes(2, "big") + reply)
            self._touched()
        if self._stopped and self._turn is None:
            self._answer()
        else:
            self.end_if_done()

    def _write(self, octets: bytes) -> None:
        """Write replies; those who leave theirs are closed where too much waits in memory."""
        self._transport.write(octets)
        self._weigh(self._transport.get_write_buffer_size())
        if self._untaken and self._server.untaken > ALL_UNTAKEN:
            self.abort()

    def _weigh(self, untaken: int) -> None:
        self._server.untaken += untaken - self._untaken
        self._untaken = untaken

    def _touched(self) -> None:
        """Something came of it: it is the last to be closed."""
        self._active = self._began = self._server.loop.time()
        if not self._in_flight:
            self._server.connections.quiet(self)

    def _read_or_stop(self, stop: bool) -> None:
        if stop != self._stopped:
            self._stopped = stop
            if stop:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._stuck = self._server.loop.time()
        self._taken.clear()

    def resume_writing(self) -> None:
        self._stuck = 0.0
        self._taken.set()
        self._weigh(0)
        if self._turn is None:
            self._answer()

    def check(self, now: float) -> None:
        """Close the connection where nothing comes of it."""
        server = self._server
        if self._stuck:
            if now - self._stuck > server.bound("write"):
                self.abort()
        elif self._octets and not self._stopped:
            if now - self._began > server.bound("read"):
                self.abort()
        elif not self._in_flight and now - self._active > server.bound("idle"):
            if self._transport.get_write_buffer_size():
                self.abort()
            else:
                self._transport.close()

    def end_if_done(self) -> None:
        """Close once all that was asked is answered, where no more is to come."""
        if (self._eof or self._server.closing) and not self._in_flight and self._turn is None and not self._stopped:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
        self._weigh(0)


def _end(name: tuple[Any, ...]) -> Address:
    return Address(name[0].partition("%")[0].removeprefix("::ffff:"), name[1])
