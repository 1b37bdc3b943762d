"""kdns beside its peers, in queries per CPU-second of the server: `python -m benchmarks.bench`, under four minutes.

What counts is the CPU time that a server and its children took, user and system, while it was loaded, not the clock: the
loader and whoever else uses the machine have their own. Every figure is the median of three. Servers that are compared take
turns, so that a slow minute of the machine is a slow minute for both. NSD and CoreDNS are left out where they are not
installed (CoreDNS is built once where Go is). What CoreDNS does in a cluster, with an API server, is in control_plane.py.
"""

import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
from pathlib import Path
from statistics import median

from benchmarks import cluster
from benchmarks.load import load, Loaded, loader, Question, write
from benchmarks.servers import coredns, find_coredns, find_nsd, kdns, nsd, ROOT, Server, upstream

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


def kubernetes(manifest: Path) -> list[str]:
    """kubeadm's directive over a manifest."""
    options = ("pods insecure", "fallthrough in-addr.arpa ip6.arpa", "ttl 30", f"manifests {manifest}")
    return ["kubernetes cluster.local in-addr.arpa ip6.arpa {", *(f"    {option}" for option in options), "}"]


def against(figures: Figures, peer: Figures | None, name: str) -> str:
    return f"{figures.rate / peer.rate:.2f} of {name}'s" if peer is not None else ""


# ---------------------------------------------------------------- hot names


def golden() -> list[dict[str, list[str] | str]]:
    lines = (TOWN / "answers" / "kubeadm.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "skip" not in row]


def addresses(row: dict[str, list[str] | str], count: int) -> bool:
    """Is it a question for A with so many addresses and nothing else?"""
    own = [line for line in row["answer"] if line.split()[2] == "A" and line.split()[0] == row["name"]]
    plain = re.fullmatch(r"[a-z0-9.-]+", str(row["name"])) is not None
    return row["type"] == "A" and plain and len(own) == len(row["answer"]) == count


def zone_file(path: Path, rows: list[dict[str, list[str] | str]]) -> Path:
    apex = "ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30"
    lines = [f"cluster.local. 30 IN SOA {apex}", "cluster.local. 30 IN NS ns.dns.cluster.local."]
    for row in rows:
        for line in row["answer"]:
            owner, ttl, record = line.split(" ", 2)
            lines.append(f"{owner} {ttl} IN {record}")
    path.write_text("\n".join(lines) + "\n")
    return path


def hot(folder: Path, coredns_program: str | None, nsd_program: str | None) -> None:
    """Names that are in the memo, and NSD and CoreDNS with the same names from a zone file."""
    rows = golden()
    singles = [row for row in rows if addresses(row, 1)][:HOT]
    headless = [row for row in rows if addresses(row, 3)][:1]
    zone = zone_file(folder / "hot.zone", singles + headless)
    probe = str(singles[0]["name"])
    kinds = {
        "one name": singles[:1], "20 names": singles, "a headless name, 3 addresses": headless, "golden questions": rows,
    }  # fmt: skip
    files = {
        kind: write(folder / f"hot{n}", [(str(row["name"]), str(row["type"])) for row in asked])
        for n, (kind, asked) in enumerate(kinds.items())
    }
    with ExitStack() as stack:
        ours = stack.enter_context(kdns(folder, probe, *kubernetes(TOWN / "objects.json"), "loadbalance"))
        peers: dict[str, Server] = {}
        if nsd_program:
            peers["NSD"] = stack.enter_context(nsd(nsd_program, folder, probe, "cluster.local", zone))
        if coredns_program:
            lines = [f"file {zone} cluster.local", "loadbalance"]
            peers["CoreDNS"] = stack.enter_context(coredns(coredns_program, folder, probe, *lines))
        own = {kind: Figures() for kind in kinds}
        theirs = {name: Figures() for name in peers}
        for _ in range(ROUNDS):
            for kind, figures in own.items():
                measure(ours, files[kind], figures)
            for name, figures in theirs.items():
                measure(peers[name], files["20 names"], figures)
    for name, figures in theirs.items():
        figures.row(f"{name}, the 20 names from a zone file")
    for kind, figures in own.items():
        figures.row(f"kdns, {kind}", against(figures, theirs.get("NSD"), "NSD"))


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
    manifest = folder / "cluster.json"
    with open(manifest, "wb") as out:
        subprocess.run([sys.executable, "-m", "benchmarks.cluster"], cwd=ROOT, stdout=out, check=True)
    mixes = {"by search lists": searched_names(), "of all kinds": distinct_names()}
    files = {kind: write(folder / f"distinct{n}", names) for n, (kind, names) in enumerate(mixes.items())}
    probe = f"service-05000.{cluster.namespace(5000)}.{SUFFIX}"
    first, second = ({kind: Figures() for kind in mixes} for _ in range(2))
    loading, loaded, after = [], [], []
    for _ in range(ROUNDS):
        with kdns(folder, probe, *kubernetes(manifest), "loadbalance") as server:
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
    rows = [row for row in golden() if addresses(row, 1)][:HOT]
    questions = write(folder / "counted", [(str(row["name"]), "A") for row in rows])
    probe, chain = str(rows[0]["name"]), [*kubernetes(TOWN / "objects.json"), "loadbalance"]
    off, on, costs = Figures(), Figures(), []
    with kdns(folder, probe, *chain) as plain, kdns(folder, probe, *chain, "prometheus 127.0.0.1:0") as counting:
        for _ in range(2 * ROUNDS + 1):
            without = measure(plain, questions, off, 1.0, own=True)
            costs.append(1 - measure(counting, questions, on, 1.0, own=True) / without)
    note = f"{min(costs):.1%} to {max(costs):.1%}; target: under 5%"
    show("kdns, what prometheus costs on hits", f"{median(costs):.1%}", str(off.lost + on.lost), note)


# ---------------------------------------------------------------- forwarded names


def forwarded(folder: Path, coredns_program: str | None) -> None:
    """Names that an upstream knows: cached and hot ones, and such as were never asked before."""
    warm = write(folder / "warm", [(f"hot-{n}.example.test.", "A") for n in range(HOT)])
    with ExitStack() as stack:
        far = stack.enter_context(upstream(folder, 1.0, 300))
        lines = [f"forward . 127.0.0.1:{far.port}", "cache 30", "loadbalance"]
        servers = {"kdns": stack.enter_context(kdns(folder, "ready.test.", *lines))}
        if coredns_program:
            servers["CoreDNS"] = stack.enter_context(coredns(coredns_program, folder, "ready.test.", *lines))
        hits, misses = ({name: Figures() for name in servers} for _ in range(2))
        for turn in range(ROUNDS):
            cold = write(folder / "cold", [(f"name-{turn}-{n}.example.test.", "A") for n in range(200_000)])
            for name, server in servers.items():
                measure(server, warm, hits[name])
                measure(server, cold, misses[name])
    peer = "CoreDNS"
    for name in reversed(servers):
        note = f"{against(hits[name], hits.get(peer), peer)}; target: 150,000" if name == "kdns" else ""
        hits[name].row(f"{name}, 20 names forwarded and cached", note)
    for name in reversed(servers):
        note = f"{against(misses[name], misses.get(peer), peer)}; target: 0.8" if name == "kdns" else ""
        misses[name].row(f"{name}, names never asked before, upstream takes 1 ms", note)


@contextmanager
def timed() -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"\n{time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    coredns_program, nsd_program = find_coredns(), find_nsd()
    print(f"Queries per CPU-second of the server, medians of {ROUNDS}; loader: {loader()}.\n")
    show("what", "figure", "lost", "spread; compared; failed: SERVFAIL, NOTIMP, REFUSED")
    with timed(), tempfile.TemporaryDirectory(prefix="kdns-bench-") as name:
        folder = Path(name)
        hot(folder, coredns_program, nsd_program)
        large(folder)
        counted(folder)
        forwarded(folder, coredns_program)


if __name__ == "__main__":
    main()
