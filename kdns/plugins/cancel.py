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

import logging

from kdns.config.directive import Directive
from kdns.core.site import Site

log = logging.getLogger(__name__)


def setup(directive: Directive, site: Site) -> None:
    directive.no_block()
    if directive.args:
        directive.duration()
    log.info("ignored: a plugin that waits for others has a deadline of its own")
