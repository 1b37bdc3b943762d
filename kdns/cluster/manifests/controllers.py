"""What a cluster's controllers do, for objects written by hand.

A selector and Pods become slices, as the endpoint slice
controller makes them; Services get ClusterIPs; and what a control plane makes for itself is there. All are functions of the
objects alone: the same manifests always give the same cluster. No I/O, no clock, no chance.
"""

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_network, IPv4Network, IPv6Network

from kdns.cluster.endpoints import family_of, Groups, key_of, slices_of_groups
from kdns.cluster.objects import (
    Conditions,
    EndpointObject,
    Metadata,
    pod_addresses,
    PodObject,
    PortObject,
    ServiceObject,
    ServiceSpec,
    SliceObject,
    TargetRef,
)
from kdns.dns import names

try:
    from _blake2 import blake2b  # what hashlib has, but for OpenSSL, with which it comes: that is 3 MB
except ImportError:
    from hashlib import blake2b

Ranges = tuple[IPv4Network | IPv6Network, ...]  # of ClusterIPs; the first one's family is the cluster's primary one

HEADLESS = "service.kubernetes.io/headless"
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_KUBERNETES, _KUBE_DNS = "default/kubernetes", "kube-system/kube-dns"
_RESERVED = {_KUBERNETES: 1, _KUBE_DNS: 10}  # by their place in a range, as installers of clusters have it


def ranges(*networks: str) -> Ranges:
    """Ranges from text, at most one of each family; ValueError where they are none."""
    out = tuple(ip_network(network) for network in networks)
    if not out or len({network.version for network in out}) != len(out):
        raise ValueError("ClusterIPs need one range, or one of IPv4 and one of IPv6")
    return out


DEFAULT_RANGES = ranges("10.96.0.0/12", "fd00:96::/112")


# ---------------------------------------------------------------- slices from a selector and Pods


class Selectors:
    """Which Services select a Pod, without asking each of them."""

    def __init__(self, services: Iterable[ServiceObject]) -> None:
        self._by_label: dict[tuple[str, str, str], list[ServiceObject]] = {}
        for o in services:
            if o.spec.selector:
                first = min(o.spec.selector.items())
                self._by_label.setdefault((o.metadata.namespace, *first), []).append(o)

    def of(self, pod: PodObject) -> list[ServiceObject]:
        """The Services that select a Pod which may be served: it has an address and is not finished."""
        if not self._by_label or pod.status.phase in ("Succeeded", "Failed") or not pod_addresses(pod):
            return []
        labels = pod.metadata.labels or {}
        candidates = (self._by_label.get((pod.metadata.namespace, *item), ()) for item in labels.items())
        return [o for some in candidates for o in some if (o.spec.selector or {}).items() <= labels.items()]


def selected(o: ServiceObject, pods: Iterable[PodObject], zone_of: Mapping[str, str], of: Ranges) -> list[SliceObject]:
    """The slices of a Service from the Pods that it selects: one for each family and set of ports.

    `zone_of` has the zones of Nodes. A Pod that lacks a port of that name is in a slice without it.
    """
    groups: Groups = {}
    wanted = families(o, of)
    for pod in pods:
        ports = tuple(port for port in (_target(port, pod) for port in o.spec.ports or ()) if port is not None)
        given = pod_addresses(pod)
        for family in wanted:
            address = next((ip for ip in given if family_of(ip) == family), None)
            if address is not None:
                groups.setdefault((family, ports), []).append(_selected_endpoint(o, pod, address, zone_of))
    if is_headless(o):
        labels = {**(o.metadata.labels or {}), HEADLESS: ""}
    else:
        labels = o.metadata.labels or {}
    metadata = Metadata(name=o.metadata.name, namespace=o.metadata.namespace, labels=labels)
    return slices_of_groups(metadata, "endpointslice-controller.k8s.io", groups)


def _selected_endpoint(o: ServiceObject, pod: PodObject, address: str, zone_of: Mapping[str, str]) -> EndpointObject:
    spec = pod.spec
    return EndpointObject(
        addresses=(address,),
        conditions=Conditions(ready=bool(o.spec.publishNotReadyAddresses) or _is_ready(pod)),
        hostname=spec.hostname if spec.subdomain == o.metadata.name else None,
        targetRef=TargetRef(kind="Pod", name=pod.metadata.name),
        nodeName=spec.nodeName,
        zone=zone_of.get(spec.nodeName or ""),
    )


def _is_ready(pod: PodObject) -> bool:
    ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())
    return ready and pod.metadata.deletionTimestamp is None


def _target(port: PortObject, pod: PodObject) -> PortObject | None:
    """A Service's port as the Pod has it, or None where the Pod has no port of that name and protocol."""
    number: int | None
    if isinstance(port.targetPort, str):
        number = _named_port(port.targetPort, port.protocol or "TCP", pod)
    else:
        number = port.targetPort or port.port
    return None if number is None else PortObject(number, port.name, port.protocol)


def _named_port(name: str, protocol: str, pod: PodObject) -> int | None:
    for container in pod.spec.containers or ():
        for port in container.ports or ():
            if port.name == name and (port.protocol or "TCP") == protocol:
                return port.containerPort
    return None


# ---------------------------------------------------------------- families and ClusterIPs


def is_headless(o: ServiceObject) -> bool:
    return o.spec.type != "ExternalName" and "None" in (o.spec.clusterIP, *(o.spec.clusterIPs or ()))


def given(o: ServiceObject) -> tuple[str, ...]:
    """The ClusterIPs that a Service's manifest has."""
    every = o.spec.clusterIPs or (o.spec.clusterIP or "",)
    return tuple(ip for ip in every if ip not in ("", "None"))


def families(o: ServiceObject, of: Ranges) -> tuple[str, ...]:
    """A Service's ipFamilies, the main one first, with the defaults that an API server fills in."""
    known = [f"IPv{network.version}" for network in of]
    found = list(dict.fromkeys([*(o.spec.ipFamilies or ()), *map(family_of, given(o))])) or known[:1]
    if o.spec.ipFamilyPolicy in ("PreferDualStack", "RequireDualStack"):
        found += [family for family in known if family not in found]
    return tuple(found)


def cluster_ips(services: Collection[ServiceObject], of: Ranges, taken: Iterable[bytes] = ()) -> dict[str, tuple[str, ...]]:
    """All ClusterIPs of the Services that lack one, by key; ValueError where a range is full.

    An address follows from the Service's name, and from nothing else unless two names meet at one address: then the one
    that sorts first has it. What a manifest gives explicitly is never allocated, nor what is `taken`.
    """
    used = {*taken, *(names.packed(ip) for o in services for ip in given(o))}
    out: dict[str, tuple[str, ...]] = {}
    for o in sorted(services, key=lambda o: key_of(o.metadata)):
        if o.spec.type == "ExternalName" or is_headless(o):
            continue
        have = {family_of(ip): ip for ip in given(o)}
        wanted = families(o, of)
        if all(family in have for family in wanted):
            continue
        for family in wanted:
            if family not in have:
                have[family] = _allocated(key_of(o.metadata), family, of, used)
        out[key_of(o.metadata)] = tuple(have[family] for family in wanted)
    return out


def digest(name: str) -> bytes:
    """16 octets that follow from a name: what a cluster draws by chance is drawn from them."""
    return blake2b(name.encode(), digest_size=16).digest()


def free_address(name: str, network: IPv4Network | IPv6Network, used: set[bytes], kept: Collection[int] = ()) -> bytes | None:
    """An address that follows from a name, or the next one that is free; None where the network is full.

    Neither the first nor, of IPv4, the last of the network is given away, nor those `kept` by their place in it.
    """
    size, base, width = network.num_addresses, int(network.network_address), network.max_prefixlen // 8
    start = int.from_bytes(digest(name), "big") % size
    for at in (i % size for i in range(start, start + min(size, len(used) + len(kept) + 3))):
        address = (base + at).to_bytes(width, "big")
        if at and (at != size - 1 or width == 16) and at not in kept and address not in used:
            used.add(address)
            return address
    return None


def _allocated(name: str, family: str, of: Ranges, used: set[bytes]) -> str:
    network = next((n for n in of if f"IPv{n.version}" == family), None)
    if network is None:
        raise ValueError(f"Service {name} wants an {family} ClusterIP, and there is no range of {family}")
    at = _RESERVED.get(name)
    if at is not None and at < network.num_addresses and (own := network[at].packed) not in used:
        used.add(own)
        return names.unpacked(own)
    address = free_address(f"{family} {name}", network, used, _RESERVED.values())
    if address is None:
        raise ValueError(f"Service {name} gets no ClusterIP: {network} is full")
    return names.unpacked(address)


# ---------------------------------------------------------------- what a control plane makes for itself


def kubernetes_service() -> ServiceObject:
    """The Service of the API server, that each control plane makes."""
    namespace, name = _KUBERNETES.split("/")
    port = PortObject(443, "https", "TCP", 6443)
    return ServiceObject(Metadata(name=name, namespace=namespace), ServiceSpec(ports=(port,)))


def namespace_labels(name: str, labels: Mapping[str, str] | None) -> dict[str, str]:
    """A Namespace's labels with the one that an API server sets."""
    return {**(labels or {}), "kubernetes.io/metadata.name": name}
