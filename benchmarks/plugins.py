"""What a plugin in the server block costs a hit of the memo: `python -m benchmarks.plugins`, two and a half minutes.

Two servers of the same manifest, one of them with the plugin before *kubernetes*, are asked the cluster's names in turns, and
then the one with the plugin what only it answers. A figure is queries per CPU-second, the median of the rounds; a share is the
median of those of pairs. Where either is under half of what the server has without, these were no hits, and the run fails.
"""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import cluster
from benchmarks.bench import loaded
from benchmarks.load import Question, write
from benchmarks.loads import Load, name, PROBE
from benchmarks.servers import kdns, kubernetes, share_cores

SERVICES = 6_000
ASKED = 200
ROUNDS = 7
LEAST = 0.5


class Case(NamedTuple):
    """Lines of the Corefile, and a question that only they answer."""

    lines: list[str]
    own: Question


HERE = "127.0.0.0/8"  # where the load comes from
CASES = {
    "hosts": Case(["hosts {", "    10.9.9.9 www.example.org", "    fallthrough", "}"], ("www.example.org", "A")),
    "template": Case(
        ["template IN A example.org {", r"    match ^ip-(\d+)\.", '    answer "{{ .Name }} 60 IN A 10.0.0.{{ index .Match 1 }}"',
         "    fallthrough", "}"], ("ip-7.example.org", "A"),
    ),
    "rewrite": Case([f"rewrite name www.example.net {PROBE}"], ("www.example.net", "A")),
    "acl": Case(["acl {", "    block type TXT net 192.0.2.0/24", f"    allow net {HERE}", "    block", "}"], (PROBE, "AAAA")),
    "view": Case(["view here {", f"    expr incidr(client_ip(), '{HERE}')", "}"], (PROBE, "AAAA")),
    "autopath": Case(["autopath @kubernetes"], (f"{PROBE}.{cluster.namespace(7)}.svc.cluster.local", "A")),
}  # fmt: skip


def measured(folder: Path, manifest: Path, case: Case) -> list[tuple[float, float, float]]:
    """By round: the rate without the plugin, with it, and of what it answers itself."""
    hot = write(folder / "hot", [(name(i), "A") for i in range(ASKED)])
    own = write(folder / "own", [case.own])
    with ExitStack() as stack:
        rest = [*kubernetes(f"manifests {manifest}"), "loadbalance"]
        plain, more = (stack.enter_context(kdns(folder, PROBE, *lines, *rest)) for lines in ([], case.lines))
        rates = []
        for turn in range(ROUNDS):
            pair = {server: loaded(server, Load("", []), hot) for server in ((plain, more) if turn % 2 else (more, plain))}
            rates.append((pair[plain], pair[more], loaded(more, Load("", []), own)))
    return rates


def main() -> None:
    share_cores()
    slow = []
    print(f"{'plugin':<10} {'without':>9} {'with':>9} {'share':>6} {'its own answers':>16}   queries per CPU-second")
    with tempfile.TemporaryDirectory(prefix="kdns-plugins-") as place:
        folder = Path(place)
        manifest = cluster.write_manifest(folder / "cluster.json", SERVICES, 0)
        for plugin, case in CASES.items():
            rates = measured(folder, manifest, case)
            without, with_it, own = (median(column) for column in zip(*rates, strict=True))
            share = median(more / plain for plain, more, _ in rates)
            print(f"{plugin:<10} {without:>9,.0f} {with_it:>9,.0f} {share:>6.2f} {own:>16,.0f}", flush=True)
            slow += [plugin] if share < LEAST or own / without < LEAST else []
    if slow:
        sys.exit(f"no hits of the memo any more: {', '.join(slow)}")


if __name__ == "__main__":
    main()
