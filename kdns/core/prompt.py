"""A Future that lets whoever waits for it go on at once.

One of asyncio's lets those who wait go on in another turn of the event loop; a query that waits for an upstream would pay for
these turns more than for anything else. Whoever steps a coroutine by hand, and sees it wait for one of these, says how it
goes on (`go_on`); all others wait as for any Future.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_set_result = asyncio.Future.set_result


class Prompt(asyncio.Future[T]):
    """`go_on` is called once it has a result, an error in the next turn of the loop: many may fail at one stroke."""

    go_on: Callable[[], None] | None = None

    def set_result(self, result: T, /) -> None:
        _set_result(self, result)
        if self.go_on is not None:
            self.go_on()

    def set_exception(self, exception: type | BaseException, /) -> None:
        super().set_exception(exception)
        if self.go_on is not None:
            self.get_loop().call_soon(self.go_on)

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled and self.go_on is not None:
            self.get_loop().call_soon(self.go_on)
        return cancelled
