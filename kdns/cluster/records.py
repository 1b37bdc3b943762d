"""One Service with its slices, as the RRsets at a name below it. Pure; nothing is kept, for the memo is the cache.

In the order of the Kubernetes DNS specification 1.1.0: addresses of the Service (2.3.1, 2.4.1), SRV of its named ports
(2.3.2, 2.4.2), names of its endpoints, PTR (2.3.3, 2.4.3), aliases (2.5); then zone-scoped names (`zonal`).

What costs by the record stops at the room of the reply: of a thousand SRV only so many are made that the reply is full, and
which ones is left to chance. Addresses are turned by whoever sends them (`ring`), so up to a round of them are all made,
whatever fits; of more, so many in a row from a random one on. Such an answer is not `whole`: it is good for a second,
so that none of the endpoints is asked more than others for long.
"""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from kdns.cluster import members
from kdns.cluster.columns import address_places, hostname_at
from kdns.cluster.members import Naming
from kdns.cluster.objects import Port, Service, Slice
from kdns.dns import names
from kdns.dns.response import RRset
from kdns.dns.ring import LARGEST_ROUND
from kdns.dns.types import A, AAAA, ANY, CNAME, SRV

NEAR = 250  # of a zone: they have to be picked, which takes longer than to take all in a row
BEFORE_RDATA = 12  # octets of a record whose owner is a pointer

AROUND = 28  # octets of a message beside its records and the name asked: header, type and class, OPT

_WIDTH = {A: 4, AAAA: 16}
_HAS: dict[int, Callable[[Slice], bool]] = {  # slices whose endpoints have records of a type; of any other, every slice
    A: lambda s: s.width == 4,
    AAAA: lambda s: s.width == 16,
    SRV: lambda s: any(p.number for p in s.ports),
}
srv = struct.Struct("!3H").pack


class Found(NamedTuple):
    """What stands at a name: whether it exists, or a name below it; its RRsets of the type asked, and their glue."""

    exists: bool
    answer: tuple[RRset, ...] = ()
    additional: tuple[RRset, ...] = ()
    whole: bool = True  # or one of several answers, of what there is too much of


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
        return _endpoint(slices, below[0], type, name, naming, room)
    return NOTHING


def alias(service: Service, slices: tuple[Slice, ...]) -> str | None:
    """The target where the Service is an alias: an ExternalName, or headless with one endpoint that is a name (FQDN)."""
    if service.alias or service.ips or has_endpoints(slices):
        return service.alias
    named = [s.hostnames for s in slices if s.hostnames]
    return named[0][1:-1] if len(named) == 1 and named[0].count("\0") == 2 else None


def cname(name: str, target: str, naming: Naming) -> RRset:
    """The record of an alias."""
    return RRset(name, CNAME, naming.ttl, (names.wire(target),))


def has_endpoints(slices: tuple[Slice, ...]) -> bool:
    """True where an address may be served."""
    return bool(slices) and (bool(slices[0].addresses) or any(s.addresses for s in slices))


def base(service: str, origin: str, middle: str = "svc.") -> str:
    """The name of a Service by its key, in a zone; `middle` stands between that and its namespace."""
    namespace, _, label = service.partition("/")
    return f"{label}.{namespace}.{middle}{origin.lstrip('.')}"


def pointers(service: Service, slices: tuple[Slice, ...], address: bytes, naming: Naming) -> dict[str, bool]:
    """The names of a Service's endpoints that have an address, and of each whether it is by a hostname."""
    own = base(service.key, naming.origin, naming.middle)
    called = {}
    for s in slices:
        if address not in s.addresses:
            continue
        for i in address_places(s, address):
            hostname = hostname_at(s, i)
            called[f"{members.label_of(s, i, hostname, address, naming)}.{own}"] = bool(hostname)
    return called


def addresses(name: str, ttl: int, packed: Sequence[bytes]) -> tuple[RRset, ...]:
    """Address RRsets of a name, A before AAAA; an address that comes twice stands once."""
    if len(packed) == 1:
        return (RRset(name, A if len(packed[0]) == 4 else AAAA, ttl, tuple(packed)),)
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
    if width is None:
        return _packed(slices, A, name, naming, room) or _packed(slices, AAAA, name, naming, room) or EMPTY
    return _packed(slices, type, name, naming, room) or EMPTY


def _packed(slices: tuple[Slice, ...], type: int, name: str, naming: Naming, room: int) -> Found | None:
    width = _WIDTH[type]
    rdata, whole = members.packed(slices, width, max(LARGEST_ROUND, room // (BEFORE_RDATA + width) + 1))
    return Found(True, (RRset(name, type, naming.ttl, rdata),), (), whole) if rdata else None


def _port(
    service: Service, slices: tuple[Slice, ...], below: list[str], type: int, name: str, naming: Naming, room: int
) -> Found:
    """`_port._protocol` has SRV records only; `_protocol` is an empty non-terminal above them."""
    protocol = below[-1][1:]
    every: Sequence[Port] = service.ports
    if not service.ips:  # few of the slices have lists of their own
        lists = {id(s.ports): s.ports for s in slices if s.addresses}
        every = list(chain.from_iterable(lists.values()))
    if len(below) == 1:
        return Found(any(p.protocol == protocol and p.name for p in every))
    if len(below) > 2 or not below[0].startswith("_") or below[0] == "_":
        return NOTHING

    def wanted(port: Port) -> bool:
        return port.name == below[0][1:] and port.protocol == protocol

    if not any(map(wanted, every)):
        return NOTHING
    return _srv(service, slices, wanted, name, naming, room) if type == SRV else EMPTY


def _endpoint(slices: tuple[Slice, ...], label: str, type: int, name: str, naming: Naming, room: int) -> Found:
    found, whole = members.called(slices, label, naming, _HAS.get(type, bool), room // (BEFORE_RDATA + 4))
    if not found:
        return NOTHING
    if type != SRV and len(found) == 1 and type != ANY:
        address = found[0][1]
        return Found(True, (RRset(name, type, naming.ttl, (address,)),)) if _WIDTH.get(type) == len(address) else EMPTY
    if type != SRV:
        return _of_type(addresses(name, naming.ttl, [address for _, address in found]), type)._replace(whole=whole)
    return endpoint_srv(found, name, naming)._replace(whole=whole)


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


def balanced_srv(service: Service, target: str, below: list[str], name: str, type: int, naming: Naming) -> Found:
    """The ports of a Service whose load balancer has a name only, at their labels below it: SRV point to that name."""
    protocols = [port for port in service.ports if f"_{port.protocol}" == below[-1]]
    wanted = [port.number for port in protocols if len(below) == 2 and below[0] == f"_{port.name}" and port.name]
    if not wanted:
        return Found(len(below) == 1 and any(port.name for port in protocols))
    rdata = tuple([srv(0, weight_of(len(wanted)), number) + names.wire(target) for number in wanted])
    return Found(True, (RRset(name, SRV, naming.ttl, rdata),) if type in (SRV, ANY) else ())


def weight_of(pairs: int) -> int:
    return max(1, 100 // pairs)


@lru_cache(4096)
def _wire(name: str) -> bytes:
    return names.wire(name)


def _srv(
    service: Service, slices: tuple[Slice, ...], wanted: Callable[[Port], bool], name: str, naming: Naming, room: int
) -> Found:
    """SRV of the wanted ports: to the Service where it has ClusterIPs, else to each endpoint; with glue."""
    own = base(service.key, naming.origin, naming.middle)
    if service.ips:
        numbers = [p.number for p in service.ports if wanted(p)]
        if not numbers:
            return EMPTY
        weight, target = weight_of(len(numbers) * len(service.ips)), _wire(own)
        rdata = tuple([srv(0, weight, number) + target for number in dict.fromkeys(numbers)])
        return Found(True, (RRset(name, SRV, naming.ttl, rdata),), addresses(own, naming.ttl, service.ips))
    parts = members.with_ports(slices, wanted)
    pairs = sum([len(numbers) * (len(s.addresses) // s.width) for s, numbers in parts])
    if not pairs:
        return EMPTY
    weight, tail = weight_of(pairs), _wire(own)
    heads = {number: srv(0, weight, number) for _, numbers in parts for number in numbers}
    records: dict[bytes, None] = {}
    called: list[tuple[str, bytes]] = []
    size = 0  # octets of the records
    for s, i, hostname, numbers in members.from_anywhere(parts):
        address = s.addresses[i * s.width : (i + 1) * s.width]
        label = members.label_of(s, i, hostname, address, naming)
        target = b"%c%b%b" % (len(label), label.encode(), tail)
        before = len(records)
        for number in numbers:
            records[heads[number] + target] = None
        size += (len(records) - before) * (len(target) + BEFORE_RDATA + 6)
        if size > room:  # the reply is full: the rest, and all glue, would be made to be thrown away
            return Found(True, (RRset(name, SRV, naming.ttl, tuple(records)),), whole=False)
        called.append((label, address))
    glue: dict[str, list[bytes]] = {}
    for label, address in called:
        glue.setdefault(label, []).append(address)
    additional: list[RRset] = []
    left = room - size
    for label, every in glue.items():
        left -= len(label) + BEFORE_RDATA + 5
        if left < 0:
            break
        additional += addresses(f"{label}.{own}", naming.ttl, every)
    fits = size <= room - len(name) - AROUND
    return Found(True, (RRset(name, SRV, naming.ttl, tuple(records)),), tuple(additional), fits)


def _zonal(
    service: Service, slices: tuple[Slice, ...], below: list[str], type: int, name: str, naming: Naming, room: int
) -> Found:
    """`<zone>.pin._zone` has the endpoints of a zone, `<zone>.prefer._zone` those, or all where it has none."""
    if service.ips:
        return NOTHING
    if len(below) < 2 or below[-1] not in ("pin", "prefer"):
        return EMPTY if not below or below in (["pin"], ["prefer"]) else NOTHING
    zone = ".".join(below[:-1])
    wanted = _HAS.get(type, bool)
    near, whole = members.near(slices, zone, wanted, max(NEAR, room // (BEFORE_RDATA + 4) + 1))
    if not near and below[-1] == "prefer":
        near, _ = members.near(slices, zone, lambda s: not wanted(s), 0)
        near = near or slices
    found = _service(service, near, type, name, naming, room)
    return found if whole else found._replace(whole=False)
