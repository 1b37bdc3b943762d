"""More than can be answered: `python -m benchmarks.overload`, some two minutes.

A server with a cluster's zone and an upstream that takes 300 ms is flooded by one kind of query after another, at five times
what it answers of that kind alone (names of others: at 43,000 a second). All the while a client at another address asks for
names of the cluster, 500 a second: such as it asks for again and again, which are hits of the memo, and such as nobody asked
for before. The table says what is lost of these, how long the others wait, how long the flood is felt after its end, and the
memory that the server takes.

What nobody asked for before takes CPU time to be answered, and of five times too much four parts are lost, whoever sends it: so
each client has its share. One that asks for less than that loses nothing. Where 250 clients flood, the share of each is some
dozens a second, and this client's new names are beyond it. Its hits are not lost while all that comes can be looked up, some
200,000 a second and core; beyond that the share is one of what is read, for hits are not told from others unless looked up.

A flood reads no replies and does not slow down. Where the machine cannot send five times as much, the column `times` says what
it could. When a reply came is the kernel's word, so that a loader that is late itself counts nothing wrong.
"""

import argparse
import json
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, cycle, islice, pairwise
from math import inf
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

from benchmarks import cluster
from benchmarks.load import PATIENCE, wire
from benchmarks.servers import kdns, kubernetes, ROOT, Server, upstream

SECONDS = 6.0  # of a flood
START, AFTER = 1.0, 2.0  # seconds until it begins, and how long it is looked what comes after it
QUICK, CALM = 20.0, 0.2  # milliseconds of a reply, and seconds without a slower one: the flood is no longer felt
EVERY = 0.002  # seconds from one question of the client to the next
UPSTREAM = 300.0  # milliseconds that it takes
TIMES = 5  # as much as can be answered
SERVICES, HEADLESS = 2_000, 100
SUFFIX = "svc.cluster.local"
HOT = [f"service-{i:05}.{cluster.namespace(i)}.{SUFFIX}" for i in range(HEADLESS, HEADLESS + 20)]
DIGITS = "0" * 8  # in their place each question of a flood has a number
_COOKIE = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08" + DIGITS.encode()  # an OPT record with such digits
_TIMESTAMPNS = 35  # SO_TIMESTAMPNS of Linux
HEADER = """\
| flood | a second | times | hits: lost % | p50 ms | p99 ms | others: lost % | p50 ms | p99 ms | felt ms | MB |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


class Flood(NamedTuple):
    """One kind of query. `rate` is in queries a second; 0 stands for five times what is answered."""

    what: str
    name: str
    clients: int = 1
    rate: float = 0.0
    cookie: bool = False

    def datagrams(self) -> Iterator[bytes]:
        """Each has a number where the digits are; they are valid until the next."""
        octets = bytearray(wire(self.name, "A", 1))
        if self.cookie:
            octets[11] = 1
            octets += _COOKIE
        at = octets.find(DIGITS.encode())
        for n in count(1):
            if at > 0:
                octets[at : at + 8] = b"%08d" % n
            yield octets


FLOODS = [
    Flood("names of others", f"x{DIGITS}.example.org", rate=43_000),
    Flood("the same, 250 clients", f"x{DIGITS}.example.org", 250, 43_000),
    Flood("own names that are not there", f"x{DIGITS}.team-01.{SUFFIX}"),
    Flood("the same, 250 clients", f"x{DIGITS}.team-01.{SUFFIX}", 250),
    Flood("own names, a cookie in each", HOT[0], cookie=True),
    Flood("own names", HOT[0]),
]


# ---------------------------------------------------------------- the flood's own program


def flood(kind: Flood, port: int, rate: float, seconds: float) -> tuple[int, float, float]:
    """Send so many a second, or fewer where that is too fast: how many they were, and from when to when."""
    datagrams = kind.datagrams()
    sends = [_sender(f"127.1.{client}.1", port).send for client in range(kind.clients)]
    sent, began = 0, time.time()
    while (now := time.time()) < began + seconds:
        due = int((now - began) * rate) - sent
        for _ in range(min(due, 64)):
            try:
                sends[sent % len(sends)](next(datagrams))
            except OSError:  # of what was sent before
                pass
            sent += 1
        if due < 64:
            time.sleep(0.0005)
    return sent, began, now


def _sender(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # nobody reads it
    sock.bind((host, 0))
    sock.connect(("127.0.0.1", port))
    return sock


# ---------------------------------------------------------------- the client


class Asked(list[tuple[float, float | None]]):
    """Questions of one sort: when each was asked, and the milliseconds until its reply, or None."""

    def between(self, start: float, end: float) -> "Asked":
        return Asked((at, wait) for at, wait in self if start <= at < end)

    @property
    def lost(self) -> float:
        """Percent."""
        return 100 * sum(wait is None for _, wait in self) / len(self)

    def percentile(self, n: int) -> float:
        return quantiles([wait for _, wait in self if wait is not None] or [inf], n=100)[n - 1]


def ask(port: int, hot: Iterator[str], new: Iterator[str], seconds: float) -> tuple[Asked, Asked]:
    """One client's questions, by turns a hot name and a new one, at their times whatever comes back."""
    most = int(seconds / EVERY)
    began = [0.0] * most
    waits: list[float | None] = [None] * most
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        sock.bind(("127.0.0.2", 0))
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        first, id = time.time(), 0
        while (now := time.time()) < first + seconds + PATIENCE:
            while id < most and now >= first + id * EVERY:
                began[id] = time.time()
                sock.send(wire(next(new if id % 2 else hot), "A", id))
                id += 1
            select.select([sock], [], [], EVERY / 2)
            for replied, at in _replies(sock):
                waits[replied] = 1000 * (at - began[replied])
    asked = list(zip(began, waits, strict=True))
    return Asked(asked[::2]), Asked(asked[1::2])


def _replies(sock: socket.socket) -> Iterator[tuple[int, float]]:
    """The id of each reply that is there, and when the kernel had it."""
    while True:
        try:
            reply, [(_, _, stamp)], _, _ = sock.recvmsg(512, 64)
        except OSError:
            return
        seconds, nanoseconds = struct.unpack("=qq", stamp)
        yield int.from_bytes(reply[:2], "big"), seconds + nanoseconds / 1e9


# ---------------------------------------------------------------- the table


def new_names() -> Iterator[str]:
    """Names of the cluster, each once: what search lists make of Services, and exist in the end."""
    for n in range(cluster.NAMESPACES):
        for i in range(SERVICES):
            yield f"service-{i:05}.{cluster.namespace(i)}.{SUFFIX}.{cluster.namespace(n)}.{SUFFIX}"


def capacity(server: Server, kind: Flood) -> float:
    """How many of a kind of query it answers in a second of its own CPU time."""
    datagrams, answered, before = kind.datagrams(), 0, server.cpu()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", server.port))
        sock.settimeout(0.5)
        while server.cpu() - before < 1:
            for octets in islice(datagrams, 64):
                sock.send(octets)
            for _ in range(64):
                sock.recv(512)
                answered += 1
    return answered / (server.cpu() - before)


def row(server: Server, kind: Flood, hot: Iterator[str], new: Iterator[str]) -> str:
    """What a flood does, as a row of the table."""
    able = 0.0 if kind.rate else capacity(server, kind)
    given = json.dumps([server.port, kind.rate or TIMES * able, SECONDS])
    command = [sys.executable, "-m", "benchmarks.overload", "--flood", str(FLOODS.index(kind)), given]
    before = server.rss()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as flooding:
        asked = ask(server.port, hot, new, START + SECONDS + AFTER)
        sent, began, end = json.loads(flooding.communicate()[0])
    slow = sorted(at for one in asked for at, wait in one.between(end, end + AFTER) if wait is None or wait > QUICK)
    felt = next((at for at, after in pairwise([end, *slow, inf]) if after > at + CALM), end)
    figures = [f"{sent / SECONDS:,.0f}", f"{sent / SECONDS / able:.1f}" if able else ""]
    for one in asked:
        during = one.between(began, end)
        figures += [f"{during.lost:.2f}", f"{during.percentile(50):.1f}", f"{during.percentile(99):.1f}"]
    figures += [f"{1000 * (felt - end):.0f}", f"{before:.0f} → {server.rss():.0f}"]
    return f"| {kind.what} | {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flood", type=json.loads, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.flood:
        which, how = given.flood
        return print(json.dumps(flood(FLOODS[which], *how)))
    print(HEADER, flush=True)
    hot, new = cycle(HOT), new_names()
    with tempfile.TemporaryDirectory(prefix="kdns-overload-") as name:
        folder = Path(name)
        manifest = cluster.write_manifest(folder / "cluster.json", SERVICES, HEADLESS)
        with upstream(folder, UPSTREAM, 300) as far:
            lines = [*kubernetes(f"manifests {manifest}"), f"forward . 127.0.0.1:{far.port}", "cache 30", "loadbalance"]
            with kdns(folder, HOT[0], *lines) as server:
                for kind in FLOODS:
                    print(row(server, kind, hot, new), flush=True)
    return None


if __name__ == "__main__":
    main()
