"""*bufsize* - says how large UDP replies may be.

Description
    A reply over UDP never has more octets than the client says that it takes (512 without EDNS), nor than this size, so that
    it is not fragmented on its way. Without this plugin only the client decides. What does not fit is truncated,
    and asked again over TCP. The size that kdns announces to others is 1232, or this one where it is smaller.

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

from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument
from kdns.core.block import Block
from kdns.core.plugin import Plugin
from kdns.dns.types import OUR_SIZE


def _size(o: Directive) -> int:
    return o.integer(512, 4096) if o.args else OUR_SIZE


@dataclass(frozen=True)
class Options:
    size: int = argument(_size)


class Bufsize(Plugin):
    table = Options

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        block.bound_udp(options.size)
