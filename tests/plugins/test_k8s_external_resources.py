"""k8s_external: the host names of Ingresses and of routes to Gateways, judged by dnspython."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kdns.cluster.balancers import Entrance, External
from kdns.cluster.store import Store
from kdns.core.explanation import explain
from kdns.core.generation import Generation
from kdns.dns import names
from kdns.dns.query import Edns, Query
from tests.plugins import test_k8s_external as services
from tests.plugins.test_k8s_external import said, source_of
from tests.support.configured import refused

MANIFESTS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  rules:
  - {host: shop.example.org, http: {paths: []}}
  - {host: "*.Wild.example.org"}
  - {http: {paths: []}}
status: {loadBalancer: {ingress: [{ip: 192.0.2.1}, {ip: "2001:db8::1"}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: cloud, namespace: shop}
spec: {rules: [{host: cloud.example.org}]}
status: {loadBalancer: {ingress: [{hostname: lb.cloud.test}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: waits, namespace: shop}
spec: {rules: [{host: waits.example.org}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec: {gatewayClassName: some, listeners: []}
status: {addresses: [{type: IPAddress, value: 192.0.2.9}, {value: "2001:db8::9"}, {type: Hostname, value: edge.cloud.test}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: named, namespace: shop}
status: {addresses: [{type: Hostname, value: named.cloud.test}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: shop}
spec: {hostnames: [api.example.org, shop.example.org], parentRefs: [{name: edge, namespace: infra, sectionName: https}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: mesh, namespace: shop}
spec: {hostnames: [mesh.example.org], parentRefs: [{group: "", kind: Service, name: edge}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: squatter, namespace: shop}
spec: {hostnames: [bank.example.org], parentRefs: [{name: edge, namespace: infra}]}
status: {parents: [{parentRef: {group: gateway.networking.k8s.io, kind: Gateway, name: edge, namespace: infra},
  conditions: [{type: Accepted, status: "False"}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: shop}
spec: {hostnames: [calls.example.org], parentRefs: [{name: named}, {name: gone}]}
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata: {name: lost, namespace: shop}
spec: {hostnames: [lost.example.org], parentRefs: [{name: gone}]}
---
apiVersion: v1
kind: Service
metadata: {name: asks, namespace: shop, annotations: {external-dns.alpha.kubernetes.io/hostname: shop.example.org}}
spec: {type: LoadBalancer, externalIPs: [192.0.2.30], ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: closed, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: example.com}
"""
ALL = "resources Ingress HTTPRoute GRPCRoute TLSRoute"


def started(folder: Path, options: str, cluster: str = "") -> Generation:
    return services.started(folder, options, MANIFESTS, cluster)


CASES = [
    ("shop.example.org.", "A", "resources Ingress", ["shop.example.org. A 192.0.2.1"]),
    ("shop.example.org.", "AAAA", "resources Ingress", ["shop.example.org. AAAA 2001:db8::1"]),
    ("shop.example.org.", "MX", "resources Ingress", []),
    ("x.y.wild.example.org.", "A", "resources Ingress", ["x.y.wild.example.org. A 192.0.2.1"]),
    ("wild.example.org.", "A", "resources Ingress", []),
    ("cloud.example.org.", "A", "resources Ingress", ["cloud.example.org. CNAME lb.cloud.test."]),
    ("waits.example.org.", "A", "resources Ingress", []),
    ("api.example.org.", "A", "resources Ingress", ["NXDOMAIN"]),
    ("x.shop.example.org.", "A", "resources Ingress", ["NXDOMAIN"]),
    ("web.shop.example.org.", "A", "resources Ingress", ["NXDOMAIN"]),
    ("api.example.org.", "A", "resources HTTPRoute", ["api.example.org. A 192.0.2.9"]),
    ("api.example.org.", "AAAA", "resources HTTPRoute", ["api.example.org. AAAA 2001:db8::9"]),
    ("x.wild.example.org.", "A", "resources HTTPRoute", ["NXDOMAIN"]),
    ("mesh.example.org.", "A", "resources HTTPRoute", []),
    ("bank.example.org.", "A", "resources HTTPRoute", []),
    ("calls.example.org.", "A", ALL, ["calls.example.org. CNAME named.cloud.test."]),
    ("lost.example.org.", "A", ALL, []),
    ("shop.example.org.", "A", ALL, ["shop.example.org. A 192.0.2.1", "shop.example.org. A 192.0.2.9"]),
    ("shop.example.org.", "A", f"hostnames\n{ALL}",
     ["shop.example.org. A 192.0.2.1", "shop.example.org. A 192.0.2.30", "shop.example.org. A 192.0.2.9"]),
    ("shop.example.org.", "A", "hostnames", ["shop.example.org. A 192.0.2.30"]),
    ("asks.shop.example.org.", "A", ALL, ["asks.shop.example.org. A 192.0.2.30"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "type", "options", "expected"), CASES)
def test_what_a_name_says(name: str, type: str, options: str, expected: list[str], tmp_path: Path) -> None:
    assert expected == said(started(tmp_path, options), name, type)


@pytest.mark.parametrize(("name", "expected"), [
    ("waits.example.org.", "Ingress shop/waits asks for it and has no address yet"),
    ("lost.example.org.", "TLSRoute shop/lost asks for it and has no address yet: Gateway shop/gone does not exist"),
    ("bank.example.org.", "HTTPRoute shop/squatter asks for it and has no address yet: no Gateway takes it"),
    ("nowhere.example.org.", ""),
    ("closed.shop.example.org.", "Service shop/closed has no address outside of the cluster (yet)"),
    ("alias.shop.example.org.", "Service shop/alias is an ExternalName, which has no address"),
])  # fmt: skip
def test_why_a_name_has_no_address(name: str, expected: str, tmp_path: Path) -> None:
    generation = started(tmp_path, ALL)
    listener = next(iter(generation.listeners.values()))
    told = asyncio.run(explain(listener, Query(name, 1, edns=Edns(1232, False))))
    assert expected == told["why"]


def test_clients_are_told_of_no_gateway_that_is_hidden(tmp_path: Path) -> None:
    generation = started(tmp_path, ALL, "namespaces shop")
    source_of(generation).store.put(Entrance("infra/edge Gateway", External((), (), ())))
    told = asyncio.run(explain(next(iter(generation.listeners.values())), Query("api.example.org.", 1, edns=Edns(1232, False))))
    assert "HTTPRoute shop/api asks for it and has no address yet: a Gateway has none" == told["why"]
    assert told["sentence"].endswith("; see kubectl describe gateway edge -n infra")


@pytest.mark.parametrize(("name", "expected"), [
    ("lost.example.org.", "lost.example.org has no A record: TLSRoute shop/lost asks for it and has no address yet: "
     "Gateway shop/gone does not exist; see kubectl describe tlsroute lost -n shop"),
    ("closed.shop.example.org.", "closed.shop.example.org does not exist: Service shop/closed has no address outside of the "
     "cluster (yet); its type has to be LoadBalancer, with something that gives it an address, or set spec.externalIPs: "
     "kubectl describe service closed -n shop"),
])  # fmt: skip
def test_explain_ends_in_what_to_do(name: str, expected: str, tmp_path: Path) -> None:
    generation = started(tmp_path, ALL)
    told = asyncio.run(explain(next(iter(generation.listeners.values())), Query(name, 1, edns=Edns(1232, False))))
    assert expected == told["sentence"]


def test_explain_tells_who_asks_and_where_it_is_answered(tmp_path: Path) -> None:
    generation = started(tmp_path, ALL)
    told = asyncio.run(explain(next(iter(generation.listeners.values())), Query("calls.example.org.", 1)))
    expected = {
        "by": "GRPCRoute shop/calls", "hidden": False,
        "addresses of Gateway shop/named": "named.cloud.test.", "addresses of Gateway shop/gone": "it does not exist",
    }  # fmt: skip
    assert [{"asked for": [expected]}] == told["objects"]


def test_gateways_are_of_all_namespaces_and_routes_of_those_that_are_asked_for(tmp_path: Path) -> None:
    generation = started(tmp_path, ALL, "namespaces shop")
    assert ["api.example.org. A 192.0.2.9"] == said(generation, "api.example.org.", "A")
    assert ["NXDOMAIN"] == said(started(tmp_path, ALL, "namespaces infra"), "api.example.org.", "A")


def test_labels_choose_them(tmp_path: Path) -> None:
    assert ["NXDOMAIN"] == said(started(tmp_path, ALL, "labels app=other"), "api.example.org.", "A")


def test_nobody_asks_for_them_where_no_option_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert {} == source_of(started(tmp_path, "hostnames")).store.entrances
    assert "not used: 1 GRPCRoute, 2 Gateway, 3 HTTPRoute, 3 Ingress, 1 TLSRoute" in caplog.text
    started(tmp_path, "resources Ingress")
    assert "3 Services, 0 Pods, 3 Ingress in 1 namespace; not used: 1 GRPCRoute, 2 Gateway, 3 HTTPRoute, 1 TLSRoute" in caplog.text


def packed(*texts: str) -> tuple[bytes, ...]:
    return tuple(map(names.packed, texts))


def test_a_change_forgets_what_was_made_of_it_and_nothing_else(tmp_path: Path) -> None:
    generation = started(tmp_path, ALL)
    store: Store = source_of(generation).store
    asked = ["api.example.org.", "lost.example.org.", "new.example.org.", "cloud.example.org."]
    forgotten: list[set[Any]] = []
    store.listeners.append(lambda keys: forgotten.append(set(keys)))

    def all_said() -> list[list[str]]:
        found = [said(generation, name, "A") for name in asked]
        assert found == [said(generation, name, "A") for name in asked]  # out of the memo
        return found

    cloud = ["cloud.example.org. CNAME lb.cloud.test."]
    assert [["api.example.org. A 192.0.2.9"], [], ["NXDOMAIN"], cloud] == all_said()
    store.put(Entrance("infra/edge Gateway", External(packed("192.0.2.10"), (), ())))
    store.put(Entrance("shop/gone Gateway", External(packed("192.0.2.11"), (), ())))
    store.put(Entrance("shop/new Ingress", External(packed("192.0.2.12"), (), ("new.example.org.",))))
    assert [
        ["api.example.org. A 192.0.2.10"], ["lost.example.org. A 192.0.2.11"], ["new.example.org. A 192.0.2.12"], cloud,
    ] == all_said()  # fmt: skip
    store.remove(Entrance, "infra/edge Gateway")
    store.remove(Entrance, "shop/new Ingress")
    assert [[], ["lost.example.org. A 192.0.2.11"], ["NXDOMAIN"], cloud] == all_said()
    assert [
        {".", "infra/edge Gateway"}, {".", "shop/gone Gateway"}, {".", "shop/new Ingress", "new.example.org."},
        {".", "infra/edge Gateway"}, {".", "shop/new Ingress", "new.example.org."},
    ] == forgotten  # fmt: skip
    assert "new.example.org." not in store.asking["Ingress"]._at


@pytest.mark.parametrize(("options", "expected"), [
    ("resources", "Corefile:4: k8s_external: resources: takes at least 1 argument, has none"),
    ("resources Ingress Service",
     "Corefile:4: k8s_external: resources: 'Service' is none of Ingress, HTTPRoute, GRPCRoute, TLSRoute"),
])  # fmt: skip
def test_a_line_that_is_wrong(options: str, expected: str) -> None:
    assert expected == refused(f". {{\nkubernetes cluster.local\nk8s_external example.org {{\n{options}\n}}\n}}")
