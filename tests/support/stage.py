"""What the tests of the server share: plugins made of a function, messages, clients."""

import asyncio
import math
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dns.message

from kdns.config.corefile import parse
from kdns.core.site import Instance, Listener, Site
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Response, RRset

Answer = Callable[[Query], Awaitable[Response]]


def address_of(name: str) -> bytes:
    """The address that tests give a name: its first label's number, in 10.0.0.0/8."""
    digits = "".join(c for c in name.split(".")[0] if c.isdigit())
    return b"\x0a" + int(digits or "1").to_bytes(3, "big")


async def known(query: Query) -> Response:
    """An answer that enters the memo."""
    records = (RRset(query.name, 1, 5, (address_of(query.name),)),)
    return Response(answer=records, stable_for=math.inf, depends=(query.name,))


async def slow(query: Query) -> Response:
    """The same after the milliseconds that the second label says, not for the memo."""
    await asyncio.sleep(int(query.name.split(".")[1]) / 1000)
    return Response(answer=(RRset(query.name, 1, 5, (address_of(query.name),)),))


async def who(query: Query) -> Response:
    """Who asked, and what was asked, as TXT."""
    said = [f"{end.host} {end.port}".encode() for end in (query.client, query.local)]
    return Response(answer=(RRset(query.name, 16, 0, tuple(len(one).to_bytes(1, "big") + one for one in said)),))


async def fails(query: Query) -> Response:
    raise ValueError("on purpose")


ANSWERS: dict[str, Answer] = {"known": known, "slow": slow, "who": who, "fails": fails}


class Fixed:
    """A plugin that answers by a function."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def answer(self, query: Query, next: Any) -> Response:
        return await self._answer(query)


def bind(directive: Any, site: Site) -> None:
    site.addresses += directive.args


def listener(answer: Answer) -> Listener:
    """A listener whose one site answers by a function."""
    made = Listener("dns://test")
    block = parse(". {\n}\n", "Corefile", None, 53)[0]  # type: ignore[arg-type]
    site = Site(block, Instance())
    site.plugins.append(("fixed", Fixed(answer)))
    site.complete()
    made.sites["."] = site
    site.listeners.append(made)
    return made


def question(name: str, type: int = 1, id: int = 7) -> bytes:
    return struct.pack("!6H", id, 0x0100, 1, 0, 0, 0) + names.wire(name) + struct.pack("!HH", type, 1)


def addresses(reply: bytes) -> list[str]:
    """The rdata of the answer, judged by dnspython."""
    return [rdata.to_text() for rrset in dns.message.from_wire(reply).answer for rdata in rrset]


@contextmanager
def client(family: int = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A UDP socket for use beside the loop."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((host, 0))
        yield sock


async def ask(sock: socket.socket, wire: bytes, to: tuple[Any, ...], timeout: float = 20.0) -> tuple[bytes, Any]:
    """Send a datagram and wait for one; the reply and who sent it."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(sock, wire, to)
    return await asyncio.wait_for(loop.sock_recvfrom(sock, 65535), timeout)
