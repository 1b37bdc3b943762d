"""kdns beside its peers by everyday loads, in queries per CPU-second: `python -m benchmarks.bench [--quick]`.

What counts is the CPU time of a server and its children, user and system, while it was loaded; the loader, dnsperf, has the
other cores. kdns and CoreDNS follow one API server (the tests' control plane) with 10,000 Services under kubeadm's Corefile and
in CoreDNS's limit of memory; NSD, Knot and unbound have the same names from zone files; a program of C that sends back what it
is sent shows how fast a server can be at all. Rounds are interleaved: in each, every server has each load once, so that a slow
minute of the machine is one for all. What is not installed is left out.

`--kdns NAME=FOLDER` adds another kdns, such as a compiled or an older one: a folder that has the package. Figures go to the
terminal, and to benchmarks/results/ as JSON and as a picture.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.control_plane import Etcd
from benchmarks.load import read_dnsperf, write
from benchmarks.loads import ask_one_each, changed, Load, loads, objects
from benchmarks.peers import Servers, start, takes
from benchmarks.servers import ROOT, Server, share_cores, upstream
from tests.support.control_plane.plane import ControlPlane

RESULTS = ROOT / "benchmarks" / "results"
ROUNDS = 3
QUICK = ("kdns", "compiled", "CoreDNS", "CoreDNS, cache", "NSD", "echo")  # who is in the short one
Rates = dict[str, dict[str, list[float]]]  # queries per CPU-second, by load and server, one a round


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def changing(plane: ControlPlane, rate: int) -> Iterator[None]:
    """So many Services change each second meanwhile."""
    if not rate:
        yield
        return
    over, etcd = threading.Event(), Etcd(plane)

    def change() -> None:
        began = time.monotonic()
        n = 0
        while not over.wait(max(0.0, began + n / rate - time.monotonic())):
            etcd.put(Etcd.body(changed(n)))
            n += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def loaded(server: Server, load: Load, questions: Path) -> float:
    """Queries per CPU-second."""
    before = server.cpu()
    if load.one_each:
        answered = ask_one_each(server.port, load.questions, load.seconds)
    else:
        length = ["-l", f"{load.seconds:g}"] if load.seconds else ["-n", "1"]
        connections = () if "-c" in load.how else ("-c", "4")
        command = ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(questions), "-q", "200", "-t", "2",
                   "-O", "suppress=timeout", *length, *connections, *load.how]  # fmt: skip
        answered = read_dnsperf(subprocess.run(command, check=True, capture_output=True, text=True).stdout).answered
    return answered / max(server.cpu() - before, 0.01)


def run(every: Servers, plane: ControlPlane, folder: Path, rounds: int) -> Rates:
    rates: Rates = {}
    for turn in range(rounds):
        for load in loads(turn):
            questions = write(folder / "questions", load.questions)
            with changing(plane, load.changes):
                for what, server in every.items():
                    if takes(what, load):
                        if load.fresh:
                            server.start_again()
                        rates.setdefault(load.name, {}).setdefault(what, []).append(loaded(server, load, questions))
            tell(f"round {turn + 1} of {rounds}: {load.name}: " + ", ".join(
                f"{what} {seen[-1]:,.0f}" for what, seen in rates[load.name].items()
            ))  # fmt: skip
    return rates


def spread(figures: list[float]) -> str:
    """A median, and how far from it the figures are."""
    middle = median(figures)
    off = max(abs(figure - middle) for figure in figures) / middle
    return f"{middle:,.0f}" + (f" ±{off:.0%}" if len(figures) > 1 else "")


def table(rates: Rates, memory: dict[str, float]) -> str:
    """Medians with their spreads, a column a server."""
    columns = list(memory)
    rows = [["queries per CPU-second", *columns], ["---", *("---:" for _ in columns)]]
    for load, by_server in rates.items():
        rows.append([load, *(spread(by_server[what]) if what in by_server else "" for what in columns)])
    rows.append(["memory afterwards, MB", *(f"{memory[what]:.0f}" for what in columns)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def measured(asked: argparse.Namespace) -> tuple[Rates, dict[str, float]]:
    """The whole run: rates, and resident memory in MB after it."""
    ours = {"kdns": ROOT, **{what: Path(place).resolve() for what, _, place in (each.partition("=") for each in asked.kdns)}}
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(controllers=False))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kdns-bench-")))
        tell("loading the API server")
        plane.grant_dns()
        plane.load(objects())
        far = stack.enter_context(upstream(folder, 1.0, 300))
        every = start(stack, folder, plane.kubeconfig("dns"), far.port, ours, lambda what: not asked.quick or what in QUICK)
        rates = run(every, plane, folder, 1 if asked.quick else asked.rounds)
        return rates, {what: server.rss() for what, server in every.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--quick", action="store_true", help="one round, the most telling servers")
    arguments.add_argument("--kdns", action="append", default=[], metavar="NAME=FOLDER", help="another kdns")
    asked = arguments.parse_args()
    if shutil.which("dnsperf") is None:
        sys.exit("dnsperf is needed: apt-get install dnsperf")
    share_cores()
    began = time.monotonic()
    rates, memory = measured(asked)
    print(table(rates, memory))
    took, busy = time.monotonic() - began, os.getloadavg()[1]
    print(f"\nload of the machine {busy:.1f}; {took:.0f} s")
    if asked.quick:
        return
    RESULTS.mkdir(exist_ok=True)
    found: dict[str, Any] = {"rates": rates, "memory": memory, "seconds": took, "load of the machine": busy}
    (RESULTS / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    from benchmarks.picture import draw

    draw(rates, RESULTS / "bench.svg")


if __name__ == "__main__":
    main()
