"""*shed* - bounds the queries in flight.

Description
    Queries that wait, for an upstream mostly, are held until they are answered. Beyond a bound the oldest one is dropped
    for each new one, without an answer, so that a burst takes no more memory than was meant for it. What is answered from
    memory never waits. The bound is there without this plugin too; the plugin sets it, for all server blocks.

Syntax
    shed [MAX]

    - MAX queries may be in flight, 1 to 1000000 (2000). Each takes 4 kB and more.

Metrics
    coredns_shed_dropped_total{server, reason="in_flight"} counts what was dropped, by the listening address of the query that came
    too much; kdns_given_up_total{of="work_in_flight"} all of them.

Differences
    - The bound is of all queries in flight, the oldest is dropped first, and it is there without the plugin.

Examples
    Half as many as by default:

        . {
            shed 1000
            whoami
        }
"""

from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument
from kdns.core.block import Block
from kdns.core.generation import MOST_IN_FLIGHT
from kdns.core.plugin import Plugin


def _most(o: Directive) -> int:
    return o.integer(1, 1_000_000) if o.args else MOST_IN_FLIGHT


@dataclass(frozen=True)
class Options:
    most: int = argument(_most)


class Shed(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        block.bound_in_flight(options.most)
