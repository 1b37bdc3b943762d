"""Mistakes that pass silently elsewhere: each has its message, and `lenient` takes them as they are."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdns.cluster.balancers import ASKING, ROUTES
from kdns.cluster.manifests import source as manifests
from kdns.cluster.manifests.fields import FIELDS, GROUPS
from kdns.cluster.manifests.loading import load, Options
from kdns.cluster.manifests.source import Manifests
from kdns.cluster.objects import Selection
from kdns.cluster.store import Store
from kdns.errors import ManifestError
from tests.cluster.manifests.test_source import within, written

WEB = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: prod}\n"
DB = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: prod}\n"
TEMPLATE = "  selector: {matchLabels: {app: db}}\n  template: {metadata: {labels: {app: db}}, spec: {}}\n"

# The file's text, and what is said of it; a second file stands before it where the text is a pair.
MISTAKES: list[tuple[str, str]] = [
    # fields
    (WEB + "spec:\n  selectr: {app: web}\n", "5: Service prod/web: spec.selectr: no such field, did you mean 'selector'?"),
    (WEB + "spec:\n  ports:\n  - port: 80\n    prot: 80\n",
     "7: Service prod/web: spec.ports[0].prot: no such field, did you mean 'port'?"),
    (WEB + "spec: {ports: [{port: 80, targetport: 8080}]}\n",
     "4: Service prod/web: spec.ports[0].targetport: no such field, did you mean 'targetPort'?"),
    (WEB + "spec: {clusterIp: None}\n", "4: Service prod/web: spec.clusterIp: no such field, did you mean 'clusterIP'?"),
    (WEB + "ports: [{port: 80}]\n", "4: Service prod/web: ports: no such field, did you mean 'spec.ports'?"),
    (WEB + "spce: {}\n", "4: Service prod/web: spce: no such field, did you mean 'spec'?"),
    (WEB + "spec:\n  publish-not-ready: true\n", "5: Service prod/web: spec.publish-not-ready: no such field"),
    ("kind: Service\nmetadata:\n  name: web\n  lables: {app: web}\n",
     "4: Service default/web: metadata.lables: no such field, did you mean 'labels'?"),
    ("kind: Pod\nmetadata: {name: a}\nspec:\n  hostName: a\n",
     "4: Pod default/a: spec.hostName: no such field, did you mean 'hostname'?"),
    ("kind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    ports: [{containerPort: 80, containerport: 81}]\n",
     "6: Pod default/a: spec.containers[0].ports[0].containerport: no such field, did you mean 'containerPort'?"),
    ("kind: Pod\nmetadata: {name: a}\nstatus: {podIp: 10.0.0.1}\n",
     "3: Pod default/a: status.podIp: no such field, did you mean 'podIP'?"),
    ("kind: Endpoints\nmetadata: {name: w}\nsubset: []\n",
     "3: Endpoints default/w: subset: no such field, did you mean 'subsets'?"),
    ("kind: EndpointSlice\nmetadata: {name: w}\naddressType: IPv4\nendpoints: [{addresses: [10.0.0.1], address: 10.0.0.1}]\n",
     "4: EndpointSlice default/w: endpoints[0].address: no such field, did you mean 'addresses'?"),
    (DB + "spec:\n  servicename: db\n" + TEMPLATE,
     "5: StatefulSet prod/db: spec.servicename: no such field, did you mean 'serviceName'?"),
    # ports that nobody could tell apart
    (WEB + "spec:\n  ports:\n  - {name: http, port: 80}\n  - {name: http, port: 81}\n",
     "7: Service prod/web: spec.ports[1].name: 'http' is there twice, first as spec.ports[0]"),
    (WEB + "spec:\n  ports:\n  - port: 80\n  - port: 81\n",
     "6: Service prod/web: spec.ports[0].name: missing: of several ports each has a name"),
    # the same twice
    (WEB + "spec:\n  clusterIP: 10.96.0.1\n  clusterIP: 10.96.0.2\n", "6: bad YAML: 'clusterIP' is there twice, first on line 5"),
    (WEB + "spec: {}\n" + WEB.replace("web", "db"),
     "5: bad YAML: 'apiVersion' is there twice, first on line 1: is a line with --- missing between two objects?"),
    (WEB + "---\n" + WEB, "7: Service prod/web: metadata.name: the same object is also at a.yaml:1"),
    (WEB + "---\nkind: Namespace\nmetadata: {name: prod}\n---\nkind: Namespace\nmetadata: {name: prod}\n",
     "9: Namespace prod: metadata.name: the same object is also at a.yaml:5"),
    (WEB + "spec: {clusterIP: 10.96.0.5}\n---\n" + WEB.replace("web", "db") + "spec:\n  clusterIP: 10.96.0.5\n",
     "10: Service prod/db: spec.clusterIP: 10.96.0.5 is that of Service prod/web, at a.yaml:1"),
    # names that are none
    (WEB + "spec: {type: ExternalName, externalName: 'https://example.com/'}\n",
     "4: Service prod/web: spec.externalName: 'https://example.com/' is no host name: labels of letters, digits and '-', "
     "dots between them"),
    (WEB + "spec: {type: ExternalName, externalName: 192.0.2.1}\n",
     "4: Service prod/web: spec.externalName: '192.0.2.1' is an address: an alias needs a name; Endpoints can have addresses"),
    # kinds and versions
    ("apiVersion: v1\nkind: Servce\nmetadata: {name: web}\n", "2: kind: 'Servce' is none, did you mean 'Service'?"),
    ("apiVersion: v1\nkind: service\nmetadata: {name: web}\n", "2: kind: 'service' is none, did you mean 'Service'?"),
    ("kind: Pods\nmetadata: {name: web}\n", "1: kind: 'Pods' is none, did you mean 'Pod'?"),
    ("apiVersion: v1\nkind: Endpoint\nmetadata: {name: web}\n", "2: kind: 'Endpoint' is none, did you mean 'Endpoints'?"),
    ("apiVersion: V1\nkind: Service\nmetadata: {name: web}\n", "1: apiVersion: a Service is of v1, not of 'V1'"),
    ("apiVersion: apps/v1\nkind: Service\nmetadata: {name: web}\n", "1: apiVersion: a Service is of v1, not of 'apps/v1'"),
    ("apiVersion: v1\nkind: Deployment\nmetadata: {name: web}\n", "1: apiVersion: a Deployment is of apps/v1, not of 'v1'"),
    ("apiVersion: discovery.k8s/v1\nkind: EndpointSlice\nmetadata: {name: web}\n",
     "1: apiVersion: an EndpointSlice is of discovery.k8s.io/v1, not of 'discovery.k8s/v1'"),
    # workloads
    (DB + "spec:\n  template: {metadata: {labels: {app: db}}}\n", "4: StatefulSet prod/db: spec.selector: missing"),
    (DB + "spec:\n  selector: {matchLabels: {app: db}}\n  template: {metadata: {labels: {app: web}}}\n",
     "5: StatefulSet prod/db: spec.selector.matchLabels: app: db is none of spec.template's labels: no Pod would match"),
]  # fmt: skip

# What is wrong whatever is asked for.
ALWAYS: list[tuple[str, str]] = [
    (WEB + "spec: {clusterIP: none}\n", "4: Service prod/web: spec.clusterIP: 'none' is no address, did you mean 'None'?"),
    (DB + "spec:\n  replicas: -1\n" + TEMPLATE, "5: StatefulSet prod/db: spec.replicas: -1 is no number of Pods: 0 to 65536"),
    (DB + "spec:\n  replicas: 2000000000\n" + TEMPLATE,
     "5: StatefulSet prod/db: spec.replicas: 2000000000 is no number of Pods: 0 to 65536"),
    (DB + "spec:\n  selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    spec:\n"
     "      hostname: a.b\n",
     "9: StatefulSet prod/db: spec.template.spec.hostname: 'a.b' is no DNS label: a-z, 0-9 and '-', at most 63, first and "
     "last not '-'"),
]  # fmt: skip


def refusal(path: Path, lenient: bool = False) -> str:
    try:
        load([path.name], Options(lenient=lenient))
    except ManifestError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_is_told_unless_that_is_not_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.yaml", text)
    assert f"a.yaml:{expected}" == refusal(path)
    assert "" == refusal(path, lenient=True)


@pytest.mark.parametrize(("text", "expected"), ALWAYS)
def test_what_cannot_be_served_is_told_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.yaml", text)
    assert [f"a.yaml:{expected}"] * 2 == [refusal(path), refusal(path, lenient=True)]


def test_there_are_thirty() -> None:
    assert len(MISTAKES) >= 30


def test_mistakes_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = '{"kind": "Service", "metadata": {"name": "web"},\n "spec": {\n  "selectr": {}}}'
    assert "a.json:3: Service default/web: spec.selectr: no such field, did you mean 'selector'?" == refusal(
        written(tmp_path / "a.json", text)
    )


def test_the_same_object_in_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "a.yaml", "# one\n" + WEB)
    written(tmp_path / "b.yaml", WEB)
    with pytest.raises(ManifestError) as raised:
        load(["a.yaml", "b.yaml"])
    assert "b.yaml:3: Service prod/web: metadata.name: the same object is also at a.yaml:2" == str(raised.value)


GOOD = {
    "a dump of a later Kubernetes": "kind: Service\nmetadata: {name: web, uid: 1-2}\nspec: {later: 1}\n",
    "merge keys may be overridden": "kind: Service\nmetadata: {<<: &m {name: a, labels: {x: a}}, name: web}\n",
    "a merge that is used twice": "kind: List\nitems:\n- &a {kind: Service, metadata: {name: a}}\n"
                                  "- {<<: *a, metadata: {name: b}}\n- {<<: *a, metadata: {name: c}}\n",
    "another group's": "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: web}\nspec: {any: thing}\n",
    "another group's near miss": "apiVersion: example.com/v1\nkind: Pods\nmetadata: {name: web}\n",
    "an old group's": DB.replace("StatefulSet", "Deployment").replace("apps/v1", "extensions/v1beta1") + "spec:\n" + TEMPLATE,
    "kinds that are not used": "kind: ServiceAccount\nmetadata: {name: a}\n---\nkind: CronJob\nmetadata: {name: a}\n",
    "fields that are not looked into": "kind: Pod\nmetadata: {name: a}\nspec: {volumes: [{any: thing}], affinity: {x: y}}\n",
    "an underscore": WEB + "spec: {type: ExternalName, externalName: _db.Example.com.}\n",
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_no_mistakes(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "" == refusal(written(tmp_path / "a.yaml", GOOD[name]))


WEB_INGRESS = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: prod}\n"
ROUTE = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web, namespace: prod}\n"
EDGE = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: prod}\n"


@pytest.mark.parametrize(("text", "expected"), [
    (WEB_INGRESS + "spec: {rule: []}\n", "4: Ingress prod/web: spec.rule: no such field, did you mean 'rules'?"),
    (WEB_INGRESS + "spec: {rules: [{hosts: a.example.org}]}\n",
     "4: Ingress prod/web: spec.rules[0].hosts: no such field, did you mean 'host'?"),
    (WEB_INGRESS + "spec: {rules: [{host: 192.0.2.1}]}\n",
     "4: Ingress prod/web: spec.rules[0].host: '192.0.2.1' is an address: a host is asked for by its name"),
    (WEB_INGRESS + "spec: {rules: [{host: a.*.org}]}\n",
     "4: Ingress prod/web: spec.rules[0].host: 'a.*.org' is no host name: labels of letters, digits and '-', dots between them"),
    (WEB_INGRESS + "status: {loadBalancer: {ingress: [{ip: 192.0.2}]}}\n",
     "4: Ingress prod/web: status.loadBalancer.ingress[0].ip: '192.0.2' is not an IP address"),
    (WEB_INGRESS.replace("networking.k8s.io/", ""),
     "1: apiVersion: an Ingress is of networking.k8s.io/v1, not of 'v1'"),
    (ROUTE + "spec: {hostname: [a.example.org]}\n",
     "4: HTTPRoute prod/web: spec.hostname: no such field, did you mean 'hostnames'?"),
    (ROUTE + "spec: {parentRefs: [{namespace: infra}]}\n", "4: HTTPRoute prod/web: spec.parentRefs[0].name: missing"),
    (EDGE + "status: {addresses: [{value: lb.example.org}]}\n",
     "4: Gateway prod/edge: status.addresses[0].value: 'lb.example.org' is not an IP address"),
    (EDGE.replace("gateway.networking.k8s.io", "networking.istio.io") + "spec: {servers: []}\n", ""),
    (EDGE.replace("Gateway", "GatewayClass") + EDGE.replace("Gateway", "TCPRoute").replace("api", "---\napi"), ""),
    (WEB_INGRESS + "spec: {rules: [{host: '*.example.org'}]}\n", ""),
])  # fmt: skip
def test_what_asks_for_names_is_read_as_strictly(text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(written(tmp_path / "a.yaml", WEB + "---\n" + text))
    load([path], Options())  # nobody asks for them
    try:
        load([path], Options(Selection(asking=ASKING)))
        told = ""
    except ManifestError as error:
        told = str(error)
    line, _, rest = expected.partition(": ")
    assert (f"a.yaml:{int(line) + 4}: {rest}" if expected else "") == told.removeprefix(f"{tmp_path}/")


def test_the_fields_are_those_of_the_api() -> None:
    from kubernetes.aio.client import models

    named = {
        "EndpointPort": "CoreV1EndpointPort", "SlicePort": "DiscoveryV1EndpointPort",
    }  # fmt: skip
    of_resources = {"Gateway", "GatewayStatus", "GatewayStatusAddress", "RouteSpec", "ParentReference", *ROUTES}
    for name, fields in FIELDS.items():
        if name in of_resources:  # the Gateway API is not Kubernetes's own
            continue
        model = getattr(models, named.get(name, f"V1{name}"))
        assert set(model.attribute_map.values()) == set(fields), name
        types = {js: model.openapi_types[py] for py, js in model.attribute_map.items()}
        for field, type in fields.items():
            if type:
                assert types[field].lower().removeprefix("list[").removesuffix("]") == named.get(type, f"V1{type}").lower()
    assert set(GROUPS) <= set(FIELDS)


# ---------------------------------------------------------------- what is passed by


def test_what_other_programs_make_manifests_of_is_passed_by_with_a_hint(tmp_path: Path) -> None:
    for folder, name in ((".", "values.yaml"), ("k", "kustomization.yaml"), ("c", "Chart.yaml"), ("c/templates", "x.yaml")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        written(tmp_path / folder / name, "{{ not: [a manifest")
    written(tmp_path / "k" / "a.yaml", WEB)
    loaded = load([str(tmp_path)])
    assert "1 Service, 0 Pods in 1 namespace" == loaded.census
    assert {
        f"{tmp_path}/values.yaml: values of a Helm chart, passed by",
        f"{tmp_path}/k/kustomization.yaml: passed by: kubectl kustomize {tmp_path}/k | kdns --manifests -",
        f"{tmp_path}/c: a Helm chart, passed by: helm template {tmp_path}/c | kdns --manifests -",
    } == set(loaded.hints)


def test_a_census(tmp_path: Path) -> None:
    other = "".join(f"---\nkind: Ingress\nmetadata: {{name: i{i}}}\n" for i in range(2)) + "---\nkind: ConfigMap\nmetadata: {}\n"
    text = WEB + "---\n" + DB + "spec:\n  replicas: 3\n" + TEMPLATE + "---\nkind: Pod\nmetadata: {name: a}\n" + other
    loaded = load([str(written(tmp_path / "a.yaml", text))])
    assert "1 Service, 4 Pods in 2 namespaces; not used: 1 ConfigMap, 2 Ingress" == loaded.census


def test_a_line_at_start_at_each_change_and_when_all_is_right_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "a.yaml", WEB + "---\n" + WEB.replace("web", "old"))
    written(tmp_path / "kustomization.yaml", "resources: []\n")

    async def run() -> None:
        source, store = Manifests([str(tmp_path)], Store()), Store()
        source.store = store
        await source.start()
        written(path, WEB)
        assert await within(2, lambda: "prod/old" not in store.services)
        written(path, WEB.replace("{name", "{nmae"))
        assert await within(2, lambda: source.problem is not None)
        written(path, WEB)
        assert await within(2, lambda: source.problem is None)
        await source.close()

    with caplog.at_level(logging.INFO, "kdns"):
        asyncio.run(run())
    assert [
        "manifests: 2 Services, 0 Pods in 1 namespace",
        f"{tmp_path}/kustomization.yaml: passed by: kubectl kustomize {tmp_path} | kdns --manifests -",
        "manifests have changed: 1 Service, 0 Pods in 1 namespace; gone since before: prod/old",
        f"{path}:3: Service prod/?: metadata.nmae: no such field, did you mean 'name'? (still serving what was good before)",
        "manifests are right again: 1 Service, 0 Pods in 1 namespace",
    ] == caplog.messages


@pytest.mark.parametrize(("slow", "expected"), [(0.0, ["manifests: reading 0.0 MiB"]), (60.0, [])])
def test_a_start_that_takes_its_time_says_what_it_is_doing(
    slow: float, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(manifests, "SLOW", slow)

    async def run() -> None:
        found = Manifests([str(written(tmp_path / "a.yaml", WEB))], Store())
        await found.start()
        await found.close()

    with caplog.at_level(logging.INFO, "kdns"):
        asyncio.run(run())
    assert expected == caplog.messages[:-1]


@contextmanager
def standard_input(octets: bytes) -> Iterator[None]:
    read, write = os.pipe()
    before = os.dup(0)
    os.dup2(read, 0)
    os.write(write, octets)
    os.close(write)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(read)


def test_a_standard_input_that_is_empty_is_a_mistake_of_the_program_before_it() -> None:
    async def start(lenient: bool) -> None:
        source = Manifests(["-"], Store(), lenient=lenient)
        try:
            await source.start()
        finally:
            await source.close()

    with standard_input(b""), pytest.raises(ManifestError) as raised:
        asyncio.run(start(lenient=False))
    assert "standard input: nothing came, it is empty" == str(raised.value)
    with standard_input(b""):
        asyncio.run(start(lenient=True))
