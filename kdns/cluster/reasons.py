"""Why a name of the cluster has nothing: the sentence of its extended error (RFC 8914), made for negative answers alone.

With each goes a remedy, for whoever runs the cluster: `kdns explain` shows it, and no reply has it. It may speak of what is
hidden from DNS; the sentence may not.

A reason is as of when it was made, as the SOA's serial beside it: an answer depends on what its code and records were made
from and on nothing more, or each new namespace would have to forget every name that was told of its neighbours. What rests
on the Service asked for (its ports, its endpoints) changes with it; what other objects are mentioned may be older.

Names that are hidden from DNS (`namespaces`, `namespace_labels`, `pods disabled`) are not told: who asks for one hears what he
would hear if it were not there.

A reason is made where somebody reads it: for a query with EDNS, or where queries are told of (*log*). It costs a fifth of the
answer, and hints cost by the object: so there is an allowance, by the second. Where thousands of names a second that nobody
asked before have nothing, most go without hints, and then without reasons; but never what a person has explained.
"""

from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches

from kdns.cluster.columns import hostnames_of, unready_of
from kdns.cluster.objects import GOING, LONGEST_SELECTOR, Service, Slice
from kdns.cluster.search_lists import tried, tried_outside
from kdns.cluster.store import Store
from kdns.core.explained import is_explained
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import ExtendedError, Response
from kdns.dns.types import A, AAAA, NXDOMAIN, OTHER, type_text

STEPS = 50_000.0  # of the allowance of a second: a step is a name that a hint looks at, all of them some 4 ms
AT_ONCE = 50_000.0  # of them, after a pause
PAUSE = 0.1  # seconds for which nobody looks again whether there is an allowance
SENTENCE = 100  # steps that a reason without a hint counts for
MOST = 20_000  # names that one hint looks at: a millisecond
CANDIDATES = 100  # of them that are compared letter by letter, each at the cost of twenty others
SHOWN = 3  # names in a list

_WIDTH = {4: "IPv4", 16: "IPv6"}


def reason(text: str, remedy: str = "") -> ExtendedError:
    """Why, and what to do about it."""
    return ExtendedError(OTHER, text, remedy)


class Reasons:
    """The reasons of one store's names; `exposed` says whether the objects of a namespace are to be seen.

    `labels` is the selector that all objects of the store match.
    """

    def __init__(self, store: Store, exposed: Callable[[str], bool], told: Callable[[], bool], labels: str) -> None:
        self._store = store
        self._labels = labels
        self._exposed = exposed
        self._told = told
        self._left = AT_ONCE
        self._spent = 0.0  # until when nothing is left of it, time.monotonic()
        self._since = 0.0  # when the allowance was last filled, time.monotonic()

    def wanted(self, query: Query) -> bool:
        """Does somebody read why a query has no answer, and is there time to say it?"""
        if query.edns is None and not self._told():
            return False
        if query.received >= self._spent:
            if self._affords(query, SENTENCE, 0.0):
                return True
            self._spent = query.received + PAUSE
        return is_explained()

    def outside(self, query: Query, below: list[str], origin: str) -> ExtendedError:
        """Of a name that is neither below svc nor below pod."""
        zone = origin.lstrip(".")
        if tried_outside(below):
            return _search(query, zone)
        key = "/".join(reversed(below[-2:]))
        if key in self._store.services and self._exposed(below[-1]):
            whole = _shown(f"{'.'.join(below)}.svc.{zone}")
            return reason(f"nothing is called so: Service {key} is {whole}", f"ask for {whole}")
        remedy = f"ask for the whole name: only a Pod's search list makes NAME.NAMESPACE.svc.{_shown(zone)} of a short one"
        return reason("nothing is called so: names of Services are SERVICE.NAMESPACE.svc, of Pods ADDRESS.NAMESPACE.pod", remedy)

    def namespace(self, query: Query, namespace: str) -> ExtendedError:
        """Of a namespace that does not exist, or is hidden."""
        near = self._nearest(query, namespace, self._store.namespaces)
        if near and not self._exposed(near):
            near = ""
        if namespace in self._store.namespaces:
            remedy = f"namespace {namespace} is there, and the options namespaces or namespace_labels of kubernetes hide it"
        elif near:
            remedy = f"ask for {_shown(_moved(query.name, namespace, near))}"
        else:
            remedy = "kubectl get namespaces lists those that there are"
        return reason(f"no namespace '{namespace}'" + (f" (nearest: {near})" if near else ""), remedy)

    def service(self, query: Query, below: list[str], origin: str) -> ExtendedError:
        """Of a Service that does not exist, or is hidden; `below` are the labels below svc."""
        namespace, name = below[-1], below[-2]
        known = namespace in self._store.namespaces and self._exposed(namespace)
        if tried(below, known):
            return _search(query, f"{namespace}.svc.{origin.lstrip('.')}" if known else f"svc.{origin.lstrip('.')}")
        if not known:
            return self.namespace(query, namespace)
        hints, instead = [], []
        services = self._store.services
        if len(services) <= MOST and (near := self._nearest_service(query, namespace, name)):
            hints.append(f"nearest: {near}")
            instead.append(f"{near}.{namespace}")
        if self._affords(query, len(self._store.namespaces)):
            others = [n for n in self._store.namespaces if f"{n}/{name}" in services and self._exposed(n)]
            if others:
                hints.append(f"there is one in {_list(others)}")
                instead += [f"{name}.{other}" for other in others[:SHOWN]]
        slices = self._store.slices_of(f"{namespace}/{name}")
        if slices:
            hints.append(f"though EndpointSlice {slices[0].key} is of it")
        text = f"no Service '{name}' in {namespace}" + (f" ({'; '.join(hints)})" if hints else "")
        head, zone = "".join(f"{label}." for label in below[:-2]), _shown(origin.lstrip("."))
        if slices:
            remedy = f"make Service {namespace}/{name}, for slices alone have no names"
        elif instead:
            remedy = f"ask for {' or '.join(f'{head}{each}.svc.{zone}' for each in instead)}"
        else:
            remedy = f"kubectl get services -n {namespace} lists those that there are"
            remedy += f", of which only those with the labels {self._labels} are served" if self._labels else ""
        return reason(text, remedy)

    def below(
        self, query: Query, service: Service, slices: tuple[Slice, ...], below: list[str], exists: bool
    ) -> ExtendedError:
        """Of a name at a Service or below it: without the type asked, or not there at all."""
        key = service.key
        namespace, _, name = key.partition("/")
        if not below or exists:
            return self._type(query, service, slices, below)
        if below[-1].startswith("_"):
            return _port(query, service, slices, below)
        if len(below) > 1:
            return reason(f"the names below Service {key} are of ports and endpoints, '{'.'.join(below)}' is neither")
        label = below[0]
        if state := _unready_as(slices, label):
            pod = f"kubectl describe pod {label} -n {namespace}"
            remedy = f"{pod} says why, and publishNotReadyAddresses: true of the Service would have it named before it is ready"
            return reason(f"{label}, an endpoint of Service {key}, is {state}", remedy)
        hostnames = [hostname for s in slices if s.hostnames for hostname in hostnames_of(s) if hostname]
        if not hostnames:
            remedy = f"set spec.subdomain: {name} in the Pods, or spec.serviceName: {name} in their StatefulSet"
            text = f"no endpoint of Service {key} has a hostname: Pods have one where their spec.subdomain is '{name}'"
            return reason(text, remedy)
        near = self._nearest(query, label, hostnames)
        remedy = f"its endpoints are called {_list(dict.fromkeys(hostnames))}, as spec.hostname of their Pods says"
        return reason(f"no endpoint of Service {key} is called '{label}'" + (f" (nearest: {near})" if near else ""), remedy)

    def _type(self, query: Query, service: Service, slices: tuple[Slice, ...], below: list[str]) -> ExtendedError:
        what = f"Service {service.key}" if not below else f"'{'.'.join(below)}' of Service {service.key}"
        type = type_text(query.type)
        if below and below[-1].startswith("_"):
            if len(below) > 1:
                return reason(f"{what} has SRV records only", f"ask for SRV, or for {type} of the Service")
            return reason(f"{what} stands above names of ports")
        if query.type in (A, AAAA):
            widths = {len(ip) for ip in service.ips} or {s.width for s in slices if s.addresses}
            text = f"{what} has no {type}: its addresses are {' and '.join(_WIDTH[width] for width in sorted(widths) if width)}"
            return reason(text, "nothing is wrong unless it is to have both families (ipFamilyPolicy: PreferDualStack)")
        return reason(f"{what} has no {type} records")

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
            return is_explained()
        self._left -= steps
        return True


def unready(service: Service, slices: tuple[Slice, ...]) -> ExtendedError:
    """Of a Service without a ready endpoint."""
    total = sum([s.total for s in slices])
    key, (namespace, _, name) = service.key, service.key.partition("/")
    selects = f" -l {service.selector}" if 0 < len(service.selector) < LONGEST_SELECTOR else ""
    if total:
        ready = sum([len(s.addresses) // s.width for s in slices if s.width])
        out = [each for s in slices for each in unready_of(s)]
        text = f"{ready} of {total} endpoints of {key} are ready" + (f", not {_list(out)}" if out else "")
        return reason(text, f"kubectl get pods -n {namespace}{selects} shows how they are")
    if service.selector:
        text = f"Service {key} has no endpoints: no Pod with an address matches {service.selector}"
        return reason(text, f"compare with kubectl get pods -n {namespace} --show-labels")
    text = f"Service {key} has no endpoints: it has no selector, and there is no EndpointSlice of it"
    return reason(text, f"give it a selector, or make an EndpointSlice with the label kubernetes.io/service-name={name}")


def above(what: str, namespace: str) -> ExtendedError:
    return reason(f"names of {what} stand below namespace '{namespace}'")


def below_alias(key: str, target: str) -> ExtendedError:
    text = f"Service {key} is an alias of {_shown(target)}, nothing is below it"
    return reason(text, "ask for the Service itself, or for its target")


def nowhere(found: Response, key: str, target: str) -> ExtendedError:
    """Of a Service that is an alias of what has nothing; `found` is what was said of its target, and why."""
    error, remedy = found.error, f"see spec.externalName of Service {key}"
    if error is not None and error.text:
        return error if error.remedy else error._replace(remedy=remedy)
    lack = "does not exist" if found.rcode == NXDOMAIN else "has nothing of this type"
    return reason(f"Service {key} is an alias of {_shown(target)}, which {lack}", remedy)


def of_the_address(type: int) -> ExtendedError:
    return reason(f"it has {type_text(type)} only, as the address in it")


def pod(label: str, namespace: str, address: bytes | None) -> ExtendedError:
    """Of a Pod's name that has none: by its address, None where it is no address."""
    if address is None:
        remedy = f"a Pod's own name stands below a headless Service that it names as its subdomain: {label}.SERVICE.{namespace}.svc"
        return reason(f"'{label}' is no address with dashes, such as 10-0-0-1", remedy)
    remedy = f"kubectl get pods -n {namespace} -o wide shows who has which; Pods that have ended have none"
    return reason(f"no Pod in {namespace} has the address {names.unpacked(address)}", remedy)


def pointer(store: Store, address: bytes) -> ExtendedError:
    """Of an address that has no name."""
    pods = [f"Pod {key}" for key in store.pods_at(address)]
    whose = f"it is that of {_list(pods)}" if pods else "kubectl get pods -A -o wide shows whose it is"
    text = f"no Service and no endpoint has the address {names.unpacked(address)}"
    return reason(text, f"{whose}, and a Pod has a PTR record only as an endpoint of a Service")


def _port(query: Query, service: Service, slices: tuple[Slice, ...], below: list[str]) -> ExtendedError:
    """Of a name of a port that the Service does not have."""
    ports = service.ports if service.ips else [p for s in slices if s.addresses for p in s.ports]
    wanted, protocol = below[0].removeprefix("_"), below[-1].removeprefix("_")
    named = {p.name: p for p in ports if p.name}
    key, rest = service.key, _shown(query.name).split(".", len(below))[-1]
    instead = [f"_{p.name}._{p.protocol}.{rest}" for p in named.values()][:SHOWN]
    remedy = f"ask for {' or '.join(instead)}, or add the port to spec.ports"
    if not instead:
        remedy = f"give the port a name in spec.ports: kubectl edit service {key.partition('/')[2]} -n {key.partition('/')[0]}"
    if len(below) == 2:
        others = {p.protocol for p in ports if p.name == wanted}
        if others:
            text = f"port '{wanted}' of Service {key} is of {_list(sorted(others))}, not of {protocol}"
            return reason(text, f"ask for _{wanted}._{min(others)}.{rest}")
        return reason(f"Service {key} has no port '{wanted}', it has {_list(named) if named else 'none with a name'}", remedy)
    return reason(f"names of ports of Service {key} are such as _{next(iter(named), 'http')}._tcp", remedy)


def _unready_as(slices: tuple[Slice, ...], label: str) -> str:
    """How an endpoint that is called so is out; empty where none is."""
    out = [each for s in slices for each in unready_of(s)]
    if label in out:
        return "not ready"
    return "terminating" if label + GOING in out else ""


def _search(query: Query, suffix: str) -> ExtendedError:
    """Of a name that nobody meant: a resolver tries each name with the suffixes of its search list."""
    meant = query.name.removesuffix("." + suffix)
    remedy = f"that does no harm; asking for {meant}. with the dot, or ndots: 1 in the Pod's dnsConfig, saves such tries"
    return reason(f"nothing is called so; it looks like a try of a search list for {meant}", remedy)


def _shown(name: str) -> str:
    """A name as people write it."""
    return name.rstrip(".") or "."


def _moved(name: str, namespace: str, other: str) -> str:
    """The same name in another namespace."""
    for kind in ("svc", "pod"):
        name = f".{name}".replace(f".{namespace}.{kind}.", f".{other}.{kind}.", 1)[1:]
    return name


def _list(every: Iterable[str]) -> str:
    some = list(every)
    return ", ".join(some[:SHOWN]) + (f" and {len(some) - SHOWN} more" if len(some) > SHOWN else "")
