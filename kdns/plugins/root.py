"""*root* - says in which folder relative paths of files start.

Description
    Without it they start in the folder that the process runs in. It holds for the files that the other plugins of the
    same server block name, *loadbalance* among them.

    Only once in a server block.

Syntax
    root PATH

Metrics
    None.

Examples
    Files are below /etc/kdns:

        . {
            root /etc/kdns
            whoami
        }
"""

import logging
import os
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, word
from kdns.core.block import Block
from kdns.core.plugin import Plugin

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    folder: str = argument(word)


class Root(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        block.start_paths_at(options.folder)
        if not os.path.isdir(options.folder):
            log.warning("'%s' is not a folder (yet): files below it will not be found", options.folder)
