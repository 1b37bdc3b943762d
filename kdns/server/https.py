"""DNS over HTTPS (RFC 8484): a message by GET or POST of /dns-query, over HTTP/2 or HTTP/1.1, as the client likes.

Without an encryption it is HTTP in the clear, for a proxy that has the certificate; HTTP/2 is known there by how it begins.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from kdns.core.listener import Listener
from kdns.dns.query import Address
from kdns.server import doh
from kdns.server.accept import client, Connections, room
from kdns.server.http import HEAD, HttpConnection, HttpSocket, READ
from kdns.server.in_flight import InFlight

if TYPE_CHECKING:
    from aiohttp import web

CONNECTIONS = 500
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # how HTTP/2 begins (RFC 9113 3.4)
PARTS = 8  # of the process's descriptors, one part in so many is for connections
MOST = HEAD + 65536  # octets of a request: so much is read that a message which is too long is told so


class Https:
    """A listening socket. `listener` may be exchanged at any time."""

    def __init__(self, sock: socket.socket, listener: Listener, in_flight: InFlight) -> None:
        from kdns.server.http2 import Http2, Http2Connection

        self.listener = listener
        self._connections = Connections(room(CONNECTIONS, PARTS))
        self._http2 = Http2(lambda: self.listener, in_flight, self._connections)
        self._socket = HttpSocket(
            sock, self._answer, self._connections, MOST, self._context,
            lambda http1: _First(http1, lambda: Http2Connection(self._http2), self._connections),
        )  # fmt: skip

    def given_up(self) -> dict[str, int]:
        """Connections that made room for others, or found none."""
        return {"connection": self._connections.put_out}

    async def start(self) -> None:
        """Accept connections from now on."""
        self._socket.start()

    async def close(self, timeout: float) -> None:
        """Give the socket up: answer what was asked, close."""
        await asyncio.gather(self._socket.close(timeout), self._http2.close(timeout))
        for connection in self._connections:  # that have said nothing yet
            connection.abort()

    def _context(self) -> "ssl.SSLContext | None":
        return None if self.listener.encryption is None else self.listener.encryption.http_context

    async def _answer(self, request: "web.BaseRequest", connection: HttpConnection) -> "web.Response":
        """The reply over HTTP/1.1."""
        from aiohttp import web

        try:
            wire = await _message(request)
        except doh.Refused as error:
            response = web.Response(status=error.status, body=f"{error}\n", headers=doh.refusal(error))
            if request.can_read_body:  # and nobody will
                response.force_close()
            return response
        connection.waits()
        reply = await self._reply(wire, Address(*connection.peer), Address(*connection.local))
        if reply is None:
            return web.Response(status=400, text="not a query\n")
        return web.Response(body=reply, headers=doh.headers(reply))

    async def _reply(self, wire: bytes, peer: Address, local: Address) -> bytes | None:
        """The reply to a message; None for silence. There are no more of them under way than connections."""
        listener = self.listener
        kept = listener.recall(wire, peer, local, listener.stream)
        if kept is not None:
            return kept
        reply = await listener.reply(wire, peer, local, listener.stream)
        assert reply is None or isinstance(reply, bytes)  # see ONE_MESSAGE
        return reply


class _First(asyncio.Protocol):
    """A connection until it is known what it speaks: what was agreed on (ALPN), else it is seen by how it begins."""

    def __init__(
        self, http1: Callable[[], asyncio.Protocol], http2: Callable[[], asyncio.Protocol], connections: Connections
    ) -> None:
        self._http1, self._http2, self._connections = http1, http2, connections
        self._octets = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.client = client(transport.get_extra_info("peername")[0])
        self._end = asyncio.get_running_loop().call_later(READ, self.abort)
        encrypted = transport.get_extra_info("ssl_object")
        if encrypted is not None:
            self._become(self._http2() if encrypted.selected_alpn_protocol() == "h2" else self._http1())
        elif not self._connections.opened(self):
            self.abort()

    def data_received(self, octets: bytes) -> None:
        self._octets += octets
        if self._octets.startswith(PREFACE):
            self._become(self._http2())
        elif not PREFACE.startswith(self._octets):
            self._become(self._http1())

    def _become(self, protocol: asyncio.Protocol) -> None:
        self._end.cancel()
        self._connections.closed(self)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._octets:
            protocol.data_received(self._octets)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._connections.closed(self)

    def abort(self) -> None:
        self._transport.abort()


async def _message(request: "web.BaseRequest") -> bytes:
    """The message in a request; Refused."""
    wire = doh.in_head(request.method, request.path, request.query_string, request.content_type)
    if wire is not None:
        return wire
    body = b""
    if (request.content_length or 0) <= doh.LONGEST:
        async for part in request.content.iter_any():
            body += part
            if len(body) > doh.LONGEST:
                break
        else:
            return body
    raise doh.too_long()
