"""*metadata*: what plugins know of a query, and where it is used."""

import asyncio
from pathlib import Path

import dns.message
import pytest

from kdns.cluster import labels
from kdns.cluster.objects import Pod
from kdns.cluster.store import Store
from kdns.core.block import Block
from kdns.core.plugin import Exchange
from kdns.core.served import Served
from kdns.dns import names
from kdns.dns.query import Address, Query, Transport
from kdns.dns.response import Made, Response
from kdns.plugins.kubernetes import Kubernetes, Options
from kdns.plugins.log.formats import Format
from tests.support.configured import generation_of, in_block, LOCAL, refused

POD = Pod("team-a/web-0", (names.packed("10.244.0.7"), names.packed("fd00::7")), (("app", "web"), ("example.org/tier", "1")))
CLIENT_LABELS = {
    "client-namespace": "team-a", "client-pod-name": "web-0", "client-label/app": "web", "client-label/example.org/tier": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "zonal", "expected"),
    [
        ("", False, {}),
        ("svc.", False, {"kind": "svc"}),
        ("prod.svc.", False, {"kind": "svc", "namespace": "prod"}),
        ("web.prod.svc.", False, {"kind": "svc", "namespace": "prod", "service": "web"}),
        ("0.web.prod.svc.", False, {"kind": "svc", "namespace": "prod", "service": "web", "endpoint": "0"}),
        (
            "_http._tcp.web.prod.svc.", False,
            {"kind": "svc", "namespace": "prod", "service": "web", "port-name": "http", "protocol": "tcp"},
        ),
        ("1-2-3-4.prod.pod.", False, {"kind": "pod", "namespace": "prod", "service": "1-2-3-4"}),
        ("a.b.c.web.prod.svc.", False, None),
        ("eu.1.pin._zone.web.prod.svc.", False, None),
        ("eu.1.pin._zone.web.prod.svc.", True, {"kind": "svc", "namespace": "prod", "service": "web", "zone": "eu.1"}),
        ("example.", False, None),
    ],
)  # fmt: skip
def test_what_a_name_means(name: str, zonal: bool, expected: dict[str, str] | None) -> None:
    empty = dict.fromkeys(("port-name", "protocol", "endpoint", "service", "namespace", "kind", *["zone"] * zonal), "")
    wanted = {"parse-error": "invalid query name"} if expected is None else empty | expected
    assert wanted == labels.of_name(f"{name}cluster.local.", "cluster.local.", zonal)
    assert wanted == labels.of_name(name or ".", ".", zonal)


@pytest.mark.parametrize(
    ("host", "expected"), [("10.244.0.7", CLIENT_LABELS), ("fd00::7", CLIENT_LABELS), ("10.244.0.8", {}), ("", {})]
)
def test_whose_pod_asks(host: str, expected: dict[str, str]) -> None:
    store = Store()
    store.put(POD)
    assert expected == labels.of_client(store, host)


def block_of(corefile: str, *pods: Pod) -> Block:
    block = generation_of(corefile).blocks[0]
    for plugin in block.named("kubernetes"):
        assert isinstance(plugin, Kubernetes)
        plugin.store.put(*pods)
        plugin.store.synced = True
    return block


def query_of(name: str) -> Query:
    query = Query(name, 1)
    query.client = Address("10.244.0.7", 5353)
    return query


CLUSTER = "kubernetes cluster.local {\nmanifests zones/cluster.yaml\npods verified\n}"


@pytest.mark.parametrize(
    ("metadata", "name", "label", "expected"),
    [
        ("metadata", "web.prod.svc.cluster.local.", "kubernetes/namespace", "prod"),
        ("metadata", "web.prod.svc.cluster.local.", "kubernetes/endpoint", ""),
        ("metadata", "web.prod.svc.cluster.local.", "kubernetes/client-pod-name", "web-0"),
        ("metadata", "web.prod.svc.cluster.local.", "kubernetes/client-label/app", "web"),
        ("metadata", "example.org.", "kubernetes/client-namespace", "team-a"),
        ("metadata", "example.org.", "kubernetes/namespace", None),
        ("metadata", "example.org.", "geoip/city/name", None),
        ("metadata example.org", "www.example.org.", "kubernetes/client-namespace", "team-a"),
        ("metadata example.org", "www.example.net.", "kubernetes/client-namespace", None),
        ("", "example.org.", "kubernetes/client-namespace", None),
    ],
)
def test_labels_of_a_query(metadata: str, name: str, label: str, expected: str | None) -> None:
    block = block_of(in_block(f"{metadata}\n{CLUSTER}"), POD)
    assert expected == block.label(query_of(name), label)


@pytest.mark.parametrize(
    ("pods", "labelled", "expected"), [("verified", True, True), ("verified", False, False), ("insecure", True, False)]
)
def test_labels_of_pods_are_kept_only_where_they_can_be_used(pods: str, labelled: bool, expected: bool) -> None:
    assert expected == Options(pods=pods).selection(labelled, False, ()).pod_labels


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{/kubernetes/client-namespace}/{/kubernetes/client-pod-name} {name}", "team-a/web-0 web.prod.svc.cluster.local."),
        ("[{/kubernetes/endpoint}] {/geoip/city} {/forward/upstream}", "[] - 9.9.9.9:53"),
    ],
)
def test_labels_in_a_log(form: str, expected: str) -> None:
    block = block_of(in_block(f"metadata\n{CLUSTER}"), POD)
    wire = dns.message.make_query("web.prod.svc.cluster.local", "A").to_wire()
    served = Served(wire, Address("10.244.0.7", 5353), LOCAL, Transport.UDP, 512, 0.0)
    exchange = Exchange(query_of("web.prod.svc.cluster.local."), Response(made=Made("forward", "9.9.9.9:53")), b"", 0.0)
    format = Format(form, block.label)
    assert f"[INFO] {expected}" == format.filled(format.text_of(exchange), served, 512)


def test_pods_of_manifests_have_their_labels(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web-0, namespace: team-a, labels: {app: web}}\n"
        "spec: {containers: [{name: c, image: c}]}\nstatus: {phase: Running, podIP: 10.244.0.7}\n"
    )
    corefile = in_block(f"metadata\nkubernetes cluster.local {{\nmanifests {tmp_path}\npods verified\n}}")

    async def run() -> str | None:
        generation = generation_of(corefile)
        [plugin] = generation.blocks[0].named("kubernetes")
        assert isinstance(plugin, Kubernetes)
        await plugin.source.start()  # type: ignore[attr-defined]
        label = generation.blocks[0].label(query_of("a."), "kubernetes/client-label/app")
        await generation.close()
        return label

    assert "web" == asyncio.run(run())


def test_once() -> None:
    assert "Corefile:3: metadata: may stand only once in a server block, and stands at Corefile:2" == refused(
        in_block("metadata\nmetadata")
    )
