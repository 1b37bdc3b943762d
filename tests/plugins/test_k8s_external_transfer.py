"""k8s_external's zones handed on: what is transferred is what is said of each name, and a change is told."""

import asyncio
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.versioned
import pytest
from msgspec.structs import replace

from kdns.core.generation import Generation
from kdns.dns.query import Query
from kdns.dns.types import AXFR
from tests.plugins.test_k8s_external import MANIFESTS as SERVICES
from tests.plugins.test_k8s_external import object_of, source_of, started
from tests.plugins.test_k8s_external_resources import MANIFESTS as ENTRANCES
from tests.plugins.test_transfer import messages, zone_of
from tests.support.configured import ask

OPTIONS = ["", "headless", "headless\nhostnames", "hostnames\nresources Ingress HTTPRoute GRPCRoute TLSRoute\napex shop"]
CORNERS = """
apiVersion: v1
kind: Service
metadata:
  name: x
  namespace: w
  annotations: {external-dns.alpha.kubernetes.io/hostname: "x.dns.example.org, example.org, cloud.shop.example.org"}
spec: {type: LoadBalancer, externalIPs: [192.0.2.77], ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: y, namespace: dns}
spec: {type: LoadBalancer, externalIPs: [192.0.2.78], ports: [{port: 80}]}
"""


def serving(folder: Path, options: str) -> Generation:
    return started(folder, options, "\n---".join((SERVICES, ENTRANCES, CORNERS)), more="transfer {\nto *\n}")


def transferred(generation: Generation, origin: str) -> dns.versioned.Zone:
    return zone_of(asyncio.run(messages(generation, dns.message.make_query(origin, "AXFR"))), origin)


def said(generation: Generation, name: str, type: str) -> set[str]:
    """The records of the very name, as they are said."""
    reply = asyncio.run(ask(generation, name, type))
    return {rdata.to_text() for rrset in reply.answer if rrset.name.to_text() == name for rdata in rrset}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("origin", ["example.org.", "2.0.192.in-addr.arpa."])
def test_what_is_transferred_is_what_is_said(options: str, origin: str, tmp_path: Path) -> None:
    generation = serving(tmp_path, options)
    zone = transferred(generation, origin)
    found = {(name.to_text(), rds.rdtype): {rdata.to_text() for rdata in rds} for name, rds in zone.iterate_rdatasets()}
    for (name, type), rdata in found.items():
        assert rdata == said(generation, name, dns.rdatatype.to_text(type)), name
    every = {name for name, _ in found} | {f"{one}.{origin}" for one in NAMES}
    for name in every:
        for type in ("A", "AAAA", "SRV", "PTR", "MX"):
            expected = said(generation, name, type)
            alias = found.get((name, dns.rdatatype.CNAME), set())
            assert expected in (found.get((name, dns.rdatatype.from_text(type)), set()), alias), (name, type)


NAMES = ["web.shop", "cloud.shop", "inside.shop", "db.shop", "db-0.db.shop", "y.dns", "x.dns", "x.w", "_http._tcp.web.shop",
         "_http._tcp.cloud.shop", "one.reached.shop", "10-1-0-4.reached.shop", "one.aliased.shop",
         "waits", "api", "shop", "a.b", "lost", "calls", "w", "dns", "ns1.dns"]  # fmt: skip


def test_it_has_what_a_zone_needs(tmp_path: Path) -> None:
    zone = transferred(serving(tmp_path, ""), "example.org.")
    top = {(rds.rdtype, rdata.to_text().split()[0]) for rds in zone["example.org."] for rdata in rds}
    assert {(dns.rdatatype.SOA, "ns1.dns.example.org."), (dns.rdatatype.NS, "ns1.dns.example.org.")} == top


def test_a_change_has_a_later_serial_and_touches_what_is_told(tmp_path: Path) -> None:
    generation = serving(tmp_path, "")
    transfer = generation.blocks[0].named("transfer")[0]
    before = transferred(generation, "example.org.").get_soa().serial
    source_of(generation).store.put(object_of(["192.0.2.5"]))
    after = transferred(generation, "example.org.")
    assert (True, ["192.0.2.5"]) == (
        after.get_soa().serial > before, [rdata.to_text() for rdata in after.find_rdataset("web.shop.example.org.", "A")],
    )  # fmt: skip
    assert {"cluster.local.", "example.org.", "2.0.192.in-addr.arpa."} == set(transfer._known())  # type: ignore[attr-defined]


def test_names_of_other_zones_are_steps_too(tmp_path: Path) -> None:
    """Between two steps others may have their turn, however many names are passed by."""
    generation = serving(tmp_path, "hostnames")
    every = ",".join(f"n{i}.example.net" for i in range(100))
    source_of(generation).store.put(replace(object_of(["192.0.2.5"], every), key="w/many"))
    external = generation.blocks[0].named("k8s_external")[0]
    steps = list(external.outgoing("example.org.", Query("example.org.", AXFR)).steps)
    assert sum(not step for step in steps) >= 100
    assert [] == [rrset.name for step in steps for rrset in step if rrset.name.endswith(".net.")]


def test_a_wildcard_stands_for_no_name_that_a_service_has(tmp_path: Path) -> None:
    generation = serving(tmp_path, "hostnames")
    source_of(generation).store.put(replace(object_of(["192.0.2.5"], "*.shop.example.org"), key="w/wild"))
    assert {"192.0.2.1", "192.0.2.7"} == said(generation, "web.shop.example.org.", "A")
    assert {"192.0.2.5"} == said(generation, "nobody.shop.example.org.", "A")
