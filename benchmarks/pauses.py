"""What holds kdns's event loop up, and for how long: `python -m benchmarks.pauses`.

kdns follows the tests' control plane with 10,000 Services and 100,000 endpoints, and has 48,000 replies to give again. Then come
a load of queries, changes, a snapshot, scrapes of /metrics, reloads, and an API server that starts anew, so that all is listed
once more. Of each the longest piece of work is shown that the loop did at one time, by the CPU time of its thread, and the
longest collection of garbage: a busy machine makes neither longer.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from benchmarks.cluster import namespace
from benchmarks.control_plane import A, changes, changing, Etcd, loaded, question, rest, touched
from benchmarks.load import load, write
from benchmarks.loads import distinct, PROBE
from benchmarks.servers import corefile, kubeadm, Server
from kdns.testing.ports import free_port
from tests.support.control_plane.plane import ControlPlane, until

SERVICES, SLICES = 10_000, 1_000
WANTED = 5.0  # ms


# ---------------------------------------------------------------- the server


def serve(conf: Path) -> None:
    """kdns, and a line of its longest pieces of work for each SIGUSR2."""
    from kdns.server import run

    longest = {"ms": 0.0, "of": "", "gc": 0.0, "generation": 0}
    step: Callable[[asyncio.Handle], None] = asyncio.Handle._run  # type: ignore[attr-defined]
    began = [0.0]

    def timed(handle: asyncio.Handle) -> None:
        before = time.thread_time()
        step(handle)
        took = 1000 * (time.thread_time() - before)
        if took > float(longest["ms"]):
            longest.update(ms=took, of=repr(handle))

    def collected(phase: str, of: dict[str, int]) -> None:
        if phase == "start":
            began[0] = time.thread_time()
        elif (took := 1000 * (time.thread_time() - began[0])) > float(longest["gc"]):
            longest.update(gc=took, generation=of["generation"])

    def say() -> None:
        print(json.dumps(longest), flush=True)
        longest.update(ms=0.0, of="", gc=0.0, generation=0)

    text = conf.read_text()

    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, say)
        await run.serve(text, str(conf))

    asyncio.Handle._run = timed  # type: ignore[attr-defined]
    gc.callbacks.append(collected)
    asyncio.run(main())


# ---------------------------------------------------------------- what is done to it


class Measured:
    """The server, asked after each thing that is done to it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.over = 0

    def after(self, what: str, seconds: float = 1.0) -> None:
        """Show the longest piece of work since the last time, once what was begun is over."""
        time.sleep(seconds)
        said = self._server.log.stat().st_size
        os.kill(self._server.pid, signal.SIGUSR2)
        until(lambda: b"}\n" in self._server.log.read_bytes()[said:], "what the server says", 30)
        line = next(line for line in self._server.log.read_bytes()[said:].decode().splitlines() if line.startswith("{"))
        found = json.loads(line)
        late = found["ms"] > WANTED
        self.over += late
        collector = f"{found['gc']:.1f} ({found['generation']})"
        print(f"| {what} | {found['ms']:.1f} | {collector} |" + (f" {found['of'][:150]}" if late else ""), flush=True)


def measure(plane: ControlPlane, folder: Path) -> int:
    """All of it; how many were held up for longer than wanted."""
    port, metrics = free_port(), free_port()
    snapshot = folder / "state" / "snapshot"
    source = (f"kubeconfig {plane.kubeconfig('dns')} test", f"snapshot {snapshot}")
    conf = corefile(folder, port, *kubeadm(*source, upstream=free_port(), metrics=metrics, cached=True))
    command = [sys.executable, "-m", "benchmarks.pauses", "--serve", str(conf)]
    names = write(folder / "names", distinct(0))
    print("| what | longest piece, ms | of garbage, ms (generation) |\n| --- | ---: | ---: |")
    with Server(command, folder, port, PROBE) as server:
        seen = Measured(server)
        until(snapshot.exists, "the first snapshot", 60)
        seen.after("start and the first list")
        load(port, names)
        load(port, names)
        seen.after("48,000 names, twice")
        etcd = Etcd(plane)
        for _, body in zip(range(2000), changes(SERVICES, SLICES), strict=False):
            etcd.put(body)
        seen.after("2,000 changes")
        written = snapshot.stat().st_mtime
        until(lambda: snapshot.stat().st_mtime > written, "the next snapshot", 60)
        seen.after("a snapshot")
        load(port, names)
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=30) as reply:
                reply.read()
        seen.after("three scrapes of /metrics")
        for _ in range(3):
            load(port, names)
            seen.after("(the names again)", 0.2)
            os.kill(server.pid, signal.SIGUSR1)
            seen.after("a reload", 8)
        load(port, names)
        seen.after("(the names again)", 0.2)
        plane.kill_apiserver()
        plane.load([changing(1, "relist"), *touched()])
        plane.start_apiserver()
        wire = question(f"alias-1.{namespace(0)}.svc.cluster.local", A)
        until(lambda: b"relist" in asked(port, wire), "the change of meanwhile", 60)
        seen.after("a relist", 5)
    return seen.over


def asked(port: int, wire: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2.0)
        sock.connect(("127.0.0.1", port))
        sock.send(wire)
        return sock.recv(4096)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--serve", type=Path, metavar="COREFILE", help="be the server")
    given = arguments.parse_args()
    if given.serve:
        return serve(given.serve)
    with ControlPlane(controllers=False) as plane, tempfile.TemporaryDirectory(prefix="kdns-pauses-") as folder:
        plane.grant_dns()
        plane.load(loaded(SERVICES, SLICES))
        rest(plane)
        over = measure(plane, Path(folder))
    print(f"\n{over or 'none'} of these held the loop up for more than {WANTED:g} ms")


if __name__ == "__main__":
    main()
