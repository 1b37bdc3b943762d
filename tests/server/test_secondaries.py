"""Zones for other programs: a cluster's zone taken over by dig and by NSD, while objects change."""

import asyncio
import itertools
import shutil
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.versioned
import dns.xfr
import pytest

from kdns.cluster.objects import Service
from kdns.cluster.store import Store
from kdns.dns import names, transfer
from kdns.plugins.kubernetes import Kubernetes
from kdns.plugins.transfer import notices
from tests.support.notation import objects
from tests.support.ports import free_port
from tests.support.running import serving

NSD = shutil.which("nsd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
DIG = shutil.which("dig")
SERVICES = 300
CONF = """server:
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


def cluster(store: Store) -> None:
    """Services with a ClusterIP and headless ones, ten endpoints each."""
    for i in range(SERVICES):
        ip = f"10.96.{i // 250}.{i % 250}" if i % 2 else ""
        endpoints = " ".join(f"10.{i // 250}.{i % 250}.{n}" for n in range(10))
        key = f"n{i % 7}/s{i}"
        store.put(*objects(f"ns n{i % 7}\nsvc {key} {ip} http:80/tcp\nslice {key}-1 {key} {endpoints} http:80/tcp"))
    store.synced = True


async def dig(port: int, *words: str) -> list[str]:
    assert DIG is not None
    command = (DIG, "@127.0.0.1", "-p", str(port), "+tries=1", "+time=5", *words)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return [line for line in out.decode().splitlines() if line and not line.startswith(";")]


async def changes(store: Store) -> None:
    """One Service has another ClusterIP, again and again."""
    for n in itertools.count():
        store.put(Service("n1/s1", (bytes((10, 97, n // 250 % 250, n % 250)),), ()))
        await asyncio.sleep(0.001)


@pytest.mark.skipif(not (NSD and DIG), reason="needs nsd and dig")
def test_a_cluster_s_zone_is_taken_over_while_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "QUIET", 0.2)
    (tmp_path / "none.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: one\n")
    primary, port = free_port(), free_port()
    corefile = (
        f".:{primary} {{\nbind 127.0.0.1\nkubernetes cluster.local {{\nmanifests {tmp_path / 'none.yaml'}\n}}\n"
        f"transfer {{\nto * 127.0.0.1:{port}\n}}\n}}\n"
    )
    (tmp_path / "nsd.conf").write_text(CONF.format(port=port, primary=primary, folder=tmp_path))

    async def run() -> None:
        async with serving(corefile) as server:
            (plugin,) = server.generation.blocks[0].named("kubernetes")
            assert isinstance(plugin, Kubernetes)
            cluster(plugin.store)
            changing = asyncio.create_task(changes(plugin.store))
            records = await dig(primary, "cluster.local", "AXFR")
            assert records[0] == records[-1] and "SOA" in records[0]
            # of each Service: SRV of its one port and of all; its addresses; its endpoints' addresses and SRV
            own = SERVICES // 2 * (1 + 2) + SERVICES // 2 * (10 + 20) + SERVICES * 20
            assert own - 30 <= len(records) <= own + 30  # one of them changes
            assert NSD is not None
            command = (NSD, "-d", "-c", str(tmp_path / "nsd.conf"))
            nsd = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
            try:
                await until(port, "s3.n3.svc.cluster.local", ["10.96.0.3"])
                changing.cancel()
                plugin.store.put(Service("n1/s1", (names.packed("10.99.9.9"),), ()))
                await until(port, "s1.n1.svc.cluster.local", ["10.99.9.9"])
            finally:
                nsd.terminate()
                await nsd.wait()

    asyncio.run(run())


async def until(port: int, name: str, expected: list[str]) -> None:
    async with asyncio.timeout(30):
        while await dig(port, name, "+short") != expected:  # noqa: ASYNC110 - what is waited for is another program
            await asyncio.sleep(0.1)


def test_a_client_that_reads_slowly_has_all_of_it_and_little_waits_in_memory(tmp_path: Path) -> None:
    head = "$TTL 60\n@ SOA ns host 1 7200 1800 86400 30\n@ NS ns\n"
    (tmp_path / "db").write_text(head + "".join(f"h{i} TXT {'x' * 200}\n" for i in range(5000)))
    port = free_port()
    corefile = f"example.org:{port} {{\nbind 127.0.0.1\nfile {tmp_path / 'db'}\ntransfer {{\nto *\n}}\n}}\n"

    async def run() -> None:
        async with serving(corefile) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            query = dns.message.make_query("example.org", "AXFR").to_wire()
            writer.write(len(query).to_bytes(2, "big") + query)
            records = most = 0
            zone = dns.versioned.Zone("example.org", relativize=False)
            with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
                done = False
                while not done:
                    await asyncio.sleep(0.001)
                    most = max(most, *[getattr(sock, "untaken", 0) for served in server._sockets.values() for sock in served])
                    wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                    message = dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True)
                    records += len(message.answer)
                    done = inbound.process_message(message)
            writer.close()
            await writer.wait_closed()
            assert 5000 + 3 == records
            assert 0 < most <= 2 * transfer.OCTETS

    asyncio.run(run())
