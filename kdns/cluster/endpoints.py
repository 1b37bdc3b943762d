"""Endpoints as EndpointSlices, as the mirroring controller of a cluster makes them. No I/O.

For clusters that have no EndpointSlices of their own, and for manifests written by hand.
"""

from kdns.cluster.objects import (
    Conditions,
    EndpointAddress,
    EndpointObject,
    EndpointsObject,
    Metadata,
    PortObject,
    SERVICE_NAME,
    ServiceObject,
    SliceObject,
)  # fmt: skip

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
MOST = 100  # endpoints of a slice

Groups = dict[tuple[str, tuple[PortObject, ...]], list[EndpointObject]]  # by family and ports


def is_mirrored(o: EndpointsObject, of: ServiceObject | None) -> bool:
    """Are these Endpoints a person's own, of a Service that leaves them to a person?"""
    labels, annotations = o.metadata.labels or {}, o.metadata.annotations or {}
    return of is not None and not of.spec.selector and labels.get(SKIP_MIRROR) != "true" and LEADER not in annotations


def mirrored(o: EndpointsObject) -> list[SliceObject]:
    """Endpoints as slices: each subset is the product of its addresses and ports; a slice holds one family."""
    groups: Groups = {}
    for subset in o.subsets or ():
        for ready, addresses in ((True, subset.addresses), (False, subset.notReadyAddresses)):
            for address in addresses or ():
                group = groups.setdefault((family_of(address.ip), subset.ports or ()), [])
                group.append(_mirrored_endpoint(address, ready))
    return slices_of_groups(o.metadata, "endpointslicemirroring-controller.k8s.io", groups)


def _mirrored_endpoint(address: EndpointAddress, ready: bool) -> EndpointObject:
    return EndpointObject(
        addresses=(address.ip,),
        conditions=Conditions(ready=ready),
        hostname=address.hostname,
        targetRef=address.targetRef,
        nodeName=address.nodeName,
    )


def key_of(metadata: Metadata) -> str:
    return f"{metadata.namespace}/{metadata.name}"


def family_of(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def slices_of_groups(of: Metadata, controller: str, groups: Groups) -> list[SliceObject]:
    """Slices for each group. ":" stands in no object's name, so that these are nobody else's.

    As with a cluster's own controllers none is long, so that a change of one endpoint costs what the slice has.
    """
    labels = {**(of.labels or {}), SERVICE_NAME: of.name, MANAGED_BY: controller}
    parts = [
        (family, ports, endpoints[at : at + MOST])
        for (family, ports), endpoints in groups.items()
        for at in range(0, len(endpoints), MOST)
    ]
    return [
        SliceObject(
            Metadata(name=f"{of.name}:{family.lower()}:{i}", namespace=of.namespace, labels=labels),
            addressType=family,
            endpoints=part,
            ports=ports,
        )
        for i, (family, ports, part) in enumerate(parts)
    ]
