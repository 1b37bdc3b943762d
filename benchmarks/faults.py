"""The world around a server that `benchmarks.chaos` looks at: what changes in it, what goes wrong, and what is true.

Each fault goes wrong for some seconds and is mended by whoever made it. What is true, and was, is the model's. Clocks jump where
Debian's libfaketime is installed, for the server and its loaders alone; a disk is full where a file may not become longer.
"""

import asyncio
import os
import random
import resource
import signal
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks.servers import Server
from kdns.testing import faults as api_faults
from kdns.testing.apiserver import ANY, FakeApiServer
from kdns.testing.ports import free_port
from kdns.testing.upstream import address, answer, Asked, FakeUpstream, Step

CLUSTER, FILES, OUTSIDE = 40, 800, 200  # names of each sort
SEEN = 1.0  # seconds from a change to its answer, while all is well
YEAR = 366 * 86400
COREFILE = """.:{port} {{
    bind 127.0.0.1
    errors
    {variant}
    kubernetes cluster.local {{
        kubeconfig {folder}/fake.kubeconfig
        snapshot {folder}/state/snapshot
        ttl 5
    }}
    forward . 127.0.0.1:{upstream}
    cache 1
    loadbalance
}}
files.test:{port} {{
    bind 127.0.0.1
    kubernetes files.test {{
        manifests {folder}/manifests.yaml
    }}
}}
"""
VARIANTS = ("", "bufsize 1400", "no_such_plugin", "bufsize 1", "health 127.0.0.1:0", "cancel 1s", "}} {{")
LIBFAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


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


class World:
    """The world around one server."""

    def __init__(self, folder: Path, api: FakeApiServer, upstream: FakeUpstream, rnd: random.Random) -> None:
        self.folder, self.api, self.upstream, self.rnd = folder, api, upstream, rnd
        self.port = free_port()
        self.model = Model()
        self.done: Counter[str] = Counter()
        self.files = {f"s{n}.prod.svc.files.test": f"10.97.0.{n % 250 + 1}" for n in range(FILES)}
        self.version = 0
        for n in range(CLUSTER):
            self.change_service(n)
        self.write_manifests()
        self.write_corefile("")
        self.set_clock(0)

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
        text = COREFILE.format(port=self.port, variant=variant, folder=self.folder, upstream=self.upstream.port)
        self._replace("Corefile", text)

    def set_clock(self, seconds: int) -> None:
        """The server's clock is so many seconds fast."""
        self._replace("clock", f"{seconds:+d}")

    def environment(self) -> dict[str, str]:
        """Of the server: its clock is that of `set_clock`, the one that only ever goes on (CLOCK_MONOTONIC) the system's."""
        if LIBFAKETIME is None:
            return {}
        return {
            "LD_PRELOAD": str(LIBFAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.folder / "clock"), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        }  # fmt: skip

    def _replace(self, name: str, text: str) -> None:
        new = self.folder / f"{name}.new"
        new.write_text(text)
        new.replace(self.folder / name)

    # ------------------------------------------------------------ what goes wrong

    def faults(self) -> list[Callable[[Server], Awaitable[None]]]:
        jumps = [self.clock_jumps] if LIBFAKETIME is not None else []
        return [self.kill_api, self.cut_api, self.lying_api, self.upstream_flaps, self.manifests_change, self.reload,
                self.loaders_suffer, self.no_descriptors, self.full_disk, *jumps]  # fmt: skip

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

    async def full_disk(self, server: Server) -> None:
        """The snapshot, and the log, are as long as they may become, or as long as a part of a snapshot."""
        before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (self.rnd.choice((0, self.rnd.randrange(4000))), before[1]))
        await asyncio.sleep(self.rnd.uniform(0.5, 3))
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)

    async def clock_jumps(self, _: Server) -> None:
        """Forward and back, by seconds and by years; it stays wrong until the round is over."""
        for _i in range(self.rnd.randrange(1, 4)):
            self.set_clock(self.rnd.choice((-1, 1)) * self.rnd.choice((2, 60, 3600, YEAR)))
            await asyncio.sleep(self.rnd.uniform(0.1, 1.5))


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
