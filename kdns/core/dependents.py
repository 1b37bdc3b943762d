"""Which entries of the memo depend on what. No I/O.

What entries have in common they share, and most keys have one entry or a few. A key that very many depend on (`app/local`, which
every search list misses) lets go of one as fast as of the only one.
"""

from collections.abc import Iterable

from kdns.core.entries import Entry, Few, Many
from kdns.dns.response import Key

FEW = 8


class Dependents:
    """Entries by what they depend on, and no others."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Entry | Few | Many] = {}

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
                few = (there, entry) if isinstance(there, Entry) else (*there.entries, entry)
                kin = few[0].depends
                self._by_key[key] = Few(few) if len(few) <= FEW else Many(kin, {one.key: one for one in few})
            if kin == entry.depends:
                entry.depends = kin

    def remove(self, entry: Entry) -> None:
        for key in entry.depends:
            there = self._by_key.get(key)
            if isinstance(there, Many):
                there.entries.pop(entry.key, None)
            elif isinstance(there, Few):
                there.entries = tuple([each for each in there.entries if each is not entry])
            if there is entry or (there is not None and not isinstance(there, Entry) and not len(there)):
                del self._by_key[key]

    def among(self, keys: Iterable[Key]) -> set[Key]:
        """Those of the keys that something depends on: mostly few, and while a source lists all there is, none."""
        found: set[Key] = self._by_key.keys() & keys
        return found

    def pop(self, key: Key) -> tuple[Entry, ...] | Many:
        """All that depend on a key. They are here no longer by this key; `remove` takes them from others."""
        there = self._by_key.pop(key, None)
        if there is None:
            return ()
        return (there,) if isinstance(there, Entry) else there.entries if isinstance(there, Few) else there
