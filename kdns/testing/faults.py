"""What an API server may do wrong: faults for FakeApiServer.play, and a listener that never ends a TLS handshake."""

import asyncio
from typing import Literal, Self

from aiohttp import web

from kdns.testing.apiserver import Exchange, Fault, WATCH
from kdns.testing.messages import bookmark_event, expired_event, Object, RESOURCES, status, TOO_OLD
from kdns.testing.ports import free_ports


async def gone(exchange: Exchange) -> web.StreamResponse:
    """410 as an HTTP status."""
    return exchange.refusal(410, "Expired", TOO_OLD)


async def gone_event(exchange: Exchange) -> web.StreamResponse:
    """410 as an ERROR event on a stream with status 200, and its end."""
    return await exchange.stream(expired_event())


async def page_expired(exchange: Exchange) -> web.StreamResponse:
    """410 in mid-list, with a token to go on inconsistently, as a real server offers; play it on=["page"]."""
    left = exchange.server.pages[exchange.request.query["continue"]][1]
    body = status(410, "Expired", "The provided continue parameter is too old to display a consistent list result")
    body["metadata"] = {"continue": exchange.server.page(exchange.server.version, left)}
    return web.json_response(body, status=410)


def too_many(retry_after: int) -> Fault:
    """429 with Retry-After (seconds)."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        message = "too many requests, please try again later"
        return exchange.refusal(429, "TooManyRequests", message, Retry_After=str(retry_after))

    return fault


async def broken(exchange: Exchange) -> web.StreamResponse:
    """500 with plain text."""
    return web.Response(status=500, text="etcdserver: request timed out\n")


async def unauthorized(exchange: Exchange) -> web.StreamResponse:
    return exchange.refusal(401, "Unauthorized", "Unauthorized")


async def forbidden(exchange: Exchange) -> web.StreamResponse:
    """403 with the Status of a missing RBAC rule."""
    verb = "watch" if exchange.kind in WATCH else "list"
    group = RESOURCES[exchange.resource][0].rpartition("/")[0]
    message = (
        f'{exchange.resource} is forbidden: User "fake" cannot {verb} resource "{exchange.resource}" '
        f'in API group "{group}" at the cluster scope'
    )
    return exchange.refusal(403, "Forbidden", message)


async def not_found(exchange: Exchange) -> web.StreamResponse:
    """404 as from a server that does not have the resource."""
    return web.Response(status=404, text="404 page not found\n")


def no_initial_events(code: int = 400) -> Fault:
    """Watches with sendInitialEvents are refused, as by older servers (400, or 422); others go on."""

    async def fault(exchange: Exchange) -> web.StreamResponse | None:
        if exchange.kind != "stream":
            return None
        message = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless WatchList is enabled"
        return exchange.refusal(code, "Invalid" if code == 422 else "BadRequest", message)

    return fault


async def ignored_initial_events(exchange: Exchange) -> None:
    """As by servers that do not know the parameter: the objects come, but no bookmark that says these were all."""
    exchange.kind = "watch"


async def eof(exchange: Exchange) -> web.StreamResponse:
    """200 and the end."""
    return await exchange.stream()


async def reset(exchange: Exchange) -> web.StreamResponse:
    """The connection is cut before a word."""
    exchange.cut()
    return web.Response()


def mid_line(*, cut: bool = False) -> Fault:
    """The first half of an event (of a list), then the end: of the chunked body, or of the connection."""

    async def fault(exchange: Exchange) -> web.StreamResponse:
        answer = await exchange.say(b'{"type":"ADDED","object":{"kind":"Service","metadata":{"name":"ha')
        if cut:
            await asyncio.sleep(0.01)  # or the abort overtakes what was written
            exchange.cut()
        return answer

    return fault


async def stall(exchange: Exchange) -> web.StreamResponse:
    """The request is accepted, and nothing said, not even a status."""
    return await exchange.stall()


async def stall_after_headers(exchange: Exchange) -> web.StreamResponse:
    """200, and nothing more."""
    await exchange.say()
    return await exchange.stall()


def says(*lines: Object | bytes, then: Literal["on", "eof", "stall"] = "on") -> Fault:
    """These events (or raw bytes) first; then the usual, the end, or silence."""

    async def fault(exchange: Exchange) -> web.StreamResponse | None:
        await exchange.say(*lines)
        if then == "stall":
            return await exchange.stall()
        return await exchange.stream() if then == "eof" else None

    return fault


def bookmark_only(*, initial_events_end: bool = False, then: Literal["eof", "stall"] = "eof") -> Fault:
    """A bookmark with the version of now and no event at all; then the end, or silence."""

    async def fault(exchange: Exchange) -> web.StreamResponse | None:
        bookmark = bookmark_event(exchange.resource, exchange.server.version, initial_events_end=initial_events_end)
        return await says(bookmark, then=then)(exchange)

    return fault


async def backwards(exchange: Exchange) -> None:
    """The events since the watch's version come newest first."""
    exchange.backwards = True


def big_service(size: int = 5_000_000) -> Object:
    """A Service whose event is a line of more than `size` bytes."""
    metadata = {"name": "big", "namespace": "default", "annotations": {"big": "x" * size}}
    return {"metadata": metadata, "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}}


class HalfHandshake:
    """Accepts TCP connections, answers a TLS ClientHello with the first six bytes of a ServerHello, and says no more."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.transport.abort()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await reader.read(1)
            writer.write(bytes.fromhex("16030300 7a02"))
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
