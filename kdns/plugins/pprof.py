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

import logging

from kdns.config.directive import Directive
from kdns.core.site import Site

log = logging.getLogger(__name__)


def setup(directive: Directive, site: Site) -> None:
    site.once(directive)
    directive.address("localhost:6053")
    for option in directive.block:
        if option.name != "block":
            raise option.unknown(("block",))
        if option.args:
            option.integer(1, 1_000_000_000)
    log.info("ignored: it profiles Go programs, nothing listens on %s", directive.optional("localhost:6053"))
