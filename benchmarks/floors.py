"""Is kdns still as fast as it was? `python -m benchmarks.floors`: half a minute, a part of CI.

Figures are queries per CPU-second as a share of what benchmarks/echo.c, the kernel's limit, has in the same run, the best of
some rounds, for noise only takes away. The floors are a third to a half of what was measured when they were set: they notice a
load that is no longer answered from the memo, or a way of twice the length, and no busy machine.
"""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import cluster
from benchmarks.bench import loaded
from benchmarks.load import write
from benchmarks.loads import COOKIE, Load, name, PROBE
from benchmarks.servers import echo, kdns, kubernetes, PINNED, share_cores

ROUNDS = 3
SERVICES = 6_000
MISSES = 20_000
FLOORS = {"hit": 0.2, "hit, a cookie in each": 0.1, "hit over TCP": 0.2, "miss": 0.025}
LIMIT = "the echo"


def loads(turn: int) -> list[Load]:
    hot = [(name(i), "A") for i in range(200)]
    suffix = cluster.namespace(turn)
    return [
        Load(LIMIT, hot),
        Load("hit", hot),
        Load("hit, a cookie in each", hot, COOKIE),
        Load("hit over TCP", hot, ("-m", "tcp", "-c", "4")),
        Load("miss", [(f"{turn}-{n}.{name(n % SERVICES)}.{suffix}.svc.cluster.local", "A") for n in range(MISSES)], (), 0),
    ]


def measured(folder: Path) -> dict[str, float]:
    """The best rate of each load."""
    manifest = cluster.write_manifest(folder / "cluster.json", SERVICES, 0)
    best: dict[str, float] = {}
    with ExitStack() as stack:
        limit = stack.enter_context(echo(folder, PINNED))
        ours = stack.enter_context(kdns(folder, PROBE, *kubernetes(f"manifests {manifest}"), "loadbalance"))
        for turn in range(ROUNDS):
            for load in loads(turn):
                questions = write(folder / "questions", load.questions)
                rate = loaded(limit if load.name == LIMIT else ours, load, questions)
                best[load.name] = max(rate, best.get(load.name, 0.0))
    return best


def main() -> None:
    share_cores()
    with tempfile.TemporaryDirectory(prefix="kdns-floors-") as folder:
        best = measured(Path(folder))
    print(f"{LIMIT:<24} {best[LIMIT]:>10,.0f} queries per CPU-second")
    for what, floor in FLOORS.items():
        share = best[what] / best[LIMIT]
        print(f"{what:<24} {best[what]:>10,.0f} {share:>7.3f} of it, at least {floor}" + (": TOO SLOW" if share < floor else ""))
    if any(best[what] / best[LIMIT] < floor for what, floor in FLOORS.items()):
        sys.exit("slower than it was: see `make bench`")


if __name__ == "__main__":
    main()
