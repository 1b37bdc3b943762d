"""The objects of a cluster now, by the keys that DNS asks with; says what a change touched.

Keys are the store's own short strings and packed addresses: a Service "namespace/name", a Namespace "namespace", an address
its octets (it has PTR records, or a Pod), and CHANGED for anything at all. Whoever keeps answers listens and forgets what
depends on a key that is named.

A source (manifests, an API server) puts and removes; nobody else writes. No I/O.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from kdns.cluster.addresses import Addresses
from kdns.cluster.balancers import Entrance, kind_of
from kdns.cluster.columns import endpoints, hostnames_of
from kdns.cluster.external import Outside
from kdns.cluster.members import merged
from kdns.cluster.objects import Namespace, Pod, Service, Slice, Stored
from kdns.dns.response import Key

CHANGED = "."  # the key that every change touches: the zone's apex depends on it
FEW = 8  # slices of a Service that answers are made of as they are
STEP = 1000  # objects looked at, endpoints of those that change, for which `replace` holds the loop: a millisecond


class Store:
    """What DNS needs of a cluster. `synced` is False until a source has told all there is."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.namespaces: dict[str, Namespace] = {}
        self.slices: dict[str, Slice] = {}
        self.pods: dict[str, Pod] = {}
        self.entrances: dict[str, Entrance] = {}
        self.synced = False
        self.why_not = "not synced yet"  # for readiness and extended errors, while it is not
        self.serial = int(time.time())  # of the SOA: when something changed last (seconds since 1970)
        self._handed_out = 0  # the serial of the last transfer
        self._gathered: set[Key] | None = None  # what is told together
        self.listeners: list[Callable[[Iterable[Key]], None]] = []
        self.tables: dict[type[Stored], dict[str, Any]] = {  # those above, by kind
            Service: self.services, Slice: self.slices, Namespace: self.namespaces, Pod: self.pods,
            Entrance: self.entrances,
        }  # fmt: skip
        self._of: dict[str, Slice | dict[str, Slice]] = {}  # slices by Service: mostly one, else by their keys
        self._merged: dict[str, tuple[Slice, ...]] = {}  # of those that have many, until they change
        self._addresses = Addresses()  # ClusterIPs, and endpoints of the Services that names can be made of
        self.outside = Outside()  # Services as they are reached from outside of the cluster
        self.asking: defaultdict[str, Outside] = defaultdict(Outside)  # Ingresses and so on, by kind
        self._pods_at: dict[bytes, tuple[str, ...]] = {}

    # ------------------------------------------------------------ what DNS asks

    def slices_of(self, service: str) -> tuple[Slice, ...]:
        """The slices of a Service by its key."""
        found = self._of.get(service)
        if found is None:
            return ()
        return (found,) if isinstance(found, Slice) else tuple(found.values())

    def merged(self, service: str) -> tuple[Slice, ...]:
        """The endpoints of a Service in few slices, as answers want them; made once for many of them."""
        found = self._of.get(service)
        if isinstance(found, Slice):
            return (found,)
        if found is None or len(found) <= FEW:
            return self.slices_of(service)
        slices = self._merged.get(service)
        if slices is None:
            slices = self._merged[service] = merged(tuple(found.values()))
        return slices

    def services_at(self, address: bytes) -> tuple[str, ...]:
        """Keys of the Services that have the address as ClusterIP or endpoint; they exist, and none is an alias."""
        return self._addresses.services(address)

    def pods_at(self, address: bytes) -> tuple[str, ...]:
        """Keys of the Pods that have the address: one, or several on their host's network."""
        return self._pods_at.get(address, ())

    def addresses_within(self, prefix: bytes, bits: int) -> Iterator[bytes]:
        """The addresses of Services that begin with the first `bits` of `prefix` (padded with zeros), in order."""
        return self._addresses.within(prefix, bits)

    def hand_out(self) -> int:
        """The serial for a transfer that begins: what changes from now on has a later one, be it in the same second."""
        self._handed_out = self.serial
        return self.serial

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

    async def replace(
        self, objects: Iterable[Stored], kinds: tuple[type[Stored], ...] = (Namespace, Service, Slice, Pod, Entrance)
    ) -> None:
        """All objects of some kinds as a new list has them.

        The difference is applied and told in steps (`STEP`), between which the loop has its turn: first what is there,
        then what is gone, so that what moves from one object to another is never missed.
        """
        left = {kind: dict.fromkeys(self.tables[kind]) for kind in kinds}
        steps = _Steps(self._tell)
        for o in objects:
            left[type(o)].pop(table_key(o), None)
            await steps.done(self._put(o, steps.touched))
        for kind, keys in left.items():
            for key in keys:
                await steps.done(self._remove(kind, key, steps.touched))
        steps.end()

    async def remove_all(self, kind: type[Stored], keys: Iterable[str]) -> None:
        """Objects are gone, in steps as `replace` takes them."""
        steps = _Steps(self._tell)
        for key in keys:
            await steps.done(self._remove(kind, key, steps.touched))
        steps.end()

    @contextmanager
    def together(self) -> Iterator[None]:
        """What changes inside is told at the end, all at once: nothing inside waits, so that nobody asks meanwhile."""
        self._gathered = gathered = set[Key]()
        try:
            yield
        finally:
            self._gathered = None
            self._tell(gathered)

    def _tell(self, touched: set[Key]) -> None:
        if self._gathered is not None:
            self._gathered |= touched
        elif touched:
            touched.add(CHANGED)
            self.serial = max(int(time.time()), self._handed_out + 1)
            for listener in self.listeners:
                listener(touched)

    def _put(self, o: Stored, touched: set[Key]) -> int:
        """The work that it was: an object looked at, and its endpoints where it is another than before."""
        table = self.tables[type(o)]
        key = table_key(o)
        old = table.get(key)
        if old == o:
            return 1
        table[key] = o
        self._changed(old, o, touched)
        return 1 + _size(old) + _size(o)

    def _remove(self, kind: type[Stored], key: str, touched: set[Key]) -> int:
        """The work that it was, as of `_put`."""
        old = self.tables[kind].pop(key, None)
        if old is not None:
            self._changed(old, None, touched)
        return 1 + _size(old)

    def _changed(self, old: Stored | None, new: Stored | None, touched: set[Key]) -> None:
        some = new or old
        if isinstance(some, Service):
            self._service_changed(old, new, touched)  # type: ignore[arg-type]
        elif isinstance(some, Slice):
            self._slice_changed(old, new, touched)  # type: ignore[arg-type]
        elif isinstance(some, Pod):
            self._pod_changed(old, new, touched)  # type: ignore[arg-type]
        elif isinstance(some, Entrance):
            touched.add(some.key)  # routes to a Gateway depend on it
            touched |= self.asking[kind_of(some.key)].changed(old, new)  # type: ignore[arg-type]
        elif some is not None:
            touched.add(some.name)

    def _service_changed(self, old: Service | None, new: Service | None, touched: set[Key]) -> None:
        before, after = old.ips if old else (), new.ips if new else ()
        key = (new or old).key  # type: ignore[union-attr]
        if old is not None and new is not None and replace(old, selector=new.selector) == new:
            return  # no answer is another, but for its reason
        touched.add(key)
        touched.update(before, after)
        if (old and old.external) or (new and new.external):
            touched |= self.outside.changed(old, new)
        if before != after:
            for address in set(after) - set(before):
                self._addresses.add(address, key)
            for address in set(before) - set(after):
                self._addresses.remove(address, key)
        if _names_endpoints(old) != _names_endpoints(new):  # their PTR records come and go with it
            for s in self.slices_of(key):
                every = set(endpoints(s))
                touched |= every
                if _names_endpoints(new):
                    self._link(every, (), key)
                else:
                    self._link((), every, key)

    def _slice_changed(self, old: Slice | None, new: Slice | None, touched: set[Key]) -> None:
        if old and new and old.service != new.service:
            self._slice_changed(old, None, touched)
            old = None
        key = (new or old).service  # type: ignore[union-attr]
        self._file(key, old, new)
        if old is not None and new is not None and replace(old, unready=new.unready) == new:
            return  # no answer is another, but for its reason
        touched.add(key)
        before, after = set(endpoints(old) if old else ()), set(endpoints(new) if new else ())
        gone, come = before - after, after - before
        touched |= gone
        touched |= come
        if _names_endpoints(self.services.get(key)):
            self._link(come, gone, key)
        if old and new and old.width == new.width and (old.hostnames or new.hostnames or old.pods or new.pods):
            was, called = _named(old), _named(new)
            touched.update([address for address in before & after if was[address] != called[address]])

    def _file(self, key: str, old: Slice | None, new: Slice | None) -> None:
        """A slice among those of its Service."""
        there = self._of.get(key)
        if isinstance(there, dict):
            self._merged.pop(key, None)
            if new is not None:
                there[new.key] = new
            elif old is not None:
                del there[old.key]
                if len(there) == 1:
                    self._of[key] = next(iter(there.values()))
        elif new is None:
            del self._of[key]
        elif there is None or there.key == new.key:
            self._of[key] = new
        else:
            self._of[key] = {there.key: there, new.key: new}

    def _link(self, come: Iterable[bytes], gone: Iterable[bytes], key: str) -> None:
        """Addresses of one slice of a Service."""
        for address in come:
            self._addresses.add(address, key)
        for address in gone:
            self._addresses.remove(address, key)

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


class _Steps:
    """Work that is done bit by bit; what each bit touched is told at its end."""

    def __init__(self, tell: Callable[[set[Key]], None]) -> None:
        self.touched: set[Key] = set()
        self._tell = tell
        self._work = 0

    async def done(self, work: int) -> None:
        """So much more is done: perhaps others have their turn now."""
        self._work += work
        if self._work >= STEP:
            self.end()
            await asyncio.sleep(0)

    def end(self) -> None:
        self._tell(self.touched)
        self.touched, self._work = set(), 0


def table_key(o: Stored) -> str:
    """The key of an object in the table of its kind."""
    return o.name if isinstance(o, Namespace) else o.key


def _size(o: Stored | None) -> int:
    """Addresses of an object."""
    if isinstance(o, Slice):
        return len(o.addresses) // o.width if o.width else 0
    if isinstance(o, Entrance):
        return len(o.external.asked)
    return 0 if o is None or isinstance(o, Namespace) else len(o.ips)


def _names_endpoints(service: Service | None) -> bool:
    """Do the addresses of its endpoints have names?"""
    return service is not None and service.alias is None


def _named(s: Slice) -> dict[bytes, list[tuple[str, str | None]]]:
    """Each address of a slice with what names it: the hostname and Pod of each endpoint that has it."""
    every = endpoints(s)
    hostnames = hostnames_of(s) or [""] * len(every)
    named: dict[bytes, list[tuple[str, str | None]]] = {}
    for address, hostname, pod in zip(every, hostnames, s.pods or [None] * len(every), strict=False):
        named.setdefault(address, []).append((hostname, pod))
    return named
