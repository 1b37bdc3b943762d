"""The endpoints of a Service that an answer is made of: all, those of a port, of a label, of an address, of a zone.

Of too many, some are taken, and chance says which: as many in a row as are wanted, from a random one on. What costs by the
endpoint costs by those taken, but for searches in a column, which are fast. Pure; nothing is kept.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from msgspec.structs import replace

from kdns.cluster.columns import address_places, endpoints, hostname_at, hostname_places, hostnames_of, split
from kdns.cluster.objects import joined, Port, Slice
from kdns.dns import names

LONG = 500  # endpoints from which on a merged slice takes no more

Parts = list[tuple[Slice, list[int]]]  # slices, each with the numbers of some ports


class Naming(NamedTuple):
    """How names are made: the zone's origin, TTL in seconds, whether an endpoint may be called by its Pod."""

    origin: str
    ttl: int
    pods: bool = False
    zonal: bool = False
    middle: str = "svc."  # between a namespace and the origin


def packed(slices: Sequence[Slice], width: int, most: int) -> tuple[tuple[bytes, ...], bool]:
    """The addresses of a family, none twice, and whether that is all."""
    columns = [s.addresses for s in slices if s.width == width]
    octets = columns[0] if len(columns) == 1 else b"".join(columns)
    whole = len(octets) <= most * width
    if not whole:
        at = random.randrange(len(octets) // width) * width
        end = at + most * width
        octets = octets[at:end] + octets[: max(0, end - len(octets))]
    rdata = split(octets, width)
    if len(set(rdata)) < len(rdata):
        return tuple(dict.fromkeys(rdata)), whole
    return rdata, whole


def with_ports(slices: tuple[Slice, ...], wanted: Callable[[Port], bool]) -> Parts:
    """The slices that have endpoints and wanted ports, each with the numbers of these."""
    known: dict[int, list[int]] = {}  # by list of ports, which few slices have for themselves
    parts = []
    for s in slices:
        if s.addresses:
            numbers = known.get(id(s.ports))
            if numbers is None:
                numbers = known[id(s.ports)] = [p.number for p in s.ports if p.number and wanted(p)]
            if numbers:
                parts.append((s, numbers))
    return parts


def from_anywhere(parts: Parts) -> Iterator[tuple[Slice, int, str, list[int]]]:
    """Each endpoint once, from a random one on: its slice and place there, its hostname, the numbers of its ports."""
    counts = [len(s.addresses) // s.width for s, _ in parts]
    first, at = 0, random.randrange(sum(counts))
    while at >= counts[first]:
        at -= counts[first]
        first += 1
    whole = [(n, 0, counts[n]) for n in (*range(first + 1, len(parts)), *range(first))]
    for n, start, end in ((first, at, counts[first]), *whole, (first, 0, at)):
        s, numbers = parts[n]
        hostnames = hostnames_of(s)
        for i in range(start, end):
            yield s, i, hostnames[i] if hostnames else "", numbers


def called(
    slices: tuple[Slice, ...], label: str, naming: Naming, wanted: Callable[[Slice], bool], most: int
) -> tuple[list[tuple[Slice, bytes]], bool]:
    """The endpoints of a label, each with its slice, and whether that is all; found without making every endpoint's label.

    Where there are more than `most` they are looked for from a random slice on, until that is enough. Of slices that are not
    wanted there is at most one: it says that the label is somebody's.
    """
    address = names.undashed(label)
    if address is not None and names.dashed(address) != label:
        address = None
    sought = f"\0{label}\0"
    found: list[tuple[Slice, bytes]] = []
    for s in _turned(slices) if len(slices) > 1 else slices:
        if not s.width or (found and not wanted(s)):
            continue
        places = []
        if s.hostnames and sought in s.hostnames:
            places = hostname_places(s, label)
        if address is not None and address in s.addresses:
            places += _unnamed(s, address_places(s, address), naming)
        if naming.pods and s.pods and label in s.pods:
            places += [i for i, each in enumerate(s.pods) if each == label and _pod(each) and not hostname_at(s, i)]
        if places:
            if not wanted(s):
                del places[1:]
            found += [(s, s.addresses[i * s.width : (i + 1) * s.width]) for i in places]
            if len(found) > most:
                return found, False
    return found, True


def _unnamed(s: Slice, places: list[int], naming: Naming) -> list[int]:
    """Those of a slice's endpoints that are called by their address."""
    return [i for i in places if not hostname_at(s, i) and not (naming.pods and s.pods and _pod(s.pods[i]))]


def _pod(name: str | None) -> str | None:
    """The name of a Pod where it can be a label."""
    return name if name and len(name) <= names.MAX_LABEL and "." not in name else None


def label_of(s: Slice, i: int, hostname: str, address: bytes, naming: Naming) -> str:
    """What an endpoint is called: its hostname, else where asked for its Pod, else its address with dashes."""
    return hostname or (_pod(s.pods[i]) if naming.pods and s.pods else None) or names.dashed(address)


def near(
    slices: tuple[Slice, ...], zone: str, wanted: Callable[[Slice], bool], most: int
) -> tuple[tuple[Slice, ...], bool]:
    """The wanted slices with the endpoints of a zone only, and whether that is all; more than `most` endpoints are enough."""
    found: list[Slice] = []
    count = 0
    for s in _turned(slices):
        local = _within(s, zone) if wanted(s) else None
        if local is not None:
            found.append(local)
            count += len(local.addresses) // local.width
            if count > most:
                return tuple(found), False
    return tuple(found), True


def _within(s: Slice, zone: str) -> Slice | None:
    """A slice with its endpoints in a zone only; None where there are none."""
    if not s.zones or not s.width or zone not in s.zones:
        return None
    at = [i for i, each in enumerate(s.zones) if each == zone]
    every, hostnames = endpoints(s), hostnames_of(s)
    return replace(
        s,
        addresses=b"".join([every[i] for i in at]),
        hostnames=joined([hostnames[i] for i in at]) if hostnames else None,
        pods=tuple([s.pods[i] for i in at]) if s.pods else None,
        zones=(zone,) * len(at),
    )


def _turned(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """The slices from a random one on."""
    if not slices:
        return slices
    at = random.randrange(len(slices))
    return slices[at:] + slices[:at]


def merged(slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """The same endpoints in fewer slices: what an answer does for each slice is then done less often."""
    groups: dict[tuple[int, int], list[list[Slice]]] = {}  # by family and list of ports; none longer than it should be
    sizes: dict[tuple[int, int], int] = {}
    for s in slices:
        of = s.width, id(s.ports)
        if of not in groups or sizes[of] >= LONG or not s.width:
            groups.setdefault(of, []).append([])
            sizes[of] = 0
        groups[of][-1].append(s)
        sizes[of] += _count(s)
    return tuple([_joined(group) for some in groups.values() for group in some])


def _joined(slices: list[Slice]) -> Slice:
    if len(slices) == 1:
        return slices[0]
    hostnames = None
    if any(s.hostnames for s in slices):
        hostnames = "\0" + "".join([s.hostnames[1:] if s.hostnames else "\0" * _count(s) for s in slices])
    return replace(
        slices[0],
        addresses=b"".join([s.addresses for s in slices]),
        hostnames=hostnames,
        total=sum([s.total for s in slices]),
        unready="\0" + "".join([s.unready[1:] for s in slices if s.unready]) if any(s.unready for s in slices) else None,
        pods=_row([s.pods for s in slices], slices),
        zones=_row([s.zones for s in slices], slices),
    )


def _row(columns: list[tuple[str | None, ...] | None], slices: list[Slice]) -> tuple[str | None, ...] | None:
    if not any(columns):
        return None
    rows = [column or (None,) * _count(s) for column, s in zip(columns, slices, strict=True)]
    return tuple(chain.from_iterable(rows))


def _count(s: Slice) -> int:
    return len(s.addresses) // s.width if s.width else 0
