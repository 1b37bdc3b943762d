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

Two generations keep a scan of names from flushing what is hot: new entries go into the young one, and what is asked again in
the old one moves there. While the budget has room, nothing goes. Then for each that comes the newest of the old generation
goes, and once that has none the young one becomes the old one: what is hot moves first, so it would be the last to go.

A key that very many replies depend on (`app/local`, which every search list misses) is forgotten in slices; until the last of
them each look-up asks whether the entry is one of those.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from kdns.core.dependents import Dependents
from kdns.core.entries import Entry, Many, size_of, Told
from kdns.core.served import Line
from kdns.dns.response import Key
from kdns.dns.ring import Ring

BUDGET = 24 << 20  # octets
SLICE = 500  # entries that are buried, counted or taken apart before others have their turn: a millisecond at most
_ONE_QUESTION = b"\0\1\0\0\0\0"  # the counts of a query, but the last


Find = Callable[[bytes], Entry | None]
Later = Callable[[Callable[[], None]], Any]  # calls a function soon, when others have had their turn


def _at_once(work: Callable[[], None]) -> None:
    work()


def _uncounted(entry: Entry, hits: int) -> None: ...


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
        self._later = later
        self._young: dict[bytes, Entry] = {}  # in the order in which they came
        self._old: dict[bytes, Entry] = {}
        self._dependents = Dependents()
        self.size = 0  # octets that it holds, estimated
        self._fleeting: list[Entry] = []  # true until the next tick only
        self._dying: dict[Key, int] = {}  # keys whose entries are being buried, and `changes` when they were forgotten
        self._graves: deque[Many] = deque()  # those entries
        self.find: Find = self._young.get  # the look-up of the hot path; taken anew for each batch
        self.changes = 0  # how often something was forgotten; a reply begun before the last time is not stored
        self.forgotten = 0
        self.evicted = 0  # alive, for want of room

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: bytes) -> Entry | None:
        """The living entry of a query, or None; one of the old generation moves into the young one."""
        entry = self._young.get(key)
        if entry is None:
            entry = self._old.pop(key, None)
            if entry is None:
                return None
            self._young[key] = entry
        return entry if not self._dying or self._lives(entry) else None

    def put(
        self, key: bytes, reply: bytes | Ring, depends: tuple[Key, ...], label: Any, fleeting: bool = False,
        line: Line | None = None,
    ) -> None:  # fmt: skip
        """Keep a reply until something it depends on changes; a fleeting one at most until the next tick.

        `line` hears of each query that gets it.
        """
        there = self._young.get(key)
        if there is None:
            there = self._old.get(key)
        if there is not None:
            if self._lives(there):
                return  # the same query was in flight twice
            self._bury(there)  # it was to die anyway
        octets, ring = b"", None
        if isinstance(reply, Ring):
            ring = reply
        else:
            octets = reply
        self.size += size_of(key, octets, ring)
        if line is None:
            entry = Entry(octets, ring, key, depends, label, self.changes)
        else:
            entry = Told(octets, ring, key, depends, label, self.changes, line=line)
            self.size += len(line)
        while self.size > self.budget and len(self):
            self._evict()
        self._young[key] = entry
        self._dependents.add(entry)
        if fleeting:
            self._fleeting.append(entry)

    def _evict(self) -> None:
        """One entry goes for want of room."""
        if not self._old:
            self._old, self._young = self._young, self._old
            self._choose_find()
        self._end(self._old.popitem()[1])
        self.evicted += 1

    def _bury(self, entry: Entry) -> None:
        """Forget an entry, if it is not dead already."""
        if entry.reply is not None:
            del (self._young if self._young.get(entry.key) is entry else self._old)[entry.key]
            self._end(entry)
            self.forgotten += 1

    def _end(self, entry: Entry) -> None:
        """An entry that no query finds any more leaves the index, and its hits are counted."""
        self._dependents.remove(entry)
        self.size -= entry.size()
        entry.reply = entry.ring = None
        self._count(entry)

    def _count(self, entry: Entry) -> None:
        if entry.hits:
            self._fold(entry, entry.hits)
            entry.hits = entry.streams = 0

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget every reply that depends on one of the keys; where they are very many, bury them in slices."""
        self.changes += 1
        for key in self._dependents.among(keys):
            there = self._dependents.pop(key)
            if isinstance(there, tuple):
                self._bury_all(there)
            elif len(there) <= SLICE:
                self._bury_all(there.take(SLICE))
            else:
                self._dying[key] = self.changes
                self._graves.append(there)
        if self._graves and self.find != self._find_living:
            self._choose_find()
            self._bury_slice()

    def _bury_all(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._bury(entry)

    def _bury_slice(self) -> None:
        """Bury some of the entries that are dying, and come back for the rest."""
        if self._graves:
            there = self._graves[0]
            self._bury_all(there.take(SLICE))
            if not len(there):
                self._graves.popleft()
        if self._graves:
            self._later(self._bury_slice)
        else:
            self._dying = {}
            self._choose_find()

    def _choose_find(self) -> None:
        self.find = self._find_living if self._graves else self._young.get

    def _find_living(self, key: bytes) -> Entry | None:
        """The look-up while entries are dying that nobody has buried yet."""
        entry = self._young.get(key)
        return entry if entry is not None and self._lives(entry) else None

    def _lives(self, entry: Entry) -> bool:
        dying = self._dying
        return not dying or not any(entry.born < dying.get(key, 0) for key in entry.depends)

    def at(self, name: bytes) -> Iterator[list[Entry]]:
        """The living entries of a name in wire form, in lower case, in steps between which others have their turn.

        All entries are looked at, so it is for a person alone.
        """
        entries = self._all()
        for at in range(0, len(entries), SLICE):
            # To look for the name anywhere in a key is much quicker than to take all of them apart.
            some = [entry for entry in entries[at : at + SLICE] if entry.reply is not None and name in entry.key.lower()]
            yield [entry for entry in some if _name_of(entry.key) == name and self._lives(entry)]

    def flush(self, name: bytes) -> int:
        """Forget a name; how many replies those were."""
        found = [entry for some in self.at(name) for entry in some]
        self._bury_all(found)
        return len(found)

    def listed(self) -> Iterator[tuple[bytes, int, int]]:
        """Name in wire form, type and hits of each living entry."""
        for entry in self._all():
            if (name := _name_of(entry.key)) and self._lives(entry):
                at = entry.key.lower().index(name) + len(name)
                yield name, int.from_bytes(entry.key[at : at + 2], "big"), entry.hits

    def tick(self) -> None:
        """A whole second begins: what was true until then only is dead."""
        fleeting, self._fleeting = self._fleeting, []
        self._bury_all(fleeting)

    def close(self) -> None:
        """Nobody looks here any more: let go of everything, and of whoever counts."""
        self.clear()
        self._fold = _uncounted

    def clear(self) -> None:
        """Forget everything: what changed cannot be named. Hits until now are counted while it is taken apart."""
        self.forgotten += len(self)
        self.changes += 1
        gone = self._young, self._old
        dependents = self._dependents
        self._young, self._old, self._dependents, self._fleeting = {}, {}, Dependents(), []
        self._dying, self._graves = {}, deque()
        self.find = self._young.get
        self.size = 0
        for entries in gone:
            self._take_apart(entries, dependents)

    def _take_apart(self, entries: dict[bytes, Entry], dependents: Dependents) -> None:
        """Count the hits of what was cleared, slice by slice: to free all of it at once, too, would hold others up."""
        for _ in range(min(SLICE, len(entries))):
            _, gone = entries.popitem()
            dependents.remove(gone)
            self._count(gone)
        if entries:
            self._later(partial(self._take_apart, entries, dependents))

    def fold(self) -> None:
        """Count all hits until now."""
        for _ in self.folding():
            pass

    def folding(self) -> Iterator[None]:
        """The same in steps, between which others have their turn."""
        entries = self._all()
        for at in range(0, len(entries), SLICE):
            for entry in entries[at : at + SLICE]:
                self._count(entry)
            yield

    def _all(self) -> list[Entry]:
        return [*self._young.values(), *self._old.values()]
