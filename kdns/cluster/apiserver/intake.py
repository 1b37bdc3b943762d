"""What a reflector was sent -> what the store keeps: object by object, each forgotten before the next one.

An object that cannot be understood is left out and told once; what was known of it stays. No I/O.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from kdns.cluster.apiserver import events
from kdns.cluster.apiserver.events import Bare, Event, OBJECT, UNDECODABLE
from kdns.cluster.apiserver.resources import Resource
from kdns.cluster.apiserver.screening import screen
from kdns.cluster.objects import Metadata
from kdns.cluster.store import Store, table_key
from kdns.errors import one_line, SourceError

log = logging.getLogger(__name__)

MOST = 1_000_000  # objects of one resource


class Intake:
    """Puts the objects of one resource into a store, and removes them.

    `changed` is called with each object that changed DNS after the list, `met` with every object before it is put.
    """

    def __init__(self, store: Store, changed: Callable[[Any], None], met: Callable[[Any], None]) -> None:
        self.listing = False
        self.seen: set[str] = set()  # keys, while listing
        self.malformed = 0
        self._store, self._changed, self._met = store, changed, met
        self._complained: set[str] = set()  # objects whose fault is in the log

    def use(self, resource: Resource) -> None:
        """Take objects of this resource from now on."""
        self._resource = resource
        self._table = self._store.tables[resource.kind]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Event[resource.struct])  # type: ignore[name-defined]
        self._item_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(resource.struct)

    def unseen(self) -> list[str]:
        """What is kept and was not in the list."""
        return [key for key in self._table if key not in self.seen and key.endswith(self._resource.suffix)]

    def understood(self, line: bytes) -> Event[Any] | None:
        """An event of a watch; None where nothing of it can be followed."""
        try:
            event: Event[Any] = self._decoder.decode(line)
        except UNDECODABLE as error:
            return self._half_understood(line, error)
        return event

    def _half_understood(self, line: bytes, error: Exception) -> Event[Bare] | None:
        """A malformed event as far as it can be followed: a deletion can, a bookmark, and the version of the rest."""
        try:
            event = events.bare.decode(line)
        except UNDECODABLE:
            event = None
        if event is None or event.type in ("ADDED", "MODIFIED"):
            self._skip(event.object.metadata if event else Metadata(), error)
        return event

    def item(self, raw: Raw) -> None:
        """An object of a list."""
        try:
            if memoryview(raw).nbytes > OBJECT:
                raise ValueError(f"an object of more than {OBJECT >> 20} MiB")
            o = self._item_decoder.decode(raw)
        except UNDECODABLE as error:
            try:
                o = events.bare_item.decode(raw)
            except UNDECODABLE:
                o = Bare()
            self._skip(o.metadata, error)
            return
        self.apply(o)

    def apply(self, o: Any) -> None:
        """An object as it is now."""
        if type(o) is Bare:
            return
        self._met(o)
        if not self._resource.wants(o.metadata):
            return
        try:
            screen(o)
            new = {table_key(one): one for one in self._resource.compact(o)}
        except ValueError as error:
            self._skip(o.metadata, error)
            return
        gone = [key for key in self._resource.keys(self._store, o.metadata) if key not in new]
        changes = not self.listing and any(self._table.get(key) != one for key, one in new.items())
        if new:
            self._bound()
            self._store.put(*new.values())
            if self.listing:
                self.seen.update(new)
        for key in gone:
            self._store.remove(self._resource.kind, key)
        if changes:
            self._changed(o)

    def remove(self, metadata: Metadata) -> None:
        """An object that is gone."""
        for key in self._resource.keys(self._store, metadata):
            self.seen.discard(key)
            self._store.remove(self._resource.kind, key)

    def _skip(self, metadata: Metadata, error: Exception) -> None:
        self.malformed += 1
        if self.listing:
            self._bound()
            self.seen.update(self._resource.keys(self._store, metadata))
        name = one_line("/".join(filter(None, (metadata.namespace, metadata.name)))[:300]) or "one without a name"
        if name not in self._complained and len(self._complained) < 1000:
            self._complained.add(name)
            log.warning("%s: %s is left out: %s", self._resource.name, name, str(error)[:500])

    def _bound(self) -> None:
        if max(len(self._table), len(self.seen)) > MOST:
            raise SourceError(f"more than {MOST} {self._resource.name}: no cluster has so many")
