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

from kdns.config.directive import Directive
from kdns.core.site import Site

log = logging.getLogger(__name__)


def setup(directive: Directive, site: Site) -> None:
    site.once(directive)
    directive.no_block()
    site.root = directive.one()
    if not os.path.isdir(site.root):
        log.warning("'%s' is not a folder (yet): files below it will not be found", site.root)
