"""*erratic* - answers always the same, late, cut, or not at all, for tests of clients.

Description
    A questions are answered with 192.0.2.53, AAAA questions with 2001:db8::53, all others with SERVFAIL. One of so many is
    dropped, delayed or marked as cut (TC), the first one among them. AXFR is answered with a small zone, whose last SOA is
    missing where it is to be cut.

Syntax
    erratic {
        drop [AMOUNT]
        truncate [AMOUNT]
        delay [AMOUNT [DURATION]]
    }

    - AMOUNT is one of how many queries, 2 by default; 0 for none.
    - DURATION is 100ms by default.

    Without any option, every second query is dropped.

Metrics
    None.

Differences
    - Exactly one of AMOUNT replies is cut.

Examples
    One of three is dropped:

        example.org {
            erratic {
                drop 3
            }
        }

    One of three is late by 50 milliseconds, one of five cut:

        example.org {
            erratic {
                delay 3 50ms
                truncate 5
            }
        }
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import option
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, Made, Response, RRset, SILENCE, Stream
from kdns.dns.types import A, AAAA, AXFR, NS, SERVFAIL, TC
from kdns.dns.zone import Apex

ADDRESSES = {A: bytes((192, 0, 2, 53)), AAAA: b"\x20\x01\x0d\xb8" + bytes(11) + b"\x53"}
MADE = Made("erratic")
LONGEST_ORIGIN = 255 - len("hostmaster.")  # octets of a name that may have a zone: its SOA names somebody below it
OFTEN = 2
MOST = 2**31 - 1
LONGEST = 60.0  # seconds


def _amount(o: Directive) -> int:
    return o.integer(0, MOST) if o.arguments(0, 1) else OFTEN


def _delay(o: Directive) -> tuple[int, float]:
    given = o.arguments(0, 2)
    return o.integer(0, MOST, at=0) if given else OFTEN, o.duration(0, LONGEST, at=1) if given[1:] else 0.1


@dataclass(frozen=True)
class Options:
    drop: int | None = option(_amount)
    truncate: int = option(_amount, 0)
    delay: tuple[int, float] = option(_delay, (0, 0.0))


class Erratic(Plugin):
    """What it says depends on when it is asked, so it keeps its server block out of the memo."""

    table = Options
    internet_only = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.options = options
        unless_said = 0 if options.truncate or options.delay[0] else OFTEN
        self._drop = unless_said if options.drop is None else options.drop
        self._asked = 0

    async def answer(self, query: Query, next: Handler) -> Answer:
        number, (every, seconds) = self._asked, self.options.delay
        self._asked += 1
        if _is_one_of(number, self._drop):
            return SILENCE
        if _is_one_of(number, every):
            await asyncio.sleep(seconds)
        cut = _is_one_of(number, self.options.truncate)
        if query.type == AXFR and len(names.wire(query.name)) <= LONGEST_ORIGIN:
            return Stream(_zone(query.name, cut))
        if query.type not in ADDRESSES:
            return Response(rcode=SERVFAIL, authoritative=False, made=MADE)
        address = RRset(query.name, query.type, 0, (ADDRESSES[query.type],))
        return Response(flags=TC if cut else 0, answer=(address,), made=MADE)


async def _zone(origin: str, cut: bool) -> AsyncIterator[Response]:
    """A zone to be transferred: two name servers and their addresses."""
    soa = Apex(origin, 3600, "erratic").soa(1)._replace(ttl=0)
    servers = [f"{label}.{origin.lstrip('.')}" for label in "ab"]
    records = [RRset(origin, NS, 0, tuple(map(names.wire, servers)))]
    records += [RRset(server, AAAA, 0, (ADDRESSES[AAAA],)) for server in servers]
    yield Response(answer=(soa, *records, *(() if cut else (soa,))), made=MADE)


def _is_one_of(number: int, every: int) -> bool:
    return every > 0 and number % every == 0
