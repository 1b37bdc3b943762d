"""What a cluster's controllers make of objects written by hand."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from kdns.cluster.columns import endpoints, hostnames_of
from kdns.cluster.manifests.controllers import cluster_ips, DEFAULT_RANGES, families, ranges
from kdns.cluster.manifests.loading import EVERYTHING, load, Options
from kdns.cluster.objects import (
    Metadata,
    Namespace,
    Pod,
    Port,
    Selection,
    Service,
    ServiceObject,
    ServiceSpec,
    Slice,
    Stored,
)
from kdns.dns import names
from tests.support import TOWN


def kept(tmp_path: Path, text: str, selection: Selection = EVERYTHING, lenient: bool = False) -> list[Stored]:
    """What the store would keep of a manifest."""
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    return load([str(path)], Options(selection, lenient=lenient)).objects


def seen(objects: list[Stored], service: str) -> list[str]:
    """The endpoints of a Service: `10.0.0.1 web-0 http:80/tcp`, one line for each, slice by slice."""
    out = []
    for s in objects:
        if isinstance(s, Slice) and s.service == service:
            ports = " ".join(f"{port.name}:{port.number}/{port.protocol}" for port in s.ports)
            for i, address in enumerate(endpoints(s)):
                out.append(f"{names.unpacked(address)} {(hostnames_of(s)[i] or None) if s.hostnames else None} {ports}".rstrip())
    return out


def ips(objects: list[Stored]) -> dict[str, list[str]]:
    return {o.key: [names.unpacked(ip) for ip in o.ips] for o in objects if isinstance(o, Service)}


# ---------------------------------------------------------------- a whole cluster


def everything(objects: list[Stored]) -> dict[str, object]:
    """All that DNS can see, ClusterIPs aside: whether there are any of a family, not which."""
    out: dict[str, object] = {}
    for o in objects:
        if isinstance(o, Slice):
            of = out.setdefault(f"endpoints of {o.service}", set())
            for i, address in enumerate(endpoints(o)):
                hostname, pod, zone = (column[i] if column else None for column in (hostnames_of(o), o.pods, o.zones))
                of.add((address, hostname, frozenset(o.ports), pod, zone))  # type: ignore[attr-defined]
        elif isinstance(o, Service):
            out[f"Service {o.key}"] = (tuple(map(len, o.ips)), o.ports, o.alias)
        elif isinstance(o, Namespace):
            out[f"Namespace {o.name}"] = o.labels
        elif isinstance(o, Pod):
            out[f"Pod {o.key}"] = o.ips
    return {key: value for key, value in out.items() if value}


def test_town_by_hand_is_as_a_control_plane_made_it() -> None:
    selection = Selection(pods=True, pod_names=True, zones=True)
    by_control_plane = load([str(TOWN / "objects.json")], Options(selection)).objects
    by_hand = load([str(path) for path in sorted(TOWN.glob("*.yaml"))], Options(selection)).objects
    assert everything(by_control_plane) == everything(by_hand)


def test_a_dump_of_a_cluster_is_left_as_it_is(tmp_path: Path) -> None:
    dump = "{kind: Service, metadata: {name: web, namespace: prod, uid: 1-2-3}, spec: {clusterIP: 10.1.2.3}}"
    assert ["prod", "prod/web"] == [o.name if isinstance(o, Namespace) else o.key for o in kept(tmp_path, dump)]


# ---------------------------------------------------------------- Endpoints

ENDPOINTS = """
kind: Endpoints
metadata: {name: web}
subsets:
- addresses: [{ip: 10.0.0.1, hostname: one}, {ip: "fd00::1"}]
  notReadyAddresses: [{ip: 10.0.0.9}]
  ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]
- addresses: [{ip: 10.0.0.2}]
  ports: [{name: http, port: 8080}]
"""
MIRRORED = [
    "10.0.0.1 one http:80/tcp dns:53/udp",
    "fd00::1 None http:80/tcp dns:53/udp",
    "10.0.0.2 None http:8080/tcp",
]
OWN_SLICE = """---
kind: EndpointSlice
metadata: {name: own, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.9.9.9]}]
"""

MIRRORING = [
    ("no selector", "kind: Service\nmetadata: {name: web}\n---" + ENDPOINTS, MIRRORED),
    ("a selector", "kind: Service\nmetadata: {name: web}\nspec: {selector: {a: b}}\n---" + ENDPOINTS, []),
    ("no Service", ENDPOINTS, []),
    ("slices win", "kind: Service\nmetadata: {name: web}\n---" + ENDPOINTS + OWN_SLICE, ["10.9.9.9 None"]),
    (
        "on purpose not",
        "kind: Service\nmetadata: {name: web}\n---"
        + ENDPOINTS.replace("{name: web}", '{name: web, labels: {endpointslice.kubernetes.io/skip-mirror: "true"}}'),
        [],
    ),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in MIRRORING], ids=[case[0] for case in MIRRORING])
def test_mirroring(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert expected == seen(kept(tmp_path, text), "default/web")


def test_unready_endpoints_count(tmp_path: Path) -> None:
    objects = kept(tmp_path, "kind: Service\nmetadata: {name: web}\n---" + ENDPOINTS)
    assert [2, 1, 1] == [s.total for s in objects if isinstance(s, Slice)]


# ---------------------------------------------------------------- selector and Pods


def pod(name: str, ip: str = "10.0.0.1", spec: str = "", status: str = "", ready: str = "True", metadata: str = "") -> str:
    return (
        f'---\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web, x: "1"}}{metadata}}}\nspec: {{nodeName: a{spec}}}\n'
        f'status: {{podIP: "{ip}", conditions: [{{type: Ready, status: "{ready}"}}]{status}}}\n'
    )


def service(spec: str = "", name: str = "web") -> str:
    return f"kind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: web}}{spec}}}\n"


ONE = ", ports: [{name: http, port: 80}]"
NAMED = ", ports: [{name: http, port: 80, targetPort: web}, {name: other, port: 81, targetPort: 8081}]"
DUAL = ', podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]'
CONTAINER = ", containers: [{ports: [{name: web, containerPort: 8080}]}]"

SELECTING = [
    ("ready", service(ONE) + pod("a"), ["10.0.0.1 None http:80/tcp"]),
    ("not ready", service(ONE) + pod("a", ready="False"), []),
    ("no condition", service(ONE) + pod("a").replace("Ready", "Started"), []),
    ("published", service(ONE + ", publishNotReadyAddresses: true") + pod("a", ready="False"),
     ["10.0.0.1 None http:80/tcp"]),
    ("no address", service(ONE) + pod("a", ip=""), []),
    ("finished", service(ONE) + pod("a", status=", phase: Succeeded"), []),
    ("failed", service(ONE + ", publishNotReadyAddresses: true") + pod("a", status=", phase: Failed"), []),
    ("terminating", service(ONE) + pod("a", metadata=", deletionTimestamp: 2026-01-01T00:00:00Z"), []),
    (
        "terminating, published",
        service(ONE + ", publishNotReadyAddresses: true") + pod("a", metadata=", deletionTimestamp: 2026-01-01T00:00:00Z"),
        ["10.0.0.1 None http:80/tcp"],
    ),
    ("hostname", service(ONE) + pod("a", spec=", hostname: a-0, subdomain: web"), ["10.0.0.1 a-0 http:80/tcp"]),
    ("another's hostname", service(ONE) + pod("a", spec=", hostname: a-0, subdomain: db"), ["10.0.0.1 None http:80/tcp"]),
    ("another label", service(ONE).replace("app: web", "app: db") + pod("a"), []),
    ("two labels", service(ONE).replace("{app: web}", '{app: web, x: "1"}') + pod("a"), ["10.0.0.1 None http:80/tcp"]),
    ("two labels, one other", service(ONE).replace("{app: web}", '{app: web, x: "2"}') + pod("a"), []),
    ("another namespace", service(ONE) + pod("a", metadata=", namespace: prod"), []),
    ("number", service(", ports: [{port: 80, targetPort: 8080}]") + pod("a"), ["10.0.0.1 None :8080/tcp"]),
    (
        "named port",
        service(NAMED) + pod("a", spec=CONTAINER) + pod("b", ip="10.0.0.2"),
        ["10.0.0.1 None http:8080/tcp other:8081/tcp", "10.0.0.2 None other:8081/tcp"],
    ),
    ("no ports", service(", clusterIP: None") + pod("a"), ["10.0.0.1 None"]),
    ("main family", service(ONE) + pod("a", status=DUAL), ["10.0.0.1 None http:80/tcp"]),
    (
        "both families",
        service(ONE + ", ipFamilyPolicy: PreferDualStack") + pod("a", status=DUAL),
        ["10.0.0.1 None http:80/tcp", "fd00::1 None http:80/tcp"],
    ),
    ("IPv6", service(ONE + ", ipFamilies: [IPv6]") + pod("a", status=DUAL), ["fd00::1 None http:80/tcp"]),
    ("IPv6 by address", service(ONE + ', clusterIP: "fd00:96::5"') + pod("a", status=DUAL), ["fd00::1 None http:80/tcp"]),
    ("later wins", service(ONE) + pod("a") + pod("b", ip="10.0.0.2") + pod("a", ip="10.0.0.3"),
     ["10.0.0.2 None http:80/tcp", "10.0.0.3 None http:80/tcp"]),
    ("own slices", service(ONE) + pod("a") + OWN_SLICE, ["10.9.9.9 None"]),
    ("alias", service(", type: ExternalName, externalName: example.org") + pod("a"), []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in SELECTING], ids=[case[0] for case in SELECTING])
def test_selecting(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert expected == seen(kept(tmp_path, text, lenient=True), "default/web")


def test_pods_and_zones_of_endpoints(tmp_path: Path) -> None:
    node = "---\nkind: Node\nmetadata: {name: a, labels: {topology.kubernetes.io/zone: zone-a}}\n"
    text = service(ONE) + pod("web-1") + node
    selection = Selection(pods=True, pod_names=True, zones=True)
    found = [(s.pods, s.zones) for s in kept(tmp_path, text, selection) if isinstance(s, Slice)]
    assert [(("web-1",), ("zone-a",))] == found


LABELLED = (
    "kind: Service\nmetadata: {name: web, labels: {env: prod}}\nspec: {clusterIP: None, selector: {app: web}}\n"
    "---\nkind: Service\nmetadata: {name: db, labels: {env: dev}}\nspec: {clusterIP: None, selector: {app: web}}\n"
    + pod("a")
)


def test_labels_select_services_slices_and_pods_but_no_namespaces(tmp_path: Path) -> None:
    """A slice has the labels of what it was made from, as the controllers copy them."""
    objects = kept(tmp_path, LABELLED, Selection(pods=True, labels="env=prod"))
    assert ["default/web"] == [o.key for o in objects if isinstance(o, Service)]
    assert ["default/web"] == [o.service for o in objects if isinstance(o, Slice)]
    assert [] == [o for o in objects if isinstance(o, Pod)]
    assert "default" in [o.name for o in objects if isinstance(o, Namespace)]


# ---------------------------------------------------------------- ClusterIPs


def made(name: str, **spec: object) -> ServiceObject:
    namespace, name = name.split("/")
    return ServiceObject(Metadata(name=name, namespace=namespace), ServiceSpec(**spec))  # type: ignore[arg-type]


FAMILIES: list[tuple[dict[str, object], tuple[str, ...]]] = [
    ({}, ("IPv4",)),
    ({"ipFamilies": ("IPv6",)}, ("IPv6",)),
    ({"ipFamilies": ("IPv6", "IPv4")}, ("IPv6", "IPv4")),
    ({"ipFamilyPolicy": "SingleStack"}, ("IPv4",)),
    ({"ipFamilyPolicy": "RequireDualStack"}, ("IPv4", "IPv6")),
    ({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ("IPv6",)}, ("IPv6", "IPv4")),
    ({"clusterIP": "fd00:96::1"}, ("IPv6",)),
    ({"clusterIP": "fd00:96::1", "ipFamilyPolicy": "PreferDualStack"}, ("IPv6", "IPv4")),
    ({"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"}, ("IPv4", "IPv6")),
]


@pytest.mark.parametrize(("spec", "expected"), FAMILIES)
def test_families(spec: dict[str, object], expected: tuple[str, ...]) -> None:
    assert expected == families(made("prod/web", **spec), DEFAULT_RANGES)


def test_no_second_family_without_a_range() -> None:
    assert ("IPv4",) == families(made("prod/web", ipFamilyPolicy="PreferDualStack"), ranges("10.0.0.0/16"))


def test_who_gets_a_cluster_ip(tmp_path: Path) -> None:
    text = """
    {kind: List, items: [
      {kind: Service, metadata: {name: plain}},
      {kind: Service, metadata: {name: empty}, spec: {clusterIP: ""}},
      {kind: Service, metadata: {name: unset}, spec: {clusterIP: null}},
      {kind: Service, metadata: {name: node}, spec: {type: NodePort}},
      {kind: Service, metadata: {name: balanced}, spec: {type: LoadBalancer}},
      {kind: Service, metadata: {name: both}, spec: {ipFamilyPolicy: RequireDualStack}},
      {kind: Service, metadata: {name: six-first}, spec: {ipFamilies: [IPv6, IPv4]}},
      {kind: Service, metadata: {name: half}, spec: {clusterIP: 10.96.3.3, ipFamilyPolicy: PreferDualStack}},
      {kind: Service, metadata: {name: own}, spec: {clusterIP: 172.16.0.1}},
      {kind: Service, metadata: {name: headless}, spec: {clusterIP: None}},
      {kind: Service, metadata: {name: alias}, spec: {type: ExternalName, externalName: example.org}},
      {kind: Service, metadata: {name: kube-dns, namespace: kube-system}},
    ]}
    """
    found = ips(kept(tmp_path, text))
    for name in ("plain", "empty", "unset", "node", "balanced", "both"):
        assert ip_address(found[f"default/{name}"][0]) in DEFAULT_RANGES[0]
    assert ip_address(found["default/both"][1]) in DEFAULT_RANGES[1]
    assert [6, 4] == [ip_address(ip).version for ip in found["default/six-first"]]
    assert "10.96.3.3" == found["default/half"][0] and ip_address(found["default/half"][1]) in DEFAULT_RANGES[1]
    assert ["172.16.0.1"] == found["default/own"]
    assert [] == found["default/headless"] == found["default/alias"]
    assert ["10.96.0.1"] == found["default/kubernetes"]
    assert ["10.96.0.10"] == found["kube-system/kube-dns"]


def test_the_same_name_has_the_same_address_whoever_else_comes() -> None:
    alone = cluster_ips([made("prod/web")], DEFAULT_RANGES)
    among = cluster_ips([made(f"prod/s{i}") for i in range(100)] + [made("prod/web")], DEFAULT_RANGES)
    assert alone["prod/web"] == among["prod/web"]
    assert 101 == len(set(among.values()))


def test_an_address_that_is_taken_is_not_allocated() -> None:
    (address,) = cluster_ips([made("prod/web")], DEFAULT_RANGES)["prod/web"]
    given = made("zoo/other", clusterIP=address)
    assert address not in cluster_ips([made("prod/web"), given], DEFAULT_RANGES)["prod/web"]
    assert address not in cluster_ips([made("prod/web")], DEFAULT_RANGES, [names.packed(address)])["prod/web"]


def test_a_range_is_used_up_to_the_last_address() -> None:
    """/28: neither network nor broadcast address, nor those of kubernetes and kube-dns."""
    small = ranges("10.0.0.0/28")
    services = [made(f"prod/s{i}") for i in range(12)]
    found = cluster_ips(services, small)
    assert {f"10.0.0.{i}" for i in (2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14)} == {ip for one in found.values() for ip in one}
    with pytest.raises(ValueError) as raised:
        cluster_ips([*services, made("prod/zz")], small)
    assert "Service prod/zz gets no ClusterIP: 10.0.0.0/28 is full" == str(raised.value)


def test_a_family_without_a_range() -> None:
    with pytest.raises(ValueError) as raised:
        cluster_ips([made("prod/web", ipFamilies=("IPv6",))], ranges("10.0.0.0/28"))
    assert "Service prod/web wants an IPv6 ClusterIP, and there is no range of IPv6" == str(raised.value)


# ---------------------------------------------------------------- namespaces


def test_namespaces_come_into_being(tmp_path: Path) -> None:
    text = "kind: Service\nmetadata: {name: web, namespace: prod}\n---\nkind: Service\nmetadata: {name: a}\n"
    objects = kept(tmp_path, text)
    found = {o.name: dict(o.labels) for o in objects if isinstance(o, Namespace)}
    assert {"default", "kube-node-lease", "kube-public", "kube-system", "prod"} == set(found)
    assert {"kubernetes.io/metadata.name": "prod"} == found["prod"]
    assert [Port("https", 443, "tcp")] == [p for o in objects if isinstance(o, Service) for p in o.ports]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), {"p/web": 1, "q/web": 1}),
        (Selection(namespaces=("p",)), {"p/web": 1}),
        (Selection(endpoints=False), {"p/web": 0, "q/web": 0}),
    ],
)
def test_what_is_not_selected_is_not_kept(tmp_path: Path, selection: Selection, expected: dict[str, int]) -> None:
    each = "---\n" + service(ONE) + pod("a")
    text = "".join(each.replace("metadata: {", f"metadata: {{namespace: {n}, ") for n in ("p", "q"))
    every = kept(tmp_path, text, selection)
    services = [o.key for o in every if isinstance(o, Service) and o.key.endswith("/web")]
    assert expected == {key: sum(isinstance(o, Slice) and o.service == key for o in every) for key in services}
    assert {"p", "q"} <= {o.name for o in every if isinstance(o, Namespace)}
