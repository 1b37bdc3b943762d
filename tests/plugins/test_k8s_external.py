"""k8s_external: Services as who is outside of the cluster sees them, judged by dnspython."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kdns.cluster.external import service
from kdns.cluster.objects import Namespace, ServiceObject
from kdns.core.generation import Generation
from tests.support.configured import ask, generation_of, refused

MANIFESTS = """
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  annotations: {external-dns.alpha.kubernetes.io/hostname: "shop.example.org, *.w.example.org"}
spec: {type: LoadBalancer, externalIPs: [192.0.2.7], ports: [{name: http, port: 80}, {name: https, port: 443}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.1}, {ip: "2001:db8::1"}]}}
---
apiVersion: v1
kind: Service
metadata: {name: cloud, namespace: shop, annotations: {external-dns.alpha.kubernetes.io/hostname: a.b.example.org}}
spec: {type: LoadBalancer, ports: [{name: http, port: 80}]}
status: {loadBalancer: {ingress: [{hostname: LB.cloud.test}]}}
---
apiVersion: v1
kind: Service
metadata: {name: inside, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1], hostname: db-0}, {addresses: [10.1.0.2], hostname: db-1}]
ports: [{name: sql, port: 5432}]
---
apiVersion: v1
kind: Service
metadata: {name: reached, namespace: shop}
spec: {clusterIP: None, externalIPs: [192.0.2.11, "2001:db8::11"], ports: [{name: sql, port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reached-1, namespace: shop, labels: {kubernetes.io/service-name: reached}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.3], hostname: one}, {addresses: [10.1.0.4]}]
ports: [{name: sql, port: 5432}]
---
apiVersion: v1
kind: Service
metadata: {name: aliased, namespace: shop}
spec: {clusterIP: None, type: LoadBalancer, ports: [{name: sql, port: 5432}]}
status: {loadBalancer: {ingress: [{hostname: LB.cloud.test}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: aliased-1, namespace: shop, labels: {kubernetes.io/service-name: aliased}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.5], hostname: one}]
ports: [{name: sql, port: 5432}]
"""
ZONES = "example.org 192.0.2.0/24"


def started(folder: Path, options: str = "", manifests: str = MANIFESTS, cluster: str = "", more: str = "") -> Generation:
    """Of manifests: `options` are those of k8s_external, `cluster` those of kubernetes; `more` are other plugins."""
    (folder / "all.yaml").write_text(manifests)
    generation = generation_of(
        f". {{\nkubernetes cluster.local {{\nmanifests {folder}/all.yaml\n{cluster}\n}}\n"
        f"k8s_external {ZONES} {{\n{options}\n}}\n{more}\n}}"
    )
    asyncio.run(source_of(generation).start())
    return generation


def source_of(generation: Generation) -> Any:
    return generation.blocks[0].named("kubernetes")[0].source  # type: ignore[attr-defined]


def said(generation: Generation, name: str, type: str) -> list[str]:
    """The code where it is not NOERROR, and each record as `owner type rdata` without the zone; `+` before glue."""
    reply = asyncio.run(ask(generation, name, type))
    code = [] if reply.rcode() == 0 else [reply.rcode().name]  # type: ignore[attr-defined]
    return code + [
        f"{mark}{line.split()[0]} {' '.join(line.split()[3:])}"
        for mark, section in (("", reply.answer), ("+", reply.additional))
        for rrset in section
        for line in sorted(rrset.to_text().split("\n"))
    ]


WEB, CLOUD = "web.shop.example.org.", "cloud.shop.example.org."
REACHED, ALIASED = "reached.shop.example.org.", "aliased.shop.example.org."
V4 = [f"{WEB} A 192.0.2.1", f"{WEB} A 192.0.2.7"]
GLUE = [*[f"+{line}" for line in V4], f"+{WEB} AAAA 2001:db8::1"]
CASES = [
    (WEB, "A", "", V4),
    (WEB, "AAAA", "", [f"{WEB} AAAA 2001:db8::1"]),
    (WEB, "MX", "", []),
    (WEB, "SRV", "", [f"{WEB} SRV 0 16 443 {WEB}", f"{WEB} SRV 0 16 80 {WEB}", *GLUE]),
    ("_http._tcp." + WEB, "SRV", "",
     [f"_http._tcp.{WEB} SRV 0 33 80 {WEB}", *GLUE]),
    ("_ftp._tcp." + WEB, "SRV", "", ["NXDOMAIN"]),
    ("x." + WEB, "A", "", ["NXDOMAIN"]),
    ("shop.example.org.", "A", "", []),
    ("nowhere.example.org.", "A", "", ["NXDOMAIN"]),
    ("inside.shop.example.org.", "A", "", ["NXDOMAIN"]),
    ("db.shop.example.org.", "A", "", ["NXDOMAIN"]),
    (CLOUD, "A", "", [f"{CLOUD} CNAME lb.cloud.test."]),
    ("_http._tcp." + CLOUD, "SRV", "", [f"_http._tcp.{CLOUD} SRV 0 100 80 lb.cloud.test."]),
    ("_tcp." + CLOUD, "SRV", "", []),
    ("_http._udp." + CLOUD, "SRV", "", ["NXDOMAIN"]),
    ("db.shop.example.org.", "A", "headless", ["db.shop.example.org. A 10.1.0.1", "db.shop.example.org. A 10.1.0.2"]),
    ("db-0.db.shop.example.org.", "A", "headless", ["db-0.db.shop.example.org. A 10.1.0.1"]),
    (REACHED, "A", "headless", [f"{REACHED} A 192.0.2.11"]),
    ("one." + REACHED, "A", "headless", [f"one.{REACHED} A 192.0.2.11"]),
    ("one." + REACHED, "SRV", "headless",
     [f"one.{REACHED} SRV 0 50 5432 {REACHED}", f"+{REACHED} A 192.0.2.11", f"+{REACHED} AAAA 2001:db8::11"]),
    ("10-1-0-4." + REACHED, "AAAA", "headless", [f"10-1-0-4.{REACHED} AAAA 2001:db8::11"]),
    ("two." + REACHED, "A", "headless", ["NXDOMAIN"]),
    ("_tcp." + REACHED, "A", "headless", []),
    ("one." + REACHED, "A", "", ["NXDOMAIN"]),
    ("one." + ALIASED, "A", "headless", [f"one.{ALIASED} CNAME lb.cloud.test."]),
    ("_sql._tcp." + ALIASED, "SRV", "headless", [f"_sql._tcp.{ALIASED} SRV 0 100 5432 lb.cloud.test."]),
    ("example.org.", "NS", "", ["example.org. NS ns1.dns.example.org."]),
    ("example.org.", "NS", "apex ns", ["example.org. NS ns1.ns.example.org."]),
    ("dns.example.org.", "A", "", []),
    ("ns1.dns.example.org.", "A", "", []),
    ("ns2.dns.example.org.", "A", "", ["NXDOMAIN"]),
    ("1.2.0.192.in-addr.arpa.", "PTR", "", [f"1.2.0.192.in-addr.arpa. PTR {WEB}"]),
    ("9.2.0.192.in-addr.arpa.", "PTR", "", ["NXDOMAIN"]),
    ("shop.example.org.", "A", "hostnames", ["shop.example.org. A 192.0.2.1", "shop.example.org. A 192.0.2.7"]),
    ("x.w.example.org.", "AAAA", "hostnames", ["x.w.example.org. AAAA 2001:db8::1"]),
    ("w.example.org.", "A", "hostnames", []),
    ("x.w.example.org.", "A", "", ["NXDOMAIN"]),
    ("a.b.example.org.", "A", "hostnames", ["a.b.example.org. CNAME lb.cloud.test."]),
    ("b.example.org.", "A", "hostnames", []),
    (WEB, "A", "hostnames", V4),
    ("example.net.", "A", "", ["REFUSED"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "type", "options", "expected"), CASES)
def test_what_a_name_says(name: str, type: str, options: str, expected: list[str], tmp_path: Path) -> None:
    assert expected == said(started(tmp_path, options), name, type)


def test_the_soa(tmp_path: Path) -> None:
    (line,) = said(started(tmp_path), "example.org.", "SOA")
    assert ["example.org.", "SOA", "ns1.dns.example.org.", "hostmaster.example.org."] == line.split()[:4]


def object_of(addresses: list[str], asked: str = "") -> Any:
    import msgspec

    meta = {"name": "web", "namespace": "shop", "annotations": {"external-dns.alpha.kubernetes.io/hostname": asked}}
    balancer = {"ingress": [{"ip": address} for address in addresses]}
    return service(msgspec.convert({"metadata": meta, "status": {"loadBalancer": balancer}}, ServiceObject))


def test_a_change_is_seen(tmp_path: Path) -> None:
    generation = started(tmp_path, "hostnames")
    store = source_of(generation).store
    asked = [WEB, "new.example.org.", "below.new.example.org.", "5.2.0.192.in-addr.arpa."]

    def all_said() -> list[list[str]]:
        found = [said(generation, name, "PTR" if "arpa" in name else "A") for name in asked]
        assert found == [said(generation, name, "PTR" if "arpa" in name else "A") for name in asked]  # out of the memo
        return found

    before = all_said()
    store.put(object_of(["192.0.2.5"], "new.example.org,,*bad name*, below.new.example.org"))
    after = all_said()
    store.remove(type(store.services["shop/web"]), "shop/web")
    assert (
        [V4, ["NXDOMAIN"], ["NXDOMAIN"], ["NXDOMAIN"]],
        [[f"{name} A 192.0.2.5"] for name in asked[:3]] + [[f"{asked[3]} PTR {WEB}"]],
        [["NXDOMAIN"]] * 4,
        ({}, 3),  # the name and the addresses that others have
    ) == (before, after, all_said(), (store.outside._at.get("new.example.org.", {}), len(store.outside._at)))


def test_a_namespace_that_is_hidden_and_shown(tmp_path: Path) -> None:
    """By its labels, which names and pointers depend on."""
    generation = started(tmp_path, cluster="namespace_labels shown=yes")
    found = []
    for labels in ((), (("shown", "yes"),), ()):
        source_of(generation).store.put(Namespace("shop", labels))
        found.append((said(generation, WEB, "A"), said(generation, "1.2.0.192.in-addr.arpa.", "PTR")))
    hidden = (["NXDOMAIN"], ["NXDOMAIN"])
    assert [hidden, (V4, [f"1.2.0.192.in-addr.arpa. PTR {WEB}"]), hidden] == found


def test_what_is_no_address_is_passed_over() -> None:
    assert (b"\xc0\x00\x02\x01",) == object_of(["192.0.2.1", "300.0.0.1", ""]).external.addresses
    assert object_of([]).external is None


def test_nothing_is_kept_where_nobody_wants_it(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(MANIFESTS)
    generation = generation_of(f". {{\nkubernetes cluster.local {{\nmanifests {tmp_path}/all.yaml\n}}\n}}")
    source = source_of(generation)
    asyncio.run(source.start())
    assert {None} == {service.external for service in source.store.services.values()}


@pytest.mark.parametrize(("corefile", "expected"), [
    (". {\nk8s_external example.org\n}",
     "Corefile:2: k8s_external: needs kubernetes in the same server block: its Services are those that have names here"),
    (". {\nkubernetes\nk8s_external 10.0.0.0/8\n}",
     "Corefile:3: k8s_external: needs a zone that is not a reverse zone, for PTR to point to"),
])  # fmt: skip
def test_a_line_that_is_wrong(corefile: str, expected: str) -> None:
    assert expected == refused(corefile)
