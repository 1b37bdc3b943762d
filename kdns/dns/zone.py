"""A zone's apex and what it says of names that are not there. No I/O.

A negative answer carries the SOA (RFC 2308 3): NODATA where the name exists, or a name below it does (an empty non-terminal,
RFC 8020), else NXDOMAIN.
"""

import math
import struct

from kdns.dns import names
from kdns.dns.response import ExtendedError, Key, Response, RRset
from kdns.dns.types import NOERROR, NXDOMAIN, SOA

MOST_NEGATIVE_TTL = 300  # seconds, of the SOA in answers


class Apex:
    """The top of a zone. `ttl` (seconds) is how long a negative answer may be kept; `made_by` the plugin."""

    def __init__(self, origin: str, ttl: int, made_by: str) -> None:
        self.origin = origin
        self._made_by = made_by
        self._ttl = ttl
        self._head = names.wire(_below("ns.dns", origin)) + names.wire(_below("hostmaster", origin))
        self._serial = -1
        self._soa = RRset(origin, SOA, 0, ())

    def soa(self, serial: int) -> RRset:
        """The SOA record as of a serial (RFC 1035 3.3.13), with CoreDNS's intervals."""
        if serial != self._serial:
            rdata = self._head + struct.pack("!5I", serial & 0xFFFFFFFF, 7200, 1800, 86400, self._ttl)
            self._soa = RRset(self.origin, SOA, min(self._ttl, MOST_NEGATIVE_TTL), (rdata,))
            self._serial = serial
        return self._soa

    def negative(
        self, exists: bool, serial: int, depends: tuple[Key, ...] | None, error: ExtendedError | None = None
    ) -> Response:
        """NODATA or NXDOMAIN. `depends` None: on too much to be named, so nobody may keep it."""
        return Response(
            rcode=NOERROR if exists else NXDOMAIN,
            authority=(self.soa(serial),),
            stable_for=0.0 if depends is None else math.inf,
            depends=depends or (),
            made_by=self._made_by,
            error=error,
        )


def _below(label: str, origin: str) -> str:
    return f"{label}." if origin == "." else f"{label}.{origin}"
