"""kdns over a manifest, without an API server and without peers: `python -m benchmarks.manifests`, two minutes.

What a large cluster takes to load and to keep, the first and second time that 100,000 of its names are asked for, and what
*prometheus* costs. CPU time is that of the server and its children, user and system; every figure is the median of three.
"""

import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks import cluster
from benchmarks.load import load, Loaded, loader, Question, write
from benchmarks.servers import kdns, kubernetes, ROOT, Server

TOWN = ROOT / "tests" / "golden" / "town"
ROUNDS = 3
SECONDS = 2.0  # of one load
HOT = 20
SUFFIX = "svc.cluster.local."
SERVICES, HEADLESS = 10_000, 1_000


class Figures:
    """What one kind of load did to one server, a rate for each round."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.lost = self.failed = 0

    def add(self, loaded: Loaded, cpu: float) -> float:
        self.rates.append(loaded.answered / max(cpu, 0.01))
        self.lost, self.failed = self.lost + loaded.lost, self.failed + loaded.failed
        return self.rates[-1]

    @property
    def rate(self) -> float:
        return median(self.rates)

    def row(self, what: str, note: str = "") -> None:
        spread = f"{min(self.rates):,.0f} to {max(self.rates):,.0f}"
        failed = f"{self.failed} failed" if self.failed else ""
        show(what, f"{self.rate:,.0f}", str(self.lost), "; ".join(filter(None, (spread, failed, note))))


def show(what: str, figure: str, lost: str = "", note: str = "") -> None:
    print(f"{what:<58} {figure:>10} {lost:>6}  {note}".rstrip(), flush=True)


def measure(server: Server, questions: Path, figures: Figures, seconds: float = SECONDS, own: bool = False) -> float:
    """Load a server and note its rate; 0 seconds ask each question once; `own`: by our own loader."""
    before = server.cpu()
    loaded = load(server.port, questions, seconds, own)
    return figures.add(loaded, server.cpu() - before)


# ---------------------------------------------------------------- a large cluster


def searched_names() -> list[Question]:
    """100,000 names: each Service's, and what the search lists of Pods in nine other namespaces make of it."""
    out: list[Question] = []
    for i in range(SERVICES):
        service = f"service-{i:05}.{cluster.namespace(i)}.{SUFFIX}"
        out += [(service, "A"), *((f"{service}{cluster.namespace(i + n)}.{SUFFIX}", "A") for n in range(1, 10))]
    random.Random(12).shuffle(out)
    return out


def distinct_names() -> list[Question]:
    """100,000 names of all kinds: half of them endpoints', the rest Services', SRV, PTR, and two sorts that do not exist."""
    out: list[Question] = []
    for i in range(SERVICES):
        name, other = f"service-{i:05}", f"service-{i:05}.{cluster.namespace(i)}.{SUFFIX}"
        ip = f"10.{96 + (i >> 16)}.{i >> 8 & 255}.{i & 255}" if i >= HEADLESS else endpoint_address(i, 0)
        out += [(other, "A"), (f"_http._tcp.{other}", "SRV"), (f"{name}.{cluster.namespace(i + 1)}.{SUFFIX}", "A")]
        reverse = ".".join(reversed(ip.split(".")))
        out += [(f"{other}{cluster.namespace(i)}.{SUFFIX}", "A"), (f"{reverse}.in-addr.arpa.", "PTR")]
    for i in range(HEADLESS):
        for n in range(50):
            service = f"service-{i:05}"
            owner = f"{service}-{n}" if n % 2 else endpoint_address(i, n).replace(".", "-")
            out.append((f"{owner}.{service}.{cluster.namespace(i)}.{SUFFIX}", "A"))
    random.Random(11).shuffle(out)
    return out


def endpoint_address(service: int, n: int) -> str:
    address: str = cluster.endpoint(service, n, "")["addresses"][0]
    return address


def large(folder: Path) -> None:
    """The load of a large cluster, and the first and second time that 100,000 of its names are asked for."""
    manifest = cluster.write_manifest(folder / "cluster.json", SERVICES, HEADLESS)
    mixes = {"by search lists": searched_names(), "of all kinds": distinct_names()}
    files = {kind: write(folder / f"distinct{n}", names) for n, (kind, names) in enumerate(mixes.items())}
    probe = f"service-05000.{cluster.namespace(5000)}.{SUFFIX}"
    first, second = ({kind: Figures() for kind in mixes} for _ in range(2))
    loading, loaded, after = [], [], []
    for _ in range(ROUNDS):
        with kdns(folder, probe, *kubernetes(f"manifests {manifest}"), "loadbalance") as server:
            time.sleep(0.5)
            loading.append(server.cpu())
            loaded.append(server.rss())
            for kind, questions in files.items():
                measure(server, questions, first[kind], 0)
                measure(server, questions, second[kind], 0)
            after.append(server.rss())
    size = manifest.stat().st_size / 1e6
    show(f"kdns, CPU-seconds from start to ready, {size:.0f} MB of JSON", f"{median(loading):.2f}", note="target: under 3")
    show("kdns, MB with 10,000 Services and 100,000 endpoints", f"{median(loaded):.0f}", note="target: under 90")
    for kind in mixes:
        first[kind].row(f"kdns, 100,000 distinct names {kind}, first time", "target: 80,000")
        second[kind].row(f"kdns, 100,000 distinct names {kind}, second time")
    show("kdns, MB after these names", f"{median(after):.0f}", note="target: under 130")


# ---------------------------------------------------------------- metrics


def counted(folder: Path) -> None:
    """What *prometheus* costs on hits, by the loader that keeps the server busy: the difference is small."""
    rows = map(json.loads, (TOWN / "answers" / "kubeadm.jsonl").read_text().splitlines())
    names = [row["name"] for row in rows if row["type"] == "A" and [row["name"]] == [line.split()[0] for line in row["answer"]]]
    questions = write(folder / "counted", [(name, "A") for name in names[:HOT]])
    probe, chain = names[0], [*kubernetes(f"manifests {TOWN}/objects.json"), "loadbalance"]
    off, on, costs = Figures(), Figures(), []
    with kdns(folder, probe, *chain) as plain, kdns(folder, probe, *chain, "prometheus 127.0.0.1:0") as counting:
        for _ in range(2 * ROUNDS + 1):
            without = measure(plain, questions, off, 1.0, own=True)
            costs.append(1 - measure(counting, questions, on, 1.0, own=True) / without)
    note = f"{min(costs):.1%} to {max(costs):.1%}; target: under 5%"
    show("kdns, what prometheus costs on hits", f"{median(costs):.1%}", str(off.lost + on.lost), note)


@contextmanager
def timed() -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"\n{time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    print(f"Queries per CPU-second of the server, medians of {ROUNDS}; loader: {loader()}.\n")
    show("what", "figure", "lost", "spread; compared; failed: SERVFAIL, NOTIMP, REFUSED")
    with timed(), tempfile.TemporaryDirectory(prefix="kdns-bench-") as name:
        folder = Path(name)
        large(folder)
        counted(folder)


if __name__ == "__main__":
    main()
