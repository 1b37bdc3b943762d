"""Reloads and rolling restarts under load: `python -m benchmarks.rollout`, some two minutes.

For a minute SIGUSR1 each second, with Corefiles that change, good ones and bad ones; then SIGTERM to one of two servers that
share a port, and the start of its successor, some times over. All the while a closed loop asks: each query must have its
reply at once, for none is ever repeated. Exit status 1 where one is lost.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.load import load, Loaded, write
from benchmarks.servers import Server
from kdns.testing.ports import free_port

NAMES = ("web.prod", "kubernetes.default", "nothere.prod")
COREFILE = """.:{port} {{
    bind 127.0.0.1
    errors
    {variant}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        manifests zones/cluster.yaml
        pods insecure
        ttl {ttl}
    }}
    loadbalance
}}
"""
VARIANTS = ("", "bufsize 1400", "no_such_plugin", "health 127.0.0.1:{http}", "bufsize 1", "cache 30")


def variant(path: Path, port: int, http: int, i: int) -> None:
    """The i-th Corefile in the place of the one before, as a ConfigMap would be: at once, never half."""
    text = COREFILE.format(port=port, ttl=5 + i % 7, variant=VARIANTS[i % len(VARIANTS)].format(http=http))
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def under_load(port: int, questions: Path, seconds: float, work: Callable[[], None]) -> Loaded:
    """What came of a load that lasts as long as some work."""
    done: list[Loaded] = []
    asking = threading.Thread(target=lambda: done.append(load(port, questions, seconds, own=True)))
    asking.start()
    time.sleep(1)
    work()
    asking.join()
    return done[0]


def reloads(server: Server, path: Path, http: int, seconds: int) -> None:
    for i in range(seconds):
        variant(path, server.port, http, i)
        os.kill(server.pid, signal.SIGUSR1)
        time.sleep(1)


def restarts(servers: list[Server], start: Callable[[], Server], times: int) -> None:
    for _ in range(times):
        servers.append(start())
        time.sleep(1)
        servers.pop(0).stop()
        time.sleep(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="how long to reload each second (60)")
    parser.add_argument("--restarts", type=int, default=8, help="how often to restart (8)")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions = write(folder / "questions", [(f"{each}.svc.cluster.local", "A") for each in NAMES])
        path, port, http = folder / "Corefile", free_port(), free_port()
        variant(path, port, http, 0)
        probe = "web.prod.svc.cluster.local"

        def start() -> Server:
            return Server([str(Path(sys.executable).with_name("kdns")), "-conf", str(path)], folder, port, probe)

        servers = [start()]
        try:
            one = under_load(port, questions, flags.seconds + 3, lambda: reloads(servers[0], path, http, flags.seconds))
            print(f"{flags.seconds} reloads: {one.answered} answered, {one.lost} lost, {one.failed} failed")
            two = under_load(
                port, questions, 3 + 4 * flags.restarts,
                lambda: restarts(servers, start, flags.restarts),
            )  # fmt: skip
            print(f"{flags.restarts} restarts: {two.answered} answered, {two.lost} lost, {two.failed} failed")
        finally:
            for server in servers:
                server.stop()
    return 1 if one.lost or two.lost or one.failed or two.failed else 0


if __name__ == "__main__":
    sys.exit(main())
