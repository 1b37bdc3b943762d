"""*any* - answers questions for all types of a name with one short record.

Description
    A question of type ANY gets one HINFO record that says where to read why (RFC 8482 4.2), for all names of the server block,
    and no plugin after this one is asked. Without *any* such a question gets one RRset of the name.

Syntax
    any

Metrics
    None.

Examples
    `dig ANY example.org` says `example.org. 8482 IN HINFO "ANY obsoleted" "See RFC 8482"`:

        example.org {
            any
            whoami
        }
"""

import math

from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query
from kdns.dns.response import Answer, Made, Response, RRset
from kdns.dns.types import ANY

HINFO = 13
SAID = b"\x0dANY obsoleted\x0cSee RFC 8482"
MADE = Made("any")


class Any(Plugin):
    same_for_everyone = True

    async def answer(self, query: Query, next: Handler) -> Answer:
        if query.type != ANY:
            return await next(query)
        hinfo = RRset(query.name, HINFO, 8482, (SAID,))
        return Response(authoritative=False, answer=(hinfo,), stable_for=math.inf, made=MADE)
