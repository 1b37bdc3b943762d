"""Connections to one upstream that are kept, whatever is spoken on them: opened, used again, ended.

A connection that the upstream had closed meanwhile costs one more attempt and no failure; one from which nothing at all came
while a question waited in vain is asked no more.
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from kdns.errors import Closed, UpstreamError
from kdns.upstream.tallies import Reuse
from kdns.upstream.udp import reason

CONNECT = 5.0  # seconds that a connection may take to be had


class Connection(asyncio.Protocol, ABC):
    """One connection, from before it is made. Questions asked before are sent once it is."""

    def __init__(self, all: "Connections[Connection]", now: float) -> None:
        self.born = self.used = self.heard = now
        self.usable = True
        self._all = all
        self._transport: asyncio.Transport | None = None
        self._opening = asyncio.get_running_loop().create_task(self._open())

    @property
    def connected(self) -> bool:
        return self._transport is not None

    @property
    @abstractmethod
    def under_way(self) -> int:
        """How many questions wait."""

    @abstractmethod
    def expire(self, now: float) -> None:
        """NoReply for those who waited long enough."""

    @abstractmethod
    def fail(self, error: UpstreamError) -> None:
        """All who wait are told why."""

    async def _open(self) -> None:
        all = self._all
        error = await _opened(lambda: self, all.address, all.source, all.tls, all.server_name)
        if error is not None:
            self.end(error)

    def no_reply(self, began: float) -> None:
        """A question that was asked then waited in vain: it may be dead, as where a firewall has forgotten it."""
        if self.connected and self.heard < began:
            self.usable = False

    def connection_lost(self, error: Exception | None) -> None:
        self.end(Closed("it closed the connection"))

    def end(self, error: UpstreamError) -> None:
        """No more: who waits is told why."""
        self.usable = False
        self._all.gone(self)
        self.fail(error)
        if self._transport is not None:
            self._transport.abort()

    async def ended(self) -> None:
        """Wait until nothing of it is left."""
        self.end(UpstreamError("the server is ending"))
        self._opening.cancel()
        await asyncio.gather(self._opening, return_exceptions=True)


C = TypeVar("C", bound=Connection, covariant=True)


class Connections(Generic[C]):
    """All to one upstream. `idle` seconds unused close one, `age` seconds (0: none) end its use, so many idle ones are kept
    (0: all). Its certificate has `server_name`, or else the address.
    """

    def __init__(
        self, address: tuple[str, int], source: str, idle: float, age: float, keep: int, reuse: Reuse,
        tls: "ssl.SSLContext | None" = None, server_name: str = "",
    ) -> None:  # fmt: skip
        self.address, self.source, self.tls, self.server_name = address, source, tls, server_name or address[0]
        self._idle, self._age, self._keep, self._reuse = idle, age, keep, reuse
        self._open: list[C] = []

    def _young(self, connection: Connection, now: float) -> bool:
        return not (self._age and now - connection.born >= self._age)

    def gone(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)

    def sweep(self, now: float) -> bool:
        """End the waiting that is over, close connections that are idle, old or dead; is any left open?"""
        idle = []
        for connection in list(self._open):
            connection.expire(now)
            if connection.under_way or not connection.connected:
                continue
            if connection.usable and now - connection.used < self._idle and self._young(connection, now):
                idle.append(connection)
            else:
                connection.end(Closed("it was idle"))
        if self._keep:
            for connection in idle[: -self._keep]:
                connection.end(Closed("enough others are idle"))
        return bool(self._open)

    async def close(self) -> None:
        await asyncio.gather(*(connection.ended() for connection in list(self._open)))
        await asyncio.sleep(0)  # transports close their sockets one turn of the loop after abort


async def _opened(
    protocol: Callable[[], asyncio.Protocol], address: tuple[str, int], source: str, tls: "ssl.SSLContext | None", server_name: str
) -> UpstreamError | None:
    """Open a connection; why it could not be had, or None."""
    try:
        async with asyncio.timeout(CONNECT):
            await asyncio.get_running_loop().create_connection(
                protocol, *address, ssl=tls, server_hostname=server_name if tls else None,
                local_addr=(source, 0) if source else None,
            )  # fmt: skip
    except ssl.SSLCertVerificationError as error:
        return UpstreamError(f"its certificate: {error.verify_message or error.reason}")
    except ssl.SSLError as error:
        return UpstreamError(f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}")
    except TimeoutError:
        return UpstreamError("no connection in time")
    except OSError as error:
        return UpstreamError(reason(error))
    return None
