"""An ApiServer says what is missing and why, finds its credentials anew, and outlives the API server, a real one too."""

import asyncio
import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta, UTC
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdns.cluster.apiserver import client, library
from kdns.cluster.apiserver.client import Client, configured, Turns
from kdns.cluster.apiserver.reflector import Timing
from kdns.cluster.apiserver.source import ApiServer, Connection
from kdns.cluster.apiserver.tallies import Absence, Stats
from kdns.cluster.objects import Selection
from kdns.cluster.store import Store
from kdns.core.metrics import Metrics
from kdns.errors import SourceError
from kdns.testing import faults
from kdns.testing.apiserver import FakeApiServer, Fault
from kdns.testing.ports import free_ports
from tests.cluster.apiserver.test_reflector import BUSY, QUICK, service, slice_
from tests.support.control_plane.plane import control_plane_or_skip, ControlPlane
from tests.support.waiting import until


def source(
    connection: Connection, startup_timeout: float = 0.3, timing: Timing = QUICK, metrics: Metrics | None = None, **selection: Any
) -> ApiServer:
    return ApiServer(connection, Selection(**selection), Store(), startup_timeout=startup_timeout, timing=timing, metrics=metrics)


# ---------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    ("fault", "expected", "brief"),
    [
        (faults.forbidden, 'endpointslices: 403 Forbidden: endpointslices is forbidden: User "fake" cannot list resource '
         '"endpointslices" in API group "discovery.k8s.io" at the cluster scope', "the API server refuses: 403"),
        (faults.unauthorized, "endpointslices: 401 Unauthorized", "the API server refuses: 401"),
        (faults.broken, "endpointslices: 500 Internal Server Error: etcdserver: request timed out",
         "the API server refuses: 500"),
        (faults.stall, "endpointslices: HOST: no answer within 0.1 s", "the API server is out of reach"),
        (faults.stall_after_headers, "endpointslices: HOST: not a byte for 0.1 s", "the API server is out of reach"),
        (faults.reset, "endpointslices: HOST: the connection was cut", "the API server is out of reach"),
        (faults.eof, "endpointslices: the stream ended in the middle of the list", "the API server is out of reach"),
        (faults.too_many(0), "endpointslices: 429 TooManyRequests: too many requests, please try again later",
         "the API server refuses: 429"),
    ],
)  # fmt: skip
def test_readiness_says_what_is_missing_and_why(
    fault: Fault, expected: str, brief: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it to readiness; to DNS clients nothing that the API server said."""
    monkeypatch.setattr(client, "ANSWER", 0.1)

    async def test() -> None:
        async with FakeApiServer() as api:
            api.play("endpointslices", fault, times=None)
            of = source(Connection(endpoint=api.url))
            await of.start()
            assert not of.store.synced
            host = f"127.0.0.1:{api.port}"
            await until(lambda: expected.replace("HOST", host) in (of.why_not() or ""), f"{expected}, not {of.why_not()}")
            assert f"{brief} (see /ready and the log)" == of.store.why_not
            api.heal()
            api.hang_up()
            await until(lambda: of.store.synced, "synced")
            await until(lambda: of.why_not() is None, "no trouble")
            await of.close()

    asyncio.run(test())


def test_without_a_server_a_start_waits_no_longer_than_it_may_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT", 0.1)
    [port] = free_ports(1)
    cases = {
        f"http://127.0.0.1:{port}": f"services, namespaces, endpointslices: 127.0.0.1:{port}: connection refused",
        "http://no-such-name.invalid:80": "services, namespaces, endpointslices: name not found: no-such-name.invalid",
    }

    async def test() -> None:
        for endpoint, expected in cases.items():
            of = source(Connection(endpoint=endpoint))
            await asyncio.wait_for(of.start(), 10)
            await until(lambda: of.why_not() == expected, f"{expected}, not {of.why_not()}")  # noqa: B023
            await of.close()
        async with faults.HalfHandshake() as half:
            of = source(Connection(endpoint=half.url))
            await of.start()
            expected = f"127.0.0.1:{half.port}: no connection within 0.1 s"
            await until(lambda: expected in (of.why_not() or ""), f"{expected}, not {of.why_not()}")
            await of.close()
        async with FakeApiServer() as api:
            of = source(Connection(endpoint=f"https://127.0.0.1:{api.port}"))
            await of.start()
            assert f"127.0.0.1:{api.port}: TLS: " in (of.why_not() or "")
            await of.close()

    asyncio.run(test())


def test_the_log_has_a_line_when_it_goes_and_one_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Absence, "BREAK", 0.2)

    async def test() -> None:
        async with FakeApiServer() as api:
            api.put("services", service("a"))
            of = source(Connection(endpoint=api.url), BUSY)
            await of.start()
            api.hang_up(cut=True)  # a short break is not told
            await asyncio.sleep(0.5)
            await api.stop()
            await asyncio.sleep(0.6)
            assert of.store.synced
            assert {"prod/a"} == set(of.store.services)
            assert 0.3 < of.age["services"] < 3
            api.put("services", service("b"))
            await api.start()
            await until(lambda: "prod/b" in of.store.services, "the change meanwhile")
            await until(lambda: of.why_not() is None, "no trouble")
            assert 0 == sum(sum(r.relists.values()) for r in of._reflectors)
            await of.close()

    with caplog.at_level(logging.WARNING, "kdns"):
        asyncio.run(test())
    away, back = [record.getMessage() for record in caplog.records if record.name.startswith("kdns")]
    assert away.startswith("kubernetes: the API server is away: services, namespaces, endpointslices: 127.0.0.1:")
    assert re.search("connection refused; answers go on from what is known as of [01] s ago$", away)
    assert back.startswith("kubernetes: the API server is back after ")


# ---------------------------------------------------------------- configuration

CLUSTER = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
CONTEXT = {"name": "x", "context": {"cluster": "c", "user": "u"}}


def kubeconfig(folder: Path, user: dict[str, Any], **more: Any) -> str:
    config = {"clusters": [CLUSTER], "contexts": [CONTEXT], "current-context": "x", "users": [{"name": "u", "user": user}]}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config | more))
    return str(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file or directory"),
        ("a: [", "not YAML: "),
        ("hello", "not a kubeconfig, but str"),
        ("{}", "no current-context, and no context is named"),
        ("current-context: y", "contexts has no 'y'"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: c}}]}", "clusters has no 'c'"),
        ("{current-context: x, contexts: [{name: x}]}", "not a kubeconfig: KeyError 'context'"),
        ("{current-context: x, contexts: 5}", "not a kubeconfig: TypeError"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, cluster: {server: h}}]}",
         "cluster 'c' has no server with http:// or https://"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, cluster: {server: 'https://h'}}]}",
         "context 'x' has no user"),
    ],
)  # fmt: skip
def test_a_kubeconfig_that_cannot_be_used_is_one_line(content: str | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "k"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SourceError) as caught:
        asyncio.run(source(Connection(kubeconfig=str(path))).start())
    assert str(caught.value).startswith(f"kubeconfig {path}: {expected}")
    assert "\n" not in str(caught.value)


def test_other_configurations_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for connection, expected in (
        (Connection(endpoint="10.0.0.1:6443"), "endpoint 10.0.0.1:6443: not a URL"),
        (Connection(), "this is no Pod"),
    ):
        with pytest.raises(SourceError, match=expected):
            asyncio.run(source(connection).start())


def asked_with(connection: Connection) -> str:
    """The Authorization that a Connection comes to."""

    async def find() -> str:
        configuration, _ = await configured(connection)
        settings: dict[str, Any] = dict(await configuration.auth_settings())
        return str(settings.get("BearerToken", {}).get("value", ""))

    return asyncio.run(find())


PLUGIN = """
import json
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": %s}))
"""


def exec_plugin(folder: Path, status: dict[str, Any]) -> dict[str, Any]:
    script = folder / "plugin.py"
    script.write_text(PLUGIN % json.dumps(status))
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(script)]}}


def test_credentials_of_a_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"token": "secret"}, "Bearer secret"),
        ({"tokenFile": str(tmp_path / "token")}, "Bearer from-file"),
        ({"username": "me", "password": "pass"}, "Basic bWU6cGFzcw=="),
        (exec_plugin(tmp_path, {"token": "made"}), "Bearer made"),
        ({}, ""),
    ]
    assert [expected for _, expected in cases] == [
        asked_with(Connection(kubeconfig=kubeconfig(tmp_path, user))) for user, _ in cases
    ]


def test_which_server_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def settings(connection: Connection, *names: str) -> list[object]:
        configuration, _ = await configured(connection)
        return [getattr(configuration, name) for name in names]

    other = {"name": "y", "context": {"cluster": "d", "user": "u"}}
    behind = {"server": "https://d:6443", "proxy-url": "http://proxy:3128", "tls-server-name": "k"}
    proxied = {"name": "d", "cluster": behind}
    path = kubeconfig(tmp_path, {"token": "t"}, contexts=[CONTEXT, other], clusters=[CLUSTER, proxied])
    assert ["http://127.0.0.1:1", None] == asyncio.run(settings(Connection(kubeconfig=path), "host", "proxy"))
    assert ["https://d:6443", "http://proxy:3128", "k"] == asyncio.run(
        settings(Connection(kubeconfig=path, context="y"), "host", "proxy", "tls_server_name")
    )
    assert ["https://e:6443", "cert", "key", "ca"] == asyncio.run(
        settings(Connection(endpoint="https://e:6443/", tls=("cert", "key", "ca")),
                 "host", "cert_file", "key_file", "ssl_ca_cert")
    )  # fmt: skip

    token, ca = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("in-cluster\n")
    ca.write_text("CA")
    monkeypatch.setitem(library.load_incluster_config.__globals__, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setitem(library.load_incluster_config.__globals__, "SERVICE_CERT_FILENAME", str(ca))
    monkeypatch.setitem(os.environ, "KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setitem(os.environ, "KUBERNETES_SERVICE_PORT", "443")
    assert ["https://[fd00::1]:443", str(ca)] == asyncio.run(settings(Connection(), "host", "ssl_ca_cert"))
    assert "bearer in-cluster" == asked_with(Connection())


async def asks(of: Client) -> str:
    """What comes of a request: "" or the error."""
    try:
        async with of.ask("/api/v1/services", []) as chunks:
            async for _ in chunks:
                pass
    except SourceError as error:
        return str(error)
    return ""


def with_client(connection: Callable[[FakeApiServer], Connection],
                test: Callable[[FakeApiServer, Client], Awaitable[None]]) -> None:  # fmt: skip
    async def run() -> None:
        async with FakeApiServer() as api:
            of = Client(connection(api), Stats(Metrics()))
            try:
                await test(api, of)
            finally:
                await of.close()

    asyncio.run(run())


def clusters(api: FakeApiServer) -> list[dict[str, Any]]:
    return [{"name": "c", "cluster": {"server": api.url}}]


def test_a_token_file_that_rotates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RENEW", 0.05)
    token = tmp_path / "token"
    token.write_text("one\n")

    async def test(api: FakeApiServer, of: Client) -> None:
        assert "" == await asks(of)
        token.write_text("two\n")
        await asyncio.sleep(0.06)
        assert "" == await asks(of)
        token.unlink()
        await asyncio.sleep(0.06)
        missing = await asks(of)
        assert f"no credential: No such file or directory: {token}" == missing
        assert ["Bearer one", "Bearer two"] == [one.authorization for one in api.requests], "never without"

    with_client(
        lambda api: Connection(kubeconfig=kubeconfig(tmp_path, {"tokenFile": str(token)}, clusters=clusters(api))), test
    )


def test_an_exec_plugin_is_asked_again_when_its_credential_is_over_or_refused(tmp_path: Path) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")

    async def test(api: FakeApiServer, of: Client) -> None:
        assert ["", ""] == [await asks(of), await asks(of)]
        exec_plugin(tmp_path, {"token": "two", "expirationTimestamp": later})
        assert "" == await asks(of)
        api.play("services", faults.unauthorized)
        assert "401 Unauthorized" == await asks(of)
        assert "" == await asks(of)
        assert ["Bearer one"] * 4 + ["Bearer two"] == [one.authorization for one in api.requests]

    user = exec_plugin(tmp_path, {"token": "one", "expirationTimestamp": later})
    with_client(lambda api: Connection(kubeconfig=kubeconfig(tmp_path, user, clusters=clusters(api))), test)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/no/such/plugin", "[Errno 2] No such file or directory: '/no/such/plugin'"),
        ("false", "exec: process returned 1"),
        ("true", "exec: failed to decode process output: "),
    ],
)
def test_a_credential_that_cannot_be_had_is_a_line_and_no_request(
    command: str, expected: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(api: FakeApiServer, of: Client) -> None:
        error = await asks(of)
        path = tmp_path / "kubeconfig"
        assert error.startswith(f"no credential: the exec plugin of kubeconfig {path} gave none: {expected}")
        assert error == await asks(of)
        assert [] == api.requests

    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command}}
    with_client(lambda api: Connection(kubeconfig=kubeconfig(tmp_path, user, clusters=clusters(api))), test)
    assert [] == caplog.messages, "the line is the reflector's to tell"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has these options")
def test_a_dead_connection_is_noticed_by_the_kernel() -> None:
    options = {
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1, (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 15,
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 30_000,
    }  # fmt: skip
    with client._socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
        assert options == {option: made.getsockopt(*option) for option in options}


def test_so_many_requests_a_second() -> None:
    async def test() -> float:
        turns, began = Turns(qps=50, burst=5), time.monotonic()
        for _ in range(15):
            await turns.wait()
        return time.monotonic() - began

    assert 0.18 < asyncio.run(test()) < 0.4


def test_so_many_requests_at_once() -> None:
    async def test() -> None:
        async with FakeApiServer() as api:
            of = Client(Connection(endpoint=api.url, max_inflight=2), Stats(Metrics()))
            api.play("services", faults.stall, times=None)
            asking = [asyncio.create_task(asks(of)) for _ in range(5)]
            await until(lambda: api.watching("services") == 2, "two")
            await asyncio.sleep(0.1)
            assert 2 == api.watching("services")
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            await of.close()

    asyncio.run(test())


# ---------------------------------------------------------------- metrics


def test_how_long_changes_took() -> None:
    """service kind: from what the object says until DNS has it, after the first list only."""
    ago = (datetime.now(UTC) - timedelta(seconds=5)).isoformat().replace("+00:00", "Z")
    triggered = {"annotations": {"endpoints.kubernetes.io/last-change-trigger-time": ago}}
    controlled = {
        "kubernetes.io/service-name": "headless",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }

    async def test() -> None:
        async with FakeApiServer() as api:
            api.put("services", service("before", creationTimestamp=ago))
            of = source(Connection(endpoint=api.url), BUSY)
            seen: list[tuple[str, int]] = []
            of.programmed = lambda kind, seconds: seen.append((kind, round(seconds)))
            await of.start()
            assert [] == seen
            api.put("services", service("headless", "None", creationTimestamp=ago))
            api.put("services", service("web", creationTimestamp=ago))
            await until(lambda: len(of.store.services) == 3, "services")
            api.put("endpointslices", slice_("h-1", "headless", "10.244.0.1", **triggered | {"labels": controlled}))
            api.put("endpointslices", slice_("h-2", "headless", "10.244.0.2", **triggered))
            api.put("endpointslices", slice_("w-1", "web", "10.244.0.3", **triggered))
            api.put("endpointslices", slice_("w-2", "web", "10.244.0.4", annotations={"x": "y"}))
            api.put("endpointslices", slice_("h-2", "headless", "10.244.0.2", **triggered | {"generation": 2}))
            await until(lambda: of._reflectors[2].events["MODIFIED"] == 1, "the last")
            assert [("cluster_ip", 5), ("headless_with_selector", 5), ("headless_without_selector", 5)] == seen
            await of.close()

    asyncio.run(test())


def test_what_is_counted() -> None:
    async def test() -> None:
        async with FakeApiServer() as api:
            api.put("services", service("a"))
            metrics = Metrics()
            metrics.registry()
            of = source(Connection(endpoint=api.url), BUSY, metrics=metrics)
            await of.start()
            api.delete("services", "prod/a")
            await until(lambda: not of.store.services, "deleted")
            value = metrics.registry().get_sample_value
            asked, host = "coredns_kubernetes_rest_client", f"127.0.0.1:{api.port}"
            assert 3 == value(f"{asked}_requests_total", {"code": "200", "method": "GET", "host": host})
            for what in ("request_duration", "rate_limiter_duration"):
                assert 3 == value(f"{asked}_{what}_seconds_count", {"verb": "GET", "host": host})
            assert 0 == value("kdns_kubernetes_objects", {"kind": "services"})
            assert 1 == value("kdns_kubernetes_events_total", {"resource": "services", "type": "DELETED"})
            for resource in ("services", "namespaces", "endpointslices"):
                assert value("kdns_kubernetes_watch_age_seconds", {"resource": resource}) is not None
            assert 0 == value("kdns_kubernetes_stale")
            await of.close()

    asyncio.run(test())


# ---------------------------------------------------------------- a real one


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with control_plane_or_skip(controllers=False) as plane:
        plane.grant_dns()
        yield plane


def real(name: str, ip: str) -> dict[str, Any]:
    spec = {"clusterIP": ip, "ports": [{"name": "http", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def test_a_real_server_goes_and_comes_back(plane: ControlPlane) -> None:
    async def test() -> None:
        of = source(Connection(kubeconfig=str(plane.kubeconfig("dns"))), 10.0, Timing(), pods=True)
        await of.start()
        assert of.store.synced
        await until(lambda: "default/kubernetes" in of.store.services, "what the server makes by itself")
        await asyncio.to_thread(plane.api.apply, [real("one", "10.96.1.1")])
        await until(lambda: "default/one" in of.store.services, "a change")
        assert [True] * 4 == [reflector._streams for reflector in of._reflectors]

        await asyncio.to_thread(plane.kill_apiserver)
        await until(lambda: of.why_not() is not None, "its absence")
        assert of.store.synced
        await asyncio.to_thread(plane.start_apiserver)
        await asyncio.to_thread(plane.api.delete, "Service", "default/one")
        await asyncio.to_thread(plane.api.apply, [real("two", "10.96.1.2")])
        await until(lambda: "default/two" in of.store.services and "default/one" not in of.store.services, "changes")
        await until(lambda: of.why_not() is None, "no trouble")
        await of.close()

    asyncio.run(test())


def test_a_real_server_refuses_who_may_nothing(plane: ControlPlane) -> None:
    async def test() -> None:
        of = source(Connection(kubeconfig=str(plane.kubeconfig("nobody"))), 1.0, Timing())
        await of.start()
        expected = (
            'endpointslices: 403 Forbidden: endpointslices.discovery.k8s.io is forbidden: User '
            '"system:serviceaccount:kube-system:nobody" cannot list resource "endpointslices" in API group '
            '"discovery.k8s.io" at the cluster scope'
        )
        assert expected in (of.why_not() or "")
        await of.close()
        token = Path(plane.folder) / "wrong.kubeconfig"
        token.write_text(plane.kubeconfig("dns").read_text().replace("token: ", "token: x"))
        of = source(Connection(kubeconfig=str(token)), 1.0, Timing())
        await of.start()
        assert "services, namespaces, endpointslices: 401 Unauthorized" == of.why_not()
        await of.close()

    asyncio.run(test())


def test_a_real_server_whose_certificate_is_not_trusted(plane: ControlPlane) -> None:
    async def test() -> None:
        of = source(Connection(endpoint=plane.url), 1.0, Timing())
        await of.start()
        host = plane.url.removeprefix("https://")
        assert f"services, namespaces, endpointslices: {host}: TLS: self-signed certificate" in (of.why_not() or "")
        await of.close()

    asyncio.run(test())
