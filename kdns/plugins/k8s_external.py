"""*k8s_external* - names for who is outside of the cluster: Services by their load balancers' and external addresses.

Description
    `service.namespace.zone` has the addresses of the Service's load balancer (status.loadBalancer) and its externalIPs; where
    the load balancer has a name only, it is an alias of that name. `_port._protocol.service.namespace.zone` has SRV records. A
    Service with neither does not exist here, unless it is headless and `headless` is on.

    The objects are those of *kubernetes* in the same server block, with its namespaces and labels. Answers are forgotten when
    they change.

    With `hostnames` a Service also has the names that it asks for in its annotation
    external-dns.alpha.kubernetes.io/hostname, names with commas between, `*.` for all below one: those that are in ZONES.
    Services that ask for the same name share it.

    The zone has a SOA, and NS at ns1.APEX, whose addresses are those of the Service in front of this server. A reverse zone
    among ZONES has PTR for external addresses, to names in the first zone that is none.

Syntax
    k8s_external [ZONES...] {
        apex APEX
        ttl TTL
        headless
        hostnames
        fallthrough [ZONES...]
    }

    ZONES        else those of the server block.
    apex         the label below which the zone's own names are (dns): a namespace of that name has no names here.
    ttl          seconds, 0 to 3600 (5).
    headless     endpoints of headless Services have names as they have in the cluster.
    hostnames    names that Services ask for.
    fallthrough  what does not exist is for the next plugin, in ZONES or everywhere.

Metrics
    None of its own.

Examples
    Services for the company's network:

        . {
            kubernetes cluster.local {
                manifests zones/cluster.yaml
            }
            k8s_external services.example.org {
                hostnames
                ttl 60
            }
        }
"""

import math
from dataclasses import dataclass
from typing import cast, Protocol

from kdns.cluster import records
from kdns.cluster.answers import Answers, is_reverse
from kdns.cluster.members import Naming
from kdns.cluster.objects import Service
from kdns.cluster.records import Found
from kdns.cluster.store import Store
from kdns.config.directive import Directive
from kdns.config.options import argument, fallthrough, flag, integer, option, word, zones
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Key, Made, Response, RRset
from kdns.dns.types import A, AAAA, ANY, CNAME, NS, NXDOMAIN, PTR, SERVFAIL, SOA, SRV
from kdns.dns.zone import Apex

NOT_READY = 14  # the extended error of a server that does not know yet (RFC 8914 4.15)
NAME = "k8s_external"
MADE = Made(NAME)


class Cluster(Protocol):
    """What is asked of *kubernetes*."""

    store: Store
    answers: Answers


@dataclass(frozen=True)
class Options:
    zones: tuple[str, ...] = argument(zones)
    apex: str = option(word, "dns")
    ttl: int = option(integer(0, 3600), 5)
    headless: bool = option(flag, False)
    hostnames: bool = option(flag, False)
    fallthrough: tuple[str, ...] = option(fallthrough, ())


class K8sExternal(Plugin):
    table = Options
    internet_only = True
    same_for_everyone = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        super().__init__(block, directive, options)
        origins = options.zones or block.zones
        forward = [origin for origin in origins if not is_reverse(origin)]
        if not forward:
            raise directive.error("needs a zone that is not a reverse zone, for PTR to point to")
        if not block.directives("kubernetes"):
            raise directive.error("needs kubernetes in the same server block: its Services are those that have names here")
        self._origin = forward[0]
        self._fallthrough = Fallthrough(origins, options.fallthrough)
        self._apex = options.apex.lower().strip(".")
        self._server = ["ns1", *self._apex.split(".")]
        self._naming = {origin: Naming(origin, options.ttl, middle="") for origin in origins}
        self._apexes = {origin: Apex(origin, options.ttl, NAME, ".".join(self._server)) for origin in origins}

    async def answer(self, query: Query, next: Handler) -> Answer:
        origin = self._fallthrough.zone(query.name)
        if origin is None:
            return await next(query)
        cluster = cast(Cluster, self.block.named("kubernetes")[0])
        store = cluster.store
        if not store.synced:
            return Response(rcode=SERVFAIL, made=MADE, error=ExtendedError(NOT_READY, store.why_not))
        found, depends = self._look(query, origin, cluster)
        if not found.answer:
            response = self._apexes[origin].negative(found.exists, store.serial, depends)
        else:
            response = Response(
                answer=found.answer, additional=found.additional, made=MADE, depends=depends or (),
                stable_for=0.0 if depends is None else math.inf if found.whole else 1.0,
            )  # fmt: skip
        if response.rcode == NXDOMAIN and self._fallthrough.passes(query.name):
            return await self._fallthrough.after(response, query, next)
        if response.answer and response.answer[-1].type == CNAME and query.type not in (CNAME, ANY):
            return await self.block.follow(query, response, (self._apexes[origin].soa(store.serial),))
        return response

    def _look(self, query: Query, origin: str, cluster: Cluster) -> tuple[Found, tuple[Key, ...] | None]:
        """What a name has, and what that was made from (None: who asks)."""
        name = query.name
        if name == origin:
            return self._at_apex(query, origin, cluster)
        if is_reverse(name):
            return self._pointers(name, query.type, cluster)
        below = names.labels(name if origin == "." else name[: -len(origin)])
        own = self._server
        if below[-(len(own) - 1) :] == own[1:]:
            rrsets = self._front(query, origin, cluster) if below == own else ()
            return Found(below in (own, own[1:]), _of(rrsets, query.type)), None
        exists, depends = False, cast(tuple[Key, ...], ())
        if self.options.hostnames:
            asked, depends = self._asked(name, query.type, origin, cluster)
            if asked.answer:
                return asked, depends
            exists = asked.exists
        found, more = self._named(below, query, origin, cluster)
        return found._replace(exists=found.exists or exists), depends + more

    def _named(self, below: list[str], query: Query, origin: str, cluster: Cluster) -> tuple[Found, tuple[Key, ...]]:
        """`service.namespace`, and what is below it."""
        namespace, store = below[-1], cluster.store
        seen = cluster.answers.exposed(namespace)
        if len(below) == 1:
            return Found(seen and namespace in store.namespaces), (namespace,)
        key = f"{namespace}/{below[-2]}"
        service = store.services.get(key)
        depends: tuple[Key, ...] = (service.key if service else key, namespace)
        if service is None or not seen or service.alias:
            return records.NOTHING, depends
        naming, external = self._naming[origin], service.external
        room = query.limit(self.block.udp_size)
        if external is not None and external.addresses:
            outside = service._replace(ips=external.addresses)
            return records.at(outside, (), below[:-2], query.type, query.name, naming, room), depends
        if external is not None and external.names:
            return self._alias(service, external.names[0], below[:-2], query, naming), depends
        if self.options.headless and not service.ips:
            slices = cluster.answers.slices(service)
            if records.has_endpoints(slices):
                return records.at(service, slices, below[:-2], query.type, query.name, naming, room), depends
        return records.NOTHING, depends

    def _alias(self, service: Service, target: str, below: list[str], query: Query, naming: Naming) -> Found:
        """A Service whose load balancer has a name only: SRV point to that name."""
        if not below:
            return Found(True, (records.cname(query.name, target, naming),))
        protocols = [port for port in service.ports if f"_{port.protocol}" == below[-1]]
        wanted = [port.number for port in protocols if len(below) == 2 and below[0] == f"_{port.name}" and port.name]
        if not wanted:
            return Found(len(below) == 1 and any(port.name for port in protocols))
        rdata = tuple(records.srv(0, records.weight_of(len(wanted)), number) + names.wire(target) for number in wanted)
        return Found(True, (RRset(query.name, SRV, naming.ttl, rdata),) if query.type in (SRV, ANY) else ())

    def _asked(self, name: str, type: int, origin: str, cluster: Cluster) -> tuple[Found, tuple[Key, ...]]:
        """A name that Services ask for, or the closest wildcard above it."""
        store, above = cluster.store, name
        depends: list[Key] = [name]
        keys = store.outside.of(name)
        while not keys and not store.outside.exists(above) and above != origin:
            above = names.parent(above)
            wildcard = f"*.{above.lstrip('.')}"
            depends += [wildcard, above]
            keys = store.outside.of(wildcard)
        seen = [key for key in keys if cluster.answers.exposed(key.partition("/")[0])]
        every = [external for key in seen if (external := store.services[key].external)]
        depends += [key.partition("/")[0] for key in keys]
        addresses = [address for external in every for address in external.addresses]
        targets = [target for external in every for target in external.names]
        exists = bool(addresses or targets) or store.outside.exists(name)
        if addresses:
            return Found(True, _of(records.addresses(name, self.options.ttl, addresses), type)), tuple(dict.fromkeys(depends))
        answer = (records.cname(name, targets[0], self._naming[origin]),) if targets else ()
        return Found(exists, answer), tuple(dict.fromkeys(depends))

    def _pointers(self, name: str, type: int, cluster: Cluster) -> tuple[Found, tuple[Key, ...] | None]:
        prefix = names.reverse_prefix(name)
        if prefix is None:
            return records.NOTHING, ()
        address, bits = prefix
        if bits < 8 * len(address):
            return records.EMPTY, None  # nobody knows what is below it, and nobody keeps it
        keys = [key for key in cluster.store.outside.of(address) if cluster.answers.exposed(key.partition("/")[0])]
        rdata = tuple(names.wire(records.base(key, self._origin, "")) for key in keys)
        answer = (RRset(name, PTR, self.options.ttl, rdata),) if rdata and type in (PTR, ANY) else ()
        return Found(bool(rdata), answer), (address, *keys)

    def _at_apex(self, query: Query, origin: str, cluster: Cluster) -> tuple[Found, tuple[Key, ...] | None]:
        if query.type == NS:
            server = names.wire(f"{'.'.join(self._server)}.{origin.lstrip('.')}")
            return Found(True, (RRset(origin, NS, self.options.ttl, (server,)),), self._front(query, origin, cluster)), None
        soa = (self._apexes[origin].soa(cluster.store.serial),) if query.type in (SOA, ANY) else ()
        return Found(True, soa), (".",)

    def _front(self, query: Query, origin: str, cluster: Cluster) -> tuple[RRset, ...]:
        """Addresses of the Service in front of this server: its external ones, or else its own."""
        own = cluster.answers.behind(query)
        outside = [address for service in own if service.external for address in service.external.addresses]
        ips = outside or [ip for service in own for ip in service.ips]
        return records.addresses(f"{'.'.join(self._server)}.{origin.lstrip('.')}", self.options.ttl, ips)


def _of(rrsets: tuple[RRset, ...], type: int) -> tuple[RRset, ...]:
    """Those of a type; one of them for ANY (RFC 8482)."""
    return rrsets[:1] if type == ANY else tuple(rrset for rrset in rrsets if rrset.type == type and type in (A, AAAA))
