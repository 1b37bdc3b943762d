"""Faults at random under load, a model beside it: `python -m benchmarks.chaos --minutes 60`.

One server with three sorts of names: a cluster's from an API server (kdns/testing/apiserver.py), a zone from manifests
large enough for a loader of its own, all others from an upstream. In *rounds*: some seconds in which things go wrong, then all
is mended, what the model says must come to be true, and some seconds in which each change must be answered within a second.

What goes wrong (faults.py): the API server is killed, cut off, stalls, lies; the upstream is silent, slow, fails, answers
something else; manifests and the Corefile are replaced, by good and by bad ones; loaders are stopped and killed; descriptors
run out; the disk is full; the clock jumps.

What must hold: each question about the cluster's and the manifests' names is answered, with something that was true since all
was well the last time; one about others with what the upstream knows, or SERVFAIL; memory has a level; and killed at the end,
the server begins again without an API server with what was true. Exit status 1 where it does not.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import dns.message

from benchmarks.faults import CLUSTER, LIBFAKETIME, OUTSIDE, World
from benchmarks.servers import Server
from kdns import cli
from kdns.cluster.apiserver import source
from kdns.testing.apiserver import FakeApiServer
from kdns.testing.upstream import FakeUpstream
from tests.support.processes import said
from tests.support.running import Client

TROUBLE, CALM = 8.0, 4.0  # seconds of a round
MENDED = 45.0  # seconds until all must be as the model says: the longest pause of a reflector is 30
GROWTH = 1.25  # of the level that memory has after a quarter of the time
SNAPSHOTS = 0.5  # seconds between two: with the 30 of every day a full disk would hardly meet one


class Chaos:
    """One server in a world of faults, judged by the model."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.well_since = 0.0  # the model; 0: it is not
        self.well_until = time.monotonic()
        self.wrong: Counter[str] = Counter()
        self.slowest = 0.0  # seconds until all was mended
        self.held = 0.0  # the longest that this program itself was held up, by whoever else uses the machine

    async def round(self, server: Server, client: Client) -> None:
        world = self.world
        self.well_until, self.well_since = time.monotonic(), 0.0
        end = time.monotonic() + TROUBLE
        changing = asyncio.create_task(self._changing(0.05))
        while time.monotonic() < end:
            fault = world.rnd.choice(world.faults())
            world.done[fault.__name__] += 1
            await fault(server)
        changing.cancel()
        world.set_clock(0)
        world.api.heal()
        world.api.hang_up(cut=True)
        world.write_corefile("")
        world.write_manifests()
        os.kill(server.pid, signal.SIGUSR1)
        for n in range(CLUSTER):  # or what is true might be seen before the API server is heard again
            world.change_service(n)
        began = time.monotonic()
        outdated = await self.outdated(client)
        while outdated and time.monotonic() < began + MENDED:
            await asyncio.sleep(0.2)
            outdated = await self.outdated(client)
        self.wrong["outdated though all was mended"] += len(outdated)
        self.slowest = max(self.slowest, time.monotonic() - began)
        world.model.trim()
        self.well_since = time.monotonic()
        changing = asyncio.create_task(self._changing(0.02))
        await asyncio.sleep(CALM)
        changing.cancel()

    async def _changing(self, pause: float) -> None:
        world = self.world
        while True:
            world.change_service()
            await asyncio.sleep(pause)

    async def outdated(self, client: Client) -> list[str]:
        """The names of the cluster and of files that are not answered as the model has it."""
        world = self.world
        names = [f"s{n}.prod.svc.cluster.local" for n in range(CLUSTER)] + list(world.files)[::20]
        return [name for name in names if await self.said(client, name) != world.model.now(name)]

    async def said(self, client: Client, name: str) -> str:
        try:
            return said(dns.message.from_wire(await client.octets(dns.message.make_query(name, "A").to_wire())))
        except TimeoutError:
            return "no reply"

    async def watching_itself(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self.held = max(self.held, time.monotonic() - before - 0.05)

    async def asking(self, client: Client) -> None:
        """One question after another, judged by the model."""
        world = self.world
        own = [f"s{n}.prod.svc.cluster.local" for n in range(CLUSTER)] + list(world.files)
        while True:
            outside = world.rnd.random() < 0.2
            name = f"host-{world.rnd.randrange(OUTSIDE)}.example.org" if outside else world.rnd.choice(own)
            well, asked = self.well_since, time.monotonic()
            found = await self.said(client, name)
            world.done["questions"] += 1
            if outside:
                if well and self.well_since == well and asked - well > 1:
                    expected = {"192.0.2.1"}
                else:
                    expected = {"192.0.2.1", "SERVFAIL", "no reply"}
            elif well and self.well_since == well:
                expected = world.model.may_say(name, asked)
            else:
                expected = world.model.since(name, self.well_until)
            if found not in expected:
                self.wrong[f"{name.partition('.')[2]}: {'stale' if found[:3] == '10.' else found}"] += 1
                if sum(self.wrong.values()) < 20:
                    when = f", asked {asked - well:.1f} s after all was well" if well else ""
                    held = f"held up {self.held:.1f} s at the longest until now"
                    print(f"{name}: {found}, and not {', '.join(sorted(expected))}{when}; {held}", flush=True)
            await asyncio.sleep(0.002)


def serve(corefile: str) -> None:
    """kdns, but for how often it writes a snapshot."""
    source.EVERY = SNAPSHOTS
    sys.exit(cli.main(["-conf", corefile, "-quiet"]))


async def run(folder: Path, minutes: float, rnd: random.Random) -> int:
    async with FakeApiServer() as api, FakeUpstream() as upstream:
        api.kubeconfig(folder)
        world = World(folder, api, upstream, rnd)
        chaos = Chaos(world)
        environment = [f"{name}={value}" for name, value in world.environment().items()]
        program = [sys.executable, "-m", "benchmarks.chaos", "--serve", str(folder / "Corefile")]
        command = ["env", *environment, *program]
        probe = "s0.prod.svc.cluster.local"
        server = await asyncio.to_thread(Server, command, folder, world.port, probe)
        try:
            levels = await _rounds(chaos, server, 60 * minutes)
            log = server.log.read_text(errors="replace")
            await asyncio.sleep(4 * SNAPSHOTS)
            await api.stop()
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.to_thread(server.stop)
            server = await asyncio.to_thread(Server, command, folder, world.port, probe)
            async with Client.of(world.port) as client:
                chaos.wrong["outdated in the snapshot"] += len(await chaos.outdated(client))
        finally:
            await asyncio.to_thread(server.stop)
    chaos.wrong["errors of kdns's own in the log"] += log.count("Traceback")
    base = levels[len(levels) // 4]
    if levels[-1] > GROWTH * base:
        chaos.wrong[f"memory grew from {base:.0f} to {levels[-1]:.0f} MB"] += 1
    print(", ".join(f"{what} {times:,}" for what, times in sorted(world.done.items())))
    print(f"memory, MB: {levels[0]:.0f}, {base:.0f} after a quarter, {levels[-1]:.0f}; mended within {chaos.slowest:.1f} s; "
          f"this program was held up {chaos.held:.1f} s at the longest")
    wrong = [f"{times} times {what}" for what, times in chaos.wrong.items() if times]
    print("\n".join(wrong) or "nothing is amiss")
    if wrong:
        print(log[-3000:])
    return bool(wrong)


async def _rounds(chaos: Chaos, server: Server, seconds: float) -> list[float]:
    levels = []
    end = time.monotonic() + seconds
    async with Client.of(chaos.world.port) as client:
        asking = [asyncio.create_task(work) for work in (*(chaos.asking(client) for _ in range(4)), chaos.watching_itself())]
        while time.monotonic() < end:
            await chaos.round(server, client)
            levels.append(server.rss())
        for task in asking:
            if task.done():
                task.result()
            task.cancel()
    return levels


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--serve", metavar="COREFILE", help="be the server")
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # of connections that the faults cut
    print(f"{given.minutes:g} minutes, seed {given.seed}", flush=True)
    if LIBFAKETIME is None:
        print("libfaketime is not installed: no clock jumps", flush=True)
    with tempfile.TemporaryDirectory(prefix="kdns-chaos-") as name:
        return asyncio.run(run(Path(name), given.minutes, random.Random(given.seed)))


if __name__ == "__main__":
    sys.exit(main())
