"""Connections that are accepted: who is one client, and what happens where there is no descriptor."""

import asyncio
import errno
import logging
import socket
from typing import Any

import pytest

from kdns.server import accept
from kdns.server.accept import Acceptor, client, Connections, room


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8::1", "2001:db8::ffff:0:0:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_who_is_one_client(one: str, other: str, same: bool) -> None:
    assert same == (client(one) == client(other))


@pytest.mark.parametrize(
    ("limit", "most", "parts", "expected"),
    [(1 << 20, 1000, 4, 1000), (128, 1000, 4, 32), (128, 64, 16, 8), (16, 64, 16, 4), (-1, 1000, 4, 1000)],
)
def test_room_follows_descriptors(limit: int, most: int, parts: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept.resource, "getrlimit", lambda _: (limit, limit))
    assert expected == room(most, parts)


class Named:
    def __init__(self, client: str, ended: list[Any]) -> None:
        self.client, self._ended = client, ended

    def abort(self) -> None:
        self._ended.append(self)


def test_what_has_ended_leaves_nothing() -> None:
    ended: list[Any] = []
    connections = Connections(100)
    connections.share = 3
    all_of_them = [Named(f"c{i % 3}", ended) for i in range(30)]
    for one in all_of_them:
        assert connections.opened(one)
        connections.waits(one)
        connections.quiet(one)
    assert (9, 21, all_of_them[:21]) == (len(connections), connections.put_out, ended)
    for one in all_of_them:
        connections.closed(one)
    assert (0, {}) == (len(connections), dict(connections._of))


def test_no_descriptor_is_one_line_and_the_quietest_goes(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "PAUSE", 0.01)
    monkeypatch.setattr(Acceptor, "_told", -9.0)
    tries = 0

    class Sock(socket.socket):
        def accept(self) -> Any:
            nonlocal tries
            tries += 1
            if tries <= 10:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    async def check() -> Any:
        ended: list[Any] = []
        connections = Connections(4)
        connections.opened(Named("c", ended))
        accepted = asyncio.Event()

        class Taken(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.abort()
                accepted.set()

        sock = Sock(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        acceptor = Acceptor(sock, Taken, connections)
        acceptor.start()
        _, writer = await asyncio.open_connection(*sock.getsockname())
        await asyncio.wait_for(accepted.wait(), 5)
        writer.close()
        acceptor.close()
        await asyncio.sleep(0.02)
        return len(ended)

    with caplog.at_level(logging.ERROR):
        assert 1 == asyncio.run(check())
    assert ["a connection could not be accepted: Too many open files; see ulimit -n"] == caplog.messages
