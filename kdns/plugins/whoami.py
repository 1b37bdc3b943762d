"""*whoami* - tells a client its address, port and transport.

Description
    Every question of whatever name and type gets an empty answer, and in the additional section the client's address,
    as A or AAAA at the name asked, and its port, as SRV at `_udp.` or `_tcp.` below it. It is for tests.

Syntax
    whoami

Metrics
    None.

Examples
    Try it with `dig example.org`:

        . {
            whoami
        }
"""

import struct

from kdns.config.directive import Directive
from kdns.core.plugin import Handler
from kdns.core.site import Site
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Response, RRset
from kdns.dns.types import A, AAAA, SRV

ROOT = b"\0"


def setup(directive: Directive, site: Site) -> "Whoami":
    directive.no_args()
    directive.no_block()
    return Whoami()


class Whoami:
    async def answer(self, query: Query, next: Handler) -> Response:
        address = names.packed(query.client.host)
        port = struct.pack("!HHH", 0, 0, query.client.port) + ROOT
        where = RRset(query.name, A if len(address) == 4 else AAAA, 0, (address,))
        if len(query.question) - 4 + len("_udp.") > names.MAX_NAME:
            return Response(additional=(where,), made_by="whoami")
        through = RRset(f"_{query.transport}.{query.name.removeprefix('.')}", SRV, 0, (port,))
        return Response(additional=(where, through), made_by="whoami")
