"""*local* - answers for localhost, and for what else is nobody's but the machine's own.

Description
    `localhost` and all names below it have the addresses 127.0.0.1 and ::1, 1.0.0.127.in-addr.arpa is localhost, and in
    0.in-addr.arpa, 127.in-addr.arpa and 255.in-addr.arpa there is nothing else. Such questions never reach an upstream. They are
    answered as from zones: authoritatively, and where there is nothing, with the zone's SOA (CoreDNS makes one up for each name).

    Names below `localhost` come from a search list on the way astray; with *debug* their clients are in the log.

Syntax
    local

Metrics
    - `coredns_local_localhost_requests_total`: questions for names below `localhost`.

Examples
    Nobody else is asked for these:

        . {
            local
            whoami
        }
"""

import logging

from kdns.config.directive import Directive
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query
from kdns.dns.response import Answer, Made, replace, RRset
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


class Local(Plugin):
    same_for_everyone = True
    internet_only = True

    def __init__(self, block: Block, directive: Directive, options: object) -> None:
        self._own = Fallthrough(ZONES)
        self._zones = {origin: _zone(origin) for origin in ZONES}
        self._astray = block.counter("coredns_local_localhost_requests_total", "Questions for names below localhost.")

    async def answer(self, query: Query, next: Handler) -> Answer:
        origin = self._own.zone(query.name)
        if origin is None:
            return await next(query)
        response = self._zones[origin].lookup(query.name, query.type, query.do).response
        if origin != "localhost." or query.name == origin:
            return response
        self._astray.inc()
        log.debug("%s asks for %s", query.client, query.name)
        return replace(response, made=Made("local", replayed=self._astray.inc))
