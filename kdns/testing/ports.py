"""Ports for servers of tests: free for UDP and TCP on all addresses, and none that an outgoing connection may be given.

The kernel takes ports for outgoing connections from a range of its own (32768 and up on Linux): one from there may be free when
it is looked at and in use when the server starts, and a client that tries again while nobody listens may be connected to itself.

None comes twice in a process before all others have come: it may be given and not yet bound.
"""

import random
import socket
from itertools import cycle

_PORTS = cycle(random.sample(range(20000, 32000), 12000))


def free_ports(count: int) -> list[int]:
    ports: list[int] = []
    while len(ports) < count:
        port = next(_PORTS)
        if _is_free(port):
            ports.append(port)
    return ports


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
