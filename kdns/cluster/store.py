"""The objects of a cluster now, by the keys that DNS asks with; says what a change touched.

Keys are the store's own short strings and packed addresses: a Service "namespace/name", a Namespace "namespace", an address
its octets (it has PTR records, or a Pod), and CHANGED for anything at all. Whoever keeps answers listens and forgets what
depends on a key that is named.

A source (manifests, an API server) puts and removes; nobody else writes. No I/O.
"""

import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kdns.cluster.objects import endpoints, hostnames_of, Namespace, Pod, Service, Slice, Stored
from kdns.dns.response import Key

CHANGED = "."  # the key that every change touches: the zone's apex depends on it


class Store:
    """What DNS needs of a cluster. `synced` is False until a source has told all there is."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.namespaces: dict[str, Namespace] = {}
        self.slices: dict[str, Slice] = {}
        self.pods: dict[str, Pod] = {}
        self.synced = False
        self.why_not = "not synced yet"  # for readiness and extended errors, while it is not
        self.serial = int(time.time())  # of the SOA: when something changed last (seconds since 1970)
        self.listeners: list[Callable[[Iterable[Key]], None]] = []
        self._tables: dict[type[Stored], dict[str, Any]] = {
            Service: self.services, Slice: self.slices, Namespace: self.namespaces, Pod: self.pods,
        }  # fmt: skip
        self._of: dict[str, tuple[Slice, ...]] = {}  # slices by Service
        self._services_at: dict[bytes, str | tuple[str, ...]] = {}  # Services by ClusterIP or endpoint; mostly one
        self._pods_at: dict[bytes, tuple[str, ...]] = {}
        self._order: dict[int, list[bytes]] = {}  # addresses sorted, by width; made when first asked for

    # ------------------------------------------------------------ what DNS asks

    def slices_of(self, service: str) -> tuple[Slice, ...]:
        """The slices of a Service by its key."""
        return self._of.get(service, ())

    def services_at(self, address: bytes) -> tuple[str, ...]:
        """Keys of the Services that have the address as ClusterIP or endpoint, whether they exist or not."""
        found = self._services_at.get(address, ())
        return (found,) if isinstance(found, str) else found

    def pods_at(self, address: bytes) -> tuple[str, ...]:
        """Keys of the Pods that have the address: one, or several on their host's network."""
        return self._pods_at.get(address, ())

    def addresses_within(self, prefix: bytes, bits: int) -> Iterator[bytes]:
        """The addresses in use that begin with the first `bits` of `prefix` (padded with zeros), in order."""
        width = len(prefix)
        order = self._order.get(width)
        if order is None:
            order = self._order[width] = sorted(a for a in self._services_at if len(a) == width)
        last = (int.from_bytes(prefix, "big") | (1 << 8 * width - bits) - 1).to_bytes(width, "big")
        at = bisect_left(order, prefix)
        while at < len(order) and order[at] <= last:
            yield order[at]
            at += 1

    # ------------------------------------------------------------ what sources tell

    def put(self, *objects: Stored) -> None:
        """Objects as they are now; what is equal to what is known changes nothing."""
        touched: set[Key] = set()
        for o in objects:
            self._put(o, touched)
        self._tell(touched)

    def remove(self, kind: type[Stored], key: str) -> None:
        """An object is gone; no matter if it never was."""
        touched: set[Key] = set()
        self._remove(kind, key, touched)
        self._tell(touched)

    def replace(
        self, objects: Iterable[Stored], kinds: tuple[type[Stored], ...] = (Namespace, Service, Slice, Pod)
    ) -> None:
        """All objects of some kinds as a new list has them: the difference is applied, and told at once."""
        touched: set[Key] = set()
        left = {kind: set(self._tables[kind]) for kind in kinds}
        for o in objects:
            left[type(o)].discard(_key(o))
            self._put(o, touched)
        for kind, keys in left.items():
            for key in keys:
                self._remove(kind, key, touched)
        self._tell(touched)

    def _tell(self, touched: set[Key]) -> None:
        if touched:
            touched.add(CHANGED)
            self.serial = int(time.time())
            for listener in self.listeners:
                listener(touched)

    def _put(self, o: Stored, touched: set[Key]) -> None:
        table = self._tables[type(o)]
        key = _key(o)
        old = table.get(key)
        if old == o:
            return
        table[key] = o
        self._changed(old, o, touched)

    def _remove(self, kind: type[Stored], key: str, touched: set[Key]) -> None:
        old = self._tables[kind].pop(key, None)
        if old is not None:
            self._changed(old, None, touched)

    def _changed(self, old: Stored | None, new: Stored | None, touched: set[Key]) -> None:
        some = new or old
        if isinstance(some, Service):
            self._service_changed(old, new, touched)  # type: ignore[arg-type]
        elif isinstance(some, Slice):
            self._slice_changed(old, new, touched)  # type: ignore[arg-type]
        elif isinstance(some, Pod):
            self._pod_changed(old, new, touched)  # type: ignore[arg-type]
        elif some is not None:
            touched.add(some.name)

    def _service_changed(self, old: Service | None, new: Service | None, touched: set[Key]) -> None:
        before, after = old.ips if old else (), new.ips if new else ()
        key = (new or old).key  # type: ignore[union-attr]
        touched.add(key)
        touched.update(before, after)
        for address in set(after) - set(before):
            self._link(address, key)
        for address in set(before) - set(after):
            self._unlink(address, key)
        if old is None or new is None or old.alias != new.alias:  # its endpoints' PTR records come and go with it
            for s in self.slices_of(key):
                touched.update(endpoints(s))

    def _slice_changed(self, old: Slice | None, new: Slice | None, touched: set[Key]) -> None:
        if old and new and old.service != new.service:
            self._slice_changed(old, None, touched)
            old = None
        key = (new or old).service  # type: ignore[union-attr]
        touched.add(key)
        others = tuple(s for s in self.slices_of(key) if old is None or s.key != old.key)
        slices = (*others, new) if new else others
        if slices:
            self._of[key] = slices
        else:
            del self._of[key]
        before, after = _named(old), _named(new)
        if before == after:
            return
        for address, called in after.items():
            if address not in before:
                self._link(address, key)
                touched.add(address)
            elif before[address] != called:
                touched.add(address)
        for address in before.keys() - after.keys():
            touched.add(address)
            self._unlink(address, key)

    def _pod_changed(self, old: Pod | None, new: Pod | None, touched: set[Key]) -> None:
        before, after = old.ips if old else (), new.ips if new else ()
        key = (new or old).key  # type: ignore[union-attr]
        for address in before:
            keys = tuple(k for k in self._pods_at.get(address, ()) if k != key)
            if keys:
                self._pods_at[address] = keys
            else:
                self._pods_at.pop(address, None)
        for address in after:
            self._pods_at[address] = (*self._pods_at.get(address, ()), key)
        touched.update(before, after)

    def _link(self, address: bytes, key: str) -> None:
        there = self._services_at.get(address)
        if there is None:
            self._services_at[address] = key
            order = self._order.get(len(address))
            if order is not None:
                insort(order, address)
        elif isinstance(there, str):
            self._services_at[address] = there if there == key else (there, key)
        elif key not in there:
            self._services_at[address] = (*there, key)

    def _unlink(self, address: bytes, key: str) -> None:
        """The address leaves one slice or Service; another slice of the same Service may still have it."""
        service = self.services.get(key)
        if service is not None and address in service.ips:
            return
        if any(s.width == len(address) and address in endpoints(s) for s in self.slices_of(key)):
            return
        left = tuple(k for k in self.services_at(address) if k != key)
        if left:
            self._services_at[address] = left[0] if len(left) == 1 else left
            return
        self._services_at.pop(address, None)
        order = self._order.get(len(address))
        if order is not None:
            at = bisect_left(order, address)
            if at < len(order) and order[at] == address:
                del order[at]


def _key(o: Stored) -> str:
    return o.name if isinstance(o, Namespace) else o.key


def _named(s: Slice | None) -> dict[bytes, tuple[tuple[str, str | None], ...]]:
    """Each address of a slice with what names it: the hostname and Pod of each endpoint that has it."""
    if s is None or not s.width:
        return {}
    count = len(s.addresses) // s.width
    called = zip(hostnames_of(s) or [""] * count, s.pods or [None] * count, strict=True)
    every = list(zip(endpoints(s), called, strict=True))
    named: dict[bytes, tuple[tuple[str, str | None], ...]] = {address: (names,) for address, names in every}
    if len(named) < len(every):  # rare: several endpoints at one address
        for address in named:
            named[address] = tuple(names for other, names in every if other == address)
    return named
