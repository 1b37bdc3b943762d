"""Addresses are counted, and kept in order, for what each change costs."""

import random

import pytest

from kdns.cluster.addresses import _Ordered, Addresses, CHUNK

ONE, TWO = b"\x0a\0\0\1", b"\x0a\0\0\2"


@pytest.mark.parametrize(
    ("come", "gone", "left"),
    [
        ("a", "", "a"),
        ("a", "a", ""),
        ("a a", "a", "a"),
        ("a a", "a a", ""),
        ("a b", "a", "b"),
        ("a b", "b", "a"),
        ("a b a", "a", "b a"),
        ("a b a b", "a b", "a b"),
        ("a b c", "b", "a c"),
        ("a b c a", "a a", "b c"),
    ],
)
def test_each_time_is_counted(come: str, gone: str, left: str) -> None:
    addresses = Addresses()
    addresses.add(TWO, "other")
    for service in come.split():
        addresses.add(ONE, service)
    for service in gone.split():
        addresses.remove(ONE, service)
    assert tuple(left.split()) == addresses.services(ONE)
    assert ([ONE, TWO] if left else [TWO]) == list(addresses.within(b"\x0a\0\0\0", 8))


def test_most_are_kept_as_their_service_alone() -> None:
    addresses = Addresses()
    addresses.add(ONE, "a")
    assert {ONE: "a"} == addresses._services
    addresses.add(ONE, "b")
    addresses.remove(ONE, "a")
    assert {ONE: "b"} == addresses._services


@pytest.mark.parametrize("width", [4, 16])
def test_those_within_a_prefix_are_found_in_order(width: int) -> None:
    """Beside a look at each of them; reverse zones are octets of IPv4, and half octets of IPv6."""
    rnd = random.Random(width)
    addresses = Addresses()
    every = sorted({b"\x0a".ljust(width - 3, b"\0") + bytes(rnd.choices(range(4), k=2)) + rnd.randbytes(1) for _ in range(400)})
    left = rnd.sample(every, 200)
    for address in every:
        addresses.add(address, "a")
    for address in set(every) - set(left):
        addresses.remove(address, "a")
    for bits in range(0, 8 * width + 1, 8 if width == 4 else 4):
        for of in left[:20]:
            prefix = (int.from_bytes(of, "big") >> 8 * width - bits << 8 * width - bits).to_bytes(width, "big")
            number = int.from_bytes(prefix, "big") >> 8 * width - bits
            expected = sorted(one for one in left if int.from_bytes(one, "big") >> 8 * width - bits == number)
            assert expected == list(addresses.within(prefix, bits))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_is_that_of_a_sorted_list(seed: int) -> None:
    """No list grows long, so that one more or less moves little."""
    rnd = random.Random(seed)
    every = [n.to_bytes(4, "big") for n in rnd.sample(range(1 << 20), 6 * CHUNK)]
    ordered = _Ordered()
    for n, octets in enumerate(every):
        ordered.add(octets)
        assert max(map(len, ordered._chunks)) <= 2 * CHUNK
        if n % 500 == 0:
            since = rnd.choice(every)
            assert sorted(o for o in every[: n + 1] if o >= since) == list(ordered.since(since))
    for n, octets in enumerate(every, 1):
        ordered.remove(octets)
        if n % 500 == 0:
            assert sorted(every[n:]) == list(ordered.since(b""))
    assert [[]] == ordered._chunks
