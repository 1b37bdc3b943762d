"""HTTP: what plugins tell machines (health, readiness, metrics). GET and HEAD of a few paths, nothing else.

aiohttp is imported when something is served, and only then.
"""

import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TYPE_CHECKING

from kdns.config.directive import host_port
from kdns.errors import ListenError
from kdns.server.sockets import listen

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

Answer = Callable[[], Awaitable[tuple[int, str, bytes]]]  # (status, content type, body)
Paths = Mapping[str, Answer]


class Http:
    """The HTTP listeners of the server, by address (`:8080`, `127.0.0.1:9153`)."""

    def __init__(self) -> None:
        self._paths: dict[str, Paths] = {}
        self._runners: dict[str, Any] = {}

    def bind(self, addresses: Mapping[str, Any]) -> dict[str, socket.socket]:
        """Sockets for the addresses that are not served yet; ListenError where one cannot be had."""
        bound: dict[str, socket.socket] = {}
        try:
            for address in addresses:
                if address not in self._runners:
                    bound[address] = listen(*_parsed(address), socket.SOCK_STREAM)
        except ListenError:
            for sock in bound.values():
                sock.close()
            raise
        return bound

    async def serve(self, wanted: Mapping[str, Paths], bound: Mapping[str, socket.socket]) -> None:
        """Serve just these addresses and paths from now on; those that were served already stay open."""
        self._paths = dict(wanted)
        for address, sock in bound.items():
            self._runners[address] = await self._run(address, sock)
        for address in [address for address in self._runners if address not in wanted]:
            await self._runners.pop(address).cleanup()

    async def _run(self, address: str, sock: socket.socket) -> Any:
        from aiohttp import web

        async def answer(request: "web.BaseRequest") -> "web.Response":
            return await self._answer(address, request)

        runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, sock).start()
        return runner

    async def _answer(self, address: str, request: "web.BaseRequest") -> "web.Response":
        from aiohttp import web

        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="GET only\n", headers={"Allow": "GET, HEAD"})
        found = self._paths.get(address, {}).get(request.path)
        if found is None:
            return web.Response(status=404, text="404: no such page here\n")
        try:
            status, content_type, body = await found()
        except Exception:
            log.exception("http://%s%s could not be answered", address, request.path)
            return web.Response(status=500, text="500: see the log\n")
        return web.Response(status=status, body=body, headers={"Content-Type": content_type})

    async def close(self) -> None:
        """End all listeners."""
        await self.serve({}, {})


def _parsed(address: str) -> tuple[str, int]:
    """HOST:PORT or :PORT; `localhost` is 127.0.0.1."""
    try:
        host, port = host_port(address)
    except ValueError as error:
        raise ListenError(f"cannot listen: {error}") from None
    return "127.0.0.1" if host == "localhost" else host, port
