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

from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Made, Response, RRset
from kdns.dns.types import A, AAAA, SRV

ROOT = b"\0"
MADE = Made("whoami")


class Whoami(Plugin):
    """Its answers depend on who asks, so it keeps its server block out of the memo."""

    internet_only = True

    async def answer(self, query: Query, next: Handler) -> Response:
        address = names.packed(query.client.host)
        port = struct.pack("!HHH", 0, 0, query.client.port) + ROOT
        where = RRset(query.name, A if len(address) == 4 else AAAA, 0, (address,))
        if len(query.question) - 4 + len("_udp.") > names.MAX_NAME:
            return Response(additional=(where,), made=MADE)
        through = RRset(f"_{query.transport}.{query.name.removeprefix('.')}", SRV, 0, (port,))
        return Response(additional=(where, through), made=MADE)
