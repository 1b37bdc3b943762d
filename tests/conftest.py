"""What all tests share."""

import socket

import pytest

pytest.register_assert_rewrite("tests.support.processes")


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that neither UDP nor TCP uses just now."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
