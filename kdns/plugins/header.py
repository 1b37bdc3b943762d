"""*header* - sets and clears flags of queries and replies.

Description
    Rules are followed in their order, so of two about one flag the last one counts. What is done to a query is for the
    plugins after this one, and `rd` is repeated in the reply. Of answers that *cache* keeps only a set `ra` is kept as well.

Syntax
    header {
        [query | response] set|clear FLAG...
    }

    - FLAG is `aa` (authoritative answer), `ra` (recursion available) or `rd` (recursion desired).
    - Without `query` or `response`, as it was written before CoreDNS 1.9.1, `response` is meant.

Metrics
    None.

Differences
    - Of answers that *cache* keeps only a set `ra` is kept.

Examples
    All replies say that recursion is available, and are not authoritative:

        . {
            header {
                response set ra
                response clear aa
            }
            whoami
        }

    Upstreams are always asked for recursion:

        . {
            header {
                query set rd
            }
            whoami
        }
"""

from dataclasses import dataclass
from typing import NamedTuple

from kdns.config.directive import Directive
from kdns.config.options import lines
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query
from kdns.dns.response import Answer, replace, Response
from kdns.dns.types import AA, RA, RD

ACTIONS = ("set", "clear")
FLAGS = {"aa": AA, "ra": RA, "rd": RD}


class Rule(NamedTuple):
    """Flags to set or to clear, in queries or in replies."""

    of: str
    action: str
    flags: int


def _rule(o: Directive) -> Rule:
    words = [o.name, *o.arguments(1)]
    of = words.pop(0) if words[0] in ("query", "response") else "response"
    action, *flags = words
    if action == o.name and action not in ACTIONS:
        raise o.unknown(("query", "response", *ACTIONS))
    if action not in ACTIONS:
        raise ValueError(f"'{action}' is none of {', '.join(ACTIONS)}")
    if not flags:
        raise ValueError(f"which flag? {', '.join(FLAGS)}")
    for flag in flags:
        if flag.lower() not in FLAGS:
            raise ValueError(f"'{flag}' is none of {', '.join(FLAGS)}")
    return Rule(of, action, sum({FLAGS[flag.lower()] for flag in flags}))


@dataclass(frozen=True)
class Options:
    rules: tuple[Rule, ...] = lines(_rule)


class Header(Plugin):
    table = Options
    same_for_everyone = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        if not options.rules:
            raise directive.error("has no rule, such as: response set ra")
        self._query = _outcome(options.rules, "query")
        self._response = _outcome(options.rules, "response")

    async def answer(self, query: Query, next: Handler) -> Answer:
        to_set, to_clear = self._query
        query.flags = (query.flags | to_set) & ~to_clear
        other = await next(query)
        if not isinstance(other, Response):
            return other
        to_set, to_clear = self._response
        return replace(
            other,
            authoritative=(other.authoritative or bool(to_set & AA)) and not to_clear & AA,
            flags=(other.flags | to_set) & ~AA,
            without=(other.without & ~to_set) | to_clear,
        )


def _outcome(rules: tuple[Rule, ...], of: str) -> tuple[int, int]:
    """The flags that are set after all of these rules, and those that are cleared."""
    to_set = to_clear = 0
    for rule in rules:
        if rule.of == of and rule.action == "set":
            to_set, to_clear = to_set | rule.flags, to_clear & ~rule.flags
        elif rule.of == of:
            to_set, to_clear = to_set & ~rule.flags, to_clear | rule.flags
    return to_set, to_clear
