"""The Corefile is replaced while a real cluster is served: what is known stays known, and nobody goes unanswered."""

import signal
from pathlib import Path

from tests.config.test_corefile import KUBEADM
from tests.support.control_plane.plane import ControlPlane
from tests.support.processes import Asking, CLUSTER, comes_to, Kdns, namespace, reverse, service, ZONE

STUB = """
acme.local:$port {
    bind 127.0.0.1
    forward . 127.0.0.1:$upstream
}
"""
UPSTREAM = """
.:$port {
    bind 127.0.0.1
    kubernetes acme.local in-addr.arpa {
        manifests $manifest
    }
}
"""
MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: name, namespace: dns}
spec: {clusterIP: 192.0.2.123, ports: [{port: 80}]}
"""


def test_a_reload_keeps_the_watches(plane: ControlPlane, tmp_path: Path, space: str) -> None:
    name = f"web.{space}.svc.{ZONE}"
    plane.api.apply([service("web", space, clusterIP="10.96.91.1")])
    with Kdns(CLUSTER, tmp_path, kubeconfig=plane.kubeconfig("dns")) as kdns:
        kdns.comes_to_say("10.96.91.1", name)
        requests = kdns.metric("coredns_kubernetes_rest_client_requests_total")
        assert requests >= 3
        with Asking(kdns, {name: {"10.96.91.1"}, f"none.{ZONE}": {"NXDOMAIN"}}) as asking:
            for ttl in (7, 8, 9):
                kdns.write(CLUSTER.replace("ttl 30", f"ttl {ttl}"))
                kdns.signal(signal.SIGUSR1)
                comes_to(ttl, lambda: kdns.ask(name).answer[0].ttl)
        assert [] == asking.wrong
        assert requests == kdns.metric("coredns_kubernetes_rest_client_requests_total")
        plane.api.delete("Service", f"{space}/web")
        kdns.comes_to_say("NXDOMAIN", name)


def test_a_reload_that_selects_something_else_lists_it_first(plane: ControlPlane, tmp_path: Path, space: str) -> None:
    """Until the new objects are known the server before answers on."""
    plane.api.apply([service("web", space, clusterIP="10.96.91.2"), namespace("corefile-other")])
    plane.api.apply([service("web", "corefile-other", clusterIP="10.96.91.3")])
    name, other = f"web.{space}.svc.{ZONE}", f"web.corefile-other.svc.{ZONE}"
    with Kdns(CLUSTER, tmp_path, kubeconfig=plane.kubeconfig("dns")) as kdns:
        kdns.comes_to_say("10.96.91.3", other)
        with Asking(kdns, {name: {"10.96.91.2"}}) as asking:
            kdns.write(CLUSTER.replace("pods insecure", f"pods verified\n        namespaces {space}"))
            kdns.signal(signal.SIGUSR1)
            kdns.comes_to_say("NXDOMAIN", other)
            kdns.write(CLUSTER)
            kdns.signal(signal.SIGUSR1)
            kdns.comes_to_say("10.96.91.3", other)
        assert [] == asking.wrong


def test_a_stub_domain_and_reverse_names_are_an_upstreams(plane: ControlPlane, tmp_path: Path, space: str) -> None:
    """Exactly what the upstream says; an ExternalName into it is followed."""
    above = tmp_path / "above"
    above.mkdir()
    (tmp_path / "upstream.yaml").write_text(MANIFEST)
    plane.api.apply([service("alias", space, type="ExternalName", externalName="name.dns.svc.acme.local")])
    with Kdns(UPSTREAM, above, manifest=tmp_path / "upstream.yaml") as upstream:
        corefile = CLUSTER.replace("loadbalance", f"loadbalance\n    forward . 127.0.0.1:{upstream.port}") + STUB
        with Kdns(CLUSTER, tmp_path, kubeconfig=plane.kubeconfig("dns"), upstream=upstream.port) as kdns:
            kdns.comes_to_say("CNAME name.dns.svc.acme.local.", f"alias.{space}.svc.{ZONE}", "CNAME")
            kdns.write(corefile)
            kdns.signal(signal.SIGUSR1)
            kdns.comes_to_say("192.0.2.123", "name.dns.svc.acme.local.")
            kdns.comes_to_say("name.dns.svc.acme.local.", reverse("192.0.2.123"), "PTR")
            alias = kdns.ask(f"alias.{space}.svc.{ZONE}")
            assert [f"alias.{space}.svc.{ZONE}", "name.dns.svc.acme.local."] == [str(rrset.name) for rrset in alias.answer]
            kdns.comes_to_say("CNAME name.dns.svc.acme.local. -> 192.0.2.123", f"alias.{space}.svc.{ZONE}")


MAPPED = {  # what of the stock Corefile cannot be as it stands here: ports, the way to the API server, the upstream
    ".:53 {": ".:$port {\n    bind 127.0.0.1",
    "health {": "health 127.0.0.1:$http {",
    "    ready\n": "    ready 127.0.0.1:$http\n",
    "pods insecure": "pods insecure\n       kubeconfig $kubeconfig",
    "prometheus :9153": "prometheus 127.0.0.1:$http",
    "/etc/resolv.conf": "127.0.0.1:$upstream",
    "lameduck 5s": "lameduck 1s",
}


def test_the_stock_corefile(plane: ControlPlane, tmp_path: Path, space: str) -> None:
    """As kubeadm writes it, over a real API server and an upstream."""
    corefile = KUBEADM
    for there, here in MAPPED.items():
        assert 1 == corefile.count(there)
        corefile = corefile.replace(there, here)
    above = tmp_path / "above"
    above.mkdir()
    (tmp_path / "upstream.yaml").write_text(MANIFEST)
    plane.api.apply([service("stock", space, clusterIP="10.96.91.9")])
    with (
        Kdns(UPSTREAM, above, manifest=tmp_path / "upstream.yaml") as upstream,
        Kdns(corefile, tmp_path, kubeconfig=plane.kubeconfig("dns"), upstream=upstream.port) as kdns,
    ):
        kdns.comes_to_say("10.96.91.9", f"stock.{space}.svc.{ZONE}")
        kdns.comes_to_say("192.0.2.123", "name.dns.svc.acme.local.")
        comes_to([], kdns.unready)
        assert (200, "OK") == kdns._get("/health")
        assert 2 <= kdns.metric("coredns_dns_requests_total")
