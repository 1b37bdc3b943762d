"""One Service with its slices, as the RRsets at a name below it. Pure; nothing is kept, for the memo is the cache.

In the order of the Kubernetes DNS specification 1.1.0: addresses of the Service (2.3.1, 2.4.1), SRV of its named ports
(2.3.2, 2.4.2), names of its endpoints, PTR (2.3.3, 2.4.3), aliases (2.5); then zone-scoped names (`zonal`).

What costs by the record stops at the room of the reply: of a thousand SRV only so many are made that the reply is full.
"""

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from kdns.cluster.columns import endpoints, hostname_at, hostname_places, hostnames_of
from kdns.cluster.objects import joined, Port, Service, Slice
from kdns.dns import names
from kdns.dns.response import RRset
from kdns.dns.types import A, AAAA, ANY, CNAME, SRV

_WIDTH = {A: 4, AAAA: 16}
srv = struct.Struct("!3H").pack


class Naming(NamedTuple):
    """How names are made: the zone's origin, TTL in seconds, whether an endpoint may be called by its Pod."""

    origin: str
    ttl: int
    pods: bool = False
    zonal: bool = False


class Found(NamedTuple):
    """What stands at a name: whether it exists, or a name below it; its RRsets of the type asked, and their glue."""

    exists: bool
    answer: tuple[RRset, ...] = ()
    additional: tuple[RRset, ...] = ()


NOTHING, EMPTY = Found(False), Found(True)


def at(
    service: Service, slices: tuple[Slice, ...], below: list[str], type: int, name: str, naming: Naming, room: int
) -> Found:
    """What stands at `name`, whose labels below the Service are `below`, leftmost first; `room` octets are enough.

    The Service has an address or an endpoint: one that has neither does not exist for DNS, nor does a name below it.
    """
    if not below:
        return _service(service, slices, type, name, naming, room)
    if below[-1] == "_zone":
        return _zonal(service, slices, below[:-1], type, name, naming, room) if naming.zonal else NOTHING
    if below[-1].startswith("_"):
        return _port(service, slices, below, type, name, naming, room)
    if len(below) == 1:
        return _endpoint(slices, below[0], type, name, naming)
    return NOTHING


def alias(service: Service, slices: tuple[Slice, ...]) -> str | None:
    """The target where the Service is an alias: an ExternalName, or headless with one endpoint that is a name (FQDN)."""
    if service.alias or service.ips or not slices:
        return service.alias
    targets = [target for s in slices if not s.width for target in hostnames_of(s)]
    return targets[0] if len(targets) == 1 and not any(s.addresses for s in slices) else None


def cname(name: str, target: str, naming: Naming) -> RRset:
    """The record of an alias."""
    return RRset(name, CNAME, naming.ttl, (names.wire(target),))


def has_endpoints(slices: tuple[Slice, ...]) -> bool:
    """True where an address may be served."""
    return any(s.addresses for s in slices)


def base(service: str, origin: str) -> str:
    """The name of a Service by its key, in a zone."""
    namespace, _, label = service.partition("/")
    return f"{label}.{namespace}.svc.{origin.lstrip('.')}"


def pointers(service: Service, slices: tuple[Slice, ...], address: bytes, naming: Naming) -> dict[str, bool]:
    """The names of a Service's endpoints that have an address, and of each whether it is by a hostname."""
    own = base(service.key, naming.origin)
    called = {}
    for s in slices:
        for i in _aligned(s, address) if s.width == len(address) else ():
            hostname = hostname_at(s, i)
            called[f"{label_of(s, i, hostname, address, naming)}.{own}"] = bool(hostname)
    return called


def addresses(name: str, ttl: int, packed: Iterator[bytes] | list[bytes] | tuple[bytes, ...]) -> tuple[RRset, ...]:
    """Address RRsets of a name, A before AAAA; an address that comes twice stands once."""
    if isinstance(packed, tuple) and len(packed) == 1:
        return (RRset(name, A if len(packed[0]) == 4 else AAAA, ttl, packed),)
    every = dict.fromkeys(packed)
    sets = ((A, tuple([a for a in every if len(a) == 4])), (AAAA, tuple([a for a in every if len(a) == 16])))
    return tuple([RRset(name, type, ttl, rdata) for type, rdata in sets if rdata])


def _of_type(rrsets: tuple[RRset, ...], type: int) -> Found:
    """ANY gets one RRset (RFC 8482 4.1)."""
    return Found(True, rrsets[:1] if type == ANY else tuple([r for r in rrsets if r.type == type]))


def _service(service: Service, slices: tuple[Slice, ...], type: int, name: str, naming: Naming, room: int) -> Found:
    if type == SRV:
        return _srv(service, slices, lambda port: True, name, naming, room)
    width = _WIDTH.get(type)
    if width is None and type != ANY:
        return EMPTY
    if service.ips:
        return _of_type(addresses(name, naming.ttl, service.ips), type)
    some = [s for s in slices if s.width == width or (type == ANY and s.width)]
    if len(some) == 1 and type != ANY:
        rdata = tuple(dict.fromkeys(endpoints(some[0])))
        return Found(True, (RRset(name, type, naming.ttl, rdata),)) if rdata else EMPTY
    return _of_type(addresses(name, naming.ttl, [a for s in some for a in endpoints(s)]), type)


def _port(
    service: Service, slices: tuple[Slice, ...], below: list[str], type: int, name: str, naming: Naming, room: int
) -> Found:
    """`_port._protocol` has SRV records only; `_protocol` is an empty non-terminal above them."""
    protocol = below[-1][1:]
    every = service.ports if service.ips else [p for s in slices if s.addresses for p in s.ports]
    if len(below) == 1:
        return Found(any(p.protocol == protocol and p.name for p in every))
    if len(below) > 2 or not below[0].startswith("_") or below[0] == "_":
        return NOTHING

    def wanted(port: Port) -> bool:
        return port.name == below[0][1:] and port.protocol == protocol

    if not any(map(wanted, every)):
        return NOTHING
    return _srv(service, slices, wanted, name, naming, room) if type == SRV else EMPTY


def label_of(s: Slice, i: int, hostname: str, address: bytes, naming: Naming) -> str:
    """What an endpoint is called: its hostname, else where asked for its Pod, else its address with dashes."""
    return hostname or (_pod(s.pods[i]) if naming.pods and s.pods else None) or names.dashed(address)


def _called(slices: tuple[Slice, ...], label: str, naming: Naming) -> list[tuple[Slice, bytes]]:
    """The endpoints of a label, each with its slice; found without making every endpoint's label."""
    address = names.undashed(label)
    if address is not None and names.dashed(address) != label:
        address = None
    found = []
    for s in slices:
        width = s.width
        if not width:
            continue
        places = hostname_places(s, label)
        if address is not None and len(address) == width:
            places += _unnamed(s, _aligned(s, address), naming)
        if naming.pods and s.pods and label in s.pods:
            places += [i for i, each in enumerate(s.pods) if each == label and _pod(each) and not hostname_at(s, i)]
        found += [(s, s.addresses[i * width : (i + 1) * width]) for i in places]
    return found


def _unnamed(s: Slice, places: list[int], naming: Naming) -> list[int]:
    """Those of a slice's endpoints that are called by their address."""
    return [i for i in places if not hostname_at(s, i) and not (naming.pods and s.pods and _pod(s.pods[i]))]


def _pod(name: str | None) -> str | None:
    """The name of a Pod where it can be a label."""
    return name if name and len(name) <= names.MAX_LABEL and "." not in name else None


def _aligned(s: Slice, address: bytes) -> list[int]:
    """Where an address stands among a slice's."""
    places = []
    at = s.addresses.find(address)
    while at >= 0:
        if at % s.width == 0:
            places.append(at // s.width)
        at = s.addresses.find(address, at + 1)
    return places


def _endpoint(slices: tuple[Slice, ...], label: str, type: int, name: str, naming: Naming) -> Found:
    found = _called(slices, label, naming)
    if not found:
        return NOTHING
    if type != SRV and len(found) == 1 and type != ANY:
        address = found[0][1]
        return Found(True, (RRset(name, type, naming.ttl, (address,)),)) if _WIDTH.get(type) == len(address) else EMPTY
    if type != SRV:
        return _of_type(addresses(name, naming.ttl, [address for _, address in found]), type)
    return endpoint_srv(found, name, naming)


def endpoint_srv(found: list[tuple[Slice, bytes]], name: str, naming: Naming) -> Found:
    """SRV of the endpoints of one name, each with its slice; with glue."""
    pairs = [(p.number, address) for s, address in found for p in s.ports if p.number]
    if not pairs:
        return EMPTY
    numbers = [number for number, _ in pairs]
    glue = addresses(name, naming.ttl, [address for _, address in pairs])
    target = names.wire(name)
    rdata = tuple([srv(0, weight_of(len(numbers)), number) + target for number in dict.fromkeys(numbers)])
    return Found(True, (RRset(name, SRV, naming.ttl, rdata),), glue)


def weight_of(pairs: int) -> int:
    return max(1, 100 // pairs)


@lru_cache(4096)
def _wire(name: str) -> bytes:
    return names.wire(name)


def _srv(
    service: Service, slices: tuple[Slice, ...], wanted: Callable[[Port], bool], name: str, naming: Naming, room: int
) -> Found:
    """SRV of the wanted ports: to the Service where it has ClusterIPs, else to each endpoint; with glue."""
    own = base(service.key, naming.origin)
    if service.ips:
        numbers = [p.number for p in service.ports if wanted(p)]
        if not numbers:
            return EMPTY
        weight, target = weight_of(len(numbers) * len(service.ips)), _wire(own)
        rdata = tuple([srv(0, weight, number) + target for number in dict.fromkeys(numbers)])
        return Found(True, (RRset(name, SRV, naming.ttl, rdata),), addresses(own, naming.ttl, service.ips))
    ports = [(s, [p.number for p in s.ports if p.number and wanted(p)]) for s in slices if s.addresses]
    pairs = sum(len(numbers) * (len(s.addresses) // s.width) for s, numbers in ports)
    if not pairs:
        return EMPTY
    weight, tail = weight_of(pairs), _wire(own)
    records: dict[bytes, None] = {}
    glue: dict[str, list[bytes]] = {}
    size = 0  # octets of the records
    for s, numbers in ports:
        hostnames = hostnames_of(s)
        for i, address in enumerate(endpoints(s)) if numbers else ():
            label = label_of(s, i, hostnames[i] if hostnames else "", address, naming)
            target = bytes((len(label),)) + label.encode() + tail
            before = len(records)
            for number in numbers:
                records[srv(0, weight, number) + target] = None
            glue.setdefault(label, []).append(address)
            size += (len(records) - before) * (len(target) + 18)
            if size > room:
                break  # the reply is full: the rest would be made to be thrown away
    additional = [r for label, every in glue.items() for r in addresses(f"{label}.{own}", naming.ttl, every)]
    return Found(True, (RRset(name, SRV, naming.ttl, tuple(records)),), tuple(additional))


def _zonal(
    service: Service, slices: tuple[Slice, ...], below: list[str], type: int, name: str, naming: Naming, room: int
) -> Found:
    """`<zone>.pin._zone` has the endpoints of a zone, `<zone>.prefer._zone` those, or all where it has none."""
    if service.ips:
        return NOTHING
    if len(below) < 2 or below[-1] not in ("pin", "prefer"):
        return EMPTY if not below or below in (["pin"], ["prefer"]) else NOTHING
    zone = ".".join(below[:-1])
    near = tuple(local for s in slices if (local := _within(s, zone)))
    if not near and below[-1] == "prefer":
        near = slices
    return _service(service, near, type, name, naming, room)


def _within(s: Slice, zone: str) -> Slice | None:
    """A slice with its endpoints in a zone only; None where there are none."""
    if not s.zones or not s.width or zone not in s.zones:
        return None
    at = [i for i, each in enumerate(s.zones) if each == zone]
    every, hostnames = endpoints(s), hostnames_of(s)
    return s._replace(
        addresses=b"".join([every[i] for i in at]),
        hostnames=joined([hostnames[i] for i in at]) if hostnames else None,
        pods=tuple([s.pods[i] for i in at]) if s.pods else None,
        zones=(zone,) * len(at),
    )
