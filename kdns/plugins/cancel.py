"""*cancel* - does nothing here.

Description
    In CoreDNS it tells plugins to give a query up after a while. In kdns only *forward* waits for others, and it has
    a deadline of its own for all its tries: the directive is accepted, and a line in the log says so.

Syntax
    cancel [TIMEOUT]

    - TIMEOUT is a duration, 5001ms by default.

Metrics
    None.

Examples
    A Corefile that has it still starts:

        example.org {
            cancel 1s
            whoami
        }
"""

from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument
from kdns.core.plugin import Plugin


def _timeout(o: Directive) -> float:
    return o.duration() if o.args else 5.001


@dataclass(frozen=True)
class Options:
    timeout: float = argument(_timeout)


class Cancel(Plugin):
    table = Options
    note = "has no effect: a plugin that waits for others has a deadline of its own"
