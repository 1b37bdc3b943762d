"""Sockets to listen on: bound, or refused in one line that says what to do; given up.

All have SO_REUSEPORT, as CoreDNS's have, so that a successor can be started before its predecessor ends. But they get it only
after they are bound: without it the kernel says whether somebody has the port already, and with it nobody would ever know that
two servers share one and each gets a part of the queries. So no time passes between the question and the bind.

All of a machine's addresses are one socket of both families; where the machine has no IPv6, one of IPv4.
"""

import errno
import logging
import os
import socket
import sys
from collections.abc import Sequence
from enum import Enum
from ipaddress import ip_address, IPv6Address
from typing import Any

from kdns.errors import ListenError

log = logging.getLogger(__name__)

BUFFER = 4 << 20  # octets that wait in the kernel while we are busy: some 10,000 queries
SHARED = "another kdns has it"  # or whoever else has set SO_REUSEPORT
TRIES = 50  # ports, to find one that is free on all addresses for UDP and TCP
IP_PKTINFO = 8  # of Linux
Control = tuple[int, int, bytes]  # a control message: level, type, octets
BACKLOG = 512  # TCP connections that wait to be accepted


class Sharing(Enum):
    """What to do about a port that another socket has and would share."""

    OURS = "it is ours, of the configuration before"
    TOLD = "share it, and say so"
    REFUSED = "refuse it"


def listen(address: str, port: int, kind: socket.SocketKind, sharing: Sharing = Sharing.TOLD) -> socket.socket:
    """A bound socket that does not block; "" is all addresses, both families. ListenError says why not."""
    if address == "":
        try:
            return _bound(socket.AF_INET6, "::", port, kind, sharing, both=True)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise _refused(address, port, kind, error) from None
        address = "0.0.0.0"
    host = address.partition("%")[0]
    try:
        family = socket.AF_INET6 if isinstance(ip_address(host), IPv6Address) else socket.AF_INET
    except ValueError:
        raise ListenError(f"cannot listen on {address}: not an IP address") from None
    try:
        return _bound(family, address, port, kind, sharing)
    except OSError as error:
        raise _refused(address, port, kind, error) from None


def listen_alike(places: Sequence[tuple[str, socket.SocketKind]]) -> list[socket.socket]:
    """Bound sockets of these addresses and kinds, all on one port, which nobody else has; ListenError says why not."""
    for left in reversed(range(TRIES)):
        bound: list[socket.socket] = []
        try:
            for address, kind in places:
                port = bound[0].getsockname()[1] if bound else 0
                bound.append(listen(address, port, kind, Sharing.REFUSED))
            break
        except ListenError:
            for sock in bound:
                sock.close()
            if not bound or not left:  # the kernel chose a port that is free for the first of them, not for all
                raise
    return bound


def _bound(
    family: int, host: str, port: int, kind: socket.SocketKind, sharing: Sharing, both: bool = False
) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            _widen(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        if not _bind(sock, socket.getaddrinfo(host, port, family, kind, flags=socket.AI_NUMERICHOST)[0][4]):
            if sharing is Sharing.REFUSED:
                raise _Shared(errno.EADDRINUSE, SHARED)
            if sharing is Sharing.TOLD:
                log.warning("%s: %s, and each gets a part of what is asked", _where("" if both else host, port, kind), SHARED)
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, name: tuple[Any, ...]) -> bool:
    """Bind a socket; False where that is beside another one that shares the port."""
    alone = True
    if not hasattr(socket, "SO_REUSEPORT"):
        sock.bind(name)
        return alone
    try:
        sock.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        alone = False
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if not alone:
        sock.bind(name)
    return alone


class _Shared(OSError):
    """The port could be shared, which is not wanted."""


def _widen(sock: socket.socket) -> None:
    """Ask for large buffers: beyond the system's limit where we may, or else up to it."""
    for forced, option in ((33, socket.SO_RCVBUF), (32, socket.SO_SNDBUF)):  # SO_RCVBUFFORCE, SO_SNDBUFFORCE
        try:
            if sock.getsockopt(socket.SOL_SOCKET, option) < BUFFER:
                sock.setsockopt(socket.SOL_SOCKET, forced if os.uname().sysname == "Linux" else option, BUFFER)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)


def ask_for_addresses(sock: socket.socket) -> bool:
    """Have the kernel say of each datagram which address was asked; False where it cannot."""
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        else:
            return False
    except (OSError, AttributeError):
        return False
    return True


def asked_of(controls: list[Control]) -> list[Control]:
    """The control message with which a reply leaves from the address that was asked, by whatever interface."""
    for level, type, octets in controls:
        if level == socket.IPPROTO_IPV6 and type == socket.IPV6_PKTINFO:
            return [(level, type, octets[:16] + bytes(4))]
        if level == socket.IPPROTO_IP and type == IP_PKTINFO:
            return [(level, type, bytes(4) + octets[4:])]
    return []


def turn_away(sock: socket.socket) -> None:
    """Connect a socket to itself, where a connected one can still answer others (Linux)."""
    if sys.platform != "linux":
        return
    name = sock.getsockname()
    for host in {"0.0.0.0": ("127.0.0.1",), "::": ("::1", "::ffff:127.0.0.1")}.get(name[0], (name[0],)):
        try:
            sock.connect((host, *name[1:]))
            return
        except OSError:
            continue


def has_more(sock: socket.socket) -> bool:
    """Whether a datagram is there."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except OSError:
        return False
    return True


def receive_buffer(sock: socket.socket) -> int:
    """Octets that the kernel keeps for a socket; Linux says twice what it was asked for."""
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return size // 2 if os.uname().sysname == "Linux" else size


def shown(address: str, port: int) -> str:
    """An address and port for people: `127.0.0.1:53`, `[::1]:53`, `:53` for all."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _where(address: str, port: int, kind: int) -> str:
    return f"{shown(address, port)} ({'TCP' if kind == socket.SOCK_STREAM else 'UDP'})"


def _refused(address: str, port: int, kind: socket.SocketKind, error: OSError) -> ListenError:
    where = f"cannot listen on {_where(address, port, kind)}"
    if error.errno == errno.EADDRINUSE:
        who = SHARED if isinstance(error, _Shared) else "another program has it"
        return ListenError(f"{where}: {who}; end that one, or choose another port (-dns.port)")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ListenError(
            f"{where}: not permitted; ports below 1024 need root or the capability NET_BIND_SERVICE, "
            "or choose another port (-dns.port)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ListenError(f"{where}: this machine has no such address; name one of its own in bind")
    return ListenError(f"{where}: {error.strerror or error}")
