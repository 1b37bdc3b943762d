"""One upstream: a question in, its Response out.

EDNS is hop by hop (RFC 6891 6.1.1): each question carries an OPT record of ours, with our size and the client's DO,
whether or not the client sent one; so an answer of more than 512 octets is known whole, and cut for each client as it
needs. A server that does not know EDNS is asked without it. RD, AD and CD go through, the client's EDNS options do
not.
"""

import asyncio
import ssl
import struct
import time
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, NamedTuple

import asyncio_dgram

from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.reply import decode
from kdns.dns.response import Response
from kdns.dns.types import AD, CD, DO, FORMERR, IN, NOTIMP, NS, OPT, RD
from kdns.errors import NoReply, UpstreamError
from kdns.upstream.health import Health
from kdns.upstream.tallies import Tallies
from kdns.upstream.targets import Target, Tls
from kdns.upstream.tcp import Streams
from kdns.upstream.udp import connected, Datagrams, reason
from kdns.upstream.waiting import fresh_id

TICK = 0.05  # seconds by which a time limit may be late
CHECK = 1.0  # seconds that a check waits for its reply
WITHOUT_EDNS = 600.0  # seconds for which a server that does not know EDNS is asked without
SMOOTHING = 1 / 8  # the weight of the latest reply in the latency


class Options(NamedTuple):
    """What an upstream is told beside its address. Seconds."""

    expire: float = 10.0
    max_age: float = 0.0
    max_idle: int = 0
    max_fails: int = 2
    source: str = ""
    interval: float = 0.5
    recurse: bool = True
    domain: str = "."
    force_tcp: bool = False
    tls: Tls = Tls()


class Upstream:
    """A server that questions are forwarded to, with its sockets and its health."""

    def __init__(self, target: Target, options: Options, tallies: Tallies, context: ssl.SSLContext | None = None) -> None:
        self.target, self.name = target, str(target)
        self.latency = 0.0  # seconds, smoothed; 0: not known yet
        self.excluded = ""  # why it is not to be asked, or nothing
        self._options, self._tallies = options, tallies
        self._to = (self.name,)
        address = (target.host, target.port)
        self._datagrams = Datagrams(address, options.source, options.expire, tallies.reuse(self.name, "udp"))
        self._streams = Streams(
            address, options.source, options.expire, options.max_age, options.max_idle,
            tallies.reuse(self.name, "tcp-tls" if target.tls else "tcp"),
            context if target.tls else None, target.server_name or options.tls.server_name,
        )  # fmt: skip
        self.health = Health(self.name, self._check, options.interval, options.max_fails)
        self._ticking: asyncio.TimerHandle | None = None
        self._without_edns = 0.0  # until when
        self._closed = False
        tallies.states[self.name] = self._state

    async def ask(self, query: Query, tcp: bool, timeout: float, size: int) -> Response:
        """What the upstream says, within so many seconds; UpstreamError where it says nothing that can be used.

        `tcp` asks over TCP, which DNS over TLS always is; `size` is the octets of UDP payload that we take.
        """
        if self._closed:
            raise UpstreamError("the server is ending")
        began = time.monotonic()
        to = self._tallies.requests.values
        to[self._to] = to.get(self._to, 0.0) + 1
        head = _HEAD(query.flags & (RD | AD | CD), 1, 0, 0)
        try:
            if began < self._without_edns:
                wire = await self._exchange(head + b"\0\0" + query.question, query.question, tcp, began + timeout)
            else:
                body = head + b"\0\1" + query.question + _opt(size, query.do)
                wire = await self._exchange(body, query.question, tcp, began + timeout)
                if _knows_no_edns(wire):
                    wire = await self._exchange(head + b"\0\0" + query.question, query.question, tcp, began + timeout)
                    self._without_edns = 0.0 if _knows_no_edns(wire) else began + WITHOUT_EDNS
            response = decode(wire, query, self.name)
        except UpstreamError as error:
            self._took(timeout)
            if not self._closed:
                self.health.failed()
            if isinstance(error, NoReply):
                raise NoReply(f"no reply within {timeout:.3g} s") from None
            raise
        took = time.monotonic() - began
        self._took(took)
        if self.health.suspect:
            self.health.answered()
        self._tallies.took(self.name, response.rcode, took)
        return response

    @property
    def usable(self) -> bool:
        """Neither down nor taken out."""
        return not (self.excluded or self.health.down)

    def _state(self) -> tuple[float, bool]:
        return self.latency, not self.usable

    def _took(self, seconds: float) -> None:
        self.latency += (seconds - self.latency) * SMOOTHING if self.latency else seconds

    def _exchange(self, body: bytes, question: bytes, tcp: bool, expires: float) -> Coroutine[Any, Any, bytes]:
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_later(TICK, self._tick)
        ways = self._streams if tcp or self.target.tls else self._datagrams
        return ways.ask(body, question, expires)

    def _tick(self) -> None:
        """What is over is ended. The clock stands still while nothing is open."""
        now = time.monotonic()
        datagrams, streams = self._datagrams.sweep(now), self._streams.sweep(now)
        self._ticking = asyncio.get_running_loop().call_later(TICK, self._tick) if datagrams or streams else None

    async def _check(self) -> None:
        """A question that any server answers, with whatever code. UpstreamError where it does not."""
        options = self._options
        question = names.wire(options.domain) + struct.pack("!HH", NS, IN)
        body = _HEAD(RD if options.recurse else 0, 1, 0, 0) + b"\0\0" + question
        try:
            if options.force_tcp or self.target.tls:
                await self._exchange(body, question, True, time.monotonic() + CHECK)
            else:
                await _ping(self.target, options.source, body)
        except UpstreamError as error:
            self._tallies.failed_checks.add("forward", self.name)
            raise error

    async def close(self) -> None:
        """Nothing of it is left open."""
        self._closed = True
        if self._tallies.states.get(self.name) == self._state:
            del self._tallies.states[self.name]
        await self.health.close()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        self._datagrams.close()
        await self._streams.close()


def _knows_no_edns(wire: bytes) -> bool:
    """FORMERR or NOTIMP without an OPT record (RFC 6891 7)."""
    return wire[3] & 15 in (FORMERR, NOTIMP) and wire[10:12] == b"\0\0"


_HEAD = struct.Struct("!4H").pack


@lru_cache(64)
def _opt(size: int, do: bool) -> bytes:
    return b"\0" + struct.pack("!HHIH", OPT, size, DO if do else 0, 0)


async def _ping(target: Target, source: str, body: bytes) -> None:
    """One question over UDP from a port of its own."""
    try:
        stream = await asyncio_dgram.from_socket(connected((target.host, target.port), source))
    except OSError as error:
        raise UpstreamError(reason(error)) from None
    id = fresh_id().to_bytes(2, "big")
    try:
        async with asyncio.timeout(CHECK):
            await stream.send(id + body)  # type: ignore[call-arg]
            reply = b""
            while reply[:2] != id or reply[2] < 0x80:
                reply, _ = await stream.recv()
    except TimeoutError:
        raise NoReply(f"no reply within {CHECK:g} s") from None
    except (OSError, asyncio_dgram.TransportClosed, IndexError) as error:
        raise UpstreamError(reason(error) if isinstance(error, OSError) else "no reply") from None
    finally:
        stream.close()
