"""How Services are reached from outside of the cluster: addresses and names of load balancers, externalIPs, names asked for.

Kept only where an option wants it (`Selection.external`). No I/O.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from msgspec.structs import replace

from kdns.cluster import objects
from kdns.cluster.balancers import Entrance, External, ServiceStatus
from kdns.cluster.objects import Service, ServiceObject
from kdns.dns import names
from kdns.dns.response import Key

T = TypeVar("T")

HOSTNAME = "external-dns.alpha.kubernetes.io/hostname"  # what external-dns reads, names with commas between
MOST_NAMES = 100  # of one Service


def service(o: ServiceObject) -> Service:
    """A Service, compact, with how it is reached from outside. What is no address or name is passed over."""
    addresses, called = balanced(o.status)
    addresses += tuple(each(names.packed, o.spec.externalIPs or ()))
    wanted = (o.metadata.annotations or {}).get(HOSTNAME, "").split(",")
    asked = tuple(each(names.absolute, [name.strip() for name in wanted[:MOST_NAMES]]))
    external = External(addresses, called, asked) if addresses or called or asked else None
    return replace(objects.service(o), external=external)


def balanced(status: ServiceStatus | None) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """The addresses and the names of a load balancer."""
    balancer = status.loadBalancer if status is not None else None
    ingress = (balancer.ingress if balancer is not None else None) or ()
    return tuple(each(names.packed, [one.ip for one in ingress])), tuple(each(names.absolute, [one.hostname for one in ingress]))


def each(read: Callable[[str], T], texts: Iterable[str | None]) -> Iterator[T]:
    """Those that can be read."""
    for text in texts:
        try:
            if text:
                yield read(text)
        except ValueError:
            pass


class Outside:
    """The objects of one kind that ask for a name; of Services those, too, that have an external address."""

    def __init__(self) -> None:
        self._at: dict[Key, dict[str, None]] = {}
        self._above: dict[str, int] = {}  # names that have some below them, and how many

    def of(self, key: bytes | str) -> tuple[str, ...]:
        """Keys of the objects that have an external address, or ask for a name."""
        return tuple(self._at.get(key, ()))

    def every(self) -> list[Key]:
        """All names that are asked for, and all external addresses."""
        return list(self._at)

    def exists(self, name: str) -> bool:
        """Is a name asked for, or one below it?"""
        return name in self._at or name in self._above

    def changed(self, old: Service | Entrance | None, new: Service | Entrance | None) -> set[Key]:
        """An object is another than before: the keys that this touches."""
        before, after = set(_keys(old)), set(_keys(new))
        above = {name for key in before ^ after for name in _above(key)}
        existed = set(filter(self.exists, above))
        for key in before - after:
            assert old is not None
            of = self._at[key]
            del of[old.key]
            if not of:
                del self._at[key]
            self._count(key, -1)
        for key in after - before:
            assert new is not None
            self._at.setdefault(key, {})[new.key] = None
            self._count(key, 1)
        return before | after | (existed ^ set(filter(self.exists, above)))

    def _count(self, key: Key, by: int) -> None:
        for above in _above(key):
            self._above[above] = self._above.get(above, 0) + by
            if not self._above[above]:
                del self._above[above]


def _keys(o: Service | Entrance | None) -> Iterator[Key]:
    if o is not None and o.external is not None:
        if isinstance(o, Service):
            yield from o.external.addresses  # they have PTR records
        yield from o.external.asked


def _above(key: Key) -> Iterator[str]:
    """The names above a name."""
    while isinstance(key, str) and key.count(".") > 1:
        key = names.parent(key)
        yield key
