"""The most frequent of very many things, in bounded memory: the space-saving algorithm. No I/O.

Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams" (2005). A key that has
no count takes over the place of the least one, and its count. So a count is never too small; it is too large by its `error` at
most, and that is at most the total divided by the number of places. What is more frequent than that has a place.
"""

from collections.abc import Callable
from heapq import heapify, heappush, heapreplace, nlargest
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", str, bytes)


class Frequent(NamedTuple, Generic[K]):
    """A key, how many times it was seen at most, and by how much that may be too often."""

    key: K
    times: float
    error: float


class Sketch(Generic[K]):
    """Counts of at most so many keys."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.total = 0.0
        self._counts: dict[K, float] = {}
        self._errors: dict[K, float] = {}
        self._least: list[tuple[float, K]] = []  # a heap: each key once, with a count that it had at some time

    def add(self, key: K, times: float = 1) -> None:
        """The key was seen so often."""
        self.total += times
        if key in self._counts:
            self._counts[key] += times
        elif len(self._counts) < self.places:
            self._counts[key], self._errors[key] = times, 0.0
            heappush(self._least, (times, key))
        else:
            least = self._find_least()
            count = self._counts.pop(least)
            del self._errors[least]
            self._counts[key], self._errors[key] = count + times, count
            heapreplace(self._least, (count + times, key))

    def top(self, most: int, wanted: Callable[[K], bool] = lambda key: True) -> list[Frequent[K]]:
        """The most frequent of those wanted. Left out is whose count may be nothing but that of others before it."""
        counts, errors = self._counts, self._errors
        sure = [key for key, count in counts.items() if 2 * errors[key] <= count and wanted(key)]
        return [Frequent(key, counts[key], errors[key]) for key in nlargest(most, sure, key=counts.__getitem__)]

    def halve(self) -> None:
        """What was seen until now counts half from now on."""
        self.total /= 2
        for table in (self._counts, self._errors):
            for key in table:
                table[key] /= 2
        self._least = [(count, key) for key, count in self._counts.items()]
        heapify(self._least)

    def _find_least(self) -> K:
        """The key of the least count, which is the first of the heap once that is so again."""
        while (current := self._counts[self._least[0][1]]) != self._least[0][0]:
            heapreplace(self._least, (current, self._least[0][1]))
        return self._least[0][1]
