"""A connection's own steps, where `test_tcp` does not see them; the rest of what it does is seen there."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from kdns.server.stream import Stream


class Noted(asyncio.BufferedProtocol):
    """Notes what it is told; `then` is done with what is read."""

    def __init__(self, then: Callable[[asyncio.Transport, bytes], None]) -> None:
        self.seen: list[str] = []
        self.then = then
        self.room = bytearray(1000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.seen.append("made")

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        self.seen.append(f"read {nbytes}")
        self.then(self.transport, bytes(self.room[:nbytes]))

    def eof_received(self) -> bool:
        self.seen.append("eof")
        return False

    def pause_writing(self) -> None:
        self.seen.append("pause")

    def resume_writing(self) -> None:
        self.seen.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.seen.append(f"lost {type(exc).__name__}")


def of(then: Callable[[asyncio.Transport, bytes], None], client: Callable[[socket.socket], object], read: int = 0) -> list[str]:
    """What the protocol is told where `client` does this with its end, which then reads so many octets and closes."""

    async def body() -> list[str]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        with theirs:
            client(theirs)
            noted = Noted(then)
            Stream(loop, ours, ("192.0.2.1", 5), noted)
            left = read
            while left > 0:
                left -= len(await loop.sock_recv(theirs, left))
            if read:
                theirs.shutdown(socket.SHUT_WR)
            for _ in range(1000):
                await asyncio.sleep(0 if noted.seen[-1].startswith("lost") else 0.01)
        assert ours.fileno() == -1
        return noted.seen

    return asyncio.run(body())


def test_what_was_sent_already_is_answered_at_once() -> None:
    seen = of(lambda transport, octets: transport.write(octets), lambda client: client.send(b"hi"), 2)
    assert ["made", "read 2", "eof", "lost NoneType"] == seen


def test_what_the_socket_does_not_take_waits() -> None:
    seen = of(lambda transport, octets: transport.write(bytes(5_000_000)), lambda client: client.send(b"x"), 5_000_000)
    assert ["made", "read 1", "pause", "resume", "eof", "lost NoneType"] == seen


def test_a_close_waits_for_what_was_written_and_an_abort_does_not() -> None:
    def close(transport: asyncio.Transport, octets: bytes) -> None:
        transport.write(bytes(3_000_000))
        transport.close()
        transport.write(b"too late")

    def abort(transport: asyncio.Transport, octets: bytes) -> None:
        transport.write(bytes(3_000_000))
        transport.abort()
        transport.abort()
        transport.close()

    assert ["made", "read 1", "pause", "lost NoneType"] == of(close, lambda client: client.send(b"x"), 3_000_000)
    assert ["made", "read 1", "pause", "lost NoneType"] == of(abort, lambda client: client.send(b"x"))


def test_a_client_that_is_gone() -> None:
    def leave(client: socket.socket) -> None:
        client.send(b"x")
        client.close()

    seen = of(lambda transport, octets: transport.write(bytes(10)), leave)
    assert ["made", "read 1", "lost BrokenPipeError"] == seen


def test_an_error_of_the_protocol_ends_its_connection_alone() -> None:
    def fail(transport: asyncio.Transport, octets: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        of(fail, lambda client: client.send(b"x"))
