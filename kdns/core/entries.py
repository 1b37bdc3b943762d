"""The entries of the memo. No I/O.

There are many, so each is small, and the garbage collector need not look at any: there are no cycles. mypyc drops the words that
say so behind a class's name (`gc=False`), so this module is not compiled.
"""

from typing import Any

import msgspec

from kdns.core.served import Line, Served
from kdns.dns.response import Key
from kdns.dns.ring import Ring

OVERHEAD = 260  # octets that an entry costs beside key and reply: headers, slots of dictionaries, dependence (measured)
RING = 240  # and a ring


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


class Few(msgspec.Struct, gc=False, eq=False):
    """Some entries that depend on one thing. With a mere tuple of them the collector would look at all that others depend on."""

    entries: tuple[Entry, ...]

    def __len__(self) -> int:
        return len(self.entries)


class Many(msgspec.Struct, gc=False, eq=False):
    """More than a few, by their keys; the first of them shares its `depends`."""

    depends: tuple[Key, ...]
    entries: dict[bytes, Entry]

    def __len__(self) -> int:
        return len(self.entries)

    def take(self, most: int) -> list[Entry]:
        """At most so many of them, which are here no longer."""
        return [self.entries.popitem()[1] for _ in range(min(most, len(self.entries)))]
