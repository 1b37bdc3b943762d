"""What do reasons cost? `python -m benchmarks.reasons`: half a minute.

Names that do not exist are asked of two server blocks alike, of which one gives no reasons, in turns: NXDOMAIN that the memo does
not have (every name is new, with EDNS, as resolvers ask), and the same names again, which it has. No sockets: what the kernel costs
would hide it. Each figure is of process time; the cost is the median of the pairs. Reasons have an allowance by the second, to
which the turns of the other add nothing.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import dns.message

from benchmarks import cluster
from benchmarks.loads import name
from kdns.cluster.reasons import Reasons
from kdns.core.generation import Generation
from kdns.core.listener import Listener
from kdns.core.plugin import Kept
from kdns.dns.query import Address, Transport
from kdns.plugins.kubernetes import Kubernetes
from kdns.server.load import load

SERVICES = 1_000
ASKED = 2_000  # questions of a turn
AGAIN = 20  # times that they are asked again
PAIRS = 60
MOST = 0.03  # that reasons may cost a miss
HERE = Address("127.0.0.1", 53)
COREFILE = """.:0 {{
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        manifests {}
    }}
    loadbalance
}}
"""


async def at_work(manifest: Path, explaining: bool) -> tuple[Listener, Reasons]:
    """A listening address without a socket, and its reasons."""
    generation = Generation()
    load(COREFILE.format(manifest), generation=generation)
    await asyncio.gather(*(kept.start() for kept in list(generation.kept.values()) if isinstance(kept, Kept)))
    (plugin,) = generation.blocks[0].named("kubernetes")
    reasons = cast(Kubernetes, plugin).answers.reasons
    if not explaining:
        reasons.wanted = lambda query: False  # type: ignore[method-assign]
    return next(iter(generation.listeners.values())), reasons


def questions(turn: int) -> list[bytes]:
    """Misspelt Services, namespaces that are not there, tries of a search list: no name twice."""
    out = []
    for n in range(ASKED):
        known = name((turn * ASKED + n) % SERVICES)
        namespace = known.split(".")[1]
        asked = (
            f"x{turn}-{n}-{known}",
            f"web.gone-{turn}-{n}.svc.cluster.local",
            f"www-{turn}-{n}.example.com.{namespace}.svc.cluster.local",
        )[n % 3]
        out.append(dns.message.make_query(asked, "A", use_edns=0, payload=1232).to_wire())
    return out


async def missed(listener: Listener, reasons: Reasons, every: list[bytes]) -> float:
    """Seconds of process time for a miss of each."""
    reasons._since = time.monotonic()
    began = time.process_time()
    for wire in every:
        await listener.reply(wire, HERE, HERE, Transport.UDP)
    return time.process_time() - began


def hit(listener: Listener, every: list[bytes]) -> float:
    """The same, where the memo has them."""
    bare = [wire[2:] for wire in every]
    began = time.process_time()
    for _ in range(AGAIN):
        for query in bare:
            if listener.replay(query, HERE, Transport.UDP) is None:
                raise SystemExit("the memo does not have what was asked just now")
    return (time.process_time() - began) / AGAIN


def printed(what: str, pairs: list[tuple[float, float]]) -> float:
    """The median of what reasons cost, as a share; a line says it."""
    cost = statistics.median(told / plain for told, plain in pairs) - 1
    told, plain = (statistics.median(times) / ASKED * 1e6 for times in zip(*pairs, strict=True))
    print(f"{what}: {told:.2f} µs with reasons, {plain:.2f} µs without: {cost:+.1%}")
    return cost


async def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        manifest = cluster.write_manifest(Path(folder) / "cluster.json", SERVICES, 0)
        both = [await at_work(manifest, explaining) for explaining in (True, False)]
        misses, hits = [], []
        for turn in range(PAIRS):
            every = questions(turn)
            order = (0, 1) if turn % 2 else (1, 0)
            took = {at: await missed(*both[at], every) for at in order}
            misses.append((took[0], took[1]))
            took = {at: hit(both[at][0], every) for at in order}
            hits.append((took[0], took[1]))
    cost = printed("a miss", misses)
    printed("a hit", hits)
    return int(cost > MOST)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
