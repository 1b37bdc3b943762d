"""*ratelimit* - limits the replies over UDP that one network is sent.

Description
    Whoever sends queries in another's name has the replies sent there. So each network of clients has an allowance of replies
    a second; what is over it is not answered, but for one query in some, which gets an empty reply with TC: a client that
    is who it says asks again over TCP, and there everybody is answered.

    An allowance that was not used adds up, for a second. No more than 100,000 networks are remembered; the one that was
    remembered longest is forgotten then, and has a whole allowance when it comes again.

    How often a client asks cannot be seen by the memo, so a server block with this plugin is answered without it, and more
    slowly for that. Only once in a server block. It is kdns's own, CoreDNS has none of this name.

Syntax
    ratelimit RATE {
        slip N
        ipv4_prefix LENGTH
        ipv6_prefix LENGTH
        except NETWORK...
    }

    - RATE is how many replies a second a network is sent, 1 to 1000000.
    - slip: of the queries over it, each Nth gets TC, 2 by default; 1 is all of them, 0 is none.
    - ipv4_prefix, ipv6_prefix: what makes a network, 24 and 56 by default.
    - except: networks without a limit.

Metrics
    - `kdns_ratelimit_limited_total{server, how}`: queries over the limit that were `dropped`, or were answered with TC (`slipped`).

Examples
    Open to the world:

        example.org {
            ratelimit 50 {
                except 10.0.0.0/8
            }
            whoami
        }
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from kdns.config.directive import Directive
from kdns.config.options import argument, integer, Network, networks, option
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query, Transport
from kdns.dns.response import Answer, Made, Response, SILENCE
from kdns.dns.types import TC

MOST = 100_000  # networks
SLIPPED = Response(flags=TC, authoritative=False, made=Made("ratelimit"))
Prefix = tuple[int, int]  # version, the bits that count


@dataclass(frozen=True)
class Options:
    rate: int = argument(integer(1, 1_000_000))
    slip: int = option(integer(0, 10), 2)
    ipv4_prefix: int = option(integer(1, 32), 24)
    ipv6_prefix: int = option(integer(1, 128), 56)
    except_: tuple[Network, ...] = option(networks, (), many=True)


class Allowances:
    """What each network may still be sent. `now` tells the time in seconds."""

    def __init__(self, rate: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._now = rate, now
        self._left: dict[Prefix, tuple[float, float]] = {}  # so many replies, as of a time

    def __len__(self) -> int:
        return len(self._left)

    def take(self, prefix: Prefix) -> bool:
        """One more reply: is it within the allowance?"""
        now = self._now()
        found = self._left.get(prefix)
        if found is None:
            if len(self._left) >= MOST:
                del self._left[next(iter(self._left))]
            left = float(self._rate)
        else:
            left = min(self._rate, found[0] + (now - found[1]) * self._rate)
        within = left >= 1
        self._left[prefix] = (left - 1 if within else left, now)
        return within


class Ratelimit(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self._options = options
        self._allowances = Allowances(options.rate)
        self._host_bits = {4: 32 - options.ipv4_prefix, 6: 128 - options.ipv6_prefix}
        self._over = 0
        self._counter = block.counter(
            "kdns_ratelimit_limited_total", "Queries of networks that were over their limit.", ("server", "how")
        )

    async def answer(self, query: Query, next: Handler) -> Answer:
        if query.transport is not Transport.UDP or self._may(query.client.host):
            return await next(query)
        self._over += 1
        slips = self._options.slip > 0 and not self._over % self._options.slip
        self._counter.labels("slipped" if slips else "dropped").inc()
        return SLIPPED if slips else SILENCE

    def _may(self, host: str) -> bool:
        client = ip_address(host)
        if any(client in network for network in self._options.except_):
            return True
        return self._allowances.take((client.version, int(client) >> self._host_bits[client.version]))
