"""Questions to one upstream by DNS over HTTPS (RFC 8484), over HTTP/2, or HTTP/1.1 where it speaks that alone.

One connection of HTTP/2 carries many questions at once, each a stream of it; another one is opened only where those that are
open take no more. Frames, header compression and flow control are the affair of package h2, which is imported with this module:
where an upstream is https://, and only there.
"""

import asyncio
import importlib
import re
import ssl
import time
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from kdns.errors import Closed, NoReply, UpstreamError
from kdns.upstream import doh
from kdns.upstream.connections import Connection, Connections
from kdns.upstream.tallies import Reuse

if TYPE_CHECKING:
    from kdns.upstream.http1 import Http1

CONNECTIONS = 4  # to one upstream
QUESTIONS = 250  # under way on one connection, where the upstream does not want fewer
HEADERS = 16384  # octets of the headers of a reply
UNTAKEN = 1 << 20  # octets that the upstream may leave untaken


class NoHttp2(UpstreamError):
    """An upstream speaks HTTP/1.1 alone."""


class _Connection(H2Connection):
    MAX_CLOSED_STREAMS = 1024  # that are remembered, for what comes late


class Asked:
    """A question that waits, until a time of time.monotonic(); and as much of its reply as there is."""

    def __init__(self, question: bytes, expires: float) -> None:
        self.question, self.expires = question, expires
        self.replied: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.stream = 0  # the one that it was sent on
        self.status, self.type = 0, ""
        self.body = bytearray()

    def fail(self, error: UpstreamError) -> None:
        if not self.replied.done():
            self.replied.set_exception(error)

    def finish(self) -> None:
        """The response is whole."""
        try:
            reply = doh.reply(self.status, self.type, bytes(self.body), self.question)
        except UpstreamError as error:
            self.fail(error)
        else:
            if not self.replied.done():
                self.replied.set_result(reply)


class Session(Connection):
    def __init__(self, https: "Https", now: float) -> None:
        self._authority = https.authority
        self._asked: dict[int, Asked] = {}  # by stream
        self._unsent: list[tuple[Asked, doh.Request]] = []
        self._h2 = _Connection(H2Configuration(client_side=True, header_encoding=None))
        wanted = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS}
        self._h2.local_settings = Settings(client=True, initial_values=wanted)
        super().__init__(https, now)

    @property
    def under_way(self) -> int:
        return len(self._asked) + len(self._unsent)

    @property
    def room(self) -> bool:
        """Does it take another question?"""
        return self.usable and self.under_way < min(QUESTIONS, self._h2.remote_settings.max_concurrent_streams)

    def expire(self, now: float) -> None:
        for asked in self._waiting():
            if asked.expires <= now:
                asked.fail(NoReply("no reply in time"))

    def fail(self, error: UpstreamError) -> None:
        for asked in self._waiting():
            asked.fail(error)
        self._asked.clear()
        self._unsent.clear()

    def _waiting(self) -> list[Asked]:
        return [*self._asked.values(), *(asked for asked, _ in self._unsent)]

    async def ask(self, request: doh.Request, question: bytes, expires: float) -> bytes:
        began, asked = time.monotonic(), Asked(question, expires)
        if self._transport is None:
            self._unsent.append((asked, request))
        else:
            self._send(asked, request)
            self._flush()
        try:
            return await asked.replied
        except NoReply:
            self.no_reply(began)
            raise
        finally:
            self._drop(asked)

    def _send(self, asked: Asked, request: doh.Request) -> None:
        headers = [
            (":method", request.method), (":scheme", "https"), (":authority", self._authority), (":path", request.path),
            *request.headers.items(),
        ]  # fmt: skip
        try:
            asked.stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(asked.stream, headers, end_stream=not request.body)
            self._asked[asked.stream] = asked
            if request.body:
                self._h2.send_data(asked.stream, request.body, end_stream=True)
        except ProtocolError:  # no more streams, or no room in its window
            self.usable = False
            asked.fail(Closed("it takes no more questions"))

    def _drop(self, asked: Asked) -> None:
        """Whoever asked does not wait any more: nor is the upstream to go on."""
        if self._asked.pop(asked.stream, None) is not None:
            self._cancel(asked.stream)
        elif self._unsent:
            self._unsent = [one for one in self._unsent if one[0] is not asked]

    def _cancel(self, stream: int) -> None:
        try:
            self._h2.reset_stream(stream, ErrorCodes.CANCEL)
        except ProtocolError:  # it has ended
            return
        self._flush()

    def _flush(self) -> None:
        octets = self._h2.data_to_send()
        if octets and self._transport is not None:
            self._transport.write(octets)
            if self._transport.get_write_buffer_size() > UNTAKEN:
                self.end(UpstreamError("it does not take what is sent"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self.usable:
            transport.abort()
            return
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self.end(NoHttp2("it speaks no HTTP/2"))
            return
        self._h2.initiate_connection()
        unsent, self._unsent = self._unsent, []
        for asked, request in unsent:
            self._send(asked, request)
        self._flush()

    def data_received(self, octets: bytes) -> None:
        self.used = self.heard = time.monotonic()
        try:
            for event in self._h2.receive_data(octets):
                self._take(event)
        except ProtocolError as error:
            self.end(UpstreamError(f"its HTTP/2 is broken ({type(error).__name__})"))
        self._flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.end(Closed("it ended the connection"))
            return
        if isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        stream: int = getattr(event, "stream_id", 0)
        asked = self._asked.get(stream)
        if asked is None:
            return
        if isinstance(event, ResponseReceived):
            headers: dict[bytes, bytes] = dict(event.headers)
            status = headers.get(b":status", b"")
            asked.status = int(status) if re.fullmatch(b"[0-9]{3}", status) else 0
            asked.type = headers.get(b"content-type", b"").decode("latin-1")
        elif isinstance(event, DataReceived):
            asked.body += event.data
            if len(asked.body) > doh.LARGEST:
                asked.fail(doh.too_long())
                self._drop(asked)
        elif isinstance(event, StreamEnded):
            del self._asked[stream]
            asked.finish()
        elif isinstance(event, StreamReset):
            del self._asked[stream]
            asked.fail(UpstreamError("it refused the question (HTTP/2 RST_STREAM)"))


class Https(Connections[Session]):
    """The connections to one upstream: see `Connections`. `method`: POST or GET."""

    def __init__(
        self, address: tuple[str, int], source: str, idle: float, age: float, reuse: Reuse, context: "ssl.SSLContext",
        server_name: str, method: str,
    ) -> None:  # fmt: skip
        super().__init__(address, source, idle, age, 0, reuse, context, server_name)
        self._context, self._method = context, method
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        self.authority = host if address[1] == 443 else f"{host}:{address[1]}"
        self._http1: Http1 | None = None
        self._http1_alone = False  # does it speak nothing else?

    async def ask(self, body: bytes, question: bytes, expires: float) -> bytes:
        """Send a message (all but its id) whose question section is given; the reply, or UpstreamError."""
        request = doh.request(self._method, b"\0\0" + body)
        while not self._http1_alone:
            session = self._session(time.monotonic())
            kept = session.connected
            try:
                return await session.ask(request, question, expires)
            except NoHttp2:
                self._http1_alone = True
            except Closed:
                if not kept:
                    raise
        try:
            return await (await self._over_http1()).ask(request, question, expires)
        except Closed:
            self._http1_alone = False  # another server may be there now
            raise

    async def _over_http1(self) -> "Http1":
        """How it is asked over HTTP/1.1."""
        if self._http1 is None:
            http1 = await asyncio.to_thread(importlib.import_module, "kdns.upstream.http1")  # it takes a fifth of a second
        if self._http1 is None:
            self._http1 = http1.Http1(self.address, self.source, self._idle, self._context, self.server_name, self.authority)
        return self._http1

    def _session(self, now: float) -> Session:
        for session in self._open:
            if session.room and self._young(session, now):
                self._reuse.hits += 1
                break
        else:
            if len(self._open) >= CONNECTIONS:
                raise UpstreamError("it takes no more questions at once")
            self._reuse.misses += 1
            session = Session(self, now)
            self._open.append(session)
        session.used = now
        return session

    async def close(self) -> None:
        if self._http1 is not None:
            await self._http1.close()
        await super().close()
