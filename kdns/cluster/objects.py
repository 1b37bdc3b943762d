"""The objects of a cluster: the fields that DNS needs.

Each kind stands here twice. A struct with the names of the API (`ServiceObject`, ...) is what JSON and YAML decode to; it
is short-lived. A compact one (`Service`, ...) is what the store keeps: addresses packed, names as DNS wants them, nothing
else. 100,000 endpoints take 5 to 15 MB so, where the API's own models take 400.
Structs take part in no garbage collection (they have no cycles), and what they do not name is skipped while decoding.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from msgspec import field, Struct

from kdns.cluster.balancers import Entrance, External, ServiceStatus
from kdns.dns import names

SERVICE_NAME = "kubernetes.io/service-name"
ZONE_LABEL = "topology.kubernetes.io/zone"
LONGEST_SELECTOR = 80  # characters that are kept of a selector
GOING = " (terminating)"
UNREADY = 20  # endpoints of a slice that are not ready of which is kept what they are called

# ---------------------------------------------------------------- what the API says


class Metadata(Struct, gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""
    creationTimestamp: str | None = None
    deletionTimestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class PortObject(Struct, gc=False, frozen=True):
    port: int | None = None
    name: str | None = None
    protocol: str | None = None
    targetPort: int | str | None = None


class ServiceSpec(Struct, gc=False):
    type: str | None = None
    clusterIP: str | None = None
    clusterIPs: tuple[str, ...] | None = None
    ipFamilies: tuple[str, ...] | None = None
    ipFamilyPolicy: str | None = None
    ports: tuple[PortObject, ...] | None = None
    selector: dict[str, str] | None = None
    externalName: str | None = None
    publishNotReadyAddresses: bool | None = None
    externalIPs: tuple[str, ...] | None = None


class ServiceObject(Struct, gc=False):
    metadata: Metadata
    spec: ServiceSpec = field(default_factory=ServiceSpec)
    status: ServiceStatus | None = None


class TargetRef(Struct, gc=False):
    kind: str | None = None
    name: str | None = None


class Conditions(Struct, gc=False):
    ready: bool | None = None
    terminating: bool | None = None


class EndpointObject(Struct, gc=False):
    addresses: tuple[str, ...] = ()
    conditions: Conditions | None = None
    hostname: str | None = None
    targetRef: TargetRef | None = None
    nodeName: str | None = None
    zone: str | None = None


class SliceObject(Struct, gc=False):
    metadata: Metadata
    addressType: str = "IPv4"
    endpoints: list[EndpointObject] | None = None
    ports: tuple[PortObject, ...] | None = None


class EndpointAddress(Struct, gc=False):
    ip: str = ""
    hostname: str | None = None
    targetRef: TargetRef | None = None
    nodeName: str | None = None


class Subset(Struct, gc=False):
    addresses: list[EndpointAddress] | None = None
    notReadyAddresses: list[EndpointAddress] | None = None
    ports: tuple[PortObject, ...] | None = None


class EndpointsObject(Struct, gc=False):
    metadata: Metadata
    subsets: list[Subset] | None = None


class ContainerPort(Struct, gc=False):
    containerPort: int | None = None
    name: str | None = None
    protocol: str | None = None


class Container(Struct, gc=False):
    ports: tuple[ContainerPort, ...] | None = None


class PodSpec(Struct, gc=False):
    hostname: str | None = None
    subdomain: str | None = None
    nodeName: str | None = None
    hostNetwork: bool | None = None
    containers: list[Container] | None = None


class PodIP(Struct, gc=False):
    ip: str = ""


class PodCondition(Struct, gc=False):
    type: str = ""
    status: str = ""


class PodStatus(Struct, gc=False):
    phase: str | None = None
    podIP: str | None = None
    podIPs: list[PodIP] | None = None
    conditions: list[PodCondition] | None = None


class PodObject(Struct, gc=False):
    metadata: Metadata
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class NamespaceObject(Struct, gc=False):
    metadata: Metadata


class NodeObject(Struct, gc=False):
    metadata: Metadata


# ---------------------------------------------------------------- what the store keeps


class Port(NamedTuple):
    name: str  # "" where it has none
    number: int  # 0 where it has none: it stands for all ports, and SRV cannot name them
    protocol: str  # tcp, udp, sctp


class Service(Struct, gc=False, frozen=True, array_like=True):
    """Headless where there are neither addresses nor an alias."""

    key: str  # namespace/name
    ips: tuple[bytes, ...]  # ClusterIPs, packed
    ports: tuple[Port, ...]
    alias: str | None = None  # of an ExternalName: an absolute name
    selector: str = ""  # as people write it, its beginning: for reasons alone
    external: External | None = None  # where it is asked for


class Slice(Struct, gc=False, frozen=True, array_like=True):
    """The endpoints of one EndpointSlice that may be served; column by column, for endpoints have little to say."""

    key: str  # namespace/name
    service: str  # namespace/name of its Service
    width: int  # octets of an address: 4, 16; 0 for addressType FQDN
    addresses: bytes  # packed, one after the other
    hostnames: str | None  # of each endpoint (for FQDN: its name), joined; None where no endpoint has one
    ports: tuple[Port, ...]
    total: int = 0  # endpoints, those not ready included
    pods: tuple[str | None, ...] | None = None  # each endpoint's Pod, where names of Pods are asked for
    zones: tuple[str | None, ...] | None = None  # each endpoint's zone, where zones are asked for
    unready: str | None = None  # the first of those that are not ready, joined, by hostname, Pod or address: for reasons alone


class Namespace(Struct, gc=False, frozen=True, array_like=True):
    name: str
    labels: tuple[tuple[str, str], ...] = ()


class Pod(Struct, gc=False, frozen=True, array_like=True):
    key: str  # namespace/name
    ips: tuple[bytes, ...]
    labels: tuple[tuple[str, str], ...] = ()  # where they are asked for


Stored = Service | Slice | Namespace | Pod | Entrance

_ports_seen: dict[tuple[PortObject, ...], tuple[Port, ...]] = {}


def ports(objects: tuple[PortObject, ...] | None) -> tuple[Port, ...]:
    """Ports as DNS names them; equal lists are one tuple, for clusters have few different ones."""
    if not objects:
        return ()
    found = _ports_seen.get(objects)
    if found is None:
        if len(_ports_seen) > 10_000:
            _ports_seen.clear()
        found = tuple(Port((p.name or "").lower(), p.port or 0, (p.protocol or "TCP").lower()) for p in objects)
        _ports_seen[objects] = found
    return found


def service(o: ServiceObject) -> Service:
    """A Service, compact; ValueError where an address or a name is none, with the field."""
    key = sys.intern(f"{o.metadata.namespace}/{o.metadata.name}")
    spec = o.spec
    if spec.type == "ExternalName":
        alias = _name("spec.externalName", spec.externalName) if spec.externalName else None
        return Service(key, (), ports(spec.ports), alias)
    given = spec.clusterIPs or ((spec.clusterIP,) if spec.clusterIP else ())
    ips = tuple(_packed(f"spec.clusterIPs[{i}]", ip) for i, ip in enumerate(given) if ip not in ("None", ""))
    selector = ",".join([f"{label}={value}" for label, value in (spec.selector or {}).items()])
    return Service(key, ips, ports(spec.ports), None, selector[:LONGEST_SELECTOR])


def _name(path: str, text: str) -> str:
    try:
        return names.absolute(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _packed(path: str, *texts: str) -> bytes:
    try:
        return names.all_packed(texts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


_WIDTHS = {"IPv4": 4, "IPv6": 16, "FQDN": 0}


def slice_of(o: SliceObject, pods: bool = False, zones: bool = False) -> Slice | None:
    """An EndpointSlice, compact; None where it says of no Service. `pods`, `zones`: keep those columns.

    Each address of an endpoint that has several counts as an endpoint. Unready endpoints are left out; a missing `ready`
    counts as ready (EndpointConditions).
    """
    service_name = (o.metadata.labels or {}).get(SERVICE_NAME)
    if not service_name:
        return None
    width = _WIDTHS.get(o.addressType)
    if width is None:
        raise ValueError(f"addressType: '{o.addressType}' is none of IPv4, IPv6, FQDN")
    every = o.endpoints or []
    ready = [e for e in every if e.conditions is None or e.conditions.ready is not False]
    unready = [] if len(ready) == len(every) else [e for e in every if e.conditions and e.conditions.ready is False]
    given = [address for e in ready for address in e.addresses]
    if {len(e.addresses) for e in ready} - {1}:  # never where a cluster's controllers made it
        ready = [e for e in ready for _ in e.addresses]
    addresses = b""
    if width:
        addresses = _packed("endpoints.addresses", *given)
        if len(addresses) != width * len(ready):
            raise ValueError(f"endpoints.addresses: not all are {o.addressType} as addressType says")
        hostnames = joined([e.hostname.lower() if e.hostname else "" for e in ready])
    else:
        hostnames = joined([_name("endpoints.addresses", address) for address in given])
    namespace = o.metadata.namespace
    return Slice(
        key=f"{namespace}/{o.metadata.name}",
        service=sys.intern(f"{namespace}/{service_name}"),
        width=width,
        addresses=addresses,
        hostnames=hostnames,
        ports=ports(o.ports),
        total=len(every),
        pods=tuple([_pod_name(e.targetRef) for e in ready]) if pods else None,
        zones=tuple([sys.intern(e.zone.lower()) if e.zone else None for e in ready]) if zones else None,
        unready=joined([_called(e) for e in unready[:UNREADY]]),
    )


def _called(e: EndpointObject) -> str:
    """What a person knows an endpoint by."""
    called = e.hostname or _pod_name(e.targetRef) or (e.addresses[0] if e.addresses else "?")
    return called + GOING if e.conditions and e.conditions.terminating else called


def _pod_name(ref: TargetRef | None) -> str | None:
    return ref.name if ref is not None and ref.name and ref.kind in (None, "Pod") else None


def namespace(o: NamespaceObject) -> Namespace:
    return Namespace(sys.intern(o.metadata.name), tuple(sorted((o.metadata.labels or {}).items())))


def pod_addresses(o: PodObject) -> tuple[str, ...]:
    """A Pod's addresses, none twice, the primary one first."""
    status = o.status
    given = [status.podIP or "", *(ip.ip for ip in status.podIPs or ())]
    return tuple(dict.fromkeys(ip for ip in given if ip))


def pod(o: PodObject, labels: bool = False) -> Pod | None:
    """A Pod, compact; None where it has no address or is finished: its address may be another's by now. `labels`: keep them."""
    if o.status.phase in ("Succeeded", "Failed"):
        return None
    ips = tuple(_packed("status.podIPs", ip) for ip in pod_addresses(o))
    kept = _labels_seen(tuple(sorted((o.metadata.labels or {}).items()))) if labels else ()
    return Pod(f"{o.metadata.namespace}/{o.metadata.name}", ips, kept) if ips else None


@lru_cache(4096)
def _labels_seen(labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Those of the Pods of a workload are one."""
    return labels


def joined(hostnames: Sequence[str]) -> str | None:
    """A column of hostnames as one string, empty ones for endpoints without; `columns` reads it. ValueError for what is none."""
    if not any(hostnames):
        return None
    if "\0" in "".join(hostnames):
        raise ValueError("endpoints.hostname: a NUL is no part of a hostname")
    return "\0" + "\0".join(hostnames) + "\0"


@dataclass(frozen=True)
class Selection:
    """Which objects, and which of their columns, a source is to bring; equal selections can share a store."""

    labels: str = ""  # label selector of Services, slices and Pods
    namespaces: tuple[str, ...] = ()  # none: all
    endpoints: bool = True
    pods: bool = False  # Pods themselves, for `pods verified`
    pod_labels: bool = False
    pod_names: bool = False  # the Pod of each endpoint
    zones: bool = False  # the zone of each endpoint
    external: bool = False  # how Services are reached from outside
    asking: tuple[str, ...] = ()  # kinds that ask for host names: some of `balancers.ASKING`
