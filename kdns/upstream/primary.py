"""A zone's primary and its secondaries: is there a newer version, all of it (RFC 5936), and telling that there is (RFC 1996)."""

import asyncio
import secrets
from collections.abc import Awaitable
from typing import TypeVar

from kdns.dns.response import RRset
from kdns.dns.transfer import Incoming, is_newer, notify, question
from kdns.dns.types import AXFR, NOERROR, rcode_text, SOA
from kdns.dns.zone import Timers
from kdns.errors import Closed, NoReply, UpstreamError
from kdns.upstream.targets import Target
from kdns.upstream.udp import reason

T = TypeVar("T")

CONNECT = 5.0  # seconds that a connection may take to be had
MESSAGE = 10.0  # seconds until the next message of a transfer
WHOLE = 600.0  # seconds that a transfer may take
TRIES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds that a secondary has to say that it was told, try by try


async def newer(primary: Target, origin: str, serial: int | None) -> list[RRset] | None:
    """The records of a zone as its primary has them; None where they are not newer than the serial.

    UpstreamError where the primary does not give them.
    """
    try:
        async with asyncio.timeout(WHOLE):
            reader, writer = await _within(CONNECT, asyncio.open_connection(primary.host, primary.port))
            try:
                connection = _Connection(reader, writer, origin)
                if serial is not None and not is_newer(await connection.serial(), serial):
                    return None
                return await connection.records()
            finally:
                writer.transport.abort()
                await asyncio.sleep(0)  # the socket is closed meanwhile
    except TimeoutError:
        raise NoReply("no reply in time") from None
    except asyncio.IncompleteReadError:
        raise Closed("it ended the connection before the zone was complete") from None
    except OSError as error:
        raise UpstreamError(reason(error)) from None


async def _within(seconds: float, what: Awaitable[T]) -> T:
    async with asyncio.timeout(seconds):
        return await what


class _Connection:
    """Questions about one zone, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: str) -> None:
        self._reader, self._writer, self._origin = reader, writer, origin

    async def serial(self) -> int:
        """The serial of the zone as the primary has it now."""
        id = self._ask(SOA)
        return Timers.of(Incoming(self._origin, SOA).soa(await self._message(id)).rdata[0]).serial

    async def records(self) -> list[RRset]:
        """All of the zone."""
        id = self._ask(AXFR)
        incoming = Incoming(self._origin, AXFR)
        while not await asyncio.to_thread(incoming.feed, await self._message(id)):  # thousands of records in a message
            pass
        return incoming.rrsets

    def _ask(self, type: int) -> int:
        id = secrets.randbits(16)
        wire = question(id, self._origin, type)
        self._writer.write(len(wire).to_bytes(2, "big") + wire)
        return id

    async def _message(self, id: int) -> bytes:
        """The next message; those with another id are passed over."""
        while True:
            length = int.from_bytes(await _within(MESSAGE, self._reader.readexactly(2)), "big")
            wire = await _within(MESSAGE, self._reader.readexactly(length))
            if wire[:2] == id.to_bytes(2, "big"):
                return wire


async def tell(secondary: Target, soa: RRset, source: str = "", tries: tuple[float, ...] = TRIES) -> None:
    """Tell a secondary that the zone of the SOA has changed, from an address of ours; UpstreamError where it does not take it."""
    id = secrets.randbits(16)
    message = notify(id, soa)
    why = "no reply in time"
    for seconds in tries:
        try:
            async with asyncio.timeout(seconds):
                wire = await _exchange(secondary, message, source)
        except TimeoutError:
            continue
        except OSError as error:
            why = reason(error)
            await asyncio.sleep(seconds)
            continue
        if wire[3] & 15 != NOERROR:
            raise UpstreamError(f"it answered {rcode_text(wire[3] & 15)}")
        return
    raise NoReply(why)


async def _exchange(to: Target, message: bytes, source: str) -> bytes:
    """The reply to a message over UDP, the first that has its id."""
    loop = asyncio.get_running_loop()
    replied: asyncio.Future[bytes] = loop.create_future()
    local = (source, 0) if source else None
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Replies(message[:2], replied), local_addr=local, remote_addr=(to.host, to.port)
    )
    try:
        transport.sendto(message)
        return await replied
    finally:
        transport.abort()
        await asyncio.sleep(0)  # the socket is closed meanwhile


class _Replies(asyncio.DatagramProtocol):
    """What comes back for one id."""

    def __init__(self, id: bytes, replied: asyncio.Future[bytes]) -> None:
        self._id, self._replied = id, replied

    def datagram_received(self, wire: bytes, address: object) -> None:
        if len(wire) >= 12 and wire[:2] == self._id and wire[2] & 0x80 and not self._replied.done():
            self._replied.set_result(wire)

    def error_received(self, error: Exception) -> None:
        if not self._replied.done():
            self._replied.set_exception(error)
