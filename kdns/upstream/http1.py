"""Questions to one upstream by DNS over HTTPS where it speaks HTTP/1.1 alone: one at a time on each connection.

aiohttp is imported with this module: when such an upstream is met.
"""

import asyncio
import ssl

import aiohttp
from yarl import URL

from kdns.errors import Closed, NoReply
from kdns.upstream import doh
from kdns.upstream.udp import reason

CONNECTIONS = 64  # to one upstream
HEADERS = 16384  # octets of the headers of a reply


class Http1:
    """The connections to one upstream; `idle` seconds unused close one. `authority` is how requests name the upstream."""

    def __init__(
        self, address: tuple[str, int], source: str, idle: float, context: "ssl.SSLContext", server_name: str, authority: str
    ) -> None:
        connector = aiohttp.TCPConnector(
            ssl=context, limit=CONNECTIONS, keepalive_timeout=idle, local_addr=(source, 0) if source else None
        )
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, max_field_size=HEADERS,
            skip_auto_headers=("user-agent", "accept-encoding"),
        )  # fmt: skip
        self._address, self._server_name, self._authority = address, server_name, authority

    async def ask(self, request: doh.Request, question: bytes, expires: float) -> bytes:
        """The reply; UpstreamError, which is Closed where no connection could be had or kept."""
        host = f"[{self._address[0]}]" if ":" in self._address[0] else self._address[0]
        url = URL(f"https://{host}:{self._address[1]}{request.path}", encoded=True)
        try:
            async with asyncio.timeout_at(expires):
                try:
                    return await self._asked(url, request, question)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):  # it was ended meanwhile
                    return await self._asked(url, request, question)
        except TimeoutError:
            raise NoReply("no reply in time") from None
        except aiohttp.ClientSSLError:
            raise Closed("TLS could not be agreed on again") from None
        except aiohttp.ClientOSError as error:
            raise Closed(reason(error)) from None
        except aiohttp.ClientError as error:
            raise Closed(f"its HTTP/1.1 is broken ({type(error).__name__})") from None

    async def _asked(self, url: URL, request: doh.Request, question: bytes) -> bytes:
        async with self._session.request(
            request.method, url, headers={**request.headers, "host": self._authority}, data=request.body or None,
            allow_redirects=False, server_hostname=self._server_name,
        ) as response:  # fmt: skip
            body = b""
            async for part in response.content.iter_chunked(doh.LARGEST):
                body += part
                if len(body) > doh.LARGEST:
                    response.close()
                    raise doh.too_long()
            return doh.reply(response.status, response.headers.get("content-type", ""), body, question)

    async def close(self) -> None:
        await self._session.close()
