"""*memo* - how much memory the replies may take that are given again as they stand.

Description
    Replies that hold until something changes are kept as octets, and the same question is answered with them at once. They
    may take a quarter of the memory that the process may have, by its control group or the machine: 24 MiB at least, 256 MiB at
    most. A reply takes some 450 octets, so that 24 MiB are 50,000. The plugin sets another size, for all server blocks; where
    several say one, the last holds. All listening addresses share it equally.

    It is kdns's own, CoreDNS has none of this name.

Syntax
    memo SIZE

    - SIZE in octets, from 1M to 64G; 64M, 64MB and 64Mi are one.

Metrics
    By listening address:

    - `kdns_memo_entries{server}` and `kdns_memo_bytes{server}`: replies that are kept, and what they take, estimated.
    - `kdns_memo_budget_bytes{server}`: what they may take.
    - `kdns_memo_hits_total{server}` and `kdns_memo_misses_total{server}`: queries that were answered from there, and others.
    - `kdns_memo_forgotten_total{server}`: replies that a change made untrue.
    - `kdns_memo_evicted_total{server}`: replies that went for want of room. Where these grow all the time, a larger SIZE helps.

Examples
    Room for 300,000 replies:

        . {
            memo 128M
            whoami
        }
"""

from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument
from kdns.core.block import Block
from kdns.core.plugin import Plugin


def _size(o: Directive) -> int:
    return o.octets("1M", "64G")


@dataclass(frozen=True)
class Options:
    size: int = argument(_size)


class Memo(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        block.bound_memo(options.size)
