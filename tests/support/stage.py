"""What the tests of the server share: plugins made of a function, messages, clients."""

import asyncio
import math
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dns.message

from kdns.config.corefile import parse
from kdns.config.directive import Directive
from kdns.config.options import argument, words
from kdns.core.block import Block
from kdns.core.generation import Generation, Where
from kdns.core.listener import Listener
from kdns.core.memo import BUDGET
from kdns.core.plugin import Exchange, Plugin
from kdns.core.served import Served
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Response, RRset
from tests.support.configured import Fixed

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


class Bind(Plugin):
    """*bind* as far as these tests need it: any address, looked up nowhere."""

    @dataclass(frozen=True)
    class Addresses:
        wanted: tuple[str, ...] = argument(words(1))

    table = Addresses

    def __init__(self, block: Block, directive: Directive, options: Addresses) -> None:
        block.listen_on(options.wanted)


def answering(answer: Answer) -> type[Plugin]:
    """The class of a plugin that answers by a function."""

    class Answering(Fixed):
        def __init__(self, block: Block, directive: Directive, options: object) -> None:
            super().__init__(answer)

    return Answering


@dataclass(frozen=True)
class Words:
    """The arguments of a directive, any of them."""

    words: tuple[str, ...] = argument(words())


def arranging(arrange: Callable[[Directive, Block], None], answer: Answer = known) -> type[Plugin]:
    """The class of a plugin that arranges something with its server block, and answers by a function."""

    class Arranging(Fixed):
        table = Words

        def __init__(self, block: Block, directive: Directive, options: Words) -> None:
            super().__init__(answer)
            arrange(directive, block)

    return Arranging


class Hearing(Plugin):
    """Hears of each query, those that the memo answers included."""

    def __init__(self) -> None:
        self.heard: list[Served] = []

    def line(self, exchange: Exchange) -> "Hearing":
        return self

    def write(self, served: Served) -> None:
        self.heard.append(served)

    def __len__(self) -> int:
        return 0


def listener(answer: Answer, *others: Plugin) -> Listener:
    """A listener whose one server block answers by a function, and has other plugins before that."""
    generation = Generation()
    block = generation.add(parse(". {\n}\n", "Corefile", None, 53)[0])  # type: ignore[arg-type]
    block.complete([*(("other", other) for other in others), ("fixed", Fixed(answer))])
    made = generation.listen(Where("dns", "", 53), "dns://test", BUDGET)
    made.add(".", block)
    return made


def question(name: str, type: int = 1, id: int = 7) -> bytes:
    return struct.pack("!6H", id, 0x0100, 1, 0, 0, 0) + names.wire(name) + struct.pack("!HH", type, 1)


def framed(*wires: bytes) -> bytes:
    """Messages as they go over TCP, each with its length before it."""
    return b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires)


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
