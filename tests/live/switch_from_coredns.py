"""CoreDNS replaced by kdns over a real control plane, and back: `make test-switch`, about a minute once CoreDNS is built.

The same Corefile, the same user of the API server, the same port. A replacement is a rolling one: the successor starts beside
its predecessor (both have SO_REUSEPORT), and once it is ready the predecessor gets SIGTERM and leaves through its lameduck.
Golden questions are asked before, after, and when CoreDNS is back. Under load none may be lost but those that CoreDNS itself
loses when CoreDNS takes its place: what waits in its socket when it closes that.

This is no part of `make test`, as CoreDNS takes minutes to build the first time.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import pytest

from benchmarks.load import Loaded, read_dnsperf, write
from kdns.testing.ports import free_ports
from tests.live.test_golden_live import differences, Row, rows, seen
from tests.peer.servers import found_coredns
from tests.support import ROOT, TOWN
from tests.support.control_plane.plane import ControlPlane, until
from tests.support.upstreams import of_one_address, upstreams

COREFILE = """.:{port} {{
    bind 127.0.0.1
    errors
    health 127.0.0.1:{{$HEALTH}} {{
       lameduck 1s
    }}
    ready 127.0.0.1:{{$READY}}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
       kubeconfig {kubeconfig}
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus 127.0.0.1:{{$METRICS}}
    {outside}
    reload
    loadbalance
}}
"""
OUTSIDE = """forward . 127.0.0.1:{upstream} {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success cluster.local
       disable denial cluster.local
    }}
    loop"""
SWAPS = 3  # of each kind, under load
RATE = 4000  # questions a second: a load that either server has room for, so that what is lost is lost by the swap
UNDER_WAY = 100  # questions at most that have no reply yet
EXCEPT = {("dns-version.cluster.local.", "TXT")}  # CoreDNS's cache lowers its TTL of eight hours
HOT = ("kubernetes.default", "web.prod", "nothere.prod", "db.prod")


class Cluster:
    """What both servers are given; `serving` is a process that is one of them."""

    def __init__(self, plane: ControlPlane, folder: Path, upstream: int) -> None:
        (self.port,) = free_ports(1)
        self.folder = folder
        self.corefile = folder / "Corefile"
        self._kubeconfig, self._upstream = plane.kubeconfig("dns"), upstream
        self.write(outside=False)
        self.programs = {"coredns": [found_coredns()], "kdns": [sys.executable, "-m", "kdns"]}

    def write(self, outside: bool) -> None:
        """kubeadm's Corefile, with names outside of the cluster or without."""
        lines = OUTSIDE.format(upstream=self._upstream) if outside else ""
        self.corefile.write_text(COREFILE.format(port=self.port, kubeconfig=self._kubeconfig, outside=lines))

    @contextmanager
    def serving(self, name: str) -> "Iterator[subprocess.Popen[bytes]]":
        """From the moment on that it says it is ready."""
        server = self.start(name)
        try:
            yield server
        finally:
            self.end(server)

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        health, ready, metrics = free_ports(3)
        bound = self.bound()
        ports = {"HEALTH": str(health), "READY": str(ready), "METRICS": str(metrics)}
        with open(self.folder / f"{name}.log", "ab") as log:
            server = subprocess.Popen(
                [*self.programs[name], "-conf", str(self.corefile)], cwd=ROOT, env={**os.environ, **ports},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

        def is_ready() -> bool:
            assert server.poll() is None, (self.folder / f"{name}.log").read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{ready}/ready", timeout=1) as reply:
                    return bool(reply.status == 200) and self.bound() > bound  # CoreDNS says so before it has its sockets
            except OSError:
                return False

        until(is_ready, f"{name} is ready", 30)
        return server

    def bound(self) -> int:
        """UDP sockets on our port."""
        lines = Path("/proc/net/udp").read_text().splitlines()[1:]
        return sum(line.split()[1].endswith(f":{self.port:04X}") for line in lines)

    @staticmethod
    def end(server: "subprocess.Popen[bytes]") -> None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        finally:
            server.kill()

    def swapped(self, server: "subprocess.Popen[bytes]", name: str) -> "subprocess.Popen[bytes]":
        """Another one in its place, as a rollout does it."""
        successor = self.start(name)
        self.end(server)
        return successor

    def ask(self, name: str, type: str, tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, type, use_edns=0, payload=1232)
        return (dns.query.tcp if tcp else dns.query.udp)(query, "127.0.0.1", 5, self.port)


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    plane.api.apply(TOWN / "00-nodes.yaml")
    for file in ("10-seeds", "20-kinds", "30-crowd"):
        plane.api.apply(TOWN / f"{file}.yaml")
    (above,) = free_ports(1)
    with upstreams({above: of_one_address("192.0.2.1")}):
        cluster = Cluster(plane, tmp_path_factory.mktemp("switch"), above)
        with cluster.serving("kdns"):  # until the controllers are done
            deadline = time.monotonic() + 30
            while left := [row for row in rows("kubeadm") if differences(cluster, row)]:
                assert time.monotonic() < deadline, left[:3]
        yield cluster


def answers(cluster: Cluster, golden: list[Row]) -> dict[tuple[str, str], Row]:
    """What is said now, in the notation of the golden files."""
    found = {}
    for row in golden:
        reply = cluster.ask(row["name"], row["type"])
        if reply.flags & dns.flags.TC:
            reply = cluster.ask(row["name"], row["type"], tcp=True)
        found[row["name"], row["type"]] = timeless(seen(reply))
    return found


def timeless(row: Row) -> Row:
    """A row without the TTLs of an answer that leads out of the cluster: in a cache they count down."""
    records = [record.split(" ") for record in row["answer"]]
    if all(fields[0].endswith(("cluster.local.", "arpa.")) for fields in records):
        return row
    return {**row, "answer": {" ".join([fields[0], *fields[2:]]) for fields in records}}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("outside", [False, True], ids=["the cluster's names", "kubeadm's whole Corefile"])
def test_there_and_back(outside: bool, cluster: Cluster) -> None:
    """The same answers, but where a golden row says why not; and CoreDNS's own again when it is back.

    The golden rows are of a cluster without upstreams, so kdns is held against them only there.
    """
    golden = rows("kubeadm")
    assert len(golden) > 2000
    same = [(row["name"], row["type"]) for row in golden if "why" not in row]
    cluster.write(outside)
    server = cluster.start("coredns")
    try:
        before = answers(cluster, golden)
        server = cluster.swapped(server, "kdns")
        after = answers(cluster, golden)
        wrong = [] if outside else [(row, found) for row in golden if (found := differences(cluster, row))]
        server = cluster.swapped(server, "coredns")
        back = answers(cluster, golden)
    finally:
        cluster.end(server)
    print(f"{len(golden)} questions, {len(same)} of them with no reason to differ")
    assert [] == wrong
    differing = {key: (before[key], after[key]) for key in same if before[key] != after[key]}
    assert {} == {key: both for key, both in differing.items() if not (outside and key in EXCEPT)}
    assert {key: before[key] for key in same} == {key: back[key] for key in same}  # of the others CoreDNS is not sure itself


def asked(port: int, questions: Path) -> Loaded:
    """What came of a load of six seconds."""
    command = [
        "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(questions), "-l", "6", "-Q", str(RATE), "-q", str(UNDER_WAY),
        "-c", "20", "-t", "2", "-O", "suppress=timeout",
    ]  # fmt: skip
    return read_dnsperf(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def under_load(cluster: Cluster, questions: Path, leaves: str, comes: str) -> Loaded:
    """What came of a load while one took the other's place, SWAPS times in all."""
    found: list[Loaded] = []
    for _ in range(SWAPS):
        server = cluster.start(leaves)
        try:
            asking = threading.Thread(target=lambda: found.append(asked(cluster.port, questions)))
            asking.start()
            time.sleep(1)
            server = cluster.swapped(server, comes)
            asking.join()
        finally:
            cluster.end(server)
    return Loaded(*map(sum, zip(*found, strict=True)))


@pytest.mark.timeout(600)
def test_none_is_lost_but_by_coredns_itself(cluster: Cluster) -> None:
    cluster.write(outside=True)
    questions = write(cluster.folder / "questions", [(f"{name}.svc.cluster.local", "A") for name in HOT])
    came = {
        (leaves, comes): under_load(cluster, questions, leaves, comes)
        for leaves, comes in (("coredns", "coredns"), ("coredns", "kdns"), ("kdns", "coredns"), ("kdns", "kdns"))
    }
    for (leaves, comes), loaded in came.items():
        print(f"{leaves} -> {comes}, {SWAPS} times: {loaded.answered} answered, {loaded.lost} lost, {loaded.failed} failed")
    assert [0, 0, 0, 0] == [loaded.failed for loaded in came.values()]
    assert (0, 0) == (came["kdns", "coredns"].lost, came["kdns", "kdns"].lost)
    assert came["coredns", "kdns"].lost <= came["coredns", "coredns"].lost
