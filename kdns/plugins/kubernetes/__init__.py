"""*kubernetes* - answers for the names of a cluster's Services, endpoints and Pods.

Description
    Serves the Kubernetes DNS specification 1.1.0 for what an API server, or manifests in its place, say there is:
    A and AAAA of Services, headless ones too, and of endpoints by hostname, SRV of named ports, CNAME of ExternalNames,
    PTR of ClusterIPs and endpoints. Without zones it serves those of its server block; PTR needs in-addr.arpa and
    ip6.arpa among them. Nothing of it is ever stale: an answer is kept until what it was made from changes. Until all
    objects are known it answers SERVFAIL, with an extended error that says what is missing, and never falls through.
    With *transfer* others may take its zones over.

Syntax
    kubernetes [ZONES...] {
        manifests PATH...
        cluster_ips CIDR...
        pod_ips CIDR...
        lenient
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
    pod_ips             where manifests have workloads and no Pods, their addresses are taken from here (10.244.0.0/16).
    lenient             what is almost right in manifests is taken as it is: unknown fields, kinds that are nearly known, what
                        is there twice. Without it each is an error that says where, and what was meant.
    endpoint, tls       the API server's URL, and certificate, key and CA to speak to it; else the cluster kdns runs in.
    kubeconfig          a kubeconfig file in their place.
    apiserver_*         at most so many requests a second, at once, under way; no limits by default.
    startup_timeout     how long a start waits for all objects before other zones are served (5s).
    snapshot            what is known is written to this file, and a start without an API server answers from it. The
                        file needs a writable volume (an emptyDir outlives the container, a PVC or hostPath the Pod), and
                        in it a folder that nobody else may write to: kdns makes one that the path names.
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
    manifests is not taken because it is wrong; kdns_manifests_lost_total counts times that they could not be read at all.

Differences
    - Names between existing ones (svc.ZONE, a namespace without Services, reverse zones) are NODATA, not NXDOMAIN (RFC 8020).
    - An ExternalName is an alias for each type, and the code of an answer behind an alias is the target's (RFC 6604): NXDOMAIN
      where it does not exist.
    - The name of a port has SRV records only.
    - ANY has one RRset (RFC 8482); the NS of a zone is ns.dns.ZONE.
    - Names in records are in lower case.
    - Until all objects are known nothing falls through, in reverse zones too.

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

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Any, Protocol

from kdns.cluster import records
from kdns.cluster.account import account, found, meant, records_of, search_try
from kdns.cluster.answers import Answers, is_reverse
from kdns.cluster.balancers import ASKING
from kdns.cluster.listing import listing
from kdns.cluster.store import CHANGED, Store
from kdns.config.directive import Directive
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.plugin import Handler, Known, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Key, Made, Response, RRset
from kdns.dns.transfer import Outgoing
from kdns.dns.types import A, AAAA, ANY, CNAME, NOT_READY, NXDOMAIN, SERVFAIL
from kdns.errors import KdnsError
from kdns.plugins.kubernetes.options import Options

MADE = Made("kubernetes")
MOST_EXAMPLES = 100  # Services that are looked at to find one that answers


class Source(Protocol):
    """Where objects come from: manifests, or an API server."""

    store: Store

    def why_not(self) -> str | None:
        """Why it cannot tell the objects (any more), or None."""

    async def check(self) -> None:
        """KdnsError where the files that it is told of would keep it from starting."""

    async def provenance(self, service: str, slices: Collection[str]) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        """Of a Service and its slices, by kind and key: versions and ages, or where they stand; KdnsError where none can tell."""


class Kubernetes(Plugin):
    """Names of its zones are answered here."""

    table = Options
    internet_only = True
    same_for_everyone = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        origins = options.zones or block.zones
        if all(map(is_reverse, origins)):
            raise directive.error("needs a zone that is not a reverse zone, such as cluster.local, for PTR to point to")
        self.block, self.directive = block, directive
        self._local = options.reverse_local
        self._verified = options.pods == "verified"
        self._fallthrough = Fallthrough(origins, options.fallthrough)
        block.answer_at_once(self._fallthrough.kept)
        self.told = self._fallthrough.zones
        self.source = _source(block, options)
        self.store = self.source.store
        self.answers = Answers(self.store, options.schema(origins), lambda: block.is_overheard)
        self.store.listeners.append(block.forget)

    def answer(self, query: Query, next: Handler) -> Awaitable[Answer]:
        origin = self._fallthrough.zone(query.name)
        return next(query) if origin is None else self._answer(query, origin, next)

    async def _answer(self, query: Query, origin: str, next: Handler) -> Answer:
        if not self.store.synced:
            why = ExtendedError(NOT_READY, self.store.why_not, self.source.why_not() or "")  # in the reply not all that was said
            return Response(rcode=SERVFAIL, made=MADE, error=why)
        response = self.answers.look(query, origin, query.limit(self.block.udp_size))
        if response.rcode == NXDOMAIN and self._falls_through(query.name):
            return await self._fallthrough.after(response, query, next)
        if _is_alias(response, query.type):
            found = await self.block.follow(query, response, (self.answers.apexes[origin].soa(self.store.serial),))
            return self.answers.completed(query, response, found)
        return response

    def at_once(self, query: Query, next: Known) -> Answer | None:
        origin = names.first_above(query.name, self._fallthrough.zones)
        if origin is None:
            return next(query)
        if not self.store.synced:
            return None
        response = self.answers.look(query, origin, query.limit(self.block.udp_size))
        if response.rcode == NXDOMAIN:
            falls_through = origin not in self._fallthrough.kept and self._falls_through(query.name)
            return None if falls_through else response
        return None if _is_alias(response, query.type) else response

    def _falls_through(self, name: str) -> bool:
        if not self._fallthrough.passes(name):
            return False
        prefix = names.reverse_prefix(name) if self._local else None
        if prefix is None:
            return True
        first, bits = ip_address(prefix[0]), prefix[1]
        return not any(first in local and bits >= local.prefixlen for local in self._local)

    def transferable(self) -> Mapping[str, Key]:
        return dict.fromkeys(self._fallthrough.zones, CHANGED) if self.store.synced else {}

    def outgoing(self, origin: str, query: Query) -> Outgoing:
        return Outgoing(self.answers.apexes[origin].soa(self.store.serial), listing(self.answers, query, origin))

    def search_list(self, query: Query) -> tuple[tuple[str, ...], tuple[Key, ...]]:
        origin = self._fallthrough.zone(query.name)
        if origin is None or is_reverse(origin) or not self.store.synced:
            return (), ()
        *base, namespace, kind = ["", *names.labels(query.name if origin == "." else query.name[: -len(origin)] or ".")][-3:]
        if kind != "svc" or not any(base):
            return (), ()
        if namespace not in self.store.namespaces:
            return (), (namespace,)
        if self._verified and self.audience(query.client.host) != namespace.encode():
            return (), (namespace,)
        svc = f"svc.{origin.lstrip('.')}"
        return (f"{namespace}.{svc}", svc, origin), (namespace,)

    def audience(self, client: str) -> bytes:
        """The namespace of the Pod that has the address, for *autopath*; here all are answered alike."""
        pods = self.store.pods_at(names.packed(client)) if client and self._verified else ()
        of = {key.partition("/")[0] for key in pods}
        return of.pop().encode() if len(of) == 1 else b""

    def labels(self, query: Query) -> Mapping[str, Callable[[], str]]:
        from kdns.cluster import labels  # only with *metadata*

        known = labels.of_client(self.store, query.client.host)
        origin = self._fallthrough.zone(query.name)
        if origin is not None:
            known |= labels.of_name(query.name, origin, self.answers.options.zonal)
        return {f"kubernetes/{name}": partial(str, value) for name, value in known.items()}

    def ready(self) -> str | None:
        return None if self.store.synced else self.source.why_not() or self.store.why_not

    def remarks(self) -> list[str]:
        """What keeps the objects from being the newest."""
        why = self.source.why_not() if self.store.synced else None
        return [f"answers from what is known: {why}"] if why else []

    async def account(self, query: Query) -> Mapping[str, Any]:
        origin = self._fallthrough.zone(query.name)
        return {} if origin is None else await account(self.answers, self.source, query.name, origin)

    async def find(self, text: str, after: str, most: int) -> list[Mapping[str, Any]]:
        return await found(self.answers, text, after, most)

    def records(self, name: str) -> Iterable[RRset]:
        origin = self._fallthrough.zone(name)
        return () if origin is None else records_of(self.answers, name, origin)

    def search_try(self, name: str) -> tuple[str, str] | None:
        origin = self._fallthrough.zone(name)
        return None if origin is None or not self.store.synced else search_try(self.store, name, origin)

    def meant(self, query: Query) -> str:
        return meant(self.answers, query) if self.store.synced and self._fallthrough.zone(query.name) is None else ""

    def example(self) -> str | None:
        """The name of a Service that has an address, for a person to try."""
        keys = sorted(self.store.services, key=lambda key: key.startswith(("default/", "kube-")))
        for name in (records.base(key, self.answers.origin) for key in keys[:MOST_EXAMPLES]):
            for type, asked in ((A, name), (AAAA, f"{name} AAAA")):
                if any(rrset.type == type for rrset in self.answers.look(Query(name, type), self.answers.origin, 512).answer):
                    return asked
        return None

    async def check(self) -> None:
        try:
            await self.source.check()
        except KdnsError as error:
            raise self.directive.error(str(error)) from None

    def close(self) -> None:
        self.store.listeners.remove(self.block.forget)


def _is_alias(response: Response, type: int) -> bool:
    """Is the answer an alias, and something else was asked for?"""
    return bool(response.answer) and response.answer[-1].type == CNAME and type not in (CNAME, ANY)


def _source(block: Block, options: Options) -> Source:
    """The source of these objects, shared with whoever wants the same, and kept over a reload."""
    outward = [one for each in block.all_blocks for one in each.directives("k8s_external")]  # so that all blocks share a source
    words = {word for one in outward for line in one.block if line.name == "resources" for word in line.args}
    asking = tuple(kind for kind in ASKING if kind in words)
    selection = options.selection(bool(block.directives("metadata")), bool(outward), asking)
    if options.manifests:
        from kdns.cluster.manifests.source import Manifests

        key = ("manifests", options.manifests, options.cluster_ips, options.pod_ips, options.lenient, selection)
        return block.keep(
            key, lambda: Manifests(
                options.manifests, Store(), selection, options.cluster_ips, options.pod_ips, options.lenient, block.metrics
            )
        )  # fmt: skip
    from kdns.cluster.apiserver.source import ApiServer, Connection  # costs 25 MB: only where it is used

    kubeconfig, context = (*options.kubeconfig, "", "")[:2]
    connection = Connection(
        endpoint=options.endpoint, tls=options.tls, kubeconfig=kubeconfig, context=context, qps=options.apiserver_qps,
        burst=options.apiserver_burst, max_inflight=options.apiserver_max_inflight,
    )  # fmt: skip
    return block.keep(
        ("apiserver", connection, selection, options.snapshot, options.startup_timeout),
        lambda: ApiServer(
            connection, selection, Store(), options.snapshot, options.startup_timeout, metrics=block.metrics
        ),
    )
