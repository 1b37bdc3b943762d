"""Sockets: who else may have the port."""

import errno
import socket
from contextlib import ExitStack

import pytest

from kdns.errors import ListenError
from kdns.server.sockets import listen, Sharing
from kdns.testing.ports import free_port

KINDS = [socket.SOCK_DGRAM, socket.SOCK_STREAM]


@pytest.mark.parametrize("kind", KINDS, ids=["UDP", "TCP"])
@pytest.mark.parametrize(("first", "second"), [("127.0.0.1", "127.0.0.1"), ("", "127.0.0.1"), ("127.0.0.1", "")])
@pytest.mark.parametrize(
    ("sharing", "said", "refused"),
    [(Sharing.REFUSED, 0, True), (Sharing.TOLD, 1, False), (Sharing.OURS, 0, False)],
    ids=lambda value: value.name if isinstance(value, Sharing) else None,
)
def test_a_port_that_another_holds_and_shares(
    kind: socket.SocketKind, first: str, second: str, sharing: Sharing, said: int, refused: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with ExitStack() as close:
        port = free_port()  # one that the kernel gives to no connection either: that would have it on one address alone
        close.enter_context(listen(first, port, kind, Sharing.REFUSED))
        assert [] == caplog.records
        try:
            close.enter_context(listen(second, port, kind, sharing))
            outcome = False
        except ListenError as error:
            assert f"cannot listen on {second}:{port}" in str(error)
            assert "another kdns has it" in str(error)
            outcome = True
    assert (refused, said) == (outcome, sum(f"{second}:{port}" in record.message for record in caplog.records))


@pytest.mark.parametrize("kind", KINDS, ids=["UDP", "TCP"])
def test_sharers_each_get_their_part(kind: socket.SocketKind) -> None:
    got = [0, 0]
    with ExitStack() as close:
        socks = [close.enter_context(listen("127.0.0.1", 0, kind))]
        port = socks[0].getsockname()[1]
        socks.append(close.enter_context(listen("127.0.0.1", port, kind)))
        for _ in range(64):
            asking = close.enter_context(socket.socket(socket.AF_INET, kind))
            asking.connect(("127.0.0.1", port))
            if kind == socket.SOCK_DGRAM:
                asking.send(b"?")
        for i, sock in enumerate(socks):
            while True:
                try:
                    close.enter_context(sock.accept()[0]) if kind == socket.SOCK_STREAM else sock.recv(9)
                except OSError as error:
                    assert errno.EAGAIN == error.errno
                    break
                got[i] += 1
    assert (64, True, True) == (sum(got), got[0] > 0, got[1] > 0)


def test_a_connection_that_ends_does_not_hold_a_port() -> None:
    """A server that is started again at once: what its connections left behind is nobody's."""
    with listen("127.0.0.1", 0, socket.SOCK_STREAM) as sock, socket.socket() as asking:
        port = sock.getsockname()[1]
        asking.connect(("127.0.0.1", port))
        accepted, _ = sock.accept()
        with accepted:
            sock.close()
            listen("127.0.0.1", port, socket.SOCK_STREAM, Sharing.REFUSED).close()
        listen("127.0.0.1", port, socket.SOCK_STREAM, Sharing.REFUSED).close()  # the accepted one is in TIME_WAIT
