"""A reflector ends at what the server has, whatever the server does on the way, and asks no more than it must."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from kdns.cluster.apiserver import client, pages
from kdns.cluster.apiserver.events import Lines
from kdns.cluster.apiserver.reflector import Pauses, Reflector, Timing
from kdns.cluster.apiserver.source import ApiServer, Connection
from kdns.cluster.objects import Selection
from kdns.cluster.store import Store
from kdns.errors import SourceError
from kdns.testing import faults
from kdns.testing.apiserver import ANY, FakeApiServer, Fault, Kind, LIST, WATCH

QUICK = Timing(settle=0.1, silence=0.2, first=0.01, unreachable=0.05, refused=0.1, retry_after=1.0, lasts=60.0)
PATIENT = replace(QUICK, silence=10.0)
BUSY = 60.0  # seconds that a start may take on a busy machine: it ends as soon as all is listed


def service(name: str, ip: str = "10.96.0.1", namespace: str = "prod", **metadata: object) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80}]},
    }


def slice_(name: str, of: str, *addresses: str, **metadata: object) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name, "namespace": "prod", "labels": {"kubernetes.io/service-name": of}, **metadata
        },
        "addressType": "IPv4", "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }  # fmt: skip


class Following:
    """An ApiServer over a FakeApiServer, and what its store's listeners were told."""

    def __init__(self, api: FakeApiServer, selection: Selection, timing: Timing = QUICK) -> None:
        self.api, self.store = api, Store()
        self.source = ApiServer(Connection(endpoint=api.url), selection, self.store, startup_timeout=BUSY, timing=timing)
        self.told: list[set[Any]] = []
        self.store.listeners.append(lambda keys: self.told.append(set(keys)))

    def reflector(self, name: str = "services") -> Reflector:
        return next(one for one in self.source._reflectors if one.name == name)

    async def until_equal(self) -> None:
        """Until the store has the Services that the server has."""
        have = self.api._stores["services"].objects
        await self.api.until(lambda: set(have) == set(self.store.services), "the Services of the server")


@asynccontextmanager
async def following(api: FakeApiServer, timing: Timing = QUICK, **selection: Any) -> AsyncIterator[Following]:
    made = Following(api, Selection(**selection), timing)
    await made.source.start()
    try:
        yield made
    finally:
        await made.source.close()


def with_api(test: Callable[[FakeApiServer], Coroutine[Any, Any, None]], *names: str) -> None:
    """Run a test over an API server that has Services of these names in the namespace prod."""

    async def run() -> None:
        async with FakeApiServer() as api:
            api.put("namespaces", {"metadata": {"name": "prod"}})
            for i, name in enumerate(names):
                api.put("services", service(name, f"10.96.{i // 250}.{i % 250 + 1}"))
            await test(api)

    asyncio.run(run())


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a", b"b\nc", b"\n"], [b"ab", b"c"]),
        ([b"", b"a\n", b"\nb"], [b"a", b""]),
        ([b"x" * 1000] * 4000 + [b"\n"], [b"x" * 4_000_000]),
    ],
)
def test_lines(chunks: list[bytes], expected: list[bytes]) -> None:
    lines = Lines()
    assert expected == [line for chunk in chunks for line in lines.feed(chunk)]


def test_a_line_without_an_end_is_given_up() -> None:
    lines = Lines()
    lines.feed(b"x" * (4 << 20))
    with pytest.raises(SourceError, match="4 MiB"):
        lines.feed(b"x")


def test_pauses_double_up_to_a_limit_of_their_cause_and_begin_again() -> None:
    pauses = Pauses(Timing())
    refused = [pauses.next("refused") for _ in range(12)]
    assert all(0.1 * 2**i <= pause <= 0.2 * 2**i for i, pause in enumerate(refused[:7]))
    assert all(15 <= pause <= 30 for pause in refused[8:])
    assert max(pauses.next("unreachable") for _ in range(12)) <= 3
    assert 30 == pauses.next("ended", retry_after=30)
    assert 60 == pauses.next("ended", retry_after=86400)
    pauses.reset()
    assert pauses.next("refused") <= 0.2


# ---------------------------------------------------------------- list and watch


def test_a_streamed_list_goes_on_as_a_watch() -> None:
    async def test(api: FakeApiServer) -> None:
        async with following(api, PATIENT) as f:
            assert f.store.synced
            api.put("services", service("new", "10.96.0.9"))
            await f.until_equal()
            api.delete("services", "prod/a")
            await f.until_equal()
            asked = {one: (api.count(one, "stream"), api.count(one)) for one in ("services", "namespaces", "endpointslices")}
            assert {"services": (1, 1), "namespaces": (1, 1), "endpointslices": (1, 1)} == asked
            query = next(one.query for one in api.requests if one.resource == "services")
            query.pop("timeoutSeconds")
            assert {
                "watch": "1", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "",
                "allowWatchBookmarks": "true",
            } == query  # fmt: skip

    with_api(test, "a", "b")


@pytest.mark.parametrize(
    "refusal",
    [faults.no_initial_events(400), faults.no_initial_events(422), faults.ignored_initial_events],
    ids=["400", "422", "ignored"],
)
def test_pages_where_the_server_streams_no_list(refusal: Fault) -> None:
    async def test(api: FakeApiServer) -> None:
        api.play("services", refusal, on=["stream"], times=None)
        async with following(api) as f:
            await f.until_equal()
            assert f.store.synced
            pages = [one.query for one in api.requests if one.resource == "services" and one.kind in LIST]
            assert [("500", ""), ("500", "page-1"), ("500", "page-2")] == [
                (query["limit"], query.get("continue", "")) for query in pages
            ]
            assert not any("resourceVersion" in query for query in pages)
            api.put("services", service("new", "10.96.0.9"))
            await f.until_equal()
            assert 1 == api.count("services", "watch")

    with_api(test, *(f"s{i}" for i in range(1001)))


def test_resumes_from_the_last_version_after_an_end() -> None:
    async def test(api: FakeApiServer) -> None:
        async with following(api) as f:
            version = api.put("services", service("c", "10.96.0.9"))
            await f.until_equal()
            api.hang_up("services")
            await api.until(lambda: api.count("services", "watch") == 1, "a second watch")
            assert str(version) == api.requests[-1].query["resourceVersion"]

            other = api.put("namespaces", {"metadata": {"name": "dev"}})
            api.bookmark("services")
            await asyncio.sleep(0.05)
            api.hang_up("services", cut=True)
            await api.until(lambda: api.count("services", "watch") == 2, "a third watch")
            services = [one for one in api.requests if one.resource == "services"]
            assert str(other) == services[-1].query["resourceVersion"]
            assert 0 == sum(f.reflector().relists.values())

    with_api(test, "a", "b")


@pytest.mark.parametrize("fault", [faults.gone, faults.gone_event], ids=["status", "event"])
def test_a_version_that_is_gone_means_a_new_list_and_its_difference(fault: Fault) -> None:
    async def test(api: FakeApiServer) -> None:
        async with following(api) as f:
            api.play("services", fault, on=["watch"])
            f.told.clear()
            api.hang_up("services", cut=True)
            api.delete("services", "prod/a")
            api.put("services", service("b", "10.96.0.2", labels={"seen": "by nobody"}))
            api.put("services", service("d", "10.96.0.4"))
            await f.until_equal()
            assert {"expired": 1} == dict(f.reflector().relists)
            assert {"prod/d", bytes([10, 96, 0, 4]), "prod/a", bytes([10, 96, 0, 1]), "."} == set().union(*f.told)

    with_api(test, "a", "b", "c")


def test_events_out_of_order_mean_a_new_list() -> None:
    async def test(api: FakeApiServer) -> None:
        async with following(api) as f:
            api.play("services", faults.backwards, on=["watch"])
            api.hang_up("services", cut=True)
            api.put("services", service("c", "10.96.0.7"))
            api.put("services", service("c", "10.96.0.8"))
            await api.until(lambda: {"order": 1} == dict(f.reflector().relists), "a relist")
            await api.until(lambda: (bytes([10, 96, 0, 8]),) == f.store.services["prod/c"].ips, "the newest")

    with_api(test, "a")


def test_what_dns_does_not_see_touches_nothing() -> None:
    async def test(api: FakeApiServer) -> None:
        async with following(api) as f:
            api.put("endpointslices", slice_("web-1", "web", "10.244.0.1"))
            await api.until(lambda: len(f.store.slices) == 1, "the slice")
            f.told.clear()
            api.put("services", service("web", annotations={"heart": "beat"}, labels={"app": "web"}))
            api.put("endpointslices", slice_("web-1", "web", "10.244.0.1", annotations={"heart": "beat"}))
            await api.until(lambda: f.reflector().events["MODIFIED"] == 1, "the event of the Service")
            await api.until(lambda: f.reflector("endpointslices").events["MODIFIED"] == 1, "that of the slice")
            assert [] == f.told

    with_api(test, "web")


# ---------------------------------------------------------------- faults

FAULTS: dict[str, tuple[Fault, tuple[Kind, ...]]] = {
    "410": (faults.gone, ANY),
    "410 as an event": (faults.gone_event, WATCH),
    "410 in mid-list": (faults.page_expired, ("page",)),
    "429": (faults.too_many(0), ANY),
    "500": (faults.broken, ANY),
    "401": (faults.unauthorized, ANY),
    "403": (faults.forbidden, ANY),
    "end at once": (faults.eof, ANY),
    "reset": (faults.reset, ANY),
    "end in mid-line": (faults.mid_line(), ANY),
    "cut in mid-line": (faults.mid_line(cut=True), ANY),
    "silence": (faults.stall, ANY),
    "silence after the headers": (faults.stall_after_headers, ANY),
    "a bookmark only": (faults.bookmark_only(), WATCH),
    "no JSON": (faults.says(b"<html>sign in</html>\n", then="eof"), ANY),
    "half JSON": (faults.says(b'{"type":"ADDED","object":{"metadata":[1]}}\n{}\n\n', then="eof"), ANY),
    "an event for nobody": (faults.says({"type": "MOVED", "object": {}}, then="eof"), WATCH),
}


# Not in mid-flight: a bookmark says that all events before it were sent, and no client can know better.
CASES = [(name, when) for name in FAULTS for when in ("at start", "in mid-flight", "in mid-flight, paged")
         if (name, when[:2]) != ("a bookmark only", "in")]  # fmt: skip


@pytest.mark.parametrize(("name", "when"), CASES)
def test_any_fault_costs_few_requests_and_leaves_nothing_wrong(
    name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, on = FAULTS[name]
    monkeypatch.setattr(client, "IDLE", 0.3)
    monkeypatch.setattr(client, "ANSWER", 0.1)
    monkeypatch.setattr(pages, "PAGE", 2)

    async def test(api: FakeApiServer) -> None:
        if "paged" in when:
            api.play("services", faults.no_initial_events(), times=None)
        if when == "at start":
            api.play("services", fault, on=on, times=4)
        async with following(api) as f:
            if when != "at start":
                api.heal()
                if "paged" in when:
                    f.reflector()._version = ""
                api.play("services", fault, on=on, times=4)
                api.hang_up("services", cut=True)
                api.delete("services", "prod/a")
                api.put("services", service("f", "10.96.0.6"))
            await f.until_equal()
            await api.until(lambda: f.store.synced, "all of it")
            before, began = api.count("services"), time.monotonic()
            await asyncio.sleep(0.1)
            few = 18 if "paged" in when else 6  # each list anew takes three pages; a hot loop would make hundreds of requests
            assert api.count("services") - before <= few + (time.monotonic() - began) / 0.05
            api.put("services", service("g", "10.96.0.7"))
            await f.until_equal()
            await api.until(lambda: f.source.why_not() is None, "the trouble over")

    with_api(test, "a", "b", "c", "d", "e")


@pytest.mark.parametrize("name", ["410", "410 as an event", "500", "end at once", "reset", "a bookmark only", "no JSON"])
def test_a_lasting_fault_makes_no_hot_loop(name: str) -> None:
    fault, on = FAULTS[name]

    async def test(api: FakeApiServer) -> None:
        async with following(api) as f:
            api.play("services", fault, on=on, times=None)
            api.hang_up("services", cut=True)
            before = api.count("services")
            await asyncio.sleep(1.0)
            # A list and a watch for each of at most: a dozen short pauses, then one of 50 ms at least.
            assert 3 <= api.count("services") - before <= 2 * (12 + 1.0 / 0.025)
            assert {"prod/a", "prod/b"} == set(f.store.services), "what is known stays"

    with_api(test, "a", "b")


def test_retry_after_is_waited_for() -> None:
    async def test(api: FakeApiServer) -> None:
        api.play("services", faults.too_many(1), times=1)
        async with following(api) as f:
            await f.until_equal()
            times = [one.at for one in api.requests if one.resource == "services"]
            assert 1.0 <= times[1] - times[0]

    with_api(test, "a")


def test_a_silent_watch_is_given_up_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "IDLE", 0.2)

    async def test(api: FakeApiServer) -> None:
        async with following(api) as f:
            version = str(api.version)
            await api.until(lambda: api.count("services", "watch") >= 2, "two more watches")
            assert {version} == {one.query["resourceVersion"] for one in api.requests if one.kind == "watch"}
            assert f.store.synced

    with_api(test, "a")


def test_a_line_of_three_megabytes_is_an_object_like_any_other() -> None:
    async def test(api: FakeApiServer) -> None:
        async with following(api) as f:
            api.put("services", faults.big_service(3_000_000))
            await f.until_equal()
            api.put("services", service("small"))
            await f.until_equal()

    with_api(test, "a")


@pytest.mark.parametrize("paged", [False, True])
def test_a_malformed_object_is_left_out_and_told_once(paged: bool, caplog: pytest.LogCaptureFixture) -> None:
    bad_type = {"metadata": {"name": "bad", "namespace": "prod"}, "spec": {"ports": "none"}}
    bad_address = {"metadata": {"name": "worse", "namespace": "prod"}, "spec": {"clusterIP": "10.96"}}

    async def test(api: FakeApiServer) -> None:
        if paged:
            api.play("services", faults.no_initial_events(), times=None)
        api.put("services", bad_type)
        api.put("services", bad_address)
        async with following(api) as f:
            assert {"prod/a"} == set(f.store.services)
            api.put("services", bad_type)
            known = f.store.services["prod/a"]
            api.put("services", {"metadata": {"name": "a", "namespace": "prod"}, "spec": {"clusterIP": "10.96"}})
            api.put("services", service("b", "10.96.0.2"))
            await api.until(lambda: "prod/b" in f.store.services, "the one after it")
            assert known == f.store.services["prod/a"], "what was known of it stays"
            assert 4 == f.reflector().malformed
            api.put("namespaces", {"metadata": {"name": "dev"}})
            api.compact()
            api.hang_up("services")
            await api.until(lambda: f.reflector().malformed == 7, "a relist")
            assert {"prod/a", "prod/b"} == set(f.store.services)
            api.delete("services", "prod/a")
            api.delete("services", "prod/bad")
            await api.until(lambda: {"prod/b"} == set(f.store.services), "deleted all the same")

    with caplog.at_level(logging.WARNING, "kdns"):
        with_api(test, "a")
    told = [record.getMessage() for record in caplog.records if record.name.startswith("kdns")]
    assert ["prod/a", "prod/bad", "prod/worse"] == sorted(line.split()[1] for line in told)
    assert "services: prod/worse is left out: spec.clusterIPs[0]: '10.96' is not an IP address" in told


# ---------------------------------------------------------------- what is asked for


def test_endpoints_where_there_are_no_slices() -> None:
    async def test(api: FakeApiServer) -> None:
        api.play("endpointslices", faults.not_found, times=None)
        subset = {"addresses": [{"ip": "10.244.0.1"}], "ports": [{"name": "http", "port": 80}]}
        other = {"addresses": [{"ip": "10.244.0.2"}], "ports": [{"name": "http", "port": 81}]}
        o = {"metadata": {"name": "web", "namespace": "prod"}}
        api.put("endpoints", o | {"subsets": [subset, other]})
        async with following(api) as f:
            def found() -> set[bytes]:
                return {s.addresses for s in f.store.slices_of("prod/web")}

            one, two = bytes([10, 244, 0, 1]), bytes([10, 244, 0, 2])
            assert f.store.synced
            assert {one, two} == found()
            api.put("endpoints", o | {"subsets": [other]})
            await api.until(lambda: {two} == found(), "a subset less")
            api.delete("endpoints", "prod/web")
            await api.until(lambda: set() == found(), "none")
            assert "endpointslices" == f.reflector("endpointslices").name

    with_api(test, "web")


def test_only_what_is_selected_is_asked_for_and_kept() -> None:
    async def test(api: FakeApiServer) -> None:
        api.put("services", service("other", "10.96.0.8", namespace="dev"))
        api.put("services", service("third", "10.96.0.9", namespace="test"))
        api.put("namespaces", {"metadata": {"name": "dev"}})
        cases: list[tuple[dict[str, Any], dict[str, tuple[str, str, str]], set[str]]] = [
            ({"namespaces": ("prod",), "endpoints": False},
             {"services": ("prod", "", ""), "namespaces": ("", "", "")}, {"prod/a"}),
            ({"namespaces": ("prod", "dev"), "labels": "app=web", "pods": True},
             {"services": ("", "app=web", ""), "namespaces": ("", "", ""), "endpointslices": ("", "app=web", ""),
              "pods": ("", "app=web", "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown")},
             {"prod/a", "dev/other"}),
        ]  # fmt: skip
        for selection, asked, kept in cases:
            api.requests.clear()
            async with following(api, **selection) as f:
                assert asked == {
                    one.resource: (one.namespace, one.query.get("labelSelector", ""), one.query.get("fieldSelector", ""))
                    for one in api.requests
                }
                assert kept == set(f.store.services)
                assert {"prod", "dev"} == set(f.store.namespaces)

    with_api(test, "a")


def test_pods_keep_address_and_name() -> None:
    async def test(api: FakeApiServer) -> None:
        pod = {"metadata": {"name": "web-0", "namespace": "prod"}, "status": {"phase": "Running", "podIP": "10.244.0.1"}}
        api.put("pods", pod)
        async with following(api, pods=True) as f:
            address = bytes([10, 244, 0, 1])
            assert ("prod/web-0",) == f.store.pods_at(address)
            api.put("pods", pod | {"status": {"phase": "Succeeded", "podIP": "10.244.0.1"}})
            await api.until(lambda: () == f.store.pods_at(address), "its address free")

    with_api(test)
