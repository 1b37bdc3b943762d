"""The words of a format of *log*: some are the same for all queries with one reply, the others are each query's own."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from kdns.core.plugin import Exchange
from kdns.core.served import Served
from kdns.dns.query import Address, Transport
from kdns.dns.response import Response
from kdns.dns.types import NOERROR, NOTIMP, NS, NXDOMAIN, rcode_text, SERVFAIL, SMALLEST, SOA, type_text
from kdns.errors import one_line

FLAGS = {0x8000: "qr", 0x400: "aa", 0x200: "tc", 0x100: "rd", 0x80: "ra", 0x40: "z", 0x20: "ad", 0x10: "cd"}  # RFC 6895 2
_UDP: Final = Transport.UDP  # an Enum looks its members up by a function of Python
LARGEST_STREAM = 65535  # octets of a message that is not over UDP
MOST_CLIENTS = 4096  # whose address is remembered as text


def kind_of(response: Response) -> tuple[str, str]:
    """The class of a response, and its kind within it."""
    if response.rcode == NXDOMAIN:
        return "denial", "NXDOMAIN"
    if response.rcode != NOERROR:
        return "error", "SERVERERROR" if response.rcode in (SERVFAIL, NOTIMP) else "OTHERERROR"
    if not response.answer and any(rrset.type == SOA for rrset in response.authority):
        return "denial", "NODATA"
    if not response.answer and any(rrset.type == NS for rrset in response.authority):
        return "success", "DELEGATION"
    return "success", "NOERROR"


def class_of(it: Exchange) -> str:
    return "IN" if it.query.cls == 1 else "CH"


def flags_of(it: Exchange) -> str:
    return _flags(it.reply[:2])


@lru_cache(64)
def _flags(octets: bytes) -> str:
    flags = int.from_bytes(octets, "big")
    return ",".join(name for bit, name in FLAGS.items() if flags & bit)


def room_of(it: Exchange) -> int:
    """Octets that the client takes over UDP."""
    return SMALLEST if it.query.edns is None else max(it.query.edns.size, SMALLEST)


FIXED = {"opcode": "0"}  # another one is refused before

OF_REPLY: dict[str, Callable[[Exchange], str]] = {
    "type": lambda it: type_text(it.query.type),
    "name": lambda it: it.query.name,
    "class": class_of,
    "rcode": lambda it: rcode_text(it.response.rcode),
    "rflags": flags_of,
    "do": lambda it: "true" if it.query.do else "false",
    "/log/class": lambda it: kind_of(it.response)[0],
    "/log/type": lambda it: kind_of(it.response)[1],
    "/forward/upstream": lambda it: it.response.made.upstream or "-",
    "/ede": lambda it: one_line(it.response.error.text) or "-" if it.response.error is not None else "-",
}

_hosts: dict[bytes, str] = {}


def host_of(client: Address | bytes) -> str:
    """An address as text, without its port."""
    if isinstance(client, Address):
        return client.host
    octets = client[4:8] if len(client) == 16 else client[8:24]
    host = _hosts.get(octets)
    if host is None:
        if len(_hosts) >= MOST_CLIENTS:
            _hosts.clear()
        host = _hosts[octets] = Address.of_sockaddr(client).host
    return host


def port_of(client: Address | bytes) -> int:
    return client.port if isinstance(client, Address) else int.from_bytes(client[2:4], "big")


def id_of(wire: bytes) -> int:
    return int.from_bytes(wire[:2], "big")


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@lru_cache(16)  # hits that came together took the same
def _seconds(seconds: float) -> str:
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def bufsize_of(it: Served, room: int) -> int:
    return room if it.transport is _UDP else LARGEST_STREAM


OF_QUERY = ("remote", "port", "id", "proto", "size", "bufsize", "rsize", "duration")


def of_query(it: Served, room: int) -> tuple[object, ...]:
    """What these words stand for; `room` is what the query takes over UDP, see `room_of`."""
    client, wire = it.client, it.wire
    return (
        bracketed(host_of(client)), port_of(client), id_of(wire), it.transport, len(wire), bufsize_of(it, room), it.size,
        _seconds(it.seconds),
    )  # fmt: skip


SELDOM: dict[str, Callable[[Served], str]] = {"local": lambda it: bracketed(host_of(it.local))}  # words of the query, too
