"""What a query under way is told apart by where it is `kdns explain` that asks, and what is noted of it then.

It costs others a look into a context variable, and only where they fail or ask an upstream.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from kdns.dns.types import rcode_text


class Try(NamedTuple):
    """An upstream was asked, and said something (a code) or did not (why)."""

    upstream: str
    ms: float
    said: str


_tries: ContextVar[list[Try] | None] = ContextVar("tries", default=None)


def is_explained() -> bool:
    """Is the query under way one that is explained to a person?"""
    return _tries.get() is not None


def note(upstream: str, began: float, said: int | str) -> None:
    """An upstream, asked at a time of time.monotonic(), said a code, or failed; forgotten unless somebody takes notes."""
    tries = _tries.get()
    if tries is not None:
        if isinstance(said, int):
            said = rcode_text(said)
        tries.append(Try(upstream, round((time.monotonic() - began) * 1000, 3), said))


@contextmanager
def noted() -> Iterator[list[Try]]:
    """What is asked here is explained; the upstreams that are asked for it."""
    tries: list[Try] = []
    token = _tries.set(tries)
    try:
        yield tries
    finally:
        _tries.reset(token)
