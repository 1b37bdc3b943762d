"""Right under change: objects of a real cluster change at random while names are asked at random.

At each quiet point the whole zone, asked through the memo that the questions before have filled, is what a store filled
afresh from lists says. In between nothing may be stale once its change was seen: what counts upwards never goes back,
whatever name, type or spelling it is asked by. KDNS_CHANGES_SECONDS says for how long (20), KDNS_CHANGES_SEED with which
seed.
"""

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import msgspec
import pytest

from kdns.cluster.answers import Answers, Schema
from kdns.cluster.apiserver.resources import resources
from kdns.cluster.objects import Selection
from kdns.cluster.store import Store
from kdns.dns.encoding import encode
from kdns.dns.query import decode
from kdns.dns.ring import Ring
from tests.support.control_plane.plane import ControlPlane
from tests.support.control_plane.rest import ApiError
from tests.support.processes import (
    comes_to,
    connected,
    endpoint_slice,
    exchange,
    external,
    Kdns,
    namespace,
    pod,
    reverse,
    running,
    said,
    service,
    ZONE,
)

SECONDS = float(os.environ.get("KDNS_CHANGES_SECONDS") or 20)
SEED = int(os.environ.get("KDNS_CHANGES_SEED") or 53)
ZONES = (ZONE, "in-addr.arpa.", "ip6.arpa.")
COREFILE = """
.:$port {
    bind 127.0.0.1
    errors
    ready 127.0.0.1:$http
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig $kubeconfig
        pods verified
    }
    loadbalance
}
"""
SPACES = ("changes-a", "changes-b", "changes-c")
SERVICES = [f"s{n}" for n in range(6)]
PODS = {f"{space}/p{n}": f"172.22.{i}.{n + 1}" for i, space in enumerate(SPACES[:2]) for n in range(8)}
BY_HAND = [f"172.23.0.{n}" for n in range(1, 13)]
CLUSTER_IPS = [f"10.96.90.{n}" for n in range(1, 13)]
TYPES = ("A", "SRV", "ANY", "CNAME", "TXT")


@pytest.fixture
def own(plane: ControlPlane, tmp_path: Path) -> Iterator[Kdns]:
    with Kdns(COREFILE, tmp_path, kubeconfig=plane.kubeconfig("dns")) as kdns:
        yield kdns


class Changes:
    """Changes of a small world, one at a time, drawn by a seeded generator; what the API server refuses is left."""

    def __init__(self, plane: ControlPlane, seed: int) -> None:
        self.api, self.draw = plane.api, random.Random(seed)
        self.made = 0

    def one(self) -> None:
        change = self.draw.choice((
            self.make_service, self.make_service, self.make_service, self.remove_service, self.edit_ports, self.label,
            self.make_pod, self.make_pod, self.turn_pod, self.remove_pod,
            self.write_slice, self.write_slice, self.remove_slice, self.move_slice, self.come_and_go,
        ))  # fmt: skip
        try:
            change()
            self.made += 1
        except ApiError as refusal:
            if refusal.code not in (403, 404, 409, 422):
                raise

    def space(self) -> str:
        return self.draw.choice(SPACES)

    def make_service(self) -> None:
        """A new one, or another kind in place of the one that is there."""
        space, name = self.space(), self.draw.choice(SERVICES)
        selector = {"selector": {"app": name}} if self.draw.random() < 0.6 else {}
        made = self.draw.choice((
            external(name, space, f"{self.draw.choice('xyz')}.example.com"),
            service(name, space, clusterIP="None", **selector),
            service(name, space, clusterIP="None", publishNotReadyAddresses=True, **selector),
            service(name, space, clusterIP=self.draw.choice(CLUSTER_IPS), **selector),
        ))  # fmt: skip
        self.api.delete("Service", f"{space}/{name}")
        self.api.create(made)

    def remove_service(self) -> None:
        self.api.delete("Service", f"{self.space()}/{self.draw.choice(SERVICES)}")

    def edit_ports(self) -> None:
        names = self.draw.sample(("http", "https", "dns"), self.draw.randint(1, 3))
        ports = [
            {"name": name, "port": 80 + i, "protocol": self.draw.choice(("TCP", "UDP"))} for i, name in enumerate(names)
        ]
        self.api.patch("Service", f"{self.space()}/{self.draw.choice(SERVICES)}", {"spec": {"ports": ports}})

    def label(self) -> None:
        change = {"metadata": {"labels": {"seen": str(self.draw.random())}}}
        self.api.patch("Service", f"{self.space()}/{self.draw.choice(SERVICES)}", change)

    def make_pod(self) -> None:
        key = self.draw.choice(list(PODS))
        space, _, name = key.partition("/")
        labels = {"app": self.draw.choice(SERVICES)}
        spec = {"hostname": f"h-{name}", "subdomain": labels["app"]} if self.draw.random() < 0.4 else {}
        self.api.delete("Pod", key)
        self.api.create(pod(name, space, PODS[key], labels, ready=self.draw.random() < 0.7, **spec))

    def turn_pod(self) -> None:
        key = self.draw.choice(list(PODS))
        status = running(PODS[key], self.draw.random() < 0.5)
        if self.draw.random() < 0.2:
            status["phase"] = "Succeeded"  # it is done, and gives its address back
        self.api.patch_status("Pod", key, status)

    def remove_pod(self) -> None:
        self.api.delete("Pod", self.draw.choice(list(PODS)))

    def write_slice(self) -> None:
        space, name = self.space(), self.draw.choice(SERVICES)
        addresses = self.draw.sample(BY_HAND, self.draw.randint(0, 5))
        made = endpoint_slice(f"hand-{self.draw.randint(0, 3)}", space, name, addresses, self.draw.choice((80, 8080)))
        for i, endpoint in enumerate(made["endpoints"]):
            endpoint["conditions"] = {"ready": self.draw.random() < 0.8}
            if self.draw.random() < 0.3:
                endpoint["hostname"] = f"host-{i}"
        self.api.apply([made])

    def remove_slice(self) -> None:
        self.api.delete("EndpointSlice", f"{self.space()}/hand-{self.draw.randint(0, 3)}")

    def move_slice(self) -> None:
        """It becomes another Service's."""
        labels = {"kubernetes.io/service-name": self.draw.choice(SERVICES)}
        self.api.patch("EndpointSlice", f"{self.space()}/hand-{self.draw.randint(0, 3)}", {"metadata": {"labels": labels}})

    def come_and_go(self) -> None:
        """The last namespace, which has no Pods: those would wait for their kubelet."""
        if self.draw.random() < 0.5:
            self.api.delete("Namespace", SPACES[-1])
        else:
            self.api.apply([namespace(SPACES[-1])])


def names() -> list[str]:
    """All names that could matter."""
    out = [ZONE, f"svc.{ZONE}", f"pod.{ZONE}", f"dns-version.{ZONE}", f"none.{ZONE}"]
    below = ["", "_http._tcp.", "_https._tcp.", "_dns._udp.", "_http._udp.", "_tcp.", "none.", "_none._tcp.", "x.y."]
    below += [f"h-p{n}." for n in range(8)] + [f"host-{n}." for n in range(5)]
    for i, space in enumerate((*SPACES, "changes-none")):
        out += [f"{space}.svc.{ZONE}", f"{space}.pod.{ZONE}"]
        addresses = [ip for key, ip in PODS.items() if key.startswith(space)] + BY_HAND[:: 3 if i else 1]
        dashed = [f"{ip.replace('.', '-')}." for ip in addresses]
        out += [f"{label}{name}.{space}.svc.{ZONE}" for name in SERVICES for label in (*below, *dashed)]
        out += [f"{label}{space}.pod.{ZONE}" for label in dashed]
    out += [reverse(ip) for ip in (*PODS.values(), *BY_HAND, *CLUSTER_IPS)]
    return [*out, "22.172.in-addr.arpa.", "0.23.172.in-addr.arpa.", "90.96.10.in-addr.arpa.", "26.172.in-addr.arpa."]


class Questions:
    """Asks the server over UDP, from one socket and one question at a time."""

    def __init__(self, port: int) -> None:
        self._socket = connected(port)
        self._wires: dict[tuple[str, str], bytes] = {}

    def wire(self, name: str, type: str) -> bytes:
        """The same octets each time, so that the memo has its say."""
        found = self._wires.get((name, type))
        if found is None:
            found = self._wires[name, type] = dns.message.make_query(name, type, use_edns=0, payload=1232, id=7).to_wire()
        return found

    def reply(self, name: str, type: str) -> dns.message.Message:
        return dns.message.from_wire(exchange(self._socket, self.wire(name, type)))

    def close(self) -> None:
        self._socket.close()


def outcome(reply: dns.message.Message) -> tuple[str, ...]:
    """What can be compared: all but the order, the id and the SOA's serial."""
    texts = (str(rrset).partition(" ") for part in (reply.answer, reply.additional) for rrset in part)
    records = sorted(line for one, _, rest in texts for line in f"{one} {rest}".splitlines() if " IN SOA " not in line)
    soa = [f"SOA {rrset.name} {rrset.ttl}" for rrset in reply.authority]
    return (said(reply) if not reply.answer else "", *records, *soa)


def fresh(plane: ControlPlane) -> tuple[Store, list[tuple[str, str]]]:
    """A store from lists, and which versions of which objects it has."""
    store, versions = Store(), []
    kinds = {"services": "Service", "namespaces": "Namespace", "endpointslices": "EndpointSlice", "pods": "Pod"}
    for resource, *_ in resources(Selection(pods=True)):
        for item in plane.api.objects(kinds[resource.name]):
            metadata = item["metadata"]
            versions.append((f"{resource.name}/{metadata.get('namespace')}/{metadata['name']}", metadata["resourceVersion"]))
            store.put(*resource.compact(msgspec.json.decode(json.dumps(item), type=resource.struct)))
    store.synced = True
    return store, versions


def zone_of(store: Store, wire: Callable[[str, str], bytes], asked: list[tuple[str, str]]) -> dict[Any, tuple[str, ...]]:
    """What the store says to each question, without a server or a memo."""
    answers = Answers(store, Schema(ZONES, pods="verified"))
    out = {}
    for name, type in asked:
        query = decode(wire(name, type))
        assert query is not None
        origin = next(zone for zone in ZONES if name.endswith(zone))
        made = encode(query, answers.look(query, origin, 1232), 1232)
        octets = made.turn() if isinstance(made, Ring) else made
        out[name, type] = outcome(dns.message.from_wire(b"\0\7" + octets))
    return out


def quiet_point(plane: ControlPlane, kdns: Kdns, tag: str) -> None:
    """Everything changed until now has been seen: on each watch, what changes last is there."""
    ip, n = f"172.24.{int(tag) >> 8}.{int(tag) & 255}", int(tag)
    plane.api.apply([
        external("marker", "changes-mark", f"m{tag}.example.com"),
        service("marked", "changes-mark", clusterIP="None"),
        endpoint_slice("marker", "changes-mark", "marked", [ip]),
        namespace(f"changes-mark-{n}"),
        pod(f"marker-{n}", "changes-mark", ip, {}),
    ])  # fmt: skip
    dashed = ip.replace(".", "-")
    cases = {
        f"marker.changes-mark.svc.{ZONE}": f"CNAME m{tag}.example.com.", f"marked.changes-mark.svc.{ZONE}": ip,
        f"changes-mark-{n}.svc.{ZONE}": "NODATA", f"{dashed}.changes-mark.pod.{ZONE}": ip,
    }  # fmt: skip
    for name, expected in cases.items():
        kdns.comes_to_say(expected, name)


def whole_zone(plane: ControlPlane, kdns: Kdns, questions: Questions, tags: Iterator[str]) -> int:
    """Compare; how many answers were. Controllers that are still at work make it begin again."""
    asked = [(name, type) for name in names() for type in (TYPES[:3] if "svc" in name else ("A", "PTR"))]
    deadline = time.monotonic() + 30
    versions: list[tuple[str, str]] = []
    while True:
        assert time.monotonic() < deadline, "the control plane does not come to rest"
        store, now = fresh(plane)
        if (before := _but_marks(versions)) == _but_marks(now):
            quiet_point(plane, kdns, next(tags))
            found = {key: outcome(questions.reply(*key)) for key in asked}
            if before == _but_marks(fresh(plane)[1]):
                break
        versions = now
    expected = zone_of(store, questions.wire, asked)
    wrong = {key: (found[key], expected[key]) for key in asked if found[key] != expected[key]}
    assert {} == dict(list(wrong.items())[:5]), f"{len(wrong)} of {len(asked)} (found, expected)"
    return len(asked)


def _but_marks(versions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in versions if "changes-mark" not in pair[0]]


class Counting:
    """A Service whose ports and endpoint count upwards, asked in every way there is: nothing of it may go back."""

    def __init__(self, plane: ControlPlane, questions: Questions) -> None:
        self.api, self.questions = plane.api, questions
        self.n = self.seen = 0
        self.asked = 0
        self.stale: list[str] = []
        self.draw = random.Random(SEED)

    def up(self) -> None:
        self.n += 1
        self.api.apply([endpoint_slice("counting", "changes-mark", "counting", [self.address(self.n)], 1000 + self.n)])

    @staticmethod
    def address(n: int) -> str:
        return f"172.25.{n >> 8}.{n & 255}"

    def look(self) -> None:
        """One question whose answer tells a number, or that a number is over."""
        base = f"counting.changes-mark.svc.{ZONE}"
        name, type = self.draw.choice((
            (base, "A"), (base, "ANY"), (f"_http._tcp.{base}", "SRV"), (base.upper(), "A"), (base, "SRV"),
            (reverse(self.address(self.seen)), "PTR"), (f"{self.address(self.seen).replace('.', '-')}.{base}", "A"),
        ))  # fmt: skip
        before = self.seen
        reply = self.questions.reply(name, type)
        self.asked += 1
        numbers = [n for rrset in reply.answer for rdata in rrset for n in self._numbers(rdata)]
        if any(n < before for n in numbers):
            self.stale.append(f"{name} {type} says {numbers} after {before} was seen")
        self.seen = max([before, *numbers])

    def _numbers(self, rdata: Any) -> list[int]:
        match rdata.rdtype.name:
            case "A":
                return [int(rdata.address.split(".")[2]) << 8 | int(rdata.address.split(".")[3])]
            case "SRV" | "PTR":
                label = rdata.target.labels[0].decode().split("-")
                return [int(label[2]) << 8 | int(label[3])]
        return []


def test_the_whole_zone_is_right_at_each_quiet_point(plane: ControlPlane, own: Kdns) -> None:
    plane.api.apply([namespace(name) for name in (*SPACES, "changes-mark")])
    plane.api.apply([service("counting", "changes-mark", clusterIP="None")])
    changes = Changes(plane, SEED)
    questions, comparing, counted = Questions(own.port), Questions(own.port), Questions(own.port)
    counting = Counting(plane, counted)
    counting.up()
    draw = random.Random(SEED + 1)
    every = names()
    tags = map(str, range(1, 65536))
    asked, failures, end = 0, [], threading.Event()

    def ask() -> None:
        nonlocal asked
        try:
            while not end.is_set():
                for _ in range(10):
                    counting.look()
                name, type = draw.choice(every), draw.choice(TYPES)
                code = questions.reply(name, type).rcode()
                if code not in (0, 3) and not (code == 5 and name.endswith("arpa.")):
                    failures.append(f"{name} {type}: {code}")
                asked += 1
        except Exception as error:
            failures.append(f"{type}: {error!r}")

    points = compared = 0
    deadline = time.monotonic() + SECONDS
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        while time.monotonic() < deadline:
            for _ in range(changes.draw.choice((5, 20, 60, 120))):
                changes.one()
                counting.up()
            compared += whole_zone(plane, own, comparing, tags)
            points += 1
            comes_to(counting.n, lambda: counting.seen)
    finally:
        end.set()
        asking.join()
        for each in (questions, comparing, counted):
            each.close()
    asked += counting.asked
    print(f"{changes.made} changes, {points} quiet points, {compared} answers compared, {asked} asked meanwhile")
    assert [] == failures[:5]
    assert [] == counting.stale[:5]
    assert points >= 2 and changes.made > 50

