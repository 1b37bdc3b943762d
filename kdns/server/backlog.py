"""Overload: misses that wait for their turn, so that the socket is read on and what is answered at once goes first.

A socket that brings more than can be answered fills its buffer in the kernel, where a query for the cluster's own zone waits
behind thousands that wait for an upstream, or is lost with them. So once much is in that buffer, all of it is read: what the
memo has is answered there and then, and every miss waits here instead. Those *near* are in a zone that is answered from memory,
and go first. Those *far* may need an upstream: they are begun only while there is room among the queries in flight, in a part
of the time that nobody else has.

In both queues clients have their turns, whatever each of them asks: one that floods is behind with its own queries and loses of
its own, the oldest first, unbegun, at next to no cost. Where even looking up is too much, those who ask most are passed over
unread (`Share`). A flood that comes from everywhere is everybody's: there the oldest go.
"""

import asyncio
import socket
import struct
import time
from collections import deque, OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from kdns.server.in_flight import InFlight

DEEP = 192 << 10  # octets in the kernel's buffer, some 250 queries: misses wait here from then on
MOST = 1024  # misses of one client that wait near, and as many far; several clients share them. Clients that wait
SLICE = 0.001  # seconds that misses are begun before the socket is read again
FAR = 0.0003  # of these at least for the far
PAUSE = 0.005  # seconds until it is looked again whether there is room in flight, where nobody asks
_SO_MEMINFO = 55  # of Linux
Miss = TypeVar("Miss")


class Turns(Generic[Miss]):
    """Misses by client: clients have their turns, and of each the oldest miss goes first."""

    def __init__(self) -> None:
        self._of: OrderedDict[bytes, deque[Miss]] = OrderedDict()  # whose turn is next stands first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, client: bytes, miss: Miss) -> int:
        """A miss waits; how many others had to go for it."""
        mine = self._of.get(client)
        gone = 0
        if mine is None:
            if len(self._of) >= MOST:
                gone = len(self._of.popitem(last=False)[1])
            mine = self._of[client] = deque()
        elif len(mine) >= MOST // len(self._of):  # its share
            mine.popleft()
            gone = 1
        mine.append(miss)
        self._count += 1 - gone
        return gone

    def take(self) -> Miss:
        """The miss whose turn it is."""
        client, mine = next(iter(self._of.items()))
        if len(mine) > 1:
            self._of.move_to_end(client)
        else:
            del self._of[client]
        self._count -= 1
        return mine.popleft()


class Backlog(Generic[Miss]):
    """The misses of a socket that wait. `begin` is called for each in its turn."""

    def __init__(self, sock: socket.socket, in_flight: InFlight, begin: Callable[[Miss], None]) -> None:
        self.open = False  # misses are to be added here
        self.dropped = 0
        self._sock, self._in_flight, self._begin = sock, in_flight, begin
        self._near, self._far = Turns[Miss](), Turns[Miss]()
        self._loop = asyncio.get_running_loop()
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._near) + len(self._far)

    def look(self) -> None:
        """Open where there is much in the kernel's buffer."""
        octets, most = queued(self._sock)
        self.open = octets > min(DEEP, most // 2)

    def add(self, miss: Miss, client: bytes, near: bool) -> None:
        """A miss of a client waits for its turn."""
        self.dropped += (self._near if near else self._far).add(client, miss)
        if self._soon is None:
            self._soon = self._loop.call_soon(self._begin_some)

    def _begin_some(self) -> None:
        self._soon = None
        end = time.monotonic() + SLICE
        while self._near and time.monotonic() < end - FAR:
            self._begin(self._near.take())
        while self._far and self._in_flight.has_room() and time.monotonic() < end:
            self._begin(self._far.take())
        if self._near or (self._far and self._in_flight.has_room()):
            self._soon = self._loop.call_soon(self._begin_some)
        elif not self._far:
            self.open = False
        elif self._later is None:
            self._later = self._loop.call_later(PAUSE, self._look_for_room)

    def _look_for_room(self) -> None:
        self._later = None
        if self._soon is None:
            self._begin_some()


class Share:
    """How many datagrams of one client are looked at in one go, where more come than can even be looked up in the memo.

    Halved while the kernel's buffer is about to overflow, doubled while the socket is read to its end: so those clients that
    ask most are passed over, and no more of them than must be.
    """

    def __init__(self, sock: socket.socket, most: int) -> None:
        self._sock = sock
        self.most = self.now = most
        self.passed_over = 0
        self._looked_at = 0
        self._of: dict[bytes, int] = {}

    def skim(self, lengths: list[int], sockaddrs: list[bytes]) -> None:
        """Of a batch, give those a length of 0 that are beyond their client's share."""
        of, most, beyond = self._of, self.now, 0
        for i, sockaddr in enumerate(sockaddrs):
            client = whose(sockaddr)
            of[client] = count = of.get(client, 0) + 1
            if count > most:
                lengths[i] = 0
                beyond += 1
        self.passed_over += beyond
        self._looked_at += len(lengths) - beyond

    def read_all(self) -> None:
        """The socket was read to its end in one go."""
        self._next(min(2 * self.now, self.most))

    def left_some(self) -> None:
        """It was not. Where little of what is read is looked at, looking at less would gain nothing."""
        octets, most = queued(self._sock)
        worth = self.now == self.most or self._looked_at > self.most // 8
        self._next(max(self.now // 2, 1) if worth and octets > most // 2 else self.now)

    def _next(self, now: int) -> None:
        self.now, self._looked_at, self._of = now, 0, {}


def queued(sock: socket.socket) -> tuple[int, int]:
    """Octets in the kernel's buffer of a socket, as it counts them, and how many that may be."""
    try:
        octets, most = struct.unpack("=II", sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 8))
    except OSError:  # Linux before 4.12
        return 0, 1
    return octets, most


def whose(sockaddr: bytes) -> bytes:
    """Who counts as one client: an IPv4 address, an IPv6 network of 64 bits."""
    if len(sockaddr) == 16:
        return sockaddr[4:8]
    return sockaddr[8:16] if any(sockaddr[8:16]) else sockaddr[16:24]  # ::1, and IPv4 on a socket of both


def is_near(wire: bytes, zones: tuple[bytes, ...]) -> bool:
    """Whether the question of a datagram is in one of the zones, in wire form: a guess that costs little."""
    end = wire.find(b"\0", 12) + 1
    return wire[12:end].lower().endswith(zones)
