"""Load: questions sent to a server over UDP as fast as it answers, replies and losses counted.

dnsperf does so where it is installed. Elsewhere a program of this module's own does, with sendmmsg and recvmmsg (64-bit
Linux): `python -m benchmarks.load PORT FILE --seconds S`. Both keep some hundred questions under way and end after so many
seconds, or after one pass through the file. A file of questions is dnsperf's: a name and a type on each line.
"""

import argparse
import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

WINDOW = 200  # questions under way
SOCKETS = 4  # that they come from
PATIENCE = 2.0  # seconds after which a question without a reply is lost
BATCH = 64
LONGEST = 4096  # octets of a reply that are read
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65}
FAILURES = {2, 4, 5}  # SERVFAIL, NOTIMP, REFUSED: what a load that measures answers must not have many of
Question = tuple[str, str]


class Loaded(NamedTuple):
    """What came of a load."""

    answered: int
    lost: int
    failed: int  # of those answered, by SERVFAIL, NOTIMP or REFUSED


def write(path: Path, questions: Iterable[Question]) -> Path:
    """A file of questions."""
    path.write_text("".join(f"{name} {type}\n" for name, type in questions))
    return path


def load(port: int, questions: Path, seconds: float = 0.0, own: bool = False) -> Loaded:
    """Ask a server on 127.0.0.1 the questions of a file, over and over for so many seconds, or once if 0.

    `own` has it done by the program of this module in any case.
    """
    return (_dnsperf if shutil.which("dnsperf") and not own else _own)(port, questions, seconds)


def loader() -> str:
    return "dnsperf" if shutil.which("dnsperf") else "the loader of benchmarks/load.py"


def _dnsperf(port: int, questions: Path, seconds: float) -> Loaded:
    how = ["-l", f"{seconds:.0f}"] if seconds else ["-n", "1"]
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(questions), "-c", str(SOCKETS), "-q", str(WINDOW),
               "-t", f"{PATIENCE:g}", "-O", "suppress=timeout", *how]  # fmt: skip
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return read_dnsperf(said)


def read_dnsperf(text: str) -> Loaded:
    """The figures in what dnsperf says; ValueError where they are not there."""
    counts = {what: int(n) for what, n in re.findall(r"Queries (completed|lost):\s+(\d+)", text)}
    if len(counts) != 2:
        raise ValueError(f"dnsperf: {text.strip().splitlines()[-1:]}")
    codes = dict(re.findall(r"([A-Z]+) (\d+) \(", text.partition("Response codes:")[2].partition("\n")[0]))
    failed = sum(int(codes.get(code, 0)) for code in ("SERVFAIL", "NOTIMP", "REFUSED"))
    return Loaded(counts["completed"], counts["lost"], failed)


def _own(port: int, questions: Path, seconds: float) -> Loaded:
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(questions), "--seconds", str(seconds)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]).stdout
    return Loaded(*json.loads(said))


# ---------------------------------------------------------------- the loader's own program


def wire(name: str, type: str, id: int) -> bytes:
    """A question as a stub resolver sends it: RD, no EDNS. The name has no escapes."""
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    qname = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return struct.pack("!6H", id, 0x0100, 1, 0, 0, 0) + qname + struct.pack("!HH", TYPES[type], 1)


class Questions:
    """All questions, laid out once: what sendmmsg needs of each is its address and its length."""

    def __init__(self, ffi: Any, questions: list[Question]) -> None:
        wires = [wire(name, type, i & 0xFFFF) for i, (name, type) in enumerate(questions)]
        self._octets = ffi.new("char[]", b"".join(wires))
        parts = array("Q")
        at = int(ffi.cast("uintptr_t", self._octets))
        for octets in wires:
            parts.extend((at, len(octets)))
            at += len(octets)
        self.parts = memoryview(parts)
        self.count = len(wires)
        self.next = 0

    def take(self, most: int, once: bool) -> memoryview:
        """Addresses and lengths of the next questions, at most so many; from the first again unless `once`."""
        if self.next == self.count and not once:
            self.next = 0
        taken = self.parts[2 * self.next : 2 * min(self.next + most, self.count)]
        self.next += len(taken) // 2
        return taken


class Sender:
    """A connected socket and the memory of its batches."""

    def __init__(self, ffi: Any, libc: Any, port: int) -> None:
        self._libc, self._null = libc, ffi.NULL
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setblocking(False)
        self.waiting = 0
        self.heard = time.monotonic()
        self._replies = ffi.new("char[]", BATCH * LONGEST)
        self._octets = memoryview(ffi.buffer(self._replies))
        self._out_parts, self._in_parts = (ffi.new("struct iovec[]", BATCH) for _ in range(2))
        self._out, self._in = (ffi.new("struct mmsghdr[]", BATCH) for _ in range(2))
        for i in range(BATCH):
            self._in_parts[i].iov_base, self._in_parts[i].iov_len = self._replies + i * LONGEST, LONGEST
            for message, part in ((self._out[i], self._out_parts + i), (self._in[i], self._in_parts + i)):
                message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen = part, 1
        self._parts = memoryview(ffi.buffer(self._out_parts)).cast("B").cast("Q")

    def send(self, questions: Questions, room: int, once: bool) -> int:
        """Send some of the next questions; how many were sent."""
        taken = questions.take(min(room, BATCH), once)
        count = len(taken) // 2
        if not count:
            return 0
        self._parts[: len(taken)] = taken
        sent: int = max(0, self._libc.sendmmsg(self.sock.fileno(), self._out, count, socket.MSG_DONTWAIT))
        questions.next -= count - sent
        self.waiting += sent
        return sent

    def receive(self) -> bytes:
        """Octet 3 of each reply that came: the rcode is in it."""
        count = max(0, self._libc.recvmmsg(self.sock.fileno(), self._in, BATCH, socket.MSG_DONTWAIT, self._null))
        self.waiting = max(0, self.waiting - count)
        return bytes(self._octets[3 : count * LONGEST : LONGEST])


def run(port: int, questions: list[Question], seconds: float) -> Loaded:
    """The load itself. What is still under way at its end is waited for."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef("""
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr { void *msg_name; unsigned msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
                    void *msg_control; size_t msg_controllen; int msg_flags; };
    struct mmsghdr { struct msghdr msg_hdr; unsigned msg_len; };
    int recvmmsg(int, struct mmsghdr *, unsigned, int, void *);
    int sendmmsg(int, struct mmsghdr *, unsigned, int);
    """)
    libc, asked = ffi.dlopen(None), Questions(ffi, questions)
    senders = [Sender(ffi, libc, port) for _ in range(SOCKETS)]
    try:
        return _keep_asking(senders, asked, seconds)
    finally:
        for sender in senders:
            sender.sock.close()


def _keep_asking(senders: list[Sender], asked: Questions, seconds: float) -> Loaded:
    codes = Counter[int]()
    sent, end, window = 0, time.monotonic() + seconds, WINDOW // SOCKETS
    while True:
        now = time.monotonic()
        sending = asked.next < asked.count if not seconds else now < end
        if not sending and not any(sender.waiting for sender in senders):
            failed = sum(n for code, n in codes.items() if code & 15 in FAILURES)
            return Loaded(codes.total(), sent - codes.total(), failed)
        for sender in senders:
            if got := sender.receive():
                codes.update(got)
                sender.heard = now
            elif sender.waiting and now - sender.heard > PATIENCE:
                sender.waiting = 0  # lost
            if sending and sender.waiting < window:
                sender.heard = sender.heard if sender.waiting else now
                sent += sender.send(asked, window - sender.waiting, once=not seconds)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Load a DNS server on 127.0.0.1: [answered, lost, failed].")
    arguments.add_argument("port", type=int)
    arguments.add_argument("questions", type=Path)
    arguments.add_argument("--seconds", type=float, default=0.0, help="0: each question once")
    given = arguments.parse_args()
    lines = (line.split() for line in given.questions.read_text().splitlines())
    print(json.dumps(run(given.port, [(name, type) for name, type in lines], given.seconds)))


if __name__ == "__main__":
    main()
