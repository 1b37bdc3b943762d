"""Queries in flight: how a miss is started, and how many may wait.

Most coroutines that answer a query never wait, and a Task for each would cost more than the answer. So a coroutine takes its
first step at once: on Python 3.12 in an eager Task; on 3.11 in the hands of `_Standin`, which asyncio believes to be the
current Task, and which hands over to a real one only where the coroutine waits. `asyncio.timeout`, `wait_for`, `TaskGroup`,
`current_task` and cancellation work as in a Task.
"""

import asyncio
import contextvars
import logging
import sys
import time
from asyncio.tasks import _enter_task, _leave_task
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

from kdns.core.generation import MOST_IN_FLIGHT

log = logging.getLogger(__name__)
PATIENCE = 2.0  # seconds that a query may wait before it makes room for others: as long as *forward* waits for an upstream
T = TypeVar("T")


class InFlight:
    """The queries that wait for something, oldest first. Beyond `limit` one is dropped and counted.

    That is the oldest if it has waited longer than `PATIENCE`: nothing will come of it any more. Before that it is the new one.
    If it were always the oldest, more queries than upstreams can answer would leave none the time to be answered at all.
    """

    def __init__(self, limit: int = MOST_IN_FLIGHT) -> None:
        self.limit = limit
        self.dropped = Counter[str]()  # by listening address, as metrics name it
        self._tasks: dict[asyncio.Task[Any], float] = {}  # since when

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, coro: Coroutine[Any, Any, T], server: str = "") -> "T | asyncio.Task[T] | None":
        """The reply where the coroutine does not wait (None is silence), or else the Task that will have it.

        To be called from a callback of the loop, not from a Task. Never raises.
        """
        try:
            made = start(asyncio.get_running_loop(), coro)
        except asyncio.CancelledError:
            return None
        except Exception:
            log.exception("a query could not be answered")
            return None
        if isinstance(made, asyncio.Task):
            now = time.monotonic()
            if len(self._tasks) >= self.limit:
                self.dropped[server] += 1
                oldest = next(iter(self._tasks))
                if now - self._tasks[oldest] < PATIENCE:
                    made.cancel()
                    return made
                del self._tasks[oldest]
                oldest.cancel()
            self._tasks[made] = now
            made.add_done_callback(self._done)
        return made

    def has_room(self) -> bool:
        """Whether one that waits would not be dropped."""
        return len(self._tasks) < self.limit or time.monotonic() - next(iter(self._tasks.values())) >= PATIENCE

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    async def ended(self, timeout: float) -> None:
        """Wait until all that are in flight now have ended, at most so many seconds; the rest is cancelled."""
        tasks = list(self._tasks)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout)
        for task in late:
            task.cancel()


def outcome(task: asyncio.Task[T]) -> T | None:
    """What a Task that is done came to; None where it was cancelled or failed, which is logged."""
    if task.cancelled():
        return None
    error = task.exception()
    if error is not None:
        log.error("a query could not be answered", exc_info=error)
        return None
    return task.result()


if sys.version_info >= (3, 12):

    def start(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T]) -> T | asyncio.Task[T]:
        """The result of a coroutine that does not wait, or the Task that will have it."""
        task = asyncio.Task(coro, loop=loop, eager_start=True)
        return task.result() if task.done() else task

else:

    def start(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T]) -> T | asyncio.Task[T]:
        """The result of a coroutine that does not wait, or the Task that will have it."""
        context = contextvars.copy_context()
        standin = _Standin()
        _enter_task(loop, standin)  # type: ignore[arg-type]
        try:
            waits_for = context.run(coro.send, None)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            _leave_task(loop, standin)  # type: ignore[arg-type]
        task = standin.task = loop.create_task(_Rest(coro, waits_for), context=context)
        for _ in range(standin.cancels):
            task.cancel()
        return task


class _Standin:
    """The current Task of a coroutine's first step. Whoever keeps it gets to the Task through it."""

    __slots__ = ("__weakref__", "cancels", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.cancels = 0

    def cancel(self, msg: Any = None) -> bool:
        if self.task is not None:
            return self.task.cancel(msg)
        self.cancels += 1
        return True

    def cancelling(self) -> int:
        return self.cancels if self.task is None else self.task.cancelling()

    def uncancel(self) -> int:
        if self.task is not None:
            return self.task.uncancel()
        self.cancels = max(0, self.cancels - 1)
        return self.cancels

    def done(self) -> bool:
        return self.task is not None and self.task.done()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)


class _Rest(Coroutine[Any, Any, T]):
    """A coroutine from its second step on: what it waits for already is what its Task is given first."""

    __slots__ = ("_coro", "_waits_for")

    def __init__(self, coro: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._coro, self._waits_for = coro, waits_for

    def send(self, value: Any) -> Any:
        if self._waits_for is not _NOTHING:
            waits_for, self._waits_for = self._waits_for, _NOTHING
            return waits_for
        return self._coro.send(value)

    def throw(self, *error: Any) -> Any:
        """Before the first step a cancellation reaches what is waited for first, as in any Task."""
        waits_for, self._waits_for = self._waits_for, _NOTHING
        if asyncio.isfuture(waits_for) and isinstance(error[0], asyncio.CancelledError) and waits_for.cancel():
            return waits_for
        return self._coro.throw(*error)

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Any:
        raise TypeError("only a Task steps the rest of a coroutine")


_NOTHING = object()
