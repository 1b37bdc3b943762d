"""*kubernetes*: each option read and each mistake named; unsynced, fallthrough, and manifests that change while served."""

import asyncio
import logging
import textwrap
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest

from kdns.cluster.answers import Schema
from kdns.cluster.apiserver import source as module
from kdns.cluster.manifests.controllers import ranges
from kdns.cluster.manifests.source import Manifests
from kdns.cluster.objects import Namespace, Selection, Service
from kdns.cluster.store import Store
from kdns.core.generation import Generation
from kdns.dns.query import Query
from kdns.dns.response import Response, RRset
from kdns.dns.types import NXDOMAIN
from kdns.plugins.kubernetes import Kubernetes
from tests.support.configured import answers, ask, generation_of, listener_of, refused
from tests.support.running import Client, serving

ZONES = ("cluster.local.", "in-addr.arpa.", "ip6.arpa.")


def block(options: str, zones: str = "cluster.local in-addr.arpa ip6.arpa", source: str = "manifests x") -> str:
    return f". {{\nkubernetes {zones} {{\n{source}\n{options}\n}}\n}}\n"


def plugin(options: str) -> Kubernetes:
    (found,) = generation_of(block(options)).blocks[0].named("kubernetes")
    assert isinstance(found, Kubernetes)
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", Schema(ZONES)),
        ("ttl 0", Schema(ZONES, ttl=0)),
        ("ttl 3600", Schema(ZONES, ttl=3600)),
        ("pods disabled", Schema(ZONES)),
        ("pods insecure", Schema(ZONES, pods="insecure")),
        ("pods verified", Schema(ZONES, pods="verified")),
        ("endpoint_pod_names", Schema(ZONES, endpoint_pod_names=True)),
        ("noendpoints", Schema(ZONES, noendpoints=True)),
        ("ignore empty_service", Schema(ZONES, ignore_empty=True)),
        ("zonal", Schema(ZONES, zonal=True)),
        ("namespaces q p q", Schema(ZONES, namespaces=frozenset("pq"))),
    ],
)
def test_an_option_of_answers(options: str, expected: Schema) -> None:
    assert expected == plugin(options).answers.options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", Selection()),
        ("namespaces q p q", Selection(namespaces=("p", "q"))),
        ("labels app in (a, b),!old", Selection(labels="app in (a, b),!old")),
        ("noendpoints", Selection(endpoints=False)),
        ("pods verified", Selection(pods=True)),
        ("endpoint_pod_names", Selection(pod_names=True)),
        ("zonal", Selection(zones=True)),
    ],
)
def test_what_a_source_is_to_bring(options: str, expected: Selection) -> None:
    source: Any = plugin(options).source
    assert isinstance(source, Manifests)
    assert expected == source._options.selection


def test_manifests_and_their_ranges() -> None:
    source: Any = plugin("cluster_ips 10.1.0.0/16 fd00::/112\nmanifests a b").source
    assert (("a", "b"), ranges("10.1.0.0/16", "fd00::/112")) == (source._paths, source._options.cluster_ips)


@pytest.mark.parametrize(
    ("labels", "expected"), [({"env": "prod"}, True), ({"env": "test"}, False), ({}, False)]
)
def test_namespace_labels(labels: dict[str, str], expected: bool) -> None:
    wanted = plugin("namespace_labels env in (prod)").answers.options.namespace_labels
    assert wanted is not None
    assert expected is wanted(labels)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("endpoint http://127.0.0.1:1", {"endpoint": "http://127.0.0.1:1"}),
        ("endpoint https://127.0.0.1:1\ntls c.pem k.pem ca.pem", {"tls": ("c.pem", "k.pem", "ca.pem")}),
        ("kubeconfig file", {"kubeconfig": "file", "context": ""}),
        ("kubeconfig file dev", {"kubeconfig": "file", "context": "dev"}),
        ("apiserver_qps 0.5\napiserver_burst 0", {"qps": 0.5, "burst": 0}),
        ("endpoint http://127.0.0.1:1 http://127.0.0.1:2", {"endpoint": "http://127.0.0.1:1"}),
        ("apiserver_qps 5\napiserver_burst 6\napiserver_max_inflight 7", {"qps": 5, "burst": 6, "max_inflight": 7}),
    ],
)
def test_the_way_to_an_api_server(lines: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = module.Connection

    def make(**given: Any) -> Any:
        made.append(given)
        return real(**given)

    monkeypatch.setattr(module, "Connection", make)
    generation_of(block("", source=lines))
    assert expected == {name: made[0][name] for name in expected}


@pytest.mark.parametrize(
    ("zones", "of_block", "expected"),
    [
        ("cluster.local", ".", ("cluster.local.",)),
        ("", "cluster.local", ("cluster.local.",)),
        ("", "cluster.local 10.96.0.0/16", ("cluster.local.", "96.10.in-addr.arpa.")),
        ("Cluster.Local. 10.0.0.0/8", ".", ("cluster.local.", "10.in-addr.arpa.")),
    ],
)
def test_zones(zones: str, of_block: str, expected: tuple[str, ...]) -> None:
    corefile = f"{of_block} {{\nkubernetes {zones} {{\nmanifests x\n}}\n}}\n"
    (found,) = generation_of(corefile).blocks[0].named("kubernetes")
    assert isinstance(found, Kubernetes)
    assert expected == found.answers.options.zones


MISTAKES = """
    ttl 3601                          ttl: '3601' is not a whole number from 0 to 3600
    ttl -1                            ttl: '-1' is not a whole number from 0 to 3600
    ttl                               ttl: takes 1 argument, has none
    ttl 5 6                           ttl: takes 1 argument, has 2
    pods                              pods: takes 1 argument, has none
    pods some                         pods: 'some' is none of disabled, insecure, verified
    podz insecure                     unknown option 'podz', did you mean 'pods'?
    endpoint_pod_names yes            endpoint_pod_names: takes no arguments, has 1
    noendpoints 1                     noendpoints: takes no arguments, has 1
    zonal on                          zonal: takes no arguments, has 1
    ignore                            ignore: takes 1 argument, has none
    ignore empty                      ignore: 'empty' is none of empty_service
    namespaces                        namespaces: takes at least 1 argument, has none
    namespace_labels                  namespace_labels: takes at least 1 argument, has none
    namespace_labels a in b           namespace_labels: label selector 'a in b': '(' expected after in and notin, not 'b'
    labels                            labels: takes at least 1 argument, has none
    labels =a                         labels: label selector '=a': '=' is no label key
    manifests                         manifests: takes at least 1 argument, has none
    cluster_ips                       cluster_ips: takes at least 1 argument, has none
    cluster_ips 10.0.0.1/8            cluster_ips: 10.0.0.1/8 has host bits set
    cluster_ips 10.0.0.0/8 11.0.0.0/8 cluster_ips: ClusterIPs need one range, or one of IPv4 and one of IPv6
    endpoint                          endpoint: takes at least 1 argument, has none
    tls a b                           tls: takes 3 arguments, has 2
    kubeconfig                        kubeconfig: takes 1 to 2 arguments, has none
    kubeconfig a b c                  kubeconfig: takes 1 to 2 arguments, has 3
    apiserver_qps -1                  apiserver_qps: '-1' is not a number of requests a second
    apiserver_burst x                 apiserver_burst: 'x' is not a whole number from 0 to 1000000
    apiserver_max_inflight            apiserver_max_inflight: takes 1 argument, has none
    startup_timeout                   startup_timeout: takes 1 argument, has none
    startup_timeout soon              startup_timeout: 'soon' is not a duration such as 5s, 1m30s or 500ms
    snapshot                          snapshot: takes 1 argument, has none
"""


@pytest.mark.parametrize(
    ("option", "expected"), [(line[:34].strip(), line[34:]) for line in textwrap.dedent(MISTAKES).strip().splitlines()]
)
def test_a_mistake_is_named_with_its_line(option: str, expected: str) -> None:
    assert f"Corefile:4: kubernetes: {expected}" == refused(block(option))


def test_mistakes_of_the_whole_directive() -> None:
    assert "Corefile:2: kubernetes: namespaces and namespace_labels exclude each other: keep one" == refused(
        block("namespaces p\nnamespace_labels a=b")
    )
    assert (
        "Corefile:2: kubernetes: needs a zone that is not a reverse zone, such as cluster.local, for PTR to point to"
        == refused(block("", zones="10.0.0.0/8"))
    )


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (
            "multicluster clusterset.local",
            "multicluster is not served yet, its zones are answered without ServiceImports",
        ),
        ("upstream", "upstream has no effect any more, the line may go"),
        ("upstream 8.8.8.8", "upstream has no effect any more, the line may go"),
        ("resyncperiod 5m", "resyncperiod has no effect any more, the line may go"),
    ],
)
def test_what_has_no_effect_is_said(option: str, expected: str) -> None:
    found = plugin(option)
    assert Schema(ZONES) == found.answers.options
    assert [f"Corefile:4: kubernetes: {expected}"] == found.block.notes


# ---------------------------------------------------------------- answers


def elsewhere(query: Query) -> Response:
    """Every name has this address, says whoever stands after the plugin."""
    return Response(answer=(RRset(query.name, 1, 5, (b"\xc0\x00\x02\x01",)),))


def plugin_of(generation: Generation) -> Kubernetes:
    (found,) = generation.blocks[0].named("kubernetes")
    assert isinstance(found, Kubernetes)
    return found


def store_of(generation: Generation) -> Store:
    return plugin_of(generation).store


@pytest.mark.parametrize(
    "name", ["web.p.svc.cluster.local.", "1.0.96.10.in-addr.arpa.", "cluster.local.", "gone.cluster.local."]
)
def test_until_it_is_synced_it_fails_and_never_falls_through(name: str) -> None:
    generation = generation_of(block("fallthrough"), elsewhere)
    store_of(generation).why_not = "services are not known yet"
    reply = asyncio.run(ask(generation, name, use_edns=0))
    assert ("SERVFAIL", []) == (dns.rcode.to_text(reply.rcode()), answers(reply))
    assert ["EDE 14 (Not Ready): services are not known yet"] == [option.to_text() for option in reply.options]
    assert "services are not known yet" == plugin_of(generation).ready()
    assert 0 == len(listener_of(generation).memo)
    assert ["192.0.2.1"] == answers(asyncio.run(ask(generation, "example.com.")))
    store_of(generation).synced = True
    assert plugin_of(generation).ready() is None


@pytest.mark.parametrize(
    ("options", "falls"),
    [
        ("", ""),
        ("fallthrough", "gone.cluster.local. 9.9.9.9.in-addr.arpa. f.ip6.arpa."),
        ("fallthrough in-addr.arpa ip6.arpa", "9.9.9.9.in-addr.arpa. f.ip6.arpa."),
        ("fallthrough cluster.local", "gone.cluster.local."),
        ("fallthrough 9.0.0.0/8", "9.9.9.9.in-addr.arpa."),
    ],
)
def test_what_falls_through(options: str, falls: str) -> None:
    generation = generation_of(block(options), elsewhere)
    store = store_of(generation)
    store.put(Namespace("p"), Service("p/web", (b"\x0a\x60\0\1",), ()))
    store.synced = True

    async def fallen(name: str) -> bool:
        return ["192.0.2.1"] == answers(await ask(generation, name))

    there = ["web.p.svc.cluster.local.", "cluster.local.", "1.0.96.10.in-addr.arpa.", "96.10.in-addr.arpa."]
    gone = ["gone.cluster.local.", "9.9.9.9.in-addr.arpa.", "f.ip6.arpa."]
    assert falls.split() == [name for name in there + gone if asyncio.run(fallen(name))]


def test_what_fell_through_is_forgotten_when_the_name_comes() -> None:
    stable = Response(rcode=NXDOMAIN, stable_for=float("inf"), depends=("a file",))
    generation = generation_of(block("fallthrough"), stable)
    store = store_of(generation)
    store.synced = True

    async def code(name: str) -> str:
        query = dns.message.make_query(name, "A", id=1).to_wire()
        listener = listener_of(generation)
        entry = listener.memo.get(query[2:])
        if entry is None:
            return dns.rcode.to_text((await ask(generation, name, id=1)).rcode())
        assert entry.reply
        return "memo: " + dns.rcode.to_text(dns.message.from_wire(query[:2] + entry.reply).rcode())

    async def check() -> list[str]:
        names = ("web.p.svc.cluster.local.", "0.96.10.in-addr.arpa.")
        before = [await code(name) for name in names for _ in range(2)]
        store.put(Service("p/web", (b"\x0a\x60\0\1",), ()))
        return before + [await code(name) for name in names]

    assert ["NXDOMAIN", "memo: NXDOMAIN", "NXDOMAIN", "NXDOMAIN", "NOERROR", "NOERROR"] == asyncio.run(check())


def test_a_generation_that_ends_is_told_of_no_more_changes() -> None:
    generation = generation_of(block(""))
    store = store_of(generation)
    assert 1 == len(store.listeners)
    asyncio.run(generation.close())
    assert [] == store.listeners


# ---------------------------------------------------------------- manifests that change


WEB = """
apiVersion: v1
kind: Service
metadata: {{name: {}, namespace: p}}
spec:
  clusterIP: {}
  ports: [{{name: http, port: {}}}]
---
"""


def served_from(port: int, manifest: Path) -> str:
    return f".:{port} {{\nbind 127.0.0.1\nkubernetes cluster.local {{\nmanifests {manifest}\n}}\n}}\n"


async def until(client: Client, name: str, expected: list[str]) -> None:
    """Ask until the answer is as expected; AssertionError with the last one where it never is."""
    for _ in range(1000):
        if (seen := answers(await client.ask(name))) == expected:
            return
        await asyncio.sleep(0.01)
    assert expected == seen


def test_an_edited_manifest_is_served_and_no_query_is_lost(tmp_path: Path, free_port: int) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(WEB.format("web", "10.96.0.7", 80))

    async def check() -> set[str]:
        async with serving(served_from(free_port, manifest)), Client.of(free_port) as client:
            seen, over = set[str](), asyncio.Event()

            async def ask_on() -> None:
                while not over.is_set():
                    seen.update(answers(await client.ask("web.p.svc.cluster.local")))
                    await asyncio.sleep(0.001)

            asking = asyncio.create_task(ask_on())
            for address in ("10.96.0.7", "10.96.0.8", "10.96.0.9"):
                manifest.write_text(WEB.format("web", address, 80) + WEB.format("new", "10.96.0.77", 80))
                await until(client, "web.p.svc.cluster.local", [address])
                for _ in range(1000):
                    await asyncio.sleep(0 if address in seen else 0.01)
            await until(client, "new.p.svc.cluster.local", ["10.96.0.77"])
            over.set()
            await asking  # TimeoutError where a query was lost
            return seen

    assert {"10.96.0.7", "10.96.0.8", "10.96.0.9"} == asyncio.run(check())


def test_a_manifest_that_became_wrong_keeps_what_was_good(
    tmp_path: Path, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(WEB.format("web", "10.96.0.7", 80))

    async def check() -> list[Any]:
        async with serving(served_from(free_port, manifest)) as server, Client.of(free_port) as client:
            manifest.write_text(WEB.format("web", "10.96.0.8", "eighty"))
            source = server.generation.blocks[0].named("kubernetes")[0].source  # type: ignore[attr-defined]
            for _ in range(200):
                await asyncio.sleep(0 if source.problem else 0.01)
            wrong = [source.problem, answers(await client.ask("web.p.svc.cluster.local")), plugin_of(server.generation).ready()]
            manifest.write_text(WEB.format("web", "10.96.0.9", 80))
            await until(client, "web.p.svc.cluster.local", ["10.96.0.9"])
            return [*wrong, source.problem, answers(await client.ask("web.p.svc.cluster.local"))]

    caplog.set_level(logging.ERROR)
    problem = f"{manifest}:7: Service p/web: spec.ports[0].port: Expected int, got str (no quotes)"
    assert [problem, ["10.96.0.7"], None, None, ["10.96.0.9"]] == asyncio.run(check())
    assert [f"{problem} (still serving what was good before)"] == caplog.messages
