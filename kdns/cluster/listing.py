"""All the records of a zone of the cluster, for a transfer: what `Answers.look` says of each name that is not computed.

They come in steps of a hundred records or endpoints at most, so that whoever takes them can give others their turn between
two steps; a Service that has none is a step, too, and so is an address. Each Service is listed as it is when its turn comes, its
slices one by one: to merge those of a large one would take longer than a step. Names of Pods and zone-scoped names are computed
when they are asked for, there is no end of them: they are in no list.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import NamedTuple, TYPE_CHECKING

from msgspec.structs import replace

from kdns.cluster import members, records
from kdns.cluster.answers import Answers, is_reverse, VERSION_RDATA, VERSION_TTL
from kdns.cluster.columns import endpoints, hostnames_of
from kdns.cluster.members import Naming
from kdns.cluster.objects import Port, Service, Slice
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import RRset
from kdns.dns.types import A, AAAA, CNAME, NS, PTR, SRV, TXT
from kdns.dns.zone import Apex

if TYPE_CHECKING:
    from kdns.cluster.asked import Asked

STEP = 100  # records, and endpoints, of one step

ALL = 1 << 62  # octets: no reply is full

Step = list[RRset]  # perhaps empty: some work was done
Record = tuple[str, int, bytes]  # owner, type, rdata


def listing(answers: Answers, query: Query, origin: str) -> Iterator[Step]:
    """The records of a zone, the SOA first and last (RFC 5936 2.2); `query` is on whose behalf, for `ns.dns`."""
    store = answers.store
    soa = answers.apexes[origin].soa(store.hand_out())
    ttl = answers.options.ttl
    below = origin.lstrip(".")
    yield [soa, RRset(origin, NS, ttl, (names.wire("ns.dns." + below),)), *answers.front(query, origin)]
    if is_reverse(origin):
        yield from _pointers(answers, origin)
    else:
        yield [RRset("dns-version." + below, TXT, VERSION_TTL, (VERSION_RDATA,))]
        for key in list(store.services):
            yield []
            yield from service(answers, key, origin)
    yield [soa]


class ExternalZone(NamedTuple):
    """A zone of how Services are reached from outside of the cluster, and of the names that are asked for."""

    apex: Apex
    naming: Naming
    asked: "Asked"
    own: str  # below it nobody else has names
    headless: bool  # are endpoints of headless Services in it?


def external_listing(answers: Answers, zone: ExternalZone, top: Step) -> Iterator[Step]:
    """The records of such a zone as `listing` has them; `top` are those of its apex beside the SOA."""
    store, origin = answers.store, zone.naming.origin
    soa = zone.apex.soa(store.hand_out())
    yield [soa, *top]
    taken: dict[str, set[int]] = {}  # names that are asked for, and their types: they go before those of Services
    for name in zone.asked.names():
        if name in taken or name == origin or names.is_below(name, zone.own) or not names.is_below(name, origin):
            yield []
            continue
        found = _asked_for(name, zone)
        taken[name] = {rrset.type for rrset in found}
        yield list(found)
    for key in list(store.services):
        for step in chain([[]], _outside(answers, key, zone)):
            yield [rrset for rrset in step if not _is_taken(rrset, taken)]
    yield [soa]


def _asked_for(name: str, zone: ExternalZone) -> tuple[RRset, ...]:
    found = [rrset for type in (A, AAAA) for rrset in zone.asked.look(name, type, zone.naming.origin, zone.naming)[0].answer]
    return tuple(dict.fromkeys(found))  # an alias is said of both types


def _is_taken(rrset: RRset, taken: dict[str, set[int]]) -> bool:
    types = taken.get(rrset.name, ())
    return rrset.type in types or CNAME in types or (rrset.type == CNAME and bool(types))


def _outside(answers: Answers, key: str, zone: ExternalZone) -> Iterator[Step]:
    """The records of one Service as it is reached from outside."""
    one = answers.store.services.get(key)
    if one is None or one.alias or not answers.exposed(key.partition("/")[0]):
        return
    naming, external = zone.naming, one.external
    own = records.base(key, naming.origin, naming.middle)
    if names.is_below(own, zone.own):
        return
    slices = answers.store.slices_of(key) if zone.headless and not one.ips and not answers.options.noendpoints else ()
    if external is None or not (external.addresses or external.names):
        yield from _steps(chain(_of_endpoints(slices, own, naming), _below(slices, own, naming)), naming.ttl)
        return
    if external.addresses:
        outside = replace(one, ips=external.addresses)
        yield from _steps(_of_service(outside, (), own, naming), naming.ttl)
    else:
        yield [records.cname(own, external.names[0], naming)]
        for labels in _ports(one.ports):
            yield list(records.balanced_srv(one, external.names[0], labels, ".".join([*labels, own]), SRV, naming).answer)
    called = set()
    for name in (f"{label}.{own}" for s in slices for label, _ in _labelled(s, naming)):
        if name in called:
            yield []
        elif external.addresses:
            srv = records.at(outside, (), [], SRV, name, naming, ALL).answer
            yield [*records.addresses(name, naming.ttl, external.addresses), *srv]
        else:
            yield [records.cname(name, external.names[0], naming)]
        called.add(name)


def external_pointers(answers: Answers, zone: ExternalZone, called: Callable[[bytes], list[str]], top: Step) -> Iterator[Step]:
    """The same of a reverse zone: `called` are the names that an external address points to."""
    soa = zone.apex.soa(answers.store.hand_out())
    yield [soa, *top]
    for address in answers.store.outside.every():
        if isinstance(address, bytes) and names.is_below(names.reverse_name(address), zone.naming.origin):
            rdata = tuple(map(names.wire, called(address)))
            yield [RRset(names.reverse_name(address), PTR, zone.naming.ttl, rdata)] if rdata else []
        else:
            yield []
    yield [soa]


def service(answers: Answers, key: str, origin: str) -> Iterator[Step]:
    """The records of one Service, if it is to be seen and has any."""
    one = answers.store.services.get(key)
    if one is None or not answers.exposed(key.partition("/")[0]):
        return
    slices = () if answers.options.noendpoints else answers.store.slices_of(key)
    naming = answers.naming[origin]
    own = records.base(key, origin)
    target = records.alias(one, slices)
    if target is not None:
        yield [records.cname(own, target, naming)]
    elif answers.visible(one, slices):
        work = _of_service(one, slices, own, naming) if one.ips else _of_endpoints(slices, own, naming)
        yield from _steps(chain(work, _below(slices, own, naming)), naming.ttl)


def _of_service(service: Service, slices: tuple[Slice, ...], own: str, naming: Naming) -> Iterator[Record | None]:
    """ClusterIPs, and SRV to them."""
    found = records.addresses(own, naming.ttl, service.ips)
    for below in [[], *_ports(service.ports)]:
        name = ".".join([*below, own])
        found += records.at(service, slices, below, SRV, name, naming, ALL).answer
    for rrset in found:
        for rdata in rrset.rdata:
            yield rrset.name, rrset.type, rdata


def _ports(ports: Iterable[Port]) -> list[list[str]]:
    """The labels of those that have a name."""
    return [list(labels) for labels in dict.fromkeys((f"_{p.name}", f"_{p.protocol}") for p in ports if p.name)]


def _of_endpoints(slices: tuple[Slice, ...], own: str, naming: Naming) -> Iterator[Record | None]:
    """Addresses of a headless Service, and SRV to its endpoints."""
    seen = set()
    for s in slices:
        for address in endpoints(s):
            yield None if address in seen else (own, A if s.width == 4 else AAAA, address)
            seen.add(address)
    lists = {id(s.ports): s.ports for s in slices if s.addresses}  # many slices have one, and few have their own
    for labels in [[], *_ports(chain.from_iterable(lists.values()))]:
        yield from _srv(slices, labels, own, naming)


def _srv(slices: tuple[Slice, ...], labels: list[str], own: str, naming: Naming) -> Iterator[Record | None]:
    """SRV to endpoints: at the labels of a port, or of all ports where there are none."""
    name = ".".join([*labels, own])
    ports = members.with_ports(slices, lambda p: labels in ([], [f"_{p.name}", f"_{p.protocol}"]))
    weight = records.weight_of(sum([len(numbers) * (len(s.addresses) // s.width) for s, numbers in ports]) or 1)
    tail = names.wire(own)
    seen = set()
    for s, numbers in ports:
        for label, _ in _labelled(s, naming):
            for number in numbers:
                rdata = records.srv(0, weight, number) + bytes((len(label),)) + label.encode() + tail
                yield None if rdata in seen else (name, SRV, rdata)
                seen.add(rdata)


def _below(slices: tuple[Slice, ...], own: str, naming: Naming) -> Iterator[Record | None]:
    """The names of the endpoints: their addresses, and SRV."""
    called: dict[str, list[tuple[Slice, bytes]]] = {}
    for s in slices:
        for label, address in _labelled(s, naming):
            called.setdefault(label, []).append((s, address))
            yield None
    for label, found in called.items():
        name = f"{label}.{own}"
        for type, width in ((A, 4), (AAAA, 16)):
            seen = set()
            for _, address in found:
                yield None if len(address) != width or address in seen else (name, type, address)
                seen.add(address)
        pairs, numbers = 0, dict[int, None]()
        for s, _ in found:
            pairs += sum([p.number > 0 for p in s.ports])
            numbers |= {p.number: None for p in s.ports if p.number}
            yield None
        for number in numbers:
            yield name, SRV, records.srv(0, records.weight_of(pairs), number) + names.wire(name)


def _labelled(s: Slice, naming: Naming) -> Iterator[tuple[str, bytes]]:
    """What each endpoint of a slice is called, and its address."""
    hostnames = hostnames_of(s)
    for i, address in enumerate(endpoints(s)):
        yield members.label_of(s, i, hostnames[i] if hostnames else "", address, naming), address


def _steps(work: Iterator[Record | None], ttl: int) -> Iterator[Step]:
    """Records one by one as RRsets, so many at a time; None is work without a record."""
    while done := list(islice(work, STEP)):
        step = []
        for (name, type), group in groupby(filter(None, done), key=itemgetter(0, 1)):
            step.append(RRset(name, type, ttl, tuple([rdata for _, _, rdata in group])))
        yield step


def _pointers(answers: Answers, origin: str) -> Iterator[Step]:
    """PTR records of a reverse zone, by address."""
    found = names.reverse_prefix(origin)
    if found is None:
        return
    start, bits = found
    end = int.from_bytes(start, "big") | (1 << 8 * len(start) - bits) - 1
    while batch := list(islice(answers.store.addresses_within(start, bits), STEP)):
        for address in batch:
            called = answers.names_of(address)
            rdata = tuple(map(names.wire, called))
            yield [RRset(names.reverse_name(address), PTR, answers.options.ttl, rdata)] if called else []
        following = int.from_bytes(batch[-1], "big") + 1
        if following > end:
            return
        start = following.to_bytes(len(start), "big")
