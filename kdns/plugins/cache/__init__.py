"""*cache* - keeps answers from elsewhere for their TTL.

Description
    What an upstream said is kept, positive answers and denials apart, at most as long as its shortest TTL, and at most
    TTL seconds: 3600 by default, 1800 for denials. All TTLs count down together. What was answered here, by *kubernetes*
    or another plugin that knows by itself, is never kept, whatever is written here: it is never out of date. What such a
    plugin let fall through, and an upstream answered, is kept until the plugin learns of the name.

    A denial is kept only with an SOA, whose minimum limits its TTL (RFC 2308). Answers with and without DO, and with and
    without CD, are kept apart. Truncated answers are not kept, nor aliases that do not lead to the type asked, nor what has
    over 16 kB. Equal questions that come while one of them is waiting for its answer wait for the same answer.

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
        max_size SIZE
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
    servfail            SERVFAIL and NOTIMP of an upstream, and that none answers, are kept so long (RFC 9520; 5s, at most 5m;
                        0s: not at all).
    disable             positive answers, or denials, are not kept (in these zones).
    keepttl             TTLs do not count down.
    nxdomain_cut        NXDOMAIN is kept for all types of a name and all names below it (RFC 8020), reverse zones left out.
                        Not for upstreams that deny names above others that exist.
    max_size            octets that all answers take (32M), such as 64M or 1G.

Metrics
    `zones` are ZONES with commas between; `view` is empty. `type` is success or denial. What was answered here does not
    count.

    - `coredns_cache_entries{server, type, zones, view}`, `kdns_cache_bytes{server, type, zones, view}`
    - `coredns_cache_requests_total{server, zones, view}`, `coredns_cache_hits_total{server, type, zones, view}`,
      `coredns_cache_misses_total{server, zones, view}`
    - `coredns_cache_prefetch_total{server, zones, view}`
    - `coredns_cache_served_stale_total{server, zones, view}`; these are hits, too.
    - `coredns_cache_drops_total{server, zones, view}`: answers that were not about the name asked.
    - `coredns_cache_evictions_total{server, type, zones, view}`

Differences
    - What an authoritative plugin here answered is never kept: a change shows with the next query.
    - Stale answers are served for an hour where the upstream fails (RFC 8767); `serve_stale off` ends it.

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
import time
from collections.abc import Awaitable, Callable
from functools import partial

from kdns.config.directive import Directive
from kdns.core.block import Block, FAILED
from kdns.core.plugin import Handler, Known, Plugin
from kdns.core.singleflight import Flight, Singleflight
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, Made, replace, Response
from kdns.dns.types import NOERROR, NXDOMAIN, RD, TC
from kdns.plugins import ORDER
from kdns.plugins.cache.answers import DENIAL, FAILURE, fresh_response, key_of, kind, stale_response, SUCCESS
from kdns.plugins.cache.counts import CacheCounts
from kdns.plugins.cache.kept import KeptAnswer
from kdns.plugins.cache.options import Options, shape
from kdns.plugins.cache.questions import Asked, asked_by, is_cut_for_udp, Refresh, Refreshes


class Caching(Plugin):
    """`clock` is time.monotonic, as it is for the ticks of the memo."""

    table = Options
    internet_only = True
    once = True
    same_for_everyone = True
    told = ()
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block, self.options = block, options
        self.stale, self.prefetch = options.serve_stale, options.prefetch
        self.zones = options.where[1] or block.zones
        above = ORDER[: ORDER.index("cache") + 1]
        below = tuple(shape(other) for other in block.parsed.directives if other.name not in above)
        here = block.parsed.keys, tuple(block.addresses)
        self.cache = block.keep(("cache", here, self.zones, options, below), options.cache)
        key = ("cache tallies", here, self.zones)
        self.tallies = block.keep(key, lambda: CacheCounts(block.metrics, key))
        self.tallies.serve(block, self.zones, self.cache)
        self._clock = self.clock
        self._zones, self._everything = frozenset(self.zones), "." in self.zones
        self._never = options.never_kept()
        self._disabled = {kind: options.disabled(kind) for kind in (SUCCESS, DENIAL, FAILURE)}
        self._asking: Singleflight[Answer] = Singleflight()
        self._refreshes = Refreshes()
        block.on_forget(self.cache.forget)

    def answer(self, query: Query, next: Handler) -> Awaitable[Answer]:
        if self._is_elsewhere(query):
            return next(query)
        if names.first_above(query.name, self._never) is not None:
            return self._pass(query, next)
        now = self._clock()
        second = int(now)
        key = key_of(query)
        entry = self.cache.find(key)
        if self.cache.cut and (entry is None or entry.left(second) <= 0):
            entry = self.cache.find_above(key, second) or entry
        if entry is None:
            return self._ask(query, next, key)
        if entry.left(second) > 0:
            return self._from_cache(entry, query, next, now)
        if self._usable(entry, second):
            return self._verified(entry, query, next, now)
        return self._ask(query, next, key)

    async def _pass(self, query: Query, next: Handler) -> Answer:
        """What the plugins below say of a name of which nothing is kept."""
        answer = await next(query)
        if isinstance(answer, Response) and answer.foreign:
            return replace(answer, made=self._missed(answer.made))
        return answer

    async def _from_cache(self, entry: KeptAnswer, query: Query, next: Handler, now: float) -> Answer:
        return self._hit(entry, query, next, now)

    def at_once(self, query: Query, next: Known) -> Answer | None:
        """What it neither has nor keeps; an answer from elsewhere is to be counted."""
        answer = next(query)
        if answer is None or (isinstance(answer, Response) and answer.foreign):
            return None
        if names.first_above(query.name, self._never) is not None or self._is_elsewhere(query):
            return answer
        return None if self.cache.cut or self.cache.find(key_of(query)) is not None else answer

    def _is_elsewhere(self, query: Query) -> bool:
        """Is it of no zone here, or whoever asks may get another answer than others?"""
        here = self._everything or names.closest(query.name, self._zones)
        heeded = self.block.edns_options
        return not here or (bool(heeded) and bool(query.options(heeded)))

    # ------------------------------------------------------------ from the cache

    def _hit(self, entry: KeptAnswer, query: Query, next: Handler, now: float) -> Response:
        second = int(now)
        self._count(entry, second, 1)
        if self.prefetch.amount and self._wanted(entry, second):
            asked = asked_by(query, key_of(query))
            if self._refreshes.find(asked) is None and self._refresh(asked, query, next, now) is not None:
                self.tallies.prefetches += 1
        response = fresh_response(entry, second, self.options.keepttl)
        made = Made("cache", "", "hit", partial(self._replayed, entry))
        return replace(response, stable_for=second + 1 - now, made=made)

    def _wanted(self, entry: KeptAnswer, second: int) -> bool:
        """Is it popular, and about to end? Once it could not be had in advance, its end is waited for."""
        near = entry.left(second) <= max(1, entry.ttl * self.prefetch.percentage // 100)
        return near and entry.hits >= self.prefetch.amount and entry.failed < 0

    def _replayed(self, entry: KeptAnswer, n: int) -> None:
        self._count(entry, int(self._clock()), n)

    def _count(self, entry: KeptAnswer, second: int, n: int) -> None:
        """So many hits, and for prefetch since when without a gap."""
        self.tallies.hits[SUCCESS if entry.kind == SUCCESS else DENIAL] += n
        if self.prefetch.amount:
            entry.hits = entry.hits + n if second - entry.last < self.prefetch.gap else n
            entry.last = second

    # ------------------------------------------------------------ stale

    def _usable(self, entry: KeptAnswer, second: int) -> bool:
        """May it be served, fresh or stale?"""
        stale = self.stale
        return entry.kind != FAILURE and entry.left(second) > (-stale.duration if stale is not None else 0)

    async def _verified(self, entry: KeptAnswer, query: Query, next: Handler, now: float) -> Answer:
        """What the upstream says now, or where it does not in time, what it said before."""
        stale = self.stale
        assert stale is not None
        if entry.failed < 0 or int(now) - entry.failed >= stale.recheck:
            asked = asked_by(query, key_of(query))
            running = self._refreshes.find(asked)
            joined = running is not None
            running = running or self._refresh(asked, query, next, now)
            # An alias that leads back to itself must not wait for itself.
            if running is not None and stale.verify is not None and not (joined and query.trail):
                task, began = running
                left = max(0.0, began + stale.verify - now) if stale.verify else None
                await asyncio.wait((task,), timeout=left)
                answer = task.result() if task.done() and not task.cancelled() else None
                if isinstance(answer, Response) and self._refreshed(answer):
                    self.tallies.misses += joined and answer.foreign
                    return await next(query) if joined and is_cut_for_udp(query, answer) else answer
        self.tallies.stale += 1
        self._count(entry, int(now), 1)
        return stale_response(entry, stale.ttl)

    def _refreshed(self, response: Response) -> bool:
        """Is it an answer, not a failure (RFC 8767 4)?"""
        if self.options.serve_stale_policy and not response.flags & TC:
            return response.rcode == NOERROR and bool(response.answer)
        return response.rcode in (NOERROR, NXDOMAIN)

    def _refresh(self, asked: Asked, query: Query, next: Handler, now: float) -> Refresh | None:
        return self._refreshes.begin(asked, lambda: self._ask_aside(query, next, asked[0]), now)

    async def _ask_aside(self, query: Query, next: Handler, key: str) -> Answer:
        """Ask where nobody may be there to hear of an error."""
        try:
            return await self._ask(query, next, key, anew=True)
        except Exception as error:
            self.block.failed(query, f"{type(error).__name__}: {error}", error)
            return self._kept(query, key, FAILED, self.cache.changes)

    def flush(self, name: str) -> int:
        return self.cache.flush(name)

    def close(self) -> None:
        self._refreshes.close()

    # ------------------------------------------------------------ from below

    def _ask(self, query: Query, next: Handler, key: str, anew: bool = False) -> Awaitable[Answer]:
        """What the plugins below say; equal questions that come meanwhile wait for the same answer.

        `anew`: even where an answer is kept that is fresh.
        """
        asked = asked_by(query, key)
        if asked not in self._asking.under_way:
            return self._first(asked, query, next, key)
        if query.trail:  # an alias that leads back to itself must not wait for itself
            return self._work(query, next, key)
        return self._join(asked, query, next, key, anew)

    async def _first(self, asked: Asked, query: Query, next: Handler, key: str) -> Answer:
        changes = self.cache.changes
        with Flight(asked, self._asking.under_way) as flight:
            flight.outcome = answer = self._kept(query, key, await next(query), changes)
        return answer

    async def _work(self, query: Query, next: Handler, key: str) -> Answer:
        changes = self.cache.changes
        return self._kept(query, key, await next(query), changes)

    async def _join(self, asked: Asked, query: Query, next: Handler, key: str, anew: bool) -> Answer:
        """What comes of an equal question that is under way."""

        async def work() -> Answer:
            if not anew:  # whoever asked first was cancelled, and another may have asked since
                entry, now = self.cache.find(key), self._clock()
                if entry is not None and entry.left(int(now)) > 0:
                    return self._hit(entry, query, next, now)
            return await self._work(query, next, key)

        answer = await self._asking.ask(asked, work, self._joined)
        return await next(query) if is_cut_for_udp(query, answer) else answer

    def _joined(self, answer: Answer) -> None:
        """Another's question had the answer: a miss all the same."""
        self.tallies.misses += isinstance(answer, Response) and answer.foreign

    def _kept(self, query: Query, key: str, answer: Answer, changes: int) -> Answer:
        """Keep an answer where it may be kept; what clients should see of it."""
        if not isinstance(answer, Response):
            return answer
        old, made = self.cache.find(key), answer.made
        if answer.foreign:
            made = self._missed(made)
        elif old is None:
            return answer
        second = int(self._clock())
        if old is not None and self._usable(old, second) and not self._refreshed(answer):
            old.failed = second  # what is kept is served stale
        elif query.flags & RD and not answer.flags & TC:
            found = self._kind(query, answer, changes)
            if found is not None:
                return self.cache.put(key, found, answer, second, made)
            if old is not None:
                self.cache.drop(key)
        return replace(answer, made=made)

    def _missed(self, made: Made) -> Made:
        """How an answer from elsewhere was made that was not here."""
        self.tallies.misses += 1
        by, upstream, _, replayed = made
        return tuple.__new__(Made, (by, upstream, "miss", replayed))  # half the time of Made(…)

    def _kind(self, query: Query, response: Response, changes: int) -> str | None:
        """What an answer is kept as, or None."""
        if not response.foreign or (response.depends and changes != self.cache.changes):
            return None
        answer = response.answer
        if answer and answer[0].name != query.name and query.name not in [rrset.name for rrset in answer]:
            self.tallies.drops += 1
            return None
        found = kind(response, query.name, query.type)
        disabled = self._disabled[found] if found is not None else None
        return None if disabled and names.first_above(query.name, disabled) is not None else found
