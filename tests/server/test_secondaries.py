"""Zones for other programs: a cluster's zone taken over by dig, NSD and Knot, while objects change."""

import asyncio
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.versioned
import dns.xfr
import pytest

from kdns.cluster.objects import Service
from kdns.dns import names, transfer
from kdns.plugins.kubernetes import Kubernetes
from kdns.plugins.transfer import notices
from kdns.testing.ports import free_port
from tests.support.running import serving
from tests.support.secondaries import changes, cluster, DIG, dig, PROGRAMS, secondary

SERVICES = 300


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_cluster_s_zone_is_taken_over_while_it_changes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (PROGRAMS[name] and DIG):
        pytest.skip(f"needs {name} and dig")
    monkeypatch.setattr(notices, "QUIET", 0.2)
    (tmp_path / "none.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: one\n")
    primary, port = free_port(), free_port()
    corefile = (
        f".:{primary} {{\nbind 127.0.0.1\nkubernetes cluster.local {{\nmanifests {tmp_path / 'none.yaml'}\n}}\n"
        f"transfer {{\nto * 127.0.0.1:{port}\n}}\n}}\n"
    )

    async def run() -> None:
        async with serving(corefile) as server:
            (plugin,) = server.generation.blocks[0].named("kubernetes")
            assert isinstance(plugin, Kubernetes)
            cluster(plugin.store, SERVICES)
            changing = asyncio.create_task(changes(plugin.store))
            records = await dig(primary, "cluster.local", "AXFR")
            assert records[0] == records[-1] and "SOA" in records[0]
            # of each Service: SRV of its one port and of all; its addresses; its endpoints' addresses and SRV
            own = SERVICES // 2 * (1 + 2) + SERVICES // 2 * (10 + 20) + SERVICES * 20
            assert own - 30 <= len(records) <= own + 30  # one of them changes
            async with secondary(name, tmp_path, port, primary):
                await until(port, "s3.n3.svc.cluster.local", ["10.96.0.3"])
                changing.cancel()
                plugin.store.put(Service("n1/s1", (names.packed("10.99.9.9"),), ()))
                await until(port, "s1.n1.svc.cluster.local", ["10.99.9.9"])

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
