"""*shed* - bounds the queries in flight.

Description
    Queries that wait, for an upstream mostly, are held until they are answered. Beyond a bound the oldest one is dropped
    for each new one, without an answer, so that a burst takes no more memory than was meant for it. What is answered from
    memory never waits. The bound is there without this plugin too; the plugin sets it, for all server blocks.

Syntax
    shed [MAX]

    - MAX queries may be in flight, 1 to 1000000 (2000). Each takes 4 kB and more.

Metrics
    kdns_given_up_total{of="work_in_flight"} counts what was dropped.

Examples
    Half as many as by default:

        . {
            shed 1000
            whoami
        }
"""

from kdns.config.directive import Directive
from kdns.core.site import Site


def setup(directive: Directive, site: Site) -> None:
    site.once(directive)
    directive.no_block()
    if directive.arguments(0, 1):
        site.instance.most_in_flight = directive.integer(1, 1_000_000)
