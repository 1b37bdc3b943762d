"""What is counted at a listening address: queries alike are counted together, when somebody asks. No I/O."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Final

from kdns.core.block import Block
from kdns.core.memo import Memo
from kdns.core.metrics import counters, DURATIONS, gauges
from kdns.core.plugin import Fact
from kdns.dns.query import Query
from kdns.dns.response import Response
from kdns.dns.types import RCODES, REFUSED, TYPES

MOST_KINDS = 2000  # of queries, that are told apart at a time
_SHORT: Final = DURATIONS[0]  # what nearly all take


class Alike:
    """Queries that are counted alike: `count` says so of those that the memo answered.

    Those that plugins answered are counted here until they are told, with what they took in seconds.
    """

    __slots__ = ("block", "fact", "replayed", "seconds", "times")

    def __init__(self, block: Block, fact: Fact | None, replayed: Callable[[int], None] | None = None) -> None:
        self.block, self.fact = block, fact
        self.replayed = replayed  # whoever the memo answers in place of is told how often
        self.times = 0
        self.seconds = 0.0


class Answered:
    """The queries of one listening address that plugins answered, until they are told to those who count.

    Each could be told as it is answered, but that takes a tenth of the time of an answer.
    """

    def __init__(self) -> None:
        self._alike: dict[tuple[Any, ...], Alike] = {}
        self._untold: list[Alike] = []

    def count(self, server: str, zone: str, block: Block, query: Query, response: Response, size: int) -> Alike:
        """One more, with a reply of so many octets; what others like it are counted as."""
        seconds = time.monotonic() - query.received
        by = response.made.by
        # Durations of one bucket are told as their mean, which falls into the same bucket.
        key = (
            block, zone, query.transport, query.over_ipv6, query.type, query.edns is not None and query.edns.do, response.rcode, by,
            len(query.wire), size, 0 if seconds <= _SHORT else bisect_left(DURATIONS, seconds),
        )  # fmt: skip
        alike = self._alike.get(key)
        if alike is None:
            if len(self._alike) >= MOST_KINDS:
                self.tell()
                self._alike.clear()
            alike = self._alike[key] = Alike(block, Fact(server, zone, block.view, *key[2:10]))
        if not alike.times:
            self._untold.append(alike)
        alike.times += 1
        alike.seconds += seconds
        return alike

    def tell(self) -> None:
        """Tell those who count."""
        untold, self._untold = self._untold, []
        for alike in untold:
            times, seconds = alike.times, alike.seconds
            alike.times, alike.seconds = 0, 0.0
            assert alike.fact is not None
            for count in alike.block.counters:
                count(alike.fact, times, seconds / times)


class Counts:
    """What is counted at one listening address, since the process began."""

    def __init__(self) -> None:
        self.hits = 0  # of the memo
        self.misses = 0  # messages that it had no reply to
        self.forgotten = 0  # replies that changes made it forget, until this generation
        self.evicted = 0  # replies that went for want of room, until this generation
        self.hit_seconds = 0.0  # what hits took
        self.refused: dict[int, int] = {}  # by code: what never became a query, or is of no zone here
        self.of_no_zone: dict[tuple[str, str, str], int] = {}  # queries by transport, family (1: IPv4, 2: IPv6) and type

    def refuse(self, rcode: int) -> None:
        """What came is answered with this code alone."""
        self.refused[rcode] = self.refused.get(rcode, 0) + 1

    def pass_by(self, query: Query) -> None:
        """A query for a name that is of no zone here."""
        key = (query.transport.value, "2" if ":" in query.client.host else "1", TYPES.get(query.type, "other"))
        self.of_no_zone[key] = self.of_no_zone.get(key, 0) + 1
        self.refuse(REFUSED)


def families(addresses: Iterable[tuple[str, Counts, Memo]]) -> list[Any]:
    """What is counted at addresses, each with its name, for a scrape."""
    by_server = ("server",)
    table: dict[tuple[str, ...], tuple[Counts, Memo]] = {(server,): (counts, memo) for server, counts, memo in addresses}
    refused: dict[tuple[str, ...], float] = {
        (server, "dropped", "", RCODES.get(rcode, "other"), ""): n
        for (server,), (counts, _) in table.items()
        for rcode, n in counts.refused.items()
    }
    passed_by = {
        (server, "dropped", "", *key): n for (server,), (counts, _) in table.items() for key, n in counts.of_no_zone.items()
    }
    return [
        counters(
            "coredns_dns_requests_total", "Queries.", ("server", "zone", "view", "proto", "family", "type"), passed_by
        ),
        counters("coredns_dns_responses_total", "Replies.", ("server", "zone", "view", "rcode", "plugin"), refused),
        gauges("kdns_memo_entries", "Replies in the memo.", by_server, {of: len(memo) for of, (_, memo) in table.items()}),
        gauges(
            "kdns_memo_bytes", "Octets of the memo, estimated.", by_server, {of: memo.size for of, (_, memo) in table.items()}
        ),
        gauges(
            "kdns_memo_budget_bytes", "Octets that the memo may have.", by_server,
            {of: memo.budget for of, (_, memo) in table.items()},
        ),
        counters(
            "kdns_memo_hits_total", "Queries that the memo answered.", by_server,
            {of: counts.hits for of, (counts, _) in table.items()},
        ),
        counters(
            "kdns_memo_misses_total", "Queries that it did not answer.", by_server,
            {of: counts.misses for of, (counts, _) in table.items()},
        ),
        counters(
            "kdns_memo_forgotten_total", "Replies that a change made it forget.", by_server,
            {of: counts.forgotten + memo.forgotten for of, (counts, memo) in table.items()},
        ),
        counters(
            "kdns_memo_evicted_total", "Replies that went for want of room.", by_server,
            {of: counts.evicted + memo.evicted for of, (counts, memo) in table.items()},
        ),
    ]  # fmt: skip
