"""An upstream of DNS over HTTPS that does as it is told: HTTP/2 inside TLS on a port of loopback.

A *script* takes each question and returns steps: a `Said`, seconds to wait, `Reset` or `GoAway`.
"""

import asyncio
import base64
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dns.message
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset

from kdns.testing.upstream import answer
from kdns.testing.upstream import Asked as Question


@dataclass
class Asked:
    """A request that came."""

    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def message(self) -> dns.message.Message:
        wire = self.body
        if not wire:
            text = self.headers[":path"].partition("?dns=")[2]
            wire = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return dns.message.from_wire(wire)

    @property
    def name(self) -> str:
        return self.message.question[0].name.to_text()


@dataclass(frozen=True)
class Said:
    """A response."""

    body: bytes
    status: str = "200"
    type: str = "application/dns-message"


class Reset:
    """RST_STREAM."""


class GoAway:
    """GOAWAY, and the end of the connection."""


Step = Said | float | Reset | GoAway
Script = Callable[[Asked], Sequence[Step]]


def honest(asked: Asked) -> bytes:
    """Any name has the address 192.0.2.1."""
    return answer(Question(asked.message, "https", ("", 0)), f"{asked.name} 60 IN A 192.0.2.1")


def address(asked: Asked) -> list[Step]:
    return [Said(honest(asked))]


@dataclass
class HttpsUpstream:
    """To be used as `async with HttpsUpstream(context, script) as upstream`; its `protocols` are offered by ALPN."""

    context: ssl.SSLContext
    script: Script = address
    protocols: Sequence[str] = ("h2",)
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    cancelled: int = 0  # streams that the client has reset

    async def __aenter__(self) -> "HttpsUpstream":
        self._tasks: set[asyncio.Task[None]] = set()
        self.context.set_alpn_protocols(list(self.protocols))
        self.server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        h2.initiate_connection()
        streams: dict[int, Asked] = {}
        try:
            writer.write(h2.data_to_send())
            while octets := await reader.read(65536):
                for event in h2.receive_data(octets):
                    if isinstance(event, RequestReceived):
                        streams[event.stream_id] = Asked(dict(event.headers), b"", number)
                    elif isinstance(event, DataReceived):
                        h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        streams[event.stream_id].body += event.data
                    elif isinstance(event, StreamReset):
                        self.cancelled += 1
                        streams.pop(event.stream_id, None)
                    elif isinstance(event, StreamEnded):
                        play = asyncio.create_task(self._play(streams[event.stream_id], event.stream_id, h2, writer))
                        self._tasks.add(play)
                        play.add_done_callback(self._tasks.discard)
                writer.write(h2.data_to_send())
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    async def _play(self, asked: Asked, stream: int, h2: H2Connection, writer: asyncio.StreamWriter) -> None:
        self.asked.append(asked)
        for step in self.script(asked):
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, Reset):
                h2.reset_stream(stream, 7)
            elif isinstance(step, GoAway):
                h2.close_connection()
            else:
                h2.send_headers(stream, [(":status", step.status), ("content-type", step.type)])
                body = step.body
                while body and stream in h2.streams and not h2.streams[stream].closed:
                    size = min(len(body), 16000, h2.local_flow_control_window(stream))
                    h2.send_data(stream, body[:size])
                    writer.write(h2.data_to_send())
                    body = body[size:]
                    await asyncio.sleep(0 if size else 0.005)  # the client gives the window more room
                if not body:
                    h2.send_data(stream, b"", end_stream=True)
            writer.write(h2.data_to_send())
            if isinstance(step, GoAway):
                writer.close()
