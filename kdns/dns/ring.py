"""A reply that rotates, as octets: each turn begins with another record. No I/O.

Who gets the load of an endpoint that is down? Where the records keep their order, always the one that follows it. So a ring
goes round its records once, each of them first once, and then has them in a new random order. The first turn is random too:
most rings have no second one, for only the memo keeps them.

A turn is a slice of octets. A new order costs 0.1 to 0.2 µs for each record, once in as many turns as there are records. A
ring never has more than LARGEST_ROUND records, or as many as it shows, in hand: from a longer RRset it draws others each
round. Nothing here looks at more records than it writes, so `rdata` may be a sequence that makes its items when they are taken.
"""

import random
from collections.abc import Sequence
from functools import partial

LARGEST_ROUND = 256  # records

by_chance = partial(next, iter(random.random, None))  # a sort key: it takes an item and draws a number


def drawn(rdata: Sequence[bytes], count: int) -> list[bytes]:
    """So many of the items in a random order."""
    return sorted(rdata, key=by_chance) if count >= len(rdata) else random.sample(rdata, count)


class Ring:
    """The octets of a reply, without its id, around records of one size: `fixed` octets that all have, and their rdata.

    `shown` records are in a reply: all of them, or where it is truncated as many as fit.
    """

    __slots__ = ("_at", "_end", "_fixed", "_head", "_rdata", "_records", "_round", "_shown", "_tail", "_unit")

    def __init__(self, fixed: bytes, rdata: Sequence[bytes], shown: int, head: bytes, tail: bytes) -> None:
        self._head, self._fixed, self._tail = head, fixed, tail
        self._unit = len(fixed) + len(rdata[0])
        self._shown = shown * self._unit
        self._round = min(len(rdata), max(shown, LARGEST_ROUND))
        self._rdata: Sequence[bytes] | None = rdata  # None as soon as `_records` has them all
        self._records = fixed + fixed.join(drawn(rdata, shown))
        self._at, self._end = 0, self._unit  # only the first turn is made, for it may be the last

    def turn(self) -> bytes:
        """The next reply, without its id."""
        at = self._at
        if at == self._end:
            self._shuffle()
            at = 0
        self._at = at + self._unit
        return self._head + self._records[at : at + self._shown] + self._tail

    def _shuffle(self) -> None:
        """A new round: all records in a new order, and the first of them again, so that a turn is one slice."""
        unit, end = self._unit, self._end
        if self._rdata is not None:
            records = self._fixed + self._fixed.join(drawn(self._rdata, self._round))
            if self._round == len(self._rdata):
                self._rdata = None
        elif end == 2 * unit:  # by far the most, and there are two orders only
            first, second = self._records[:unit], self._records[unit:end]
            records = first + second if random.random() < 0.5 else second + first
        else:
            records = b"".join(sorted([self._records[at : at + unit] for at in range(0, end, unit)], key=by_chance))
        self._end = len(records)
        self._records = records + records[: self._shown - unit]

    def __len__(self) -> int:
        """Octets that it holds after its first turn."""
        kept = 0 if self._rdata is None or self._round == len(self._rdata) else len(self._rdata) * (self._unit + 33)
        return len(self._head) + self._round * self._unit + self._shown + len(self._tail) + kept


class UnevenRing(Ring):
    """The same around records of any size that do not all fit; so many of them do, whichever they are."""

    __slots__ = ("_every", "_whole")

    def __init__(self, fixed: bytes, rdata: Sequence[bytes], shown: int, head: bytes, tail: bytes) -> None:
        self._head, self._fixed, self._tail = head, fixed, tail
        self._every = rdata
        self._shown, self._round = shown, min(len(rdata), max(shown, LARGEST_ROUND))
        self._whole = self._made(shown)
        self._at, self._end = 0, 1

    def turn(self) -> bytes:
        at = self._at
        if at == self._end:
            whole = self._made(self._round)
            self._end = len(whole)
            self._whole = whole + whole[: self._shown - 1]
            at = 0
        self._at = at + 1
        return b"".join([self._head, *self._whole[at : at + self._shown], self._tail])

    def _made(self, count: int) -> list[bytes]:
        return [self._fixed + len(octets).to_bytes(2, "big") + octets for octets in drawn(self._every, count)]

    def __len__(self) -> int:
        size = sum(map(len, self._every))
        rounds = size * self._round // len(self._every) + self._round * (len(self._fixed) + 43)
        return len(self._head) + size + len(self._every) * 41 + rounds + len(self._tail)
