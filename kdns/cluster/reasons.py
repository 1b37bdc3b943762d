"""Why a name of the cluster has nothing: the sentence of its extended error (RFC 8914), made for negative answers alone.

A reason is as of when it was made, as the SOA's serial beside it: an answer depends on what its code and records were made
from and on nothing more, or each new namespace would have to forget every name that was told of its neighbours. What rests
on the Service asked for (its ports, its endpoints) changes with it; what other objects are mentioned may be older.

Names that are hidden from DNS (`namespaces`, `namespace_labels`, `pods disabled`) are not told: who asks for one hears what he
would hear if it were not there.

A reason is made where somebody reads it: for a query with EDNS, or where queries are told of (*log*). It costs a fifth of the
answer, and hints cost by the object: so there is an allowance, by the second. Where thousands of names a second that nobody
asked before have nothing, most go without hints, and then without reasons.
"""

from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches

from kdns.cluster.columns import hostnames_of
from kdns.cluster.objects import Service, Slice
from kdns.cluster.store import Store
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.types import A, AAAA, TYPES

STEPS = 50_000.0  # of the allowance of a second: a step is a name that a hint looks at, all of them some 4 ms
AT_ONCE = 50_000.0  # of them, after a pause
PAUSE = 0.1  # seconds for which nobody looks again whether there is an allowance
SENTENCE = 100  # steps that a reason without a hint counts for
MOST = 20_000  # names that one hint looks at: a millisecond
CANDIDATES = 100  # of them that are compared letter by letter, each at the cost of twenty others
SHOWN = 3  # names in a list

_WIDTH = {4: "IPv4", 16: "IPv6"}
_ELSEWHERE = frozenset(  # labels that end names of the world outside, or of this zone: hardly a Service or a namespace
    ("com", "net", "org", "io", "local", "internal", "svc", "arpa", "edu", "gov", "de", "uk", "fr", "eu", "cn", "jp", "lan")
)  # fmt: skip


class Reasons:
    """The reasons of one store's names; `exposed` says whether the objects of a namespace are to be seen."""

    def __init__(self, store: Store, exposed: Callable[[str], bool], told: Callable[[], bool]) -> None:
        self._store = store
        self._exposed = exposed
        self._told = told
        self._left = AT_ONCE
        self._spent = 0.0  # until when nothing is left of it, time.monotonic()
        self._since = 0.0  # when the allowance was last filled, time.monotonic()

    def wanted(self, query: Query) -> bool:
        """Does somebody read why a query has no answer, and is there time to say it?"""
        if (query.edns is None and not self._told()) or query.received < self._spent:
            return False
        if self._affords(query, SENTENCE, 0.0):
            return True
        self._spent = query.received + PAUSE
        return False

    def outside(self, query: Query, below: list[str], origin: str) -> str:
        """Of a name that is neither below svc nor below pod."""
        if below[-1] in _ELSEWHERE:
            return _search(query, origin.lstrip("."))
        key = "/".join(reversed(below[-2:]))
        if key in self._store.services and self._exposed(below[-1]):
            return f"nothing is called so: Service {key} is {'.'.join(below)}.svc.{origin.lstrip('.')}"
        return "nothing is called so: names of Services are SERVICE.NAMESPACE.svc, of Pods ADDRESS.NAMESPACE.pod"

    def namespace(self, query: Query, namespace: str) -> str:
        """Of a namespace that does not exist, or is hidden."""
        near = self._nearest(query, namespace, self._store.namespaces)
        if near and not self._exposed(near):
            near = ""
        return f"no namespace '{namespace}'" + (f" (nearest: {near})" if near else "")

    def service(self, query: Query, below: list[str], origin: str) -> str:
        """Of a Service that does not exist, or is hidden; `below` are the labels below svc."""
        namespace, name = below[-1], below[-2]
        known = namespace in self._store.namespaces and self._exposed(namespace)
        foreign = len(below) > 2 and name in _ELSEWHERE if known else namespace in _ELSEWHERE
        if foreign or (len(below) > 3 and below[-3][0] != "_"):
            return _search(query, f"{namespace}.svc.{origin.lstrip('.')}" if known else f"svc.{origin.lstrip('.')}")
        if not known:
            return self.namespace(query, namespace)
        hints = []
        services = self._store.services
        if len(services) <= MOST and (near := self._nearest_service(query, namespace, name)):
            hints.append(f"nearest: {near}")
        if self._affords(query, len(self._store.namespaces)):
            others = [n for n in self._store.namespaces if f"{n}/{name}" in services and self._exposed(n)]
            if others:
                hints.append(f"there is one in {_list(others)}")
        return f"no Service '{name}' in {namespace}" + (f" ({'; '.join(hints)})" if hints else "")

    def below(self, query: Query, service: Service, slices: tuple[Slice, ...], below: list[str], exists: bool) -> str:
        """Of a name at a Service or below it: without the type asked, or not there at all."""
        key = service.key
        if not below or exists:
            return self._type(query, service, slices, below)
        if below[-1].startswith("_"):
            return _port(service, slices, below)
        if len(below) > 1:
            return f"the names below Service {key} are of ports and endpoints, '{'.'.join(below)}' is neither"
        label = below[0]
        if any(f"\0{label}\0" in s.unready for s in slices if s.unready):
            return f"{label}, an endpoint of Service {key}, is not ready"
        hostnames = [hostname for s in slices if s.hostnames for hostname in hostnames_of(s) if hostname]
        if not hostnames:
            name = key.partition("/")[2]
            return f"no endpoint of Service {key} has a hostname: Pods have one where their spec.subdomain is '{name}'"
        near = self._nearest(query, label, hostnames)
        return f"no endpoint of Service {key} is called '{label}'" + (f" (nearest: {near})" if near else "")

    def _type(self, query: Query, service: Service, slices: tuple[Slice, ...], below: list[str]) -> str:
        what = f"Service {service.key}" if not below else f"'{'.'.join(below)}' of Service {service.key}"
        type = TYPES.get(query.type, f"TYPE{query.type}")
        if below and below[-1].startswith("_"):
            return f"{what} has SRV records only" if len(below) > 1 else f"{what} stands above names of ports"
        if query.type in (A, AAAA):
            widths = {len(ip) for ip in service.ips} or {s.width for s in slices if s.addresses}
            return f"{what} has no {type}: its addresses are {' and '.join(_WIDTH[width] for width in sorted(widths) if width)}"
        return f"{what} has no {type} records"

    def _nearest_service(self, query: Query, namespace: str, name: str) -> str:
        if not self._affords(query, len(self._store.services)):
            return ""
        prefix = namespace + "/"
        return self._nearest(query, name, [key[len(prefix) :] for key in self._store.services if key.startswith(prefix)])

    def _nearest(self, query: Query, name: str, every: Collection[str]) -> str:
        """The one of these names that is nearly the name; empty where none is, or where there is no time to look."""
        if len(every) > MOST or not self._affords(query, len(every) + 20 * min(len(every), CANDIDATES)):
            return ""
        size, first, last = len(name), name[:1], name[-1:]
        likely = [
            other for other in every
            if -3 < len(other) - size < 3 and (other[:1] == first or other[-1:] == last) and other != name
        ]  # fmt: skip
        return next(iter(get_close_matches(name, likely[:CANDIDATES], 1)), "")

    def _affords(self, query: Query, steps: int, spare: float = AT_ONCE / 2) -> bool:
        """May so many steps be taken? Hints leave half of the allowance to reasons."""
        now = query.received
        if now > self._since:
            self._left = min(AT_ONCE, self._left + (now - self._since) * STEPS)
            self._since = now
        if steps > self._left - spare:
            return False
        self._left -= steps
        return True


def unready(service: Service, slices: tuple[Slice, ...]) -> str:
    """Of a Service without a ready endpoint."""
    total = sum([s.total for s in slices])
    if total:
        ready = sum([len(s.addresses) // s.width for s in slices if s.width])
        out = [label for s in slices if s.unready for label in s.unready[1:-1].split("\0")]
        return f"{ready} of {total} endpoints of {service.key} are ready" + (f", not {_list(out)}" if out else "")
    if service.selector:
        return f"Service {service.key} has no endpoints: no Pod with an address matches {service.selector}"
    return f"Service {service.key} has no endpoints: it has no selector, and there is no EndpointSlice of it"


def pod(label: str, namespace: str, address: bytes | None) -> str:
    """Of a Pod's name that has none: by its address, None where it is no address."""
    if address is None:
        return f"'{label}' is no address with dashes, such as 10-0-0-1"
    return f"no Pod in {namespace} has the address {names.unpacked(address)}"


def pointer(address: bytes) -> str:
    return f"no Service and no endpoint has the address {names.unpacked(address)}"


def _port(service: Service, slices: tuple[Slice, ...], below: list[str]) -> str:
    """Of a name of a port that the Service does not have."""
    ports = service.ports if service.ips else [p for s in slices if s.addresses for p in s.ports]
    wanted, protocol = below[0].removeprefix("_"), below[-1].removeprefix("_")
    named = dict.fromkeys(p.name for p in ports if p.name)
    if len(below) == 2:
        others = {p.protocol for p in ports if p.name == wanted}
        if others:
            return f"port '{wanted}' of Service {service.key} is of {_list(sorted(others))}, not of {protocol}"
        return f"Service {service.key} has no port '{wanted}', it has {_list(named) if named else 'none with a name'}"
    return f"names of ports of Service {service.key} are such as _{next(iter(named), 'http')}._tcp"


def _search(query: Query, suffix: str) -> str:
    """Of a name that nobody meant: a resolver tries each name with the suffixes of its search list."""
    tried = query.name.removesuffix("." + suffix)
    return f"nothing is called so; it looks like a try of a search list for {tried}"


def _list(every: Iterable[str]) -> str:
    some = list(every)
    return ", ".join(some[:SHOWN]) + (f" and {len(some) - SHOWN} more" if len(some) > SHOWN else "")
