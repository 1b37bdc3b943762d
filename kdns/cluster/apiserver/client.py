"""Requests to an API server: who to ask, as whom, how often, and what went wrong in words.

`kubernetes.aio` finds the server and its credentials (in-cluster, kubeconfig, exec plugins, rotating token files) and
speaks HTTP; its models, its Watch and its informer stay out (`library`).
"""

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, UTC
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kdns import __version__
from kdns.cluster.apiserver.events import refused, Status
from kdns.cluster.apiserver.kubeconfig import user_of
from kdns.cluster.apiserver.library import (
    aiohttp,
    ApiClient,
    ConfigException,
    Configuration,
    load_incluster_config,
    load_kube_config,
    RESTClientObject,
)
from kdns.cluster.apiserver.tallies import Stats
from kdns.errors import masked, Refused, SourceError

IDLE = 180.0  # seconds without a byte after which a watch is given up: a server sends a bookmark every minute or two
CONNECT = 10.0  # seconds for TCP and TLS
ANSWER = 30.0  # seconds until a request is answered; also for an exec plugin
KEEPALIVE = 15  # seconds
USER_TIMEOUT = 30  # seconds for which what was sent may stay without an acknowledgement (RFC 5482)
RENEW = 60.0  # seconds after which credentials are read again, for the next request


@dataclass(frozen=True)
class Connection:
    """Which API server, as whom, how fast; nothing at all: that of the cluster this runs in."""

    endpoint: str = ""  # URL
    tls: tuple[str, str, str] | None = None  # files for `endpoint`: certificate, key, CA
    kubeconfig: str = ""  # file; it goes before `endpoint`
    context: str = ""  # of the kubeconfig; "": its current one
    qps: float = 0  # requests a second; 0: no limit
    burst: int = 0  # requests at once when none were made for long
    max_inflight: int = 0  # requests that wait for their answer to begin; 0: no limit


class Client:
    """Requests to one API server: credentials, limits, timeouts, and errors as people read them."""

    def __init__(self, connection: Connection, stats: Stats) -> None:
        self._connection, self._stats = connection, stats
        self._api: ApiClient | None = None
        self._made_from: object = None  # what the ApiClient stands on besides its token
        self._renew_at = 0.0
        self._lock = asyncio.Lock()
        self._failed: tuple[float, Refused] | None = None
        self._slots = asyncio.Semaphore(connection.max_inflight or 1_000_000)
        self._turns = Turns(connection.qps, connection.burst) if connection.qps or connection.burst else None

    async def check(self) -> None:
        """SourceError where the configuration itself is at fault: no waiting will help."""
        connection = self._connection
        if connection.kubeconfig:
            user_of(connection.kubeconfig, connection.context)
        elif connection.endpoint:
            if urlsplit(connection.endpoint).scheme not in ("http", "https"):
                raise SourceError(f"endpoint {connection.endpoint}: not a URL that starts with http:// or https://")
        elif not os.environ.get("KUBERNETES_SERVICE_HOST"):
            raise SourceError("this is no Pod (KUBERNETES_SERVICE_HOST is not set): name an endpoint or a kubeconfig")

    def check_files(self) -> None:
        """SourceError where a kubeconfig or a certificate that is named cannot be used."""
        if self._connection.kubeconfig:
            user_of(self._connection.kubeconfig, self._connection.context)
        for path in self._connection.tls or ():
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise SourceError(f"tls: cannot read {path}: {(error.strerror or str(error)).lower()}") from None

    @asynccontextmanager
    async def ask(self, path: str, query: list[tuple[str, str]]) -> AsyncIterator[AsyncIterator[bytes]]:
        """GET; SourceError for whatever goes wrong until the answer's end, Refused where it is not 200."""
        api = await self._ready()
        host = urlsplit(api.configuration.host).netloc
        began = time.monotonic()
        if self._turns is not None:
            await self._turns.wait()
        self._stats.limited.labels("GET", host).observe(time.monotonic() - began)
        reply: aiohttp.ClientResponse | None = None
        try:
            async with self._slots:
                reply = await self._get(api, path, query, host)
            if reply.status != 200:
                raise await self._refusal(reply)
            if encoding := _encoding(reply):
                raise Refused(200, f"{host}: an answer with Content-Encoding {encoding[:100]}, which was not asked for")
            yield reply.content.iter_any()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise SourceError(described(error, host, _idle(query))) from None
        finally:
            if reply is not None:
                reply.close()

    async def _get(self, api: ApiClient, path: str, query: list[tuple[str, str]], host: str) -> aiohttp.ClientResponse:
        """The answer as far as its headers."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        request = await api.param_serialize(
            "GET", path, query_params=query, header_params=headers, auth_settings=["BearerToken"]
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=_idle(query))
        began, code = time.monotonic(), "<error>"
        try:
            async with asyncio.timeout(ANSWER) as waiting:
                reply: aiohttp.ClientResponse = (await api.call_api(*request, _request_timeout=timeout)).response
            code = str(reply.status)
            return reply
        except TimeoutError:
            if waiting.expired():
                raise SourceError(f"{host}: no answer within {ANSWER:g} s") from None
            raise
        except (ValueError, RuntimeError) as error:  # a URL or header that cannot be sent; credentials changed just now
            raise SourceError(described(error, host)) from None
        finally:
            self._stats.requests.labels(code, "GET", host).inc()
            self._stats.durations.labels("GET", host).observe(time.monotonic() - began)

    async def _refusal(self, reply: aiohttp.ClientResponse) -> Refused:
        if reply.status == 401:
            self._renew_at = 0.0
        body = b""
        if not _encoding(reply):
            async with asyncio.timeout(ANSWER):
                body = await reply.content.read(1 << 16)
        try:
            status = msgspec.json.decode(body, type=Status)
        except (msgspec.MsgspecError, ValueError):
            status = Status(message=body.decode(errors="replace"))
        status.reason = status.reason or reply.reason
        wanted = reply.headers.get("Retry-After", "")
        return refused(reply.status, status, float(wanted) if wanted.isdecimal() else 0.0)

    async def close(self) -> None:
        if self._api is not None:
            await self._api.close()  # type: ignore[no-untyped-call]
            self._api = None

    async def _ready(self) -> ApiClient:
        """The client with credentials that are not too old; Refused (code 0) where they cannot be had."""
        async with self._lock:
            now = time.monotonic()
            if self._failed is not None and now < self._failed[0] + 1.0:
                raise self._failed[1]
            if self._api is None or now >= self._renew_at:
                try:
                    await self._renew()
                except (ConfigException, OSError, ssl.SSLError, TimeoutError, ValueError, SourceError) as error:
                    self._failed = (time.monotonic(), Refused(0, f"no credential: {described(error)}"))
                    raise self._failed[1] from None
                self._failed = None
            assert self._api is not None
            return self._api

    async def _renew(self) -> None:
        """Read configuration and credentials; a new client only where more than a token has changed."""
        configuration, expires = await configured(self._connection)
        files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
        made_from = (
            configuration.host, configuration.verify_ssl, configuration.proxy, configuration.tls_server_name,
            [(file, os.stat(file).st_mtime_ns) for file in files if file],
        )  # fmt: skip
        if self._api is None or made_from != self._made_from:
            await self.close()
            self._api = ApiClient(configuration)
            self._api.rest_client = _Rest(configuration)
            self._api.user_agent = f"kdns/{__version__}"
            self._made_from = made_from
        self._api.configuration.api_key = configuration.api_key
        self._renew_at = time.monotonic() + (RENEW if expires is None else expires)


def _encoding(reply: aiohttp.ClientResponse) -> str:
    """The Content-Encoding of an answer, "" where it comes as it is."""
    encoding: str = reply.headers.get("Content-Encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


class _Rest(RESTClientObject):
    """Connections that notice when the other end is dead."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0, ssl=self.ssl_context, socket_factory=_socket)


def _socket(address: Any) -> socket.socket:
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE), ("TCP_KEEPINTVL", KEEPALIVE // 3), ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT * 1000),
    ):  # fmt: skip
        if hasattr(socket, option):  # not all systems have all
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


async def configured(connection: Connection) -> tuple[Configuration, float | None]:
    """What `kubernetes` makes of a Connection, and for how many seconds an exec plugin's credential lasts, if one gave it.

    What goes wrong is a ConfigException, OSError, ValueError or SourceError.
    """
    configuration, expires = Configuration(), None
    if connection.kubeconfig:
        expires = await _from_kubeconfig(connection, configuration)
    elif connection.endpoint:
        configuration.host = connection.endpoint.rstrip("/")
        if connection.tls is not None:
            configuration.cert_file, configuration.key_file, configuration.ssl_ca_cert = connection.tls
    else:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        configuration.refresh_api_key_hook = None  # `Client` reads it again itself
    # Clusters have CAs that RFC 5280's strict profile refuses, and every other client takes.
    configuration.disable_strict_ssl_verification = True
    # What is compressed can be a thousand times as much: nothing is unpacked unseen.
    configuration.client_session_kwargs = {"read_bufsize": 1 << 16, "auto_decompress": False}
    configuration.api_key = {name: value.strip() for name, value in configuration.api_key.items()}
    return configuration, expires


async def _from_kubeconfig(connection: Connection, configuration: Configuration) -> float | None:
    user = user_of(connection.kubeconfig, connection.context)
    overheard = _Overheard()
    said = logging.getLogger("kubernetes.aio.config.kube_config")
    said.addFilter(overheard)
    try:
        async with asyncio.timeout(ANSWER):
            loader = await load_kube_config(  # type: ignore[no-untyped-call]
                connection.kubeconfig, connection.context or None, configuration, persist_config=False
            )
    finally:
        said.removeFilter(overheard)
    if "exec" not in user:
        return None
    if not configuration.api_key and not configuration.cert_file:
        raise SourceError(f"the exec plugin of kubeconfig {connection.kubeconfig} gave none: {overheard.last}")
    until = getattr(loader, "exec_plugin_expiry", None)
    left = (until - datetime.now(UTC) - timedelta(seconds=RENEW)).total_seconds() if until else 86400.0
    return float(max(1.0, left))


class _Overheard(logging.Filter):
    """Keeps what `kubernetes` says of an exec plugin in its own log alone: why there is no credential."""

    last = "it said nothing"

    def filter(self, record: logging.LogRecord) -> bool:
        self.last = masked(" ".join(record.getMessage().split())[:1000])[:300]
        return False


class Turns:
    """So many requests a second, and more at once after a while without (a token bucket)."""

    def __init__(self, qps: float, burst: int) -> None:
        self._qps, self._burst = qps or 5.0, burst or 10  # what is not given is client-go's default
        self._left, self._at = float(self._burst), time.monotonic()

    async def wait(self) -> None:
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._qps) - 1
        self._at = now
        if self._left < 0:
            await asyncio.sleep(-self._left / self._qps)


def _idle(query: list[tuple[str, str]]) -> float:
    """Seconds for which an answer may say nothing before it is given up: a watch may rest, a list may not."""
    return IDLE if ("watch", "1") in query else ANSWER


def described(error: BaseException, host: str = "", idle: float = IDLE) -> str:
    """An error of a connection in a few words, with the host where it names none."""
    where = f"{host}: " if host else ""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"name not found: {error.host}"
        case aiohttp.ClientConnectorCertificateError():
            return f"{where}TLS: {getattr(error.certificate_error, 'verify_message', '') or error.certificate_error}"
        case aiohttp.ClientSSLError():
            return f"{where}TLS: {getattr(error.os_error, 'reason', None) or error.os_error}"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            return f"{where}{os.strerror(number).lower() if number else error.os_error}"
        case aiohttp.SocketTimeoutError() | TimeoutError() if not str(error):
            return f"{where}timed out"
        case aiohttp.ConnectionTimeoutError():
            return f"{where}no connection within {CONNECT:g} s"
        case aiohttp.SocketTimeoutError():
            return f"{where}not a byte for {idle:g} s"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionResetError():
            return f"{where}the connection was cut"
        case OSError() if error.strerror:
            return f"{where}{error.strerror}{f': {error.filename}' if error.filename else ''}"
        case _:
            return f"{where}{' '.join(str(error).split()) or type(error).__name__}"
