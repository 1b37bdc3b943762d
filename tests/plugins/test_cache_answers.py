from collections import OrderedDict
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdns.dns import names
from kdns.dns.query import Edns, Query
from kdns.dns.response import ExtendedError, Key, Response, RRset
from kdns.dns.types import A, AAAA, AD, ANY, CD, CNAME, MX, NOERROR, NOTIMP, NS, NXDOMAIN, RA, REFUSED, SERVFAIL, SOA, TC, TXT
from kdns.plugins.cache.answers import Cache, DENIAL, FAILURE, fresh_response, key_of, kind, Limits, stale_response, SUCCESS

WWW = "www.example.org."


def cache_key(name: str, type: int, do: bool, cd: bool) -> str:
    return key_of(Query(name, type, flags=CD if cd else 0, edns=Edns(1232, do)))


def a(ttl: int = 60, name: str = WWW, last: int = 1) -> RRset:
    return RRset(name, A, ttl, (bytes((192, 0, 2, last)),))


def alias(ttl: int = 60, target: str = "web.example.org.", name: str = WWW) -> RRset:
    return RRset(name, CNAME, ttl, tuple(names.wire(each) for each in target.split()))


def soa(ttl: int = 60, minimum: int = 60) -> RRset:
    rdata = names.wire("ns.example.org.") + names.wire("root.example.org.") + bytes(16) + minimum.to_bytes(4, "big")
    return RRset("example.org.", SOA, ttl, (rdata,))


NS_ = RRset("example.org.", NS, 60, (names.wire("ns.example.org."),))
ROOM = Limits(1000, 3600, 5)


def answer(*rrsets: RRset, **fields: object) -> Response:
    return Response(answer=rrsets, foreign=True, **fields)  # type: ignore[arg-type]


def denial(rcode: int = NXDOMAIN, *, ttl: int = 60, minimum: int = 60, depends: tuple[Key, ...] = ()) -> Response:
    return Response(rcode=rcode, authority=(soa(ttl, minimum),), foreign=True, depends=depends)


@pytest.mark.parametrize(
    ("response", "type", "expected"),
    [
        (answer(a()), A, SUCCESS),
        (answer(alias(), a(name="web.example.org.")), A, SUCCESS),
        (answer(a(name="web.example.org."), alias(target="WEB.example.org.")), A, SUCCESS),
        (answer(alias(target="a."), alias(target="b.", name="a."), a(name="b.")), A, SUCCESS),
        (answer(alias()), CNAME, SUCCESS),
        (answer(alias()), ANY, SUCCESS),
        (answer(a(name="web.example.org.")), ANY, None),
        (answer(alias(), a(name="other.example.org.")), A, None),  # its end is missing
        (answer(alias(), a(name="other.example.org."), authority=(soa(),)), A, DENIAL),
        (answer(alias(target="a. b."), a(name="a."), authority=(soa(),)), A, None),  # two targets
        (answer(alias(target=WWW), authority=(soa(),)), A, None),  # circles
        (answer(alias(target="a."), alias(target=WWW, name="a."), authority=(soa(),)), A, None),
        (answer(a()), ANY, SUCCESS),
        (answer(a(), flags=TC), A, None),
        (answer(alias()), A, None),  # its end may be missing for a moment only
        (answer(alias(), authority=(soa(),)), A, DENIAL),
        (answer(alias(), rcode=NXDOMAIN, authority=(soa(),)), A, DENIAL),
        (denial(NXDOMAIN), A, DENIAL),
        (denial(NOERROR), A, DENIAL),
        (Response(rcode=NXDOMAIN), A, None),
        (Response(rcode=NOERROR), A, None),
        (Response(rcode=NOERROR, authority=(NS_,)), A, None),  # a referral
        (Response(rcode=SERVFAIL), A, FAILURE),
        (Response(rcode=NOTIMP), A, FAILURE),
        (Response(rcode=REFUSED), A, None),
    ],
)
def test_what_an_answer_is(response: Response, type: int, expected: str | None) -> None:
    assert expected == kind(response, WWW, type)


@pytest.mark.parametrize(
    ("kind", "response", "limits", "expected"),
    [  # limits: most and least; expected: TTLs of the answer and the authority, of the entry
        (SUCCESS, answer(a(60)), (3600, 5), ([60], 60)),
        (SUCCESS, answer(alias(300), a(20)), (3600, 5), ([300, 20], 20)),
        (SUCCESS, answer(alias(300), a(20)), (30, 5), ([30, 20], 20)),
        (SUCCESS, answer(a(0)), (3600, 5), ([5], 5)),
        (SUCCESS, answer(a(0)), (3600, 0), ([0], 0)),
        (SUCCESS, answer(a(1 << 31)), (3600, 5), ([5], 5)),
        (SUCCESS, answer(soa(60, 7)), (3600, 5), ([60], 60)),
        (DENIAL, denial(ttl=60, minimum=20), (1800, 5), ([20], 20)),
        (DENIAL, denial(ttl=20, minimum=60), (1800, 5), ([20], 20)),
        (DENIAL, denial(ttl=86400, minimum=86400), (1800, 5), ([1800], 1800)),
        (FAILURE, Response(rcode=SERVFAIL), (1800, 5), ([], 5)),
    ],
)
def test_ttls(kind: str, response: Response, limits: tuple[int, int], expected: tuple[list[int], int]) -> None:
    cache = Cache(Limits(10, *limits), Limits(10, *limits))
    key = cache_key(WWW, A, False, False)
    shown = cache.put(key, kind, response, 100)
    entry = cache.find(key)
    assert expected == ([rrset.ttl for rrset in shown.answer + shown.authority], entry.ttl if entry else 0)


def test_ttls_count_down_and_the_rest_stays() -> None:
    cache = Cache(ROOM, ROOM)
    glue = a(60, "ns.example.org.")
    asked = answer(alias(300), a(20, "web.example.org."), flags=RA | AD, authority=(NS_,), additional=(glue,))
    cache.put("k", SUCCESS, asked, 100)
    entry = cache.find("k")
    assert entry is not None
    shown = fresh_response(entry, 107)
    assert [293, 13, 53, 53] == [rrset.ttl for rrset in shown.answer + shown.authority + shown.additional]
    assert [rrset[:2] + rrset[3:] for rrset in asked.answer] == [rrset[:2] + rrset[3:] for rrset in shown.answer]
    assert all(type(rrset) is RRset for rrset in shown.answer)
    assert (NOERROR, RA | AD, False, True, "cache", "hit") == (
        shown.rcode, shown.flags, shown.authoritative, shown.foreign, shown.made.by, shown.made.cached,
    )  # fmt: skip
    assert [300, 20] == [rrset.ttl for rrset in fresh_response(entry, 107, keepttl=True).answer]
    assert [20, 1, 0, -5] == [entry.left(second) for second in (100, 119, 120, 125)]


@pytest.mark.parametrize(
    ("kind", "response", "expected"),
    [
        (SUCCESS, answer(a()), ExtendedError(3, "Stale Answer")),
        (DENIAL, denial(NOERROR), ExtendedError(3, "Stale Answer")),
        (DENIAL, denial(NXDOMAIN), ExtendedError(19, "Stale NXDOMAIN Answer")),
    ],
)
def test_stale(kind: str, response: Response, expected: ExtendedError) -> None:
    cache = Cache(ROOM, ROOM)
    cache.put("k", kind, response, 100)
    entry = cache.find("k")
    assert entry is not None
    shown = stale_response(entry, 30)
    assert ({30}, expected) == ({rrset.ttl for rrset in shown.answer + shown.authority}, shown.error)


def test_the_error_of_an_upstream_is_told() -> None:
    cache = Cache(ROOM, ROOM)
    cache.put("k", FAILURE, Response(rcode=SERVFAIL, error=ExtendedError(6, "DNSSEC Bogus")), 100)
    entry = cache.find("k")
    assert entry is not None
    assert ExtendedError(13, "DNSSEC Bogus") == fresh_response(entry, 101).error


def test_an_answer_takes_the_place_of_the_denial_before_it() -> None:
    cache = Cache(ROOM, ROOM)
    for kept, response in ((DENIAL, denial()), (SUCCESS, answer(a())), (DENIAL, denial())):
        cache.put("k", kept, response, 100)
        assert [kept] == [which for which, entries in cache.entries.items() if entries]


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ([], ["shop", "other", "plain"]),
        (["shop/web"], ["other", "plain"]),
        (["shop"], ["plain"]),
        ([b"\x0a\0\0\1", "nothing"], ["shop", "plain"]),
    ],
)
def test_forget(keys: list[Key], left: list[str]) -> None:
    cache = Cache(ROOM, ROOM)
    cache.put("shop", DENIAL, denial(depends=("shop/web", "shop")), 100)
    cache.put("other", DENIAL, denial(depends=("shop", b"\x0a\0\0\1")), 100)
    cache.put("plain", SUCCESS, answer(a()), 100)
    cache.forget(keys)
    assert left == [key for key in ("shop", "other", "plain") if cache.find(key)]
    assert 1 == cache.changes


def test_the_oldest_go() -> None:
    cache = Cache(Limits(3, 3600, 5), Limits(2, 3600, 5))
    for key in "abc":
        cache.put(key, SUCCESS, answer(a()), 100)
    cache.put("a", SUCCESS, answer(a()), 101)
    cache.put("d", SUCCESS, answer(a()), 101)
    assert (["c", "a", "d"], 1) == (list(cache.entries[SUCCESS]), cache.evictions[SUCCESS])
    for key in "xyz":
        cache.put(key, DENIAL, denial(), 102)
    assert (["y", "z"], 1, 5) == (list(cache.entries[DENIAL]), cache.evictions[DENIAL], len(cache))


def large(octets: int) -> Response:
    return answer(RRset(WWW, TXT, 60, tuple(bytes(255) for _ in range(octets // 255))))


@pytest.mark.parametrize(("octets", "expected"), [(1_000, True), (15_000, True), (17_000, False), (60_000, False)])
def test_what_is_large_is_not_kept(octets: int, expected: bool) -> None:
    cache = Cache(ROOM, ROOM)
    cache.put("k", SUCCESS, answer(a()), 100)
    assert large(octets).answer == cache.put("k", SUCCESS, large(octets), 101).answer
    entry = cache.find("k")
    assert expected == (entry is not None)


@pytest.mark.parametrize("kinds", [(SUCCESS,), (DENIAL,), (SUCCESS, DENIAL)])
def test_octets_are_bounded(kinds: tuple[str, ...]) -> None:
    """Whatever comes, the sum stays below the budget, and what came last is there."""
    budget = 100_000
    cache = Cache(Limits(10_000, 3600, 5), Limits(10_000, 3600, 5), budget=budget)
    for n in range(600):
        which = kinds[n % len(kinds)]
        response = large(n * 97 % 16_000) if which == SUCCESS else denial()
        cache.put(f"{n}", which, response, 100)
        kept = [entry for entries in cache.entries.values() for entry in entries.values()]
        assert sum(len(entry.packed) for entry in kept) < sum(cache.octets.values()) <= budget
        assert cache.find(f"{n}") is not None
    cache.forget([])
    for key in [entry.key for entries in cache.entries.values() for entry in entries.values()]:
        cache.drop(key)
    assert {SUCCESS: 0, DENIAL: 0} == cache.octets


@pytest.mark.parametrize(
    ("name", "type", "second", "expected"),
    [
        ("gone.example.org.", A, 100, True),
        ("gone.example.org.", AAAA, 100, True),
        ("a.b.gone.example.org.", AAAA, 159, True),
        ("a.gone.example.org.", A, 160, False),
        ("agone.example.org.", A, 100, False),
        ("example.org.", A, 100, False),
        (".", A, 100, False),
        ("a.nodata.example.org.", A, 100, False),
        ("a.alias.example.org.", A, 100, False),
        ("1.0.10.in-addr.arpa.", A, 100, False),
    ],
)
def test_nxdomain_cut(name: str, type: int, second: int, expected: bool) -> None:
    cache = Cache(ROOM, ROOM, cut=True)
    for origin, response in (
        ("gone.example.org.", denial(NXDOMAIN)),
        ("nodata.example.org.", denial(NOERROR)),
        ("alias.example.org.", answer(alias(), rcode=NXDOMAIN, authority=(soa(),))),
        ("0.10.in-addr.arpa.", denial(NXDOMAIN)),
    ):
        cache.put(cache_key(origin, A, False, False), DENIAL, response, 100)
    key = cache_key(name, type, False, False)
    assert expected == bool(cache.find(key) or cache.find_above(key, second))
    assert not cache.find(cache_key(name, type, True, False))


def test_a_name_that_comes_to_be_ends_its_cut() -> None:
    cache = Cache(ROOM, ROOM, cut=True)
    cache.put(cache_key(WWW, A, False, False), DENIAL, denial(NXDOMAIN), 100)
    cache.put(cache_key(WWW, MX, False, False), DENIAL, denial(NOERROR), 100)
    below = cache_key("a." + WWW, A, False, False)
    assert (None, None) == (cache.find(cache_key(WWW, A, False, False)), cache.find_above(below, 100))


# ---------------------------------------------------------------- against a model


class Model:
    """The same, with no thought of speed: by kind, what is kept of each key, the oldest first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.kept: dict[str, OrderedDict[str, tuple[int, int, tuple[Key, ...]]]] = {
            SUCCESS: OrderedDict(), DENIAL: OrderedDict(),
        }  # fmt: skip

    def put(self, key: str, kind: str, ttl: int, second: int, depends: tuple[Key, ...]) -> None:
        for entries in self.kept.values():
            entries.pop(key, None)
        entries = self.kept[kind]
        if len(entries) >= self.capacity:
            entries.popitem(last=False)
        entries[key] = (second, ttl, depends)

    def forget(self, keys: Iterable[Key]) -> None:
        for entries in self.kept.values():
            for key in [key for key, (_, _, depends) in entries.items() if set(depends) & set(keys)]:
                del entries[key]


KEYS = st.sampled_from("abcdefgh")
CHANGES = st.sampled_from(["shop", "shop/web", b"\x0a\0\0\1"])
STEPS = st.one_of(
    st.tuples(
        st.just("put"), KEYS, st.sampled_from([SUCCESS, DENIAL]), st.integers(5, 50), st.integers(0, 20),
        st.lists(CHANGES, unique=True, max_size=3).map(tuple),
    ),
    st.tuples(st.just("forget"), st.lists(CHANGES, max_size=2)),
    st.tuples(st.just("drop"), KEYS),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.lists(STEPS, max_size=40))
def test_against_the_model(capacity: int, steps: list[tuple[object, ...]]) -> None:
    cache, model = Cache(Limits(capacity, 3600, 5), Limits(capacity, 3600, 5)), Model(capacity)
    second = 1000
    for step in steps:
        match step:
            case ("put", str(key), str(kind), int(ttl), int(later), tuple(depends)):
                second += later
                response = answer(a(ttl), depends=depends) if kind == SUCCESS else denial(ttl=ttl, depends=depends)
                cache.put(key, kind, response, second)
                model.put(key, kind, ttl, second, depends)
            case ("forget", list(keys)):
                cache.forget(keys)
                model.forget(keys)
            case ("drop", str(key)):
                cache.drop(key)
                for kept in model.kept.values():
                    kept.pop(key, None)
        found = {
            kind: [(e.key, (e.born, e.ttl, e.depends)) for e in entries.values()] for kind, entries in cache.entries.items()
        }
        assert {kind: list(entries.items()) for kind, entries in model.kept.items()} == found
        depended = {key for entries in model.kept.values() for _, _, keys in entries.values() for key in keys}
        assert depended == set(cache._index)
