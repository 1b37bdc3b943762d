"""The names that Kubernetes' own end-to-end tests of DNS look up, conformance among them, and its changes of Services.

They are asked as there: over UDP and TCP, with a Pod's search path.
"""

import dns.name
import dns.resolver
import pytest

from tests.support.control_plane.plane import ControlPlane
from tests.support.processes import comes_to, endpoint_slice, external, Kdns, namespace, pod, reverse, running, service, ZONE


def resolver(kdns: Kdns, space: str) -> dns.resolver.Resolver:
    """As in a Pod of that namespace."""
    found = dns.resolver.Resolver(configure=False)
    found.nameservers, found.port = ["127.0.0.1"], kdns.port
    found.search = [dns.name.from_text(name) for name in (f"{space}.svc.{ZONE}", f"svc.{ZONE}", ZONE)]
    found.ndots = 5
    return found


def headless(name: str, space: str, **spec: object) -> dict[str, object]:
    return service(name, space, clusterIP="None", selector={"dns-test": "true"}, **spec)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_the_api_servers_own_service(kdns: Kdns, tcp: bool) -> None:
    asks = resolver(kdns, "default")
    for name in ("kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{ZONE}"):
        assert ["10.96.0.1"] == [rdata.address for rdata in asks.resolve(name, "A", tcp=tcp, search=True)]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_services_and_their_ports(plane: ControlPlane, kdns: Kdns, tcp: bool) -> None:
    space, ip = f"services-{tcp}".lower(), f"10.96.78.{1 + tcp}"
    address = f"172.20.0.{1 + tcp}"
    label = address.replace(".", "-")
    plane.api.apply([
        namespace(space), headless("dns-test-service", space),
        service("test-service-2", space, clusterIP=ip, selector={"dns-test": "true"}),
        pod("dns-test-1", space, address, {"dns-test": "true"}),
    ])  # fmt: skip
    cases = {
        ("dns-test-service", "A"): address,
        ("_http._tcp.dns-test-service", "SRV"): f"0 100 80 {label}.dns-test-service.{space}.svc.{ZONE}",
        ("test-service-2", "A"): ip,
        ("_http._tcp.test-service-2", "SRV"): f"0 100 80 test-service-2.{space}.svc.{ZONE}",
    }
    kdns.comes_to_say(address, f"dns-test-service.{space}.svc.{ZONE}")
    asks = resolver(kdns, space)
    for (name, type), expected in cases.items():
        for asked in (name, f"{name}.{space}", f"{name}.{space}.svc", f"{name}.{space}.svc.{ZONE}"):
            assert [expected] == [rdata.to_text() for rdata in asks.resolve(asked, type, tcp=tcp, search=True)]
    assert f"test-service-2.{space}.svc.{ZONE}" == kdns.says(reverse(ip), "PTR", tcp=tcp)
    both = ", ".join(f"{label}.{name}.{space}.svc.{ZONE}" for name in ("dns-test-service", "test-service-2"))
    comes_to(both, lambda: kdns.says(reverse(address), "PTR", tcp=tcp))


def test_hostname_and_subdomain_of_a_pod(plane: ControlPlane, kdns: Kdns, space: str) -> None:
    plane.api.apply([
        headless("dns-test-service-2", space),
        pod("querier", space, "172.20.1.1", {"dns-test": "true"}, hostname="dns-querier-2", subdomain="dns-test-service-2"),
    ])  # fmt: skip
    name = f"dns-querier-2.dns-test-service-2.{space}.svc.{ZONE}"
    kdns.comes_to_say("172.20.1.1", name)
    assert name == kdns.says(reverse("172.20.1.1"), "PTR")
    plane.api.delete("Pod", f"{space}/querier")
    kdns.comes_to_say("NXDOMAIN", name)
    assert "NXDOMAIN" == kdns.says(f"dns-test-service-2.{space}.svc.{ZONE}")
    assert "REFUSED" == kdns.says(reverse("172.20.1.1"), "PTR")


def test_an_external_name_is_edited_and_becomes_a_cluster_ip(plane: ControlPlane, kdns: Kdns, space: str) -> None:
    name = f"dns-test-service-3.{space}.svc.{ZONE}"
    assert "NXDOMAIN" == kdns.says(name)
    plane.api.apply([external("dns-test-service-3", space, "foo.example.com")])
    kdns.comes_to_say("CNAME foo.example.com.", name, "CNAME")
    plane.api.patch("Service", f"{space}/dns-test-service-3", {"spec": {"externalName": "bar.example.com"}})
    kdns.comes_to_say("CNAME bar.example.com.", name, "CNAME")
    assert "CNAME bar.example.com." == kdns.says(name)
    plane.api.patch("Service", f"{space}/dns-test-service-3", {
        "spec": {"type": "ClusterIP", "externalName": None, "clusterIP": "10.96.77.2"},
    })  # fmt: skip
    kdns.comes_to_say("10.96.77.2", name)
    assert "NODATA" == kdns.says(name, "CNAME")


def test_an_external_name_into_the_cluster(plane: ControlPlane, kdns: Kdns, space: str) -> None:
    name, target = f"alias.{space}.svc.{ZONE}", f"web.{space}.svc.{ZONE}"
    plane.api.apply([external("alias", space, target.rstrip("."))])
    kdns.comes_to_say(f"CNAME {target} -> NXDOMAIN", name)
    plane.api.apply([service("web", space, clusterIP="10.96.77.3")])
    kdns.comes_to_say(f"CNAME {target} -> 10.96.77.3", name)
    plane.api.delete("Service", f"{space}/web")
    kdns.comes_to_say(f"CNAME {target} -> NXDOMAIN", name)


def test_a_name_that_starts_with_a_digit(plane: ControlPlane, kdns: Kdns, space: str) -> None:
    """Newer servers allow it (RFC 1123); the validation of this one does not, so it goes into etcd past it."""
    plane.load([service("1kubernetes", space, clusterIP="10.96.77.4", type="ClusterIP")])
    name = f"1kubernetes.{space}.svc.{ZONE}"
    kdns.comes_to_say("10.96.77.4", name)
    assert f"0 100 80 {name}" == kdns.says(f"_http._tcp.{name}", "SRV")
    assert name == kdns.says(reverse("10.96.77.4"), "PTR")


def test_readiness(plane: ControlPlane, kdns: Kdns, space: str) -> None:
    name = f"ready.{space}.svc.{ZONE}"
    plane.api.apply([
        service("ready", space, clusterIP="None", selector={"app": "ready"}),
        service("all", space, clusterIP="None", selector={"app": "ready"}, publishNotReadyAddresses=True),
        pod("a", space, "172.20.2.1", {"app": "ready"}), pod("b", space, "172.20.2.2", {"app": "ready"}, ready=False),
    ])  # fmt: skip
    for b, expected in ((False, "172.20.2.1"), (True, "172.20.2.1, 172.20.2.2"), (False, "172.20.2.1")):
        plane.api.patch_status("Pod", f"{space}/b", running("172.20.2.2", b))
        kdns.comes_to_say(expected, name)
    kdns.comes_to_say("172.20.2.1, 172.20.2.2", f"all.{space}.svc.{ZONE}")
    assert "NXDOMAIN" == kdns.says(f"172-20-2-2.ready.{space}.svc.{ZONE}")


def test_scale_from_none_to_five_and_back(plane: ControlPlane, kdns: Kdns, space: str) -> None:
    name = f"scaled.{space}.svc.{ZONE}"
    plane.api.apply([service("scaled", space, clusterIP="None", selector={"app": "scaled"})])
    assert "NXDOMAIN" == kdns.says(name)
    ips = [f"172.20.3.{n}" for n in range(1, 6)]
    for n, ip in enumerate(ips, 1):
        plane.api.apply([pod(f"scaled-{n}", space, ip, {"app": "scaled"})])
        kdns.comes_to_say(", ".join(ips[:n]), name)
        ports = ", ".join(f"0 {100 // n} 80 {each.replace('.', '-')}.{name}" for each in ips[:n])
        assert ports == kdns.says(f"_http._tcp.{name}", "SRV")
    for n in range(5, 0, -1):
        plane.api.delete("Pod", f"{space}/scaled-{n}")
        kdns.comes_to_say(", ".join(ips[: n - 1]) or "NXDOMAIN", name)
        assert "REFUSED" == kdns.says(reverse(ips[n - 1]), "PTR")


def test_a_service_deleted_and_made_again_under_the_same_name(plane: ControlPlane, kdns: Kdns, space: str) -> None:
    name = f"again.{space}.svc.{ZONE}"
    kinds = [
        (service("again", space, clusterIP="10.96.77.10"), "10.96.77.10"),
        (service("again", space, clusterIP="10.96.77.11"), "10.96.77.11"),
        (external("again", space, "example.com"), "CNAME example.com."),
        (service("again", space, clusterIP="None"), "172.20.4.1"),
        (service("again", space, clusterIP="10.96.77.10"), "10.96.77.10"),
    ]
    plane.api.apply([endpoint_slice("again-1", space, "again", ["172.20.4.1"])])
    for made, expected in kinds:
        plane.api.apply([made])
        kdns.comes_to_say(expected, name)
        for ip in ("10.96.77.10", "10.96.77.11"):
            assert (name if ip == expected else "REFUSED") == kdns.says(reverse(ip), "PTR")
        plane.api.delete("Service", f"{space}/again")
        kdns.comes_to_say("NXDOMAIN", name)


def test_a_namespace_is_deleted(plane: ControlPlane, kdns: Kdns) -> None:
    names = {
        "leaving.svc": ("NODATA", "NXDOMAIN"),
        "leaving.pod": ("NODATA", "NXDOMAIN"),
        "172-20-5-9.leaving.pod": ("172.20.5.9", "NXDOMAIN"),
        "web.leaving.svc": ("10.96.77.20", "NXDOMAIN"),
        "manual.leaving.svc": ("172.20.5.1", "NXDOMAIN"),
        "172-20-5-1.manual.leaving.svc": ("172.20.5.1", "NXDOMAIN"),
        "alias.leaving.svc": ("CNAME example.com.", "NXDOMAIN"),
    }
    before, after = ({name: pair[i] for name, pair in names.items()} for i in (0, 1))

    def found() -> dict[str, str]:
        return {name: kdns.says(f"{name}.{ZONE}") for name in names}

    assert after == found()
    plane.api.apply([
        namespace("leaving"), service("web", "leaving", clusterIP="10.96.77.20"),
        external("alias", "leaving", "example.com"),
        service("manual", "leaving", clusterIP="None"), endpoint_slice("manual-1", "leaving", "manual", ["172.20.5.1"]),
    ])  # fmt: skip
    comes_to(before, found)
    plane.api.remove_namespace("leaving")
    comes_to(after, found)
