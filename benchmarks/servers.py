"""Servers under load: started, waited for, their CPU and memory read from /proc (Linux), ended."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.load import wire

ROOT = Path(__file__).parents[1]
COREDNS = "github.com/coredns/coredns@v1.15.0"
TICKS = os.sysconf("SC_CLK_TCK")
START = 60.0  # seconds that a server has until it answers


class Server:
    """A process with its children, which answers on a port of 127.0.0.1."""

    def __init__(self, command: list[str], folder: Path, port: int, probe: str) -> None:
        self.port = port
        self.log = folder / f"{Path(command[0]).name}-{port}.log"
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        self.pid = self._process.pid
        try:
            self._wait(probe)
        except BaseException:
            self.stop()
            raise

    def _wait(self, probe: str) -> None:
        """Until the probe, a name, has an address."""
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
                if reply[3] & 15 == 0 and reply[6:8] != b"\0\0":
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


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def corefile(folder: Path, port: int, *lines: str) -> Path:
    """A Corefile of one server block that kdns and CoreDNS both read."""
    path = folder / f"Corefile-{port}"
    path.write_text("\n    ".join([f".:{port} {{", "bind 127.0.0.1", "errors", *lines]) + "\n}\n")
    return path


def kdns(folder: Path, probe: str, *lines: str) -> Server:
    port = free_port()
    command = [str(Path(sys.executable).with_name("kdns")), "-conf", str(corefile(folder, port, *lines))]
    return Server(command, folder, port, probe)


def find_coredns() -> str | None:
    """CoreDNS's program, built once into the user's cache where Go is installed."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kdns" / "bin"
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not (folder / "coredns").exists() and go:
        print(f"building {COREDNS}, once", file=sys.stderr, flush=True)
        subprocess.run([go, "install", COREDNS], env={**os.environ, "GOBIN": str(folder)}, check=False)
    return shutil.which("coredns", path=str(folder)) or shutil.which("coredns")


def coredns(program: str, folder: Path, probe: str, *lines: str) -> Server:
    port = free_port()
    return Server([program, "-conf", str(corefile(folder, port, *lines))], folder, port, probe)


def find_nsd() -> str | None:
    return shutil.which("nsd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def nsd(program: str, folder: Path, probe: str, zone: str, zone_file: Path) -> Server:
    """NSD with one process that answers."""
    port = free_port()
    conf = folder / f"nsd-{port}.conf"
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
zone:
    name: {zone}
    zonefile: "{zone_file}"
""")
    return Server([program, "-d", "-c", str(conf)], folder, port, probe)


def upstream(folder: Path, milliseconds: float, ttl: int) -> Server:
    """The upstream of benchmarks/upstream.py."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", str(port), str(milliseconds), str(ttl)]
    return Server(command, folder, port, "ready.test")
