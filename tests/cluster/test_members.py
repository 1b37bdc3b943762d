"""Many slices are answered from as if they were few."""

import random

import pytest
from msgspec.structs import replace

from kdns.cluster import records
from kdns.cluster.members import LONG, merged, Naming
from kdns.cluster.objects import Port, Service, Slice
from kdns.cluster.store import FEW, Store
from kdns.dns.types import A, AAAA, ANY, SRV
from tests.support.notation import slice_

ONE, TWO = (Port("http", 80, "tcp"),), (Port("http", 81, "tcp"), Port("dns", 53, "udp"))
SERVICE = Service("p/db", (), ())
BELOW = (
    "", "a", "b", "pod-0", "10-0-0-1", "10-0-1-2", "fd00--1", "x", "_http._tcp", "_dns._udp", "_tcp",
    "z.pin._zone", "z.prefer._zone", "y.pin._zone", "y.prefer._zone",
)  # fmt: skip


def random_slice(rnd: random.Random, n: int) -> Slice:
    """All of its columns are there, or some of them; now and then it is empty, or of names."""
    if rnd.random() < 0.1:
        return slice_(f"p/db-{n}", "p/db", ["other.example.com."], (), 1)
    four = rnd.random() < 0.7
    every = [f"10.0.{rnd.randrange(2)}.{i}" if four else f"fd00::{i}" for i in range(rnd.randrange(6))]
    columns = [(sign, names) for sign, names in (("=", "ab"), ("%", ("pod-0", "pod-1")), ("@", "zx")) if rnd.random() < 0.6]
    for sign, names in columns:
        every = [word + (sign + rnd.choice(names) if rnd.random() < 0.6 else "") for word in every]
    return slice_(f"p/db-{n}", "p/db", every, rnd.choice((ONE, TWO)), len(every) + rnd.randrange(2))


def said(slices: tuple[Slice, ...], naming: Naming) -> list[object]:
    """All that is said of a Service, in order."""
    out: list[object] = [records.alias(SERVICE, slices), records.has_endpoints(slices), sum(s.total for s in slices)]
    for below in BELOW:
        for type in (A, AAAA, SRV, ANY):
            found = records.at(SERVICE, slices, below.split(".") if below else [], type, f"{below}.x.", naming, 1 << 20)
            sections = [[(r.name, r.type, sorted(r.rdata)) for r in section] for section in (found.answer, found.additional)]
            out.append((below, type, found.exists, found.whole, *map(sorted, sections)))
    for address in (b"\x0a\0\0\1", b"\x0a\0\1\2", b"\xfd" + bytes(14) + b"\1"):
        out.append(records.pointers(SERVICE, slices, address, naming))
    return out


@pytest.mark.parametrize("pods", [True, False])
@pytest.mark.parametrize("seed", range(30))
def test_merged_slices_say_the_same(seed: int, pods: bool) -> None:
    rnd = random.Random(seed)
    slices = tuple(random_slice(rnd, n) for n in range(rnd.randrange(1, 12)))
    naming = Naming("cluster.local.", 5, pods, True)
    assert len(merged(slices)) <= len(slices)
    assert said(slices, naming) == said(merged(slices), naming)


def test_none_becomes_long() -> None:
    slices = [slice_(f"p/db-{n}", "p/db", [f"10.0.{n}.{i}" for i in range(100)], ONE, 100) for n in range(12)]
    assert [LONG, LONG, 200] == [len(s.addresses) // 4 for s in merged(slices)]


def test_they_are_merged_once_and_anew_after_a_change() -> None:
    store = Store()
    slices = [slice_(f"p/db-{n}", "p/db", [f"10.0.{n}.1"], ONE, 1) for n in range(FEW + 1)]
    store.put(*slices[:FEW])
    assert tuple(slices[:FEW]) == store.merged("p/db")
    store.put(slices[FEW])
    first = store.merged("p/db")
    assert (1, FEW + 1) == (len(first), len(first[0].addresses) // 4)
    assert first is store.merged("p/db")
    store.put(replace(slices[0], addresses=b"\x0a\0\x09\x09"))
    assert b"\x0a\0\x09\x09" in store.merged("p/db")[0].addresses
    store.remove(Slice, slices[0].key)
    assert tuple(slices[1:]) == store.merged("p/db")
    assert not store._merged
