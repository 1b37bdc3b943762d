"""The tests' own stage: the real control plane and the fake API server do what the tests above them rely on."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kdns.testing import faults
from kdns.testing.apiserver import ANY, FakeApiServer, Fault, Kind, LIST, WATCH
from kdns.testing.faults import HalfHandshake
from kdns.testing.messages import bookmark_event
from tests.support import ROOT
from tests.support.control_plane import programs
from tests.support.control_plane.plane import control_plane_or_skip, ControlPlane, until
from tests.support.control_plane.rest import ApiError


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with control_plane_or_skip() as plane:
        plane.grant_dns()
        yield plane


def service(name: str, **spec: object) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}], **spec}}


NODE: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}
POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "web-0", "namespace": "default", "labels": {"app": "web"}},
    "spec": {"nodeName": "node-a", "containers": [{"name": "c", "image": "c"}]},
    "status": {
        "phase": "Running", "podIP": "10.244.1.20", "podIPs": [{"ip": "10.244.1.20"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}  # fmt: skip


# The real one.


def addresses(plane: ControlPlane, name: str) -> list[str]:
    slices = plane.api.objects("EndpointSlice", "default", labelSelector=f"kubernetes.io/service-name={name}")
    return [address for one in slices for endpoint in one["endpoints"] or () for address in endpoint["addresses"]]


def test_controllers_follow_pods_and_delete_what_a_service_leaves(plane: ControlPlane) -> None:
    plane.api.apply([NODE, service("web", selector={"app": "web"}), POD])
    until(lambda: addresses(plane, "web") == ["10.244.1.20"], "an endpoint for the Pod")
    assert plane.api.get("Service", "default/web")["spec"]["clusterIP"].startswith("10.")

    plane.api.apply([POD | {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}])
    until(lambda: slice_of(plane, "web")["endpoints"][0]["conditions"]["ready"] is False, "the endpoint not ready")

    plane.api.delete("Service", "default/web")
    until(lambda: addresses(plane, "web") == [], "its slice deleted")


def slice_of(plane: ControlPlane, name: str) -> dict[str, Any]:
    found = plane.api.objects("EndpointSlice", "default", labelSelector=f"kubernetes.io/service-name={name}")
    return found[0]


def test_the_dns_user_may_list_and_no_more(plane: ControlPlane) -> None:
    dns, nobody = plane.client("dns"), plane.client("nobody")
    cases = {
        (dns, "/api/v1/services?limit=1"): 200,
        (dns, "/apis/discovery.k8s.io/v1/endpointslices"): 200,
        (dns, "/api/v1/namespaces"): 200,
        (dns, "/api/v1/namespaces/default"): 403,
        (dns, "/api/v1/nodes"): 403,
        (nobody, "/api/v1/services"): 403,
    }
    actual = {case: case[0].exchange("GET", case[1])[0] for case in cases}
    dns.close()
    nobody.close()
    assert cases == actual


def test_a_killed_server_comes_back_as_it_was(plane: ControlPlane) -> None:
    plane.api.apply([service("kept", clusterIP="10.96.0.77")])
    plane.kill_apiserver()
    with pytest.raises(OSError, match=r"."):
        plane.api.get("Service", "default/kept")
    plane.kill_etcd()
    plane.start_etcd()
    plane.start_apiserver()
    assert "10.96.0.77" == plane.api.get("Service", "default/kept")["spec"]["clusterIP"]


def test_errors_and_many_at_once(plane: ControlPlane) -> None:
    with pytest.raises(ApiError, match="404 NotFound"):
        plane.api.get("Service", "default/none")
    plane.api.delete("Service", "default/none")
    plane.api.apply([service(f"many-{i}", clusterIP="None") for i in range(40)], workers=4)
    plane.api.apply([service("many-0", ports=[{"port": 81}])])
    assert 81 == plane.api.get("Service", "default/many-0")["spec"]["ports"][0]["port"]
    names = [one["metadata"]["name"] for one in plane.api.objects("Service", "default")]
    assert 40 == sum(name.startswith("many-") for name in names)


def test_thousands_go_straight_into_etcd(plane: ControlPlane) -> None:
    objects = [service(f"loaded-{i}", clusterIP=f"10.97.0.{i}") for i in range(1, 101)]
    part = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "loaded-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "loaded-1"}},
        "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"port": 80}],
    }  # fmt: skip
    plane.load([*objects, part])
    found = [one for one in plane.api.objects("Service", "default") if one["metadata"]["name"].startswith("loaded-")]
    assert [f"10.97.0.{i}" for i in range(1, 101)] == sorted(
        (one["spec"]["clusterIP"] for one in found), key=lambda address: int(address.rpartition(".")[2])
    )
    assert 100 == len({one["metadata"]["resourceVersion"] for one in found})
    assert addresses(plane, "loaded-1") == ["10.1.2.3"]


LEAVES_ETCD = """
import os, sys
from tests.support.control_plane.plane import ControlPlane
plane = ControlPlane()
plane.start_etcd()
print(plane.pid("etcd"), plane.folder, flush=True)
"""


@pytest.mark.parametrize("end", ["sys.exit()", "os._exit(1)", "os.kill(os.getpid(), 9)"])
def test_nothing_outlives_its_parent(end: str) -> None:
    assets = {"KUBEBUILDER_ASSETS": str(programs.find_or_skip()["etcd"].parent)}
    run = subprocess.run(
        [sys.executable, "-c", LEAVES_ETCD + end],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **assets},
    )  # fmt: skip
    pid, folder = run.stdout.split()
    until(lambda: dead(pid), "etcd dead")
    shutil.rmtree(folder, ignore_errors=True)


def dead(pid: str) -> bool:
    """Gone, or a zombie that nobody has waited for."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or ") Z " in stat.read_text()


# The programs.


def put_programs(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch(mode=0o755)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({"assets": 3, "path": 3, "cache": 3}, "assets"),
        ({"assets": 2, "path": 3, "cache": 3}, "path"),
        ({"assets": 2, "path": 1, "cache": 3}, "cache"),
        ({"assets": 2, "path": 2, "cache": 2}, None),
    ],
)
def test_programs_come_from_the_first_place_with_all_three(
    places: dict[str, int], expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {"assets": tmp_path / "assets", "path": tmp_path / "path"}
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folders["assets"]))
    monkeypatch.setenv("PATH", str(folders["path"]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders["cache"] = programs.cache_folder()
    for place, count in places.items():
        put_programs(folders[place], list(programs.PACKAGES)[:count])
    found = programs.find()
    assert expected == (found and next(place for place in folders if folders[place] == found["etcd"].parent))


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_missing_programs_skip_or_in_ci_fail(
    ci: str, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"KUBEBUILDER_ASSETS": "", "PATH": "", "XDG_CACHE_HOME": str(tmp_path), "CI": ci}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(programs, "GO", ("go",))
    with pytest.raises(outcome, match=r"no control plane: put .* or install Go"):
        programs.find_or_skip()


def test_a_line_for_each_program_that_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nmkdir -p "${2%/*}" && : > "$2"\n')
    go.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    programs.build(str(go), said.append)
    assert ["building etcd", "building kube-apiserver", "building kube-controller-manager"] == [
        line.partition(" with ")[0] for line in said
    ]


# The fake one.

STREAM = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}}


async def read(session: aiohttp.ClientSession, url: str) -> list[str]:
    """What comes within half a second: the status, then each event as `TYPE name@version`, `…` where more may come."""
    said: list[str] = []
    try:
        async with asyncio.timeout(0.5), session.get(url) as response:
            said.append(str(response.status))
            async for line in response.content:
                said.append(brief(line) if response.status == 200 else line.decode())
    except TimeoutError:
        said.append("…")
    except aiohttp.ClientError as error:
        said.append(type(error).__name__)
    return said


def brief(line: bytes) -> str:
    try:
        event = json.loads(line)
    except ValueError:
        return "half"
    if "items" in event:
        more = f" {event['metadata']['continue']}" if "continue" in event["metadata"] else ""
        names = ",".join(item["metadata"]["name"] for item in event["items"])
        return f"{event['kind']}@{event['metadata']['resourceVersion']} {names}{more}"
    if event["type"] == "ERROR":
        return f"ERROR {event['object']['code']}"
    metadata = event["object"]["metadata"]
    end = " end" if "k8s.io/initial-events-end" in metadata.get("annotations", {}) else ""
    return f"{event['type']} {metadata.get('name', '')}@{metadata['resourceVersion']}{end}"


def played(*queries: str, fault: Fault | None = None, on: Sequence[Kind] = ANY, times: int = 1) -> list[list[str]]:
    """The answers to requests for Services of a server that has a (2), b (3, then 4) and had c (5, deleted at 6)."""

    async def main() -> list[list[str]]:
        async with FakeApiServer() as api, aiohttp.ClientSession() as session:
            for name in "abbc":
                api.put("services", named(name))
            api.delete("services", "default/c")
            if fault is not None:
                api.play("services", fault, on, times)
            return [await read(session, f"{api.url}/api/v1/services?{query}") for query in queries]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["200", "ServiceList@6 a,b"]),
        ("limit=1", ["200", "ServiceList@6 a page-1"]),
        ("limit=1&resourceVersion=0", ["200", "ServiceList@6 a,b"]),
        ("watch=1&resourceVersion=3", ["200", "MODIFIED b@4", "ADDED c@5", "DELETED c@6", "…"]),
        ("watch=1&resourceVersion=6&timeoutSeconds=0.05", ["200"]),
        ("watch=1&timeoutSeconds=0.05", ["200", "ADDED a@2", "ADDED b@4"]),
        (STREAM, ["200", "ADDED a@2", "ADDED b@4", "BOOKMARK @6 end", "…"]),
    ],
)
def test_the_fake_lists_and_watches(query: str, expected: list[str]) -> None:
    assert [expected] == played(query)


def test_the_fake_pages() -> None:
    assert [["200", "ServiceList@6 a page-1"], ["200", "ServiceList@6 b"]] == played("limit=1", "limit=1&continue=page-1")


B_TO_C = ["MODIFIED b@4", "ADDED c@5", "DELETED c@6"]
WATCHED = "watch=1&resourceVersion=3&allowWatchBookmarks=1"


@pytest.mark.parametrize(
    ("query", "fault", "expected"),
    [
        (WATCHED, faults.gone_event, ["200", "ERROR 410"]),
        (WATCHED, faults.eof, ["200"]),
        ("", faults.eof, ["200"]),
        (WATCHED, faults.reset, ["ServerDisconnectedError"]),
        (WATCHED, faults.mid_line(), ["200", "half"]),
        (WATCHED, faults.mid_line(cut=True), ["200", "ClientPayloadError"]),
        (WATCHED, faults.stall, ["…"]),
        (WATCHED, faults.stall_after_headers, ["200", "…"]),
        (WATCHED, faults.backwards, ["200", *reversed(B_TO_C), "…"]),
        (WATCHED, faults.bookmark_only(), ["200", "BOOKMARK @6"]),
        (STREAM, faults.bookmark_only(initial_events_end=True, then="stall"), ["200", "BOOKMARK @6 end", "…"]),
        (STREAM, faults.ignored_initial_events, ["200", "ADDED a@2", "ADDED b@4", "…"]),
        (WATCHED, faults.no_initial_events(), ["200", *B_TO_C, "…"]),
        (WATCHED, faults.says(b"nonsense\n"), ["200", "half", *B_TO_C, "…"]),
        (WATCHED, faults.says(bookmark_event("services", 9), then="eof"), ["200", "BOOKMARK @9"]),
    ],
)
def test_the_fake_plays_a_fault_in_an_answer(query: str, fault: Fault, expected: list[str]) -> None:
    assert [expected] == played(query, fault=fault, times=2)  # after a reset the client here asks twice


@pytest.mark.parametrize(
    ("query", "fault", "status", "text"),
    [
        ("", faults.gone, "410", '"reason": "Expired"'),
        (WATCHED, faults.gone, "410", '"reason": "Expired"'),
        ("", faults.too_many(7), "429", '"reason": "TooManyRequests"'),
        ("", faults.broken, "500", "etcdserver: request timed out\n"),
        ("", faults.forbidden, "403", 'cannot list resource \\"services\\" in API group \\"\\" at the cluster scope'),
        (WATCHED, faults.forbidden, "403", 'cannot watch resource \\"services\\"'),
        ("", faults.unauthorized, "401", "Unauthorized"),
        ("", faults.not_found, "404", "404 page not found\n"),
        (STREAM, faults.no_initial_events(), "400", "sendInitialEvents is forbidden"),
        (STREAM, faults.no_initial_events(422), "422", '"reason": "Invalid"'),
    ],
)
def test_the_fake_plays_a_refusal(query: str, fault: Fault, status: str, text: str) -> None:
    said, again = played(query, query, fault=fault)
    assert (status, True) == (said[0], text in said[1])
    assert "200" == again[0], "once only"


def test_the_fake_says_when_to_come_again() -> None:
    async def main() -> str:
        async with FakeApiServer() as api, aiohttp.ClientSession() as session:
            api.play("pods", faults.too_many(7))
            async with session.get(f"{api.url}/api/v1/pods") as response:
                return response.headers["Retry-After"]

    assert "7" == asyncio.run(main())


def test_the_fake_lets_a_page_expire_and_offers_another() -> None:
    queries = "limit=1", "limit=1&continue=page-1", "limit=1&continue=page-2"
    answers = played(*queries, fault=faults.page_expired, on=["page"])
    assert ["200", "ServiceList@6 a page-1"] == answers[0]
    assert ("410", "page-2") == (answers[1][0], json.loads(answers[1][1])["metadata"]["continue"])
    assert ["200", "ServiceList@6 b"] == answers[2]


def test_the_fake_tells_changes_counts_and_hangs_up() -> None:
    async def main() -> list[str]:
        said = []
        async with FakeApiServer() as api, aiohttp.ClientSession() as session:
            url = f"{api.url}/apis/discovery.k8s.io/v1/endpointslices"
            api.play("endpointslices", faults.not_found, on=LIST, times=None)
            api.play("services", faults.stall, on=WATCH)
            async with session.get(url) as response:
                said.append(str(response.status))
            headers = {"Authorization": "Bearer t"}
            watch = session.get(f"{url}?{WATCHED}&labelSelector=a%3Db", headers=headers)
            async with watch as response:
                await api.until(lambda: api.watching("endpointslices") == 1, "a watch")
                api.put("endpointslices", named("s"))
                api.bookmark("endpointslices")
                said += [brief(await response.content.readline()) for _ in range(2)]
                api.delete("endpointslices", "default/s")
                api.hang_up("endpointslices")
                said.append(brief(await response.content.readline()))
                said.append(str(await response.content.readline()))
            api.compact()
            said += await read(session, f"{url}?watch=1&resourceVersion=1")
            first, second, _ = api.requests
            said += [f"{first.kind} {second.kind} {second.query['labelSelector']} {second.authorization}"]
            said.append(f"{api.count('endpointslices')} {api.count('endpointslices', 'watch')} {api.count('pods')}")
        return said

    told = ["ADDED s@2", "BOOKMARK @2", "DELETED s@3", "b''"]
    assert ["404", *told, "200", "ERROR 410", "list watch a=b Bearer t", "3 2 0"] == asyncio.run(main())


def test_the_fake_has_a_line_of_5_mb_and_one_namespace() -> None:
    async def main() -> tuple[int, list[str]]:
        async with FakeApiServer() as api, aiohttp.ClientSession(read_bufsize=1 << 24) as session:
            api.put("services", faults.big_service())
            api.put("services", {"metadata": {"name": "web", "namespace": "prod"}})
            async with session.get(f"{api.url}/api/v1/services?watch=1&timeoutSeconds=0.3") as response:
                longest = max([len(line) async for line in response.content])
            return longest, await read(session, f"{api.url}/api/v1/namespaces/prod/services")

    longest, prod = asyncio.run(main())
    assert longest > 5_000_000
    assert ["200", "ServiceList@3 web"] == prod


def test_the_fake_stops_at_once_and_starts_again_on_the_same_port(tmp_path: Path) -> None:
    async def main() -> tuple[list[str], list[str], float]:
        async with FakeApiServer() as api, aiohttp.ClientSession() as session:
            api.put("namespaces", {"metadata": {"name": "prod"}})
            assert api.url in api.kubeconfig(tmp_path).read_text()
            watch = asyncio.create_task(read(session, f"{api.url}/api/v1/namespaces?watch=1"))
            await api.until(lambda: api.watching("namespaces") == 1, "a watch")
            began = time.monotonic()
            await api.stop()
            took = time.monotonic() - began
            await api.start()
            return await watch, await read(session, f"{api.url}/api/v1/namespaces"), took

    cut, again, took = asyncio.run(main())
    assert (["200", "ADDED prod@2", "ClientPayloadError"], ["200", "NamespaceList@2 prod"]) == (cut, again)
    assert took < 5


def test_half_a_handshake() -> None:
    async def main() -> tuple[list[str], int]:
        async with HalfHandshake() as server, aiohttp.ClientSession() as session:
            return await read(session, f"{server.url}/api/v1/services"), server.connections

    assert (["…"], 1) == asyncio.run(main())
