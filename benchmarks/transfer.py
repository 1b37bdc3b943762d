"""A cluster's zone of 10,000 Services for dig, NSD and Knot while objects change: how long a turn of the loop takes at most.

`python -m benchmarks.transfer`. kdns runs in this process, its loop's callbacks measured one by one: by the clock, in CPU time of
the loop's thread, and in that part of it which is not the kernel's. What passes by the clock besides is other programs', and a
send over the loopback interface does the kernel's work for whoever has any: both tell how busy the machine is. The collector is
set as a server sets it.
"""

import asyncio
import gc
import shutil
import tempfile
import time
from asyncio import events
from pathlib import Path
from resource import getrusage, RUSAGE_THREAD

from kdns.plugins.kubernetes import Kubernetes
from kdns.testing.ports import free_ports
from tests.support.running import serving
from tests.support.secondaries import changes, cluster, dig, PROGRAMS, secondary

SERVICES = 10_000
LATE = 0.005  # seconds


class Turns:
    """The turns of the loop, and the longest of them: in seconds of its own, of CPU time, and by the clock."""

    def __init__(self) -> None:
        self.count = self.late = 0
        self.own = self.longest = self.by_clock = 0.0
        self._run = events.Handle._run

    def __enter__(self) -> "Turns":
        run = self._run

        def measured(handle: events.Handle) -> None:
            user, began, clock = getrusage(RUSAGE_THREAD).ru_utime, time.thread_time(), time.perf_counter()
            run(handle)
            took, passed = time.thread_time() - began, time.perf_counter() - clock
            own = min(took, getrusage(RUSAGE_THREAD).ru_utime - user)
            self.count += 1
            self.late += own > LATE
            self.own, self.longest, self.by_clock = max(self.own, own), max(self.longest, took), max(self.by_clock, passed)

        events.Handle._run = measured  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        events.Handle._run = self._run  # type: ignore[method-assign]


async def measure(folder: Path) -> None:
    primary, *ports = free_ports(1 + len(PROGRAMS))
    (folder / "none.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: one\n")
    manifests = f"kubernetes cluster.local {{\nmanifests {folder}/none.yaml\n}}"
    corefile = f".:{primary} {{\nbind 127.0.0.1\n{manifests}\ntransfer {{\nto *\n}}\n}}"
    async with serving(corefile) as server:
        (plugin,) = server.generation.blocks[0].named("kubernetes")
        assert isinstance(plugin, Kubernetes)
        cluster(plugin.store, SERVICES)
        gc.set_threshold(2_500, 20, 20)
        gc.collect()
        gc.freeze()
        changing = asyncio.create_task(changes(plugin.store))
        records = len(await dig(primary, "cluster.local", "AXFR", "+onesoa"))
        with Turns() as turns:
            await dig(primary, "cluster.local", "AXFR", "+noall")  # what it says would be read in this loop
        tell("dig", turns, records)
        for name, port in zip(PROGRAMS, ports, strict=True):
            if PROGRAMS[name] is None:
                continue
            (folder / name).mkdir()
            with Turns() as turns:
                async with secondary(name, folder / name, port, primary):
                    while not await dig(port, "s9999.n3.svc.cluster.local", "+short"):  # noqa: ASYNC110 - another program
                        await asyncio.sleep(0.2)
            tell(name, turns, records)
        changing.cancel()


def tell(name: str, turns: Turns, records: int) -> None:
    own, longest, by_clock = (f"{seconds * 1000:.1f} ms" for seconds in (turns.own, turns.longest, turns.by_clock))
    longest = f"the longest {own} ({longest} with the kernel's, {by_clock} by the clock)"
    late = f"{turns.late} over {LATE * 1000:g} ms of its own CPU time"
    print(f"{name}: {records:,} records, {turns.count:,} turns of the loop, {late}, {longest}", flush=True)


def main() -> None:
    if shutil.which("dig") is None:
        raise SystemExit("dig is needed: apt-get install bind9-dnsutils")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    main()
