"""*bufsize* - says how large UDP replies may be.

Description
    A reply over UDP never has more octets than the client takes (512 without EDNS) nor than this size, so that it is
    not fragmented on its way. It is also the size that kdns announces to clients. Without this plugin both are 1232.
    What does not fit is truncated, and asked again over TCP.

Syntax
    bufsize [SIZE]

    - SIZE is a number of octets from 512 to 4096, 1232 by default.

Metrics
    None.

Examples
    Larger replies, for a network that carries them:

        . {
            bufsize 1452
            whoami
        }
"""

from kdns.config.directive import Directive
from kdns.core.site import Site
from kdns.dns.types import OUR_SIZE


def setup(directive: Directive, site: Site) -> None:
    directive.no_block()
    site.udp_size = directive.integer(512, 4096) if directive.args else OUR_SIZE
