"""The memo: reply octets by query octets, forgotten by key. No I/O.

The key is a plain query (see dns.plain) without its id, the value the reply without its id, so a hit is a dictionary look-up
and a concatenation: most queries are plain as they come, and what others carry that changes nothing is left out. What a reply
was made from (its `depends`) is kept beside it, and a change forgets exactly what was made from what changed: clearing the
whole memo ten times a second would cost most of its worth.

Rules that must never be broken:

- An entry that something forgotten depends on is never given again, from the moment on that `forget` returns.
- A reply that was begun before a change, and depends on anything, is not put (`changes` tells).
- Whoever gives an entry's reply counts the hit in the entry; no hit is lost (`fold`).
- Nothing here takes longer than a slice: what is much is done in steps, between which others have their turn.

Two generations keep a scan of names from flushing what is hot: new entries go into the young one; when it is full it becomes
the old one, and what is asked again moves back. An entry that is forgotten is dead at once (it has no reply any more); its
place in the dictionary is taken by the next reply to the same query, or goes with its generation. A generation that leaves
is taken apart two entries for each new one. A key that very many replies depend on (`app/local`, which every search list
misses) is forgotten in slices; until the last of them each look-up asks whether the entry is one of those.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from kdns.dns.response import Key
from kdns.dns.ring import Ring

BUDGET = 24 << 20  # octets
SLICE = 2000  # entries that are buried before others have their turn: about a millisecond
_ONE_QUESTION = b"\0\1\0\0\0\0"  # the counts of a query, but the last
OVERHEAD = 380  # octets that an entry costs beside key and reply: headers, slots of dictionaries, the index (measured)


class Entry(msgspec.Struct, gc=False):
    """One reply. `reply` is None once it is dead, and empty where a ring gives the octets."""

    reply: bytes | None
    ring: Ring | None
    key: bytes
    depends: tuple[Key, ...]
    label: Any  # what a hit is counted as
    size: int
    born: int  # `changes` of the memo when it was put
    hits: int = 0
    streams: int = 0  # of them over TCP


class _Generation:
    __slots__ = ("entries", "index", "size")

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.index: dict[Key, Entry | list[Entry]] = {}  # a list only where there are several
        self.size = 0

    def add(self, entry: Entry) -> None:
        before = self.entries.get(entry.key)
        if before is not None:
            self.size -= before.size
        self.entries[entry.key] = entry
        self.size += entry.size
        for key in entry.depends:
            there = self.index.get(key)
            if there is None:
                self.index[key] = entry
            elif isinstance(there, list):
                there.append(entry)
                if not len(there) & (len(there) - 1):  # a power of two: now and then, the dead are left out
                    there[:] = [e for e in there if e.reply is not None]
            else:
                self.index[key] = [there, entry]


Find = Callable[[bytes], Entry | None]
Later = Callable[[Callable[[], None]], Any]  # calls a function soon, when others have had their turn


def _at_once(work: Callable[[], None]) -> None:
    work()


def _name_of(key: bytes) -> bytes:
    """The name that a datagram asks for, in lower case; an audience may stand before it. Empty where there is none."""
    at = key.find(_ONE_QUESTION) + len(_ONE_QUESTION)
    end = at = at + 2  # the count of additional records
    while end < len(key) and key[end]:
        end += key[end] + 1
    return key[at : end + 1].lower()


class Memo:
    """Replies of one listening address and one generation of the configuration.

    `budget` is in octets of real memory; `fold(entry, hits)` is told of hits before they are lost sight of; `later` is how
    work goes on in another turn of the event loop.
    """

    def __init__(self, fold: Callable[[Entry, int], None], budget: int = BUDGET, later: Later = _at_once) -> None:
        self._fold = fold
        self.budget = budget
        self._half = budget // 2
        self._later = later
        self._young = _Generation()
        self._old = _Generation()
        self._leaving: dict[bytes, Entry] = {}
        self._fleeting: list[Entry] = []  # true until the next tick only
        self._dying: dict[Key, int] = {}  # keys whose entries are being buried, and `changes` when they were forgotten
        self._graves: deque[list[Entry]] = deque()  # those entries
        self.find: Find = self._young.entries.get  # the look-up of the hot path; taken anew for each batch
        self.changes = 0  # how often something was forgotten; a reply begun before the last time is not stored
        self.forgotten = 0
        self.evicted = 0  # alive, for want of room

    def __len__(self) -> int:
        return len(self._young.entries) + len(self._old.entries)

    @property
    def size(self) -> int:
        """Octets that it holds, estimated."""
        return self._young.size + self._old.size

    def get(self, key: bytes) -> Entry | None:
        """The living entry of a query, or None; one of the old generation moves into the young one."""
        entry = self._young.entries.get(key)
        if entry is None:
            entry = self._old.entries.pop(key, None)
            if entry is None:
                return None
            self._old.size -= entry.size
            if self._lives(entry):
                self._add(entry)
        return entry if self._lives(entry) else None

    def put(self, key: bytes, reply: bytes | Ring, depends: tuple[Key, ...], label: Any, fleeting: bool = False) -> None:
        """Keep a reply until something it depends on changes; a fleeting one at most until the next tick."""
        there = self._young.entries.get(key)
        if there is not None and self._lives(there):
            return  # the same query was in flight twice
        size = len(key) + len(reply) + OVERHEAD
        if isinstance(reply, Ring):
            entry = Entry(b"", reply, key, depends, label, size + len(reply) + 240, self.changes)
        else:
            entry = Entry(reply, None, key, depends, label, size, self.changes)
        self._add(entry)
        if fleeting:
            self._fleeting.append(entry)

    def _add(self, entry: Entry) -> None:
        if self._leaving:
            self._let_go(2)
        self._young.add(entry)
        if self._young.size > self._half:
            self._let_go(len(self._leaving))  # rare: more left at once than came since
            self._leaving = self._old.entries
            self._old, self._young = self._young, _Generation()
            self._choose_find()

    def _let_go(self, most: int) -> None:
        """Take apart some of the entries that leave."""
        for _ in range(min(most, len(self._leaving))):
            _, gone = self._leaving.popitem()
            self.evicted += gone.reply is not None
            if gone.hits:
                self._bury(gone)

    def _bury(self, entry: Entry) -> None:
        """The entry is dead from now on, and its hits are counted."""
        entry.reply = entry.ring = None
        if entry.hits:
            self._fold(entry, entry.hits)
            entry.hits = entry.streams = 0

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget every reply that depends on one of the keys; where they are very many, bury them in slices."""
        self.changes += 1
        for key in keys:
            for generation in (self._young, self._old):
                there = generation.index.pop(key, None)
                if there is None:
                    continue
                if isinstance(there, list):
                    if len(there) > SLICE:
                        self._dying[key] = self.changes
                        self._graves.append(there)
                    else:
                        self._bury_all(there)
                elif there.reply is not None:
                    self._bury(there)
                    self.forgotten += 1
        if self._graves and self.find != self._find_living:
            self._choose_find()
            self._bury_slice()

    def _bury_all(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.reply is not None:
                self._bury(entry)
                self.forgotten += 1

    def _bury_slice(self) -> None:
        """Bury some of the entries that are dying, and come back for the rest."""
        there = self._graves[0] if self._graves else []
        self._bury_all(there[-SLICE:])
        del there[-SLICE:]
        if self._graves and not there:
            self._graves.popleft()
        if self._graves:
            self._later(self._bury_slice)
        else:
            self._dying = {}
            self._choose_find()

    def _choose_find(self) -> None:
        self.find = self._find_living if self._graves else self._young.entries.get

    def _find_living(self, key: bytes) -> Entry | None:
        """The look-up while entries are dying that nobody has buried yet."""
        entry = self._young.entries.get(key)
        return entry if entry is not None and self._lives(entry) else None

    def _lives(self, entry: Entry) -> bool:
        if entry.reply is None:
            return False
        dying = self._dying
        return not dying or not any(entry.born < dying.get(key, 0) for key in entry.depends)

    def at(self, name: bytes) -> list[Entry]:
        """The living entries of a name in wire form, in lower case: all are looked at, so it is for a person alone."""
        every = [*self._young.entries.items(), *self._old.entries.items()]
        return [entry for key, entry in every if _name_of(key) == name and self._lives(entry)]

    def flush(self, name: bytes) -> int:
        """Forget a name; how many replies those were."""
        found = self.at(name)
        self._bury_all(found)
        return len(found)

    def listed(self) -> Iterator[tuple[bytes, int, int]]:
        """Name in wire form, type and hits of each living entry."""
        for key, entry in [*self._young.entries.items(), *self._old.entries.items()]:
            if (name := _name_of(key)) and self._lives(entry):
                at = key.lower().index(name) + len(name)
                yield name, int.from_bytes(key[at : at + 2], "big"), entry.hits

    def tick(self) -> None:
        """A whole second begins: what was true until then only is dead."""
        fleeting, self._fleeting = self._fleeting, []
        for entry in fleeting:
            if entry.reply is not None:
                self._bury(entry)

    def clear(self) -> None:
        """Forget everything: what changed cannot be named."""
        self.fold()
        self.forgotten += len(self)
        self.changes += 1
        self._young, self._old, self._leaving, self._fleeting = _Generation(), _Generation(), {}, []
        self._dying, self._graves = {}, deque()
        self.find = self._young.entries.get

    def fold(self) -> None:
        """Count all hits until now."""
        for entries in (self._young.entries, self._old.entries, self._leaving):
            for entry in entries.values():
                if entry.hits:
                    self._fold(entry, entry.hits)
                    entry.hits = entry.streams = 0
