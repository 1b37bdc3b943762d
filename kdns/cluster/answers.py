"""What a name in a cluster's zones says: the schema of the Kubernetes DNS specification, over a store.

`Answers.look` takes a name apart: the apex, `svc`, `pod`, `dns-version`, or a reverse name. It says with each answer what it
was made from (`depends`), so that the memo may keep it until exactly that changes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kdns.cluster import reasons, records
from kdns.cluster.members import Naming
from kdns.cluster.objects import Service, Slice
from kdns.cluster.reasons import reason, Reasons
from kdns.cluster.records import Found
from kdns.cluster.store import Store
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Key, Made, replace, Response, RRset
from kdns.dns.types import ANY, CNAME, NOERROR, NS, PTR, SOA, TXT
from kdns.dns.zone import Apex

VERSION_RDATA = b"\x051.1.0"
VERSION_TTL = 28800  # seconds, of the schema's version (specification 2.2)
A_WHILE = 1.0  # seconds that an answer is good for which shows a part of what there is
NAME = "kubernetes"
MADE = Made(NAME)
NO_SERVICE = reason("names of Services stand below it: SERVICE.NAMESPACE.svc")
NO_POD = reason("names of Pods stand below it: 10-0-0-1.NAMESPACE.pod")
NO_PODS = reason(
    "names of Pods are not served (pods disabled)", "the Corefile's kubernetes serves them with pods insecure or pods verified"
)
NO_ADDRESS = reason("it is no address: 1.0.0.10.in-addr.arpa stands for 10.0.0.1")
ONLY_PTR = reason("an address has PTR records only")
ONLY_TXT = reason("it has a TXT record only")
APEX = reason("the apex of the zone has SOA and NS only")
NAME_SERVER = reason("ns.dns has the addresses of the Service that was asked")
ABOVE = reason("names of addresses stand below it")
NOTHING_BELOW = reason("no Service and no endpoint has an address below it")


Why = Callable[..., ExtendedError]


@dataclass(frozen=True)
class Schema:
    """Which names there are, as the options of *kubernetes* say."""

    zones: tuple[str, ...]
    ttl: int = 5  # seconds
    pods: str = "disabled"  # or "insecure": any address is a Pod; or "verified"
    endpoint_pod_names: bool = False
    noendpoints: bool = False
    ignore_empty: bool = False
    zonal: bool = False
    namespaces: frozenset[str] = field(default_factory=frozenset)  # none: all
    labels: str = ""  # a selector: only objects that match it are known
    namespace_labels: Callable[[Mapping[str, str]], bool] | None = None

    def shows(self, store: Store, namespace: str) -> bool:
        """Are the objects of a namespace to be seen?"""
        if self.namespace_labels is None:
            return self.lists(namespace)
        known = store.namespaces.get(namespace)
        return known is not None and self.namespace_labels(dict(known.labels))

    def lists(self, namespace: str) -> bool:
        """As CoreDNS has it, labels of namespaces count for names, not for the names that addresses point to."""
        return not self.namespaces or namespace in self.namespaces


class Answers:
    """The names of a store's objects in some zones."""

    def __init__(self, store: Store, options: Schema, told: Callable[[], bool] = lambda: False) -> None:
        """`told`: does somebody here read why names have nothing, besides clients with EDNS?"""
        self.store = store
        self.options = options
        self.apexes = {zone: Apex(zone, options.ttl, NAME) for zone in options.zones}
        forward = [zone for zone in options.zones if not is_reverse(zone)]
        self.naming = {
            zone: Naming(zone, options.ttl, options.endpoint_pod_names, options.zonal) for zone in forward
        }
        self.origin = forward[0]  # where PTR records point
        self._primary = self.naming[self.origin]
        self.exposed = partial(options.shows, store)  # are the objects of a namespace to be seen?
        self.reasons = Reasons(store, self.exposed, told, options.labels)

    def look(self, query: Query, origin: str, room: int) -> Response:
        """What the name asked has of the type asked, in the zone of that origin; `room` octets of records are enough."""
        name, type = query.name, query.type
        if name == origin:
            return self._apex(query, origin)
        below = names.labels(name if origin == "." else name[: -len(origin)])
        match below[-1]:
            case "dns" if len(below) == 1 or below == ["ns", "dns"]:
                return self._name_server(below, query, origin)
            case _ if is_reverse(name):
                return self._pointers(query, origin)
            case "svc":
                return self._svc(below[:-1], query, origin, room)
            case "pod":
                return self._pod(below[:-1], query, origin)
            case "dns-version" if len(below) == 1:
                if type not in (TXT, ANY):
                    return self._nothing(query, True, origin, (), ONLY_TXT)
                return self._found(Found(True, (RRset(name, TXT, VERSION_TTL, (VERSION_RDATA,)),)), ())
        return self._nothing(query, False, origin, (), self.reasons.outside, query, below, origin)

    def _found(self, found: Found, depends: tuple[Key, ...] | None, note: ExtendedError | None = None) -> Response:
        return Response(
            answer=found.answer,
            additional=found.additional,
            stable_for=0.0 if depends is None else math.inf if found.whole else A_WHILE,
            depends=depends or (),
            made=MADE,
            error=note,
        )

    def _nothing(
        self, query: Query, exists: bool, origin: str, depends: tuple[Key, ...] | None, why: ExtendedError | Why, *of: Any
    ) -> Response:
        """NODATA or NXDOMAIN, and why: what a function says of some things, where somebody reads it."""
        error = None
        if self.reasons.wanted(query):
            error = why if isinstance(why, ExtendedError) else why(*of)
        return self.apexes[origin].negative(exists, self.store.serial, depends, error)

    def completed(self, query: Query, alias: Response, found: Answer) -> Answer:
        """An ExternalName with what its target has; where that is nothing, also why, and whose alias it is."""
        if not isinstance(found, Response) or (found.rcode == NOERROR and (not found.authority or _has_records(found))):
            return found
        if not self.reasons.wanted(query):
            return found
        target = names.text(alias.answer[-1].rdata[0].lower())
        return replace(found, error=reasons.nowhere(found, str(alias.depends[0]), target))

    def slices(self, service: Service) -> tuple[Slice, ...]:
        return () if self.options.noendpoints else self.store.merged(service.key)

    def visible(self, service: Service, slices: tuple[Slice, ...]) -> bool:
        """A Service without an address, or (where asked for) without a ready endpoint, does not exist for DNS."""
        if service.ips and not self.options.ignore_empty:
            return True
        return records.has_endpoints(slices)

    def _svc(self, below: list[str], query: Query, origin: str, room: int) -> Response:
        if not below:
            return self._nothing(query, True, origin, (), NO_SERVICE)
        namespace = below[-1]
        if len(below) == 1:
            if namespace in self.store.namespaces:
                return self._nothing(query, True, origin, (namespace,), reasons.above, "Services", namespace)
            return self._nothing(query, False, origin, (namespace,), self.reasons.namespace, query, namespace)
        key = f"{namespace}/{below[-2]}"
        service = self.store.services.get(key)
        depends: tuple[Key, ...] = (service.key if service else key,)
        if self.options.namespace_labels:
            depends = (*depends, namespace)
        if service is None or not self.exposed(namespace):
            return self._nothing(query, False, origin, depends, self.reasons.service, query, below, origin)
        slices = self.slices(service)
        target = records.alias(service, slices)
        if target is not None:
            if len(below) > 2:
                return self._nothing(query, False, origin, depends, reasons.below_alias, key, target)
            return self._found(Found(True, (records.cname(query.name, target, self.naming[origin]),)), depends)
        zonal = self.options.zonal and below[-3:-2] == ["_zone"]  # computed names: there is no need of an endpoint
        if not zonal and not self.visible(service, slices):
            return self._nothing(query, False, origin, depends, self._unready, service, slices)
        found = records.at(service, slices, below[:-2], query.type, query.name, self.naming[origin], room)
        if not found.answer:
            why = self.reasons.below
            return self._nothing(query, found.exists, origin, depends, why, query, service, slices, below[:-2], found.exists)
        if service.ips and not records.has_endpoints(slices) and not self.options.noendpoints and self.reasons.wanted(query):
            return self._found(found, depends, reasons.unready(service, slices))
        return self._found(found, depends)

    def _unready(self, service: Service, slices: tuple[Slice, ...]) -> ExtendedError:
        if self.options.noendpoints:
            text = f"Service {service.key} has endpoints only, and they have no names here (noendpoints)"
            return reason(text, "the Corefile's kubernetes serves them without noendpoints")
        return reasons.unready(service, slices)

    def _pod(self, below: list[str], query: Query, origin: str) -> Response:
        if not below:
            return self._nothing(query, True, origin, (), NO_POD)
        namespace = below[-1]
        depends: tuple[Key, ...] = (namespace,)
        if self.options.pods == "disabled":
            return self._nothing(query, False, origin, depends, NO_PODS)
        if namespace not in self.store.namespaces or not self.exposed(namespace):
            return self._nothing(query, False, origin, depends, self.reasons.namespace, query, namespace)
        if len(below) == 1:
            return self._nothing(query, True, origin, depends, reasons.above, "Pods", namespace)
        address = names.undashed(below[0]) if len(below) == 2 else None
        if address is None:
            return self._nothing(query, False, origin, depends, reasons.pod, ".".join(below[:-1]), namespace, None)
        if self.options.pods == "verified":
            depends = (namespace, address)
            if not any(key.startswith(namespace + "/") for key in self.store.pods_at(address)):
                return self._nothing(query, False, origin, depends, reasons.pod, below[0], namespace, address)
        (rrset,) = records.addresses(query.name, self.options.ttl, (address,))
        if query.type not in (rrset.type, ANY):
            return self._nothing(query, True, origin, depends, reasons.of_the_address, rrset.type)
        return self._found(Found(True, (rrset,)), depends)

    def _pointers(self, query: Query, origin: str) -> Response:
        prefix = names.reverse_prefix(query.name)
        if prefix is None:
            return self._nothing(query, False, origin, (), NO_ADDRESS)
        address, bits = prefix
        if bits < 8 * len(address):  # above addresses: nobody keeps it, or each change would forget 31 prefixes
            exists = any(map(self._has_name, self.store.addresses_within(address, bits)))
            return self._nothing(query, exists, origin, None, ABOVE if exists else NOTHING_BELOW)
        called = self.names_of(address)
        depends: tuple[Key, ...] = (address,)
        if not called:
            return self._nothing(query, False, origin, depends, reasons.pointer, self.store, address)
        if query.type not in (PTR, ANY):
            return self._nothing(query, True, origin, depends, ONLY_PTR)
        return self._found(Found(True, (RRset(query.name, PTR, self.options.ttl, tuple(map(names.wire, called))),)), depends)

    def _has_name(self, address: bytes) -> bool:
        """Does it point to anything? Of the addresses that the store has most do, so that the first one tells."""
        return any(
            self.options.lists(key.partition("/")[0])
            and (not self.options.noendpoints or address in self.store.services[key].ips)
            for key in self.store.services_at(address)
        )

    def names_of(self, address: bytes) -> list[str]:
        """The names that an address points to: a ClusterIP's one, or those of its endpoints, hostnames first."""
        called: dict[str, bool] = {}
        for key in self.store.services_at(address):
            if not self.options.lists(key.partition("/")[0]):
                continue
            service = self.store.services[key]
            if address in service.ips:
                return [records.base(key, self._primary.origin)]
            called |= records.pointers(service, self.slices(service), address, self._primary)
        return sorted(called, key=called.__getitem__, reverse=True)

    def _apex(self, query: Query, origin: str) -> Response:
        """SOA and NS; SOA for ANY (RFC 8482). It carries the serial, so any change touches it."""
        if query.type == NS:
            target = names.wire("ns.dns." + origin.lstrip("."))
            return self._found(Found(True, (RRset(origin, NS, self.options.ttl, (target,)),), self.front(query, origin)), None)
        if query.type not in (SOA, ANY):
            return self._nothing(query, True, origin, (".",), APEX)
        return self._found(Found(True, (self.apexes[origin].soa(self.store.serial),)), (".",))

    def _name_server(self, below: list[str], query: Query, origin: str) -> Response:
        """`ns.dns`, which SOA and NS name: the addresses of the Service in front of this server."""
        rrsets = self.front(query, origin) if len(below) == 2 else ()
        answer = tuple(r for r in rrsets if query.type in (r.type, ANY))[:1]
        if not answer:
            return self._nothing(query, True, origin, None, NAME_SERVER)
        return self._found(Found(True, answer), None)

    def front(self, query: Query, origin: str) -> tuple[RRset, ...]:
        """Addresses of the Service that has the address asked as its own or its endpoint's; none where none is known."""
        ips = [ip for service in self.behind(query) for ip in service.ips]
        return records.addresses("ns.dns." + origin.lstrip("."), self.options.ttl, ips)

    def behind(self, query: Query) -> list[Service]:
        """The Services that have the address asked as their own or an endpoint's."""
        try:
            keys = self.store.services_at(names.packed(query.local.host))
        except ValueError:
            return []
        return [service for key in keys if (service := self.store.services.get(key))]


def _has_records(found: Response) -> bool:
    """Does the answer have more than aliases?"""
    return any(rrset.type != CNAME for rrset in found.answer)


def is_reverse(name: str) -> bool:
    """True of in-addr.arpa, ip6.arpa and the names below them, which stand for addresses."""
    return name.endswith("arpa.") and (names.is_below(name, names.IN_ADDR) or names.is_below(name, names.IP6))
