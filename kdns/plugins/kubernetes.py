"""*kubernetes* - answers for the names of a cluster's Services, endpoints and Pods.

Description
    Serves the Kubernetes DNS specification 1.1.0 for what an API server, or manifests in its place, say there is:
    A and AAAA of Services, headless ones too, and of endpoints by hostname, SRV of named ports, CNAME of ExternalNames,
    PTR of ClusterIPs and endpoints. Without zones it serves those of its server block; PTR needs in-addr.arpa and
    ip6.arpa among them. Nothing of it is ever stale: an answer is kept until what it was made from changes. Until all
    objects are known it answers SERVFAIL, with an extended error that says what is missing, and never falls through.

Syntax
    kubernetes [ZONES...] {
        manifests PATH...
        cluster_ips CIDR...
        endpoint URL
        tls CERT KEY CACERT
        kubeconfig FILE [CONTEXT]
        apiserver_qps QPS
        apiserver_burst BURST
        apiserver_max_inflight MAX
        startup_timeout DURATION
        snapshot FILE
        namespaces NAMESPACE...
        namespace_labels EXPRESSION
        labels EXPRESSION
        pods disabled|insecure|verified
        endpoint_pod_names
        ttl TTL
        noendpoints
        ignore empty_service
        zonal
        fallthrough [ZONES...]
        reverse_local CIDR...
        multicluster [ZONES...]
    }

    manifests           files and folders of YAML or JSON in place of an API server, "-" for standard input; they are
                        read again when they change. Endpoints, EndpointSlices from selectors and ClusterIPs are made
                        as a cluster's controllers would.
    cluster_ips         where manifests have no ClusterIP, ones are taken from here (10.96.0.0/12 fd00:96::/112).
    endpoint, tls       the API server's URL, and certificate, key and CA to speak to it; else the cluster kdns runs in.
    kubeconfig          a kubeconfig file in their place.
    apiserver_*         at most so many requests a second, at once, under way; no limits by default.
    startup_timeout     how long a start waits for all objects before other zones are served (5s).
    snapshot            what is known is written to this file, and a start without an API server answers from it. The
                        file needs a writable volume: an emptyDir outlives the container, a PVC or hostPath the Pod.
    namespaces          only these; namespace_labels: only those whose labels match.
    labels              only Services, EndpointSlices and Pods whose labels match.
    pods                1-2-3-4.namespace.pod.ZONE: never, for any address (insecure), or for Pods that exist.
    endpoint_pod_names  endpoints without a hostname are called by their Pod.
    ttl                 seconds, 0 to 3600 (5).
    noendpoints         endpoints and headless Services do not exist.
    ignore              a Service without a ready endpoint does not exist.
    zonal               ZONE.pin._zone.SERVICE and ZONE.prefer._zone.SERVICE have the endpoints of a topology zone.
    fallthrough         what does not exist (in these zones) is for the plugins after this one.
    reverse_local       reverse names of addresses in these ranges, the cluster's own, do not fall through: what has no
                        record there is NXDOMAIN, and no upstream is told.
    multicluster        is not served yet: a line in the log says so.

Metrics
    kdns_kubernetes_*, coredns_kubernetes_dns_programming_duration_seconds and coredns_kubernetes_rest_client_*: objects,
    events, relists and their reasons, age of each watch. kdns_manifests_refused is 1 while the last change of the
    manifests is not taken because it is wrong.

Examples
    A cluster's DNS:

        .:53 {
            kubernetes cluster.local in-addr.arpa ip6.arpa {
                pods insecure
                fallthrough in-addr.arpa ip6.arpa
                ttl 30
            }
        }

    A laptop's, with the names of a cluster that manifests describe:

        cluster.local:53 {
            kubernetes {
                manifests zones/cluster.yaml
            }
        }
"""

import logging
import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network, IPv4Network, IPv6Network
from typing import Any, Protocol

from kdns.cluster import records
from kdns.cluster.answers import Answers, is_reverse, Options
from kdns.cluster.manifests.controllers import DEFAULT_RANGES, Ranges, ranges
from kdns.cluster.objects import Selection
from kdns.cluster.selectors import parse as parse_selector
from kdns.cluster.store import Store
from kdns.config.directive import Directive
from kdns.core.metrics import Histogram, Metric
from kdns.core.plugin import Handler
from kdns.core.site import Site
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import ExtendedError, NO_ANSWER, replace, Response
from kdns.dns.types import ANY, CNAME, NXDOMAIN, SERVFAIL

log = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network
NOT_READY = 14  # the extended error of a server that does not know yet (RFC 8914 4.15)


class Source(Protocol):
    """Where objects come from: manifests, or an API server."""

    store: Store

    def why_not(self) -> str | None:
        """Why it cannot tell the objects (any more), or None."""

    def metrics(self) -> Iterable[Metric | Histogram]:
        """Its metrics as they are now."""


class Kubernetes:
    """The link of the chain: names of its zones are answered here."""

    def __init__(
        self, site: Site, source: Source, options: Options, fallthrough: tuple[str, ...], local: tuple[Network, ...] = ()
    ) -> None:
        self._site = site
        self._local = local
        self._zones = sorted(options.zones, key=len, reverse=True)  # the longest first
        self._fallthrough = {  # by zone: those that fall through, of names in it
            zone: tuple(other for other in fallthrough if names.is_below(other, zone) or names.is_below(zone, other))
            for zone in options.zones
        }
        self.source = source
        self.store = source.store
        self.answers = Answers(source.store, options)

    async def answer(self, query: Query, next: Handler) -> Response:
        for origin in self._zones:
            if names.is_below(query.name, origin):
                break
        else:
            return await next(query)
        if not self.store.synced:
            why = ExtendedError(NOT_READY, self.source.why_not() or self.store.why_not)
            return Response(rcode=SERVFAIL, made_by="kubernetes", error=why)
        response = self.answers.look(query, origin, query.limit(self._site.udp_size))
        if response.rcode == NXDOMAIN and self._falls_through(query.name, origin):
            other = await next(query)
            if other is NO_ANSWER:
                return other
            return replace(
                other,
                stable_for=min(other.stable_for, response.stable_for),
                depends=other.depends + response.depends,
                foreign=other.foreign and response.stable_for > 0,
            )
        if response.answer and response.answer[-1].type == CNAME and query.type not in (CNAME, ANY):
            return await self._site.follow(query, response)
        return response

    def _falls_through(self, name: str, origin: str) -> bool:
        if not any(names.is_below(name, zone) for zone in self._fallthrough[origin]):
            return False
        prefix = names.reverse_prefix(name) if self._local else None
        if prefix is None:
            return True
        first, bits = ip_address(prefix[0]), prefix[1]
        return not any(first in local and bits >= local.prefixlen for local in self._local)

    def ready(self) -> str | None:
        return None if self.store.synced else self.source.why_not() or self.store.why_not

    def remarks(self) -> list[str]:
        """What keeps the objects from being the newest."""
        why = self.source.why_not() if self.store.synced else None
        return [f"answers from what is known: {why}"] if why else []

    def example(self) -> str | None:
        """The name of a Service that has one, for a person to try."""
        keys = sorted(self.store.services, key=lambda key: key.startswith(("default/", "kube-")))
        return records.base(keys[0], self.answers.origin) if keys else None


def setup(directive: Directive, site: Site) -> Kubernetes:
    """The plugin of a directive; CorefileError names what is wrong with it."""
    reader = _Reader(directive, site)
    for option in directive.block:
        reader.read(option)
    plugin = Kubernetes(site, reader.source(), reader.options(), reader.fallthrough, reader.local)
    listeners, forget = plugin.store.listeners, site.instance.forget
    listeners.append(forget)
    site.instance.collectors.append(plugin.source.metrics)
    site.instance.on_close.append(lambda: listeners.remove(forget))
    return plugin


class _Reader:
    """The options of one directive, line by line."""

    def __init__(self, directive: Directive, site: Site) -> None:
        self.directive, self.site = directive, site
        self.zones = directive.origins(default=site.zones)
        self.given: dict[str, Any] = {}  # options of the answers
        self.selection: dict[str, Any] = {}
        self.connection: dict[str, Any] = {}
        self.manifests: tuple[str, ...] = ()
        self.ranges = DEFAULT_RANGES
        self.fallthrough: tuple[str, ...] = ()
        self.local: tuple[Network, ...] = ()
        self.snapshot = ""
        self.startup_timeout = 5.0
        if all(map(is_reverse, self.zones)):
            raise directive.error("needs a zone that is not a reverse zone, such as cluster.local, for PTR to point to")

    def read(self, o: Directive) -> None:
        match o.name:
            case "manifests":
                self.manifests = o.arguments(1)
            case "cluster_ips":
                self.ranges = _ranges(o)
            case "endpoint":
                self.connection["endpoint"] = o.arguments(1)[0]
            case "tls":
                self.connection["tls"] = o.arguments(3, 3)
            case "kubeconfig":
                self.connection["kubeconfig"], self.connection["context"] = (*o.arguments(1, 2), "")[:2]
            case "apiserver_qps":
                self.connection["qps"] = _rate(o)
            case "apiserver_burst" | "apiserver_max_inflight":
                self.connection[o.name.removeprefix("apiserver_")] = o.integer(0, 1_000_000)
            case "startup_timeout":
                self.startup_timeout = o.duration()
            case "snapshot":
                self.snapshot = o.one()
            case "namespaces":
                self.selection["namespaces"] = tuple(sorted(set(o.arguments(1))))
                self.given["namespaces"] = frozenset(o.arguments(1))
            case "namespace_labels":
                self.given["namespace_labels"] = _selector(o)
            case "labels":
                _selector(o)
                self.selection["labels"] = " ".join(o.args)
            case "pods":
                self.given["pods"] = o.choice(("disabled", "insecure", "verified"))
                self.selection["pods"] = self.given["pods"] == "verified"
            case "endpoint_pod_names" | "zonal" | "noendpoints":
                o.no_args()
                self.given[o.name] = True
            case "ttl":
                self.given["ttl"] = o.integer(0, 3600)
            case "ignore":
                o.choice(("empty_service",))
                self.given["ignore_empty"] = True
            case "fallthrough":
                self.fallthrough = o.origins(default=self.zones)
            case "reverse_local":
                self.local = _networks(o)
            case "multicluster":
                log.warning("%s", o.error("multicluster is not served yet, its zones are answered without ServiceImports"))
            case "upstream" | "resyncperiod":
                log.warning("%s", o.error(f"{o.name} has no effect any more, the line may go"))
            case _:
                raise o.unknown(OPTIONS)

    def options(self) -> Options:
        return Options(zones=self.zones, **self.given)

    def source(self) -> Source:
        """The source of these objects, shared with whoever wants the same, and kept over a reload."""
        names_ = ("namespaces", "namespace_labels")
        if all(name in self.given for name in names_):
            raise self.directive.error("namespaces and namespace_labels exclude each other: keep one")
        selection = Selection(
            endpoints="noendpoints" not in self.given,
            pod_names="endpoint_pod_names" in self.given,
            zones="zonal" in self.given,
            **self.selection,
        )
        if self.manifests:
            key = ("manifests", self.manifests, self.ranges, selection)
            return self.site.instance.carry(key, self._manifests(selection))
        return self._api_server(selection)

    def _manifests(self, selection: Selection) -> Callable[[], Source]:
        from kdns.cluster.manifests.source import Manifests

        return lambda: Manifests(self.manifests, Store(), selection, self.ranges)

    def _api_server(self, selection: Selection) -> Source:
        from kdns.cluster.apiserver.source import ApiServer, Connection  # costs 25 MB: only where it is used

        connection = Connection(**self.connection)
        key = ("apiserver", connection, selection, self.snapshot, self.startup_timeout)
        return self.site.instance.carry(
            key, lambda: ApiServer(connection, selection, Store(), self.snapshot, self.startup_timeout)
        )


OPTIONS = (
    "manifests", "cluster_ips", "endpoint", "tls", "kubeconfig", "apiserver_qps", "apiserver_burst",
    "apiserver_max_inflight", "startup_timeout", "snapshot", "namespaces", "namespace_labels", "labels", "pods",
    "endpoint_pod_names", "ttl", "noendpoints", "ignore", "zonal", "fallthrough", "reverse_local",
    "multicluster", "upstream", "resyncperiod",
)  # fmt: skip


def _ranges(o: Directive) -> Ranges:
    try:
        return ranges(*o.arguments(1))
    except ValueError as error:
        raise o.error(f"{o.name}: {error}") from None


def _rate(o: Directive) -> float:
    """Requests a second; 0 is no limit."""
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", o.one()):
        raise o.error(f"{o.name}: '{o.one()}' is not a number of requests a second")
    return float(o.one())


def _networks(o: Directive) -> tuple[Network, ...]:
    try:
        return tuple(map(ip_network, o.arguments(1)))
    except ValueError as error:
        raise o.error(f"{o.name}: {error}") from None


def _selector(o: Directive) -> Callable[[Any], bool]:
    try:
        return parse_selector(" ".join(o.arguments(1)))
    except ValueError as error:
        raise o.error(f"{o.name}: {error}") from None
