"""*timeouts* - says how patient the server is with TCP connections.

Description
    A connection is closed where a message takes longer to arrive, where a client leaves its replies untaken, or where nothing
    was asked for a while. A bound of queries makes clients connect again, so that a balancer of connections can send them to
    another replica. It is for TCP and for TLS, at all addresses of the server block; https:// has bounds of its own.

Syntax
    timeouts {
        read DURATION
        write DURATION
        idle DURATION
        maxtcpqueries MAXIMUM
    }

    - `read` is how long a message may take to arrive (5s), from 1s to 24h, as the others.
    - `write` is how long a client may leave its replies untaken (5s).
    - `idle` is how long a connection may be quiet (10s).
    - `maxtcpqueries` is how many queries a connection may bring, -1 for any number, as by default.

Metrics
    None.

Examples
    For slow networks:

        . {
            timeouts {
                read 15s
                write 30s
                idle 1m
            }
            whoami
        }

    Clients connect again after 128 queries:

        . {
            timeouts {
                maxtcpqueries 128
            }
            whoami
        }
"""

import math
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import duration, option
from kdns.core.block import Block
from kdns.core.plugin import Plugin

DAY = 86400.0  # seconds


def _queries(o: Directive) -> float:
    number = o.integer(-1, 2**31 - 1)
    if not number:
        raise ValueError("a connection brings one query at least: -1 for any number")
    return math.inf if number < 0 else number


@dataclass(frozen=True)
class Options:
    read: float | None = option(duration(1, DAY))
    write: float | None = option(duration(1, DAY))
    idle: float | None = option(duration(1, DAY))
    maxtcpqueries: float | None = option(_queries)


class Timeouts(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        bounds = {"read": options.read, "write": options.write, "idle": options.idle, "queries": options.maxtcpqueries}
        if not any(bounds.values()):
            raise directive.error("says nothing: name read, write, idle or maxtcpqueries, or leave it out")
        block.bound_connections({name: bound for name, bound in bounds.items() if bound is not None})
