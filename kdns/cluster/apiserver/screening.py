"""Names in an API server's objects that are none: they must not reach an answer.

An API server has checked all this, if it is one. Checked is only what DNS says again, and only that it is a name: an object
of a later Kubernetes may have kinds of ports and policies that are not known here. No I/O.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from kdns.cluster.objects import (
    EndpointObject,
    EndpointsObject,
    Metadata,
    NamespaceObject,
    PortObject,
    ServiceObject,
    SliceObject,
)

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.IGNORECASE).fullmatch
_LABELS = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\n|\Z))*+", re.IGNORECASE).fullmatch  # one a line
_OBJECT = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9.]*[a-z0-9])?").fullmatch
_HOST = re.compile(r"[-_*.a-z0-9]{1,254}", re.IGNORECASE).fullmatch
_OBJECTS = b"-.0123456789abcdefghijklmnopqrstuvwxyz"  # what names of objects are made of
_PORTS = 20_000  # as many as the API allows a slice


def screen(o: Any) -> None:
    """ValueError, as "field: what is wrong", where a name of the object cannot be one."""
    _metadata(o.metadata, namespaced=not isinstance(o, NamespaceObject))
    if isinstance(o, ServiceObject):
        _label("metadata.name", o.metadata.name)
        _ports("spec.ports", o.spec.ports)
        _host("spec.externalName", o.spec.externalName)
    elif isinstance(o, SliceObject):
        _ports("ports", o.ports)
        _endpoints(o.endpoints or ())
        if o.addressType == "FQDN":
            for address in (address for e in o.endpoints or () for address in e.addresses):
                _host("endpoints.addresses", address)
    elif isinstance(o, EndpointsObject):
        for subset in o.subsets or ():
            _ports("subsets.ports", subset.ports)
            for some in (*(subset.addresses or ()), *(subset.notReadyAddresses or ())):
                _label("subsets.addresses.hostname", some.hostname)
                _object("subsets.addresses.targetRef.name", some.targetRef.name if some.targetRef else None)


def _endpoints(endpoints: Iterable[EndpointObject]) -> None:
    """There are many, and each has a Pod: their names are looked at together, and one by one where one is odd."""
    hostnames = [e.hostname for e in endpoints if e.hostname]
    if not _LABELS("\n".join(hostnames)) or "\n" in "".join(hostnames):
        for hostname in hostnames:
            _label("endpoints.hostname", hostname)
    pods = [e.targetRef.name for e in endpoints if e.targetRef is not None and e.targetRef.name]
    if "".join(pods).encode().translate(None, _OBJECTS) or max(map(len, pods), default=0) > 253:
        for pod in pods:
            _object("endpoints.targetRef.name", pod)


def _metadata(metadata: Metadata, namespaced: bool) -> None:
    _object("metadata.name", metadata.name or " ")
    if namespaced or metadata.namespace:
        _namespace(metadata.namespace or " ")


@lru_cache(4096)
def _namespace(name: str) -> None:
    """Very many objects share few."""
    _label("metadata.namespace", name)


def _ports(field: str, ports: Iterable[PortObject] | None) -> None:
    for i, port in enumerate(ports or ()):
        if i == _PORTS:
            raise ValueError(f"{field}: more than {_PORTS}")
        _port(field, port)


@lru_cache(4096)
def _port(field: str, port: PortObject) -> None:
    """A cluster has few that differ: one that was sound is not looked at again."""
    _label(f"{field}.name", port.name)
    _label(f"{field}.protocol", port.protocol)
    if port.port is not None and not 0 <= port.port <= 65535:
        raise ValueError(f"{field}.port: no port")


def _label(field: str, text: str | None) -> None:
    if text and not _LABEL(text):
        raise ValueError(f"{field}: {_shown(text)} is no DNS label")


def _object(field: str, text: str | None) -> None:
    if text and not _OBJECT(text):
        raise ValueError(f"{field}: {_shown(text)} is no object's name")


def _host(field: str, text: str | None) -> None:
    if text and not _HOST(text):
        raise ValueError(f"{field}: {_shown(text)} is no host name")


def _shown(text: str) -> str:
    return repr(text[:80])
