"""The API server and etcd go and come back: kdns answers on, and shows within 5 s what has changed meanwhile.

What changes while no API server runs is written to etcd itself, as another API server of the cluster would.
"""

import http.client
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kdns.testing.ports import free_ports
from tests.support.control_plane.plane import ControlPlane, stored, until
from tests.support.control_plane.rest import Object
from tests.support.processes import (
    Asking,
    CLUSTER,
    comes_to,
    endpoint_slice,
    external,
    Kdns,
    reverse,
    said,
    SEEN_WITHIN,
    service,
    why,
    ZONE,
)

WITH_SNAPSHOT = CLUSTER.replace("pods insecure", "pods insecure\n        startup_timeout 1s\n        snapshot $snapshot")
ELSEWHERE = """
.:$port {
    bind 127.0.0.1
    ready 127.0.0.1:$http
    prometheus 127.0.0.1:$http
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig $kubeconfig
        startup_timeout 500ms
        fallthrough
    }
    whoami
}
other.example:$port {
    bind 127.0.0.1
    whoami
}
"""


@pytest.fixture(autouse=True)
def whole(plane: ControlPlane) -> Iterator[None]:
    """Whatever a test did, the next one finds the control plane running."""
    yield
    for program, start in (("etcd", plane.start_etcd), ("kube-apiserver", plane.start_apiserver)):
        if program not in plane.resident_bytes():
            start()


def erase(plane: ControlPlane, obj: Object) -> None:
    """Delete an object from etcd itself."""
    with closing(http.client.HTTPConnection("127.0.0.1", plane.etcd_port, timeout=10)) as etcd:
        etcd.request("POST", "/v3/kv/deleterange", json.dumps({"key": b64encode(stored(obj)[0]).decode()}))
        assert 1 == int(json.load(etcd.getresponse())["deleted"])


class Town:
    """Services of a namespace that change while nobody can tell of it."""

    def __init__(self, plane: ControlPlane, space: str, net: int) -> None:
        self.plane, self.space = plane, space
        ips = [f"10.96.{net}.{n}" for n in range(1, 5)]
        self.stays = service("stays", space, clusterIP=ips[0])
        self.leaves = service("leaves", space, clusterIP=ips[1])
        self.comes = service("comes", space, clusterIP=ips[2], type="ClusterIP")
        self.moves = external("moves", space, "foo.example.com")
        self.moved = external("moves", space, "bar.example.com")
        self.headless = service("headless", space, clusterIP="None")
        self.few = endpoint_slice("headless-1", space, "headless", [f"172.21.{net}.1"])
        self.many = endpoint_slice("headless-1", space, "headless", [f"172.21.{net}.1", f"172.21.{net}.2"])
        self.before = {
            "stays": ips[0], "leaves": ips[1], "comes": "NXDOMAIN", "moves": "CNAME foo.example.com.",
            "headless": f"172.21.{net}.1",
        }  # fmt: skip
        self.after = {
            "stays": ips[0], "leaves": "NXDOMAIN", "comes": ips[2], "moves": "CNAME bar.example.com.",
            "headless": f"172.21.{net}.1, 172.21.{net}.2",
        }  # fmt: skip

    def name(self, label: str) -> str:
        return f"{label}.{self.space}.svc.{ZONE}"

    def build(self) -> None:
        self.plane.api.apply([self.stays, self.leaves, self.moves, self.headless, self.few])

    def change(self) -> None:
        """Without an API server."""
        self.plane.load([self.comes, self.moved, self.many])
        erase(self.plane, self.leaves)

    def seen_by(self, kdns: Kdns) -> dict[str, str]:
        return {label: kdns.says(self.name(label)) for label in self.before}

    def asking(self, kdns: Kdns) -> Asking:
        return Asking(kdns, {self.name(label): {self.before[label], self.after[label]} for label in self.before})


@pytest.fixture
def own(plane: ControlPlane, tmp_path: Path) -> Iterator[Kdns]:
    with Kdns(CLUSTER, tmp_path, kubeconfig=plane.kubeconfig("dns")) as kdns:
        yield kdns


@pytest.mark.parametrize("with_etcd", [False, True], ids=["apiserver", "apiserver-and-etcd"])
def test_it_is_killed_while_queries_come(plane: ControlPlane, own: Kdns, space: str, with_etcd: bool) -> None:
    town = Town(plane, space, 80 + with_etcd)
    town.build()
    comes_to(town.before, lambda: town.seen_by(own))
    with town.asking(own) as asking:
        plane.kill_apiserver()
        if with_etcd:
            plane.kill_etcd()
        until(lambda: own.metric("kdns_kubernetes_reconnects_total") > 3, "kdns has noticed")
        assert town.before == town.seen_by(own)
        assert [] == own.unready()
        if with_etcd:
            plane.start_etcd()
        town.change()
        plane.start_apiserver()
        comes_to(town.after, lambda: town.seen_by(own), SEEN_WITHIN)
        plane.api.delete("Service", f"{town.space}/comes")  # the watches that came after live: this is seen too
        own.comes_to_say("NXDOMAIN", town.name("comes"))
    assert [] == asking.wrong
    assert asking.asked > 1000


def test_etcd_alone_is_killed(plane: ControlPlane, own: Kdns, space: str) -> None:
    town = Town(plane, space, 82)
    town.build()
    comes_to(town.before, lambda: town.seen_by(own))
    with town.asking(own) as asking:
        plane.kill_etcd()
        until(lambda: asking.asked > 500, "some questions")
        plane.start_etcd()
        town.change()
        comes_to(town.after, lambda: town.seen_by(own), 2 * SEEN_WITHIN)  # the API server itself takes a while
    assert [] == asking.wrong


def test_killed_again_and_again(plane: ControlPlane, own: Kdns, space: str) -> None:
    """Each time something has changed, and each time it is seen."""
    one = service("one", space, clusterIP="10.96.83.1")
    name = f"one.{space}.svc.{ZONE}"
    plane.api.apply([one])
    own.comes_to_say(f"0 100 80 {name}", f"_http._tcp.{name}", "SRV")
    with Asking(own, {name: {"10.96.83.1"}}) as asking:
        for port in (81, 82):
            plane.kill_apiserver()
            spec = {"ports": [{"name": "http", "port": port, "protocol": "TCP"}], "clusterIP": "10.96.83.1"}
            plane.load([one | {"spec": {**spec, "type": "ClusterIP"}}])
            plane.start_apiserver()
            own.comes_to_say(f"0 100 {port} {name}", f"_http._tcp.{name}", "SRV")
    assert [] == asking.wrong


def test_a_start_without_it(plane: ControlPlane, tmp_path: Path, space: str) -> None:
    name = f"here.{space}.svc.{ZONE}"
    plane.api.apply([service("here", space, clusterIP="10.96.84.1")])
    plane.kill_apiserver()
    expected = f"services, namespaces, endpointslices: 127.0.0.1:{plane.port}: connection refused"
    with Kdns(ELSEWHERE, tmp_path, kubeconfig=plane.kubeconfig("dns")) as kdns:
        for asked in (name, f"none.{ZONE}", reverse("10.96.84.1"), reverse("192.0.2.1"), ZONE):
            reply = kdns.ask(asked)
            assert ("SERVFAIL", "the API server is out of reach (see /ready and the log)") == (said(reply), why(reply))
        assert "NODATA" == kdns.says("other.example.")
        assert "NODATA" == kdns.says("elsewhere.example.")
        assert [f"kubernetes: {expected}"] == kdns.unready()
        plane.start_apiserver()
        kdns.comes_to_say("10.96.84.1", name)
        comes_to([], kdns.unready)
        assert name == kdns.says(reverse("10.96.84.1"), "PTR")


def test_a_start_from_a_snapshot(plane: ControlPlane, tmp_path: Path, space: str) -> None:
    town = Town(plane, space, 85)
    town.build()
    kdns = Kdns(WITH_SNAPSHOT, tmp_path, kubeconfig=plane.kubeconfig("dns"), snapshot=tmp_path / "snapshot")
    with kdns:
        comes_to(town.before, lambda: town.seen_by(kdns))
        assert 0 == kdns.metric("kdns_kubernetes_stale")
    plane.kill_apiserver()
    began = time.monotonic()
    with kdns:
        assert time.monotonic() - began < 5
        assert town.before == town.seen_by(kdns)
        assert [] == kdns.unready()
        assert 1 == kdns.metric("kdns_kubernetes_stale")
        with town.asking(kdns) as asking:
            town.change()
            plane.start_apiserver()
            comes_to(town.after, lambda: town.seen_by(kdns))
            comes_to(0, lambda: kdns.metric("kdns_kubernetes_stale"))
        assert [] == asking.wrong
    assert "answers are those of the snapshot" in kdns.log


def test_readiness_says_which_resource_and_why(plane: ControlPlane, tmp_path: Path) -> None:
    [closed] = free_ports(1)
    who = "system:serviceaccount:kube-system:nobody"
    listed = (("services", "", ""), ("namespaces", "", ""), ("endpointslices", ".", "discovery.k8s.io"))
    cases = {
        f"kubeconfig {plane.kubeconfig('nobody')}": "; ".join(
            f'{name}: 403 Forbidden: {name}{dot}{group} is forbidden: User "{who}" cannot list resource "{name}" '
            f'in API group "{group}" at the cluster scope'
            for name, dot, group in listed
        ),
        f"endpoint {plane.url}": f"127.0.0.1:{plane.port}: TLS: self-signed certificate in certificate chain",
        f"endpoint https://127.0.0.1:{closed}": f"127.0.0.1:{closed}: connection refused",
        "endpoint http://no-such-name.invalid": "name not found: no-such-name.invalid",
    }
    block = """
    zone-{0}.test:$port {{
        bind 127.0.0.1
        ready 127.0.0.1:$http
        kubernetes {{
            {1}
            startup_timeout 1s
        }}
    }}
    """
    corefile = "".join(block.format(i, option) for i, option in enumerate(cases))
    all_three = "services, namespaces, endpointslices: "
    expected = [f"kubernetes: {text if text.startswith('services') else all_three + text}" for text in cases.values()]
    with Kdns(corefile, tmp_path) as kdns:
        comes_to(expected, kdns.unready)
        refused, away = "the API server refuses: 403", "the API server is out of reach"
        for i, brief in enumerate((refused, away, away, away)):  # what it said is not for everyone who asks
            assert f"{brief} (see /ready and the log)" == why(kdns.ask(f"web.prod.svc.zone-{i}.test"))
