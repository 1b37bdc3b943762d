"""Overload: misses that wait for their turn, so that the socket is read on and what is answered at once goes first.

A socket that brings more than can be answered fills its buffer in the kernel, where a query for the cluster's own zone waits
behind thousands that wait for an upstream, or is lost with them. So once that buffer is deep, all of it is read: what the memo
has is answered there and then, and every miss waits here instead, in one of two queues. Those *near* are in a zone that is
answered from memory, and go first. Those *far* may need an upstream: they are begun only while there is room among the queries
in flight. Both queues are bounded; beyond that the oldest goes, unbegun, at next to no cost.
"""

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from kdns.server.in_flight import InFlight

DEEP = 512 << 10  # octets in the kernel's buffer, some 700 queries: misses wait here from then on
MOST = 1024  # in each queue
SLICE = 0.002  # seconds that misses are begun before others on the loop have their turn
PAUSE = 0.005  # seconds until it is looked again whether there is room in flight
_SO_MEMINFO = 55  # of Linux
Miss = TypeVar("Miss")


class Backlog(Generic[Miss]):
    """The misses of a socket that wait. `begin` is called for each in its turn."""

    def __init__(self, sock: socket.socket, in_flight: InFlight, begin: Callable[[Miss], None]) -> None:
        self.open = False  # misses are to be added here
        self.dropped = 0
        self._sock, self._in_flight, self._begin = sock, in_flight, begin
        self._near: deque[Miss] = deque()
        self._far: deque[Miss] = deque()
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._near) + len(self._far)

    def look(self) -> None:
        """Open where the kernel's buffer has become deep."""
        try:
            (octets,) = struct.unpack_from("=I", self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4))
        except OSError:  # Linux before 4.12
            return
        self.open = octets > DEEP

    def add(self, miss: Miss, near: bool) -> None:
        """A miss waits for its turn."""
        queue = self._near if near else self._far
        if len(queue) >= MOST:
            queue.popleft()
            self.dropped += 1
        queue.append(miss)
        if self._turn is None:
            self._turn = self._loop.call_soon(self._begin_some)

    def _begin_some(self) -> None:
        end = time.monotonic() + SLICE
        while self._near and time.monotonic() < end:
            self._begin(self._near.popleft())
        while self._far and self._in_flight.has_room() and time.monotonic() < end:
            self._begin(self._far.popleft())
        self._turn = None
        if self._near or (self._far and self._in_flight.has_room()):
            self._turn = self._loop.call_soon(self._begin_some)
        elif self._far:
            self._turn = self._loop.call_later(PAUSE, self._begin_some)
        else:
            self.open = False


def is_near(wire: bytes, zones: tuple[bytes, ...]) -> bool:
    """Whether the question of a datagram is in one of the zones, in wire form: a guess that costs little."""
    end = wire.find(b"\0", 12) + 1
    return wire[12:end].lower().endswith(zones)
