"""*forward* - asks other DNS servers, upstreams, and hands their answers on.

Description
    Names below FROM are asked of one of the upstreams; the others pass. A query over UDP is asked over UDP, one over TCP
    over TCP. Where an upstream does not answer, the next one is asked, for 5 seconds in all. It is then checked in the
    background, asked after all others meanwhile, and not at all once it is down. Where all are down, they are tried by
    chance.

    Equal questions that come while one of them waits for its reply wait for the same reply: equal is the name, the type, the
    class, RD, CD and DO, all that goes to the upstream.

    Questions leave with random ids, from a new source port for every eight; what is no reply to a question that waits is
    ignored, and where someone guesses the question is asked over TCP. TCP and TLS connections are kept, with several
    questions under way on each. Each question carries EDNS of our own, so that large answers are known whole (see
    *bufsize*); DO and CD go through, options only by choice (`edns_options`). Where a question with EDNS has no reply it is
    asked without, and its upstream after that until EDNS passes again.

    Names of other classes than IN, such as `version.bind CH`, are asked of upstreams, too. All replies of the server block
    say that recursion is available (RA).

    A file of nameservers is watched: a change is taken up within seconds, unless it names no server, which is logged.

    A host name stands for all its addresses, 15 of each family at most, of those families that have a route. It is resolved at
    the start, which waits for 3 seconds at most, and again when its TTL is over, from 5 seconds to 5 minutes. While that
    fails it is tried every 10 seconds, the addresses before are asked on, and the log and *ready* say so; a name that has had
    none yet is SERVFAIL. Names are absolute, without a search list. This server itself is not asked, unless `resolver` or
    /etc/resolv.conf names it: then no name that it forwards to can be found before it has found one.

    Several *forward* in a server block are tried in their order.

Syntax
    forward FROM TO... {
        except ZONES...
        force_tcp
        prefer_udp
        expire DURATION
        max_age DURATION
        max_idle_conns COUNT
        read_timeout DURATION
        max_fails COUNT
        max_connect_attempts COUNT
        doh_method GET|POST
        tls [CERT KEY] [CA]
        tls_servername NAME
        policy random|round_robin|sequential|fastest
        health_check DURATION [no_rec] [domain NAME]
        max_concurrent MAX
        next RCODE...
        next_on_nodata
        failfast_all_unhealthy_upstreams
        failover RCODE...
        source_address ADDRESS
        use_caps_for_id
        edns_options nsid|subnet|CODE...
        resolver ADDRESS...
    }

    FROM                  a zone, or a prefix such as 10.0.0.0/8 for its reverse zones.
    TO                    up to 15: an address or a host name, with a port or without; tls:// before it for DNS over TLS, or
                          https:// for DNS over HTTPS (at /dns-query, HTTP/2 or HTTP/1.1), and %NAME after it for the name in its
                          certificate; or a file such as /etc/resolv.conf.
    except                names in these zones pass.
    force_tcp             TCP, whatever the query came over.
    prefer_udp            UDP, whatever the query came over, and TCP again where the reply is truncated.
    expire                a connection that is unused for so long is closed (10s).
    max_age               a connection is not used for longer (0: no limit); at least `expire`.
    max_idle_conns        of TCP and TLS so many idle connections are kept (0: no limit).
    read_timeout          how long one upstream has for its reply (2s).
    max_fails             an upstream is down after so many failed checks in a row (2); 0: never, and no checks.
    max_connect_attempts  failed attempts for one query (twice as many as there are upstreams); 0: no limit.
    doh_method            how https:// upstreams are asked (POST).
    tls                   a certificate and its key to show, a CA to trust in place of the system's.
    tls_servername        the name in the upstreams' certificates; else their host name, or their addresses, must be in them.
    policy                which upstream first: by chance, in turn, in the order given, or the one with the lowest latency,
                          while one query in 20 sees how the others do.
    health_check          the time between the first two checks (0.5s), which grows to 10s; no recursion; the name asked.
    max_concurrent        queries that may wait for upstreams; those beyond it are REFUSED.
    next                  where the reply has one of these codes, the next *forward* is asked.
    next_on_nodata        the same for a reply without an answer.
    failfast_all_unhealthy_upstreams   SERVFAIL at once where all upstreams are down.
    failover              where the reply has one of these codes, the next upstream is asked.
    source_address        the address to ask from.
    use_caps_for_id       over UDP the letters of each name are upper or lower case by chance, and a reply must repeat them
                          (0x20); where it does not, the question is asked over TCP. Not for upstreams that change letters.
    edns_options          the client's EDNS options that go to the upstream, and the upstream's to the client: server
                          identifiers, client subnets, or any by its code but those between neighbours, such as cookies. Such
                          questions are asked over TCP, and neither shared nor kept.
    resolver              addresses, with a port or without, that are asked for host names, the first that answers; else the
                          nameservers of /etc/resolv.conf.

Metrics
    - `coredns_proxy_request_duration_seconds{proxy_name="forward", to, rcode}`
    - `coredns_proxy_healthcheck_failures_total{proxy_name="forward", to}`
    - `coredns_proxy_conn_cache_hits_total{proxy_name="forward", to, proto}`: sockets used again; `_misses_total`: opened.
    - `coredns_forward_healthcheck_broken_total`: times that all upstreams were down.
    - `coredns_forward_max_concurrent_rejects_total`
    - `coredns_forward_requests_total{to}`, `coredns_forward_responses_total{to, rcode}`,
      `coredns_forward_request_duration_seconds{to, rcode}`, `coredns_forward_healthcheck_failures_total{to}`: older names.
    - `kdns_forward_without_edns{to}`: 1 for an upstream that is asked without EDNS; `kdns_forward_spoofed_total{to}`: times
      that someone guessed at its replies.
    - `kdns_forward_latency_seconds{to}`, smoothed; `kdns_forward_down{to}`: 1 for an upstream that is down or taken out.

Differences
    - Clients' EDNS options are passed on by choice only (`edns_options`).
    - An upstream that failed once is asked last until it answers; a file such as /etc/resolv.conf is read again when it changes.
    - A redirect of an https:// upstream is not followed.
    - Host names are resolved again when their TTLs are over, and a start does not fail where they cannot be; /etc/hosts and
      search lists are not looked at. A host name is what must be in the certificate, where nothing else is said.

Examples
    What is not the cluster's is asked of the node's nameservers:

        . {
            forward . /etc/resolv.conf {
                max_concurrent 1000
            }
        }

    A company's names and reverse names elsewhere, all else over TLS:

        . {
            forward corp.example 10.1.0.1 10.2.0.1 {
                policy sequential
            }
            forward 10.0.0.0/8 10.1.0.1
            forward . tls://9.9.9.9 tls://149.112.112.112 {
                tls_servername dns.quad9.net
                health_check 5s
            }
        }

    The same over HTTPS, by its name, which must be in its certificate:

        . {
            forward . https://dns.quad9.net
        }

    A resolver by the name of its Service, which the cluster's DNS knows:

        . {
            forward . resolver.dns.svc.cluster.local {
                resolver 10.96.0.10
            }
        }
"""

from collections.abc import Coroutine, Hashable
from functools import partial
from typing import Any

from kdns.config.directive import Directive
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.core.singleflight import Flight, Singleflight
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Made, Response
from kdns.dns.types import CD, NOERROR, OUR_SIZE, RD, REFUSED, SERVFAIL, TC
from kdns.errors import FileError
from kdns.plugins.forward.options import Options
from kdns.upstream.attempts import Outcome, UNREACHABLE
from kdns.upstream.resolving import Resolver
from kdns.upstream.sources import Sources
from kdns.upstream.tallies import Tallies
from kdns.upstream.targets import Host, Target, target, Tls
from kdns.upstream.upstream import Upstream

ALPN = {"https": ("h2", "http/1.1")}  # what may be spoken inside TLS, by scheme
LEFT = 50  # upstreams that are known still after files or names have named others
WATCH = 1.0  # seconds between looks at a file


class Forward(Plugin):
    """Other plugins may read `upstreams`, and ask one of them; `exclusions` of an upstream takes it out."""

    table = Options
    same_for_everyone = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block, self.options, self._directive = block, options, directive
        zones, words = options.where
        self.zone = zones[0]
        self._codes = options.edns_options | block.sent_options  # of EDNS options that go through
        self._may_pass = bool(options.next or options.next_on_nodata)
        self._everything = zones == (".",) and not options.except_
        self.upstreams: list[Upstream] = []
        self._left: dict[Upstream, None] = {}  # those that were upstreams and may be again, the longest gone first
        self._tallies = block.keep("forward tallies", lambda: Tallies(block.metrics))
        self._attempts = options.attempts(self._tallies)
        self._asking: Singleflight[Outcome] = Singleflight()
        self._waiting = 0
        self._size = min(OUR_SIZE, block.udp_size)  # octets that we take from upstreams over UDP
        try:
            targets = [target(word, block.root) for word in words]
            self._terms = options.terms(self._tls(targets))._replace(edns_options=self._codes)
            self._resolver = self._resolving([one for one in targets if isinstance(one, Host)])
            self._sources = Sources(targets, self._resolver.addresses if self._resolver else None)
            self._renew()
        except (FileError, OSError, ValueError) as error:
            raise directive.error(str(error)) from None
        if not self.upstreams and self._resolver is None:
            raise directive.error(f"{', '.join(words)} names no nameserver")
        block.ask_others()
        block.heed_options(options.edns_options)
        if self._sources.paths:
            block.watch(lambda: self._sources.paths, self.look, WATCH)
        if self._resolver is not None:
            self._resolver.changed.append(self._renew)

    def _resolving(self, hosts: list[Host]) -> Resolver | None:
        """Who finds the addresses of host names, and goes on over a reload; FileError where nobody can be asked."""
        asked, source = self.options.resolver, self.options.source_address
        if not hosts:
            if asked:
                self.block.notes.append(str(self._directive.error("resolver has no effect: no upstream is a host name")))
            return None
        return self.block.keep(("forward resolver", *hosts, asked, source), lambda: Resolver(hosts, asked, source))

    def _tls(self, targets: list[Target | Host | str]) -> Tls:
        """How TLS is spoken; ValueError where files are not what they should be."""
        named = [one for one in targets if not isinstance(one, str) and one.server_name]
        if named and self.options.tls_servername:
            raise ValueError(f"tls_servername and '%{named[0].server_name}' exclude each other: keep one")
        cert, key, ca = (self.block.path(file) if file else "" for file in self.options.tls)
        tls = Tls(cert, key, ca, self.options.tls_servername)
        try:
            tls = tls.stamped()
            if tls.stamps:
                tls.context()
        except OSError as error:
            raise ValueError(f"tls: {error}") from None
        return tls

    def _upstream(self, target: Target) -> Upstream:
        """An upstream, shared with whoever asks it in the same way, and kept over a reload."""
        terms, keep = self._terms, self.block.keep
        inside = ALPN.get(target.scheme, ())
        context = keep(("forward tls", terms.tls, inside), lambda: terms.tls.context(inside)) if target.encrypted else None
        return keep(self._key(target), lambda: Upstream(target, terms, self._tallies, context))

    def _key(self, target: Target) -> Hashable:
        """What an upstream is kept by."""
        return "forward", target, self._terms

    async def answer(self, query: Query, next: Handler) -> Answer:
        if not (self._everything or self._takes(query.name)):
            return await next(query)
        options = self.options
        if not self.upstreams:
            why = ExtendedError(UNREACHABLE, "; ".join(self.remarks()))
            return Response(rcode=SERVFAIL, authoritative=False, made=Made("forward"), error=why)
        if options.max_concurrent and self._waiting >= options.max_concurrent:
            self._tallies.rejected.inc()
            why = ExtendedError(0, f"{options.max_concurrent} queries wait for upstreams already (max_concurrent)")
            return Response(rcode=REFUSED, authoritative=False, made=Made("forward"), error=why)
        key: Hashable = (query.name, query.type, query.cls, query.flags & (RD | CD), query.do)
        if self._codes:
            key = key, query.options(self._codes)
        self._waiting += 1
        try:
            # Whoever asks the same meanwhile has the same answer: nobody can have many equal questions under way, and guess
            # at the replies of all of them at once (RFC 5452 5). Over TCP they ask again where that answer was truncated.
            if key in self._asking.under_way:
                response, replied = await self._asking.ask(key, partial(self._tried, query))
            else:
                with Flight(key, self._asking.under_way) as flight:
                    flight.outcome = response, replied = await self._attempts.ask(self.upstreams, query, self._size)
            if response.flags & TC and self._attempts.over_tcp(query):
                response, replied = await self._tried(query)
        finally:
            self._waiting -= 1
        if self._may_pass and replied and self._passes(response) and self.block.named("forward")[-1] is not self:
            return await next(query)
        return response

    def _passes(self, response: Response) -> bool:
        """Is the next *forward* to be asked?"""
        nodata = response.rcode == NOERROR and not response.answer
        return response.rcode in self.options.next or (nodata and self.options.next_on_nodata)

    def _tried(self, query: Query) -> Coroutine[Any, Any, Outcome]:
        """What the upstreams say."""
        return self._attempts.ask(self.upstreams, query, self._size)

    async def ask(self, upstream: Upstream, query: Query) -> Response:
        """Ask one upstream, whatever its health and whether it is taken out; UpstreamError where it does not answer."""
        return await self._attempts.ask_one(upstream, query, self._size)

    def look(self) -> None:
        """A file of nameservers may have changed."""
        if self._sources.look():
            self._renew()

    def remarks(self) -> list[str]:
        return [f"forward: {line}" for line in self._resolver.remarks()] if self._resolver else []

    def close(self) -> None:
        if self._resolver is not None:
            self._resolver.changed.remove(self._renew)

    def _renew(self) -> None:
        """Other upstreams than before, perhaps."""
        before, self.upstreams = self.upstreams, [self._upstream(target) for target in self._sources.targets]
        self._left = {upstream: None for upstream in self._left if upstream not in self.upstreams}
        for upstream in before:
            if upstream not in self.upstreams:
                upstream.rest()
                self._left[upstream] = None
        for upstream in list(self._left)[:-LEFT]:
            del self._left[upstream]
            self._let_go(upstream)

    def _let_go(self, upstream: Upstream) -> None:
        """It left long ago: names may have other addresses each time, and all of them would be kept."""
        every = [plugin for block in self.block.all_blocks for plugin in block.named("forward") if isinstance(plugin, Forward)]
        known = {id(one) for forward in every for one in (*forward.upstreams, *forward._left)}
        if id(upstream) not in known:
            self.block.let_go(self._key(upstream.target))
            if upstream.name not in {one.name for forward in every for one in forward.upstreams}:
                self._tallies.forget(upstream.name)

    def _takes(self, name: str) -> bool:
        options = self.options
        zones = options.where[0]
        if name in zones:
            return True
        inside = any(names.is_below(name, zone) for zone in zones)
        return inside and not any(names.is_below(name, zone) for zone in options.except_)
