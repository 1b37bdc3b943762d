"""Ingresses, Gateways and routes to Gateways: which host names they ask for, and where these are answered.

Each as `objects` has its kinds: a struct with the names of the API, and what it comes to. Imported only where somebody asks
for them (`Selection.asking`). No I/O.
"""

from collections.abc import Iterable

from msgspec import field, Struct

from kdns.cluster.balancers import Entrance, entrance_key, External, ServiceStatus
from kdns.cluster.external import balanced, each
from kdns.cluster.objects import Metadata
from kdns.dns import names

GROUP = "gateway.networking.k8s.io"
MOST_NAMES = 10_000  # of one Ingress


class IngressRule(Struct, gc=False):
    host: str | None = None


class IngressSpec(Struct, gc=False):
    rules: tuple[IngressRule, ...] | None = None


class IngressObject(Struct, gc=False):
    metadata: Metadata
    spec: IngressSpec = field(default_factory=IngressSpec)
    status: ServiceStatus | None = None


class GatewayAddress(Struct, gc=False):
    value: str = ""
    type: str | None = None


class GatewayStatus(Struct, gc=False):
    addresses: tuple[GatewayAddress, ...] | None = None


class GatewayObject(Struct, gc=False):
    metadata: Metadata
    status: GatewayStatus | None = None


class ParentRef(Struct, gc=False, frozen=True):
    group: str | None = None
    kind: str | None = None
    namespace: str | None = None
    name: str = ""
    sectionName: str | None = None
    port: int | None = None


class RouteSpec(Struct, gc=False):
    hostnames: tuple[str, ...] | None = None
    parentRefs: tuple[ParentRef, ...] | None = None


class RouteCondition(Struct, gc=False):
    type: str = ""
    status: str = ""


class RouteParent(Struct, gc=False):
    parentRef: ParentRef = field(default_factory=ParentRef)
    conditions: tuple[RouteCondition, ...] | None = None


class RouteStatus(Struct, gc=False):
    parents: tuple[RouteParent, ...] | None = None


class RouteObject(Struct, gc=False):
    """An HTTPRoute, a GRPCRoute or a TLSRoute."""

    metadata: Metadata
    spec: RouteSpec = field(default_factory=RouteSpec)
    status: RouteStatus | None = None


EntranceObject = IngressObject | GatewayObject | RouteObject
STRUCTS: dict[str, type[EntranceObject]] = {
    "Gateway": GatewayObject, "Ingress": IngressObject,
    "HTTPRoute": RouteObject, "GRPCRoute": RouteObject, "TLSRoute": RouteObject,
}  # fmt: skip


def entrance(o: EntranceObject, kind: str) -> Entrance | None:
    """An object of a kind, compact; None where it asks for no name and is no Gateway. What is no name is passed over."""
    key = entrance_key(o.metadata.namespace, o.metadata.name, kind)
    if isinstance(o, GatewayObject):
        given = (o.status.addresses if o.status is not None else None) or ()
        addresses = tuple(each(names.packed, [one.value for one in given if one.type in (None, "IPAddress")]))
        called = tuple(each(names.absolute, [one.value for one in given if one.type == "Hostname"]))
        return Entrance(key, External(addresses, called, ()))
    if isinstance(o, IngressObject):
        asked = _asked("spec.rules", [rule.host for rule in o.spec.rules or ()])
        return Entrance(key, External(*balanced(o.status), asked)) if asked else None
    asked = _asked("spec.hostnames", o.spec.hostnames or ())
    return Entrance(key, External((), (), asked), _gateways(o)) if asked else None


def _asked(field: str, hosts: Iterable[str | None]) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(each(names.absolute, hosts)))
    if len(asked) > MOST_NAMES:
        raise ValueError(f"{field}: more than {MOST_NAMES} names")
    return asked


def _gateways(o: RouteObject) -> tuple[str, ...]:
    """The Gateways of a route, but those that say that they do not take it: it must not have a name for want of a right."""
    told = (o.status.parents if o.status is not None else None) or ()
    refused = {
        parent.parentRef for parent in told
        if any(one.type == "Accepted" and one.status == "False" for one in parent.conditions or ())
    }  # fmt: skip
    return tuple(dict.fromkeys(
        entrance_key(ref.namespace or o.metadata.namespace, ref.name, "Gateway")
        for ref in o.spec.parentRefs or ()
        if (ref.kind or "Gateway") == "Gateway" and (ref.group or GROUP) == GROUP and not _among(ref, refused)
    ))  # fmt: skip


def _among(ref: ParentRef, refused: Iterable[ParentRef]) -> bool:
    """The status may write out what the spec leaves to its default."""
    return any(
        (ref.namespace or one.namespace, ref.name, ref.sectionName, ref.port)
        == (one.namespace or ref.namespace, one.name, one.sectionName, one.port)
        for one in refused
    )
