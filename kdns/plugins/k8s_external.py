"""*k8s_external* - names for who is outside of the cluster: Services by their load balancers' and external addresses.

Description
    `service.namespace.zone` has the addresses of the Service's load balancer (status.loadBalancer) and its externalIPs; where
    the load balancer has a name only, it is an alias of that name. `_port._protocol.service.namespace.zone` has SRV records. A
    Service with neither does not exist here, unless it is headless and `headless` is on.

    The objects are those of *kubernetes* in the same server block, with its namespaces and labels. Answers are forgotten when
    they change.

    With `hostnames` a Service also has the names that it asks for in its annotation
    external-dns.alpha.kubernetes.io/hostname, names with commas between, `*.` for all below one: those that are in ZONES.

    With `resources` the host names of Ingresses (spec.rules) have the addresses of their load balancers, and those of
    HTTPRoutes, GRPCRoutes and TLSRoutes (spec.hostnames) the addresses of the Gateways that they lead to (status.addresses), or
    are aliases where there are names only. What has no address yet is NODATA, with an extended error that says who asks for
    it. A Gateway may be in any namespace; a route that it does not accept has no name. All that ask for the same name share it.

    Ingresses, routes and Gateways are listed and watched only where `resources` says so, and the role of kdns must let them
    be: overlays/external-names in deploy/, rbac.resources in the chart. Where the API server does not have a kind, or does not
    let it be listed, a line in the log says so; everything else is served, and it is tried again.

    The zone has a SOA, and NS at ns1.APEX, whose addresses are those of the Service in front of this server. A reverse zone
    among ZONES has PTR for external addresses, to names in the first zone that is none. With *transfer* others may take the
    zones over, and are told when they change.

Syntax
    k8s_external [ZONES...] {
        apex APEX
        ttl TTL
        headless
        hostnames
        resources Ingress|HTTPRoute|GRPCRoute|TLSRoute...
        fallthrough [ZONES...]
    }

    ZONES        else those of the server block.
    apex         the label below which the zone's own names are (dns): a namespace of that name has no names here.
    ttl          seconds, 0 to 3600 (5).
    headless     endpoints of headless Services have names as they have in the cluster; where the Service has external addresses
                 or a load balancer, they have these.
    hostnames    names that Services ask for.
    resources    kinds whose host names are served, besides.
    fallthrough  what does not exist is for the next plugin, in ZONES or everywhere.

Metrics
    None of its own.

Differences
    - Below a Service there are names of ports, and of endpoints with `headless`; in CoreDNS any label has its external addresses.
    - `ttl` is that of all records; the SOA's mail address is hostmaster.ZONE, and its serial the time of the last change.

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

    The host names of Ingresses and of HTTPRoutes:

        . {
            kubernetes cluster.local {
                manifests zones/cluster.yaml
            }
            k8s_external apps.example.org {
                resources Ingress HTTPRoute
                fallthrough
            }
        }
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast, Protocol

from msgspec.structs import replace

from kdns.cluster import listing, members, records
from kdns.cluster.answers import Answers, is_reverse
from kdns.cluster.asked import Asked, of_type, SERVICE, unreached
from kdns.cluster.balancers import ASKING
from kdns.cluster.members import Naming
from kdns.cluster.records import Found
from kdns.cluster.store import CHANGED, Store
from kdns.config.directive import Directive
from kdns.config.options import argument, fallthrough, flag, integer, option, word, zones
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Key, Made, Response, RRset
from kdns.dns.transfer import Outgoing
from kdns.dns.types import A, AAAA, ANY, CNAME, NOT_READY, NS, NXDOMAIN, PTR, SERVFAIL, SOA
from kdns.dns.zone import Apex

NAME = "k8s_external"
MADE = Made(NAME)


class Cluster(Protocol):
    """What is asked of *kubernetes*."""

    store: Store
    answers: Answers


def _kinds(o: Directive) -> tuple[str, ...]:
    return tuple(dict.fromkeys(o.choice(ASKING, at) for at in range(len(o.arguments(1)))))


@dataclass(frozen=True)
class Options:
    zones: tuple[str, ...] = argument(zones)
    apex: str = option(word, "dns")
    ttl: int = option(integer(0, 3600), 5)
    headless: bool = option(flag, False)
    hostnames: bool = option(flag, False)
    resources: tuple[str, ...] = option(_kinds, ())
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
        self._kinds = ((SERVICE,) if options.hostnames else ()) + options.resources
        self._server = ["ns1", *self._apex.split(".")]
        self._naming = {origin: Naming(origin, options.ttl, middle="") for origin in origins}
        self._apexes = {origin: Apex(origin, options.ttl, NAME, ".".join(self._server)) for origin in origins}

    @cached_property
    def _cluster(self) -> Cluster:
        return cast(Cluster, self.block.named("kubernetes")[0])

    @cached_property
    def _asked(self) -> Asked:
        return Asked(self._cluster.store, self._cluster.answers.exposed, self._kinds)

    async def answer(self, query: Query, next: Handler) -> Answer:
        origin = self._fallthrough.zone(query.name)
        if origin is None:
            return await next(query)
        store = self._cluster.store
        if not store.synced:
            return Response(rcode=SERVFAIL, made=MADE, error=ExtendedError(NOT_READY, store.why_not))
        found, depends = self._look(query, origin)
        if not found.answer:
            error = self._why(query, origin, found.exists) if self._cluster.answers.reasons.wanted(query) else None
            response = self._apexes[origin].negative(found.exists, store.serial, depends, error)
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

    def _look(self, query: Query, origin: str) -> tuple[Found, tuple[Key, ...] | None]:
        """What a name has, and what that was made from (None: who asks)."""
        name = query.name
        if name == origin:
            return self._at_apex(query, origin)
        if is_reverse(name):
            return self._pointers(name, query.type)
        below = names.labels(name if origin == "." else name[: -len(origin)])
        own = self._server
        if below[-(len(own) - 1) :] == own[1:]:
            rrsets = self._front(query, origin) if below == own else ()
            return Found(below in (own, own[1:]), of_type(rrsets, query.type)), None
        found, more = self._named(below, query, origin)
        if not self._kinds:
            return found, more
        has = self._asked.has(name)
        if found.exists and len(below) > 1 and not has:
            return found, (name, *more)  # no wildcard stands for a name that is there (RFC 4592 2.2.1)
        asked, depends = self._asked.look(name, query.type, origin, self._naming[origin])
        if asked.answer:
            return asked, depends if has else depends + more
        if found.answer and found.answer[0].type == CNAME and self._asked.look(name, ANY, origin, self._naming[origin])[0].answer:
            return records.EMPTY, depends + more  # there is no alias beside addresses (RFC 1034 3.6.2)
        return found._replace(exists=found.exists or asked.exists), depends + more

    def _why(self, query: Query, origin: str, exists: bool) -> ExtendedError | None:
        """Why a name has no address: of those that somebody asks for, and of Services."""
        if query.type not in (A, AAAA):
            return None
        if (why := self._asked.why(query.name, origin)) is not None or exists:
            return why
        name, _, namespace = query.name.removesuffix("." + origin).partition(".")
        service = self._cluster.store.services.get(f"{namespace}/{name}")
        return None if service is None or not self._cluster.answers.exposed(namespace) else unreached(service)

    async def account(self, query: Query) -> Mapping[str, Any]:
        origin = self._fallthrough.zone(query.name)
        return {} if origin is None else self._asked.account(query.name, origin)

    def transferable(self) -> Mapping[str, Key]:
        return dict.fromkeys(self._fallthrough.zones, CHANGED) if self._cluster.store.synced else {}

    def outgoing(self, origin: str, query: Query) -> Outgoing:
        answers, store = self._cluster.answers, self._cluster.store
        apex = self._apexes[origin]
        own = f"{self._apex}.{origin.lstrip('.')}"
        zone = listing.ExternalZone(apex, self._naming[origin], self._asked, own, self.options.headless)
        found, _ = self._at_apex(Query(origin, NS, local=query.local), origin)
        top = [*found.answer, *found.additional]

        def called(address: bytes) -> list[str]:
            return self._called(key for key in store.outside.of(address) if answers.exposed(key.partition("/")[0]))

        if is_reverse(origin):
            return Outgoing(apex.soa(store.serial), listing.external_pointers(answers, zone, called, top))
        return Outgoing(apex.soa(store.serial), listing.external_listing(answers, zone, top))

    def _named(self, below: list[str], query: Query, origin: str) -> tuple[Found, tuple[Key, ...]]:
        """`service.namespace`, and what is below it."""
        namespace, store, answers = below[-1], self._cluster.store, self._cluster.answers
        seen = answers.exposed(namespace)
        if len(below) == 1:
            return Found(seen and namespace in store.namespaces), (namespace,)
        key = f"{namespace}/{below[-2]}"
        service = store.services.get(key)
        depends: tuple[Key, ...] = (service.key if service else key, namespace)
        if service is None or not seen or service.alias:
            return records.NOTHING, depends
        naming, external = self._naming[origin], service.external
        labels, room = below[:-2], query.limit(self.block.udp_size)
        slices = answers.slices(service) if self.options.headless and not service.ips else ()
        if external is None or not (external.addresses or external.names):
            there = records.has_endpoints(slices)
            found = records.at(service, slices, labels, query.type, query.name, naming, room) if there else records.NOTHING
            return found, depends
        if len(labels) == 1 and members.called(slices, labels[0], naming, bool, 1)[0]:
            labels = []  # an endpoint is reached as its Service is
        if external.addresses:
            outside = replace(service, ips=external.addresses)
            return records.at(outside, (), labels, query.type, query.name, naming, room), depends
        if not labels:
            return Found(True, (records.cname(query.name, external.names[0], naming),)), depends
        return records.balanced_srv(service, external.names[0], labels, query.name, query.type, naming), depends

    def _pointers(self, name: str, type: int) -> tuple[Found, tuple[Key, ...] | None]:
        prefix = names.reverse_prefix(name)
        if prefix is None:
            return records.NOTHING, ()
        address, bits = prefix
        if bits < 8 * len(address):
            return records.EMPTY, None  # nobody knows what is below it, and nobody keeps it
        every = {key: key.partition("/")[0] for key in self._cluster.store.outside.of(address)}
        keys = [key for key, namespace in every.items() if self._cluster.answers.exposed(namespace)]
        rdata = tuple(map(names.wire, self._called(keys)))
        answer = (RRset(name, PTR, self.options.ttl, rdata),) if rdata and type in (PTR, ANY) else ()
        return Found(bool(rdata), answer), (address, *keys, *dict.fromkeys(every.values()))

    def _called(self, keys: Iterable[str]) -> list[str]:
        return [records.base(key, self._origin, "") for key in keys]

    def _at_apex(self, query: Query, origin: str) -> tuple[Found, tuple[Key, ...] | None]:
        if query.type == NS:
            server = names.wire(f"{'.'.join(self._server)}.{origin.lstrip('.')}")
            return Found(True, (RRset(origin, NS, self.options.ttl, (server,)),), self._front(query, origin)), None
        soa = (self._apexes[origin].soa(self._cluster.store.serial),) if query.type in (SOA, ANY) else ()
        return Found(True, soa), (".",)

    def _front(self, query: Query, origin: str) -> tuple[RRset, ...]:
        """Addresses of the Service in front of this server: its external ones, or else its own."""
        own = self._cluster.answers.behind(query)
        outside = [address for service in own if service.external for address in service.external.addresses]
        ips = outside or [ip for service in own for ip in service.ips]
        return records.addresses(f"{'.'.join(self._server)}.{origin.lstrip('.')}", self.options.ttl, ips)
