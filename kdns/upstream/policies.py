"""Which upstream is asked first: the policies, each a function from the upstreams as given to their order for one query."""

import random
from collections.abc import Callable

from kdns.upstream.upstream import Upstream

Policy = Callable[[list[Upstream]], list[Upstream]]

EXPLORE = 1 / 20  # queries of `fastest` that see how the others do


def by_chance() -> Policy:
    return lambda upstreams: upstreams if len(upstreams) < 2 else random.sample(upstreams, len(upstreams))


def in_turn() -> Policy:
    turn = 0

    def order(upstreams: list[Upstream]) -> list[Upstream]:
        nonlocal turn
        turn += 1
        first = turn % len(upstreams)
        return [*upstreams[first:], *upstreams[:first]]

    return order


def as_given() -> Policy:
    return lambda upstreams: upstreams


def fastest() -> Policy:
    """The lowest latency first, one that is not known yet before all; now and then another, to see how it does."""

    def order(upstreams: list[Upstream]) -> list[Upstream]:
        ordered = sorted(upstreams, key=lambda upstream: upstream.latency)
        if len(ordered) > 1 and random.random() < EXPLORE:
            ordered.insert(0, ordered.pop(random.randrange(1, len(ordered))))
        return ordered

    return order


POLICIES: dict[str, Callable[[], Policy]] = {
    "random": by_chance, "round_robin": in_turn, "sequential": as_given, "fastest": fastest,
}  # fmt: skip
