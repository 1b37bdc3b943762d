"""*forward* - asks other DNS servers, upstreams, and hands their answers on.

Description
    Names below FROM are asked of one of the upstreams; the others pass. A query over UDP is asked over UDP, one over TCP
    over TCP. Where an upstream does not answer, the next one is asked, for 5 seconds in all. It is then checked in the
    background, asked after all others meanwhile, and not at all once it is down. Where all are down, they are tried by
    chance.

    Questions leave with random ids, from a new source port for every eight; what is no reply to a question that waits is
    ignored, and where someone guesses the question is asked over TCP. TCP and TLS connections are kept, with several
    questions under way on each. Each question carries EDNS of our own, so that large answers are known whole (see
    *bufsize*); DO and CD go through, other EDNS options do not. Where a question with EDNS has no reply it is asked without,
    and its upstream after that until EDNS passes again.

    A file of nameservers is watched: a change is taken up within seconds, and one that names no server is logged and changes
    nothing.

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
    }

    FROM                  a zone, or a prefix such as 10.0.0.0/8 for its reverse zones.
    TO                    up to 15: an address, with a port or without; tls:// before it for DNS over TLS and %NAME after it
                          for the name in its certificate; or a file such as /etc/resolv.conf.
    except                names in these zones pass.
    force_tcp             TCP, whatever the query came over.
    prefer_udp            UDP, whatever the query came over, and TCP again where the reply is truncated.
    expire                a connection that is unused for so long is closed (10s).
    max_age               a connection is not used for longer (0: no limit); at least `expire`.
    max_idle_conns        so many idle connections are kept (0: no limit).
    read_timeout          how long one upstream has for its reply (2s).
    max_fails             an upstream is down after so many failed checks in a row (2); 0: never, and no checks.
    max_connect_attempts  failed attempts for one query (twice as many as there are upstreams); 0: no limit.
    tls                   a certificate and its key to show, a CA to trust in place of the system's.
    tls_servername        the name in the upstreams' certificates; else their addresses must be in them.
    policy                which upstream first: by chance, in turn, in the order given, or the one with the lowest latency,
                          while one query in 20 sees how the others do.
    health_check          the time between the first two checks (0.5s), which grows to 10s; no recursion; the name asked.
    max_concurrent        queries that may wait for upstreams; those beyond it are REFUSED.
    next                  where the reply has one of these codes, the next *forward* is asked.
    next_on_nodata        the same for a reply without an answer.
    failfast_all_unhealthy_upstreams   SERVFAIL at once where all upstreams are down.
    failover              where the reply has one of these codes, the next upstream is asked.
    source_address        the address to ask from.

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
"""

import asyncio
import os
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from kdns.config.directive import Directive
from kdns.core.plugin import Handler
from kdns.core.site import Site
from kdns.dns import names
from kdns.dns.query import Query, Transport
from kdns.dns.response import ExtendedError, Response
from kdns.dns.types import IN, NOERROR, RCODES, REFUSED, SERVFAIL, TC
from kdns.errors import NoReply, UpstreamError
from kdns.upstream.policies import POLICIES
from kdns.upstream.sources import Sources
from kdns.upstream.tallies import Tallies
from kdns.upstream.targets import Target, target, Tls
from kdns.upstream.upstream import Options, Upstream

DEADLINE = 5.0  # seconds for all attempts of one query
PAUSE = 0.02  # seconds before upstreams that just failed are tried again
WATCH = 1.0  # seconds between looks at a file
MOST = 15  # words that name upstreams
OTHER, UNREACHABLE, NETWORK = 0, 22, 23  # extended errors (RFC 8914 4)

OPTIONS = (
    "except", "force_tcp", "prefer_udp", "expire", "max_age", "max_idle_conns", "read_timeout", "max_fails",
    "max_connect_attempts", "tls", "tls_servername", "policy", "health_check", "max_concurrent", "next", "next_on_nodata",
    "failfast_all_unhealthy_upstreams", "failover", "source_address",
)  # fmt: skip


@dataclass
class Choices:
    """What a directive says of this plugin; what it says of each upstream is in Options."""

    zones: tuple[str, ...] = (".",)
    excepted: tuple[str, ...] = ()
    force_tcp: bool = False
    prefer_udp: bool = False
    read_timeout: float = 2.0
    attempts: int | None = None
    policy: str = "random"
    max_concurrent: int = 0
    next: frozenset[int] = frozenset()
    next_on_nodata: bool = False
    failfast: bool = False
    failover: frozenset[int] = frozenset()
    sources: list[Target | str] = field(default_factory=list)  # upstreams, and files of them


class Forward:
    """The link of the chain. Other plugins may read `upstreams`, ask one of them, and take one out."""

    def __init__(self, site: Site, choices: Choices, make: Callable[[Target], Upstream], tallies: Tallies) -> None:
        self.upstreams: list[Upstream] = []
        self._site, self._choices, self._make, self._tallies = site, choices, make, tallies
        self._everything = choices.zones == (".",) and not choices.excepted
        self._policy = POLICIES[choices.policy]()
        self._waiting = 0
        self._sources = Sources(choices.sources)
        self._renew()

    async def answer(self, query: Query, next: Handler) -> Response:
        if not (self._everything or self._takes(query.name)) or query.cls != IN:
            return await next(query)
        choices = self._choices
        if choices.max_concurrent and self._waiting >= choices.max_concurrent:
            self._tallies.rejected.add()
            why = ExtendedError(OTHER, f"{choices.max_concurrent} queries wait for upstreams already (max_concurrent)")
            return Response(rcode=REFUSED, authoritative=False, made_by="forward", error=why)
        self._waiting += 1
        try:
            response = await self._forward(query)
        finally:
            self._waiting -= 1
        passes = response.rcode in choices.next or (
            choices.next_on_nodata and response.rcode == NOERROR and not response.answer
        )
        if passes and response.foreign and self._site.plugin("forward")[-1] is not self:
            return await next(query)
        return response

    async def ask(self, upstream: Upstream, query: Query) -> Response:
        """Ask one upstream, whatever its health and whether it is taken out; UpstreamError where it does not answer."""
        tcp = self._choices.force_tcp or (query.transport is Transport.TCP and not self._choices.prefer_udp)
        return await self._exchange(upstream, query, tcp, self._choices.read_timeout)

    def exclude(self, upstream: Upstream, why: str) -> None:
        """Do not ask an upstream any more. It stays so over reloads, until `include`."""
        upstream.excluded = why

    def include(self, upstream: Upstream) -> None:
        upstream.excluded = ""

    async def run(self) -> None:
        """Watch the files of nameservers."""
        while self._sources.paths:
            await asyncio.sleep(WATCH)
            if self._sources.look():
                self._renew()

    def _renew(self) -> None:
        before, self.upstreams = self.upstreams, [self._make(target) for target in self._sources.targets]
        for upstream in before:
            if upstream not in self.upstreams:
                upstream.rest()

    def _takes(self, name: str) -> bool:
        choices = self._choices
        if name in choices.zones:
            return True
        inside = any(names.is_below(name, zone) for zone in choices.zones)
        return inside and not any(names.is_below(name, zone) for zone in choices.excepted)

    async def _forward(self, query: Query) -> Response:
        """What the first upstream says that says anything, or SERVFAIL and why."""
        choices = self._choices
        tcp = choices.force_tcp or (query.transport is Transport.TCP and not choices.prefer_udp)
        order = self._order()
        most = 2 * len(order) if choices.attempts is None else choices.attempts
        deadline = time.monotonic() + DEADLINE
        failures: dict[str, UpstreamError] = {}
        last: Response | None = None
        fails = replies = 0
        while order and (left := deadline - time.monotonic()) > 0:
            try:
                timeout = min(choices.read_timeout, left)
                silence = any(isinstance(error, NoReply) for error in failures.values())
                last = await self._exchange(order[(fails + replies) % len(order)], query, tcp, timeout, silence)
            except UpstreamError as error:
                failures[order[(fails + replies) % len(order)].name] = error
                fails += 1
                if fails == most:
                    break
                if (fails + replies) % len(order) == 0:
                    await asyncio.sleep(PAUSE)
                continue
            replies += 1
            if last.rcode not in choices.failover or replies + fails >= len(order):
                return last
        return last or self._failed(failures)

    def _exchange(
        self, upstream: Upstream, query: Query, tcp: bool, timeout: float, silence: bool = False
    ) -> Coroutine[Any, Any, Response]:
        if self._choices.prefer_udp and not tcp:
            return self._exchange_by_both(upstream, query, timeout, silence)
        return upstream.ask(query, tcp, timeout, self._site.udp_size, silence)

    async def _exchange_by_both(self, upstream: Upstream, query: Query, timeout: float, silence: bool) -> Response:
        """Over UDP, and over TCP again where the reply is truncated."""
        began = time.monotonic()
        response = await upstream.ask(query, False, timeout, self._site.udp_size, silence)
        if not response.flags & TC:
            return response
        return await upstream.ask(query, True, timeout - (time.monotonic() - began), self._site.udp_size)

    def _order(self) -> list[Upstream]:
        """The upstreams to try, the first one first; none where there is no point in trying."""
        if len(self.upstreams) == 1 and self.upstreams[0].usable:
            return self.upstreams
        ordered = [upstream for upstream in self._policy(self.upstreams) if not upstream.excluded]
        usable = [upstream for upstream in ordered if upstream.usable]
        if len(usable) > 1:
            usable.sort(key=_is_suspect)
        if usable or not ordered:
            return usable
        self._tallies.broken.add()
        return [] if self._choices.failfast else random.sample(ordered, len(ordered))

    def _failed(self, failures: dict[str, UpstreamError]) -> Response:
        if failures:
            code = UNREACHABLE if all(isinstance(error, NoReply) for error in failures.values()) else NETWORK
            text = "; ".join(f"{name}: {error}" for name, error in failures.items())
        else:
            code, text = UNREACHABLE, "; ".join(f"{up.name}: {up.excluded or 'down'}" for up in self.upstreams)
        asked, why = " ".join(failures), ExtendedError(code, text)
        return Response(rcode=SERVFAIL, authoritative=False, made_by="forward", upstream=asked, error=why)


def _is_suspect(upstream: Upstream) -> bool:
    return upstream.health.suspect


# ---------------------------------------------------------------- the directive


def setup(directive: Directive, site: Site) -> Forward:
    """The plugin of a directive; CorefileError names what is wrong with it."""
    reader = _Reader(directive, site)
    for option in directive.block:
        reader.read(option)
    reader.check()
    instance, options = site.instance, Options(**reader.given, tls=reader.tls)
    tallies = instance.carry("forward tallies", Tallies)
    if tallies.metrics not in instance.collectors:
        instance.collectors.append(tallies.metrics)

    def make(target: Target) -> Upstream:
        """An upstream, shared with whoever asks it in the same way, and kept over a reload."""
        context = instance.carry(("forward tls", options.tls), options.tls.context) if target.tls else None
        return instance.carry(("forward", target, options), lambda: Upstream(target, options, tallies, context))

    try:
        forward = Forward(site, reader.choices, make, tallies)
    except (OSError, ValueError) as error:
        raise directive.error(str(error)) from None
    if not forward.upstreams:
        raise directive.error(f"{', '.join(directive.args[1:])} names no nameserver")
    return forward


class _Reader:
    """The options of one directive, line by line."""

    def __init__(self, directive: Directive, site: Site) -> None:
        self.directive, self.root = directive, site.root
        words = directive.arguments(2)[1:]
        if len(words) > MOST:
            raise directive.error(f"takes at most {MOST} upstreams, has {len(words)}")
        self.choices = Choices(zones=replace(directive, args=directive.args[:1]).origins())
        self.given: dict[str, Any] = {}  # Options of the upstreams
        self.tls = Tls()
        for word in words:
            try:
                self.choices.sources.append(target(word, self.root))
            except ValueError as error:
                raise directive.error(str(error)) from None

    def read(self, o: Directive) -> None:
        choices, given = self.choices, self.given
        match o.name:
            case "except":
                o.arguments(1)
                choices.excepted += o.origins()
            case "force_tcp":
                o.no_args()
                choices.force_tcp = given["force_tcp"] = True
            case "prefer_udp" | "next_on_nodata":
                o.no_args()
                setattr(choices, o.name, True)
            case "failfast_all_unhealthy_upstreams":
                o.no_args()
                choices.failfast = True
            case "expire" | "max_age":
                given[o.name] = o.duration()
            case "max_idle_conns":
                given["max_idle"] = o.integer(0, 1_000_000)
            case "max_fails":
                given["max_fails"] = o.integer(0, 2**32 - 1)
            case "read_timeout":
                choices.read_timeout = o.duration(low=0.001)
            case "max_connect_attempts":
                choices.attempts = o.integer(0, 2**32 - 1)
            case "max_concurrent":
                choices.max_concurrent = o.integer(0, 2**31 - 1)
            case "policy":
                choices.policy = o.choice(POLICIES)
            case "next":
                choices.next = _rcodes(o)
            case "failover":
                choices.failover = _rcodes(o)
                if NOERROR in choices.failover:
                    raise o.error("failover: NOERROR is no failure")
            case "tls":
                self.read_tls(o.arguments(0, 3))
            case "tls_servername":
                self.tls = self.tls._replace(server_name=o.one())
            case "source_address":
                given["source"] = _address(o)
            case "health_check":
                self.read_health_check(o)
            case "doh_method" | "resolver":
                raise o.error(f"{o.name}: kdns asks addresses and files of them, neither https:// nor names: remove it")
            case _:
                raise o.unknown(OPTIONS)

    def read_tls(self, files: Iterable[str]) -> None:
        paths = [os.path.join(self.root, file) for file in files]
        ca = paths.pop() if len(paths) % 2 else ""
        cert, key = paths or ("", "")
        self.tls = self.tls._replace(cert=cert, key=key, ca=ca)

    def read_health_check(self, o: Directive) -> None:
        self.given["interval"] = o.duration(at=0) or Options().interval
        words = list(o.args[1:])
        while words:
            word = words.pop(0)
            if word == "no_rec":
                self.given["recurse"] = False
            elif word == "domain" and words:
                try:
                    self.given["domain"] = names.absolute(words.pop(0))
                except ValueError as error:
                    raise o.error(f"health_check: {error}") from None
            else:
                raise o.error(f"health_check: '{word}' is neither no_rec nor domain and a name")

    def check(self) -> None:
        """What can be said only once all lines are read."""
        expire, max_age = (self.given.get(name, getattr(Options(), name)) for name in ("expire", "max_age"))
        if 0 < max_age < expire:
            raise self.directive.error(f"max_age ({max_age:g} s) must not be less than expire ({expire:g} s)")
        named = [source for source in self.choices.sources if isinstance(source, Target) and source.server_name]
        if named and self.tls.server_name:
            raise self.directive.error(f"tls_servername and '%{named[0].server_name}' exclude each other: keep one")
        try:
            self.tls = self.tls.stamped()
            if self.tls.stamps:
                self.tls.context()
        except OSError as error:
            raise self.directive.error(f"tls: {error}") from None


def _rcodes(o: Directive) -> frozenset[int]:
    numbers = {name: number for number, name in RCODES.items()}
    for word in o.arguments(1):
        if word.upper() not in numbers:
            raise o.error(f"{o.name}: '{word}' is none of {', '.join(numbers)}")
    return frozenset(numbers[word.upper()] for word in o.args)


def _address(o: Directive) -> str:
    try:
        return str(ip_address(o.one()))
    except ValueError:
        raise o.error(f"source_address: '{o.one()}' is not an IP address") from None
