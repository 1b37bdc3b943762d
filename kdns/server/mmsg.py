"""recvmmsg and sendmmsg of Linux: many datagrams for one system call, their memory laid out once.

Message i of a batch is answered from slot i: both share the client's address and, on a socket that listens on all addresses,
the control message that says which of them was asked. 64-bit Linux only; elsewhere importing raises ImportError.
"""

import errno
import socket
import struct
import sys
from collections.abc import Iterable

if sys.platform != "linux" or struct.calcsize("P") != 8:
    raise ImportError("recvmmsg is used on 64-bit Linux only")

from kdns.server.calls import ffi

MESSAGES = 64  # in a batch: more gain nothing
HEAD = 512  # octets of each datagram that are read from Python at once
LONGEST = 4096  # octets of a datagram; the rest is cut off
OUT = MESSAGES * 4096  # octets of all replies of a batch
DONTWAIT = 0x40
_NAME = 28  # struct sockaddr_in6
_CONTROL = 40  # a cmsghdr and struct in6_pktinfo
_IP_PKTINFO = 8
Control = tuple[int, int, bytes]  # level, type, octets
_SHORTS, _WORDS, _LONGS = 64 // 2, 64 // 4, 64 // 8  # struct mmsghdr has 64 octets

_libc = ffi.dlopen(None)
_new = ffi.new_allocator(should_clear_after_alloc=False)  # what is not touched takes no memory


def trim() -> None:
    """Give memory that is free back to the system, where the C library can (glibc)."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


class Batch:
    """The memory of one socket's batches. `heads` is the first HEAD octets of each datagram, one after another."""

    def __init__(self, sock: socket.socket, all_addresses: bool) -> None:
        self._sock = sock
        self._v6 = sock.family == socket.AF_INET6
        heads, tails = _new("char[]", MESSAGES * HEAD), _new("char[]", MESSAGES * (LONGEST - HEAD))
        out = _new("char[]", OUT)
        names, control = ffi.new("char[]", MESSAGES * _NAME), ffi.new("char[]", MESSAGES * _CONTROL)
        read_iov, send_iov = ffi.new("struct iovec[]", 2 * MESSAGES), ffi.new("struct iovec[]", MESSAGES)
        self._read, self._send = ffi.new("struct mmsghdr[]", MESSAGES), ffi.new("struct mmsghdr[]", MESSAGES)
        self._control_size = (40 if self._v6 else 32) if all_addresses else 0
        self._name_size = 28 if self._v6 else 16
        way = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO) if self._v6 else (socket.IPPROTO_IP, _IP_PKTINFO)
        self._control_head = struct.pack("=Qii", 36 if self._v6 else 28, *way)
        for i in range(MESSAGES):
            read_iov[2 * i].iov_base, read_iov[2 * i].iov_len = heads + i * HEAD, HEAD
            read_iov[2 * i + 1].iov_base, read_iov[2 * i + 1].iov_len = tails + i * (LONGEST - HEAD), LONGEST - HEAD
            for messages, iov, length in ((self._read, read_iov + 2 * i, 2), (self._send, send_iov + i, 1)):
                header = messages[i].msg_hdr
                header.msg_iov, header.msg_iovlen = iov, length
                header.msg_name, header.msg_namelen = names + i * _NAME, self._name_size
                if all_addresses:
                    header.msg_control, header.msg_controllen = control + i * _CONTROL, self._control_size
        self._keep = (heads, tails, out, names, control, read_iov, send_iov)
        self.heads, self._tails = ffi.buffer(heads), ffi.buffer(tails)
        self._names, self._control = ffi.buffer(names), ffi.buffer(control)
        self.out = ffi.buffer(out)
        self.out_start = int(ffi.cast("uintptr_t", out))
        self.out_parts = memoryview(ffi.buffer(send_iov)).cast("B").cast("Q")  # where each reply begins, and its size
        received = memoryview(ffi.buffer(self._read)).cast("B")
        self._lengths = received.cast("I")[14::_WORDS]
        self._control_lengths = received.cast("Q")[5::_LONGS]
        self._control_whole = memoryview(struct.pack("Q", self._control_size) * MESSAGES).cast("Q")
        # Replies leave by the route to the client, not by the interface the query came in at.
        self._interfaces = memoryview(self._control).cast("B").cast("I")[8 if self._v6 else 4 :: _CONTROL // 4]
        self._any_interface = memoryview(bytes(4 * MESSAGES)).cast("I")
        self.failed = 0  # replies that the kernel did not take, to port 0 for example

    def receive(self) -> list[int]:
        """The length of each datagram that was there, at most MESSAGES; those above LONGEST are cut."""
        if self._control_size:
            self._control_lengths[:] = self._control_whole
        count = _libc.recvmmsg(self._sock.fileno(), self._read, MESSAGES, DONTWAIT, ffi.NULL)
        if count <= 0:
            return []
        if self._control_size:
            self._interfaces[:] = self._any_interface
        lengths: list[int] = self._lengths[:count].tolist()
        return lengths

    def datagram(self, i: int, length: int) -> bytes:
        """One datagram, whole."""
        head: bytes = self.heads[i * HEAD : i * HEAD + min(length, HEAD)]
        if length <= HEAD:
            return head
        tail: bytes = self._tails[i * (LONGEST - HEAD) : i * (LONGEST - HEAD) + length - HEAD]
        return head + tail

    def client(self, i: int) -> bytes:
        """Who sent it: struct sockaddr."""
        name: bytes = self._names[i * _NAME : i * _NAME + self._name_size]
        return name

    def clients(self, count: int) -> list[bytes]:
        """The same of the first so many."""
        names: bytes = self._names[0 : count * _NAME]
        return [names[at : at + self._name_size] for at in range(0, count * _NAME, _NAME)]

    def asked(self, i: int) -> Control:
        """On a socket of all addresses, which was asked: a control message as `sendmsg` takes it."""
        at = i * _CONTROL + 16
        if self._v6:
            return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, self._control[at : at + 20]
        return socket.IPPROTO_IP, _IP_PKTINFO, self._control[at : at + 12]

    def reply(self, i: int) -> bytes:
        """The reply that slot i has."""
        start = self.out_parts[2 * i] - self.out_start
        octets: bytes = self.out[start : start + self.out_parts[2 * i + 1]]
        return octets

    def lay(self, replies: Iterable[tuple[bytes, tuple[bytes, list[Control]]]]) -> None:
        """Put replies into the slots from 0 on, each with its client and the address that was asked, if one is needed."""
        at = 0
        for i, (reply, (client, asked)) in enumerate(replies):
            self.out[at : at + len(reply)] = reply
            self.out_parts[2 * i], self.out_parts[2 * i + 1] = self.out_start + at, len(reply)
            at += len(reply)
            self._names[i * _NAME : i * _NAME + len(client)] = client
            for _, _, octets in asked:
                self._control[i * _CONTROL : i * _CONTROL + 16 + len(octets)] = self._control_head + octets

    def send(self, first: int, end: int) -> int:
        """Send the replies of these slots. One that cannot be sent is passed over and does not hold up the rest.

        Returns where the kernel's buffer was full, or `end`.
        """
        fd = self._sock.fileno()  # -1 where it is closed: its number may be another's
        while first < end:
            sent = _libc.sendmmsg(fd, self._send + first, end - first, DONTWAIT)
            if sent > 0:
                first += sent
            elif ffi.errno in (errno.EAGAIN, errno.ENOBUFS):
                return first
            elif ffi.errno != errno.EINTR:
                self.failed += 1
                first += 1
        return first
