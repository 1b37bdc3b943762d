"""What is counted of one server block's *cache*, and how that is published."""

from collections.abc import Iterable
from typing import Any, TYPE_CHECKING

from kdns.core.block import Block
from kdns.core.metrics import counters, gauges, Labels, Metrics
from kdns.plugins.cache.answers import Cache, DENIAL, SUCCESS

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

LABELS: Labels = ("server", "zones", "view")
TYPE_LABELS: Labels = ("server", "type", "zones", "view")


class CacheCounts:
    """They outlive reloads; `serve` says which generation's cache they are of."""

    def __init__(self, metrics: Metrics, key: Any) -> None:
        self.hits = {SUCCESS: 0, DENIAL: 0}
        self.misses = self.prefetches = self.stale = self.drops = 0
        self._serving: tuple[Block, str, Cache] | None = None
        metrics.collect(("cache", key), self.families)

    def serve(self, block: Block, zones: tuple[str, ...], cache: Cache) -> None:
        """This is in service from now on."""
        self._serving = block, ",".join(zones), cache

    def families(self) -> Iterable["Family"]:
        if self._serving is None:
            return
        block, zones, cache = self._serving
        types = {which: (block.server, which, zones, block.view) for which in (SUCCESS, DENIAL)}
        yield gauges(
            "coredns_cache_entries", "Answers that are kept.", TYPE_LABELS,
            {labels: len(cache.entries[which]) for which, labels in types.items()},
        )
        yield gauges(
            "kdns_cache_bytes", "Octets that answers take, estimated.", TYPE_LABELS,
            {labels: cache.octets[which] for which, labels in types.items()},
        )
        yield counters(
            "coredns_cache_hits_total", "Questions that the cache answered.", TYPE_LABELS,
            {labels: self.hits[which] for which, labels in types.items()},
        )
        yield counters(
            "coredns_cache_evictions_total", "Answers that had to make room.", TYPE_LABELS,
            {labels: cache.evictions[which] for which, labels in types.items()},
        )
        for name, help, value in (
            ("requests", "Questions that the cache answered, or could have.", sum(self.hits.values()) + self.misses),
            ("misses", "Questions that it had no answer to.", self.misses),
            ("prefetch", "Answers asked for anew in advance.", self.prefetches),
            ("served_stale", "Stale answers.", self.stale),
            ("drops", "Answers that were not about the name asked.", self.drops),
        ):  # fmt: skip
            yield counters(f"coredns_cache_{name}_total", help, LABELS, {(block.server, zones, block.view): value})
