import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from kdns.core.generation import Generation
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Edns, Query, Transport
from kdns.dns.response import ExtendedError, Made, Response, RRset
from kdns.dns.types import A, AAAA, AD, CD, NOERROR, NXDOMAIN, RA, RD, REFUSED, SERVFAIL, SOA, TC
from kdns.plugins.cache import Caching
from kdns.plugins.cache.answers import Limits
from kdns.plugins.cache.options import Options, Prefetch, Stale
from kdns.server.load import load
from tests.support.configured import add, in_block, refused

WWW = "www.example.org."
SOA_RDATA = names.wire("ns.example.org.") + names.wire("root.example.org.") + bytes(16) + (60).to_bytes(4, "big")
ZONE_SOA = RRset("example.org.", SOA, 60, (SOA_RDATA,))


def positive(last: int = 1, ttl: int = 60, **fields: Any) -> Callable[[Query], Response]:
    return lambda query: Response(
        **{"foreign": True, "authoritative": False, "flags": RA, "made": Made("forward"), **fields},
        answer=(RRset(query.name, query.type, ttl, (bytes((192, 0, 2, last)),)),),
    )


def fixed(rcode: int = NOERROR, *authority: RRset, **fields: Any) -> Callable[[Query], Response]:
    return lambda query: Response(rcode, authority=authority, **{"foreign": True, "made": Made("forward"), **fields})


MISSING, FAILS = fixed(NXDOMAIN, ZONE_SOA), fixed(SERVFAIL)


class Below(Plugin):
    """What stands below the cache: says what it is told to, once it may."""

    def __init__(self, says: Callable[[Query], Response]) -> None:
        self.says = says
        self.may = asyncio.Event()
        self.may.set()
        self.asked: list[tuple[str, int]] = []

    async def answer(self, query: Query, next: Handler) -> Response:
        self.asked.append((query.name, query.type))
        says = self.says
        await self.may.wait()
        return says(query)


class Scene:
    """A server block with *cache*, at a time that the test sets."""

    def __init__(self, lines: str = "cache", says: Callable[[Query], Response] | None = None) -> None:
        self.now = 1000.25
        self.generation = load(in_block(lines))
        self.block = self.generation.blocks[0]
        self.cache: Caching = self.block.named("cache")[0]  # type: ignore[assignment]
        self.cache._clock = lambda: self.now
        self.below = Below(says or positive())
        add(self.block, "below", self.below)
        self.registry = self.generation.metrics.registry()

    def ask(self, name: str = WWW, type: int = A, **fields: Any) -> Awaitable[Response]:
        query = Query(name, type, flags=fields.pop("flags", RD), edns=fields.pop("edns", None))
        for field, value in fields.items():
            setattr(query, field, value)
        return self.block.answer(query)

    def patient(self, verify: float | None = 0.02, recheck: int = 30) -> None:
        """The stale answers of the default, in a hurry."""
        self.cache.stale = Stale(verify=verify, recheck=recheck)

    def counted(self) -> dict[str, float]:
        """Values that are not 0, by a short name: hits_success, misses."""
        out = {}
        for family in self.registry.collect():
            for sample in family.samples if family.name.startswith("coredns_cache") else ():
                short = sample.name.removeprefix("coredns_cache_").removesuffix("_total")
                out["_".join([short, *([sample.labels["type"]] if "type" in sample.labels else [])])] = sample.value
        return {name: value for name, value in out.items() if value}


def shown(response: Response) -> tuple[int, list[int], str]:
    """The code, the TTLs, and the state of the cache."""
    return response.rcode, [rrset.ttl for rrset in response.answer + response.authority], response.made.cached


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("line", "success", "denial"),
    [
        ("cache", Limits(9984, 3600, 5), Limits(9984, 1800, 5)),
        ("cache 30", Limits(9984, 30, 5), Limits(9984, 30, 5)),
        ("cache 3", Limits(9984, 3, 3), Limits(9984, 3, 3)),
        ("cache {\nsuccess 5000\ndenial 10 60\n}", Limits(5000, 3600, 5), Limits(1024, 60, 5)),
        ("cache 30 {\nsuccess 2000 600 0\n}", Limits(2000, 600, 0), Limits(9984, 30, 5)),
    ],
)
def test_limits(line: str, success: Limits, denial: Limits) -> None:
    assert {"success": success, "denial": denial} == Scene(line).cache.cache.limits


@pytest.mark.parametrize(
    ("line", "zones"),
    [
        ("cache", (".",)),
        ("cache example.org Example.net", ("example.org.", "example.net.")),
        ("cache 60 10.0.0.0/8", ("10.in-addr.arpa.",)),
    ],
)
def test_zones(line: str, zones: tuple[str, ...]) -> None:
    assert zones == Scene(line).cache.zones


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("prefetch 2", Options(prefetch=Prefetch(2))),
        ("prefetch 2 1m30s 20%", Options(prefetch=Prefetch(2, 90, 20))),
        ("serve_stale off", Options(serve_stale=None)),
        ("serve_stale", Options(serve_stale=Stale(3600, None, 30, 0))),
        ("serve_stale 2h", Options(serve_stale=Stale(7200, None, 30, 0))),
        ("serve_stale 1h immediate 10s 20s", Options(serve_stale=Stale(3600, None, 10, 20))),
        ("serve_stale 1h verify", Options(serve_stale=Stale(3600, 0.0, 30, 0))),
        ("serve_stale 1h verify 100ms 0 5m", Options(serve_stale=Stale(3600, 0.1, 0, 300))),
        (
            "serve_stale\nserve_stale_policy Prefer_Positive",
            Options(serve_stale=Stale(3600, None, 30, 0), serve_stale_policy=True),
        ),
        ("servfail 0", Options(servfail=0)),
        ("servfail 5m", Options(servfail=300)),
        ("disable success cluster.local\ndisable denial", Options(disable=(("success", "cluster.local."), ("denial", ".")))),
        ("keepttl\nnxdomain_cut", Options(keepttl=True, nxdomain_cut=True)),
    ],
)
def test_options(option: str, expected: Options) -> None:
    assert replace(expected, where=(0, ())) == Scene(f"cache {{\n{option}\n}}").cache.options


def test_stale_answers_by_default() -> None:
    assert Stale(duration=3600, verify=1.8, ttl=30, recheck=30) == Options().serve_stale


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("cache 0", "Corefile:2: cache: '0' is not a whole number from 1 to 2147483647"),
        ("cache\ncache", "Corefile:3: cache: may stand only once in a server block, and stands at Corefile:2"),
        ("cache {\nsucces 1\n}", "Corefile:3: cache: unknown option 'succes', did you mean 'success'?"),
        ("cache {\nsuccess\n}", "Corefile:3: cache: success: takes 1 to 3 arguments, has none"),
        ("cache {\ndenial many\n}", "Corefile:3: cache: denial: 'many' is not a whole number from 0 to 10000000"),
        ("cache {\ndenial 10 0\n}", "Corefile:3: cache: denial: '0' is not a whole number from 1 to 2147483647"),
        ("cache {\nprefetch 1 1m 5%\n}", "Corefile:3: cache: prefetch: '5%' is not a percentage from 10% to 90%"),
        ("cache {\nprefetch 1 1m 10\n}", "Corefile:3: cache: prefetch: '10' is not a percentage from 10% to 90%"),
        ("cache {\nserve_stale 1h later\n}", "Corefile:3: cache: serve_stale: 'later' is none of immediate, verify"),
        ("cache {\nserve_stale -1h\n}", "Corefile:3: cache: serve_stale: '-1h' is out of range: at least 0s"),
        (
            "cache {\nserve_stale 1h immediate 500ms\n}",
            "Corefile:3: cache: serve_stale: '500ms' is not a whole number of seconds",
        ),
        ("cache {\nserve_stale 1h immediate 1s 2s 3s\n}", "Corefile:3: cache: serve_stale: too many arguments"),
        (
            "cache {\nserve_stale 1h verify 1s 30s 6m\n}",
            "Corefile:3: cache: serve_stale: '6m' is out of range: at most 300s",
        ),
        ("cache {\nserve_stale_policy any\n}", "Corefile:3: cache: serve_stale_policy: 'any' is none of prefer_positive"),
        (
            "cache {\nserve_stale off\nserve_stale_policy prefer_positive\n}",
            "Corefile:2: cache: serve_stale_policy has no effect with serve_stale off: take one of them out",
        ),
        ("cache {\nservfail 6m\n}", "Corefile:3: cache: servfail: '6m' is out of range: at most 300s"),
        ("cache {\ndisable all\n}", "Corefile:3: cache: disable: 'all' is none of success, denial"),
        ("cache {\nkeepttl yes\n}", "Corefile:3: cache: keepttl: takes no arguments, has 1"),
    ],
)
def test_what_it_refuses(lines: str, expected: str) -> None:
    assert expected == refused(in_block(lines))


# ---------------------------------------------------------------- what is kept


@pytest.mark.parametrize(
    ("lines", "says", "later", "expected"),
    [  # expected: the first answer, and the one some seconds later
        ("cache", positive(), 7, [(0, [60], "miss"), (0, [53], "hit")]),
        ("cache", positive(), 60, [(0, [60], "miss"), (0, [60], "miss")]),
        ("cache 30", positive(), 7, [(0, [30], "miss"), (0, [23], "hit")]),
        ("cache", positive(ttl=0), 4, [(0, [5], "miss"), (0, [1], "hit")]),
        ("cache {\nkeepttl\n}", positive(), 7, [(0, [60], "miss"), (0, [60], "hit")]),
        ("cache", positive(foreign=False), 1, [(0, [60], ""), (0, [60], "")]),
        ("cache", positive(flags=TC), 1, [(0, [60], "miss"), (0, [60], "miss")]),
        ("cache", MISSING, 9, [(3, [60], "miss"), (3, [51], "hit")]),
        ("cache", fixed(NOERROR, ZONE_SOA), 9, [(0, [60], "miss"), (0, [51], "hit")]),
        ("cache", fixed(NXDOMAIN), 1, [(3, [], "miss"), (3, [], "miss")]),
        ("cache", fixed(NXDOMAIN, ZONE_SOA, foreign=False), 1, [(3, [60], ""), (3, [60], "")]),
        ("cache", FAILS, 4, [(2, [], "miss"), (2, [], "hit")]),
        ("cache", FAILS, 5, [(2, [], "miss"), (2, [], "miss")]),
        ("cache {\nservfail 0\n}", FAILS, 1, [(2, [], "miss"), (2, [], "miss")]),
        ("cache", fixed(REFUSED), 1, [(5, [], "miss"), (5, [], "miss")]),
        ("cache example.net", positive(), 1, [(0, [60], ""), (0, [60], "")]),
        ("cache {\ndisable success example.org\n}", positive(), 1, [(0, [60], "miss"), (0, [60], "miss")]),
        ("cache {\ndisable success example.org\n}", MISSING, 1, [(3, [60], "miss"), (3, [59], "hit")]),
        ("cache {\ndisable success org\ndisable denial org\n}", positive(), 1, [(0, [60], "miss"), (0, [60], "miss")]),
        ("cache {\ndisable success org\ndisable denial org\n}", MISSING, 1, [(3, [60], "miss"), (3, [60], "miss")]),
        ("cache {\ndisable denial\n}", MISSING, 1, [(3, [60], "miss"), (3, [60], "miss")]),
        ("cache {\ndisable denial\n}", FAILS, 1, [(2, [], "miss"), (2, [], "miss")]),
        ("cache {\ndisable denial example.net\n}", MISSING, 1, [(3, [60], "miss"), (3, [59], "hit")]),
    ],
)
def test_what_is_kept(lines: str, says: Callable[[Query], Response], later: int, expected: list[Any]) -> None:
    async def twice() -> list[Any]:
        scene = Scene(lines, says)
        first = shown(await scene.ask())
        scene.now += later
        return [first, shown(await scene.ask())]

    assert expected == asyncio.run(twice())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "hit"),
        ({"edns": Edns(1232, False)}, "hit"),
        ({"transport": Transport.TCP}, "hit"),
        ({"flags": RD | AD}, "hit"),
        ({"flags": 0}, "hit"),
        ({"type": AAAA}, "miss"),
        ({"name": "w.example.org."}, "miss"),
        ({"flags": RD | CD}, "miss"),
        ({"edns": Edns(1232, True)}, "miss"),
        ({"cls": 3}, ""),
    ],
)
def test_what_is_asked_anew(fields: dict[str, Any], expected: str) -> None:
    async def twice() -> str:
        scene = Scene()
        await scene.ask()
        scene.below.says = lambda query: positive(foreign=query.cls == 1)(query)
        return (await scene.ask(**fields)).made.cached

    assert expected == asyncio.run(twice())


@pytest.mark.parametrize("first", [{}, {"flags": RD | AD}])
@pytest.mark.parametrize("second", [{}, {"flags": RD | AD}])
def test_ad_is_kept_whoever_asked(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Who is told of it is decided where the reply is written."""

    async def twice() -> tuple[str, int]:
        scene = Scene(says=positive(flags=RA | AD))
        await scene.ask(**first)
        response = await scene.ask(**second)
        return response.made.cached, response.flags

    assert ("hit", RA | AD) == asyncio.run(twice())


def test_what_was_asked_without_recursion_is_not_kept() -> None:
    async def twice() -> str:
        scene = Scene()
        await scene.ask(flags=0)
        return (await scene.ask()).made.cached

    assert "miss" == asyncio.run(twice())


def test_an_answer_to_another_name_is_not_kept() -> None:
    async def twice() -> tuple[str, dict[str, float]]:
        scene = Scene(says=lambda query: positive()(Query("w.example.net.", A)))
        await scene.ask()
        return (await scene.ask()).made.cached, scene.counted()

    assert ("miss", {"misses": 2, "requests": 2, "drops": 2}) == asyncio.run(twice())


def test_a_hit_is_stable_until_the_next_second() -> None:
    async def some() -> list[float]:
        scene = Scene()
        out = [(await scene.ask()).stable_for]
        for later in (0.5, 0.25, 1.125):
            scene.now += later
            out.append((await scene.ask()).stable_for)
        return out

    assert [0.0, 0.25, 1.0, 0.875] == asyncio.run(some())


def test_what_fell_through_is_dropped_when_its_service_appears() -> None:
    async def some() -> list[str]:
        scene = Scene(says=fixed(NXDOMAIN, ZONE_SOA, depends=(b"\x0a\0\0\1",)))
        out = [(await scene.ask()).made.cached, (await scene.ask()).made.cached]
        scene.generation.forget([b"\x0a\0\0\2"])
        out.append((await scene.ask()).made.cached)
        scene.generation.forget([b"\x0a\0\0\1"])
        out.append((await scene.ask()).made.cached)
        return out

    assert ["miss", "hit", "hit", "miss"] == asyncio.run(some())


@pytest.mark.parametrize(("depends", "expected"), [((), "hit"), (("shop",), "miss")])
def test_what_changed_meanwhile_is_not_kept(depends: tuple[str, ...], expected: str) -> None:
    async def some() -> str:
        scene = Scene(says=fixed(NXDOMAIN, ZONE_SOA, depends=depends))
        scene.below.may.clear()
        asking = asyncio.ensure_future(scene.ask())
        await asyncio.sleep(0)
        scene.generation.forget(["shop"])
        scene.below.may.set()
        await asking
        return (await scene.ask()).made.cached

    assert expected == asyncio.run(some())


def test_nxdomain_cut() -> None:
    async def some() -> list[tuple[int, str]]:
        scene = Scene("cache {\nnxdomain_cut\n}", MISSING)
        asked = [("example.org.", A), ("example.org.", AAAA), (WWW, A), ("example.net.", A)]
        return [(response.rcode, response.made.cached) for response in [await scene.ask(*each) for each in asked]]

    assert [(3, "miss"), (3, "hit"), (3, "hit"), (3, "miss")] == asyncio.run(some())


# ---------------------------------------------------------------- in flight


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({}, 1),
        ({"type": AAAA}, 2),
        ({"flags": RD | CD}, 2),
        ({"flags": 0}, 2),
        ({"edns": Edns(1232, True)}, 2),
        ({"edns": Edns(1232, False)}, 1),
        ({"flags": RD | AD}, 1),
        ({"transport": Transport.TCP}, 1),
        ({"trail": ("alias.example.",)}, 2),  # or the target of an alias could wait for the alias itself
    ],
)
def test_equal_questions_are_asked_once(second: dict[str, Any], expected: int) -> None:
    async def both() -> tuple[int, list[tuple[int, list[int], str]]]:
        scene = Scene()
        scene.below.may.clear()
        asking = [asyncio.ensure_future(scene.ask()), asyncio.ensure_future(scene.ask(**second))]
        await asyncio.sleep(0)
        scene.below.may.set()
        return len(scene.below.asked), [shown(response) for response in await asyncio.gather(*asking)]

    assert (expected, [(0, [60], "miss")] * 2) == asyncio.run(both())


@pytest.mark.parametrize("cancelled", [0, 1])
def test_one_who_is_cancelled_does_not_cancel_the_others(cancelled: int) -> None:
    async def three() -> tuple[list[bool], int, float]:
        scene = Scene()
        scene.below.may.clear()
        asking = [asyncio.ensure_future(scene.ask()) for _ in range(3)]
        await asyncio.sleep(0)
        asking[cancelled].cancel()
        await asyncio.sleep(0)
        scene.below.may.set()
        await asyncio.wait(asking)
        assert not scene.cache._asking.under_way
        counted = scene.counted()
        return [task.cancelled() for task in asking], len(scene.below.asked), counted["requests"]

    assert ([n == cancelled for n in range(3)], 2 - cancelled, 2) == asyncio.run(three())


def test_an_error_is_that_of_all_who_wait() -> None:
    async def two() -> tuple[list[int], int]:
        scene = Scene(says=lambda query: 1 // 0)  # type: ignore[arg-type, return-value]
        scene.below.may.clear()
        asking = [asyncio.ensure_future(scene.ask()) for _ in range(2)]
        await asyncio.sleep(0)
        scene.below.may.set()
        return [response.rcode for response in await asyncio.gather(*asking)], len(scene.below.asked)

    assert ([SERVFAIL, SERVFAIL], 1) == asyncio.run(two())


# ---------------------------------------------------------------- stale


STALE = ExtendedError(3, "Stale Answer")


@pytest.mark.parametrize(
    ("lines", "says", "later", "expected"),
    [
        ("cache", FAILS, 60, (0, [30], "stale")),
        ("cache", FAILS, 3659, (0, [30], "stale")),
        ("cache", FAILS, 3660, (2, [], "miss")),
        ("cache", fixed(SERVFAIL, foreign=False), 60, (0, [30], "stale")),
        ("cache", fixed(REFUSED), 60, (0, [30], "stale")),
        ("cache", MISSING, 60, (3, [60], "miss")),
        ("cache", fixed(NOERROR), 60, (0, [], "miss")),
        ("cache", positive(2), 60, (0, [60], "miss")),
        ("cache {\nserve_stale off\n}", FAILS, 60, (2, [], "miss")),
        ("cache {\nserve_stale 10s verify 0 7s\n}", FAILS, 69, (0, [7], "stale")),
        ("cache {\nserve_stale 10s verify 0 7s\n}", FAILS, 70, (2, [], "miss")),
        ("cache {\nserve_stale\n}", positive(2), 60, (0, [30], "stale")),
        ("cache {\nserve_stale_policy prefer_positive\n}", MISSING, 60, (0, [30], "stale")),
        ("cache {\nserve_stale_policy prefer_positive\n}", positive(2), 60, (0, [60], "miss")),
    ],
)
def test_stale_answers(lines: str, says: Callable[[Query], Response], later: int, expected: Any) -> None:
    async def some() -> tuple[Any, bool]:
        scene = Scene(lines)
        await scene.ask()
        scene.now += later
        scene.below.says = says
        response = await scene.ask()
        await asyncio.sleep(0)
        assert (response.error == STALE) == (response.made.cached == "stale")
        return shown(response), bool(response.stable_for)

    assert (expected, False) == asyncio.run(some())


def test_a_slow_upstream() -> None:
    """It is waited for so long, then what was is served, and what it says in the end is kept."""

    async def some() -> tuple[list[str], int, dict[str, float]]:
        scene = Scene()
        scene.patient(verify=0.02)
        await scene.ask()
        scene.now += 60
        scene.below.may.clear()
        both = await asyncio.gather(scene.ask(), scene.ask())
        scene.now += 2
        third = await asyncio.wait_for(scene.ask(), 0.01)  # it has waited long enough
        scene.below.may.set()
        await asyncio.sleep(0.001)
        states = [response.made.cached for response in [*both, third, await scene.ask()]]
        return states, len(scene.below.asked), scene.counted()

    counted = {"entries_success": 1, "hits_success": 4, "misses": 2, "requests": 6, "served_stale": 3}
    assert (["stale", "stale", "stale", "hit"], 2, counted) == asyncio.run(some())


def test_a_failure_is_believed_for_a_while() -> None:
    async def some() -> tuple[list[str], int]:
        scene = Scene()
        scene.patient(recheck=30)
        await scene.ask()
        states = []
        scene.below.says = FAILS
        for later in (60, 1, 28):
            scene.now += later
            states.append((await scene.ask()).made.cached)
        scene.below.says = positive()
        for later in (0, 1):
            scene.now += later
            states.append((await scene.ask()).made.cached)
        return states, len(scene.below.asked)

    assert (["stale", "stale", "stale", "stale", "miss"], 3) == asyncio.run(some())


def test_immediate_asks_after() -> None:
    async def some() -> tuple[list[tuple[int, list[int], str]], int]:
        scene = Scene("cache {\nserve_stale 1h immediate 9s\n}")
        await scene.ask()
        scene.now += 60
        scene.below.may.clear()
        answers = [shown(await scene.ask()), shown(await scene.ask())]
        await asyncio.sleep(0)
        scene.below.may.set()
        await asyncio.sleep(0.001)
        return [*answers, shown(await scene.ask())], len(scene.below.asked)

    assert ([(0, [9], "stale"), (0, [9], "stale"), (0, [60], "hit")], 2) == asyncio.run(some())


def test_an_error_in_the_background_is_reported_once() -> None:
    async def some() -> tuple[str, list[str], float]:
        scene = Scene()
        reports: list[str] = []
        scene.block._report = lambda query, why, error: reports.append(why)
        await scene.ask()
        scene.now += 60
        scene.below.says = lambda query: 1 // 0  # type: ignore[assignment, return-value]
        response = await scene.ask()
        await scene.ask()
        return response.made.cached, reports, scene.registry.get_sample_value("coredns_panics_total") or 0.0

    assert ("stale", ["ZeroDivisionError: integer division or modulo by zero"], 1.0) == asyncio.run(some())


def test_close_ends_what_is_asked_in_the_background() -> None:
    async def some() -> tuple[str, int, int]:
        scene = Scene()
        scene.patient(verify=None)
        await scene.ask()
        scene.now += 60
        scene.below.may.clear()
        response = await scene.ask()
        running = len(scene.cache._refreshes._under_way)
        await scene.generation.close()
        await asyncio.sleep(0.001)
        return response.made.cached, running, len(scene.cache._refreshes._under_way) + len(asyncio.all_tasks()) - 1

    assert ("stale", 1, 0) == asyncio.run(some())


def test_what_is_asked_in_the_background_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def some() -> tuple[list[str], int]:
        monkeypatch.setattr("kdns.plugins.cache.questions.MOST", 2)
        scene = Scene()
        scene.patient(verify=None)
        asked = [f"{n}.example.org." for n in range(4)]
        for name in asked:
            await scene.ask(name)
        scene.now += 60
        scene.below.may.clear()
        states = [(await scene.ask(name)).made.cached for name in asked]
        running = len(scene.cache._refreshes._under_way)
        await scene.generation.close()
        await asyncio.sleep(0.001)
        return states, running

    assert (["stale"] * 4, 2) == asyncio.run(some())


# ---------------------------------------------------------------- prefetch, counts, reload


@pytest.mark.parametrize(
    ("times", "expected"),
    [  # seconds after the first answer (TTL 60) at which it is asked for again
        ([1, 2, 54], 1),
        ([1, 2, 3], 0),
        ([54, 54], 0),
        ([54, 54, 54], 1),
        ([54, 54, 54, 54], 1),
        ([1, 2, 33], 0),
        ([59, 59, 59], 1),
    ],
)
def test_prefetch(times: list[int], expected: int) -> None:
    async def some() -> tuple[int, float]:
        scene = Scene("cache {\nprefetch 3 53s 10%\n}")
        began = scene.now
        await scene.ask()
        scene.below.may.clear()
        for second in times:
            scene.now = began + second
            assert (await scene.ask()).made.cached == "hit"
        await asyncio.sleep(0)
        scene.below.may.set()
        await asyncio.sleep(0.001)
        return len(scene.below.asked) - 1, scene.counted().get("prefetch", 0)

    assert (expected, expected) == asyncio.run(some())


def test_what_cannot_be_had_in_advance_stays() -> None:
    async def some() -> tuple[list[str], int]:
        scene = Scene("cache {\nprefetch 1\n}")
        await scene.ask()
        scene.below.says = FAILS
        scene.now += 56
        states = []
        for _ in range(3):
            states.append((await scene.ask()).made.cached)
            await asyncio.sleep(0.001)
        return states, len(scene.below.asked)

    assert (["hit"] * 3, 2) == asyncio.run(some())


def test_a_gap_ends_a_row_of_hits() -> None:
    async def some() -> int:
        scene = Scene("cache {\nprefetch 3 10s 10%\n}")
        began = scene.now
        await scene.ask()
        for second in (1, 2, 54, 59):
            scene.now = began + second
            await scene.ask()
        await asyncio.sleep(0.001)
        return len(scene.below.asked) - 1

    assert 0 == asyncio.run(some())


def test_hits_of_the_memo_count() -> None:
    async def some() -> tuple[dict[str, float], int]:
        scene = Scene("cache {\nprefetch 5\n}")
        await scene.ask()
        response = await scene.ask()
        assert response.made.replayed is not None
        response.made.replayed(41)
        entry = scene.cache.cache.find(WWW + "\x010")
        return scene.counted(), entry.hits if entry else 0

    assert ({"entries_success": 1, "hits_success": 42, "misses": 1, "requests": 43}, 42) == asyncio.run(some())


def test_labels() -> None:
    scene = Scene("cache example.org example.net")
    found = {
        family.name + "_total" * (family.type == "counter"): [tuple(sample.labels.values()) for sample in family.samples]
        for family in scene.registry.collect()
        if family.name.startswith("coredns_cache")
    }
    of_type = [("dns://:53", which, "example.org.,example.net.", "") for which in ("success", "denial")]
    plain = [("dns://:53", "example.org.,example.net.", "")]
    assert {
        "coredns_cache_entries": of_type,
        "coredns_cache_hits_total": of_type,
        "coredns_cache_evictions_total": of_type,
        "coredns_cache_requests_total": plain,
        "coredns_cache_misses_total": plain,
        "coredns_cache_prefetch_total": plain,
        "coredns_cache_served_stale_total": plain,
        "coredns_cache_drops_total": plain,
    } == found


@pytest.mark.parametrize(
    ("before", "after", "carried"),
    [
        ("cache 30\nwhoami", "whoami\nlog\ncache 30", True),
        ("cache 30\nwhoami", "cache 60\nwhoami", False),
        ("cache 30\nwhoami", "cache 30\nforward . 192.0.2.1", False),
        ("cache 30\nforward . 192.0.2.1", "cache 30\nforward . 192.0.2.2", False),
        ("errors\ncache 30\nforward . 192.0.2.1", "loadbalance\ncache 30\nforward . 192.0.2.1", True),
    ],
)
def test_a_reload_keeps_what_is_kept(before: str, after: str, carried: bool) -> None:
    async def both() -> tuple[bool, bool]:
        old = load(in_block(before))
        new = load(in_block(after), generation=Generation(old))
        first, second = (generation.blocks[0].named("cache")[0] for generation in (old, new))
        assert isinstance(first, Caching) and isinstance(second, Caching)
        await old.close(new.kept.values())
        await new.close()
        return first.cache is second.cache, first.tallies is second.tallies

    assert (carried, True) == asyncio.run(both())


def test_read_takes_zones_of_the_server_block() -> None:
    generation = load("example.org {\ncache\n}\n")
    [cache] = generation.blocks[0].named("cache")
    assert isinstance(cache, Caching)
    assert ("example.org.",) == cache.zones
