"""DNS over HTTPS (RFC 8484): a message by GET or POST of /dns-query, over HTTP/1.1.

Without an encryption it is HTTP in the clear, for a proxy that has the certificate. HTTP/2 is for that proxy, too: clients that
speak nothing else (dig, kdig) need one.
"""

import base64
import re
import socket
import ssl
import time
from typing import TYPE_CHECKING

from kdns.core.listener import Listener
from kdns.dns.query import Address
from kdns.dns.reply import least_ttl
from kdns.server.accept import Connections, room
from kdns.server.http import HEAD, HttpConnection, HttpSocket

if TYPE_CHECKING:
    from aiohttp import web

PATH = "/dns-query"
TYPE = "application/dns-message"
CONNECTIONS = 500
PARTS = 8  # of the process's descriptors, one part in so many is for connections
LONGEST = 16384  # octets of a message; a query has no use for more
MOST = HEAD + 65536  # octets of a request: so much is read that a message which is too long is told so


class Https:
    """A listening socket. `listener` may be exchanged at any time."""

    def __init__(self, sock: socket.socket, listener: Listener) -> None:
        self.listener = listener
        self._connections = Connections(room(CONNECTIONS, PARTS))
        self._socket = HttpSocket(sock, self._answer, self._connections, MOST, self._context)

    def given_up(self) -> dict[str, int]:
        """Connections that made room for others, or found none."""
        return {"connection": self._connections.put_out}

    async def start(self) -> None:
        """Accept connections from now on."""
        self._socket.start()

    async def close(self, timeout: float) -> None:
        """Give the socket up: answer what was asked, close."""
        await self._socket.close(timeout)

    def _context(self) -> ssl.SSLContext | None:
        return None if self.listener.encryption is None else self.listener.encryption.context

    async def _answer(self, request: "web.BaseRequest", connection: HttpConnection) -> "web.Response":
        from aiohttp import web

        try:
            wire = await _message(request)
        except _Refused as error:
            response = web.Response(status=error.status, text=f"{error}\n")
            if error.status == 405:
                response.headers["Allow"] = "GET, POST"
            if request.can_read_body:  # and nobody will
                response.force_close()
            return response
        connection.waits()
        reply = await self._reply(wire, Address(*connection.peer), Address(*connection.local))
        if reply is None:
            return web.Response(status=400, text="not a query\n")
        # A reply may be kept for as long as its records (RFC 8484 5.1).
        return web.Response(body=reply, content_type=TYPE, headers={"Cache-Control": f"max-age={least_ttl(reply)}"})

    async def _reply(self, wire: bytes, peer: Address, local: Address) -> bytes | None:
        """The reply to a message; None for silence. There are no more of them under way than connections."""
        listener = self.listener
        began = time.monotonic()
        kept = listener.replay(wire[2:], peer, listener.stream)
        if kept is None:
            reply = await listener.reply(wire, peer, local, listener.stream)
            assert reply is None or isinstance(reply, bytes)  # see ONE_MESSAGE
            return reply
        listener.counts.hits += 1
        listener.counts.hit_seconds += time.monotonic() - began
        return wire[:2] + kept


class _Refused(Exception):
    """A request that no message can be taken out of, and the status that says so."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


async def _message(request: "web.BaseRequest") -> bytes:
    """The message in a request."""
    if request.path != PATH:
        raise _Refused(404, f"DNS is at {PATH}")
    if request.method == "GET":
        text = request.query.get("dns", "").rstrip("=")
        if len(text) % 4 == 1 or not re.fullmatch("[A-Za-z0-9_-]+", text):
            raise _Refused(400, "GET needs ?dns= and a message in base64url (RFC 8484 4.1)")
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if request.method != "POST":
        raise _Refused(405, "GET or POST only")
    if request.content_type != TYPE:
        raise _Refused(415, f"the body must be {TYPE}")
    body = b""
    if (request.content_length or 0) <= LONGEST:
        async for part in request.content.iter_any():
            body += part
            if len(body) > LONGEST:
                break
        else:
            return body
    raise _Refused(413, f"a message has at most {LONGEST} octets here")
