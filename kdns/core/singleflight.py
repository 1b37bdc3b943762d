"""One question under way for many who ask it. No I/O.

Whoever asks first does the work; those who ask the same meanwhile wait for what comes of it, an exception included. Where the
first is cancelled, one of those who wait does the work instead.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Singleflight(Generic[V]):
    """The questions under way, each by its key. There are never more than those who ask."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[asyncio.Future[V | Exception | None]]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Is the question under way?"""
        return key in self._waiting

    async def ask(self, key: Hashable, work: Callable[[], Awaitable[V]], joined: Callable[[V], None] | None = None) -> V:
        """What the work for a key comes to; `joined` is told of it where it was another's work."""
        outcome: V | Exception | None
        while (waiting := self._waiting.get(key)) is not None:
            future: asyncio.Future[V | Exception | None] = asyncio.get_running_loop().create_future()
            waiting.append(future)
            outcome = await future
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is not None:
                if joined is not None:
                    joined(outcome)
                return outcome
        waiting = self._waiting[key] = []
        outcome = None
        try:
            outcome = result = await work()
            return result
        except Exception as error:
            outcome = error
            raise
        finally:  # None: whoever did the work was cancelled
            del self._waiting[key]
            for future in waiting:
                if not future.done():
                    future.set_result(outcome)
