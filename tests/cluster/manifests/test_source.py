"""Manifest files -> store: what is read, what is refused and how it is said, what happens when files change."""

import asyncio
import errno
import json
import logging
import os
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, HealthCheck, settings
from hypothesis import strategies as st

from kdns.cluster.manifests import apart, documents
from kdns.cluster.manifests import source as manifests
from kdns.cluster.manifests.controllers import ranges
from kdns.cluster.manifests.loading import load, Options
from kdns.cluster.manifests.source import Manifests
from kdns.cluster.objects import Selection, Service, Slice
from kdns.cluster.store import Store
from kdns.core.metrics import Metrics
from kdns.errors import ManifestError
from tests.support import ROOT, TOWN

WEB = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: prod}\n"
OWN = ("default/kubernetes",)  # what hand-written manifests need not say


def services(*paths: Path) -> list[str]:
    return [o.key for o in load([str(path) for path in paths]).objects if isinstance(o, Service) and o.key not in OWN]


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---------------------------------------------------------------- what is read

GOOD = [
    ("documents", "a.yaml", WEB + "---\n" + WEB.replace("web", "db") + "---\n---\n", ["prod/web", "prod/db"]),
    ("empty", "a.yaml", "", []),
    ("empty JSON", "a.json", "\n", []),
    ("comments only", "a.yml", "# nothing\n---\n", []),
    ("other kinds", "a.yaml", "kind: ConfigMap\nspec: {replicas: [any, thing]}\n---\n" + WEB, ["prod/web"]),
    ("another group's Service", "a.yaml", WEB.replace("v1", "serving.knative.dev/v1"), []),
    ("no namespace", "a.yaml", "kind: Service\nmetadata: {name: web}\n", ["default/web"]),
    ("List", "a.yaml", "kind: List\napiVersion: v1\nitems:\n- {kind: Service, metadata: {name: web}}\n", ["default/web"]),
    ("empty List", "a.yaml", "kind: List\nitems: []\n", []),
    ("typed list", "a.yaml", "kind: ServiceList\napiVersion: v1\nitems:\n- metadata: {name: web}\n", ["default/web"]),
    ("JSON", "a.json", '{"kind": "Service", "metadata": {"name": "web"}}', ["default/web"]),
    ("JSON lines", "a.jsonl", '{"kind":"Service","metadata":{"name":"a"}}\n\n{"kind":"Service","metadata":{"name":"b"}}\n',
     ["default/a", "default/b"]),
    ("JSON lines of nobody knows", "-", '{"kind":"Service","metadata":{"name":"a"}}\n{"kind":"Pod","metadata":{"name":"b"}}\n',
     ["default/a"]),
    ("JSON after JSON", "a.json", '{"kind":"Service",\n"metadata":{"name":"a"}} {"kind":"Service","metadata":{"name":"b"}}',
     ["default/a", "default/b"]),
    ("JSON in a YAML file", "a.yaml", '{\n\t"kind": "Service",\n\t"metadata": {"name": "web"}\n}', ["default/web"]),
    ("JSON with a byte order mark", "a.json", b'\xef\xbb\xbf{"kind": "Service", "metadata": {"name": "w"}}', ["default/w"]),
    ("YAML in braces", "a.yaml", "{kind: Service, metadata: {name: web}}", ["default/web"]),
    ("UTF-16", "a.yaml", WEB.encode("utf-16"), ["prod/web"]),
    ("JSON List", "a.json", '{"kind": "List", "items": [{"kind": "Service", "metadata": {"name": "w"}}]}', ["default/w"]),
    ("JSON typed list", "a.json", '{"kind":"ServiceList","items":[{"metadata":{"name":"w"}}]}', ["default/w"]),
    ("JSON list of null", "a.json", '{"kind":"ServiceList","apiVersion":"v1","items":null}', []),
    ("a date as text", "a.yaml", "kind: Service\nmetadata: {name: w, creationTimestamp: 2026-01-01}\n", ["default/w"]),
    ("sixty is no base", "a.yaml", "kind: Service\nmetadata: {name: w, labels: {at: 10:30, to: 1:2.5}}\n", ["default/w"]),
    ("anchors", "a.yaml", "kind: Service\nmetadata: {name: w, labels: &l {a: b}, annotations: *l}\n", ["default/w"]),
    ("merge keys", "a.yaml", "kind: Service\nmetadata: {<<: &m {name: w}, labels: {a: b}}\n", ["default/w"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_good(tmp_path: Path, name: str, text: str | bytes, expected: list[str]) -> None:
    assert expected == services(written(tmp_path / name, text))


def test_the_cluster_to_begin_with() -> None:
    found = services(ROOT / "zones" / "cluster.yaml")
    assert "kube-system/kube-dns prod/web prod/db prod/edge prod/edge-pods prod/mail prod/legacy" == " ".join(found)


def test_the_later_of_two_counts(tmp_path: Path) -> None:
    first = written(tmp_path / "a.yaml", WEB + "spec: {clusterIP: 10.96.0.5}\n")
    then = written(tmp_path / "b.yaml", WEB + "spec: {clusterIP: 10.96.0.6}\n")
    loaded = load([str(first), str(then)], Options(lenient=True)).objects
    found = [o.ips for o in loaded if isinstance(o, Service) and o.key == "prod/web"]
    assert [(bytes([10, 96, 0, 6]),)] == found


def test_cluster_ip_none_is_a_text_and_null_is_not(tmp_path: Path) -> None:
    """`None` is no YAML word for nothing; `null` and `~` are."""
    found = []
    for ip in ("None", '"None"', "null", "~", '""'):
        path = written(tmp_path / "a.yaml", f"{WEB}spec: {{clusterIP: {ip}}}\n")
        found += [len(o.ips) for o in load([str(path)]).objects if isinstance(o, Service) and o.key == "prod/web"]
    assert [0, 0, 1, 1, 1] == found


def test_a_directory_is_searched_but_not_hidden_names(tmp_path: Path) -> None:
    """As a ConfigMap is mounted: the names are links through ..data to what must not be read twice."""
    real = tmp_path / "..2026_01_01"
    real.mkdir()
    written(real / "a.yaml", WEB)
    (tmp_path / "..data").symlink_to(real.name)
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "below").mkdir()
    written(tmp_path / "below" / "b.json", '{"kind": "Service", "metadata": {"name": "b"}}')
    written(tmp_path / "below" / "README.md", "not: [a manifest")
    (tmp_path / "below" / "round").symlink_to(tmp_path)
    assert ["prod/web", "default/b"] == services(tmp_path)


# ---------------------------------------------------------------- what is refused

LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
MERGES = "m0: &m0 {a: b}\n" + "".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 12))

# 56 kB of text that many aliases repeat: few nodes, and gigabytes.
LONG_TEXT = f"kind: A\nmetadata: {{x: &x {'x' * 50_000}, labels: {{{', '.join(f'l{i}: *x' for i in range(1500))}}}}}\n"
LONG_KEY = f"kind: A\nmetadata: {{name: w, a: &m {{? {'k' * 50_000} : a}}, l: [{', '.join(['*m'] * 1500)}]}}\n"
DOCUMENTS = "---\n".join(["kind: A\na: &a [" + "x," * 999 + "]\nb: &b [" + "*a," * 999 + "]\nc: [*b, *b]\n"] * 20)
MANY_MERGES = "m: &m {" + ", ".join(f"k{i}: 1" for i in range(999)) + "}\n" + "".join(f"a{i}: {{<<: *m}}\n" for i in range(200))

BAD = [
    (WEB + 'spec:\n  ports:\n  - name: http\n    port: "80"\n',
     "7: Service prod/web: spec.ports[0].port: Expected int, got str (no quotes)"),
    (WEB + "spec: {ports: [{port: 80}, {name: a}]}\n", "4: Service prod/web: spec.ports[1].port: missing"),
    (WEB + "spec:\n  ports:\n  - port: 70000\n", "6: Service prod/web: spec.ports[0].port: 70000 is no port: 1 to 65535"),
    (WEB + "spec: {ports: [{port: 80, protocol: tcp}]}\n",
     "4: Service prod/web: spec.ports[0].protocol: 'tcp' is none of TCP, UDP, SCTP"),
    (WEB + 'spec: {ports: [{port: 80, targetPort: "80"}]}\n',
     "4: Service prod/web: spec.ports[0].targetPort: '80' is a number: write it without quotes"),
    (WEB + "spec: {ports: {port: 80}}\n", "4: Service prod/web: spec.ports: Expected array, got object"),
    (WEB + "---\n" + WEB + "spec:\n  clusterIP: 10.96.0.300\n",
     "9: Service prod/web: spec.clusterIP: '10.96.0.300' is not an IP address"),
    (WEB + "spec: {type: Cluster}\n",
     "4: Service prod/web: spec.type: 'Cluster' is none of ClusterIP, NodePort, LoadBalancer, ExternalName"),
    (WEB + "spec: {ipFamilies: [ipv4]}\n", "4: Service prod/web: spec.ipFamilies[0]: 'ipv4' is none of IPv4, IPv6"),
    (WEB + "spec: {type: ExternalName}\n", "4: Service prod/web: spec.externalName: missing"),
    (WEB + "spec: {type: ExternalName, externalName: a..b}\n",
     "4: Service prod/web: spec.externalName: 'a..b.' is not a domain name: a label is empty"),
    ("kind: Service\nmetadata:\n  name: web\n  labels:\n    app: web\n    version: 1.10\n",
     "6: Service default/web: metadata.labels[version]: Expected str, got float (quote it)"),
    ("kind: Service\nmetadata: {name: web, annotations: {a: yes}}\n",
     "2: Service default/web: metadata.annotations[a]: Expected str, got bool (quote it)"),
    ("kind: Service\nmetadata: {name: web, labels: {1: a}}\n",
     "2: Service default/web: metadata.labels: a key: Expected str, got int"),
    ("kind: Service\nmetadata: {name: 5}\n", "2: Service default/5: metadata.name: Expected str, got int (quote it)"),
    ("kind: Service\nmetadata: {namespace: prod}\n", "2: Service prod/?: metadata.name: missing"),
    ("kind: Service\nspec: {}\n", "1: Service default/?: metadata: missing"),
    ("kind: Namespace\nmetadata: {name: Prod}\n",
     "2: Namespace Prod: metadata.name: 'Prod' is no DNS label: a-z, 0-9 and '-', at most 63, first and last not '-'"),
    ("kind: Endpoints\nmetadata: {name: w}\nsubsets:\n- addresses:\n  - ip: 10.0.0\n",
     "5: Endpoints default/w: subsets[0].addresses[0].ip: '10.0.0' is not an IP address"),
    ("kind: EndpointSlice\nmetadata: {name: s, labels: {kubernetes.io/service-name: w}}\naddressType: IPv4\n"
     "endpoints:\n- addresses: [10.0.0.1]\n- addresses:\n  - fd00::1\n",
     "7: EndpointSlice default/s: endpoints[1].addresses[0]: 'fd00::1' is not an IPv4 address, as addressType says"),
    ("kind: EndpointSlice\nmetadata: {name: s}\naddressType: Ipv4\n",
     "3: EndpointSlice default/s: addressType: 'Ipv4' is none of IPv4, IPv6, FQDN"),
    ("kind: Pod\nmetadata: {name: a}\nstatus: {podIP: 10.0.0}\n",
     "3: Pod default/a: status.podIP: '10.0.0' is not an IP address"),
    ("kind: List\nitems:\n- kind: Service\n  metadata: {name: a}\n- kind: Service\n  metadata:\n    labels: {}\n",
     "6: Service default/?: metadata.name: missing"),
    ("metadata: {name: web}\n", "1: kind: missing"),
    ("kind: [Service]\n", "1: kind: a text is expected"),
    ("- kind: Service\n", "1: not an object: 'kind', 'metadata' and so on are expected"),
    ("kind: Service\n\tmetadata: {}\n", "2: bad YAML: a tab: YAML is indented with spaces"),
    ('kind: "Service\nmetadata: {}\n',
     "3: bad YAML: found unexpected end of stream while scanning a quoted scalar that begins on line 1"),
    ("kind: Service\nmetadata: *x\n", "2: bad YAML: found undefined alias"),
    (b'kind: Service\nmetadata: {name: "\xff"}\n', "2: not UTF-8: octet 0xff"),
]  # fmt: skip

BAD_JSON = [
    ('{"kind": "Service",\n "metadata": {"name": "x"},}', "2: bad JSON: trailing comma in object"),
    ('{"kind": "Service",\n "metadata": {"name": "x"}', "2: bad JSON: input data was truncated"),
    ('{"kind": "Node", "metadata": {"name": "x"}}\n{}', "2: kind: missing"),
    ('{"kind": "Node", "metadata": {"name": "x"}}\n{"kind', "2: bad JSON: Unterminated string starting at"),
    ("[1]", "1: Expected object, got array"),
    ('{"kind": 1}', "1: kind: Expected str, got int (quote it)"),
    ('{"items": []}', "1: kind: missing"),
    ('{"kind":"List", "items": [\n {"kind":"Service", "metadata":{"name": "x"},\n "spec": {"ports": [\n {"port": "1"}]}}]}',
     "4: Service default/x: spec.ports[0].port: Expected int, got str (no quotes)"),
    ('{"kind": "List", "items": [\n\t{"kind": "Service", "metadata": {"name": "x"},\n\t"spec": {"clusterIP":\n\t"x"}}]}',
     "3: Service default/x: spec.clusterIP: 'x' is not an IP address"),
    ('{"kind": "ServiceList", "items": [\n {"metadata": {"name": "x", "labels": {"a": "b",\n "c": 1}}}]}',
     "3: Service default/x: metadata.labels[c]: Expected str, got int (quote it)"),
    (b'{"kind": "Service", "metadata":\n {"name": "\xff"}}', "2: not UTF-8: octet 0xff"),
    ("[" * 100_000, "1: nested too deeply"),
]  # fmt: skip


def refusal(path: Path) -> str:
    with pytest.raises(ManifestError) as raised:
        load([path.name])
    return str(raised.value)


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_bad_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes, expected: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"a.yaml:{expected}" == refusal(written(tmp_path / "a.yaml", text))


@pytest.mark.parametrize(("text", "expected"), BAD_JSON)
def test_bad_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes, expected: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"a.json:{expected}" == refusal(written(tmp_path / "a.json", text))


WITHOUT_LINE = [
    ("[" * 100_000, "bad YAML: nested too deeply"),
    ("- " * 100_000, "bad YAML: nested too deeply"),
    ("kind: Service\0", "bad YAML: control characters are not allowed"),
    (LAUGHS, "aliases expand to too much: over 64 MiB"),
    ("kind: List\nitems: &a [*a]\n", "aliases expand to too much: over 64 MiB"),
    (LONG_TEXT, "aliases expand to too much: over 64 MiB"),
    (LONG_KEY, "aliases expand to too much: over 64 MiB"),
    (DOCUMENTS, "aliases expand to too much: over 64 MiB"),
    (MANY_MERGES, "bad YAML: merge keys expand to too much"),
    (MERGES, "bad YAML: merge keys expand to too much"),
]


@pytest.mark.parametrize(("text", "expected"), WITHOUT_LINE)
def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"a.yaml: {expected}" == refusal(written(tmp_path / "a.yaml", text))


def test_missing_paths(tmp_path: Path) -> None:
    for path, expected in (
        (tmp_path / "none.yaml", "No such file or directory"),
        (tmp_path, "no manifests in this directory (*.yaml, *.yml, *.json)"),
    ):
        with pytest.raises(ManifestError) as raised:
            load([str(path)])
        assert f"{path}: {expected}" == str(raised.value)


def test_a_full_range_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "a.yaml", WEB)
    with pytest.raises(ManifestError) as raised:
        load([str(path)], Options(cluster_ips=ranges("10.0.0.0/31")))
    assert f"{path}: Service prod/web gets no ClusterIP: 10.0.0.0/31 is full" == str(raised.value)


PIECES = [
    "kind: ", "Service", "List", "items:\n", "- ", "\n", " ", "\t", "\"", "'", "{", "}", "[", "]", ":", ",", "&a ",
    "*a", "<<: ", "!!binary ", "!!set ", "metadata:\n", "  name: a\n", "spec:\n", "ports", "port: 1", "---\n",
    "null", "1e999", ".nan", "2026-01-01", "0x", "\\ud800", "\0", "%", "Pod", "status:\n",
    "{\"kind\": \"Service\", \"metadata\": {\"name\": \"a\"}", "\"spec\": {\"ports\": [{\"port\": ", "endpoints",
    "EndpointSlice", "addresses", "\ufeff", "\u2028",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join).map(str.encode)


def loaded_or_refused(path: Path) -> None:
    try:
        load([str(path)])
    except ManifestError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(octets=b'{"kind": "Service", "metadata": {"name": "\\ud800"}}')
@example(octets=b"kind: Service\nmetadata: !!binary x\n")
@example(octets=b"kind: Service\nmetadata: {? [a] : b}\n")
@example(octets=b"kind: Service\nmetadata: {name: !!int x}\n")
@example(octets=b"kind: Service\nmetadata: {name: !!float x}\n")
@example(octets=b"kind: Service\nmetadata: {name: !!int [x]}\n")
@example(octets=b"kind: Service\nmetadata: {name: !!timestamp x}\n")
@example(octets=b"kind: Service\nmetadata: {name: !!python/object:os.system x}\n")
@example(octets=b"kind: Service\nmetadata: {name: !!bool x}\n")
@example(octets=b"? {a: b}\n: c\n")
@given(octets=st.one_of(TEXTS, st.binary(max_size=100)))
def test_any_octets(tmp_path: Path, name: str, octets: bytes) -> None:
    """Objects, or one line why not."""
    loaded_or_refused(written(tmp_path / name, octets))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_any_change_of_a_good_object(tmp_path: Path, seed: int) -> None:
    """Values of other types anywhere in an object: still objects, or one line why not."""
    chance = random.Random(seed)
    town = TOWN / "20-kinds.yaml"
    o = chance.choice(_town(town))
    o = json.loads(json.dumps(o))
    at = o
    while True:
        step = chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if not isinstance(at[step], dict | list) or not at[step] or chance.random() < 0.3:
            at[step] = chance.choice([None, "", "x", -1, 1 << 70, 1.5, True, [], {}, [[]], {"a": 1}, "None", "a b", "é\n"])
            break
        at = at[step]
    for name, text in (("a.json", json.dumps(o)), ("a.yaml", yaml.safe_dump(o))):
        loaded_or_refused(written(tmp_path / name, text))


def _town(path: Path, known: dict[Path, list[Any]] = {}) -> list[Any]:  # noqa: B006
    if path not in known:
        known[path] = list(yaml.safe_load_all(path.read_text()))
    return known[path]


# ---------------------------------------------------------------- when files change


def published() -> tuple[Metrics, Callable[[str], float | None]]:
    """Metrics, and what they say by name."""
    metrics = Metrics()
    return metrics, metrics.registry().get_sample_value


def watched(
    *paths: Path, then: Callable[[Manifests, Store], Coroutine[Any, Any, None]], metrics: Metrics | None = None
) -> None:
    """Start on the paths, do as `then` says, close."""

    async def run() -> None:
        store = Store()
        source = Manifests([str(path) for path in paths], store, metrics=metrics)
        try:
            await source.start()
            await then(source, store)
        finally:
            await source.close()

    asyncio.run(run())


async def within(seconds: float, holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.01)
    return holds()


def test_an_edit_is_followed_within_a_second(tmp_path: Path) -> None:
    path = written(tmp_path / "a.yaml", WEB)

    async def then(source: Manifests, store: Store) -> None:
        assert store.synced and "prod/web" in store.services
        written(path, WEB.replace("web", "new"))
        assert await within(1, lambda: "prod/new" in store.services)
        assert "prod/web" not in store.services
        assert source.problem is None

    watched(path, then=then)


def test_files_come_and_go_in_a_directory(tmp_path: Path) -> None:
    written(tmp_path / "a.yaml", WEB)

    async def then(source: Manifests, store: Store) -> None:
        (tmp_path / "below").mkdir()
        added = written(tmp_path / "below" / "b.yaml", WEB.replace("web", "db"))
        assert await within(1, lambda: {"prod/web", "prod/db"} <= set(store.services))
        added.unlink()
        assert await within(1, lambda: "prod/db" not in store.services)

    watched(tmp_path, then=then)


def test_a_mounted_config_map_is_swapped(tmp_path: Path) -> None:
    for at, name in (("..1", "old"), ("..2", "new")):
        (tmp_path / at).mkdir()
        written(tmp_path / at / "a.yaml", WEB.replace("web", name))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")

    async def then(source: Manifests, store: Store) -> None:
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        assert await within(1, lambda: "prod/new" in store.services)

    watched(tmp_path, then=then)


def breaks(path: Path) -> list[tuple[Callable[[], object], str]]:
    """Ways to break a manifest, and the problem that each is."""
    return [
        (lambda: written(path, "kind: Service\n"), f"{path}:1: Service default/?: metadata: missing"),
        (lambda: written(path, "kind: [\n"), f"{path}:2: bad YAML: did not find expected node content"),
        (lambda: written(path, ""), f"{path}: nothing is left in the manifests"),
        (lambda: path.unlink(), f"{path}: No such file or directory"),
    ]  # fmt: skip


@pytest.mark.parametrize("case", range(4))
def test_a_wrong_change_keeps_the_last_good_state(tmp_path: Path, caplog: pytest.LogCaptureFixture, case: int) -> None:
    path = written(tmp_path / "a.yaml", WEB)
    change, expected = breaks(path)[case]

    async def then(source: Manifests, store: Store) -> None:
        before = dict(store.services)
        change()
        assert await within(1, lambda: source.problem is not None)
        await asyncio.sleep(0.6)  # two more looks say nothing more
        assert expected == source.problem
        assert [f"{expected} (still serving what was good before)"] == [record.message for record in caplog.records]
        assert before == store.services
        written(path, WEB.replace("web", "new"))
        assert await within(1, lambda: source.problem is None)
        assert "prod/new" in store.services

    with caplog.at_level(logging.ERROR):
        watched(path, then=then)


def test_a_directory_that_is_emptied_keeps_the_last_good_state(tmp_path: Path) -> None:
    path = written(tmp_path / "a.yaml", WEB)

    async def then(source: Manifests, store: Store) -> None:
        path.unlink()
        assert await within(1, lambda: source.problem is not None)
        assert f"{tmp_path}: no manifests in this directory (*.yaml, *.yml, *.json)" == source.problem
        assert "prod/web" in store.services

    watched(tmp_path, then=then)


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "a.yaml", WEB)
    whole = "---\n".join(WEB.replace("web", f"web-{i}") for i in range(20))

    async def then(source: Manifests, store: Store) -> None:
        for end in range(0, len(whole), len(whole) // 15):
            written(path, whole[:end])
            await asyncio.sleep(0.05)
        written(path, whole)
        assert await within(1, lambda: "prod/web-19" in store.services)
        assert [] == [record.message for record in caplog.records]

    with caplog.at_level(logging.ERROR):
        watched(path, then=then)


def test_a_wrong_start_is_an_error(tmp_path: Path) -> None:
    async def then(source: Manifests, store: Store) -> None:
        raise AssertionError("started")

    with pytest.raises(ManifestError, match="metadata: missing"):
        watched(written(tmp_path / "a.yaml", "kind: Service\n"), then=then)


def test_standard_input_is_read_once(tmp_path: Path) -> None:
    read, write = os.pipe()
    before = os.dup(0)
    os.dup2(read, 0)
    try:
        os.write(write, WEB.encode())
        os.close(write)
        beside = written(tmp_path / "b.yaml", WEB.replace("web", "db"))

        async def then(source: Manifests, store: Store) -> None:
            assert {"prod/web", "prod/db"} <= set(store.services)
            written(beside, WEB.replace("web", "new"))
            assert await within(1, lambda: "prod/new" in store.services)
            assert "prod/web" in store.services

        watched(Path("-"), beside, then=then)
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(read)


def test_errors_name_standard_input() -> None:
    read, write = os.pipe()
    before = os.dup(0)
    os.dup2(read, 0)
    try:
        os.write(write, b"kind: Service\n")
        os.close(write)
        with pytest.raises(ManifestError) as raised:
            asyncio.run(_started(Manifests(["-"], Store())))
        assert "standard input:1: Service default/?: metadata: missing" == str(raised.value)
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(read)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: written(pipe, WEB), daemon=True).start()

    async def then(source: Manifests, store: Store) -> None:
        await asyncio.sleep(0.6)
        assert "prod/web" in store.services
        assert source.problem is None

    watched(pipe, then=then)


async def _started(source: Manifests) -> None:
    try:
        await source.start()
    finally:
        await source.close()


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    """Written in place, and moved there."""
    path = written(tmp_path / "a.yaml", WEB)
    at = path.stat()

    async def then(source: Manifests, store: Store) -> None:
        written(path, WEB.replace("web", "new"))
        os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))
        assert await within(1, lambda: "prod/new" in store.services)
        beside = written(tmp_path / "a.tmp", WEB.replace("web", "two"))
        os.utime(beside, ns=(at.st_atime_ns, at.st_mtime_ns))
        beside.rename(path)
        assert await within(1, lambda: "prod/two" in store.services)
        assert (at.st_size, at.st_mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)

    watched(path, then=then)


# ---------------------------------------------------------------- what is no file


def no_file(path: Path, what: str) -> None:
    path.unlink(missing_ok=True)
    if what == "FIFO":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    else:
        path.touch()
        os.truncate(path, 1 << 40)


NO_FILES = [("FIFO", "a FIFO, not a file"), ("device", "a device, not a file"), ("socket", "a socket, not a file"),
            ("huge", "too large: all manifests together may have 128 MiB")]  # fmt: skip


@pytest.mark.parametrize(("what", "expected"), NO_FILES)
def test_what_is_no_file_is_refused_at_once(what: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    no_file(Path("a.yaml"), what)
    assert f"a.yaml: {expected}" == refusal(tmp_path / "a.yaml")
    path = written(tmp_path / "b.yaml", WEB)

    async def then(source: Manifests, store: Store) -> None:
        no_file(path, what)
        assert await within(5, lambda: source.problem == f"{path}: {expected}")
        assert "prod/web" in store.services
        path.unlink()
        written(path, WEB.replace("web", "new"))
        assert await within(2, lambda: "prod/new" in store.services)

    watched(path, then=then)


def test_a_directory_in_place_of_a_file_is_searched(tmp_path: Path) -> None:
    path = written(tmp_path / "b.yaml", WEB)

    async def then(source: Manifests, store: Store) -> None:
        no_file(path, "directory")
        written(path / "c.yaml", WEB.replace("web", "new"))
        assert await within(1, lambda: "prod/new" in store.services)

    watched(path, then=then)


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_FILES", 3)
    for i in range(4):
        written(tmp_path / f"{i}.yaml", "")
    with pytest.raises(ManifestError) as raised:
        load([str(tmp_path)])
    assert f"{tmp_path}: too many files: at most 3" == str(raised.value)


def test_a_pipe_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MOST_OCTETS", 1 << 20)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def endless() -> None:
        with suppress(BrokenPipeError), pipe.open("wb") as out:
            while True:
                out.write(b"# on and on\n" * 1000)

    threading.Thread(target=endless, daemon=True).start()
    with pytest.raises(ManifestError) as raised:
        asyncio.run(_started(Manifests([str(pipe)], Store())))
    assert f"{pipe}: too large: over 1 MiB" == str(raised.value)
    assert ["pipe"] == [path.name for path in tmp_path.iterdir()]


# ---------------------------------------------------------------- a loader that is lost


def lost(monkeypatch: pytest.MonkeyPatch, how: str, folder: Path) -> Callable[[], object]:
    """What makes loaders be lost from now on; calling it ends that."""
    monkeypatch.setattr(manifests, "APART_FROM", 0)
    monkeypatch.setattr(manifests, "FIRST", 0.05)
    if how == "no loader":
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        return lambda: monkeypatch.setattr(sys, "executable", EXECUTABLE)
    program = {"killed": "import os; os.kill(os.getpid(), 9)", "failed": "import sys; sys.exit(3)",
               "stuck": "import time; time.sleep(100)", "mute": ""}[how]  # fmt: skip
    written(folder / "spoilt_loader.py", program)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(apart, "PROGRAM", "spoilt_loader")
    monkeypatch.setattr(apart, "WITHIN", 0.3 if how == "stuck" else 30)

    def heal() -> None:
        monkeypatch.setattr(apart, "PROGRAM", "kdns.cluster.manifests.loading")
        monkeypatch.setattr(apart, "WITHIN", 30)

    return heal


EXECUTABLE = sys.executable
LOST = {
    "killed": "was killed (SIGKILL)",
    "failed": "ended with status 3",
    "stuck": "said nothing for 0.3 s",
    "no loader": "cannot start: No such file or directory",
    "mute": "said nothing",
}


@pytest.mark.parametrize("how", LOST)
def test_a_loader_that_is_lost_is_tried_again_with_growing_pauses(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "a.yaml", WEB)
    problem = f"{path}: the process that reads them {LOST[how]}"
    metrics, value = published()

    async def then(source: Manifests, store: Store) -> None:
        heal = lost(monkeypatch, how, tmp_path)
        source._pause = manifests.FIRST
        written(path, WEB.replace("web", "new"))
        assert await within(10, lambda: (value("kdns_manifests_lost_total") or 0) >= 2)
        assert problem == source.why_not()
        assert 0 == value("kdns_manifests_refused"), "it says nothing about the files"
        assert "prod/web" in store.services
        heal()
        assert await within(10, lambda: "prod/new" in store.services), "tried again, though no file has changed"
        assert source.why_not() is None

    with caplog.at_level(logging.ERROR, "kdns"):
        watched(path, then=then, metrics=metrics)
    lines = [f"{problem} (still serving what was good before, tried again in {pause} s)" for pause in (0.05, 0.1)]
    assert lines == caplog.messages[:2]


def test_a_start_without_a_loader_is_an_error_after_a_few_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.yaml", WEB)
    lost(monkeypatch, "killed", tmp_path)
    metrics, value = published()
    source = Manifests([str(path)], Store(), metrics=metrics)
    with pytest.raises(ManifestError) as raised:
        asyncio.run(_started(source))
    assert f"{path}: the process that reads them was killed (SIGKILL)" == str(raised.value)
    assert 2 == value("kdns_manifests_lost_total")


def test_descriptors_that_ran_out_are_no_fault_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.yaml", WEB)

    async def then(source: Manifests, store: Store) -> None:
        source._pause = 0.05
        opened, failing = os.open, [True]

        def scarce(name: Any, *args: Any, **more: Any) -> int:
            if failing and name == str(path):
                raise OSError(errno.EMFILE, "Too many open files")
            return opened(name, *args, **more)

        monkeypatch.setattr(os, "open", scarce)
        path.write_text(WEB.replace("web", "new"))
        assert await within(5, lambda: source.why_not() == f"{path}: Too many open files")
        failing.clear()
        assert await within(5, lambda: "prod/new" in store.services)

    watched(path, then=then)


# ---------------------------------------------------------------- what is large


def test_large_yaml_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    """5 MB of YAML, some two seconds of libyaml: they are spent in another process than the loop's."""
    other = "kind: ConfigMap\nmetadata: {name: a}\nvalues: [" + ", ".join(["some text", "{a: b}"] * 500) + "]\n---\n"
    path = written(tmp_path / "a.yaml", other * (5_000_000 // len(other)) + WEB)

    async def then(source: Manifests, store: Store) -> None:
        assert "prod/web" in store.services
        ours, theirs = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        with path.open("a") as file:
            file.write("---\n" + WEB.replace("web", "new"))
        assert await within(60, lambda: "prod/new" in store.services)
        ours, theirs = time.process_time() - ours, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - theirs
        assert ours < theirs / 4

    watched(path, then=then)


def test_a_process_of_its_own_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects and errors, with selection and ranges."""
    monkeypatch.setattr(manifests, "APART_FROM", 0)
    town = str(TOWN / "objects.json")
    selection = Selection(pods=True, pod_names=True, zones=True, labels="kubernetes.io/service-name in (web, crowd)")

    async def run() -> None:
        store = Store()
        source = Manifests([town], store, selection)
        await source.start()
        await source.close()
        expected = [o for o in load([town], Options(selection)).objects if isinstance(o, Slice)]
        assert expected == list(store.slices.values())
        assert 4 == len(expected)

    asyncio.run(run())
    with pytest.raises(ManifestError, match=r":1: Service default/\?: metadata: missing"):
        asyncio.run(_started(Manifests([str(written(tmp_path / "a.yaml", "kind: Service\n"))], Store())))
