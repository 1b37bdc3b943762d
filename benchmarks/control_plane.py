"""kdns beside CoreDNS on a real API server with 100,000 endpoints: `python -m benchmarks.control_plane`.

One after the other they follow the same etcd and kube-apiserver, each with kubeadm's Corefile and the rights of a cluster's
DNS, and do the same: start, answer, see changes, stand 500 of them a second, list all again. Resident memory and CPU are
the kernel's (/proc), queries are dnsperf's, and what is new is found by asking. CoreDNS is built once with Go into the
user's cache folder, as the control plane is.

What counts as CPU until synced ends with the first 200 of /ready. A relist is forced by an API server that starts anew
after changes that it was not there for. Delays in the queue of events are seen from outside, by queries that come all the
while: a query waits at least as long as the event loop is late.
"""

import argparse
import base64
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cluster import items, namespace, service
from benchmarks.servers import corefile, find_coredns, kubeadm, NO_COREDNS
from kdns.testing.ports import free_ports
from tests.support.control_plane.plane import ControlPlane, stored, until

TICKS = os.sysconf("SC_CLK_TCK")
A, CNAME = 1, 5  # an alias is asked for itself: its target is for an upstream, and there is none
CHANGES, SECONDS = 400, 10.0  # measured one by one; and of the sustained change
RATE = 500  # changes a second, one in five of a slice of 100 endpoints
LOAD = 5  # seconds of each run of dnsperf

Figures = dict[str, float]
ROWS = [  # what, unit, what is wanted of kdns in words, and whether it holds: (kdns, CoreDNS) -> bool
    ("synced after", "s", "", None),
    ("CPU until synced", "s", "at most CoreDNS's", lambda k, c: k <= c),
    ("CPU 5 s later", "s", "", None),
    ("resident, synced", "MB", "half of CoreDNS's, 110", lambda k, c: k <= c / 2 and k <= 110),
    ("resident, peak of a relist", "MB", "1.3 times synced", None),
    ("CPU of a relist", "s", "", None),
    ("change seen, median", "ms", "under 2", lambda k, c: k < 2),
    ("change seen, p99", "ms", "under 10", lambda k, c: k < 10),
    ("changes sustained", "1/s", "500", lambda k, c: k >= 0.98 * RATE),
    ("queries meanwhile, p99", "ms", "under 20", lambda k, c: k < 20),
    ("the last change seen", "ms", "", None),
    ("CPU of 500 changes a second", "%", "", None),
    ("hot names", "q/CPU-s", "", None),
    ("10,000 names", "q/CPU-s", "", None),
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--services", type=int, default=10_000)
    arguments.add_argument("--slices", type=int, default=1_000)
    arguments.add_argument("--only", choices=("kdns", "coredns"))
    arguments.add_argument("--probe", type=int, metavar="PORT", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.probe:
        probe(asked.probe)
        return
    began = time.monotonic()
    coredns = find_coredns()
    if coredns is None:
        sys.exit(NO_COREDNS)
    programs = {"kdns": [sys.executable, "-m", "kdns"], "coredns": [coredns]}
    with ControlPlane(controllers=False) as plane, tempfile.TemporaryDirectory() as folder:
        tell(f"loading {asked.services} Services and {asked.slices} slices of 100 endpoints")
        plane.grant_dns()
        plane.load(loaded(asked.services, asked.slices))
        rest(plane)
        found: dict[str, Figures] = {}
        for name, command in programs.items():
            if asked.only in (None, name):
                tell(f"measuring {name}")
                found[name] = measured(plane, Server(command, Path(folder), plane), asked.services, asked.slices)
    print(table(found))
    print(f"{asked.services} Services, {asked.slices * 100} endpoints; {time.monotonic() - began:.0f} s in all")


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ------------------------------------------------------------ the cluster


def loaded(services: int, slices: int) -> Iterator[dict[str, Any]]:
    for obj in items(services, slices):
        obj["metadata"].pop("resourceVersion", None)
        yield obj
    for n in range(CHANGES):
        yield changing(n, "before")


def changing(n: int, label: str) -> dict[str, Any]:
    """The Services whose change is waited for: aliases, for those show any label in their answer."""
    metadata = {"name": f"alias-{n}", "namespace": namespace(0)}
    spec = {"type": "ExternalName", "externalName": f"{label}.example.com"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def rest(plane: ControlPlane) -> None:
    """Wait until the API server has taken in what was written beside it: less than a tenth of a core for 2 s."""
    pid = plane.pid("kube-apiserver")
    deadline = time.monotonic() + 90
    quiet = 0
    while quiet < 4 and time.monotonic() < deadline:
        before = cpu(pid)
        time.sleep(0.5)
        quiet = quiet + 1 if cpu(pid) - before < 0.05 else 0


class Etcd:
    """Writes to etcd itself: the API server takes too long for 500 changes a second from one client."""

    def __init__(self, plane: ControlPlane) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", plane.etcd_port, timeout=30)

    def put(self, body: str) -> None:
        self._connection.request("POST", "/v3/kv/put", body)
        self._connection.getresponse().read()

    @staticmethod
    def body(obj: dict[str, Any]) -> str:
        key, value = (base64.b64encode(part).decode() for part in stored(obj))
        return json.dumps({"key": key, "value": value})


# ------------------------------------------------------------ a server under measurement


class Server:
    def __init__(self, command: list[str], folder: Path, plane: ControlPlane) -> None:
        self.port, self.ready_port, metrics, nowhere = free_ports(4)
        self._folder = folder
        lines = kubeadm(f"kubeconfig {plane.kubeconfig('dns')} test", upstream=nowhere, metrics=metrics)
        conf = corefile(folder, self.port, f"ready 127.0.0.1:{self.ready_port}", *lines)
        self._command = [*command, "-conf", str(conf)]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(2.0)
        self._socket.connect(("127.0.0.1", self.port))

    @contextmanager
    def running(self) -> Iterator[int]:
        """Its process id, from before it is ready."""
        with open(self._folder / "log", "ab") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ready_port}/ready", timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def ask(self, wire: bytes) -> bytes:
        self._socket.send(wire)
        while (reply := self._socket.recv(4096))[:2] != wire[:2]:
            pass
        return reply


def question(name: str, type: int = A) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack("!6H", random.getrandbits(16), 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", type, 1)


def cpu(pid: int) -> float:
    """Seconds of CPU until now, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def megabytes(pid: int, field: str) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


# ------------------------------------------------------------ what is measured


def measured(plane: ControlPlane, server: Server, services: int, slices: int) -> Figures:
    found: Figures = {}
    began = time.monotonic()
    with server.running() as pid:
        while not server.ready():
            time.sleep(0.02)  # each look costs the server something
        found["synced after"], found["CPU until synced"] = time.monotonic() - began, cpu(pid)
        time.sleep(5)  # what collectors of garbage and idle connections do, they have done
        found["resident, synced"], found["CPU 5 s later"] = megabytes(pid, "VmRSS"), cpu(pid)
        found |= queries(server, pid, services, slices)
        found |= one_by_one(plane, server)
        found |= sustained(plane, server, pid, services, slices)
        found |= relisted(plane, server, pid)
    return found


def one_by_one(plane: ControlPlane, server: Server) -> Figures:
    """From the API server's reply to a change until the first answer that shows it."""
    seen = []
    label = f"after-{random.getrandbits(32):08x}"
    for n in range(CHANGES):
        name = f"alias-{n}"
        wire = question(f"{name}.{namespace(0)}.svc.cluster.local", CNAME)
        server.ask(wire)
        plane.api.patch("Service", f"{namespace(0)}/{name}", {"spec": {"externalName": f"{label}.example.com"}})
        accepted = time.perf_counter()
        while label.encode() not in server.ask(wire):
            time.sleep(0.0001)  # two cores have to be enough for the API server too
        seen.append(1000 * (time.perf_counter() - accepted))
    return {"change seen, median": statistics.median(seen), "change seen, p99": quantile(seen, 0.99)}


def sustained(plane: ControlPlane, server: Server, pid: int, services: int, slices: int) -> Figures:
    """RATE changes a second for SECONDS while queries come; every fifth is of a slice."""
    etcd = Etcd(plane)
    bodies = list(itertools.islice(changes(services, slices), 1000))
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.control_plane", "--probe", str(server.port)], stdout=subprocess.PIPE, text=True
    ) as probing:
        used, began = cpu(pid), time.monotonic()
        sent = 0
        while (now := time.monotonic()) < began + SECONDS:
            due = int((now - began) * RATE)
            for _ in range(due - sent):
                etcd.put(bodies[sent % len(bodies)])
                sent += 1
            time.sleep(0.001)
        taken = time.monotonic() - began
        used = cpu(pid) - used
        label = f"last-{random.getrandbits(32):08x}"
        etcd.put(Etcd.body(changing(0, label)))
        wire, last = question(f"alias-0.{namespace(0)}.svc.cluster.local", CNAME), time.monotonic()
        while label.encode() not in server.ask(wire):
            time.sleep(0.001)
        late = time.monotonic() - last
        p99 = float(probing.communicate()[0])
    return {
        "changes sustained": sent / taken, "queries meanwhile, p99": p99, "the last change seen": 1000 * late,
        "CPU of 500 changes a second": 100 * used / taken,
    }  # fmt: skip


def changes(services: int, slices: int) -> Iterator[str]:
    """Bodies for etcd: ports of Services, addresses of slices; each of them differs from the one before of its object."""
    kept = [obj for obj in items(services, slices) if obj["kind"] == "EndpointSlice"]
    for n in itertools.count():
        if n % 5:
            obj = service(slices + n % (services - slices), False)
            obj["spec"]["ports"][0]["port"] = 1 + n % 60000
        else:
            obj = kept[n % len(kept)]
            obj["endpoints"][n % 100]["addresses"] = [f"10.200.{n >> 8 & 255}.{n & 255}"]
        obj["metadata"].pop("resourceVersion", None)
        yield Etcd.body(obj)


def probe(port: int) -> None:
    """Print the p99 (ms) of queries, one every 5 ms, half of them for what the memo cannot know."""
    took = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2.0)
        sock.connect(("127.0.0.1", port))
        end = time.monotonic() + SECONDS - 0.5
        for n in itertools.count():
            if time.monotonic() > end:
                break
            wire = question(f"{'' if n % 2 else f'none-{n}.'}service-01000.{namespace(1000)}.svc.cluster.local")
            began = time.perf_counter()
            sock.send(wire)
            sock.recv(4096)
            took.append(1000 * (time.perf_counter() - began))
            time.sleep(0.005)
    print(quantile(took, 0.99))


def relisted(plane: ControlPlane, server: Server, pid: int) -> Figures:
    """The API server starts anew, knows nothing of what was before, and all is listed once more."""
    resident = megabytes(pid, "VmRSS")
    plane.kill_apiserver()
    label = f"relist-{random.getrandbits(32):08x}"
    plane.load([changing(1, label), *touched()])
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins anew
    used = cpu(pid)
    plane.start_apiserver()
    wire = question(f"alias-1.{namespace(0)}.svc.cluster.local", CNAME)
    until(lambda: label.encode() in server.ask(wire), "the change of meanwhile", 60)
    time.sleep(5)
    tell(f"resident before the relist {resident:.0f} MB, after {megabytes(pid, 'VmRSS'):.0f} MB")
    return {"resident, peak of a relist": megabytes(pid, "VmHWM"), "CPU of a relist": cpu(pid) - used}


def touched() -> Iterator[dict[str, Any]]:
    """A namespace and a slice that are new each time: so the versions of all watches are of the past."""
    tag = f"{random.getrandbits(32):08x}"
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"new-{tag}"}}
    yield {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [], "ports": [],
        "metadata": {"name": f"new-{tag}", "namespace": namespace(0)},
    }  # fmt: skip


def queries(server: Server, pid: int, services: int, slices: int) -> Figures:
    if shutil.which("dnsperf") is None:
        tell("no dnsperf: queries a second are not measured")
        return {}
    names = [f"service-{i:05}.{namespace(i)}.svc.cluster.local" for i in range(slices, services)]
    others = [f"service-{i:05}.{namespace(i + 1)}.svc.cluster.local" for i in range(10_000 - len(names))]
    return {
        "hot names": rate(server, pid, names[:10]),
        "10,000 names": rate(server, pid, [*names, *others]),
    }


def rate(server: Server, pid: int, names: list[str]) -> float:
    """Queries answered a second of the server's CPU, under all that one dnsperf can send."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name} A\n" for name in names))
        file.flush()
        command = ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", file.name, "-l", str(LOAD), "-c4", "-q200"]
        before = cpu(pid)
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answered = next(line for line in said.splitlines() if "Queries completed" in line)
    return int(answered.split(":")[1].split()[0]) / (cpu(pid) - before)


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


# ------------------------------------------------------------ the table


def table(found: dict[str, Figures]) -> str:
    kdns, other = found.get("kdns", {}), found.get("coredns", {})
    lines = [f"{'':34}{'kdns':>12}{'CoreDNS':>12}  wanted of kdns"]
    for what, unit, wanted, holds in ROWS:
        verdict = wanted
        if what == "resident, peak of a relist" and kdns:
            holds = peak_holds(kdns["resident, synced"])
        if holds is not None and what in kdns and what in other:
            verdict += ": yes" if holds(kdns[what], other[what]) else ": NO"
        lines.append(f"{f'{what} ({unit})':34}{shown(kdns.get(what)):>12}{shown(other.get(what)):>12}  {verdict}".rstrip())
    return "\n".join(lines)


def peak_holds(synced: float) -> Callable[[float, float], bool]:
    return lambda k, c: k <= 1.3 * synced


def shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    main()
