"""kdns and its peers by everyday loads: `python -m benchmarks.peers [--kdns NAME=FOLDER ...]`.

All follow the same API server (the tests' control plane) with 10,000 Services, under kubeadm's Corefile, but for NSD, which
has the names in a zone file. What counts is the CPU time of a server and its children. Rounds are interleaved: in each, every
server has each load once, so that a slow minute of the machine is one for all of them. The loader is dnsperf.

`--kdns` adds another kdns, such as a compiled one or an older one: a folder that has the package. Figures go to the terminal
and, as JSON, to benchmarks/results/.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import cluster
from benchmarks.load import Question, read_dnsperf, write
from benchmarks.servers import find_coredns, find_nsd, free_port, nsd, ROOT, Server
from tests.support.control_plane.plane import ControlPlane

RESULTS = ROOT / "benchmarks" / "results"
SUFFIX = "svc.cluster.local"
SERVICES = 10_000
HEADLESS = (3, 30, 120)  # endpoints of the headless Services
DISTINCT = 48_000
HOT = 1_000
PROBE = f"service-05000.{cluster.namespace(5000)}.{SUFFIX}"
COOKIE = ("-E", "10:0123456789abcdef")
Rates = dict[str, dict[str, list[float]]]  # queries per CPU-second, by load and server, one a round


class Case(NamedTuple):
    """A load: the questions, what dnsperf is told besides, and how many seconds; 0 asks each question once."""

    name: str
    questions: list[Question]
    how: tuple[str, ...] = ()
    seconds: float = 1.0


# ---------------------------------------------------------------- the cluster and its names


def objects() -> Iterator[dict[str, Any]]:
    """10,000 Services with addresses, and one headless Service of each size."""
    for item in cluster.items(SERVICES, 0):
        item["metadata"].pop("resourceVersion", None)
        yield item
    for i, count in enumerate(HEADLESS):
        service = cluster.service(SERVICES + i, True)
        piece = cluster.endpoint_slice(SERVICES + i)
        every = [(f"10.200.{i}.{n + 1}", f"pod-{i}-{n}") for n in range(count)]
        piece["endpoints"] = [{"addresses": [ip], "conditions": {"ready": True}, "hostname": pod} for ip, pod in every]
        for item in (service, piece):
            item["metadata"].pop("resourceVersion", None)
            yield item


def name(i: int) -> str:
    return f"service-{i:05}.{cluster.namespace(i)}.{SUFFIX}"


def distinct(turn: int) -> list[Question]:
    """Names that no round asked before: a fifth of them Services, SRV and PTR, the rest what search lists make of Services."""
    chance = random.Random(turn)
    out: list[Question] = []
    for i in chance.sample(range(SERVICES), DISTINCT // 5):
        here = cluster.namespace(turn * 3 + i)
        out += [(f"{name(i)}.{cluster.namespace(i + n)}.{SUFFIX}", "A") for n in range(3 * turn + 1, 3 * turn + 4)]
        out += [(f"_http._tcp.{name(i)}", "SRV") if i % 2 else (f"{i & 255}.{i >> 8 & 255}.96.10.in-addr.arpa", "PTR")]
        out += [(name(i), "A") if i % 2 else (f"10-{i & 255}-{turn}-{i >> 8}.{here}.pod.cluster.local", "A")]
    chance.shuffle(out)
    return out


def mix(turn: int) -> list[Question]:
    """The everyday: 30 % Services, 45 % misses of search lists, 10 % SRV, 10 % names of Pods, 5 % PTR; few are hot."""
    chance = random.Random(100 + turn)
    kinds = chance.choices("smrpt", (30, 45, 10, 10, 5), k=30_000)
    out: list[Question] = []
    for kind in kinds:
        i = int(chance.paretovariate(0.7)) * 7919 % SERVICES
        at = cluster.namespace(i)
        out.append({
            "s": (name(i), "A"), "m": (f"{name(i)}.{cluster.namespace(i + 1 + turn)}.{SUFFIX}", "A"),
            "r": (f"_http._tcp.{name(i)}", "SRV"), "p": (f"10-1-{turn}-{i & 255}.{at}.pod.cluster.local", "A"),
            "t": (f"{i & 255}.{i >> 8 & 255}.96.10.in-addr.arpa", "PTR"),
        }[kind])  # fmt: skip
    return out


def zone_file(path: Path) -> Path:
    """The Services' names for a server of zone files."""
    lines = ["cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30",
             "cluster.local. 30 IN NS ns.dns.cluster.local."]  # fmt: skip
    for i in range(SERVICES):
        lines.append(f"{name(i)}. 30 IN A 10.{96 + (i >> 16)}.{i >> 8 & 255}.{i & 255}")
        lines.append(f"_http._tcp.{name(i)}. 30 IN SRV 0 100 80 {name(i)}.")
    for i, count in enumerate(HEADLESS):
        lines += [f"{name(SERVICES + i)}. 30 IN A 10.200.{i}.{n + 1}" for n in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path


def cases(turn: int) -> list[Case]:
    """The loads of a round, in their order."""
    hot = [(name(i), "A") for i in range(HOT)]
    spelt = [("".join(random.choice((c.lower(), c.upper())) for c in each), type) for each, type in hot]
    fresh = distinct(turn)
    return [
        Case("48,000 distinct names, first", fresh, (), 0),
        Case("48,000 distinct names, again", fresh, (), 0),
        Case("the real mix", mix(turn), (), 0),
        Case("1,000 hot names", hot),
        Case("hot, a cookie in each", hot, COOKIE),
        Case("hot, spelt at random", spelt),
        *(Case(f"hot, TCP, {n} connections", hot, ("-m", "tcp", "-c", str(n))) for n in (1, 8, 100)),
        *(Case(f"headless of {n}", [(name(SERVICES + i), "A")], ("-e",)) for i, n in enumerate(HEADLESS)),
    ]


# ---------------------------------------------------------------- servers


def corefile(folder: Path, port: int, kubeconfig: Path, cached: bool = False, more: str = "") -> Path:
    """kubeadm's, which keeps the cluster's zone out of the cache; `cached` does not."""
    disabled = "" if cached else "{\n        disable success cluster.local\n        disable denial cluster.local\n    }"
    path = folder / f"Corefile-{port}"
    path.write_text(f""".:{port} {{
    bind 127.0.0.1
    errors{more}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig} test
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus 127.0.0.1:{free_port()}
    forward . 127.0.0.1:{free_port()}
    cache 30 {disabled}
    loop
    loadbalance
}}
""")
    return path


def servers(stack: ExitStack, folder: Path, kubeconfig: Path, others: dict[str, str], peers: bool) -> dict[str, Server]:
    """All of them, started."""
    out: dict[str, Server] = {}

    def start(what: str, command: list[str], cached: bool = False, more: str = "") -> None:
        tell(f"starting {what}")
        port = free_port()
        conf = str(corefile(folder, port, kubeconfig, cached, more))
        out[what] = stack.enter_context(Server([*command, "-conf", conf], folder, port, PROBE))

    def package(place: str) -> list[str]:
        return ["env", f"PYTHONPATH={place}", sys.executable, "-P", "-m", "kdns"]

    start("kdns", package(str(ROOT)))
    for what, place in others.items():
        start(what, package(place))
    last = list(others.values())[-1] if others else str(ROOT)
    start("kdns, log", package(last), more="\n    log")
    start("kdns, acl", package(last), more="\n    acl {\n        allow net 127.0.0.0/8\n        block\n    }")
    if peers and (program := find_coredns()):
        start("CoreDNS", [program])
        start("CoreDNS, cache", [program], cached=True)
        start("CoreDNS, log", [program], more="\n    log")
    if peers and (program := find_nsd()):
        tell("starting NSD")
        zone = zone_file(folder / "zone")
        out["NSD"] = stack.enter_context(nsd(program, folder, PROBE, "cluster.local", zone))
    return out


# ---------------------------------------------------------------- one run


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def loaded(server: Server, case: Case, questions: Path) -> float:
    """Queries per CPU-second."""
    length = ["-l", f"{case.seconds:g}"] if case.seconds else ["-n", "1"]
    connections = () if "-c" in case.how else ("-c", "4")
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(questions), "-q", "200", "-t", "2",
               "-O", "suppress=timeout", *length, *connections, *case.how]  # fmt: skip
    before = server.cpu()
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return read_dnsperf(said).answered / max(server.cpu() - before, 0.01)


def wanted(what: str, case: Case) -> bool:
    """Is the load for the server? What has another Corefile shows what that costs hot names; NSD has no reverse zone."""
    if what.endswith((", log", ", acl")):
        return case.name == "1,000 hot names"
    return True


def run(every: dict[str, Server], folder: Path, rounds: int) -> Rates:
    rates: Rates = {}
    for turn in range(rounds):
        for case in cases(turn):
            questions = write(folder / "questions", case.questions)
            for what, server in every.items():
                if wanted(what, case):
                    rate = loaded(server, case, questions)
                    rates.setdefault(case.name, {}).setdefault(what, []).append(rate)
            tell(f"round {turn + 1} of {rounds}: {case.name}: " + ", ".join(
                f"{what} {seen[-1]:,.0f}" for what, seen in rates[case.name].items()
            ))  # fmt: skip
    return rates


def table(rates: Rates, memory: dict[str, float]) -> str:
    """Medians, a column a server."""
    columns = list(memory)
    lines = ["| queries per CPU-second | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for case, by_server in rates.items():
        figures = [f"{median(by_server[what]):,.0f}" if what in by_server else "" for what in columns]
        lines.append(f"| {case} | " + " | ".join(figures) + " |")
    lines.append("| memory afterwards, MB | " + " | ".join(f"{memory[what]:.0f}" for what in columns) + " |")
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--kdns", action="append", default=[], metavar="NAME=FOLDER", help="another kdns")
    arguments.add_argument("--alone", action="store_true", help="kdns without its peers")
    asked = arguments.parse_args()
    if shutil.which("dnsperf") is None:
        sys.exit("dnsperf is needed: apt-get install dnsperf")
    others = dict(each.split("=", 1) for each in asked.kdns)
    began = time.monotonic()
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(controllers=False))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kdns-bench-")))
        tell("loading the API server")
        plane.grant_dns()
        plane.load(objects())
        every = servers(stack, folder, plane.kubeconfig("dns"), others, not asked.alone)
        rates = run(every, folder, asked.rounds)
        memory = {what: server.rss() for what, server in every.items()}
    print(table(rates, memory))
    took = time.monotonic() - began
    print(f"\nmedians of {asked.rounds} rounds; load of the machine {os.getloadavg()[1]:.1f}; {took:.0f} s")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "peers.json").write_text(json.dumps({"rates": rates, "memory": memory, "seconds": took}, indent=1) + "\n")


if __name__ == "__main__":
    main()
