"""Questions under way for *cache*: which of them are equal, and those that it asks by itself, in the background.

Each of these is under way at most once, and not too many are.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from kdns.dns.query import Query, Transport
from kdns.dns.response import Answer, Response
from kdns.dns.types import RD, TC

MOST = 512  # each may hold some kilobytes

Asked = tuple[str, int]  # equal questions: the key, and RD


def asked_by(query: Query, key: str) -> Asked:
    return key, query.flags & RD


def is_cut_for_udp(query: Query, answer: Answer) -> bool:
    """Is an answer truncated, and whoever asks over TCP may have the whole?"""
    return query.transport is not Transport.UDP and isinstance(answer, Response) and bool(answer.flags & TC)


class Refresh(NamedTuple):
    task: asyncio.Task[Answer]
    began: float  # by the clock of the cache


class Refreshes:
    def __init__(self) -> None:
        self._under_way: dict[Asked, Refresh] = {}

    def find(self, asked: Asked) -> Refresh | None:
        return self._under_way.get(asked)

    def begin(self, asked: Asked, ask: Callable[[], Coroutine[Any, Any, Answer]], now: float) -> Refresh | None:
        """Ask in the background; None where too much is asked so already."""
        if len(self._under_way) >= MOST:
            return None
        refresh = self._under_way[asked] = Refresh(asyncio.get_running_loop().create_task(ask()), now)
        refresh.task.add_done_callback(lambda _: self._under_way.pop(asked, None))
        return refresh

    def close(self) -> None:
        for refresh in list(self._under_way.values()):
            refresh.task.cancel()
