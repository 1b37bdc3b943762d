"""The chain of plugins: what is known without waiting is what would have been answered with it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from kdns.core.chain import chain, known, UNANSWERED
from kdns.core.plugin import Handler, Known, Plugin
from kdns.dns.query import Query, Transport
from kdns.dns.response import Answer, ExtendedError, Made, Response
from kdns.dns.types import SERVFAIL
from tests.support.configured import add, CLIENT, generation_of, listener_of, LOCAL

QUERY = Query("a.test.", 1)
LATE, EARLY = Response(made=Made("late")), Response(made=Made("early"))


class Bare(Plugin):
    """Nothing of its own but what it is."""

    same_for_everyone = True

    def __init__(self) -> None:
        pass


class Waits(Bare):
    async def answer(self, query: Query, next: Handler) -> Answer:
        await asyncio.sleep(0)
        return LATE


class Tells(Bare):
    async def answer(self, query: Query, next: Handler) -> Answer:
        return LATE

    def at_once(self, query: Query, next: Known) -> Answer | None:
        return EARLY


class Passes(Bare):
    async def answer(self, query: Query, next: Handler) -> Answer:
        return await next(query)

    def at_once(self, query: Query, next: Known) -> Answer | None:
        return next(query)


class Overrides(Tells):
    """`at_once` of the class before does not know of this."""

    async def answer(self, query: Query, next: Handler) -> Answer:
        return LATE


class Watches(Bare):
    """No link."""


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ([], UNANSWERED),
        ([Watches(), Passes()], UNANSWERED),
        ([Passes(), Tells(), Waits()], EARLY),
        ([Passes(), Waits(), Tells()], None),
        ([Waits(), Tells()], None),
        ([Passes(), Overrides()], None),
    ],
    ids=["nobody", "no link", "known", "somebody before waits", "the first waits", "a class that derives"],
)
def test_what_is_known_without_waiting(plugins: list[Plugin], expected: Answer | None) -> None:
    assert expected is known(plugins)(QUERY)


class TellsOfIts(Tells):
    """Of names in a zone; others pass."""

    def __init__(self, zone: str) -> None:
        self.told, self.asked = (zone,), 0

    def at_once(self, query: Query, next: Known) -> Answer | None:
        self.asked += 1
        return EARLY if query.name.endswith(self.told[0]) else next(query)


class OnlyPasses(Passes):
    told = ()


@pytest.mark.parametrize(
    ("below", "zone", "expected", "asked"),
    [
        ([Waits()], "test.", EARLY, 1),
        ([Waits()], "example.", None, 0),
        ([], "example.", UNANSWERED, 1),
        ([Tells()], "example.", EARLY, 1),
        ([Tells(), Waits()], "example.", EARLY, 1),
    ],
    ids=["its name", "another's, who waits", "nobody's", "another's", "another's, before one who waits"],
)
def test_nobody_is_asked_in_vain(below: list[Plugin], zone: str, expected: Answer | None, asked: int) -> None:
    one = TellsOfIts(zone)
    assert (expected, asked) == (known([OnlyPasses(), one, *below])(QUERY), one.asked)


async def _awaited(handler: Handler) -> Answer:
    return await handler(QUERY)


def test_what_is_waited_for() -> None:
    assert UNANSWERED is asyncio.run(_awaited(chain([])))
    assert LATE is asyncio.run(_awaited(chain([Watches(), Passes(), Overrides()])))


class Fails(Bare):
    """In both ways."""

    async def answer(self, query: Query, next: Handler) -> Answer:
        raise ValueError("of a plugin")

    def at_once(self, query: Query, next: Known) -> Answer | None:
        raise ValueError("of a plugin")


class Refuses(Bare):
    async def answer(self, query: Query, next: Handler) -> Answer:
        return Response(rcode=SERVFAIL, error=ExtendedError(0, "it is away"))

    def at_once(self, query: Query, next: Known) -> Answer | None:
        return Response(rcode=SERVFAIL, error=ExtendedError(0, "it is away"))


@pytest.mark.parametrize(
    ("plugin", "reported"), [(Fails(), ["ValueError: of a plugin"]), (Refuses(), ["it is away"])], ids=["raises", "SERVFAIL"]
)
def test_failures_are_reported_once(plugin: Plugin, reported: list[str]) -> None:
    generation = generation_of(". {\n}\n")
    [block] = generation.blocks
    said: list[str] = []

    class Reports(Bare):
        def report(self, query: Query, why: str, error: BaseException | None) -> None:
            said.append(why)

    add(block, "reports", Reports())
    add(block, "fails", plugin)
    wire = bytes(2) + b"\1\0\0\1\0\0\0\0\0\0" + b"\1a\0\0\1\0\1"
    reply = asyncio.run(listener_of(generation).reply(wire, CLIENT, LOCAL, Transport.UDP))
    assert isinstance(reply, bytes)
    assert (SERVFAIL, reported) == (reply[3] & 15, said)


@pytest.mark.parametrize(("plugin", "waits"), [(Tells(), False), (Waits(), True)], ids=["known", "waits"])
def test_a_reply_is_there_at_once_or_is_waited_for(plugin: Plugin, waits: bool) -> None:
    generation = generation_of(". {\n}\n")
    add(generation.blocks[0], "plugin", plugin)
    wire = bytes(2) + b"\1\0\0\1\0\0\0\0\0\0" + b"\1a\0\0\1\0\1"
    begun: Any = listener_of(generation).begin(wire, CLIENT, LOCAL, Transport.UDP)
    assert waits is isinstance(begun, Coroutine)
    if waits:
        begun.close()
