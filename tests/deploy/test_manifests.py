"""deploy/ as its owner applies it: rendered, tried by a real API server, really created, and its Corefiles served."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import Kubectl
from tests.support.control_plane.plane import ControlPlane
from tests.support.deploying import charted, corefiles, DEPLOY, kustomized, Object
from tests.support.mapped import mapped
from tests.support.processes import CLUSTER, comes_to, Kdns, service, ZONE

WHOLE = [
    "base", "overlays/autoscale", "overlays/autoscale-proportional", "overlays/external-names", "overlays/node-local",
    "overlays/node-local-api",
]  # fmt: skip
PARTIAL = ["overlays/replace-coredns", "overlays/kind"]
VALUES: dict[str, Object] = {
    "defaults": {},
    "cluster DNS": {"service": {"clusterIP": "10.96.0.10"}, "podDisruptionBudget": {"maxUnavailable": 1}, "hpa": {"enabled": True}},
    "one more server": {
        "isClusterService": False,
        "serviceType": "NodePort",
        "servers": [
            {
                "zones": [{"zone": "example.org", "use_tcp": True}, {"zone": "example.net"}], "port": 5353, "servicePort": 53,
                "nodePort": 30053,
                "plugins": [
                    {"name": "health", "parameters": ":8085", "configBlock": "lameduck 1s"},
                    {"name": "ready", "parameters": ":8185"},
                    {"name": "whoami"},
                ],
            },
            {"zones": [{"zone": "."}], "port": 5353, "plugins": [{"name": "whoami"}]},
        ],
        "autoscaler": {"enabled": True, "max": 7}, "rbac": {"resources": ["Ingress", "HTTPRoute"]},
        "prometheus": {"service": {"enabled": True}},
        "customLabels": {"team": "dns"}, "customAnnotations": {"note": "ours"},
        "zoneFiles": [{"filename": "example.db", "domain": "example.org", "contents": "example.org. 5 IN A 192.0.2.1\n"}],
        "extraSecrets": [{"name": "certificates", "mountPath": "/etc/certificates", "defaultMode": 440}],
        "image": {"repository": "example.org/dns/kdns", "tag": "9", "pullSecrets": ["ours"]},
        "env": [{"name": "TZ", "value": "UTC"}], "hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet",
    },
}  # fmt: skip


def sets() -> list[str]:
    return [*WHOLE, *(f"chart: {name}" for name in VALUES)]


def rendered(name: str, folder: Path) -> list[Object]:
    kind, _, values = name.partition(": ")
    return charted(VALUES[values], folder) if kind == "chart" else kustomized(name)


def text(found: list[Object]) -> str:
    return yaml.safe_dump_all(found)


@pytest.mark.parametrize("name", sets())
def test_a_real_api_server_takes_it(name: str, at: Kubectl, tmp_path: Path) -> None:
    """Tried (server-side), created, and the same again changes nothing."""
    found = rendered(name, tmp_path)
    apply = ("apply", "--server-side", "--validate=strict", "-f", "-")
    tried = at(*apply, "--dry-run=server", text=text(found))
    assert len(found) == tried.count("(server dry run)")
    try:
        at(*apply, text=text(found))
        versions = [obj["metadata"]["resourceVersion"] for obj in stored(at, found)]
        at(*apply, text=text(found))
        assert versions == [obj["metadata"]["resourceVersion"] for obj in stored(at, found)]
    finally:
        at("delete", "--ignore-not-found", "--wait=false", "-f", "-", text=text(found))


def stored(at: Kubectl, found: list[Object]) -> list[Object]:
    said = json.loads(at("get", "-o", "json", "-f", "-", text=text(found)))
    items: list[Object] = said["items"] if said["kind"] == "List" else [said]
    return items


@pytest.fixture
def coredns(at: Kubectl) -> Iterator[Object]:
    """CoreDNS's Deployment and what belongs to it, as kubeadm leaves them."""
    found = kustomized("base")
    deployment = next(obj for obj in found if obj["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "example.org/coredns/coredns:v1.13.1"
    at("apply", "--server-side", "--field-manager=kubeadm", "-f", "-", text=text(found))
    yield stored(at, [deployment])[0]
    at("delete", "--wait=false", "-f", "-", text=text(found))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("overlays/replace-coredns", {"image": "kdns:0.1.0"}),
        ("overlays/kind", {"image": "kdns:0.1.0", "imagePullPolicy": "Never"}),
    ],
)
def test_only_the_image_is_replaced(name: str, expected: Object, coredns: Object, at: Kubectl) -> None:
    """All else of the Deployment stays as it was, and so does every other object."""
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=kdns", "-k", str(DEPLOY / name))
    at(*apply, "--dry-run=server")
    at(*apply)
    before, after = coredns["spec"], stored(at, [coredns])[0]["spec"]
    assert expected == changed(
        before["template"]["spec"]["containers"][0], after["template"]["spec"]["containers"][0]
    )  # fmt: skip
    for spec in before, after:
        spec["template"]["spec"].pop("containers")
    assert before == after
    assert 1 == len(kustomized(name))


def changed(before: Object, after: Object) -> Object:
    assert before.keys() <= after.keys()
    return {key: value for key, value in after.items() if before.get(key) != value}


# ------------------------------------------------------------ the contract of a cluster's DNS


def test_the_base_is_what_tools_look_for() -> None:
    by_kind = {obj["kind"]: obj for obj in kustomized("base")}
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    service = by_kind["Service"]
    assert {
        "names": ("kube-system/coredns", "coredns", "kube-system/kube-dns"),
        "selector": ({"k8s-app": "kube-dns"}, {"k8s-app": "kube-dns"}),
        "arguments": (None, ["-conf", "/etc/coredns/Corefile"]),
        "ports": [(53, "UDP"), (53, "TCP"), (9153, "TCP"), (8080, "TCP"), (8181, "TCP")],
        "service ports": [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP")],
        "memory": "170Mi",
        "pod": ("Default", "system-cluster-critical", "coredns"),
        "security": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
        },
    } == {
        "names": (full_name(by_kind["Deployment"]), container["name"], full_name(service)),
        "selector": (by_kind["Deployment"]["spec"]["selector"]["matchLabels"], service["spec"]["selector"]),
        "arguments": (container.get("command"), container["args"]),
        "ports": [(port["containerPort"], port["protocol"]) for port in container["ports"]],
        "service ports": [(port["name"], port["port"], port["protocol"]) for port in service["spec"]["ports"]],
        "memory": container["resources"]["limits"]["memory"],
        "pod": (pod["dnsPolicy"], pod["priorityClassName"], pod["serviceAccountName"]),
        "security": container["securityContext"],
    }  # fmt: skip


def full_name(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


COREDNS_VALUES = """
affinity autoscaler.coresPerReplica autoscaler.enabled autoscaler.includeUnschedulableNodes autoscaler.max autoscaler.min
autoscaler.nodesPerReplica autoscaler.preventSinglePointFailure clusterRole.nameOverride customAnnotations customLabels
deployment.annotations deployment.enabled deployment.name deployment.selector env extraConfig extraContainers extraSecrets
extraVolumeMounts extraVolumes fullnameOverride hpa.behavior hpa.enabled hpa.maxReplicas hpa.metrics hpa.minReplicas
image.pullPolicy image.pullSecrets image.repository image.tag initContainers isClusterService k8sAppLabelOverride
livenessProbe.enabled livenessProbe.failureThreshold livenessProbe.initialDelaySeconds livenessProbe.periodSeconds
livenessProbe.successThreshold livenessProbe.timeoutSeconds nameOverride nodeSelector podAnnotations podDisruptionBudget
podSecurityContext priorityClassName prometheus.monitor.additionalLabels prometheus.monitor.enabled prometheus.monitor.interval
prometheus.monitor.namespace prometheus.monitor.selector prometheus.service.annotations prometheus.service.enabled
prometheus.service.selector rbac.create readinessProbe.enabled readinessProbe.failureThreshold
readinessProbe.initialDelaySeconds readinessProbe.periodSeconds readinessProbe.successThreshold readinessProbe.timeoutSeconds
replicaCount resources rollingUpdate.maxSurge rollingUpdate.maxUnavailable securityContext servers service.annotations
service.clusterIP service.clusterIPs service.externalIPs service.externalTrafficPolicy service.ipFamilyPolicy
service.loadBalancerClass service.loadBalancerIP service.name service.selector service.trafficDistribution
serviceAccount.annotations serviceAccount.create serviceAccount.name serviceType terminationGracePeriodSeconds tolerations
topologySpreadConstraints zoneFiles
"""


def test_values_are_named_as_in_the_chart_of_coredns() -> None:
    values = yaml.safe_load((DEPLOY / "chart" / "kdns" / "values.yaml").read_text())

    def has(path: str) -> bool:
        at: Any = values
        for part in path.split("."):
            if not isinstance(at, dict) or part not in at:
                return False
            at = at[part]
        return True

    assert [] == [path for path in COREDNS_VALUES.split() if not has(path)]


def test_what_the_chart_makes_of_values(tmp_path: Path) -> None:
    found = rendered("chart: one more server", tmp_path)
    by_kind = {obj["kind"]: obj for obj in found}
    assert [
        "example.org:5353 example.net:5353 {\n    health :8085 {\n        lameduck 1s\n    }\n    ready :8185\n    whoami\n}\n"
        ".:5353 {\n    whoami\n}"
    ] == corefiles(found)
    container = by_kind["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert ("example.org/dns/kdns:9", 8085, 8185) == (
        container["image"], container["livenessProbe"]["httpGet"]["port"], container["readinessProbe"]["httpGet"]["port"],
    )  # fmt: skip
    assert [("udp-5353", 53, 5353, 30053), ("tcp-5353", 53, 5353, 30053)] == [
        (port["name"], port["port"], port["targetPort"], port["nodePort"]) for port in by_kind["Service"]["spec"]["ports"]
    ]
    assert "replicas" not in by_kind["Deployment"]["spec"]
    rules = {rule["apiGroups"][0]: rule["resources"] for rule in by_kind["ClusterRole"]["rules"]}
    assert (["ingresses"], ["gateways", "httproutes"]) == (rules["networking.k8s.io"], rules["gateway.networking.k8s.io"])


# ------------------------------------------------------------ at work


@pytest.mark.parametrize("name", sets())
def test_its_corefile_is_served(name: str, tmp_path: Path) -> None:
    for corefile in corefiles(rendered(name, tmp_path)):
        for word, address in (("LOCAL", "127.0.0.1"), ("CLUSTER", "127.0.0.1"), ("UPSTREAM__SERVERS", "127.0.0.1")):
            corefile = corefile.replace(f"__PILLAR__{word}__DNS__", address).replace(f"__PILLAR__{word}__", address)
        with mapped(corefile, tmp_path) as server:
            assert server.answers()


@contextmanager
def account_of(folder: str, name: str, at: Kubectl, plane: ControlPlane, path: Path) -> Iterator[Path]:
    """A kubeconfig of a ServiceAccount with the rights that deploy/FOLDER gives it, and a token as a Pod of it would have."""
    found = [obj for obj in kustomized(folder) if obj["kind"] in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")]
    at("apply", "--server-side", "-f", "-", text=text(found))
    token = at("-n", "kube-system", "create", "token", name).strip()
    config = yaml.safe_load(plane.kubeconfig("admin").read_text())
    config["users"][0]["user"] = {"token": token}
    (path / "kubeconfig").write_text(yaml.safe_dump(config))
    try:
        yield path / "kubeconfig"
    finally:
        at("delete", "-f", "-", text=text(found))


@pytest.fixture
def account(at: Kubectl, plane: ControlPlane, tmp_path: Path) -> Iterator[Path]:
    with account_of("base", "coredns", at, plane, tmp_path) as kubeconfig:
        yield kubeconfig


@pytest.mark.parametrize(("folder", "name"), [("base", "coredns"), ("overlays/node-local-api", "node-local-dns")])
def test_the_rights_of_its_service_account_are_enough(
    folder: str, name: str, at: Kubectl, plane: ControlPlane, tmp_path: Path
) -> None:
    plane.api.apply([service(name, "default", type="ExternalName", externalName="enough.example")])
    with account_of(folder, name, at, plane, tmp_path) as kubeconfig, Kdns(CLUSTER, tmp_path, kubeconfig=kubeconfig) as kdns:
        comes_to([], kdns.unready)
        kdns.comes_to_say("CNAME enough.example.", f"{name}.default.svc.{ZONE}", "CNAME")


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        ([{"apiGroups": [""], "resources": ["services", "namespaces"]}], "endpointslices"),
        ([{"apiGroups": [""], "resources": ["services"]}, {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]}],
         "namespaces"),
        ([{"apiGroups": [""], "resources": ["namespaces"]}, {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]}],
         "services"),
    ],
    ids=["endpointslices", "namespaces", "services"],
)  # fmt: skip
def test_a_right_that_is_missing_is_named(
    rules: list[Object], missing: str, account: Path, at: Kubectl, tmp_path: Path
) -> None:
    """And once it is there, all is well without a restart."""
    role = json.loads(at("get", "clusterrole", "system:coredns", "-o", "json"))
    patch = {"rules": [{**rule, "verbs": ["list", "watch"]} for rule in rules]}
    at("patch", "clusterrole", "system:coredns", "--type=merge", "-p", json.dumps(patch))
    with Kdns(CLUSTER.replace("ttl 30", "ttl 30\n        startup_timeout 100ms"), tmp_path, kubeconfig=account) as kdns:
        expected = f"kubernetes: {missing}: 403 Forbidden"
        comes_to([expected], lambda: [line[: len(expected)] for line in kdns.unready()])
        at("patch", "clusterrole", "system:coredns", "--type=merge", "-p", json.dumps({"rules": role["rules"]}))
        comes_to([], kdns.unready, 30)


def test_ingresses_need_a_right_of_their_own(account: Path, at: Kubectl, plane: ControlPlane, tmp_path: Path) -> None:
    """Without it all else is served; once it is given their names are. The Gateway API may come later."""
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
    ingress: Object = {"kind": "Ingress", "apiVersion": "networking.k8s.io/v1"}
    ingress["metadata"] = {"name": "web", "namespace": "default"}
    ingress["spec"] = {"rules": [{"host": "web.example.org", "http": {"paths": [path]}}]}
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    external = "    k8s_external example.org {\n        resources Ingress HTTPRoute\n    }\n    prometheus"
    with Kdns(CLUSTER.replace("    prometheus", external), tmp_path, kubeconfig=account) as kdns:
        comes_to([], kdns.unready)
        at("apply", "-f", "-", text=text([ingress]))
        at("apply", "--server-side", "-k", str(DEPLOY / "overlays/external-names"))
        at("patch", "ingress", "web", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
        kdns.comes_to_say("192.0.2.1", "web.example.org", "A", 30)
        at("apply", "-f", "-", text=text([resource_of_gateways("Gateway"), resource_of_gateways("HTTPRoute")]))
        defined = [f"crd/{plural}.gateway.networking.k8s.io" for plural in ("gateways", "httproutes")]
        at("wait", "--for=condition=established", *defined)
        ours = {"apiVersion": "gateway.networking.k8s.io/v1", "metadata": {"name": "edge", "namespace": "default"}}
        route = {"hostnames": ["api.example.org"], "parentRefs": [{"name": "edge"}]}
        gateway = {**ours, "kind": "Gateway", "status": {"addresses": [{"type": "IPAddress", "value": "192.0.2.9"}]}}
        at("apply", "-f", "-", text=text([gateway, {**ours, "kind": "HTTPRoute", "spec": route}]))
        kdns.comes_to_say("192.0.2.9", "api.example.org", "A", 60)
        at("delete", defined[0])
        kdns.comes_to_say("NODATA", "api.example.org", "A", 60)
        at("delete", defined[1])
        at("delete", "-k", str(DEPLOY / "overlays/external-names"))


def resource_of_gateways(kind: str) -> Object:
    """The definition of a kind of the Gateway API, as far as a server needs one to keep its objects."""
    group, plural = "gateway.networking.k8s.io", f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    approved = {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/3328"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": approved},
        "spec": {
            "group": group, "scope": "Namespaced", "versions": [version],
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
        },
    }  # fmt: skip


def test_a_right_of_its_own_is_not_needed_twice(account: Path, at: Kubectl, tmp_path: Path) -> None:
    """Without Pods and Endpoints: `pods insecure` needs neither."""
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    at("patch", "clusterrole", "system:coredns", "--type=merge", "-p", json.dumps({"rules": rules}))
    with Kdns(CLUSTER, tmp_path, kubeconfig=account) as kdns:
        comes_to([], kdns.unready)
        kdns.signal(signal.SIGUSR1)
        comes_to([], kdns.unready)
