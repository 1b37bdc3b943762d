import asyncio
import math

import pytest

from kdns.core.fallthrough import Fallthrough
from kdns.dns.query import Query
from kdns.dns.response import Answer, Response, SILENCE

ZONES = ("example.", "sub.example.", "10.in-addr.arpa.")


@pytest.mark.parametrize(
    ("zones", "through", "name", "zone", "passes"),
    [
        (ZONES, (), "a.example.", "example.", False),
        (ZONES, (), "a.sub.example.", "sub.example.", False),
        (ZONES, (), "example.", "example.", False),
        (ZONES, (), "anexample.", None, False),
        (ZONES, (), "org.", None, False),
        (ZONES, (".",), "a.example.", "example.", True),
        (ZONES, ("in-addr.arpa.",), "1.10.in-addr.arpa.", "10.in-addr.arpa.", True),
        (ZONES, ("in-addr.arpa.",), "a.example.", "example.", False),
        (ZONES, ("sub.example.",), "a.sub.example.", "sub.example.", True),
        (ZONES, ("sub.example.",), "a.example.", "example.", False),
        ((".",), ("example.",), "a.example.", ".", True),
        ((".",), ("example.",), "a.org.", ".", False),
        ((), (".",), "a.org.", None, False),
    ],
)
def test_whose_affair_a_name_is(
    zones: tuple[str, ...], through: tuple[str, ...], name: str, zone: str | None, passes: bool
) -> None:
    fallthrough = Fallthrough(zones, through)
    assert (zone, passes) == (fallthrough.zone(name), fallthrough.passes(name))


NOTHING = Response(rcode=3, stable_for=7, depends=("hosts",))


@pytest.mark.parametrize(
    ("nothing", "other", "expected"),
    [
        (NOTHING, Response(stable_for=math.inf, depends=("zone",)), Response(stable_for=7, depends=("zone", "hosts"))),
        (NOTHING, Response(stable_for=1, foreign=True), Response(stable_for=1, depends=("hosts",), foreign=True)),
        (Response(rcode=3), Response(stable_for=1, foreign=True), Response()),
        (NOTHING, SILENCE, SILENCE),
    ],
)
def test_what_comes_after_holds_no_longer_than_there_is_nothing(nothing: Response, other: Answer, expected: Answer) -> None:
    async def next(query: Query) -> Answer:
        return other

    assert expected == asyncio.run(Fallthrough(ZONES).after(nothing, Query("a.example.", 1), next))
