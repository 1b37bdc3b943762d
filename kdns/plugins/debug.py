"""*debug* - logs what is otherwise left out.

Description
    Lines of level DEBUG are logged too, of the whole process and until it ends. Unlike CoreDNS, kdns goes on after an
    error of its own here as well: *errors* with `stacktrace` shows where it came from.

Syntax
    debug

Metrics
    None.

Differences
    - Lines of level DEBUG are written; an error of kdns's own does not end the process.

Examples
    See everything:

        . {
            debug
            whoami
        }
"""

import logging

from kdns.config.directive import Directive
from kdns.core.block import Block
from kdns.core.plugin import Plugin


class Debug(Plugin):
    def __init__(self, block: Block, directive: Directive, options: object) -> None:
        logging.getLogger("kdns").setLevel(logging.DEBUG)
