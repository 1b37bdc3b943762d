"""The store says exactly what a change touched; its indexes equal ones built afresh."""

import random
from collections.abc import Iterable

import pytest

from kdns.cluster.objects import endpoints, joined, Namespace, Pod, Port, Service, Slice, Stored
from kdns.cluster.store import CHANGED, Store
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
    store.replace([WEB, WEB_1, Namespace("q")])
    assert [{"p", "q", "p/db", ip("10.96.0.9")}] == told
    store.replace([WEB, WEB_1, Namespace("q")])
    assert 1 == len(told)
    store.replace([], kinds=(Slice,))
    assert [WEB] == list(store.services.values()) and not store.slices


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
        for address in endpoints(s):
            found.setdefault(address, set()).add(s.service)
    for each in store.services.values():
        for address in each.ips:
            found.setdefault(address, set()).add(each.key)
    return found


def random_object(rnd: random.Random) -> Stored:
    n = rnd.randrange(6)
    if rnd.random() < 0.4:
        ips = (f"10.96.0.{rnd.randrange(8)}",) if rnd.random() < 0.5 else ()
        return service(f"p/s{n}", *ips)
    addresses = {f"10.0.{rnd.randrange(2)}.{rnd.randrange(6)}" for _ in range(rnd.randrange(5))}
    return slice_(f"p/s{n}-{rnd.randrange(3)}", f"p/s{rnd.choice((n, n, 3))}", *sorted(addresses))


@pytest.mark.parametrize("seed", range(20))
def test_after_any_changes_the_indexes_equal_fresh_ones(seed: int) -> None:
    rnd = random.Random(seed)
    store = Store()
    list(store.addresses_within(bytes(4), 0))  # from now on the order is kept, not made
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
    store.replace([])
    assert not (store._services_at or store._of or store._order[4])


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
