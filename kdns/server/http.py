"""HTTP: what plugins tell machines (health, readiness, metrics) and people (*page*). GET and HEAD of a few paths, nothing else.

Addresses are compared as addresses: `localhost:8080` and `127.0.0.1:8080` are one listener, and beside `:8080` neither has a
socket of its own. The pages of an address are shown to who asked that address, whichever socket it came in by.

A probe must be answered whatever others do, so each connection is bounded: in octets and seconds until its request is whole, in
seconds between requests, and in number (see `accept`). aiohttp is imported when something is served, and only then.

`HttpSocket` is a listening socket and its connections, whatever is said on them; `https` answers DNS on one.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any, TYPE_CHECKING

from kdns.config.values import host_port
from kdns.core.behind import Page, Request
from kdns.errors import ListenError
from kdns.server.accept import Acceptor, client, Connections, room
from kdns.server.sockets import listen, Sharing, shown

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

Paths = Mapping[str, Page]
Place = tuple[str, int]  # "" is all addresses of the machine

CONNECTIONS = 64  # of one listener
PARTS = 16  # of the process's descriptors, one part in so many is for the connections of a listener
HEAD = 16384  # octets of a request
READ = 5.0  # seconds that a request may take to arrive
IDLE = 15.0  # seconds from one request to the next, in which the reply is taken
HEADERS = {  # of each page: what a browser may do with it, which is to show it, with what is from here alone
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Http:
    """The HTTP listeners of the server."""

    def __init__(self) -> None:
        self._pages: dict[Place, dict[str, Page]] = {}
        self._served: dict[str, HttpSocket] = {}  # by address as people write it

    def bind(self, addresses: Iterable[str], sharing: Sharing = Sharing.TOLD) -> dict[str, socket.socket]:
        """Sockets for the addresses that are not served yet; ListenError where one cannot be had."""
        bound: dict[str, socket.socket] = {}
        ours = {_place(address)[1] for address in self._served}
        try:
            for host, port in _widest({_place(address) for address in addresses}):
                address = shown(host, port)
                if address not in self._served:
                    before = Sharing.OURS if port in ours else sharing
                    bound[address] = listen(host, port, socket.SOCK_STREAM, before)
        except ListenError:
            for sock in bound.values():
                sock.close()
            raise
        return bound

    async def serve(self, wanted: Mapping[str, Paths], bound: Mapping[str, socket.socket]) -> None:
        """Serve just these addresses and paths from now on; those that were served already stay open."""
        self._pages = {}
        for address, paths in wanted.items():
            self._pages.setdefault(_place(address), {}).update(paths)
        for address, sock in bound.items():
            self._served[address] = HttpSocket(sock, self._answer, Connections(room(CONNECTIONS, PARTS)))
            self._served[address].start()
        places = {shown(*place) for place in _widest(set(self._pages))}
        for address in [address for address in self._served if address not in places]:
            await self._served.pop(address).close()

    def _page(self, host: str, port: int, path: str) -> Page | None:
        """The page at an address of this machine: of all places that it is part of, the narrowest that has one."""
        found = [place for place, paths in self._pages.items() if path in paths and _covers(place, (host, port))]
        return self._pages[min(found, key=lambda place: _WIDTHS.get(place[0], 0))][path] if found else None

    async def _answer(self, request: "web.BaseRequest", connection: "HttpConnection") -> "web.Response":
        from aiohttp import web

        connection.waits()
        local = connection.local

        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="GET only\n", headers={"Allow": "GET, HEAD"})
        page = self._page(*local, request.path)
        if page is None:
            return web.Response(status=404, text="404: no such page here\n")
        try:
            status, content_type, body = await page(Request(request.headers, request.query))
        except Exception:
            log.exception("http://%s%s could not be answered", shown(*local), request.path)
            return web.Response(status=500, text="500: see the log\n")
        return web.Response(status=status, body=body, headers={"Content-Type": content_type, **HEADERS})

    async def close(self) -> None:
        """End all listeners."""
        await self.serve({}, {})


class HttpSocket:
    """One listening socket and its connections. `answer` says `waits()` of the connection once it has the whole request.

    `most`: octets of a request; `context`: how a new connection is encrypted; `first`: makes what has a new connection first,
    of what makes an HttpConnection.
    """

    def __init__(
        self, sock: socket.socket, answer: "Callable[[web.BaseRequest, HttpConnection], Awaitable[web.Response]]",
        connections: Connections, most: int = HEAD, context: "Callable[[], ssl.SSLContext | None]" = lambda: None,
        first: "Callable[[Callable[[], HttpConnection]], asyncio.Protocol]" = lambda make: make(),
    ) -> None:  # fmt: skip
        from aiohttp import web

        self.connections = connections
        self.most = most
        self._answer = answer
        self._of: dict[Any, HttpConnection] = {}  # by what speaks HTTP on it
        told = logging.getLogger(f"{__name__}.requests")
        told.addFilter(_is_no_fault_of_a_client)  # which is there once, however often it is added
        self._http = web.Server(self._asked, access_log=None, keepalive_timeout=IDLE, logger=told)
        self._acceptor = Acceptor(sock, lambda: first(lambda: HttpConnection(self._http(), self)), connections, context)

    def start(self) -> None:
        """Accept connections from now on."""
        self._acceptor.start()

    async def _asked(self, request: "web.BaseRequest") -> "web.Response":
        from aiohttp import web

        connection = self._of.get(request.protocol)
        if connection is None:  # it has ended meanwhile
            return web.Response(status=503)
        try:
            return await self._answer(request, connection)
        finally:
            connection.answered()

    def began(self, connection: "HttpConnection") -> bool:
        """A connection is there; False where it has to go."""
        self._of[connection.speaks] = connection
        return self.connections.opened(connection)

    def ended(self, connection: "HttpConnection") -> None:
        self.connections.closed(connection)
        self._of.pop(connection.speaks, None)

    async def close(self, timeout: float = 1.0) -> None:
        """Accept no more; what was asked has so many seconds to be answered."""
        self._acceptor.close()
        await self._http.shutdown(timeout)
        for connection in list(self._of.values()):
            connection.abort()


class HttpConnection(asyncio.Protocol):
    """What stands between a connection and aiohttp: it counts octets and seconds."""

    def __init__(self, speaks: Any, listener: HttpSocket) -> None:
        self.speaks = speaks
        self._listener = listener
        self._octets = 0  # since the last request
        self._waits = False
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._end = self._loop.call_later(READ, self.abort)
        self.peer = place_of(transport.get_extra_info("peername"))
        self.local = place_of(transport.get_extra_info("sockname"))
        self.client = client(self.peer[0])
        self.speaks.connection_made(transport)
        if not self._listener.began(self):
            self.abort()

    def data_received(self, octets: bytes) -> None:
        if not self._octets and not self._waits:
            self._within(READ)
        self._octets += len(octets)
        if self._octets > self._listener.most:
            self.abort()
            return
        self.speaks.data_received(octets)

    def waits(self) -> None:
        """Its request is whole."""
        self._end.cancel()
        self._waits = True
        self._listener.connections.waits(self)

    def answered(self) -> None:
        """Its reply is on its way."""
        self._octets, self._waits = 0, False
        self._within(IDLE)
        self._listener.connections.quiet(self)

    def _within(self, seconds: float) -> None:
        """It ends unless something comes of it in so many seconds."""
        self._end.cancel()
        self._end = self._loop.call_later(seconds, self.abort)

    def eof_received(self) -> bool | None:
        return self.speaks.eof_received()  # type: ignore[no-any-return]

    def pause_writing(self) -> None:
        self.speaks.pause_writing()

    def resume_writing(self) -> None:
        self.speaks.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._listener.ended(self)
        self.speaks.connection_lost(exc)

    def abort(self) -> None:
        self._transport.abort()


def _is_no_fault_of_a_client(record: logging.LogRecord) -> bool:
    """Anybody may send what is no HTTP: nothing to be told of."""
    from aiohttp.http_exceptions import HttpProcessingError

    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_WIDTHS = {"": 2, "0.0.0.0": 1, "::": 1}


def _covers(place: Place, other: Place) -> bool:
    """Whether who asks the other asks this one too."""
    host, port = place
    if port != other[1] or host == other[0]:
        return place == other
    return host == "" or (host == "0.0.0.0" and "." in other[0]) or (host == "::" and ":" in other[0])


def _widest(places: set[Place]) -> list[Place]:
    """Those that no other one covers: each needs a socket."""
    return [place for place in sorted(places) if not any(other != place and _covers(other, place) for other in places)]


def place_of(name: tuple[str, int]) -> Place:
    """One end of a connection, without what the system adds to an address."""
    return name[0].partition("%")[0].removeprefix("::ffff:"), name[1]


def _place(address: str) -> Place:
    """HOST:PORT or :PORT; `localhost` is 127.0.0.1."""
    try:
        host, port = host_port(address)
    except ValueError as error:
        raise ListenError(f"cannot listen: {error}") from None
    if host in ("", "localhost"):
        return "127.0.0.1" if host else "", port
    try:
        return str(ip_address(host)), port
    except ValueError:
        raise ListenError(f"cannot listen on {host}: not an IP address") from None
