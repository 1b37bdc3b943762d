"""Reading the columns of a slice: addresses and hostnames, all of them or one.

Both columns are one object each, so that one among thousands is found by a search in one place. No I/O.
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from itertools import chain

from kdns.cluster.objects import Slice


def hostnames_of(s: Slice) -> list[str]:
    """A slice's hostnames, one for each endpoint and empty where it has none; no list where no endpoint has one."""
    return s.hostnames[1:-1].split("\0") if s.hostnames else []


def hostname_at(s: Slice, i: int) -> str:
    """The hostname of one endpoint, empty where it has none."""
    return s.hostnames.split("\0", i + 2)[i + 1] if s.hostnames else ""


def hostname_places(s: Slice, label: str) -> list[int]:
    """Which endpoints of a slice have a hostname."""
    column = s.hostnames
    if column is None:
        return []
    places = []
    place = before = 0
    at = column.find(f"\0{label}\0")
    while at >= 0:
        place += column.count("\0", before, at)
        places.append(place)
        before, at = at, column.find(f"\0{label}\0", at + 1)
    return places


def unready_of(s: Slice) -> list[str]:
    """What the first endpoints of a slice that are not ready are called, with GOING behind those that are about to end."""
    return s.unready[1:-1].split("\0") if s.unready else []


def address_places(s: Slice, address: bytes) -> list[int]:
    """Which endpoints of a slice have an address."""
    places: list[int] = []
    if s.width != len(address):
        return places
    at = s.addresses.find(address)
    while at >= 0:
        if at % s.width == 0:
            places.append(at // s.width)
        at = s.addresses.find(address, at + 1)
    return places


def endpoints(s: Slice) -> tuple[bytes, ...]:
    """A slice's addresses, packed, one for each endpoint; none for addressType FQDN."""
    return split(s.addresses, s.width) if s.width else ()


_BLOCK = 128  # addresses that are taken apart at once


@lru_cache(2 * _BLOCK)
def _apart(count: int, width: int) -> Callable[[bytes], tuple[bytes, ...]]:
    """Takes so many addresses apart."""
    return struct.Struct(f"{width}s" * count).unpack


def split(octets: bytes, width: int) -> tuple[bytes, ...]:
    """Addresses of 4 or 16 octets that stand one after the other."""
    block = _BLOCK * width
    if len(octets) <= block:
        return _apart(len(octets) // width, width)(octets)
    parts = [octets[at : at + block] for at in range(0, len(octets), block)]
    return tuple(chain.from_iterable([_apart(len(part) // width, width)(part) for part in parts]))
