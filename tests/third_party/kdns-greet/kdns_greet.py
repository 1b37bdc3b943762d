"""*greet* - says hello to whoever asks for TXT.

Description
    A name in ZONES has a TXT record that greets its first label. Other types have nothing.

Syntax
    greet [ZONES...] {
        word WORD
    }

    ZONES  else those of the server block.
    word   the greeting (hello).

Metrics
    None of its own: `coredns_dns_responses_total` has the label plugin="greet".

Examples
    Hello, world:

        . {
            greet greet.example
        }
"""

import math
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, option, word, zones
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query
from kdns.dns.response import Answer, Made, Response, RRset
from kdns.dns.types import TXT


@dataclass(frozen=True)
class Options:
    zones: tuple[str, ...] = argument(zones)
    word: str = option(word, "hello")


class Greet(Plugin):
    table = Options
    same_for_everyone = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        super().__init__(block, directive, options)
        self._zones = Fallthrough(options.zones or block.zones)

    async def answer(self, query: Query, next: Handler) -> Answer:
        if self._zones.zone(query.name) is None:
            return await next(query)
        said = f"{self.options.word} {query.name.partition('.')[0]}".encode()[:255]
        answer = (RRset(query.name, TXT, 60, (bytes((len(said),)) + said,)),) if query.type == TXT else ()
        return Response(answer=answer, stable_for=math.inf, made=Made("greet"))
