"""Workloads name the Pods that their controllers would make."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from kdns.cluster.columns import endpoints, hostnames_of
from kdns.cluster.manifests.controllers import free_address, ranges
from kdns.cluster.manifests.loading import load, Options
from kdns.cluster.objects import Pod, Selection, Service, Slice, Stored
from kdns.dns import names
from kdns.errors import ManifestError


def made(tmp_path: Path, text: str, **options: object) -> list[Stored]:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    return load([str(path)], Options(**options)).objects  # type: ignore[arg-type]


def pods(objects: list[Stored]) -> dict[str, list[str]]:
    """Addresses by name."""
    return {o.key.partition("/")[2]: [names.unpacked(ip) for ip in o.ips] for o in objects if isinstance(o, Pod)}


def hostnames(objects: list[Stored], service: str) -> set[str]:
    return {one for o in objects if isinstance(o, Slice) and o.service == service for one in hostnames_of(o)}


def workload(kind: str, name: str = "db", spec: str = "", template: str = "", metadata: str = "") -> str:
    version = "batch/v1" if kind == "Job" else "apps/v1"
    return (
        f"---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: prod{metadata}}}\nspec:\n"
        f"  selector: {{matchLabels: {{app: {name}}}}}\n"
        f"  template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: c}}]{template}}}}}\n{spec}"
    )


SERVICE = "---\nkind: Service\nmetadata: {name: db, namespace: prod}\nspec: {clusterIP: None, selector: {app: db}}\n"
BY_HAND = "---\nkind: Pod\nmetadata: {name: NAME, namespace: prod, labels: {app: db}}\nspec: {}\nstatus: {podIP: 10.9.9.9}\n"
NODES = "".join(f"---\nkind: Node\nmetadata: {{name: n{i}, labels: {{topology.kubernetes.io/zone: z{i}}}}}\n" for i in range(3))
LETTERS = "[bcdfghjklmnpqrstvwxz2456789]"

NAMES: list[tuple[str, list[str]]] = [
    (workload("StatefulSet", spec="  replicas: 3\n  serviceName: db\n"), ["db-0", "db-1", "db-2"]),
    (workload("StatefulSet"), ["db-0"]),
    (workload("StatefulSet", spec="  replicas: 2\n  ordinals: {start: 5}\n"), ["db-5", "db-6"]),
    (workload("StatefulSet", spec="  replicas: 0\n"), []),
    (workload("Deployment", spec="  replicas: 2\n"), [f"db-{LETTERS}{{10}}-{LETTERS}{{5}}"] * 2),
    (workload("Deployment", name="d" * 80), [f"d{{57}}-{LETTERS}{{5}}"]),
    (workload("ReplicaSet", spec="  replicas: 2\n"), [f"db-{LETTERS}{{5}}"] * 2),
    (workload("DaemonSet"), [f"db-{LETTERS}{{5}}"]),
    (NODES + workload("DaemonSet"), [f"db-{LETTERS}{{5}}"] * 3),
    (workload("Job"), [f"db-{LETTERS}{{5}}"]),
    (workload("Job", spec="  parallelism: 3\n  completions: 2\n"), [f"db-{LETTERS}{{5}}"] * 2),
    (workload("Job", spec="  parallelism: 2\n  completionMode: Indexed\n  completions: 5\n"),
     [f"db-0-{LETTERS}{{5}}", f"db-1-{LETTERS}{{5}}"]),
    (workload("Job", spec="  suspend: true\n"), []),
    (workload("StatefulSet", metadata=", uid: 1-2-3"), []),  # of a dump, which has its Pods
    # what is there by hand
    (workload("StatefulSet", spec="  replicas: 2\n") + BY_HAND.replace("NAME", "db-1"), ["db-0", "db-1"]),
    (workload("Deployment", spec="  replicas: 2\n") + BY_HAND.replace("NAME", "mine"), [f"db-.{{10}}-{LETTERS}{{5}}", "mine"]),
    (workload("Deployment") + BY_HAND.replace("NAME", "mine"), ["mine"]),
    (workload("Deployment") + BY_HAND.replace("NAME", "mine").replace("app: db", "app: x"), ["db-.*", "mine"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), NAMES)
def test_names(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = sorted(pods(made(tmp_path, text)))
    assert len(expected) == len(found)
    assert all(re.fullmatch(pattern, name) for pattern, name in zip(expected, found, strict=True)), found


def test_a_pod_by_hand_keeps_its_address(tmp_path: Path) -> None:
    found = pods(made(tmp_path, workload("StatefulSet", spec="  replicas: 2\n") + BY_HAND.replace("NAME", "db-1")))
    assert ["10.9.9.9"] == found["db-1"]


def test_a_stateful_set_behind_a_headless_service(tmp_path: Path) -> None:
    objects = made(tmp_path, SERVICE + workload("StatefulSet", spec="  replicas: 2\n  serviceName: db\n"))
    assert {"db-0", "db-1"} == hostnames(objects, "prod/db")
    addresses = {names.unpacked(ip) for o in objects if isinstance(o, Slice) for ip in endpoints(o)}
    assert {ips[0] for ips in pods(objects).values()} == addresses


def test_another_subdomain_has_no_hostnames(tmp_path: Path) -> None:
    assert set() == hostnames(made(tmp_path, SERVICE + workload("StatefulSet", spec="  serviceName: other\n")), "prod/db")


def test_a_service_of_one_pod_of_a_stateful_set(tmp_path: Path) -> None:
    one = SERVICE.replace("{app: db}", "{statefulset.kubernetes.io/pod-name: db-1}")
    objects = made(tmp_path, one + workload("StatefulSet", spec="  replicas: 3\n"))
    [found] = [o for o in objects if isinstance(o, Slice)]
    assert [pods(objects)["db-1"][0]] == [names.unpacked(ip) for ip in endpoints(found)]


def test_a_service_of_two_families(tmp_path: Path) -> None:
    dual = SERVICE.replace("clusterIP: None", "clusterIP: None, ipFamilyPolicy: RequireDualStack")
    objects = made(tmp_path, dual + workload("StatefulSet", spec="  serviceName: db\n"))
    assert {4, 16} == {o.width for o in objects if isinstance(o, Slice)}


def test_pods_are_spread_over_nodes_and_so_over_zones(tmp_path: Path) -> None:
    selection = Selection(pods=True, zones=True)
    text = NODES + SERVICE + workload("StatefulSet", spec="  replicas: 30\n")
    [found] = [o for o in made(tmp_path, text, selection=selection) if isinstance(o, Slice)]
    assert {"z0", "z1", "z2"} == set(found.zones or ())


def test_addresses_follow_from_names_and_from_nothing_else(tmp_path: Path) -> None:
    alone = pods(made(tmp_path, workload("StatefulSet", spec="  replicas: 3\n")))
    among = pods(made(tmp_path, workload("Deployment", name="a", spec="  replicas: 50\n") + NODES
                      + workload("StatefulSet", spec="  replicas: 5\n")))  # fmt: skip
    assert alone == {name: ips for name, ips in among.items() if name in alone}
    every = [ip for ips in among.values() for ip in ips]
    assert len(set(every)) == len(every) == 110
    networks = [ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/64")]
    assert all(any(ip_address(ip) in network for network in networks) for ip in every)


def test_addresses_of_a_range_that_is_asked_for(tmp_path: Path) -> None:
    objects = made(tmp_path, workload("StatefulSet", spec="  replicas: 3\n"), pod_ips=ranges("127.1.0.0/16"))
    assert all(len(ips) == 1 and ip_address(ips[0]) in ip_network("127.1.0.0/16") for ips in pods(objects).values())


def test_an_address_that_is_taken_is_not_given_again(tmp_path: Path) -> None:
    text = workload("StatefulSet")
    [address] = pods(made(tmp_path, text, pod_ips=ranges("10.244.0.0/16")))["db-0"]
    others = BY_HAND.replace("NAME", "x").replace("10.9.9.9", address).replace("app: db", "app: x")
    service = f"---\nkind: Service\nmetadata: {{name: s}}\nspec: {{clusterIP: {address}}}\n"
    for other in (others, service):
        assert [address] != pods(made(tmp_path, text + other, pod_ips=ranges("10.244.0.0/16")))["db-0"]


def test_cluster_ips_are_none_of_pods(tmp_path: Path) -> None:
    """One range for both: each address once."""
    same = ranges("10.0.0.0/27")
    service = "".join(f"---\nkind: Service\nmetadata: {{name: s{i}}}\n" for i in range(10))
    objects = made(tmp_path, service + workload("StatefulSet", spec="  replicas: 15\n"), pod_ips=same, cluster_ips=same)
    every = [ip for o in objects if isinstance(o, Service | Pod) for ip in o.ips]
    assert 26 == len(every) == len(set(every))


def test_a_full_range_is_said(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as raised:
        made(tmp_path, workload("StatefulSet", spec="  replicas: 3\n"), pod_ips=ranges("10.0.0.0/30"))
    assert f"{tmp_path}/a.yaml: Pod prod/db-2 gets no address: 10.0.0.0/30 is full" == str(raised.value)


def test_an_address_of_a_range_that_is_nearly_full_is_found_soon() -> None:
    tried = [0]

    class Counted(set[bytes]):
        def __contains__(self, address: object) -> bool:
            tried[0] += 1
            return super().__contains__(address)

    used, network = Counted(), ranges("10.0.0.0/20")[0]
    for i in range(4000):
        assert free_address(f"Pod {i}", network, used) is not None
    assert tried[0] < 20 * 4000


