"""*nsid* - names this server in replies, to clients that ask for it.

Description
    A query with the EDNS option NSID (RFC 5001) gets the name of this server in its reply, so that one of many behind an
    address can be told. Replies to others are as they would be without.

    Only once in a server block.

Syntax
    nsid [DATA...]

    - DATA is what to say, its words with a blank between them; the name of the host by default.

Metrics
    None.

Differences
    - Errors have the identifier too.

Examples
    Try it with `dig +nsid example.org`:

        example.org {
            nsid Use The Force
            whoami
        }
"""

import socket
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, words
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query, without
from kdns.dns.response import Answer, replace, Response
from kdns.dns.types import NSID

CODES = frozenset((NSID,))
LONGEST = 255  # octets: it has to fit into any reply


@dataclass(frozen=True)
class Options:
    words: tuple[str, ...] = argument(words())


class Nsid(Plugin):
    table = Options
    once = True
    same_for_everyone = True  # of those who send the same options, which the memo tells apart

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        name = " ".join(options.words or (socket.gethostname() or "localhost",)).encode()
        if len(name) > LONGEST:
            raise directive.error(f"has {len(name)} octets, {LONGEST} at most fit")
        self._option = b"\0\3" + len(name).to_bytes(2, "big") + name
        block.heed_options(CODES)

    async def answer(self, query: Query, next: Handler) -> Answer:
        other = await next(query)
        if not query.options(CODES) or not isinstance(other, Response):
            return other
        return replace(other, options=without(other.options, CODES) + self._option)  # an upstream's is not ours
