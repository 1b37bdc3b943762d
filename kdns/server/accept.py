"""Connections: how they are accepted, how many may be open, and which one goes for a new one.

A new connection is not turned away as long as there is one that nothing is done for: the one quiet longest makes room, one of
the same client where that client has its share already. One that waits for its answer is never put out. So neither those who
open connections and say nothing nor one client with many keep others from being served.

Limits follow the descriptors that the process may have (RLIMIT_NOFILE): most stay for upstreams and files. Where there are
none left all the same, one line a second says so, and the connection quiet longest gives its own.

Where connections are encrypted, those that are still about it are bounded in the same way, and in seconds.
"""

import asyncio
import errno
import logging
import resource
import socket
import ssl
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from typing import Any, ClassVar, Protocol

from kdns.server.in_flight import outcome

log = logging.getLogger(__name__)

AT_ONCE = 64  # connections that are accepted before others on the loop have their turn
HANDSHAKE = 5.0  # seconds until a connection is encrypted
GOODBYE = 5.0  # seconds that the end of encryption may take
PAUSE = 0.1  # seconds until connections are accepted again where there was no descriptor
SHARE = 4  # a client may have one part in so many
_NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Connection(Protocol):
    """What is counted here."""

    client: str  # as `client` below makes it of an address

    def abort(self) -> None: ...


def client(host: str) -> str:
    """Who counts as one client: an IPv4 address, an IPv6 network of 64 bits."""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    return address.packed[:8].hex() if address.ipv4_mapped is None else str(address.ipv4_mapped)


def room(most: int, parts: int) -> int:
    """So many connections, or what that part of the process's descriptors allows, 4 at least."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(4, min(most, soft // parts))


def raise_limit() -> None:
    """Take as many descriptors as the system lets this process have, up to 65536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Connections:
    """Those that are open: at most `most`, of which a client has `share`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.share = max(4, most // SHARE)
        self.put_out = 0  # connections that made room, or found none
        self._quiet: OrderedDict[Connection, None] = OrderedDict()  # the longest quiet first
        self._busy: dict[Connection, None] = {}  # they wait for an answer
        self._of: Counter[str] = Counter()  # how many each client has

    def __len__(self) -> int:
        return len(self._quiet) + len(self._busy)

    def __iter__(self) -> Iterator[Connection]:
        return iter([*self._quiet, *self._busy])

    def opened(self, connection: Connection) -> bool:
        """Take a connection in; False where it has to go: all others that could make room for it wait for their answers."""
        mine = self._of[connection.client]
        if mine >= self.share or len(self) >= self.most:
            of = connection.client if mine >= self.share else None
            if not self._put_out(of):
                self.put_out += 1
                return False
        self._quiet[connection] = None
        self._of[connection.client] += 1
        return True

    def closed(self, connection: Connection) -> None:
        """A connection has ended; it may have been put out before."""
        if connection in self._quiet:
            del self._quiet[connection]
        elif connection in self._busy:
            del self._busy[connection]
        else:
            return
        self._of[connection.client] -= 1
        if not self._of[connection.client]:
            del self._of[connection.client]

    def waits(self, connection: Connection) -> None:
        """It waits for an answer."""
        if connection in self._quiet:
            del self._quiet[connection]
            self._busy[connection] = None

    def quiet(self, connection: Connection) -> None:
        """It has been answered: now it is the last to go."""
        if connection in self._busy:
            del self._busy[connection]
            self._quiet[connection] = None
        elif connection in self._quiet:
            self._quiet.move_to_end(connection)

    def make_room(self) -> None:
        """No descriptor is left: the one quiet longest gives its own."""
        self._put_out(None)

    def _put_out(self, of: str | None) -> bool:
        """Put out the one quiet longest, of one client or of all; False where there is none."""
        for connection in self._quiet:
            if of is None or connection.client == of:
                self.closed(connection)
                connection.abort()
                self.put_out += 1
                return True
        return False


class _Handshake:
    """A connection that is about to be encrypted."""

    def __init__(self, accepted: socket.socket, peer: str) -> None:
        self.accepted, self.client = accepted, client(peer)
        self.task: asyncio.Task[object] | None = None

    def abort(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Acceptor:
    """Takes the connections of a listening socket, which it owns; `context` is asked how to encrypt each new one.

    `begin` is given those that are not encrypted, and their peers, in place of asyncio's way.
    """

    _told: ClassVar[float] = -1.0  # when it was last said that no descriptor is left, by whichever of them

    def __init__(
        self, sock: socket.socket, make: Callable[[], asyncio.BaseProtocol], connections: Connections,
        context: "Callable[[], ssl.SSLContext | None]" = lambda: None,
        begin: Callable[[socket.socket, Any], object] | None = None,
    ) -> None:  # fmt: skip
        self._begin = self._begin_slowly if begin is None else begin
        self._sock = sock
        self._make = make
        self._connections = connections
        self._context = context
        self._handshakes = Connections(max(4, connections.most // SHARE))
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._beginning: set[asyncio.Task[object]] = set()

    def start(self) -> None:
        """Accept connections from now on."""
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, peer = self._sock.accept()
            except OSError as error:  # nothing is there, or it is gone again
                if error.errno in _NONE_LEFT:
                    self._none_left(error)
                return
            accepted.setblocking(False)
            context = self._context()
            if context is not None:
                self._encrypt(_Handshake(accepted, peer[0]), context)
            else:
                self._begin(accepted, peer)

    def _begin_slowly(self, accepted: socket.socket, peer: object) -> None:
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make, accepted))
        self._beginning.add(task)
        task.add_done_callback(self._begun)

    def _encrypt(self, handshake: _Handshake, context: "ssl.SSLContext") -> None:
        if not self._handshakes.opened(handshake):
            handshake.accepted.close()
            return
        coro = self._loop.connect_accepted_socket(
            self._make, handshake.accepted, ssl=context, ssl_handshake_timeout=HANDSHAKE, ssl_shutdown_timeout=GOODBYE
        )
        task = handshake.task = self._loop.create_task(coro)
        self._beginning.add(task)

        def ended(task: "asyncio.Task[object]") -> None:
            self._handshakes.closed(handshake)
            self._beginning.discard(task)
            if task.cancelled():
                handshake.accepted.close()  # a Task that never began has not
            elif isinstance(error := task.exception(), OSError):  # as may be, of whoever calls
                log.debug("a connection from %s could not be encrypted: %s", handshake.client, error)
            else:
                outcome(task)

        task.add_done_callback(ended)

    def _begun(self, task: "asyncio.Task[object]") -> None:
        self._beginning.discard(task)
        outcome(task)

    def _none_left(self, error: OSError) -> None:
        now = time.monotonic()
        if now - Acceptor._told >= 1:
            Acceptor._told = now
            log.error("a connection could not be accepted: %s; see ulimit -n", error.strerror)
        self._connections.make_room()
        self._loop.remove_reader(self._sock.fileno())
        self._again = self._loop.call_later(PAUSE, self.start)

    def close(self) -> None:
        """Accept no more; those that are queued in the kernel are lost."""
        if self._sock.fileno() < 0:
            return
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        for handshake in self._handshakes:
            handshake.abort()
