"""Workloads -> Pods, as their controllers and a scheduler would make them: ready, named, with an address.

The same name always has the same address, unless another had it first. What a person wrote by hand wins: a Pod of that name
is left as it is, and Pods that a selector finds count as replicas. No I/O, no clock, no chance.
"""

import re
from collections.abc import Iterable, Sequence

from msgspec import field, Struct

from kdns.cluster.manifests.controllers import digest, free_address, Ranges, ranges
from kdns.cluster.objects import Metadata, PodCondition, PodIP, PodObject, PodSpec, PodStatus
from kdns.dns import names

DEFAULT_POD_RANGES = ranges("10.244.0.0/16", "fd00:10:244::/64")
MOST = 65_536  # Pods of one workload
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?").fullmatch
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of generated names: they make no words


class PodTemplate(Struct, gc=False):
    metadata: Metadata = field(default_factory=Metadata)
    spec: PodSpec = field(default_factory=PodSpec)


class LabelSelector(Struct, gc=False):
    matchLabels: dict[str, str] | None = None


class Ordinals(Struct, gc=False):
    start: int | None = None


class WorkloadSpec(Struct, gc=False):
    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplate = field(default_factory=PodTemplate)
    serviceName: str | None = None  # of a StatefulSet
    ordinals: Ordinals | None = None
    parallelism: int | None = None  # of a Job
    completions: int | None = None
    completionMode: str | None = None
    suspend: bool | None = None


class WorkloadObject(Struct, gc=False):
    metadata: Metadata
    spec: WorkloadSpec = field(default_factory=WorkloadSpec)
    kind: str = ""


def check_workload(o: WorkloadObject, strict: bool) -> None:
    """ValueError, as "field: what is wrong", where an API server would refuse it."""
    spec = o.spec
    for name, number in (("replicas", spec.replicas), ("parallelism", spec.parallelism), ("completions", spec.completions)):
        if number is not None and not 0 <= number <= MOST:
            raise ValueError(f"spec.{name}: {number if abs(number) < 1 << 64 else 'it'} is no number of Pods: 0 to {MOST}")
    if o.kind == "Job" or not strict:
        return
    if spec.selector is None:
        raise ValueError("spec.selector: missing")
    labels = spec.template.metadata.labels or {}
    for key, value in (spec.selector.matchLabels or {}).items():
        if labels.get(key) != value:
            raise ValueError(f"spec.selector.matchLabels: {key}: {value} is none of spec.template's labels: no Pod would match")


class Pods:
    """Makes the Pods of workloads; `taken` are packed addresses of others, `nodes` the names that Pods are spread over."""

    def __init__(self, of: Ranges, taken: Iterable[bytes], nodes: Sequence[str]) -> None:
        self._of, self._used, self._nodes = of, set(taken), sorted(nodes)

    def of(self, o: WorkloadObject, by_hand: dict[str, PodObject]) -> list[PodObject]:
        """The Pods of a workload that are not there by hand (those of its namespace, by name); ValueError where a range is full."""
        if o.kind == "StatefulSet":
            missing = [pod for pod in _numbered(o) if pod.metadata.name not in by_hand]
        else:
            labels = (o.spec.selector or LabelSelector()).matchLabels or o.spec.template.metadata.labels or {}
            adopted = sum(labels.items() <= (pod.metadata.labels or {}).items() for pod in by_hand.values()) if labels else 0
            missing = _named(o, self._nodes)[adopted:]
        for pod in missing:
            self._place(pod)
        return missing

    def _place(self, pod: PodObject) -> None:
        """A node and an address of each family."""
        key = f"{pod.metadata.namespace}/{pod.metadata.name}"
        if self._nodes and not pod.spec.nodeName:
            pod.spec.nodeName = self._nodes[int.from_bytes(digest(key)[:4], "big") % len(self._nodes)]
        found = []
        for network in self._of:
            address = free_address(f"Pod {key}", network, self._used)
            if address is None:
                raise ValueError(f"Pod {key} gets no address: {network} is full")
            found.append(names.unpacked(address))
        ready = [PodCondition("Ready", "True")]
        pod.status = PodStatus(phase="Running", podIP=found[0], podIPs=[PodIP(ip) for ip in found], conditions=ready)


def _numbered(o: WorkloadObject) -> list[PodObject]:
    first = o.spec.ordinals.start or 0 if o.spec.ordinals else 0
    out = []
    for i in range(first, first + _count(o.spec.replicas)):
        pod = _pod(o, f"{o.metadata.name}-{i}", {"apps.kubernetes.io/pod-index": str(i)})
        pod.metadata.labels["statefulset.kubernetes.io/pod-name"] = pod.metadata.name  # type: ignore[index]
        pod.spec.hostname = pod.metadata.name if _LABEL(pod.metadata.name) else None
        pod.spec.subdomain = o.spec.serviceName or None
        out.append(pod)
    return out


def _named(o: WorkloadObject, nodes: Sequence[str]) -> list[PodObject]:
    """The Pods of a Deployment, ReplicaSet, DaemonSet or Job, with the names that they generate."""
    spec, name = o.spec, o.metadata.name
    key = f"{o.kind} {o.metadata.namespace}/{name}"
    if o.kind == "DaemonSet":
        return [_with_node(_pod(o, _generated(name, f"{key} {node}"), {}), node) for node in nodes or ("",)]
    if o.kind == "Job":
        return _of_job(o, key)
    labels = {}
    if o.kind == "Deployment":
        labels = {"pod-template-hash": _letters(key, 10)}
        name = f"{name}-{labels['pod-template-hash']}"
    return [_pod(o, _generated(name, f"{key} {i}"), labels) for i in range(_count(spec.replicas))]


def _of_job(o: WorkloadObject, key: str) -> list[PodObject]:
    spec, name = o.spec, o.metadata.name
    labels = {"batch.kubernetes.io/job-name": name, "job-name": name}
    count = 0 if spec.suspend else min(_count(spec.parallelism), MOST if spec.completions is None else spec.completions)
    if spec.completionMode != "Indexed":
        return [_pod(o, _generated(name, f"{key} {i}"), labels) for i in range(count)]
    out = []
    for i in range(count):
        pod = _pod(o, _generated(f"{name}-{i}", f"{key} {i}"), {**labels, "batch.kubernetes.io/job-completion-index": str(i)})
        pod.spec.hostname = f"{name}-{i}" if _LABEL(f"{name}-{i}") else None
        out.append(pod)
    return out


def _count(number: int | None) -> int:
    return 1 if number is None else number


def _pod(o: WorkloadObject, name: str, labels: dict[str, str]) -> PodObject:
    template = o.spec.template
    metadata = Metadata(name=name, namespace=o.metadata.namespace, labels={**(template.metadata.labels or {}), **labels})
    given = template.spec
    spec = PodSpec(given.hostname, given.subdomain, given.nodeName, given.hostNetwork, given.containers)
    return PodObject(metadata, spec)


def _with_node(pod: PodObject, node: str) -> PodObject:
    pod.spec.nodeName = node or None
    return pod


def _generated(base: str, of: str) -> str:
    """A name as an API server generates it: at most 63 characters."""
    return f"{base[:57]}-{_letters(of, 5)}"


def _letters(of: str, count: int) -> str:
    return "".join(_LETTERS[octet % len(_LETTERS)] for octet in digest(of)[:count])
