"""Queries in flight: how a miss is started, and how many may wait.

Most coroutines that answer a query never wait or wait for an upstream's reply alone, and a Task for each would cost more than
the answer. So a coroutine is stepped by hand (`Stepped`), the first time at once, and again as soon as there is a reply
(`Prompt`). asyncio believes what steps it to be the current Task; where the coroutine waits for anything else, that hands
over to a real one. `asyncio.timeout`, `wait_for`, `TaskGroup`, `current_task` and cancellation work as in a Task.
"""

import asyncio
import contextvars
import logging
import time
from asyncio.tasks import _enter_task, _leave_task
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from kdns.core.generation import MOST_IN_FLIGHT
from kdns.core.prompt import Prompt

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
        self._waiting: dict[Stepped[Any], float] = {}  # since when

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self, coro: Coroutine[Any, Any, T], server: str = "") -> "T | Stepped[T] | None":
        """The reply where the coroutine does not wait (None is silence), or else what will have it.

        To be called from a callback of the loop, not from a Task. Never raises.
        """
        made = Stepped(asyncio.get_running_loop(), coro, self._waiting)
        made.step()
        if made.over:
            return outcome(made)
        now = time.monotonic()
        if len(self._waiting) >= self.limit:
            self.dropped[server] += 1
            oldest = next(iter(self._waiting))
            if now - self._waiting[oldest] < PATIENCE:
                made.cancel()
                return made
            del self._waiting[oldest]
            oldest.cancel()
        self._waiting[made] = now
        return made

    def has_room(self) -> bool:
        """Whether one that waits would not be dropped."""
        return len(self._waiting) < self.limit or time.monotonic() - next(iter(self._waiting.values())) >= PATIENCE

    async def ended(self, timeout: float) -> None:
        """Wait until all that are in flight now have ended, at most so many seconds; the rest is cancelled."""
        left = set(self._waiting)
        over = asyncio.get_running_loop().create_future()

        def one(made: "Stepped[Any]") -> None:
            left.discard(made)
            if not left and not over.done():
                over.set_result(None)

        for each in list(left):
            each.add_done_callback(one)
        if left:
            await asyncio.wait((over,), timeout=timeout)
        for each in list(left):
            each.cancel()


def outcome(made: "Stepped[T] | asyncio.Task[T]") -> T | None:
    """What came of it, once it is done; None where it was cancelled or failed, which is logged."""
    if isinstance(made, Stepped) and made.error is None:
        return made.value
    if made.cancelled():
        return None
    error = made.exception()
    if error is not None:
        log.error("a query could not be answered", exc_info=error)
        return None
    return made.result()


class Stepped(Generic[T]):
    """A coroutine that is stepped by hand until it ends or becomes a Task. Its callbacks are called as soon as it is done.

    `among`: those that wait, among which it then is no more. Whoever keeps this as the current Task gets to the Task through it.
    """

    __slots__ = (
        "__weakref__", "_among", "_callbacks", "_cancels", "_context", "_coro", "_loop", "_task", "_waits_for", "error", "over",
        "value",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], among: "dict[Stepped[Any], float]") -> None:
        self._loop, self._coro, self._among = loop, coro, among
        self._context = contextvars.copy_context()
        self._callbacks: list[Callable[[Stepped[T]], None]] = []
        self._waits_for: Prompt[Any] | None = None
        self._task: asyncio.Task[T] | None = None
        self._cancels = 0
        self.over = False  # then it has a value or an error
        self.value: T | None = None
        self.error: BaseException | None = None

    def step(self) -> None:
        """Go on until the coroutine waits or ends."""
        if self._task is not None:  # which goes on by itself
            return
        loop = self._loop
        try:
            _enter_task(loop, self)  # type: ignore[arg-type]
        except RuntimeError:  # in the middle of a Task's step
            loop.call_soon(self.step)
            return
        self._waits_for = None
        try:
            waits_for = self._context.run(self._coro.send, None)
        except StopIteration as end:
            self.over, self.value = True, end.value
        except (Exception, asyncio.CancelledError) as error:
            self.over, self.error = True, error
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]
        if self.over:
            self._tell()
        elif isinstance(waits_for, Prompt) and waits_for.go_on is None and not self._cancels:
            waits_for._asyncio_future_blocking = False  # taken, as a Task would say
            self._waits_for, waits_for.go_on = waits_for, self.step
        else:
            self._hand_over(waits_for)

    def _hand_over(self, waits_for: Any) -> None:
        """It waits for what is no reply of an upstream, or is cancelled: from here on it is a Task."""
        task = self._task = self._loop.create_task(_Rest(self._coro, waits_for), context=self._context)
        for _ in range(self._cancels):
            task.cancel()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.error = asyncio.CancelledError()
        elif (error := task.exception()) is not None:
            self.error = error
        else:
            self.value = task.result()
        self.over = True
        self._tell()

    def _tell(self) -> None:
        self._among.pop(self, None)
        for callback in self._callbacks:
            callback(self)
        self._callbacks.clear()

    def add_done_callback(self, callback: "Callable[[Stepped[T]], None]") -> None:
        """Call it when this is done: at that moment, or where that has passed in the next turn of the loop."""
        if self.over:
            self._loop.call_soon(callback, self)
        else:
            self._callbacks.append(callback)

    def cancel(self, msg: Any = None) -> bool:
        waits_for, self._waits_for = self._waits_for, None
        if waits_for is not None:
            waits_for.go_on, waits_for._asyncio_future_blocking = None, True
            self._hand_over(waits_for)
        if self._task is not None:
            return self._task.cancel(msg)
        self._cancels += 1
        return True

    def cancelling(self) -> int:
        return self._cancels if self._task is None else self._task.cancelling()

    def uncancel(self) -> int:
        if self._task is not None:
            return self._task.uncancel()
        self._cancels = max(0, self._cancels - 1)
        return self._cancels

    def done(self) -> bool:
        return self.over

    def cancelled(self) -> bool:
        return isinstance(self.error, asyncio.CancelledError)

    def exception(self) -> BaseException | None:
        """What it raised, once it is done."""
        return self.error

    def result(self) -> T:
        """What it came to, once it is done."""
        if self.error is not None:
            raise self.error
        result: T = self.value  # type: ignore[assignment]
        return result

    def get_name(self) -> str:
        return "a query" if self._task is None else self._task.get_name()


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
