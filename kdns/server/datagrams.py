"""UDP, one datagram at a time: what a socket needs that answers, now or later, and what serves where there are no batches.

A socket that listens on all addresses of the machine answers from the one that was asked (IP_PKTINFO, IPV6_PKTINFO). Late
replies leave together, those of one turn of the loop in the next.
"""

import asyncio
import socket
import struct
import time
from collections import deque
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from kdns.core.listener import Listener, Messages, Reply
from kdns.dns.query import Address, Transport
from kdns.server.in_flight import InFlight, outcome, Stepped
from kdns.server.sockets import ask_for_addresses, asked_of, Control, has_more, turn_away

AT_ONCE = 64  # datagrams that are read before others on the loop have their turn
LONGEST = 4096  # octets of a datagram
UNSENT = 4096  # replies that wait to be sent; beyond them replies are lost, as on any network
UNSENT_OCTETS = 8 << 20  # and so many octets of them
DRAIN = 5.0  # seconds that a socket that is given up has to answer what it took

Route = tuple[Any, list[Control]]  # whereto a reply goes (struct sockaddr, or as Python has it), and wherefrom
BY_UDP: Final = Transport.UDP  # an Enum looks its members up by a function of Python


class Udp:
    """A socket that is served one datagram at a time. `listener` may be exchanged at any time."""

    def __init__(self, sock: socket.socket, listener: Listener, in_flight: InFlight) -> None:
        self.listener = listener
        self._lost = 0
        self._sock = sock
        self._in_flight = in_flight
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._unsent: deque[tuple[bytes, Route]] = deque()
        self._unsent_octets = 0
        name = sock.getsockname()
        self._local = Address(name[0], name[1])
        port: bytes = name[1].to_bytes(2, "big")
        self._v4_head = struct.pack("=H", socket.AF_INET) + port
        self._v6_head = struct.pack("=H", socket.AF_INET6) + port + bytes(4)
        self._all = ip_address(name[0].partition("%")[0]).is_unspecified and ask_for_addresses(sock)

    def given_up(self) -> dict[str, int]:
        """Replies that could not be sent, and queries whose turn did not come, each by the want of what."""
        return {"send_buffer": self._lost}

    def _is_busy(self) -> bool:
        """Whether a reply is still to come."""
        return bool(self._waiting or self._unsent)

    async def start(self) -> None:
        """Serve from now on."""
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(AT_ONCE):
            try:
                wire, controls, _, address = self._sock.recvmsg(LONGEST, 64 if self._all else 0)
            except OSError:  # nothing is there, or ICMP said that an earlier reply did not arrive
                return
            asked = asked_of(controls)
            if not address[1]:
                continue
            client = Address(address[0].partition("%")[0].removeprefix("::ffff:"), address[1])
            local = self._asked_sockaddr(asked[0]) if asked else self._local
            began = time.monotonic()
            reply = self.listener.recall(wire, client, local, BY_UDP)
            if reply is None:
                reply = self._started(wire, client, local, (address, asked))
            if began > self.listener.look_at:
                self.listener.look(wire, client, reply)
            if reply is not None:
                self._send(reply, (address, asked))

    def _started(self, wire: bytes, client: Address | bytes, local: Address | bytes, route: Route) -> bytes | None:
        """The reply to a miss where it is there at once; else it is sent later."""
        begun = self.listener.begin(wire, client, local, BY_UDP)
        if begun is None or isinstance(begun, bytes):
            return begun
        assert not isinstance(begun, Messages)  # over UDP there is one
        made = self._in_flight.start(begun, self.listener.server)
        if not isinstance(made, Stepped):
            return made if isinstance(made, bytes) else None
        self._waiting += 1
        made.add_done_callback(partial(self._answered, route))
        return None

    def _asked_sockaddr(self, control: Control) -> bytes:
        """The address in a control message and our port, as struct sockaddr."""
        level, _, octets = control
        if level == socket.IPPROTO_IPV6:
            return self._v6_head + octets[:16] + bytes(4)
        return self._v4_head + octets[4:8] + bytes(8)

    def _answered(self, route: Route, made: Stepped[Reply]) -> None:
        self._waiting -= 1
        reply = outcome(made)
        if isinstance(reply, bytes):
            self._send(reply, route)

    def _send(self, reply: bytes, route: Route) -> None:
        """Send one reply in its turn, on the next turn of the loop at the earliest."""
        if len(self._unsent) >= UNSENT or self._unsent_octets + len(reply) > UNSENT_OCTETS:
            self._lost += 1
            return
        self._unsent_octets += len(reply)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append((reply, route))

    def _flush(self) -> None:
        self._send_unsent()
        if self._unsent:  # there is no room just now
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def _writable(self) -> None:
        self._send_unsent()
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())

    def _send_unsent(self) -> None:
        """Send what waits, as far as there is room."""
        while self._unsent:
            reply, (address, controls) = self._unsent[0]
            try:
                self._sock.sendmsg([reply], controls, 0, address)
            except BlockingIOError:
                return
            except OSError:  # port 0, a filter, no route: of this reply alone
                self._lost += 1
            self._unsent.popleft()
            self._unsent_octets -= len(reply)

    async def close(self, timeout: float = DRAIN) -> None:
        """Give the socket up without losing a query.

        Connected to itself, it is given nothing more by the kernel, which has another socket of the same address (or tells
        the client); what is queued, and what waits, is still answered for at most `timeout` seconds.
        """
        end = self._loop.time() + timeout
        turn_away(self._sock)
        quiet = 0
        while (quiet < 2 or self._is_busy()) and self._loop.time() < end:
            await asyncio.sleep(0.01)  # the loop reads on meanwhile
            quiet = 0 if has_more(self._sock) else quiet + 1
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
