"""What is listed and watched of an API server for a Selection, and how its objects become what the store keeps.

A Resource says where the API has it, which fields of it are decoded, and what they come to in the store: mostly one compact
object each, several slices for Endpoints. No I/O.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from kdns.cluster import external, objects
from kdns.cluster.balancers import Entrance, entrance_key, ROUTES
from kdns.cluster.endpoints import mirrored
from kdns.cluster.objects import (
    EndpointsObject,
    Metadata,
    Namespace,
    NamespaceObject,
    Pod,
    PodObject,
    Selection,
    Service,
    ServiceObject,
    Slice,
    SliceObject,
    Stored,
)
from kdns.cluster.store import Store

# Finished Pods give their addresses back; those of an unknown phase have no kubelet that speaks for them.
RUNNING = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"
TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
BY_SELECTOR = "endpointslice-controller.k8s.io"
EVERYTHING = Selection()  # as with CoreDNS, all namespaces exist, whichever are chosen


@dataclass(frozen=True)
class Resource:
    """One resource of the API as it is asked for."""

    name: str  # plural, as in RBAC: services
    path: str
    api: str  # the kind that the API calls it: Service
    struct: type  # what JSON decodes to; it has `metadata`
    kind: type[Stored]  # what the store keeps
    compact: Callable[[Any], Iterable[Stored]]  # ValueError where a field is none; nothing where DNS needs nothing of it
    keys: Callable[[Store, Metadata], Iterable[str]]  # the store's keys of what an object has come to before
    labels: str = ""
    fields: str = ""
    namespaces: frozenset[str] = frozenset()  # none: all
    suffix: str = ""  # of its keys, where several resources share a kind of the store
    optional: bool = False  # a server without it, or one that does not let it be listed, is no reason to wait

    def wants(self, metadata: Metadata) -> bool:
        """Is an object of a namespace that is asked for?"""
        return not self.namespaces or metadata.namespace in self.namespaces


def resources(selection: Selection) -> list[tuple[Resource, ...]]:
    """What must be followed, each with what takes its place where the server does not have it."""
    resource = partial(_resource, selection)
    core, discovery = "/api/v1", "/apis/discovery.k8s.io/v1"
    service = external.service if selection.external else objects.service
    slice_of = partial(objects.slice_of, pods=selection.pod_names, zones=selection.zones)
    out: list[tuple[Resource, ...]] = [
        (resource("services", "Service", core, ServiceObject, Service, _one(service)),),
        (_resource(EVERYTHING, "namespaces", "Namespace", core, NamespaceObject, Namespace, _one(objects.namespace), _name),),
    ]
    if selection.endpoints:
        out.append((
            resource("endpointslices", "EndpointSlice", discovery, SliceObject, Slice, _one(slice_of)),
            resource("endpoints", "Endpoints", core, EndpointsObject, Slice, partial(_slices, slice_of), _slices_of),
        ))  # fmt: skip
    if selection.pods:
        pod = partial(objects.pod, labels=selection.pod_labels)
        out.append((resource("pods", "Pod", core, PodObject, Pod, _one(pod), fields=RUNNING),))
    return out + _entrances(selection)


def _entrances(selection: Selection) -> list[tuple[Resource, ...]]:
    """Ingresses, routes and their Gateways.

    Gateways are of all namespaces: they ask for nothing, and routes of others may lead to them.
    """
    if not selection.asking:
        return []
    from kdns.cluster import entrances  # only where somebody asks for them

    def resource(kind: str, group: str) -> Resource:
        plural = "ingresses" if kind == "Ingress" else f"{kind.lower()}s"
        of = EVERYTHING if kind == "Gateway" else selection
        compact = _one(partial(entrances.entrance, kind=kind))
        own = _resource(of, plural, kind, f"/apis/{group}", entrances.STRUCTS[kind], Entrance, compact, partial(_entrance, kind))
        return replace(own, suffix=f" {kind}", optional=True)

    out: list[tuple[Resource, ...]] = []
    routes = [kind for kind in selection.asking if kind in ROUTES]
    for kind in ["Gateway", *routes] if routes else []:
        versions = ("v1", "v1alpha3", "v1alpha2") if kind == "TLSRoute" else ("v1",)
        out.append(tuple(resource(kind, f"{entrances.GROUP}/{version}") for version in versions))
    return out + ([(resource("Ingress", "networking.k8s.io/v1"),)] if "Ingress" in selection.asking else [])


def _one(compact: Callable[[Any], Stored | None]) -> Callable[[Any], tuple[Stored, ...]]:
    def compacted(o: Any) -> tuple[Stored, ...]:
        found = compact(o)
        return () if found is None else (found,)

    return compacted


def _slices(slice_of: Callable[[SliceObject], Slice | None], o: EndpointsObject) -> list[Slice]:
    return [found for s in mirrored(o) if (found := slice_of(s)) is not None]


def _key(store: Store, metadata: Metadata) -> tuple[str]:
    return (f"{metadata.namespace}/{metadata.name}",)


def _entrance(kind: str, store: Store, metadata: Metadata) -> tuple[str]:
    return (entrance_key(metadata.namespace, metadata.name, kind),)


def _name(store: Store, metadata: Metadata) -> tuple[str]:
    return (metadata.name,)


def _slices_of(store: Store, metadata: Metadata) -> list[str]:
    """Where Endpoints are followed, all slices of their Service come from them."""
    return [s.key for s in store.slices_of(f"{metadata.namespace}/{metadata.name}")]


def _resource(
    of: Selection, name: str, api: str, group: str, struct: type, kind: type[Stored], compact: Any, keys: Any = _key,
    fields: str = "",
) -> Resource:  # fmt: skip
    """A resource, of the namespaces and labels of a selection."""
    within = f"/namespaces/{of.namespaces[0]}" if len(of.namespaces) == 1 else ""
    wanted = frozenset(of.namespaces)
    return Resource(name, f"{group}{within}/{name}", api, struct, kind, compact, keys, of.labels, fields, wanted)


def programmed(store: Store, o: Any, now: float) -> tuple[str, float] | None:
    """The kind of Service and the seconds from a change in the cluster until DNS has it, where the object says when.

    A ClusterIP counts from its Service's creation, endpoints of a headless Service from what their controller noted
    (Kubernetes SLI "DNS programming latency").
    """
    metadata: Metadata = o.metadata
    if isinstance(o, ServiceObject):
        service = store.services.get(f"{metadata.namespace}/{metadata.name}")
        since = _seconds(metadata.creationTimestamp)
        return ("cluster_ip", now - since) if since and service is not None and service.ips else None
    since = _seconds((metadata.annotations or {}).get(TRIGGERED))
    if not since:
        return None
    labels = metadata.labels or {}
    of = metadata.name if isinstance(o, EndpointsObject) else labels.get(objects.SERVICE_NAME)
    service = store.services.get(f"{metadata.namespace}/{of}")
    if service is None or service.ips or service.alias:
        return None
    own = labels.get(MANAGED_BY) == BY_SELECTOR
    return "headless_with_selector" if own else "headless_without_selector", now - since


def _seconds(text: str | None) -> float:
    """A time as in RFC 3339, in seconds since 1970; 0 where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else 0.0
    except (ValueError, OverflowError):
        return 0.0
