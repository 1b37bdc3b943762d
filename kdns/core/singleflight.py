"""One question under way for many who ask it. No I/O.

Whoever asks first does the work; those who ask the same meanwhile wait for what comes of it, an exception included. Where the
first is cancelled, one of those who wait does the work instead.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from types import TracebackType
from typing import Generic, TypeVar

V = TypeVar("V")


class Flight(Generic[V]):
    """The work for a key, from `with` to its end; whoever does it lays down its `outcome`. None: it was cancelled.

    For whoever finds none under way: the work is then done in its own coroutine, one less than by `Singleflight.ask`.
    """

    __slots__ = ("_key", "_under_way", "outcome", "waiting")

    def __init__(self, key: Hashable, under_way: "dict[Hashable, Flight[V]]") -> None:
        self._key, self._under_way = key, under_way
        self.outcome: V | Exception | None = None
        self.waiting: list[asyncio.Future[V | Exception | None]] | None = None

    def __enter__(self) -> "Flight[V]":
        self._under_way[self._key] = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self._under_way.get(self._key) is self:
            del self._under_way[self._key]
        if self.waiting is not None:
            outcome = error if isinstance(error, Exception) else self.outcome
            for future in self.waiting:
                if not future.done():
                    future.set_result(outcome)


class Singleflight(Generic[V]):
    """The questions under way, each by its key. There are never more than those who ask."""

    def __init__(self) -> None:
        self.under_way: dict[Hashable, Flight[V]] = {}

    async def ask(self, key: Hashable, work: Callable[[], Awaitable[V]], joined: Callable[[V], None] | None = None) -> V:
        """What the work for a key comes to; `joined` is told of it where it was another's work."""
        while (flight := self.under_way.get(key)) is not None:
            future: asyncio.Future[V | Exception | None] = asyncio.get_running_loop().create_future()
            if flight.waiting is None:
                flight.waiting = []
            flight.waiting.append(future)
            outcome = await future
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is not None:
                if joined is not None:
                    joined(outcome)
                return outcome
        with Flight(key, self.under_way) as flight:
            flight.outcome = result = await work()
            return result
