"""The figures of the page: what is counted, as it stands. What happens in a second is the difference of two answers.

They are made once a second for all who ask. Hits of the memo are counted in its entries, and folded into the counts of queries;
where that takes long, because they are very many, it is done so seldom that it takes a fifth of a hundredth of the time.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from kdns import __version__
from kdns.core.block import Block
from kdns.core.explanation import listeners_of
from kdns.core.metrics import DURATIONS, Tally
from kdns.core.queries import Queries
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.types import PTR, RCODES, REFUSED, SERVFAIL
from kdns.plugins.page.onlooker import Onlooker
from kdns.upstream.tallies import Tallies

EVERY = 0.5  # seconds for which an answer stands
SHARE = 500  # folding takes one part in so many of the time
LONGEST = 60.0  # seconds from one folding to the next, at most
UPSTREAMS = 50  # that are shown


class Figures:
    """`upstreams` is None where none are asked."""

    def __init__(self, block: Block, queries: Queries, upstreams: Tallies | None, onlooker: Onlooker) -> None:
        self._block, self._queries, self._upstreams, self._onlooker = block, queries, upstreams, onlooker
        self._made: dict[str, Any] = {}
        self._made_at = self._fold_at = self._folded_at = 0.0  # time.monotonic()

    async def asked(self, asked: Mapping[str, str]) -> tuple[int, Any]:
        now = time.monotonic()
        if not self._made or now > self._made_at + EVERY:
            self._made_at = now
            self._onlooker.ask()
            await self._fold(now)
            self._made = await self._all(now)
        return 200, self._made

    async def _fold(self, now: float) -> None:
        if now >= self._fold_at:
            self._fold_at = math.inf  # nobody else meanwhile
            try:
                await self._block.metrics.fold()
            finally:
                self._folded_at = time.monotonic()
                self._fold_at = now + min(LONGEST, (self._folded_at - now) * SHARE)

    async def _all(self, now: float) -> dict[str, Any]:
        blocks = self._block.all_blocks
        listeners = listeners_of(blocks)
        codes: Counter[str] = Counter()
        times = Tally(DURATIONS)
        for zone in self._queries.zones.values():
            times.add(zone.durations)
            for (code, _), n in zone.responses.items():
                codes[RCODES.get(code, "other")] += n
        for listener in listeners:
            for code, n in listener.counts.refused.items():
                codes[RCODES.get(code, "other")] += n
        return {
            "version": __version__,
            "at": now,
            "servers": [{"address": one.server, "zones": list(one.blocks)} for one in listeners],
            "amiss": list(self._amiss()),
            "queries": sum(one.counts.hits + one.counts.misses for one in listeners),
            "hits": sum(one.counts.hits for one in listeners),
            "hit seconds": sum(one.counts.hit_seconds for one in listeners),
            "counted at": self._folded_at,
            "codes": dict(codes),
            "times": {"bounds": DURATIONS, "counts": times.counts},
            "memo": {
                "replies": sum(len(one.memo) for one in listeners), "octets": sum(one.memo.size for one in listeners),
                "budget": sum(one.memo.budget for one in listeners),
            },
            "upstreams": list(self._rows()) if self._upstreams is not None else None,
            "seen": await self._seen(),
        }  # fmt: skip

    def _amiss(self) -> Iterator[str]:
        """A line for each thing that is not as it should be."""
        if self._block.stopping:
            yield "the server is shutting down"
        for name, plugin in [each for block in self._block.all_blocks for each in block.plugins]:
            if why := plugin.ready():
                yield f"{name}: {why}"
            for remark in plugin.remarks():
                yield f"{name}: {remark}"

    def _rows(self) -> Iterator[dict[str, Any]]:
        """What is counted of each upstream, and how it is; those that are asked most come first."""
        assert self._upstreams is not None
        tallies = self._upstreams
        asked = {to: tallies.requests.get((to,), 0.0) for to in tallies.states}
        for to in sorted(asked, key=lambda to: -asked[to])[:UPSTREAMS]:
            latency, down, without_edns = tallies.states[to]()
            of = {code: tally for (other, code), tally in tallies.durations.items() if other == to}
            total = Tally(DURATIONS)
            for tally in of.values():
                total.add(tally)
            yield {
                "to": to, "down": down, "without EDNS": without_edns, "latency": latency, "asked": asked[to],
                "replied": sum(total.counts), "seconds": total.total, "counts": total.counts,
                "failed": sum(sum(tally.counts) for code, tally in of.items() if code in (SERVFAIL, REFUSED)),
            }  # fmt: skip

    async def _seen(self) -> dict[str, Any]:
        """What the onlooker saw; clients are called by their Pods where these are known."""
        seen = self._onlooker.table()
        for row in seen["clients"]:
            row["pods"] = await self._pods(row["client"])
        return seen

    async def _pods(self, client: str) -> list[str]:
        query = Query(names.reverse_name(names.packed(client)), PTR)
        every = [plugin for block in self._block.all_blocks for _, plugin in block.plugins if plugin.overrides("account")]
        return list(dict.fromkeys([pod for plugin in every for pod in (await plugin.account(query)).get("pods", ())]))[:3]
