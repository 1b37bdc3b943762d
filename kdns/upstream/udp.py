"""Questions to one upstream over UDP.

An answer made up by someone else must guess the id and the source port (RFC 5452). So each question leaves by one of
a few connected sockets, chosen by chance, each with a port of the system's choice; a socket serves some hundred
questions or some seconds, and is then replaced. Being connected, it takes packets from the upstream alone, and hears
at once where the upstream's port is closed. `add_reader` costs a third of a transport of asyncio's. The questions of one
turn of the loop leave one after another in the next: upstreams that wake up in between cost more than the sending.
"""

import asyncio
import socket
import time

from kdns.errors import UpstreamError
from kdns.upstream.tallies import Reuse
from kdns.upstream.waiting import fresh_id, Replied, Waiting

PORTS = 4  # sockets that new questions choose from: a power of two
QUESTIONS = 128  # that one socket asks
LIES = 64  # that make a socket suspicious: someone guesses, another port it is
BATCH = 32  # datagrams read at a time, so that a flood leaves room for others

_buffer = bytearray(65535)  # of all sockets: what is read is copied out at once
_view = memoryview(_buffer)


class Port:
    """One connected socket."""

    __slots__ = ("ends", "left", "socket", "waiting")

    def __init__(self, sock: socket.socket, ends: float) -> None:
        self.socket = sock
        self.waiting = Waiting()
        self.left = QUESTIONS
        self.ends = ends

    def worn(self, now: float) -> bool:
        return self.left <= 0 or now >= self.ends or self.waiting.lies >= LIES


class Datagrams:
    """The sockets of one upstream. `life` is how many seconds each serves; `source` the address to ask from, or none."""

    def __init__(self, address: tuple[str, int], source: str, life: float, reuse: Reuse) -> None:
        self._address, self._source, self._life, self._reuse = address, source, life, reuse
        self._choice: list[Port | None] = [None] * PORTS
        self._open: list[Port] = []
        self._unsent: list[tuple[Port, bytes, Replied]] = []

    async def ask(self, body: bytes, question: bytes, expires: float) -> bytes:
        """Send a message (all but its id) whose question section is given; the reply, or UpstreamError."""
        try:
            port = self._port()
        except OSError as error:
            raise UpstreamError(reason(error)) from None
        id, replied = port.waiting.add(question, expires)
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append((port, id.to_bytes(2, "big") + body, replied))
        try:
            return await replied
        finally:
            port.waiting.drop(id, replied)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        for port, octets, replied in unsent:
            try:
                port.socket.send(octets)
            except OSError as error:
                if not replied.done():
                    replied.set_exception(UpstreamError(reason(error)))

    def _port(self) -> Port:
        at = fresh_id() % PORTS
        port = self._choice[at]
        if port is None or port.worn(time.monotonic()):
            port = self._choice[at] = self._opened()
            self._reuse.missed()
        else:
            self._reuse.hit()
        port.left -= 1
        return port

    def _opened(self) -> Port:
        sock = connected(self._address, self._source)
        port = Port(sock, time.monotonic() + self._life)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable, port)
        self._open.append(port)
        return port

    def _readable(self, port: Port) -> None:
        """Take what came, a batch at most."""
        sock, waiting = port.socket, port.waiting
        try:
            for _ in range(BATCH):
                size = sock.recv_into(_buffer)
                waiting.take(bytes(_view[:size]))
                if not waiting:
                    break
        except BlockingIOError:
            return
        except OSError as error:
            waiting.fail(UpstreamError(reason(error)))
        if not waiting and waiting.lies >= LIES:
            self._close(port)

    def sweep(self, now: float) -> bool:
        """End the waiting that is over, close sockets that are worn; is any left open?"""
        for port in list(self._open):
            port.waiting.expire(now)
            if not port.waiting and port.worn(now):
                self._close(port)
        return bool(self._open)

    def close(self) -> None:
        for port in list(self._open):
            self._close(port)

    def _close(self, port: Port) -> None:
        asyncio.get_running_loop().remove_reader(port.socket.fileno())
        port.socket.close()
        port.waiting.fail(UpstreamError("the server is ending"))
        self._open.remove(port)
        self._choice = [None if other is port else other for other in self._choice]


def connected(address: tuple[str, int], source: str) -> socket.socket:
    """A UDP socket that speaks with one address only, from a port of the system's choice; OSError where it cannot be had."""
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if source:
            sock.bind((source, 0))
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def reason(error: OSError) -> str:
    """Why a socket failed, in the system's words."""
    return (error.strerror or str(error) or type(error).__name__).lower()
