"""Faults at random under load, a model beside it: `python -m benchmarks.chaos --minutes 60`.

One server with three sorts of names: a cluster's from an API server (tests/support/fake_apiserver.py), a zone from manifests
large enough for a loader of its own, all others from an upstream. In *rounds*: some seconds in which things go wrong, then all
is mended, what the model says must come to be true, and some seconds in which each change must be answered within a second.

What goes wrong: the API server is killed, cut off, stalls, lies; the upstream is silent, slow, fails, answers something else;
manifests and the Corefile are replaced, by good and by bad ones; loaders are stopped and killed; descriptors run out.

What must hold: each question about the cluster's and the manifests' names is answered, with something that was true since all
was well the last time; one about others with what the upstream knows, or SERVFAIL; memory has a level. Exit status 1 where it
does not. The system's clock and a full disk are left alone.
"""

import argparse
import asyncio
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import dns.message

from benchmarks.servers import Server
from tests.support import api_faults
from tests.support.fake_apiserver import ANY, FakeApiServer
from tests.support.ports import free_port
from tests.support.processes import said
from tests.support.running import Client
from tests.support.upstream import address, answer, Asked, FakeUpstream, Step

CLUSTER, FILES, OUTSIDE = 40, 800, 200  # names of each sort
TROUBLE, CALM = 8.0, 4.0  # seconds of a round
MENDED = 45.0  # seconds until all must be as the model says: the longest pause of a reflector is 30
SEEN = 1.0  # seconds from a change to its answer, while all is well
GROWTH = 1.25  # of the level that memory has after a quarter of the time
COREFILE = """.:{port} {{
    bind 127.0.0.1
    errors
    {variant}
    kubernetes cluster.local {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
    forward . 127.0.0.1:{upstream}
    cache 1
    loadbalance
}}
files.test:{port} {{
    bind 127.0.0.1
    kubernetes files.test {{
        manifests {manifests}
    }}
}}
"""
VARIANTS = ("", "bufsize 1400", "no_such_plugin", "bufsize 1", "health 127.0.0.1:0", "cancel 1s", "}} {{")


class Model:
    """What may be answered: by name, what is so now, and what was so since all was well the last time."""

    def __init__(self) -> None:
        self._values: dict[str, deque[tuple[str, float]]] = {}  # each with the time from which on it is outdated

    def put(self, name: str, value: str) -> None:
        values = self._values.setdefault(name, deque())
        if values:
            values[-1] = (values[-1][0], time.monotonic())
        values.append((value, float("inf")))

    def now(self, name: str) -> str:
        return self._values[name][-1][0]

    def may_say(self, name: str, asked: float) -> set[str]:
        """What a question may have for an answer that was asked at a time, all being well."""
        return {value for value, until in self._values[name] if asked < until + SEEN}

    def since(self, name: str, well: float) -> set[str]:
        """What may be said while it is not."""
        return {value for value, until in self._values[name] if until >= well - SEEN}

    def trim(self) -> None:
        """Forget what nobody may be answered with any more."""
        for values in self._values.values():
            while len(values) > 1 and values[0][1] < time.monotonic() - 60:
                values.popleft()


class Chaos:
    """The world around one server."""

    def __init__(self, folder: Path, api: FakeApiServer, upstream: FakeUpstream, rnd: random.Random) -> None:
        self.folder, self.api, self.upstream, self.rnd = folder, api, upstream, rnd
        self.port = free_port()
        self.model = Model()
        self.well_since = 0.0  # the model; 0: it is not
        self.well_until = time.monotonic()
        self.wrong: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.slowest = 0.0  # seconds until all was mended
        self.files = {f"s{n}.prod.svc.files.test": f"10.97.0.{n % 250 + 1}" for n in range(FILES)}
        self.version = 0
        for n in range(CLUSTER):
            self.change_service(n)
        self.write_manifests()
        self.write_corefile("")

    # ------------------------------------------------------------ what changes

    def change_service(self, n: int | None = None) -> None:
        n = self.rnd.randrange(CLUSTER) if n is None else n
        ip = f"10.96.{self.rnd.randrange(1, 250)}.{n + 1}"
        spec = {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
        self.model.put(f"s{n}.prod.svc.cluster.local", ip)
        self.api.put("services", {"metadata": {"name": f"s{n}", "namespace": "prod"}, "spec": spec})

    def write_manifests(self, good: bool = True) -> None:
        """All Services again with other addresses; a bad manifest changes nothing of what is served."""
        self.version += 1
        lines = []
        for n, name in enumerate(self.files):
            ip = f"10.{97 + self.version % 100}.{n // 250}.{n % 250 + 1}"
            text = f"kind: Service\napiVersion: v1\nmetadata: {{name: s{n}, namespace: prod}}\n"
            text += f"spec: {{clusterIP: {ip}, ports: [{{port: 80}}]}}"
            lines.append(text if good or n != FILES // 2 else text.replace("clusterIP", "clusterIPP"))
            if good:
                self.model.put(name, ip)
        self._replace("manifests.yaml", "\n---\n".join(lines) + "\n")

    def write_corefile(self, variant: str) -> None:
        self._replace("Corefile", COREFILE.format(
            port=self.port, variant=variant, kubeconfig=self.folder / "fake.kubeconfig", upstream=self.upstream.port,
            manifests=self.folder / "manifests.yaml"))  # fmt: skip

    def _replace(self, name: str, text: str) -> None:
        new = self.folder / f"{name}.new"
        new.write_text(text)
        new.replace(self.folder / name)

    # ------------------------------------------------------------ what goes wrong

    def faults(self) -> list[Callable[[Server], Awaitable[None]]]:
        return [self.kill_api, self.cut_api, self.lying_api, self.upstream_flaps, self.manifests_change, self.reload,
                self.loaders_suffer, self.no_descriptors]  # fmt: skip

    async def kill_api(self, _: Server) -> None:
        await self.api.stop()
        await asyncio.sleep(self.rnd.uniform(0.1, 3))
        await self.api.start()

    async def cut_api(self, _: Server) -> None:
        for _i in range(self.rnd.randrange(1, 6)):
            self.api.hang_up(cut=self.rnd.random() < 0.5)
            if self.rnd.random() < 0.3:
                self.api.compact()
            await asyncio.sleep(self.rnd.random())

    async def lying_api(self, _: Server) -> None:
        lie = self.rnd.choice((
            api_faults.gone, api_faults.gone_event, api_faults.broken, api_faults.unauthorized, api_faults.forbidden,
            api_faults.eof, api_faults.reset, api_faults.mid_line(), api_faults.mid_line(cut=True), api_faults.stall,
            api_faults.stall_after_headers, api_faults.too_many(1), api_faults.backwards,
            api_faults.ignored_initial_events, api_faults.says(b"<html>\n"),
        ))  # fmt: skip
        self.api.play(self.rnd.choice(("services", "namespaces", "endpointslices")), lie, ANY, self.rnd.randrange(1, 4))
        self.api.hang_up()
        await asyncio.sleep(self.rnd.uniform(0.1, 3))

    async def upstream_flaps(self, _: Server) -> None:
        def silent(asked: Asked) -> Sequence[Step]:
            return []

        def slow(asked: Asked) -> Sequence[Step]:
            return [self.rnd.random() * 3, *address(asked)]

        def failing(asked: Asked) -> Sequence[Step]:
            return [answer(asked, rcode="SERVFAIL")]

        def garbage(asked: Asked) -> Sequence[Step]:
            return [self.rnd.randbytes(40), answer(asked)[:20], answer(asked, "other.example. 60 IN A 203.0.113.9")[:-3]]

        self.upstream.script = self.rnd.choice((silent, slow, failing, garbage))
        await asyncio.sleep(self.rnd.uniform(0.5, 4))
        self.upstream.script = address

    async def manifests_change(self, _: Server) -> None:
        for _i in range(self.rnd.randrange(1, 4)):
            self.write_manifests(self.rnd.random() < 0.6)
            await asyncio.sleep(self.rnd.uniform(0, 1.5))

    async def reload(self, server: Server) -> None:
        for _i in range(self.rnd.randrange(1, 4)):
            self.write_corefile(self.rnd.choice(VARIANTS))
            os.kill(server.pid, signal.SIGUSR1)
            await asyncio.sleep(self.rnd.uniform(0.1, 1.5))

    async def loaders_suffer(self, server: Server) -> None:
        """A change, and whatever process begins then is stopped for a while, or killed."""
        self.write_manifests()
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            for child in _children(server.pid):
                kind = self.rnd.choice((signal.SIGKILL, signal.SIGSTOP))
                self.done[f"{kind.name} of a loader"] += _sent(child, kind)
                await asyncio.sleep(self.rnd.random())
                _sent(child, signal.SIGCONT)
            await asyncio.sleep(0.01)

    async def no_descriptors(self, server: Server) -> None:
        before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        held = len(os.listdir(f"/proc/{server.pid}/fd"))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (held + self.rnd.randrange(3), before[1]))
        self.api.hang_up(cut=True)
        await asyncio.sleep(self.rnd.uniform(0.5, 3))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)

    # ------------------------------------------------------------ rounds

    async def round(self, server: Server, client: Client) -> None:
        self.well_until, self.well_since = time.monotonic(), 0.0
        end = time.monotonic() + TROUBLE
        changing = asyncio.create_task(self._changing(0.05))
        while time.monotonic() < end:
            fault = self.rnd.choice(self.faults())
            self.done[fault.__name__] += 1
            await fault(server)
        changing.cancel()
        self.api.heal()
        self.api.hang_up(cut=True)
        self.write_corefile("")
        self.write_manifests()
        os.kill(server.pid, signal.SIGUSR1)
        for n in range(CLUSTER):  # or what is true might be seen before the API server is heard again
            self.change_service(n)
        began = time.monotonic()
        outdated = await self._outdated(client)
        while outdated and time.monotonic() < began + MENDED:
            await asyncio.sleep(0.2)
            outdated = await self._outdated(client)
        self.wrong["outdated though all was mended"] += len(outdated)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.model.trim()
        self.well_since = time.monotonic()
        changing = asyncio.create_task(self._changing(0.02))
        await asyncio.sleep(CALM)
        changing.cancel()

    async def _changing(self, pause: float) -> None:
        while True:
            self.change_service()
            await asyncio.sleep(pause)

    async def _outdated(self, client: Client) -> list[str]:
        """The names of the cluster and of files that are not answered as the model has it."""
        names = [f"s{n}.prod.svc.cluster.local" for n in range(CLUSTER)] + list(self.files)[::20]
        return [name for name in names if await self.said(client, name) != self.model.now(name)]

    async def said(self, client: Client, name: str) -> str:
        try:
            return said(dns.message.from_wire(await client.octets(dns.message.make_query(name, "A").to_wire())))
        except TimeoutError:
            return "no reply"

    async def asking(self, client: Client) -> None:
        """One question after another, judged by the model."""
        own = [f"s{n}.prod.svc.cluster.local" for n in range(CLUSTER)] + list(self.files)
        while True:
            outside = self.rnd.random() < 0.2
            name = f"host-{self.rnd.randrange(OUTSIDE)}.example.org" if outside else self.rnd.choice(own)
            well, asked = self.well_since, time.monotonic()
            found = await self.said(client, name)
            self.done["questions"] += 1
            if outside:
                if well and self.well_since == well and asked - well > 1:
                    expected = {"192.0.2.1"}
                else:
                    expected = {"192.0.2.1", "SERVFAIL", "no reply"}
            elif well and self.well_since == well:
                expected = self.model.may_say(name, asked)
            else:
                expected = self.model.since(name, self.well_until)
            if found not in expected:
                self.wrong[f"{name.partition('.')[2]}: {'stale' if found[:3] == '10.' else found}"] += 1
                if sum(self.wrong.values()) < 20:
                    when = " though all was well" if well else ""
                    print(f"{name}: {found}, and not {', '.join(sorted(expected))}{when}", flush=True)
            await asyncio.sleep(0.002)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _sent(pid: int, kind: signal.Signals) -> bool:
    try:
        os.kill(pid, kind)
    except OSError:
        return False
    return True


async def run(folder: Path, minutes: float, rnd: random.Random) -> int:
    async with FakeApiServer() as api, FakeUpstream() as upstream:
        api.kubeconfig(folder)
        chaos = Chaos(folder, api, upstream, rnd)
        command = [sys.executable, "-m", "kdns", "-conf", str(folder / "Corefile"), "-quiet"]
        probe = "s0.prod.svc.cluster.local"
        server = await asyncio.to_thread(Server, command, folder, chaos.port, probe)
        try:
            levels = await _rounds(chaos, server, 60 * minutes)
        finally:
            await asyncio.to_thread(server.stop)
        log = server.log.read_text(errors="replace")
    chaos.wrong["errors of kdns's own in the log"] += log.count("Traceback")
    base = levels[len(levels) // 4]
    if levels[-1] > GROWTH * base:
        chaos.wrong[f"memory grew from {base:.0f} to {levels[-1]:.0f} MB"] += 1
    print(", ".join(f"{what} {times:,}" for what, times in sorted(chaos.done.items())))
    print(f"memory, MB: {levels[0]:.0f}, {base:.0f} after a quarter, {levels[-1]:.0f}; mended within {chaos.slowest:.1f} s")
    wrong = [f"{times} times {what}" for what, times in chaos.wrong.items() if times]
    print("\n".join(wrong) or "nothing is amiss")
    if wrong:
        print(log[-3000:])
    return bool(wrong)


async def _rounds(chaos: Chaos, server: Server, seconds: float) -> list[float]:
    levels = []
    end = time.monotonic() + seconds
    async with Client.of(chaos.port) as client:
        asking = [asyncio.create_task(chaos.asking(client)) for _ in range(4)]
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
    given = parser.parse_args()
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # of connections that the faults cut
    print(f"{given.minutes:g} minutes, seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kdns-chaos-") as name:
        return asyncio.run(run(Path(name), given.minutes, random.Random(given.seed)))


if __name__ == "__main__":
    sys.exit(main())
