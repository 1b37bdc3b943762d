"""An upstream for benchmarks: any name has an address, after a fixed delay. `python -m benchmarks.upstream PORT MS TTL`.

It is quick and knows nothing else; the one that can lie is in tests/.
"""

import asyncio
import socket
import struct
import sys
from typing import Any

AT_ONCE = 64
TRUNCATED = 512


def answer(wire: bytes, ttl: int) -> bytes:
    """The reply to a question: 192.0.2.1 for A, else no records but an SOA of the root; OPT where there was one."""
    end = wire.index(0, 12) + 5
    opt = b"\0\0\x29\x10\0\0\0\0\0\0\0" if wire[10:12] != b"\0\0" else b""
    if wire[end - 4 : end] == b"\0\x01\0\x01":
        counts, record = (1, 1, 0), b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, ttl, 4) + b"\xc0\0\x02\x01"
    else:
        counts, record = (1, 0, 1), b"\0" + struct.pack("!HHIH2x5I", 6, 1, ttl, 22, 1, 2, 3, 4, ttl)
    head = wire[:2] + b"\x81\x80" + struct.pack("!4H", *counts, len(opt) and 1)
    return head + wire[12:end] + record + opt


def serve(loop: asyncio.AbstractEventLoop, sock: socket.socket, delay: float, ttl: int) -> None:
    """Answer what a socket is asked, each question so many seconds after it came."""

    def readable() -> None:
        asked: list[tuple[bytes, Any]] = []
        try:
            while len(asked) < AT_ONCE:
                asked.append(sock.recvfrom(TRUNCATED))
        except OSError:
            pass
        replies = [(answer(wire, ttl), client) for wire, client in asked]
        if delay:
            loop.call_later(delay, send, replies)
        else:
            send(replies)

    def send(replies: list[tuple[bytes, Any]]) -> None:
        for reply, client in replies:
            try:
                sock.sendto(reply, client)
            except OSError:  # whoever asked is gone
                pass

    loop.add_reader(sock.fileno(), readable)


async def main(port: int, milliseconds: float, ttl: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", port))
        sock.setblocking(False)
        serve(asyncio.get_running_loop(), sock, milliseconds / 1000, ttl)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
    except KeyboardInterrupt:
        pass
