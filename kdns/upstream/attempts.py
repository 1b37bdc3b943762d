"""One question to several upstreams: which is tried, in which order, how often, and what is said where none answers.

Those that are down or taken out are passed over, those that failed lately come last. Where all are down they are tried by
chance, for it may be the checks that are wrong.
"""

import asyncio
import random
import time
from collections.abc import Sequence

from kdns.core.explained import note
from kdns.dns.query import Query, Transport
from kdns.dns.response import ExtendedError, Made, Response
from kdns.dns.types import SERVFAIL, TC
from kdns.errors import NoReply, UpstreamError
from kdns.upstream.policies import Policy
from kdns.upstream.tallies import Tallies
from kdns.upstream.upstream import Upstream

DEADLINE = 5.0  # seconds for all attempts of one question
PAUSE = 0.02  # seconds before upstreams that just failed are tried again
UNREACHABLE, NETWORK = 22, 23  # extended errors (RFC 8914 4)
REMEDY = "see that upstreams are up, and that firewalls and NetworkPolicies let kdns through to them"


Outcome = tuple[Response, bool]  # what came of a question; False: it is ours, about upstreams that said nothing


class Attempts:
    """How several upstreams are tried.

    `timeout`: seconds that one has for its reply; `most`: failed attempts for a question (None: twice as many as there are
    upstreams, 0: no limit); `failover`: codes for which the next one is asked; `failfast`: none is tried where all are down.
    """

    def __init__(
        self, tallies: Tallies, policy: Policy, *, timeout: float = 2.0, most: int | None = None,
        failover: frozenset[int] = frozenset(), failfast: bool = False, force_tcp: bool = False, prefer_udp: bool = False,
    ) -> None:  # fmt: skip
        self._tallies, self._policy, self._timeout, self._most = tallies, policy, timeout, most
        self._failover, self._failfast, self._force_tcp, self._prefer_udp = failover, failfast, force_tcp, prefer_udp

    def over_tcp(self, query: Query) -> bool:
        """Is a query asked over TCP? As it came, unless something else is said."""
        return self._force_tcp or (query.transport is not Transport.UDP and not self._prefer_udp)

    async def ask(self, upstreams: list[Upstream], query: Query, size: int) -> Outcome:
        """What the first upstream says that says anything, or SERVFAIL and why. `size`: octets of UDP payload.

        Over UDP, where that is preferred, and over TCP again where the reply is truncated.
        """
        tcp = self.over_tcp(query)
        order = upstreams if len(upstreams) == 1 and upstreams[0].usable else self._order(upstreams)
        most = 2 * len(order) if self._most is None else self._most
        began = time.monotonic()
        deadline = began + DEADLINE
        failures: dict[str, UpstreamError] = {}
        last: Response | None = None
        fails = replies = 0
        silence = False
        while order and (left := deadline - began) > 0:
            upstream = order[(fails + replies) % len(order)]
            try:
                last = await upstream.ask(query, tcp, min(self._timeout, left), size, silence)
                if last.flags & TC and self._prefer_udp and not tcp:
                    last = await upstream.ask(query, True, min(self._timeout, deadline - time.monotonic()), size)
            except UpstreamError as error:
                note(upstream.name, began, str(error))
                failures[upstream.name] = error
                silence = silence or isinstance(error, NoReply)
                fails += 1
                if fails == most:
                    break
                if (fails + replies) % len(order) == 0:
                    await asyncio.sleep(PAUSE)
                began = time.monotonic()
                continue
            note(upstream.name, began, last.rcode)
            replies += 1
            if last.rcode not in self._failover or replies + fails >= len(order):
                break
            began = time.monotonic()
        return (last, True) if last is not None else (_failed(upstreams, failures), False)

    async def ask_one(self, upstream: Upstream, query: Query, size: int) -> Response:
        """What one upstream says, whatever its health and whether it is taken out; UpstreamError where it says nothing."""
        return await upstream.ask(query, self.over_tcp(query), self._timeout, size)

    def _order(self, upstreams: list[Upstream]) -> list[Upstream]:
        """The upstreams to try, the first one first; none where there is no point in trying."""
        ordered = [upstream for upstream in self._policy(upstreams) if not upstream.exclusions]
        usable = [upstream for upstream in ordered if upstream.usable]
        if len(usable) > 1:
            usable.sort(key=_is_suspect)
        if usable or not ordered:
            return usable
        self._tallies.broken.inc()
        return [] if self._failfast else random.sample(ordered, len(ordered))


def _failed(upstreams: Sequence[Upstream], failures: dict[str, UpstreamError]) -> Response:
    """SERVFAIL and why. It may be kept for a while (RFC 9520) where upstreams were asked."""
    if failures:
        code = UNREACHABLE if all(isinstance(error, NoReply) for error in failures.values()) else NETWORK
        text = "; ".join(f"{name}: {error}" for name, error in failures.items())
    else:
        code, text = UNREACHABLE, "; ".join(f"{up.name}: {_why_not(up)}" for up in upstreams)
    remedy = REMEDY if failures or not all(up.exclusions for up in upstreams) else "name another upstream in the Corefile"
    made = Made("forward", " ".join(failures))
    return Response(rcode=SERVFAIL, authoritative=False, made=made, error=ExtendedError(code, text, remedy), foreign=bool(failures))


def _why_not(upstream: Upstream) -> str:
    return "; ".join(exclusion.why for exclusion in upstream.exclusions) or "down"


def _is_suspect(upstream: Upstream) -> bool:
    return upstream.health.suspect
