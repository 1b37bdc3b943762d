"""DNS over HTTPS on a connection that speaks HTTP/2 (RFC 9113): a stream for each question, many of them at once.

Frames, header compression and flow control are the affair of package h2, imported with this module. What it leaves open is
bounded here: streams and headers by our settings; bodies by the connection's window, which is opened again only when a request
is whole; replies that wait in memory, for the client or for its window; frames that ask for nothing, such as PING, SETTINGS and
RST_STREAM, by the answers in between; octets that nothing comes of; and the seconds of each state.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from kdns.core.listener import Listener, Reply
from kdns.dns.query import Address
from kdns.server import doh
from kdns.server.accept import client, Connections
from kdns.server.http import HEAD, IDLE, place_of, READ
from kdns.server.in_flight import InFlight, outcome, Stepped

STREAMS = 100  # requests of a connection that are under way at once
NOISE = 200  # frames that ask for nothing, between answers
WORTH = 5  # so many of them an answer makes good
QUIET = 32768  # octets of frames and headers that are not whole
PART = 4096  # octets that are looked at before others on the loop have their turn
UNTAKEN = 131072  # octets of replies that one connection may leave untaken
ALL_UNTAKEN = 8 << 20  # and all together
WRITE = 5.0  # seconds that a client may leave its replies untaken


_AS_IT_IS = H2Configuration(  # what we say is right; what a client says is checked, and not made nicer
    client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False,
    normalize_inbound_headers=False,
)  # fmt: skip


class _H2(H2Connection):
    MAX_CLOSED_STREAMS = 1024  # that are remembered, for what comes late
    DEFAULT_MAX_HEADER_LIST_SIZE = HEAD


class Http2:
    """The connections of a listening address that speak HTTP/2; `listener` is asked for at each question."""

    def __init__(self, listener: Callable[[], Listener], in_flight: InFlight, connections: Connections) -> None:
        self.listener, self.in_flight, self.connections = listener, in_flight, connections
        self.mine: dict[Http2Connection, None] = {}
        self.untaken = 0  # octets of replies that wait in memory

    async def close(self, timeout: float) -> None:
        """Answer what was asked, close."""
        end = monotonic() + timeout
        while monotonic() < end:
            done = [connection.end_if_done() for connection in list(self.mine)]
            if all(done):
                break
            await asyncio.sleep(0.01)
        for connection in list(self.mine):  # for the rest of TLS nobody waits
            connection.abort()


class Http2Connection(asyncio.Protocol):
    """One of them, from when it is known to speak HTTP/2."""

    def __init__(self, http2: Http2) -> None:
        self._http2 = http2
        self._loop = asyncio.get_running_loop()
        self._requests: dict[int, doh.Request] = {}  # that are not whole, by stream
        self._in_flight: dict[int, Stepped[Reply]] = {}
        self._unsent: dict[int, bytes] = {}  # replies, or the rest of them, for which the client gives no room
        self._weight = 0  # octets that wait in memory
        self._unread = b""
        self._turn: asyncio.Handle | None = None
        self._quiet = self._noise = 0
        self._moved = False  # has something come of it since its seconds were last counted anew?
        self._stuck = False  # the client does not take what is written
        self._h2 = _H2(_AS_IT_IS)
        wanted = {SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS, SettingCodes.MAX_HEADER_LIST_SIZE: HEAD}
        self._h2.local_settings = Settings(client=False, initial_values=wanted)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._end = self._loop.call_later(READ, self.abort)
        self._peer = Address(*place_of(transport.get_extra_info("peername")))
        self._local = Address(*place_of(transport.get_extra_info("sockname")))
        self.client = client(self._peer.host)
        self._http2.mine[self] = None
        if not self._http2.connections.opened(self):
            self.abort()
            return
        self._h2.initiate_connection()
        self._flush()

    # ------------------------------------------------------------ what comes

    def data_received(self, octets: bytes) -> None:
        self._unread += octets
        if self._turn is None:
            self._read()

    def _read(self) -> None:
        """Look at a part of what came."""
        self._turn = None
        part, self._unread = self._unread[:PART], self._unread[PART:]
        if self._transport.is_closing():
            return
        self._quiet += len(part)
        try:
            for event in self._h2.receive_data(part):
                self._quiet = 0
                self._take(event)
        except ProtocolError:  # h2 has said why
            self._flush()
            self._transport.close()
            return
        if self._quiet > QUIET or self._noise > NOISE:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._flush()
            self._transport.close()
            return
        self._send()
        if self._unread:
            self._turn = self._loop.call_soon(self._read)
        self._read_or_stop()

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._requests[event.stream_id] = doh.Request(dict(event.headers))
            if not self._in_flight and len(self._requests) == 1:
                self._within(READ)
        elif isinstance(event, DataReceived):
            self._add(event.stream_id, event.data, event.flow_controlled_length or 0)
        elif isinstance(event, StreamEnded):
            request = self._requests.pop(event.stream_id, None)
            if request is not None:
                self._h2.acknowledge_received_data(request.octets, event.stream_id)
                self._answer(event.stream_id, request)
        elif isinstance(event, ConnectionTerminated):
            self._transport.close()
        else:
            self._noise += 1
            if isinstance(event, StreamReset):
                self._forget(event.stream_id)

    def _add(self, stream: int, octets: bytes, window: int) -> None:
        """More of a body."""
        request = self._requests.get(stream)
        if request is None:  # it was refused
            self._h2.acknowledge_received_data(window, stream)
            return
        self._noise += not octets
        request.body += octets
        request.octets += window
        if len(request.body) > doh.LONGEST:
            del self._requests[stream]
            self._h2.acknowledge_received_data(request.octets, stream)
            self._refuse(stream, doh.too_long())
            self._send()
            if stream not in self._unsent:
                self._h2.reset_stream(stream, ErrorCodes.NO_ERROR)  # the rest is not wanted (RFC 9113 8.1)

    def _forget(self, stream: int) -> None:
        """The client does not want its answer any more."""
        request = self._requests.pop(stream, None)
        if request is not None:
            self._h2.acknowledge_received_data(request.octets, stream)
        self._unsent.pop(stream, None)
        task = self._in_flight.pop(stream, None)
        if task is not None:
            task.cancel()
        self._moved = True

    # ------------------------------------------------------------ what goes

    def _answer(self, stream: int, request: doh.Request) -> None:
        """Answer a request that is whole, at once where that can be."""
        try:
            wire = request.message()
        except doh.Refused as error:
            self._refuse(stream, error, request.method)
            return
        listener = self._http2.listener()
        kept = listener.recall(wire, self._peer, self._local, listener.stream)
        if kept is not None:
            self._reply(stream, kept)
            return
        coro = listener.reply(wire, self._peer, self._local, listener.stream)
        made = self._http2.in_flight.start(coro, listener.server)
        if isinstance(made, Stepped):
            self._in_flight[stream] = made
            self._moved = True
            made.add_done_callback(partial(self._answered, stream))
        else:
            self._reply(stream, made)

    def _answered(self, stream: int, made: Stepped[Reply]) -> None:
        """A late reply."""
        if self._in_flight.pop(stream, None) is None or self._transport.is_closing():
            return
        if made.cancelled():
            self._refuse(stream, doh.Refused(503, "too many queries wait"))
        else:
            self._reply(stream, outcome(made))
        self._send()

    def _reply(self, stream: int, reply: Reply) -> None:
        assert reply is None or isinstance(reply, bytes)  # see ONE_MESSAGE
        if reply is None:
            self._refuse(stream, doh.Refused(400, "not a query"))
            return
        self._say(stream, 200, doh.headers(reply), reply)

    def _refuse(self, stream: int, error: doh.Refused, method: str = "") -> None:
        self._say(stream, error.status, doh.refusal(error), b"" if method == "HEAD" else f"{error}\n".encode())

    def _say(self, stream: int, status: int, headers: dict[str, str], body: bytes) -> None:
        said = [(":status", str(status)), *headers.items(), ("content-length", str(len(body)))]
        try:
            self._h2.send_headers(stream, said, end_stream=not body)
        except ProtocolError:  # the stream has ended meanwhile
            return
        if body:
            self._unsent[stream] = body
        self._noise = max(0, self._noise - WORTH)
        self._moved = True

    def _send(self) -> None:
        """Send of the replies what the client has room for; end the connection where too much waits in memory."""
        for stream, body in list(self._unsent.items()):
            try:
                while body and (size := min(len(body), self._room(stream))):
                    self._h2.send_data(stream, body[:size], end_stream=size == len(body))
                    body = body[size:]
                    self._moved = True
            except ProtocolError:  # the stream has ended meanwhile
                body = b""
            if body:
                self._unsent[stream] = body
            else:
                del self._unsent[stream]
        self._flush()
        self._weigh()
        if self._moved:
            self._moved = False
            self._wait()

    def _wait(self) -> None:
        """What is to come next, and within how many seconds."""
        if self._in_flight:
            self._end.cancel()
            self._http2.connections.waits(self)
        else:
            self._within(WRITE if self._unsent or self._stuck else READ if self._requests else IDLE)
            self._http2.connections.quiet(self)

    def _room(self, stream: int) -> int:
        # A client that makes its windows smaller may have had more of a stream than it now allows (RFC 9113 6.9.2).
        return max(0, min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size))

    def _flush(self) -> None:
        octets = self._h2.data_to_send()
        if octets and not self._transport.is_closing():
            self._transport.write(octets)

    def _weigh(self) -> None:
        waits = sum(map(len, self._unsent.values())) + self._transport.get_write_buffer_size()
        self._http2.untaken += waits - self._weight
        self._weight = waits
        if waits > UNTAKEN or (waits and self._http2.untaken > ALL_UNTAKEN):
            self.abort()

    # ------------------------------------------------------------ the connection

    def pause_writing(self) -> None:
        self._stuck = True
        self._wait()
        self._read_or_stop()

    def resume_writing(self) -> None:
        self._stuck = False
        self._weigh()
        self._wait()
        self._read_or_stop()

    def _read_or_stop(self) -> None:
        if self._transport.is_closing():
            return
        if self._stuck or self._turn is not None:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _within(self, seconds: float) -> None:
        """It ends unless something comes of it in so many seconds."""
        self._end.cancel()
        self._end = self._loop.call_later(seconds, self.abort)

    def end_if_done(self) -> bool:
        """Close once all that was asked is answered; has the client all of it?"""
        if not (self._in_flight or self._unsent or self._unread or self._transport.is_closing()):
            self._h2.close_connection()
            self._flush()
            self._transport.close()
        return self._transport.is_closing() and not self._transport.get_write_buffer_size()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        if self._turn is not None:
            self._turn.cancel()
        for task in list(self._in_flight.values()):
            task.cancel()
        self._in_flight.clear()
        self._http2.untaken -= self._weight
        self._weight = 0
        self._http2.mine.pop(self, None)
        self._http2.connections.closed(self)

    def abort(self) -> None:
        self._transport.abort()
