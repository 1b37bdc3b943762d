"""Ports for servers of tests: free for UDP and TCP on all addresses, and none that an outgoing connection may be given.

The kernel takes ports for outgoing connections from a range of its own (32768 and up on Linux): one from there may be free when
it is looked at and in use when the server starts, and a client that tries again while nobody listens may be connected to itself.
"""

import random
import socket


def free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        port = random.SystemRandom().randrange(20000, 32000)
        if _is_free(port):
            ports.add(port)
    return list(ports)


def free_port() -> int:
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            for sock in (tcp, udp):
                sock.bind(("", port))
        except OSError:
            return False
    return True
