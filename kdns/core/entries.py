"""The entries of the memo, and which of them depend on what. No I/O.

There are many, so each is small: what entries have in common they share, and most keys have one entry or a few. A key that
very many depend on (`app/local`, which every search list misses) lets go of one as fast as of the only one. The garbage
collector need not look at any of it: there are no cycles.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from kdns.core.served import Line, Served
from kdns.dns.response import Key
from kdns.dns.ring import Ring

OVERHEAD = 260  # octets that an entry costs beside key and reply: headers, slots of dictionaries, dependence (measured)
RING = 240  # and a ring
FEW = 8


def size_of(key: bytes, reply: bytes, ring: Ring | None) -> int:
    """Octets that an entry of these costs, estimated."""
    return len(key) + OVERHEAD + (len(reply) if ring is None else RING + len(ring))


class Entry(msgspec.Struct, gc=False, eq=False):
    """One reply. `reply` is None once it is dead, and empty where a ring gives the octets."""

    reply: bytes | None
    ring: Ring | None
    key: bytes
    depends: tuple[Key, ...]
    label: Any  # what a hit is counted as
    born: int  # `changes` of the memo when it was put
    hits: int = 0
    streams: int = 0  # of them over TCP

    def size(self) -> int:
        """Octets that it costs, estimated."""
        return size_of(self.key, self.reply or b"", self.ring)


class Told(Entry, gc=False, eq=False):
    """One of whose queries somebody hears, each: see `tell`."""

    line: Line | None = None

    def size(self) -> int:
        return Entry.size(self) + len(self.line or ())


def tell(entry: Entry | None, served: Served) -> None:
    """The memo gave an entry's reply to a query."""
    if isinstance(entry, Told) and entry.line is not None:
        entry.line.write(served)


class Many:
    """More than a few entries that depend on one thing; the first of them shares its `depends`."""

    __slots__ = ("depends", "entries")

    def __init__(self, few: tuple[Entry, ...]) -> None:
        self.depends = few[0].depends
        self.entries = {entry.key: entry for entry in few}

    def __len__(self) -> int:
        return len(self.entries)

    def take(self, most: int) -> list[Entry]:
        """At most so many of them, which are here no longer."""
        return [self.entries.popitem()[1] for _ in range(min(most, len(self.entries)))]


class Dependents:
    """Entries by what they depend on, and no others."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Entry | tuple[Entry, ...] | Many] = {}

    def add(self, entry: Entry) -> None:
        """Its `depends` may become another's, which is equal: most that depend on one thing do so alike."""
        for key in entry.depends:
            there = self._by_key.get(key)
            if there is None:
                self._by_key[key] = entry
                continue
            if isinstance(there, Many):
                kin = there.depends
                there.entries[entry.key] = entry
            else:
                few = (there, entry) if isinstance(there, Entry) else (*there, entry)
                kin = few[0].depends
                self._by_key[key] = few if len(few) <= FEW else Many(few)
            if kin == entry.depends:
                entry.depends = kin

    def remove(self, entry: Entry) -> None:
        for key in entry.depends:
            there = self._by_key.get(key)
            if isinstance(there, Many):
                there.entries.pop(entry.key, None)
            elif isinstance(there, tuple):
                there = self._by_key[key] = tuple([each for each in there if each is not entry])
            if there is entry or (there is not None and not isinstance(there, Entry) and not len(there)):
                del self._by_key[key]

    def among(self, keys: Iterable[Key]) -> set[Key]:
        """Those of the keys that something depends on: mostly few, and while a source lists all there is, none."""
        found: set[Key] = self._by_key.keys() & keys
        return found

    def pop(self, key: Key) -> tuple[Entry, ...] | Many:
        """All that depend on a key. They are here no longer by this key; `remove` takes them from others."""
        there = self._by_key.pop(key, None)
        return () if there is None else (there,) if isinstance(there, Entry) else there
