"""*pprof* - does nothing here.

Description
    In CoreDNS it publishes profiles of a Go program. kdns is none: the directive is accepted, and a line in the log
    says that nothing listens. To see where the time goes, sample the process from outside with a profiler for Python.

    Only once in a server block.

Syntax
    pprof [ADDRESS] {
        block [RATE]
    }

Metrics
    None.

Examples
    A Corefile that has it still starts:

        . {
            pprof localhost:6053
            whoami
        }
"""

from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, listen, option
from kdns.core.plugin import Plugin


def _rate(o: Directive) -> int:
    return o.integer(1, 1_000_000_000) if o.args else 1


@dataclass(frozen=True)
class Options:
    address: str = argument(listen("localhost:6053"))
    block: int = option(_rate, 0)


class Pprof(Plugin):
    table = Options
    once = True
    note = "has no effect: it profiles Go programs, nothing listens"
