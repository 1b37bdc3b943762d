"""Ingresses, Gateways and routes from an API server: watched where they are asked for, done without where it has none."""

import asyncio
import logging
from typing import Any

import pytest

from kdns.cluster.apiserver.source import Connection
from kdns.cluster.balancers import Entrance, External
from kdns.dns import names
from kdns.testing import faults
from kdns.testing.apiserver import FakeApiServer
from tests.cluster.apiserver.test_reflector import BUSY
from tests.cluster.apiserver.test_source import source
from tests.support.waiting import until

INGRESS = {
    "metadata": {"name": "web", "namespace": "shop"}, "spec": {"rules": [{"host": "web.example.org"}]},
    "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
}  # fmt: skip
GATEWAY = {"metadata": {"name": "edge", "namespace": "infra"}, "status": {"addresses": [{"value": "192.0.2.9"}]}}


def route(name: str, host: str) -> dict[str, Any]:
    parents = [{"name": "edge", "namespace": "infra"}]
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"hostnames": [host], "parentRefs": parents}}


WEB = Entrance("shop/web Ingress", External((names.packed("192.0.2.1"),), (), ("web.example.org.",)))
EDGE = Entrance("infra/edge Gateway", External((names.packed("192.0.2.9"),), (), ()))
API = Entrance("shop/api HTTPRoute", External((), (), ("api.example.org.",)), ("infra/edge Gateway",))
TLS = Entrance("shop/tls TLSRoute", External((), (), ("tls.example.org.",)), ("infra/edge Gateway",))


def test_each_kind_is_followed() -> None:
    async def test() -> None:
        async with FakeApiServer() as api:
            for resource, obj in (("ingresses", INGRESS), ("gateways", GATEWAY), ("httproutes", route("api", "api.example.org"))):
                api.put(resource, obj)
            api.put("tlsroutes", route("tls", "tls.example.org"))  # of v1alpha2 alone
            of = source(Connection(endpoint=api.url), BUSY, asking=("Ingress", "HTTPRoute", "TLSRoute"))
            await of.start()
            assert {one.key: one for one in (WEB, EDGE, API, TLS)} == of.store.entrances
            api.delete("httproutes", "shop/api")
            api.put("httproutes", route("api", ""))  # asks for nothing
            api.put("ingresses", {**INGRESS, "status": {}})
            await until(lambda: of.store.entrances["shop/web Ingress"].external.addresses == (), "changed")
            await until(lambda: "shop/api HTTPRoute" not in of.store.entrances, "gone")
            api.compact()
            api.delete("gateways", "infra/edge")
            api.hang_up("gateways")
            await until(lambda: {"shop/web Ingress", "shop/tls TLSRoute"} == set(of.store.entrances), "relisted")
            await of.close()

    asyncio.run(test())


def test_none_is_asked_for_where_nobody_wants_it() -> None:
    async def test() -> None:
        async with FakeApiServer() as api:
            of = source(Connection(endpoint=api.url), BUSY)
            await of.start()
            assert {"services", "namespaces", "endpointslices"} == {one.resource for one in api.requests}
            await of.close()

    asyncio.run(test())


def test_gateways_are_of_all_namespaces() -> None:
    async def test() -> None:
        async with FakeApiServer() as api:
            of = source(Connection(endpoint=api.url), BUSY, asking=("HTTPRoute",), namespaces=("shop",), labels="a=b")
            await of.start()
            asked = {one.resource: (one.namespace, one.query.get("labelSelector")) for one in api.requests}
            assert (("shop", "a=b"), ("", None)) == (asked["httproutes"], asked["gateways"])
            await of.close()

    asyncio.run(test())


def test_a_server_that_has_none_is_done_without_until_it_has(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def test() -> None:
        async with FakeApiServer() as api:
            api.put("httproutes", route("api", "api.example.org"))
            api.play("httproutes", faults.not_found, times=None)
            of = source(Connection(endpoint=api.url), BUSY, asking=("HTTPRoute",))
            await of.start()
            assert (True, {}, None) == (of.store.synced, of.store.entrances, of.why_not())
            await until(lambda: api.count("httproutes") > 5, "tried again")
            assert 1 == caplog.text.count("the API server has no httproutes: nothing asks for names by them until it has")
            assert (None, 1) == (of.why_not(), len(caplog.records))
            api.heal()
            await until(lambda: of.store.entrances == {API.key: API}, "there")
            api.play("httproutes", faults.not_found, times=None)
            api.hang_up("httproutes")
            await until(lambda: api.watching("httproutes") == 0, "ended")
            await of.close()

    asyncio.run(test())


def test_a_server_that_does_not_let_them_be_listed_keeps_nobody_waiting() -> None:
    async def test() -> None:
        async with FakeApiServer() as api:
            api.put("ingresses", INGRESS)
            api.play("ingresses", faults.forbidden, times=None)
            of = source(Connection(endpoint=api.url), BUSY, asking=("Ingress",))
            await of.start()
            assert of.store.synced
            expected = 'ingresses: 403 Forbidden: ingresses is forbidden: User "fake" cannot list resource "ingresses"'
            await until(lambda: (of.why_not() or "").startswith(expected), f"{expected}, not {of.why_not()}")
            api.heal()
            await until(lambda: of.store.entrances == {WEB.key: WEB}, "there")
            await until(lambda: of.why_not() is None, "no trouble")
            await of.close()

    asyncio.run(test())
