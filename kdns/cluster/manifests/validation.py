"""What an API server would refuse in an object, as far as DNS rests on it.

Objects from an API server have passed this; those written by hand have not. Each check raises ValueError with
"field: what is wrong", and changes nothing. No I/O.
"""

import re
from collections.abc import Collection
from typing import Any

from kdns.cluster.entrances import GatewayObject, IngressObject, RouteObject
from kdns.cluster.manifests.workloads import check_workload, WorkloadObject
from kdns.cluster.objects import (
    EndpointAddress,
    EndpointsObject,
    Metadata,
    NamespaceObject,
    NodeObject,
    PodObject,
    PortObject,
    ServiceObject,
    SliceObject,
)
from kdns.dns import names

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?").fullmatch
_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*").fullmatch
_LABEL_RULE = "is no DNS label: a-z, 0-9 and '-', at most 63, first and last not '-'"
_SUBDOMAIN_RULE = "is no object name: DNS labels with dots between them, in lower case"

_HOST = re.compile(r"(?i)([a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?\.?").fullmatch

_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
_FAMILIES = ("IPv4", "IPv6")
_PROTOCOLS = ("TCP", "UDP", "SCTP")


def check(o: Any, strict: bool = False) -> None:
    """Any of the API's objects; ValueError where it cannot be served, or is almost right and may not be."""
    if isinstance(o, ServiceObject):
        _service(o)
        if strict:
            _told_apart(o.spec.ports or ())
        if strict and o.spec.type == "ExternalName":
            _host("spec.externalName", o.spec.externalName or "")
    elif isinstance(o, SliceObject):
        _slice(o)
    elif isinstance(o, EndpointsObject):
        _endpoints(o)
    elif isinstance(o, PodObject):
        _pod(o)
    elif isinstance(o, NamespaceObject):
        _label("metadata.name", o.metadata.name)
    elif isinstance(o, NodeObject):
        _subdomain("metadata.name", o.metadata.name)
    elif isinstance(o, IngressObject | GatewayObject | RouteObject):
        _object_name(o.metadata)
        _entrance(o)
    elif isinstance(o, WorkloadObject):
        _object_name(o.metadata)
        check_workload(o, strict)
        template = o.spec.template
        try:
            _pod(PodObject(Metadata(name=o.metadata.name), template.spec))
        except ValueError as error:
            raise ValueError(f"spec.template.{error}") from None


def _host(field: str, name: str) -> None:
    try:
        names.packed(name)
    except ValueError:
        if not _HOST(name):
            raise ValueError(f"{field}: '{name}' is no host name: labels of letters, digits and '-', dots between them") from None
    else:
        raise ValueError(f"{field}: '{name}' is an address: an alias needs a name; Endpoints can have addresses")


def _entrance(o: IngressObject | GatewayObject | RouteObject) -> None:
    if isinstance(o, IngressObject):
        for i, rule in enumerate(o.spec.rules or ()):
            _asked(f"spec.rules[{i}].host", rule.host or "*.example")
        balancer = o.status.loadBalancer if o.status is not None else None
        for i, one in enumerate((balancer.ingress if balancer is not None else None) or ()):
            if one.ip:
                _refused(f"status.loadBalancer.ingress[{i}].ip", names.packed, one.ip)
    elif isinstance(o, RouteObject):
        for i, name in enumerate(o.spec.hostnames or ()):
            _asked(f"spec.hostnames[{i}]", name)
        for i, ref in enumerate(o.spec.parentRefs or ()):
            _subdomain(f"spec.parentRefs[{i}].name", ref.name)
    else:
        for i, address in enumerate((o.status.addresses if o.status is not None else None) or ()):
            if address.type in (None, "IPAddress"):
                _refused(f"status.addresses[{i}].value", names.packed, address.value)


def _asked(field: str, name: str) -> None:
    """A host name, perhaps with `*.` before it."""
    try:
        names.packed(name)
    except ValueError:
        _host(field, name.removeprefix("*."))
    else:
        raise ValueError(f"{field}: '{name}' is an address: a host is asked for by its name")


def _service(o: ServiceObject) -> None:
    spec = o.spec
    _namespaced(o.metadata)
    _label("metadata.name", o.metadata.name)
    _one_of("spec.type", spec.type, _TYPES)
    _one_of("spec.ipFamilyPolicy", spec.ipFamilyPolicy, _POLICIES)
    for i, family in enumerate(spec.ipFamilies or ()):
        _one_of(f"spec.ipFamilies[{i}]", family, _FAMILIES)
    _ports("spec.ports", spec.ports, needed=True)
    for i, port in enumerate(spec.ports or ()):
        if isinstance(port.targetPort, str) and port.targetPort.isdecimal():
            raise ValueError(f"spec.ports[{i}].targetPort: '{port.targetPort}' is a number: write it without quotes")
    if spec.type == "ExternalName":
        if not spec.externalName:
            raise ValueError("spec.externalName: missing")
        _refused("spec.externalName", names.wire, spec.externalName)
        return
    if spec.clusterIP not in (None, "", "None"):
        if spec.clusterIP.lower() == "none":
            raise ValueError(f"spec.clusterIP: '{spec.clusterIP}' is no address, did you mean 'None'?")
        _refused("spec.clusterIP", names.packed, spec.clusterIP)
    for i, ip in enumerate(spec.clusterIPs or ()):
        if ip not in ("", "None"):
            _refused(f"spec.clusterIPs[{i}]", names.packed, ip)


def _slice(o: SliceObject) -> None:
    _object_name(o.metadata)
    _one_of("addressType", o.addressType, (*_FAMILIES, "FQDN"))
    _ports("ports", o.ports, needed=False)
    width = {"IPv4": 4, "IPv6": 16}.get(o.addressType, 0)
    for i, e in enumerate(o.endpoints or ()):
        if not e.addresses:
            raise ValueError(f"endpoints[{i}].addresses: missing")
        if e.hostname and not _LABEL(e.hostname):
            raise ValueError(f"endpoints[{i}].hostname: '{e.hostname}' {_LABEL_RULE}")
        ref = e.targetRef
        if ref is not None and ref.name and not _SUBDOMAIN(ref.name):
            raise ValueError(f"endpoints[{i}].targetRef.name: '{ref.name}' {_SUBDOMAIN_RULE}")
        _address(i, e.addresses[0], width, o.addressType)


def _address(i: int, address: str, width: int, type: str) -> None:
    try:
        good = len(names.packed(address)) == width if width else bool(address and names.wire(address))
    except ValueError:
        good = False
    if not good:
        rule = f"is not an {type} address, as addressType says" if width else "is not a domain name, as addressType says"
        raise ValueError(f"endpoints[{i}].addresses[0]: '{address}' {rule}")


def _endpoints(o: EndpointsObject) -> None:
    _object_name(o.metadata)
    for i, subset in enumerate(o.subsets or ()):
        _ports(f"subsets[{i}].ports", subset.ports, needed=True)
        for j, address in enumerate(subset.addresses or ()):
            _endpoint_address(f"subsets[{i}].addresses[{j}]", address)
        for j, address in enumerate(subset.notReadyAddresses or ()):
            _endpoint_address(f"subsets[{i}].notReadyAddresses[{j}]", address)


def _endpoint_address(field: str, address: EndpointAddress) -> None:
    _refused(f"{field}.ip", names.packed, address.ip)
    if address.hostname:
        _label(f"{field}.hostname", address.hostname)
    if address.targetRef is not None and address.targetRef.name:
        _subdomain(f"{field}.targetRef.name", address.targetRef.name)


def _pod(o: PodObject) -> None:
    _object_name(o.metadata)
    if o.spec.hostname:
        _label("spec.hostname", o.spec.hostname)
    for i, container in enumerate(o.spec.containers or ()):
        for j, port in enumerate(container.ports or ()):
            _port_number(f"spec.containers[{i}].ports[{j}].containerPort", port.containerPort)
    if o.status.podIP:
        _refused("status.podIP", names.packed, o.status.podIP)
    for i, ip in enumerate(o.status.podIPs or ()):
        if ip.ip:
            _refused(f"status.podIPs[{i}].ip", names.packed, ip.ip)


# ---------------------------------------------------------------- the fields


def _ports(field: str, ports: tuple[PortObject, ...] | None, needed: bool) -> None:
    for i, port in enumerate(ports or ()):
        if needed or port.port is not None:  # a slice's port without a number stands for all ports
            _port_number(f"{field}[{i}].port", port.port)
        if port.name and not _LABEL(port.name):
            raise ValueError(f"{field}[{i}].name: '{port.name}' {_LABEL_RULE}")
        if port.protocol is not None and port.protocol not in _PROTOCOLS:
            _one_of(f"{field}[{i}].protocol", port.protocol, _PROTOCOLS)
        if isinstance(port.targetPort, int) and not 0 <= port.targetPort <= 65535:
            _port_number(f"{field}[{i}].targetPort", port.targetPort)


def _told_apart(ports: tuple[PortObject, ...]) -> None:
    """The ports of a Service have names, each its own; one alone may do without."""
    seen: dict[str, int] = {}
    for i, port in enumerate(ports):
        if not port.name and len(ports) > 1:
            raise ValueError(f"spec.ports[{i}].name: missing: of several ports each has a name")
        if port.name in seen:
            raise ValueError(f"spec.ports[{i}].name: '{port.name}' is there twice, first as spec.ports[{seen[port.name]}]")
        seen[port.name or ""] = i


def _port_number(field: str, number: int | None) -> None:
    if number is None:
        raise ValueError(f"{field}: missing")
    if not 1 <= number <= 65535:
        raise ValueError(f"{field}: {number if abs(number) < 1 << 64 else 'it'} is no port: 1 to 65535")


def _object_name(metadata: Metadata) -> None:
    _namespaced(metadata)
    _subdomain("metadata.name", metadata.name)


def _namespaced(metadata: Metadata) -> None:
    if metadata.namespace:
        _label("metadata.namespace", metadata.namespace)


def _label(field: str, text: str) -> None:
    if not text:
        raise ValueError(f"{field}: missing")
    if not _LABEL(text):
        raise ValueError(f"{field}: '{text}' {_LABEL_RULE}")


def _subdomain(field: str, text: str) -> None:
    if not text:
        raise ValueError(f"{field}: missing")
    if not _SUBDOMAIN(text):
        raise ValueError(f"{field}: '{text}' {_SUBDOMAIN_RULE}")


def _one_of(field: str, text: str | None, known: Collection[str]) -> None:
    if text is not None and text not in known:
        raise ValueError(f"{field}: '{text}' is none of {', '.join(known)}")


def _refused(field: str, parse: Any, text: Any) -> None:
    """ValueError with the field where `parse` refuses the text."""
    try:
        parse(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None
