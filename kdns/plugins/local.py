"""*local* - answers for localhost, and for what else is nobody's but the machine's own.

Description
    `localhost` and all names below it have the addresses 127.0.0.1 and ::1, 1.0.0.127.in-addr.arpa is localhost, and in
    0.in-addr.arpa, 127.in-addr.arpa and 255.in-addr.arpa there is nothing else. Such questions never reach an upstream. They are
    answered as from zones: authoritatively, and where there is nothing, with the zone's SOA.

    Names that begin with `localhost.`, such as localhost.example.org, have these addresses too: a search list made them. Names
    below `localhost` and these are on the way astray; with *debug* their clients are in the log.

Syntax
    local {
        localhost_prefix on|off
    }

    - `localhost_prefix off` leaves names that only begin with `localhost.` to others, as RFC 6761 has it (on).

Metrics
    - `coredns_local_localhost_requests_total`: questions for names below `localhost`, and for those that begin with it.

Differences
    - Answers are authoritative; a denial below `localhost` has that zone's SOA, not one of the name asked, and the zone's NS record
      has its addresses beside it.

Examples
    Nobody else is asked for these:

        . {
            local
            whoami
        }
"""

import logging
import math
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import choice, option
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query
from kdns.dns.response import Answer, Made, replace, Response, RRset
from kdns.dns.types import A, AAAA, NS, PTR, SOA
from kdns.dns.zone import Zone

log = logging.getLogger(__name__)

TTL = 604800  # a week, as BIND's zones of these names have it
LOCALHOST = b"\x09localhost\0"
APEX = LOCALHOST + b"\4root" + LOCALHOST + b"".join(n.to_bytes(4, "big") for n in (1, 0, 0, 0, TTL))
ADDRESSES = {A: b"\x7f\0\0\1", AAAA: bytes(15) + b"\1"}
ZONES = ("localhost.", "0.in-addr.arpa.", "127.in-addr.arpa.", "255.in-addr.arpa.")
RECORDS = [(name, type, rdata) for name in ("localhost.", "*.localhost.") for type, rdata in ADDRESSES.items()]
RECORDS.append(("1.0.0.127.in-addr.arpa.", PTR, LOCALHOST))


def _zone(origin: str) -> Zone:
    own = [(origin, SOA, APEX), (origin, NS, LOCALHOST), *(record for record in RECORDS if record[0].endswith(origin))]
    return Zone(origin, [RRset(name, type, TTL, (rdata,)) for name, type, rdata in own], origin, "local")


@dataclass(frozen=True)
class Options:
    localhost_prefix: str = option(choice("on", "off"), "on")


class Local(Plugin):
    table = Options
    same_for_everyone = True
    internet_only = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self._prefix = options.localhost_prefix == "on"
        self._own = Fallthrough(ZONES)
        self._zones = {origin: _zone(origin) for origin in ZONES}
        self._astray = block.counter("coredns_local_localhost_requests_total", "Questions for names below localhost.")

    async def answer(self, query: Query, next: Handler) -> Answer:
        origin = self._own.zone(query.name)
        if origin is not None:
            response = self._zones[origin].lookup(query.name, query.type, query.do).response
        elif self._prefix and query.name.startswith("localhost."):
            response = _loopback(query)
        else:
            return await next(query)
        if origin not in ("localhost.", None) or query.name == origin:
            return response
        self._astray.inc()
        log.debug("%s asks for %s", query.client, query.name)
        return replace(response, made=Made("local", replayed=self._astray.inc))


def _loopback(query: Query) -> Response:
    """The address of a name that a search list made of localhost; else the SOA of a zone that has no more than this name."""
    type, rdata = (query.type, ADDRESSES[query.type]) if query.type in ADDRESSES else (SOA, APEX)
    found = (RRset(query.name, type, TTL, (rdata,)),)
    return Response(answer=found, stable_for=math.inf) if type != SOA else Response(authority=found, stable_for=math.inf)
