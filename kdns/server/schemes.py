"""How a listening address may be spoken to: schemes of a server block's keys, each with its sockets and what serves them.

A new one is an entry of SCHEMES. tls:// and https:// are encrypted by what plugin *tls* says (see `Block.encrypt`).
"""

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from kdns.core.listener import Listener
from kdns.server import udp
from kdns.server.https import Https
from kdns.server.in_flight import InFlight
from kdns.server.tcp import Tcp


class Serving(Protocol):
    """Something that serves a socket. `listener` may be exchanged at any time; `given_up` is counted by the want of what."""

    listener: Listener

    def given_up(self) -> dict[str, int]: ...
    async def start(self) -> None: ...
    async def close(self, timeout: float) -> None: ...


class Scheme(NamedTuple):
    """The kinds of its sockets, in their order, and what serves them."""

    kinds: Sequence[socket.SocketKind]
    serve: Callable[[Sequence[socket.socket], Listener, InFlight], list[Serving]]


def _dns(sockets: Sequence[socket.socket], listener: Listener, in_flight: InFlight) -> list[Serving]:
    datagrams, streams = sockets
    return [udp.serve(datagrams, listener, in_flight), Tcp(streams, listener, in_flight)]


def _tls(sockets: Sequence[socket.socket], listener: Listener, in_flight: InFlight) -> list[Serving]:
    return [Tcp(sockets[0], listener, in_flight)]


def _https(sockets: Sequence[socket.socket], listener: Listener, in_flight: InFlight) -> list[Serving]:
    return [Https(sockets[0], listener, in_flight)]


SCHEMES = {
    "dns": Scheme((socket.SOCK_DGRAM, socket.SOCK_STREAM), _dns),
    "tls": Scheme((socket.SOCK_STREAM,), _tls),
    "https": Scheme((socket.SOCK_STREAM,), _https),
}
