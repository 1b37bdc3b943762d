"""TCP: messages with their length before them (RFC 1035 4.2.2), several of a connection in flight at once (RFC 7766 6.2.1).

Replies leave as they are ready, in any order. A connection lets others have their turn after some messages, may have a few
queries in flight, is not read from while it does not take its replies, and is closed when nothing comes of it; when there
are too many, the one that has been quiet longest goes.
"""

import asyncio
import logging
import socket
from collections import OrderedDict

from kdns.core.site import Listener
from kdns.dns.query import Address, Transport
from kdns.server.in_flight import InFlight, outcome
from kdns.server.sockets import BACKLOG

log = logging.getLogger(__name__)

CONNECTIONS = 1000
IN_FLIGHT = 32  # queries of one connection that wait
AT_ONCE = 16  # messages of one connection that are answered before others on the loop have their turn
LONGEST = 16384  # octets of a message; a query has no use for more
IDLE = 10.0  # seconds without a message, all replies sent
READ = 5.0  # seconds that a message may take to arrive
WRITE = 5.0  # seconds that a client may leave its replies untaken
UNTAKEN = 16384  # octets of replies that a client may leave untaken before no more are made for it
MOST_UNTAKEN = 131072  # and before replies that were long in the making end the connection: many may come at one moment
DRAIN = 5.0  # seconds that connections have to end when the socket is given up

_room = memoryview(bytearray(LONGEST))  # what was just read; each connection takes its octets at once


class Tcp:
    """A listening socket and its connections. `listener` may be exchanged at any time."""

    def __init__(self, sock: socket.socket, listener: Listener, in_flight: InFlight) -> None:
        self.listener = listener
        self.in_flight = in_flight
        self.most = CONNECTIONS
        self.idle, self.read, self.write = IDLE, READ, WRITE  # seconds
        self.loop = asyncio.get_running_loop()
        self.connections: OrderedDict[_Connection, None] = OrderedDict()  # the longest quiet first
        self.closing = False
        self._sock = sock
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Accept connections from now on."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_UNTAKEN)  # or the kernel would keep megabytes of each
        self._server = await self.loop.create_server(lambda: _Connection(self), sock=self._sock, backlog=BACKLOG)
        self._sweep()

    def _sweep(self) -> None:
        """Close what is idle, too slow, or stuck."""
        now = self.loop.time()
        for connection in list(self.connections):
            connection.check(now)
        self._sweeper = self.loop.call_later(min(1.0, self.idle / 4, self.read / 4, self.write / 4), self._sweep)

    def opened(self, connection: "_Connection") -> None:
        """Make room for a connection."""
        if len(self.connections) >= self.most:
            quiet, _ = self.connections.popitem(last=False)
            quiet.abort()
        self.connections[connection] = None

    async def close(self, timeout: float = DRAIN) -> None:
        """Give the socket up: take the connections that are queued, answer what was asked, close."""
        end = self.loop.time() + timeout
        if self._server is not None:
            await asyncio.sleep(0.01)  # the loop accepts and reads meanwhile
            self._server.close()
        else:
            self._sock.close()
        self.closing = True
        while self.connections and self.loop.time() < end:
            for connection in list(self.connections):
                connection.end_if_done()
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()


class _Connection(asyncio.BufferedProtocol):
    def __init__(self, server: Tcp) -> None:
        self._server = server
        self._octets = bytearray()  # read and not yet answered
        self._in_flight = 0
        self._stopped = False  # not read from: its turn is over, too much is in flight, or replies are not taken
        self._turn: asyncio.Handle | None = None
        self._eof = False
        self._active = self._began = server.loop.time()  # the last message or reply; the last octet of an unfinished message
        self._stuck = 0.0  # since when replies are not taken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(UNTAKEN)
        self._client = _end(transport.get_extra_info("peername"))
        self._local = _end(transport.get_extra_info("sockname"))
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.pop(self, None)
        self._octets.clear()
        if self._turn is not None:
            self._turn.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _room

    def buffer_updated(self, nbytes: int) -> None:
        if not self._octets:
            self._began = self._server.loop.time()
        self._octets += _room[:nbytes]
        self._answer()

    def eof_received(self) -> bool:
        """The client sends no more: it still has its answers."""
        self._eof = True
        self.end_if_done()
        return True

    def _answer(self) -> None:
        """Answer what was read, some messages at a time."""
        self._turn = None
        if self._transport.is_closing():
            return
        replies: list[bytes] = []
        octets, at, room = self._octets, 0, UNTAKEN
        for _ in range(AT_ONCE):
            size = int.from_bytes(octets[at : at + 2], "big")
            if size > LONGEST:
                self._transport.close()
                return
            if len(octets) < at + 2 + size or len(octets) < at + 2 or self._in_flight >= IN_FLIGHT or self._stuck:
                more = False
                break
            wire = bytes(octets[at + 2 : at + 2 + size])
            at += 2 + size
            reply = self._start(wire)
            if reply is not None:
                replies.append(len(reply).to_bytes(2, "big") + reply)
                room -= len(reply)
                if room <= 0:
                    more = True
                    break
        else:
            more = True
        if at:
            del octets[:at]
            self._touched()
        if replies:
            self._transport.write(b"".join(replies))
        if more:
            self._turn = self._server.loop.call_soon(self._answer)
        self._read_or_stop(more or self._in_flight >= IN_FLIGHT or bool(self._stuck))
        self.end_if_done()

    def _start(self, wire: bytes) -> bytes | None:
        """The reply where it is there at once; else it is written later."""
        server = self._server
        made = server.in_flight.start(server.listener.reply(wire, self._client, self._local, Transport.TCP))
        if not isinstance(made, asyncio.Task):
            return made
        self._in_flight += 1
        made.add_done_callback(self._answered)
        return None

    def _answered(self, task: "asyncio.Task[bytes | None]") -> None:
        self._in_flight -= 1
        reply = outcome(task)
        if self._transport.is_closing():
            return
        if reply is not None:
            if self._transport.get_write_buffer_size() > MOST_UNTAKEN:
                self.abort()
                return
            self._transport.write(len(reply).to_bytes(2, "big") + reply)
            self._touched()
        if self._stopped and self._turn is None:
            self._answer()
        else:
            self.end_if_done()

    def _touched(self) -> None:
        """Something came of it: it is the last to be closed."""
        self._active = self._began = self._server.loop.time()
        if self in self._server.connections:
            self._server.connections.move_to_end(self)

    def _read_or_stop(self, stop: bool) -> None:
        if stop != self._stopped:
            self._stopped = stop
            if stop:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._stuck = self._server.loop.time()

    def resume_writing(self) -> None:
        self._stuck = 0.0
        if self._turn is None:
            self._answer()

    def check(self, now: float) -> None:
        """Close the connection where nothing comes of it."""
        server = self._server
        if self._stuck:
            if now - self._stuck > server.write:
                self.abort()
        elif self._octets and not self._stopped:
            if now - self._began > server.read:
                self.abort()
        elif not self._in_flight and now - self._active > server.idle:
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


def _end(name: tuple[str, int]) -> Address:
    return Address(name[0].partition("%")[0].removeprefix("::ffff:"), name[1])
