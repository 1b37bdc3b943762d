"""A TCP connection that is not encrypted, as a transport of asyncio in fewer steps.

It begins at once with what the client has sent already, and not after three turns of the loop and a Task: most of what a
client with one question for a connection costs. It is what `tcp` needs of a transport and no more: all that the socket does not
take waits here, and `pause_writing` is called with its first octet.
"""

import asyncio
import socket
from typing import Any


class Stream(asyncio.Transport):
    """`sock` is connected to `peer` and does not block; `protocol` is told of all that happens, from `connection_made` on."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, peer: tuple[Any, ...], protocol: asyncio.BufferedProtocol
    ) -> None:
        super().__init__()
        self._loop = loop
        self._sock = sock
        self._peer = peer
        self._fd = sock.fileno()
        self._protocol = protocol
        self._untaken = bytearray()  # written, and not yet taken by the socket
        self._reading = self._closing = False
        protocol.connection_made(self)
        if not self._closing:
            self.resume_reading()
            self._readable()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        match name:
            case "peername":
                return self._peer
            case "sockname":
                return self._sock.getsockname()
            case "socket":
                return self._sock
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The one limit there is, the first octet."""

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return len(self._untaken)

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if not self._reading and not self._closing:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        if not self._reading:
            return
        try:
            count = self._sock.recv_into(self._protocol.get_buffer(-1))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        try:
            if count:
                self._protocol.buffer_updated(count)
            else:
                self.pause_reading()
                if not self._protocol.eof_received():
                    self.close()
        except Exception:
            self.abort()  # the loop says what it was
            raise

    def write(self, octets: "bytes | bytearray | memoryview[Any]") -> None:
        if self._closing:
            return
        if self._untaken:
            self._untaken += octets
            return
        try:
            sent = self._sock.send(octets)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._end(error)
            return
        if sent < len(octets):
            self._untaken += memoryview(octets)[sent:]
            self._loop.add_writer(self._fd, self._writable)
            self._protocol.pause_writing()

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._untaken)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        del self._untaken[:sent]
        if self._untaken:
            return
        self._loop.remove_writer(self._fd)
        if self._closing:
            self._lost(None)
        else:
            self._protocol.resume_writing()

    def close(self) -> None:
        """Once all that was written is taken."""
        if not self._closing:
            self._closing = True
            self.pause_reading()
            if not self._untaken:
                self._loop.call_soon(self._lost, None)

    def abort(self) -> None:
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        """At once, but for `connection_lost`, which has the next turn: who causes this is still at work."""
        if self._closing and not self._untaken:
            return
        self._closing = True
        self.pause_reading()
        if self._untaken:
            self._untaken.clear()
            self._loop.remove_writer(self._fd)
        self._loop.call_soon(self._lost, error)

    def _lost(self, error: OSError | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()
