"""What a person asks the page: how a name is answered, and which objects there are.

Few are answered at a time: who asks more is told to come again.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kdns.core.block import Block
from kdns.core.explanation import explain_at, listeners_of, question, texts
from kdns.core.plugin import Plugin
from kdns.dns import names

AT_ONCE = 4  # questions under way
PATIENCE = 15.0  # seconds that one may take, upstreams included
ROWS = 50  # objects of one list
LONGEST = 1100  # characters of a name: each of its octets as \DDD
RECORDS = 200  # that are shown of an object

Said = tuple[int, Any]


class Busy(Exception):
    """Too much is asked."""


class Questions:
    """Each takes what stands in a request after the `?`, and gives a status and plain values."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._under_way = 0

    async def explain(self, asked: Mapping[str, str]) -> Said:
        """How `name` is answered, of `type` (A), to `client` (127.0.0.1)."""
        try:
            name, type = _text(asked, "name"), _text(asked, "type") or "A"
            if not name:
                raise ValueError("which name?")
            query = question(name, type, _text(asked, "client") or "127.0.0.1")
            async with self._turn():
                return 200, await explain_at(listeners_of(self._block.all_blocks), query)
        except (ValueError, Busy, TimeoutError) as error:
            return _refused(error)

    async def objects(self, asked: Mapping[str, str]) -> Said:
        """A list of the objects whose names have `text` in them, from the one after `after` on, and whether there are more."""
        try:
            text, after = _text(asked, "text"), _text(asked, "after")
            async with self._turn():
                found = {row["name"]: row for plugin in self._plugins("find") for row in await plugin.find(text, after, ROWS + 1)}
        except (ValueError, Busy, TimeoutError) as error:
            return _refused(error)
        rows = [found[name] for name in sorted(found)]
        return 200, {"objects": rows[:ROWS], "more": len(rows) > ROWS}

    async def object(self, asked: Mapping[str, str]) -> Said:
        """What is known of the object behind `name`, and its records."""
        try:
            name = names.absolute(_text(asked, "name"))
            query = question(name, "A", "127.0.0.1")
            async with self._turn():
                accounts = [account for plugin in self._plugins("account") if (account := dict(await plugin.account(query)))]
        except (ValueError, Busy, TimeoutError) as error:
            return _refused(error)
        lines: list[str] = []
        for plugin in self._plugins("records"):
            for rrset in plugin.records(name):
                lines += texts(rrset)
                if len(lines) > RECORDS:
                    lines[RECORDS:] = ["… and more"]
                    break
        return 200, {"name": name, "objects": accounts, "records": lines}

    def _plugins(self, hook: str) -> list[Plugin]:
        return [plugin for block in self._block.all_blocks for _, plugin in block.plugins if plugin.overrides(hook)]

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._under_way >= AT_ONCE:
            raise Busy
        self._under_way += 1
        try:
            async with asyncio.timeout(PATIENCE):
                yield
        finally:
            self._under_way -= 1


def _text(asked: Mapping[str, str], word: str) -> str:
    text = asked.get(word, "").strip()
    if len(text) > LONGEST:
        raise ValueError(f"{word} is too long")
    return text


def _refused(error: Exception) -> Said:
    if isinstance(error, Busy):
        return 503, {"error": f"{AT_ONCE} questions are under way already: ask again in a moment"}
    if isinstance(error, TimeoutError):
        return 504, {"error": f"no answer within {PATIENCE:g} s"}
    return 400, {"error": str(error)}
