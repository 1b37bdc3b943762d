"""*chaos* - tells the server's version, authors and name, in the class CH.

Description
    TXT questions of the class CH are answered for `version.bind` and `version.server` (the version), `authors.bind` (the
    authors, where any are given), `hostname.bind` and `id.server` (the name of the host; in a Pod, that of the Pod). All others
    are for the plugins after this one.

    The server block has to be for these zones, or for the root.

Syntax
    chaos [VERSION] [AUTHORS...]

    - VERSION is `kdns-` and the version of kdns by default.
    - AUTHORS is nobody by default.

Metrics
    None.

Differences
    - The version is kdns's, and there are no authors unless given.

Examples
    For these names alone; try it with `dig CH TXT version.bind`:

        version.bind version.server authors.bind hostname.bind id.server {
            chaos DNS-001 info@example.org
        }

    Beside all others:

        . {
            chaos
            whoami
        }
"""

import math
import socket
from dataclasses import dataclass

from kdns import __version__
from kdns.config.directive import Directive
from kdns.config.options import argument, words
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query
from kdns.dns.response import Answer, Made, Response, RRset
from kdns.dns.types import TXT

CH = 3
MADE = Made("chaos")


@dataclass(frozen=True)
class Options:
    words: tuple[str, ...] = argument(words())


class Chaos(Plugin):
    table = Options
    same_for_everyone = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        version, *authors = options.words or (f"kdns-{__version__}",)
        host = socket.gethostname() or "localhost"
        said = {
            "version.bind.": [version], "version.server.": [version], "authors.bind.": authors,
            "hostname.bind.": [host], "id.server.": [host],
        }  # fmt: skip
        self._rdata = {name: tuple(map(_rdata, texts)) for name, texts in said.items() if texts}
        block.answer_any_class()

    async def answer(self, query: Query, next: Handler) -> Answer:
        rdata = self._rdata.get(query.name) if query.cls == CH and query.type == TXT else None
        if rdata is None:
            return await next(query)
        txt = RRset(query.name, TXT, 0, rdata)
        return Response(authoritative=False, answer=(txt,), stable_for=math.inf, made=MADE)


def _rdata(text: str) -> bytes:
    """A text as TXT has it, as much as fits."""
    octets = text.encode()[:255]
    return bytes((len(octets),)) + octets
