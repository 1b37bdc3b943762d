"""*cache* - keeps answers from elsewhere for their TTL.

Description
    What an upstream said is kept, positive answers and denials apart, at most as long as its shortest TTL, and at most
    TTL seconds: 3600 by default, 1800 for denials. All TTLs count down together. What was answered here, by *kubernetes*
    or another plugin that knows by itself, is never kept, whatever is written here: it is never out of date. What such a
    plugin let fall through, and an upstream answered, is kept until the plugin learns of the name.

    A denial is kept only with an SOA, whose minimum limits its TTL (RFC 2308). Answers with and without DO, and with and
    without CD, are kept apart. Truncated answers are not kept, nor aliases that do not lead to the type asked, nor what has
    over 16 kB; all answers together take at most 32 MiB. Equal questions that come while one of them is waiting for its
    answer wait for the same answer.

    Stale answers (RFC 8767): where an upstream fails (SERVFAIL and the like), or says nothing within 1.8 seconds, what is
    kept is served for an hour beyond its TTL, with a TTL of 30 and an extended error that says so. The question goes on in
    the background; where it fails, it is not asked again for 30 seconds.

    A reload that changes nothing that stands in the chain from *cache* on keeps what is kept.

    Only once in a server block.

Syntax
    cache [TTL] [ZONES...] {
        success CAPACITY [TTL] [MINTTL]
        denial CAPACITY [TTL] [MINTTL]
        prefetch AMOUNT [DURATION [PERCENTAGE%]]
        serve_stale [DURATION] [immediate [RESPONSE_TTL [RECHECK]]]
        serve_stale [DURATION] [verify [TIMEOUT [RESPONSE_TTL [RECHECK]]]]
        serve_stale off
        serve_stale_policy prefer_positive
        servfail DURATION
        disable success|denial [ZONES...]
        keepttl
        nxdomain_cut
    }

    TTL, ZONES          at most so many seconds, and only names in these zones, those of the server block by default.
    success, denial     how many answers (9984, at least 1024; where there are more the oldest go), the longest TTL and the
                        shortest (5): a shorter one is raised.
    prefetch            an answer that was asked for AMOUNT times, never DURATION (1m) apart, is asked for anew when
                        PERCENTAGE (10%, up to 90%) of its TTL is left, or a second.
    serve_stale         for DURATION (1h) beyond the TTL. `immediate`, the mode where none is given, answers at once and asks
                        the upstream after; `verify` asks first, and waits for TIMEOUT (0s: as long as the upstream takes).
                        RESPONSE_TTL is the TTL of such an answer (30s), RECHECK for how long a failure is believed (0s, at
                        most 5m).
    serve_stale off     what is over its TTL is not served.
    serve_stale_policy  prefer_positive: denials do not take the place of a positive answer until that is too old to be
                        served stale. They may be right: records that were removed on purpose stay that long.
    servfail            SERVFAIL and NOTIMP of an upstream are kept so long (5s, at most 5m; 0s: not at all).
    disable             positive answers, or denials, are not kept (in these zones).
    keepttl             TTLs do not count down.
    nxdomain_cut        NXDOMAIN is kept for all types of a name and all names below it (RFC 8020), reverse zones left out.
                        Not for upstreams that deny names above others that exist.

Metrics
    `zones` are ZONES with commas between; `view` is empty. `type` is success or denial. What was answered here does not
    count.

    - `coredns_cache_entries{server, type, zones, view}`
    - `coredns_cache_requests_total{server, zones, view}`, `coredns_cache_hits_total{server, type, zones, view}`,
      `coredns_cache_misses_total{server, zones, view}`
    - `coredns_cache_prefetch_total{server, zones, view}`
    - `coredns_cache_served_stale_total{server, zones, view}`; these are hits, too.
    - `coredns_cache_drops_total{server, zones, view}`: answers that were not about the name asked.
    - `coredns_cache_evictions_total{server, type, zones, view}`

Examples
    At most 30 seconds, as clusters have it:

        .:53 {
            cache 30 {
                disable success cluster.local
                disable denial cluster.local
            }
            whoami
        }

    Only example.org, with more room for positive answers, and popular ones asked for in advance:

        . {
            cache example.org {
                success 50000
                denial 2500 300
                prefetch 10 1m 20%
            }
            whoami
        }
"""

import asyncio
import math
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from kdns.config.directive import Directive
from kdns.core.metrics import Counter, Gauge, Histogram, Metric
from kdns.core.plugin import Handler
from kdns.core.site import FAILED, Site
from kdns.dns import names
from kdns.dns.query import Query, Transport
from kdns.dns.response import replace, Response
from kdns.dns.types import AD, IN, NOERROR, NXDOMAIN, RD, TC
from kdns.plugins import ORDER
from kdns.plugins.cache.answers import (
    Cache,
    DENIAL,
    Entry,
    FAILURE,
    fresh_response,
    key_of,
    kind,
    Limits,
    stale_response,
    SUCCESS,
)

CAPACITY, LEAST_CAPACITY = 9984, 1024
MOST_REFRESHES = 512  # questions of our own under way; each may hold some kilobytes
LABELS, TYPE_LABELS = ("server", "zones", "view"), ("server", "type", "zones", "view")

Waiting = asyncio.Future[Response | Exception | None]  # what came of it; None: whoever asked was cancelled
Asked = tuple[str, int, int, Transport]  # equal questions: the key, RD and AD, the size that fits, the transport


class Stale(NamedTuple):
    """How stale answers are served, in seconds; `verify`: the upstream is waited for so long (0: as it takes), None: not."""

    duration: int = 3600
    verify: float | None = 1.8
    ttl: int = 30
    recheck: int = 30


class Options(NamedTuple):
    """What a directive says. Equal options are equal caches."""

    zones: tuple[str, ...]
    success: Limits
    denial: Limits
    amount: int = 0  # prefetch; 0: never
    gap: int = 60
    percentage: int = 10
    stale: Stale | None = Stale()
    prefer_positive: bool = False
    failure: int = 5
    disabled: frozenset[tuple[str, str]] = frozenset()  # (kind, zone)
    keepttl: bool = False
    nxdomain_cut: bool = False


def setup(directive: Directive, site: Site) -> "Caching":
    site.once(directive)
    options = read(directive, site.zones)
    above = ORDER[: ORDER.index("cache") + 1]
    below = tuple(_shape(other) for other in site.block.directives if other.name not in above)
    key = ("cache", site.block.keys, tuple(site.addresses), options, below)
    cache = site.instance.carry(key, lambda: Cache(options.success, options.denial, options.failure, options.nxdomain_cut))
    tallies = site.instance.carry(("cache tallies", site.block.keys, tuple(site.addresses), options.zones), Tallies)
    plugin = Caching(options, cache, tallies, site)
    site.instance.forgetters.append(cache.forget)
    site.instance.collectors.append(plugin.metrics)
    site.instance.on_close.append(plugin.close)
    return plugin


def _shape(directive: Directive) -> tuple[Any, ...]:
    """What a directive says, wherever it stands."""
    return directive.name, directive.args, tuple(map(_shape, directive.block))


# ---------------------------------------------------------------- options


def read(directive: Directive, default: tuple[str, ...] = (".",)) -> Options:
    """The options of a directive; CorefileError names what is wrong with them."""
    most = 0
    if directive.args and re.fullmatch("[+-]?[0-9]+", directive.args[0]):
        most = directive.integer(1, 2**31 - 1, at=0)
    zones = directive.origins(default=default, start=1 if most else 0)
    success, denial = (Limits(CAPACITY, most or usual, min(5, most or usual)) for usual in (3600, 1800))
    options = Options(zones, success, denial)
    for option in directive.block:
        options = _read(option, options)
    if options.prefer_positive and options.stale is None:
        raise directive.error("serve_stale_policy has no effect with serve_stale off: take one of them out")
    return options


def _read(o: Directive, options: Options) -> Options:
    match o.name:
        case "success":
            return options._replace(success=_limits(o, options.success))
        case "denial":
            return options._replace(denial=_limits(o, options.denial))
        case "prefetch":
            return _prefetch(o, options)
        case "serve_stale":
            return options._replace(stale=_stale(o))
        case "serve_stale_policy":
            return options._replace(prefer_positive=bool(o.choice(("prefer_positive",))))
        case "servfail":
            return options._replace(failure=math.ceil(o.duration(0, 300)))
        case "disable":
            where = o.choice((SUCCESS, DENIAL), at=0)
            zones = o.origins(default=(".",), start=1)
            return options._replace(disabled=options.disabled | {(where, zone) for zone in zones})
        case "keepttl":
            o.no_args()
            return options._replace(keepttl=True)
        case "nxdomain_cut":
            o.no_args()
            return options._replace(nxdomain_cut=True)
        case _:
            raise o.unknown(("success", "denial", "prefetch", "serve_stale", "serve_stale_policy", "servfail", "disable",
                             "keepttl", "nxdomain_cut"))  # fmt: skip


def _limits(o: Directive, limits: Limits) -> Limits:
    count = len(o.arguments(1, 3))
    capacity = max(LEAST_CAPACITY, o.integer(0, 10_000_000, at=0))
    most = o.integer(1, 2**31 - 1, at=1) if count > 1 else limits.most
    return Limits(capacity, most, o.integer(0, 2**31 - 1, at=2) if count > 2 else min(limits.least, most))


def _prefetch(o: Directive, options: Options) -> Options:
    count = len(o.arguments(1, 3))
    percentage = options.percentage
    if count > 2:
        match = re.fullmatch("([0-9]{2})%", o.args[2])
        if match is None or not 10 <= int(match[1]) <= 90:
            raise o.error(f"prefetch: '{o.args[2]}' is not a percentage from 10% to 90%")
        percentage = int(match[1])
    gap = math.ceil(o.duration(at=1)) if count > 1 else options.gap
    return options._replace(amount=o.integer(0, 2**31 - 1, at=0), gap=gap, percentage=percentage)


def _stale(o: Directive) -> Stale | None:
    words = list(o.arguments(0, 5))
    if words == ["off"]:
        return None
    duration = math.ceil(o.duration(0, 2**31 - 1, at=0)) if words else 3600
    mode = words[1].lower() if len(words) > 1 else "immediate"
    if mode not in ("immediate", "verify"):
        raise o.error(f"serve_stale: '{words[1]}' is none of immediate, verify")
    verify, at = None, 2
    if mode == "verify":
        verify, at = (o.duration(at=2) if len(words) > 2 else 0.0), 3
    if len(words) > at + 2:
        raise o.error("serve_stale: too many arguments")
    ttl = o.duration(0, 2**31 - 1, at=at) if len(words) > at else 30.0
    if ttl % 1:
        raise o.error(f"serve_stale: '{words[at]}' is not a whole number of seconds")
    recheck = o.duration(0, 300, at=at + 1) if len(words) > at + 1 else 0.0
    return Stale(duration, verify, int(ttl), math.ceil(recheck))


# ---------------------------------------------------------------- at work


class Tallies:
    """What is counted."""

    def __init__(self) -> None:
        self.hits = {SUCCESS: 0, DENIAL: 0}
        self.misses = self.prefetches = self.stale = self.drops = 0


class Caching:
    """The link of the chain. `clock` is time.monotonic, as it is for the ticks of the memo."""

    def __init__(
        self, options: Options, cache: Cache, tallies: Tallies, site: Site, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.options, self.cache, self.tallies = options, cache, tallies
        self._site = site
        self._clock = clock
        self._zones = frozenset(options.zones)
        self._everything = "." in self._zones
        self._asked: dict[Asked, list[Waiting]] = {}  # who waits; no more than queries in flight
        self._refreshes: dict[Asked, tuple[asyncio.Task[Response], float]] = {}  # and when they began

    async def answer(self, query: Query, next: Handler) -> Response:
        if query.cls != IN or not (self._everything or names.closest(query.name, self._zones)):
            return await next(query)
        now = self._clock()
        second = int(now)
        key = key_of(query)
        entry = self.cache.find(key)
        if self.cache.cut and (entry is None or entry.left(second) <= 0):
            entry = self.cache.find_above(key, second) or entry
        if entry is None:
            return await self._ask(query, next, key)
        if entry.left(second) > 0:
            return self._hit(entry, query, next, now)
        if self._usable(entry, second):
            return await self._verified(entry, query, next, now)
        return await self._ask(query, next, key)

    # ------------------------------------------------------------ from the cache

    def _hit(self, entry: Entry, query: Query, next: Handler, now: float) -> Response:
        second = int(now)
        self._count(entry, second, 1)
        if self.options.amount and self._wanted(entry, second):
            asked = _asked(query, key_of(query))
            if asked not in self._refreshes and self._refresh(asked, query, next, now) is not None:
                self.tallies.prefetches += 1
        response = fresh_response(entry, second, self.options.keepttl)
        flags = response.flags if query.do or query.flags & AD else response.flags & ~AD  # RFC 6840 5.8
        return replace(response, flags=flags, stable_for=second + 1 - now, replayed=partial(self._replayed, entry))

    def _wanted(self, entry: Entry, second: int) -> bool:
        """Is it popular, and about to end? Once it could not be had in advance, its end is waited for."""
        near = entry.left(second) <= max(1, entry.ttl * self.options.percentage // 100)
        return near and entry.hits >= self.options.amount and entry.failed < 0

    def _replayed(self, entry: Entry, n: int) -> None:
        self._count(entry, int(self._clock()), n)

    def _count(self, entry: Entry, second: int, n: int) -> None:
        """So many hits, and for prefetch since when without a gap."""
        self.tallies.hits[SUCCESS if entry.kind == SUCCESS else DENIAL] += n
        if self.options.amount:
            entry.hits = entry.hits + n if second - entry.last < self.options.gap else n
            entry.last = second

    # ------------------------------------------------------------ stale

    def _usable(self, entry: Entry, second: int) -> bool:
        """May it be served, fresh or stale?"""
        stale = self.options.stale
        return entry.kind != FAILURE and entry.left(second) > (-stale.duration if stale is not None else 0)

    async def _verified(self, entry: Entry, query: Query, next: Handler, now: float) -> Response:
        """What the upstream says now, or where it does not in time, what it said before."""
        stale = self.options.stale
        assert stale is not None
        if entry.failed < 0 or int(now) - entry.failed >= stale.recheck:
            asked = _asked(query, key_of(query))
            running = self._refreshes.get(asked)
            joined = running is not None
            running = running or self._refresh(asked, query, next, now)
            # An alias that leads back to itself must not wait for itself.
            if running is not None and stale.verify is not None and not (joined and query.hops):
                task, began = running
                left = max(0.0, began + stale.verify - now) if stale.verify else None
                await asyncio.wait((task,), timeout=left)
                if task.done() and not task.cancelled() and self._refreshed(task.result()):
                    self.tallies.misses += joined and task.result().foreign
                    return task.result()
        self.tallies.stale += 1
        self._count(entry, int(now), 1)
        return stale_response(entry, stale.ttl)

    def _refreshed(self, response: Response) -> bool:
        """Is it an answer, not a failure (RFC 8767 4)?"""
        if self.options.prefer_positive and not response.flags & TC:
            return response.rcode == NOERROR and bool(response.answer)
        return response.rcode in (NOERROR, NXDOMAIN)

    def _refresh(self, asked: Asked, query: Query, next: Handler, now: float) -> tuple[asyncio.Task[Response], float] | None:
        """Ask in the background; None where too much is asked so already."""
        if len(self._refreshes) >= MOST_REFRESHES:
            return None
        task = asyncio.get_running_loop().create_task(self._ask_aside(query, next, asked[0]))
        self._refreshes[asked] = task, now
        task.add_done_callback(lambda _: self._refreshes.pop(asked, None))
        return task, now

    async def _ask_aside(self, query: Query, next: Handler, key: str) -> Response:
        """Ask where nobody may be there to hear of an error."""
        try:
            return await self._ask(query, next, key)
        except Exception as error:
            self._site.instance.panics.add()
            self._site.report(query, f"{type(error).__name__}: {error}", error)
            return self._keep(query, key, FAILED, self.cache.changes)

    def close(self) -> None:
        for task, _ in list(self._refreshes.values()):
            task.cancel()

    # ------------------------------------------------------------ from below

    async def _ask(self, query: Query, next: Handler, key: str) -> Response:
        """What the plugins below say; equal questions that come meanwhile wait for the same answer.

        Where whoever asks is cancelled, one of those who wait asks instead.
        """
        asked = _asked(query, key)
        while (waiting := self._asked.get(asked)) is not None and not query.hops:
            future: Waiting = asyncio.get_running_loop().create_future()
            waiting.append(future)
            outcome = await future
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is not None:
                self.tallies.misses += outcome.foreign
                return outcome
            entry, now = self.cache.find(key), self._clock()
            if entry is not None and entry.left(int(now)) > 0:  # another who waited has asked already
                return self._hit(entry, query, next, now)
        if waiting is not None:  # an alias that leads back to itself must not wait for itself
            return self._keep(query, key, await next(query), self.cache.changes)
        waiting = self._asked[asked] = []
        changes, outcome = self.cache.changes, None
        try:
            outcome = self._keep(query, key, await next(query), changes)
            return outcome
        except Exception as error:
            outcome = error
            raise
        finally:
            del self._asked[asked]
            for future in waiting:
                if not future.done():
                    future.set_result(outcome)

    def _keep(self, query: Query, key: str, response: Response, changes: int) -> Response:
        """Keep an answer where it may be kept; what clients should see of it."""
        second = int(self._clock())
        old = self.cache.find(key)
        if response.foreign:
            self.tallies.misses += 1
            response = replace(response, cached="miss")
        elif old is None:
            return response
        if old is not None and self._usable(old, second) and not self._refreshed(response):
            old.failed = second
        elif query.flags & RD and not response.flags & TC:
            found = self._kind(query, response, changes)
            if found is not None:
                return self.cache.put(key, found, response, second)
            self.cache.drop(key)
        return response

    def _kind(self, query: Query, response: Response, changes: int) -> str | None:
        """What an answer is kept as, or None."""
        if not response.foreign or (response.depends and changes != self.cache.changes):
            return None
        if response.answer and query.name not in [rrset.name for rrset in response.answer]:
            self.tallies.drops += 1
            return None
        found = kind(response, query.name, query.type)
        if self.options.disabled:
            where = DENIAL if found == FAILURE else found
            if any(which == where and names.is_below(query.name, zone) for which, zone in self.options.disabled):
                return None
        return found

    # ------------------------------------------------------------ metrics

    def metrics(self) -> list[Metric | Histogram]:
        server = self._site.listeners[0].server if self._site.listeners else ""
        labels = (server, ",".join(self.options.zones), "")
        tallies, out = self.tallies, list[Metric | Histogram]()
        entries = Gauge("coredns_cache_entries", "Answers that are kept.", TYPE_LABELS)
        hits = Counter("coredns_cache_hits_total", "Questions that the cache answered.", TYPE_LABELS)
        evictions = Counter("coredns_cache_evictions_total", "Answers that had to make room.", TYPE_LABELS)
        for which in (SUCCESS, DENIAL):
            by_type = (server, which, *labels[1:])
            entries.set(len(self.cache.entries[which]), *by_type)
            hits.add(*by_type, by=tallies.hits[which])
            evictions.add(*by_type, by=self.cache.evictions[which])
        for name, help, value in (
            ("requests", "Questions that the cache answered, or could have.", sum(tallies.hits.values()) + tallies.misses),
            ("misses", "Questions that it had no answer to.", tallies.misses),
            ("prefetch", "Answers asked for anew in advance.", tallies.prefetches),
            ("served_stale", "Stale answers.", tallies.stale),
            ("drops", "Answers that were not about the name asked.", tallies.drops),
        ):
            counter = Counter(f"coredns_cache_{name}_total", help, LABELS)
            counter.add(*labels, by=value)
            out.append(counter)
        return [entries, hits, evictions, *out]


def _asked(query: Query, key: str) -> Asked:
    size = query.edns.size if query.edns is not None else 0
    return key, query.flags & (RD | AD), size, query.transport
