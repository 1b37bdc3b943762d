"""Requests of DNS over HTTPS in the clear, by HTTP/2 and HTTP/1.1, in pieces, and the end.

What must hold: nothing is raised, the connection ends, nothing is left behind.
"""

import asyncio
import socket
from random import Random
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection

from kdns.server.https import Https, PREFACE
from kdns.server.in_flight import InFlight
from kdns.server.sockets import listen
from tests.fuzz.judging import Cost
from tests.fuzz.mutation import mutated
from tests.fuzz.streams import said
from tests.support.stage import known, listener, question

TYPE = "application/dns-message"
WIRE = question("www.example.org.")


class Requests:
    dear = 50
    bound, bound_by_octet = Cost(20_000, 4 << 20), Cost(300, 2000)

    def __init__(self, rnd: Random) -> None:
        self._rnd = rnd
        head = f"POST /dns-query HTTP/1.1\r\nhost: x\r\ncontent-type: {TYPE}\r\ncontent-length: {len(WIRE)}\r\n\r\n"
        self._texts = [head.encode() + WIRE, b"GET /dns-query?dns=AAABAAABAAAAAAAAA3d3dwAAAQAB HTTP/1.1\r\nhost: x\r\n\r\n"]
        self._frames = [_frames()]

    async def prepare(self) -> None:
        self._raised: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self._raised.append(context))
        self._in_flight = InFlight()
        sock = listen("127.0.0.1", 0, socket.SOCK_STREAM)
        self._port = sock.getsockname()[1]
        self._served = Https(sock, listener(known), self._in_flight)
        await self._served.start()

    async def end(self) -> None:
        await self._served.close(1)
        await asyncio.sleep(0.05)
        assert (0, 0) == (len(self._served._connections), len(self._in_flight)), "something is left"

    def make(self) -> bytes:
        if self._rnd.random() < 0.2:
            return mutated(self._rnd, self._texts)
        return PREFACE + mutated(self._rnd, self._frames)

    async def judge(self, octets: bytes) -> None:
        await said(self._port, octets)
        assert [] == self._raised, f"raised: {self._raised}"


def _frames() -> bytes:
    """All that a client says, but for how it begins."""
    h2 = H2Connection(H2Configuration())
    h2.initiate_connection()
    said = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/dns-query", "content-type": TYPE}
    for n in range(4):
        stream = h2.get_next_available_stream_id()
        h2.send_headers(stream, list(said.items()), priority_weight=10 if n == 1 else None)
        h2.send_data(stream, WIRE, end_stream=n != 2, pad_length=5 if n == 3 else None)
    h2.reset_stream(5)
    h2.ping(b"12345678")
    h2.increment_flow_control_window(100)
    h2.update_settings({4: 1000})
    h2.close_connection()
    return h2.data_to_send().removeprefix(PREFACE)
