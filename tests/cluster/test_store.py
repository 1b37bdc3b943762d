"""The store says exactly what a change touched; its indexes equal ones built afresh."""

import asyncio
import random
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from kdns.cluster import store as store_module
from kdns.cluster.columns import endpoints
from kdns.cluster.objects import joined, Namespace, Pod, Port, Service, Slice, Stored
from kdns.cluster.store import _names_endpoints, CHANGED, STEP, Store
from kdns.dns import names
from kdns.dns.response import Key

HTTP = (Port("http", 80, "tcp"),)


def ip(text: str) -> bytes:
    return names.packed(text)


def service(key: str, *ips: str) -> Service:
    return Service(key, tuple(map(ip, ips)), HTTP)


def slice_(key: str, of: str, *addresses: str, hostnames: tuple[str | None, ...] | None = None) -> Slice:
    return Slice(key, of, 4, b"".join(map(ip, addresses)), joined([each or "" for each in hostnames or ()]), HTTP, len(addresses))


def watched(*objects: Stored) -> tuple[Store, list[set[Key]]]:
    store = Store()
    store.put(*objects)
    told: list[set[Key]] = []
    store.listeners.append(lambda keys: told.append(set(keys) - {CHANGED}))
    return store, told


WEB, WEB_1 = service("p/web"), slice_("p/web-1", "p/web", "10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize(
    ("what", "before", "change", "expected"),
    [
        ("a new Service", [], service("p/web", "10.96.0.1"), {"p/web", ip("10.96.0.1")}),
        ("its endpoints get PTR records", [WEB_1], WEB, {"p/web", ip("10.0.0.1"), ip("10.0.0.2")}),
        ("an equal object", [WEB], service("p/web"), None),
        ("another ClusterIP", [service("p/a", "10.96.0.1")], service("p/a", "10.96.0.2"),
         {"p/a", ip("10.96.0.1"), ip("10.96.0.2")}),
        ("one endpoint more", [WEB, WEB_1], slice_("p/web-1", "p/web", "10.0.0.1", "10.0.0.2", "10.0.0.3"),
         {"p/web", ip("10.0.0.3")}),
        ("one endpoint less", [WEB, WEB_1], slice_("p/web-1", "p/web", "10.0.0.1"), {"p/web", ip("10.0.0.2")}),
        ("another hostname", [WEB, WEB_1], slice_("p/web-1", "p/web", "10.0.0.1", "10.0.0.2", hostnames=("a", None)),
         {"p/web", ip("10.0.0.1")}),
        ("a slice that changes its Service", [WEB, WEB_1], slice_("p/web-1", "p/db", "10.0.0.1"),
         {"p/web", "p/db", ip("10.0.0.1"), ip("10.0.0.2")}),
        ("a namespace", [], Namespace("p"), {"p"}),
        ("a Pod that moves", [Pod("p/x", (ip("10.0.0.1"),))], Pod("p/x", (ip("10.0.0.2"),)),
         {ip("10.0.0.1"), ip("10.0.0.2")}),
    ],
)  # fmt: skip
def test_what_a_change_touches(what: str, before: list[Stored], change: Stored, expected: set[Key] | None) -> None:
    store, told = watched(*before)
    store.put(change)
    assert ([] if expected is None else [expected]) == told


@pytest.mark.parametrize(
    ("what", "before", "kind", "key", "expected"),
    [
        ("a Service", [WEB, WEB_1], Service, "p/web", {"p/web", ip("10.0.0.1"), ip("10.0.0.2")}),
        ("a slice", [WEB, WEB_1], Slice, "p/web-1", {"p/web", ip("10.0.0.1"), ip("10.0.0.2")}),
        ("what never was", [WEB], Service, "p/db", None),
    ],
)
def test_what_a_removal_touches(
    what: str, before: list[Stored], kind: type[Stored], key: str, expected: set[Key] | None
) -> None:
    store, told = watched(*before)
    store.remove(kind, key)
    assert ([] if expected is None else [expected]) == told


def test_a_list_is_told_as_one_difference() -> None:
    store, told = watched(WEB, WEB_1, Namespace("p"), service("p/db", "10.96.0.9"))
    asyncio.run(store.replace([WEB, WEB_1, Namespace("q")]))
    assert [{"p", "q", "p/db", ip("10.96.0.9")}] == told
    asyncio.run(store.replace([WEB, WEB_1, Namespace("q")]))
    assert 1 == len(told)
    asyncio.run(store.replace([], kinds=(Slice,)))
    assert [WEB] == list(store.services.values()) and not store.slices


def test_what_changes_together_is_told_once_also_where_it_is_cut_off() -> None:
    store, told = watched(WEB, WEB_1)
    serial = store.serial

    def cut_off() -> None:
        with store.together():
            store.put(Namespace("q"))
            store.remove(Slice, WEB_1.key)
            assert ([], serial) == (told, store.serial)
            raise EOFError

    with pytest.raises(EOFError):
        cut_off()
    assert [{"q", "p/web", ip("10.0.0.1"), ip("10.0.0.2")}] == told
    with store.together():
        store.put(Namespace("q"))
    store.put(Namespace("r"))
    assert [{"r"}] == told[1:]


def test_an_address_in_two_slices_stays_until_both_are_gone() -> None:
    store, _ = watched(WEB, WEB_1, slice_("p/web-2", "p/web", "10.0.0.2"))
    store.remove(Slice, "p/web-1")
    assert ("p/web",) == store.services_at(ip("10.0.0.2"))
    assert () == store.services_at(ip("10.0.0.1"))
    store.remove(Slice, "p/web-2")
    assert () == store.services_at(ip("10.0.0.2"))


def addresses_of(store: Store) -> dict[bytes, set[str]]:
    found: dict[bytes, set[str]] = {}
    for s in store.slices.values():
        for address in endpoints(s) if _names_endpoints(store.services.get(s.service)) else ():
            found.setdefault(address, set()).add(s.service)
    for each in store.services.values():
        for address in each.ips:
            found.setdefault(address, set()).add(each.key)
    return found


def random_object(rnd: random.Random) -> Stored:
    n = rnd.randrange(6)
    if rnd.random() < 0.1:
        return Service(f"p/s{n}", (), (), "example.com.")
    if rnd.random() < 0.4:
        ips = (f"10.96.0.{rnd.randrange(8)}",) if rnd.random() < 0.5 else ()
        return service(f"p/s{n}", *ips)
    addresses = {f"10.0.{rnd.randrange(2)}.{rnd.randrange(6)}" for _ in range(rnd.randrange(5))}
    return slice_(f"p/s{n}-{rnd.randrange(3)}", f"p/s{rnd.choice((n, n, 3))}", *sorted(addresses))


@pytest.mark.parametrize("seed", range(20))
def test_after_any_changes_the_indexes_equal_fresh_ones(seed: int) -> None:
    rnd = random.Random(seed)
    store = Store()
    known: dict[tuple[type[Stored], str], Stored] = {}
    for _ in range(300):
        if known and rnd.random() < 0.4:
            kind, key = rnd.choice(sorted(known, key=str))
            del known[kind, key]
            store.remove(kind, key)
        else:
            o = random_object(rnd)
            assert isinstance(o, Service | Slice)
            known[type(o), o.key] = o
            store.put(o)
        expected = addresses_of(store)
        assert expected == {a: set(store.services_at(a)) for a in expected}
        assert sorted(expected) == list(store.addresses_within(bytes(4), 0))
        fresh = Store()
        fresh.put(*known.values())
        assert {k: set(fresh.slices_of(k)) for k in fresh._of} == {k: set(store.slices_of(k)) for k in store._of}
    asyncio.run(store.replace([]))
    assert not (store._addresses._services or store._of or list(store.addresses_within(bytes(4), 0)))


def crowd(count: int, each: int, of: str = "p/web") -> list[Slice]:
    """Endpoints of a Service, so many a slice."""
    every = [(0x0A000000 + n).to_bytes(4, "big") for n in range(count)]
    return [Slice(f"{of}-{n}", of, 4, b"".join(every[n : n + each]), None, HTTP, each) for n in range(0, count, each)]


@pytest.mark.plain
@pytest.mark.parametrize("each", [1, 4, 100, 1000])
def test_a_change_costs_what_it_changes(each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each endpoint is looked at once when it comes and once when it goes, however many others its Service has."""
    looked = 0

    def counted(s: Slice) -> list[bytes]:
        nonlocal looked
        every = endpoints(s)
        looked += len(every)
        return every

    slices = crowd(2000, each)
    store, _ = watched(service("p/web"), *slices)
    monkeypatch.setattr(store_module, "endpoints", counted)
    for s in slices:
        store.remove(Slice, s.key)
    assert 2000 == looked
    store.put(*slices)
    assert 4000 == looked


def test_the_loop_has_its_turn_while_a_list_is_applied() -> None:
    """No step touches more than it should, and between two of them others run."""
    store, told = watched(WEB)
    turns = 0

    async def ticking() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def replaced(*objects: Stored) -> tuple[int, int]:
        told.clear()
        before = turns
        await store.replace(objects)
        assert STEP + 100 >= max(map(len, told), default=0)
        return len(told), turns - before

    async def steps() -> list[tuple[int, int]]:
        tick = asyncio.create_task(ticking())
        slices, many = crowd(20_000, 100), [service(f"p/s{n}", f"10.96.{n >> 8}.{n & 255}") for n in range(10_000)]
        taken = [await replaced(WEB, *slices), await replaced(WEB), await replaced(*many), await replaced(*many)]
        tick.cancel()
        return taken

    assert [(20, 20), (20, 20), (21, 20), (0, 10)] == asyncio.run(steps())


def test_what_moves_to_another_slice_is_never_missed() -> None:
    """A list is applied in steps; what is gone goes last."""
    slices, others = crowd(3000, 100), [replace(s, key=f"{s.key}-new") for s in crowd(3000, 100)]
    store, _ = watched(service("p/web"), *slices)
    seen = []
    store.listeners.append(lambda keys: seen.append(len(list(store.addresses_within(bytes(4), 0)))))
    asyncio.run(store.replace([service("p/web"), *others]))
    assert {3000} == set(seen)
    assert 3 < len(seen)


def test_addresses_within_a_prefix() -> None:
    every = [ip(a) for a in ("10.0.0.1", "10.0.1.1", "10.1.0.1", "11.0.0.1")]
    store = Store()
    store.put(*(Service(f"p/{a.hex()}", (a,), ()) for a in every), service("p/six", "fd00::1"))

    def within(text: str, bits: int) -> Iterable[bytes]:
        return list(store.addresses_within(ip(text), bits))

    assert every[:2] == within("10.0.0.0", 16)
    assert every[:3] == within("10.0.0.0", 8)
    assert every == within("0.0.0.0", 0)
    assert [] == within("12.0.0.0", 8)
    assert [ip("fd00::1")] == within("fd00::", 8)
