"""Servers that take a zone over from kdns: NSD and Knot as secondaries of cluster.local, and dig; a large cluster that changes."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kdns.cluster.objects import Service
from kdns.cluster.store import Store
from tests.support.notation import objects

_PATH = "/usr/sbin:/usr/local/sbin:/usr/bin"
DIG = shutil.which("dig")
PROGRAMS = {"NSD": shutil.which("nsd", path=_PATH), "Knot": shutil.which("knotd", path=_PATH)}
_NSD = """server:
    ip-address: 127.0.0.1@{port}
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{folder}"
    pidfile: "{folder}/pid"
    xfrdfile: "{folder}/xfrd"
    zonelistfile: "{folder}/zones"
    xfrdir: "{folder}"
    server-count: 1
remote-control:
    control-enable: no
zone:
    name: cluster.local
    zonefile: "zone"
    request-xfr: AXFR 127.0.0.1@{primary} NOKEY
    allow-notify: 127.0.0.1 NOKEY
"""
_KNOT = """server:
    listen: 127.0.0.1@{port}
    rundir: {folder}
    tcp-workers: 1
    udp-workers: 1
database:
    storage: {folder}
remote:
  - id: kdns
    address: 127.0.0.1@{primary}
acl:
  - id: told
    address: 127.0.0.1
    action: notify
zone:
  - domain: cluster.local
    storage: {folder}
    master: kdns
    acl: told
"""


@asynccontextmanager
async def secondary(name: str, folder: Path, port: int, primary: int) -> AsyncIterator[None]:
    """NSD or Knot at a port of this machine, with kdns at another as its primary."""
    (folder / "conf").write_text((_NSD if name == "NSD" else _KNOT).format(port=port, primary=primary, folder=folder))
    program = PROGRAMS[name]
    assert program is not None
    words = (program, "-d", "-c", str(folder / "conf")) if name == "NSD" else (program, "-c", str(folder / "conf"))
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*words, stdout=nowhere, stderr=nowhere)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def dig(port: int, *words: str) -> list[str]:
    """The lines that dig says of a server at a port of this machine, comments left out."""
    assert DIG is not None
    command = (DIG, "@127.0.0.1", "-p", str(port), "+tries=1", "+time=5", *words)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return [line for line in out.decode().splitlines() if line and not line.startswith(";")]


def cluster(store: Store, services: int) -> None:
    """Services with a ClusterIP and headless ones, ten endpoints each."""
    for i in range(services):
        ip = f"10.96.{i // 250}.{i % 250}" if i % 2 else ""
        endpoints = " ".join(f"10.{i // 250}.{i % 250}.{n}" for n in range(10))
        key = f"n{i % 7}/s{i}"
        store.put(*objects(f"ns n{i % 7}\nsvc {key} {ip} http:80/tcp\nslice {key}-1 {key} {endpoints} http:80/tcp"))
    store.synced = True


async def changes(store: Store) -> None:
    """One Service has another ClusterIP, again and again."""
    for n in itertools.count():
        store.put(Service("n1/s1", (bytes((10, 97, n // 250 % 250, n % 250)),), ()))
        await asyncio.sleep(0.001)
