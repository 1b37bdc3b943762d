"""What `kdns explain` says of the objects behind a name, and where they come from."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, UTC
from pathlib import Path
from typing import Any

import pytest

from kdns.cluster.account import account
from kdns.cluster.apiserver import provenance
from kdns.cluster.apiserver.source import Connection
from kdns.cluster.manifests import source as manifests
from kdns.cluster.manifests.source import Manifests
from kdns.cluster.objects import Metadata
from kdns.cluster.store import Store
from kdns.errors import KdnsError, SourceError
from kdns.testing import faults
from kdns.testing.apiserver import FakeApiServer, Fault
from tests.cluster.apiserver.test_reflector import BUSY
from tests.cluster.apiserver.test_source import source
from tests.support.notation import Cluster

TOWN = """
    ns prod
    svc prod/db app=db
    slice prod/db-1 prod/db 10.244.0.2=db-0 unready:db-1 mysql:3306/tcp
"""
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: db, namespace: prod}
spec: {clusterIP: None, selector: {app: db}}
---
apiVersion: v1
kind: Service
metadata: {name: out}
spec: {clusterIP: None}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: out-1, labels: {kubernetes.io/service-name: out}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.1]}]
---
apiVersion: v1
kind: Service
metadata: {name: old}
spec: {clusterIP: None}
---
apiVersion: v1
kind: Endpoints
metadata: {name: old}
subsets: [{addresses: [{ip: 192.0.2.2}]}]
"""


class Told:
    """A source that says what it is told to."""

    def __init__(self, found: Mapping[tuple[str, str], Mapping[str, Any]] | KdnsError) -> None:
        self.found = found

    async def provenance(self, service: str, slices: Collection[str]) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        if isinstance(self.found, KdnsError):
            raise self.found
        return self.found


def of(name: str, found: Mapping[tuple[str, str], Mapping[str, Any]] | KdnsError) -> dict[str, Any]:
    return asyncio.run(account(Cluster(TOWN).kubernetes.answers, Told(found), name, "cluster.local."))


def test_what_the_source_says_is_added() -> None:
    own, known, new = {"resourceVersion": "7", "age": "3d"}, {"resourceVersion": "8", "age": "2d"}, {"resourceVersion": "9"}
    slices = {("EndpointSlice", "prod/db-1"): known, ("EndpointSlice", "prod/db-2"): new}
    told = of("db.prod.svc.cluster.local.", {("Service", "prod/db"): own, **slices})
    assert ("prod/db", "7", "3d") == (told["service"], told["resourceVersion"], told["age"])
    (first, second) = told["slices"]
    assert ("8", ["db-1: not ready"]) == (first["resourceVersion"], first["out"])
    assert {"slice": "prod/db-2", "known here": False, **new} == second


def test_what_is_known_is_shown_where_the_source_does_not_say() -> None:
    told = of("db.prod.svc.cluster.local.", SourceError("no answer within 2 s"))
    assert ("not known: no answer within 2 s", "prod/db-1") == (told["versions and ages"], told["slices"][0]["slice"])


def test_nobody_is_asked_for_what_is_not_there() -> None:
    assert {"service": "prod/no", "exists": False, "namespace exists": True, "hidden": False, "slices": []} == of(
        "no.prod.svc.cluster.local.", SourceError("it was asked")
    )


# ---------------------------------------------------------------- an API server


def metadata(namespace: str, name: str, service: str | None = None) -> dict[str, Any]:
    made = (datetime.now(UTC) - timedelta(days=3, hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {"kubernetes.io/service-name": service} if service else {}
    return {"metadata": {"namespace": namespace, "name": name, "creationTimestamp": made, "labels": labels}}


async def of_the_api_server(fault: Fault | None = None) -> tuple[Any, list[dict[str, str]]]:
    """What is found for prod/db, and the queries that were made for it."""
    async with FakeApiServer() as api:
        versions = [api.put("services", metadata("prod", "db")), api.put("services", metadata("prod", "web"))]
        versions.append(api.put("endpointslices", metadata("prod", "db-1", "db") | {"addressType": "IPv4", "endpoints": []}))
        asked = source(Connection(endpoint=api.url), BUSY)
        await asked.start()
        before = len(api.requests)
        try:
            if fault is not None:
                api.play("services", fault, times=None)
            found = await asked.provenance("prod/db", ["prod/db-1"])
        finally:
            api.heal()
            await asked.close()
        assert {str(version) for version in versions} == {one["resourceVersion"] for one in found.values()} | {str(versions[1])}
        return found, [one.query for one in api.requests[before:] if not one.query.get("watch")]


def test_an_api_server_is_asked_for_versions_and_ages() -> None:
    found, queries = asyncio.run(of_the_api_server())
    assert {("Service", "prod/db"): "3d", ("EndpointSlice", "prod/db-1"): "3d"} == {of: one["age"] for of, one in found.items()}
    assert ["metadata.name=db"] == [query["fieldSelector"] for query in queries if "fieldSelector" in query]
    assert ["kubernetes.io/service-name=db"] == [query["labelSelector"] for query in queries if "labelSelector" in query]


@pytest.mark.parametrize(("fault", "expected"), [(faults.forbidden, "403 Forbidden"), (faults.stall, "no answer within 0.1 s")])
def test_an_api_server_that_does_not_say(fault: Fault, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "WITHIN", 0.1)
    with pytest.raises(SourceError, match=expected):
        asyncio.run(of_the_api_server(fault))


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172800, "2d")])
def test_an_age(seconds: int, expected: str) -> None:
    made = (datetime.now(UTC) - timedelta(seconds=seconds + 0.2)).isoformat()
    assert expected == provenance._age(Metadata(creationTimestamp=made))
    assert "" == provenance._age(Metadata(creationTimestamp="yesterday"))


# ---------------------------------------------------------------- manifests


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("service", "slices", "expected"),
    [
        ("prod/db", ["prod/db:ipv4:0"], [{"at": "FILE:2"}, {"made of": "the Pods that the selector matches"}]),
        ("default/out", ["default/out-1"], [{"at": "FILE:7"}, {"at": "FILE:12"}]),
        ("default/old", ["default/old:ipv4:0"], [{"at": "FILE:18"}, {"made of": "Endpoints at FILE:23"}]),
    ],
)
def test_where_objects_stand_in_manifests(
    service: str, slices: list[str], expected: list[dict[str, str]], large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "APART_FROM", 0 if large else 1 << 20)
    (tmp_path / "town.yaml").write_text(MANIFESTS)
    found = asyncio.run(Manifests([str(tmp_path)], Store()).provenance(service, slices))
    keys = [("Service", service), *(("EndpointSlice", key) for key in slices)]
    shown = [{name: text.replace(str(tmp_path / "town.yaml"), "FILE") for name, text in found[key].items()} for key in keys]
    assert expected == shown


@pytest.mark.parametrize("large", [False, True])
def test_manifests_that_cannot_be_read_any_more(large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "APART_FROM", 0 if large else 1 << 20)
    (tmp_path / "town.yaml").write_text("{")
    with pytest.raises(KdnsError, match=r"town.yaml:2: bad YAML"):
        asyncio.run(Manifests([str(tmp_path / "town.yaml")], Store()).provenance("prod/db", []))
