"""*view* - says which queries a server block takes, among several of one zone.

Description
    Server blocks of one zone and port are tried in the order of the Corefile, and the first whose expressions are all true
    takes the query; one without *view* takes all. Where none of the longest zone takes it, those of the next longer one that
    the name is in are tried. So a block without *view* stands last.

    Where expressions ask for no more than the question and the client's address, replies are kept by the memo, apart for
    clients that they treat differently. One that asks more (`bufsize`, `id`, `port`, `proto`, `server_ip`, `size`,
    `metadata`) keeps all server blocks of its address out of the memo: a question over TCP has the same key there as over UDP.

    An expression that fails, as by comparing a number with a text, is false.

Syntax
    view NAME {
        expr EXPRESSION
    }

    - NAME is the label `view` of metrics, and `view/name` in *metadata*.
    - `expr` may stand several times; all of them have to be true.

    Of the query: `name()` (lower case, with its final dot), `type()`, `class()`, `client_ip()`, `port()`, `server_ip()`,
    `server_port()`, `proto()` (udp, tcp), `do()`, `bufsize()`, `size()`, `id()`, `opcode()`, `metadata(LABEL)` (empty where it
    is not known). Ports are texts.

    The language is expr-lang's: texts in ' or " (with escapes) or `, numbers, true, false, nil, arrays [1, 2], maps {a: 1};
    == != < > <= >=, && || ! (and or not), in, contains, startsWith, endsWith, matches (a regular expression in Go's syntax),
    + - * / % **, ?: ?? .. |, [index], [from:to], let NAME = VALUE; …

    Functions: incidr(ADDRESS, PREFIX), len, trim, trimPrefix, trimSuffix, upper, lower, split, replace, repeat, indexOf,
    lastIndexOf, hasPrefix, hasSuffix, join, splitAfter, int, float, string, abs, ceil, floor, round, max, min, sum, mean, median,
    bitand, bitor, bitxor, bitnand, bitnot, bitshl, bitshr, first, last, take, get, reverse, sort, uniq, concat, flatten, keys,
    values, toPairs, fromPairs; all, any, one, none, map, filter, count, find, findIndex, findLast, findLastIndex, groupBy,
    sortBy with a predicate about `#`. No dates, and nothing that grows beyond 10,000 elements.

Metrics
    None; NAME is the label `view` of others.

Differences
    - Expressions have no dates, no `reduce`, no JSON and Base64; a wrong type makes one false, it is no error at the start.

Examples
    Other answers for a network:

        . {
            view office {
                expr incidr(client_ip(), '192.168.0.0/16') || incidr(client_ip(), '2001:db8::/32')
            }
            forward . 127.0.0.1:5301
        }
        . {
            forward . 127.0.0.1:5302
        }

    By type and by name:

        . {
            view addresses {
                expr type() in ['A', 'AAAA']
                expr name() matches '^abc\\\\..*\\\\.example\\\\.com\\\\.$'
            }
            forward . 127.0.0.1:5301
        }
        . {
            whoami
        }
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from kdns.config.directive import Directive
from kdns.config.options import argument, option, word
from kdns.core.block import Block
from kdns.core.expressions.language import Known, Node, Reader
from kdns.core.expressions.queries import CLIENT, FAILURES, KNOWN, known_of, MORE
from kdns.core.plugin import Plugin
from kdns.dns.query import Address, Query


def _expression(o: Directive) -> tuple[Node]:
    try:
        return (Reader(" ".join(o.arguments(1)), KNOWN).read(),)
    except RecursionError:
        raise ValueError("it is too long") from None


@dataclass(frozen=True)
class Options:
    name: str = argument(word)
    expr: tuple[Node, ...] = option(_expression, (), many=True)


class View(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block, self.name, self.expressions = block, options.name, options.expr
        needs: frozenset[str] = frozenset().union(*[each.needs for each in options.expr])
        self.asks_more = bool(needs & MORE)
        self.same_for_everyone = not needs & (MORE | {CLIENT})
        self._about_clients = [part for each in options.expr for part in about_clients(each)]
        block.show_view(options.name)

    def takes(self, query: Query) -> bool:
        known = known_of(query, self.block.label)
        return all(value_of(each, known) is True for each in self.expressions)

    def audience(self, client: str) -> bytes:
        """What the parts of the expressions come to that ask for the client's address and nothing else."""
        query = Query(".", 1)
        query.client = Address(client, 0)
        known = known_of(query, self.block.label)
        token = repr([value_of(part, known) for part in self._about_clients]).encode()
        return token if len(token) < 64 else blake2b(token, digest_size=32).digest()

    def labels(self, query: Query) -> Mapping[str, Callable[[], str]]:
        return {"view/name": lambda: self.name}


def value_of(node: Node, known: Known) -> Any:
    """What it comes to; None where it fails."""
    try:
        return node.run(known, {})
    except FAILURES:
        return None


def about_clients(node: Node) -> Iterator[Node]:
    """The largest parts that ask for the client's address alone."""
    if node.needs == {CLIENT}:
        yield node
    elif CLIENT in node.needs:
        for part in node.parts:
            yield from about_clients(part)
