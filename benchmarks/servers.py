"""Servers under load: started, waited for, their CPU and memory read from /proc (Linux), ended.

Where a process has two cores or more, the first is the servers' and the others are for all else: see `share_cores`.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.load import wire
from kdns.testing.ports import free_port
from tests.support.control_plane.programs import cache_folder, GO

ROOT = Path(__file__).parents[1]
COREDNS = "github.com/coredns/coredns@v1.15.0"
NO_COREDNS = "no CoreDNS: install Go and it is built once, or put it on PATH"
TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
PINNED = ["taskset", "-c", str(CORES[0])] if len(CORES) > 1 and shutil.which("taskset") else []  # before a server's command
START = 60.0  # seconds that a server has until it answers


def share_cores() -> None:
    """From now on this process, and what it starts, leaves the first core to servers that are started with PINNED."""
    if PINNED:
        os.sched_setaffinity(0, CORES[1:])


@contextlib.contextmanager
def limited(name: str, octets: int) -> Iterator[list[str]]:
    """A control group that may have so much memory, as a Pod has: what stands before a command that is to be in it.

    Nothing stands there where a group cannot be made: it takes root, and the controller of memory (version 1 or 2).
    """
    v1, own = Path("/sys/fs/cgroup/memory"), f"kdns-benchmark-{os.getpid()}-{name}"
    group, limit = (v1 / own, "memory.limit_in_bytes") if v1.is_dir() else (v1.parent / own, "memory.max")
    try:
        group.mkdir()
    except OSError:
        yield []
        return
    try:
        (group / limit).write_text(str(octets))
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    except OSError:  # no controller of memory here
        yield []
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


class Server:
    """A process with its children, which answers on a port of 127.0.0.1."""

    def __init__(self, command: list[str], folder: Path, port: int, probe: str) -> None:
        self.port = port
        self.log = folder / f"{Path(command[0]).name}-{port}.log"
        self._command, self._probe = command, probe
        self._start()

    def _start(self) -> None:
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        self.pid = self._process.pid
        try:
            self._wait(self._probe)
        except BaseException:
            self.stop()
            raise

    def start_again(self) -> None:
        """As a new process, which knows nothing of what was asked."""
        self.stop()
        self._start()

    def _wait(self, probe: str) -> None:
        """Until the probe, a name, has an address; without one, until anything is said."""
        end = time.monotonic() + START
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", self.port))
            sock.settimeout(0.2)
            while time.monotonic() < end:
                try:
                    sock.send(wire(probe, "A", 7))
                    reply = sock.recv(4096)
                except OSError:
                    time.sleep(0.05)
                    if self._process.poll() is not None:
                        break
                    continue
                if not probe or (reply[3] & 15 == 0 and reply[6:8] != b"\0\0"):
                    return
                time.sleep(0.05)
        raise RuntimeError(f"{self._process.args!r} does not answer for {probe}: {self._said()}")

    def _said(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-3:])

    def cpu(self) -> float:
        """CPU seconds so far, user and system, of the process, its children, and those of them that ended."""
        return sum(sum(map(int, _stat(pid)[11:15])) for pid in self._tree()) / TICKS

    def rss(self) -> float:
        """Resident memory of the process and its children in MB (10⁶ octets)."""
        return sum(int(_stat(pid)[21]) for pid in self._tree()) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _tree(self) -> list[int]:
        tree = [self._process.pid]
        for pid in tree:
            with contextlib.suppress(OSError):
                tree += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return tree

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; zeros where the process has just ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 50


def corefile(folder: Path, port: int, *lines: str) -> Path:
    """A Corefile of one server block that kdns and CoreDNS both read."""
    path = folder / f"Corefile-{port}"
    path.write_text(server_block(port, *lines))
    return path


def server_block(port: int, *lines: str) -> str:
    return "\n    ".join([f".:{port} {{", "bind 127.0.0.1", "errors", *lines]) + "\n}\n"


def kubernetes(*source: str) -> list[str]:
    """kubeadm's directive; `source` are lines that say where the objects are, in a Pod none."""
    options = (*source, "pods insecure", "fallthrough in-addr.arpa ip6.arpa", "ttl 30")
    return ["kubernetes cluster.local in-addr.arpa ip6.arpa {", *(f"    {option}" for option in options), "}"]


def kubeadm(*source: str, upstream: int, metrics: int, cached: bool = False) -> list[str]:
    """kubeadm's plugins but *health*, *ready*, *loop* and *reload*, which are none of what is measured everywhere.

    Its *cache* keeps nothing of the cluster's zone; `cached` does.
    """
    forward = [f"forward . 127.0.0.1:{upstream} {{", "    max_concurrent 1000", "}"]
    disabled = ["cache 30 {", "    disable success cluster.local", "    disable denial cluster.local", "}"]
    cache = ["cache 30"] if cached else disabled
    return [*kubernetes(*source), f"prometheus 127.0.0.1:{metrics}", *forward, *cache, "loadbalance"]


def kdns(folder: Path, probe: str, *lines: str) -> Server:
    port = free_port()
    command = [*PINNED, str(Path(sys.executable).with_name("kdns")), "-conf", str(corefile(folder, port, *lines))]
    return Server(command, folder, port, probe)


def find_coredns() -> str | None:
    """CoreDNS's program, built once into the user's cache where Go is installed."""
    folder = cache_folder().parent / "bin"
    go = next((found for place in GO if (found := shutil.which(place))), None)
    if not (folder / "coredns").exists() and go:
        print(f"building {COREDNS}, once", file=sys.stderr, flush=True)
        subprocess.run([go, "install", COREDNS], env={**os.environ, "GOBIN": str(folder)}, check=False)
    return shutil.which("coredns", path=str(folder)) or shutil.which("coredns")


def find(program: str) -> str | None:
    """A program of the machine's, those of its administrator included."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


Zones = Mapping[str, Path]  # files by zone


def nsd(folder: Path, probe: str, zones: Zones, before: list[str]) -> Server:
    """NSD with one process that answers."""
    port = free_port()
    conf = folder / f"nsd-{port}.conf"
    each = "".join(f"zone:\n    name: {zone}\n    zonefile: {path}\n" for zone, path in zones.items())
    conf.write_text(f"""server:
    ip-address: 127.0.0.1@{port}
    server-count: 1
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{folder}"
    pidfile: "{folder}/nsd-{port}.pid"
    xfrdfile: "{folder}/nsd-{port}.xfrd"
    zonelistfile: "{folder}/nsd-{port}.list"
    xfrdir: "{folder}"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
{each}""")
    return Server([*before, str(find("nsd")), "-d", "-c", str(conf)], folder, port, probe)


def knot(folder: Path, probe: str, zones: Zones, before: list[str]) -> Server:
    """Knot DNS with one thread of each kind."""
    port = free_port()
    conf, place = folder / f"knot-{port}.conf", folder / f"knot-{port}"
    place.mkdir()
    each = "".join(f"  - domain: {zone}\n    file: {path}\n    zonefile-sync: -1\n" for zone, path in zones.items())
    conf.write_text(f"""server:
    listen: 127.0.0.1@{port}
    rundir: {place}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {place}
zone:
{each}""")
    return Server([*before, str(find("knotd")), "-c", str(conf)], folder, port, probe)


def unbound(folder: Path, probe: str, zones: Zones, forward_to: int, before: list[str]) -> Server:
    """unbound with the records of zone files as local data; all other names go to a port of 127.0.0.1."""
    port = free_port()
    conf = folder / f"unbound-{port}.conf"
    data = [f"    local-zone: {zone} static" for zone in zones]
    for path in zones.values():
        data += [f"    local-data: '{line}'" for line in path.read_text().splitlines()]
    lines = "\n".join(data)
    conf.write_text(f"""server:
    interface: 127.0.0.1@{port}
    num-threads: 1
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    module-config: "iterator"
    do-not-query-localhost: no
    outgoing-range: 4096
    num-queries-per-thread: 4096
    local-zone: 10.in-addr.arpa nodefault
    local-zone: test nodefault
{lines}
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{forward_to}
remote-control:
    control-enable: no
""")
    return Server([*before, str(find("unbound")), "-d", "-c", str(conf)], folder, port, probe)


def echo(folder: Path, before: list[str]) -> Server:
    """benchmarks/echo.c, which sends back what it is sent: as fast as the kernel lets a program be."""
    port, program = free_port(), folder / "echo"
    if not program.exists():
        subprocess.run([compiler() or "cc", "-O2", "-o", str(program), str(ROOT / "benchmarks" / "echo.c")], check=True)
    return Server([*before, str(program), str(port)], folder, port, "")


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def upstream(folder: Path, milliseconds: float, ttl: int) -> Server:
    """The upstream of benchmarks/upstream.py."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", str(port), str(milliseconds), str(ttl)]
    return Server(command, folder, port, "ready.test")
