"""The reflector: lists and watches one resource of an API server, and keeps the store at what it says.

    list ── streamed: a watch that sends what there is first, ended by a bookmark
     │  └── else in pages, where the server refuses that
     ▼
    watch ── from the list's version on; after its end from the last version seen
     └── 410, or versions that go back ──► list again, and apply the difference

Of a list only the keys remain, until what was not in it is removed. Every end is followed by a pause that grows with each
one, so that no server and no log is flooded; until it is over, and for as long as it takes, the store stays as it is.

No sockets here: `Ask` opens a request, and says a failure as a SourceError.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from kdns.cluster.apiserver import events
from kdns.cluster.apiserver.events import INITIAL_END, Lines, refused, Status, UNDECODABLE
from kdns.cluster.apiserver.intake import Intake
from kdns.cluster.apiserver.pages import Chunks, pages
from kdns.cluster.apiserver.resources import Resource
from kdns.cluster.objects import Metadata
from kdns.cluster.store import Store
from kdns.errors import Refused, SourceError

log = logging.getLogger(__name__)

Ask = Callable[[str, list[tuple[str, str]]], Chunks]
"""Opens a GET of a path with a query; its chunks as they come. Refused where the answer is not 200."""

T = TypeVar("T")
TYPES = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
HELD = 0.001  # seconds for which the loop is held at most, but for a single object


class _Relist(Exception):
    """What was followed cannot be followed any more: why."""


class _NotStreamed(Exception):
    """The server does not send a list as a stream."""


@dataclass(frozen=True)
class Timing:
    """All in seconds."""

    settle: float = 2.0  # a stream that lived so long was worth its request
    silence: float = 10.0  # in a streamed list; longer, and the server does not know of such
    first: float = 0.2  # the first pause; each is twice the one before
    unreachable: float = 3.0  # the longest pause while nobody answers: knocking costs nobody anything
    refused: float = 30.0  # the longest while somebody answers
    retry_after: float = 60.0  # the longest that a server may ask for
    lasts: float = 300.0  # of a watch, and up to twice that: so that many do not end together


TIMING = Timing()


class Pauses:
    """How long to wait after a failure: twice as long as after the one before of its cause, with jitter."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._times: Counter[str] = Counter()

    def reset(self) -> None:
        self._times.clear()

    def next(self, cause: str, retry_after: float = 0.0) -> float:
        """Seconds; at least what the server asked for, within reason."""
        t = self._timing
        longest = t.unreachable if cause == "unreachable" else t.refused
        pause = min(longest, t.first * 2.0 ** min(self._times[cause], 20)) * random.uniform(0.5, 1.0)
        self._times[cause] += 1
        return max(pause, min(retry_after, t.retry_after))


class Reflector:
    """Follows one resource; `resources` are what to ask for, the next where a server does not have the one before.

    `report` is called when `listed` or `trouble` has changed, `changed` with each object that a watch has changed DNS by,
    `met` with every object before it is put into the store.
    """

    def __init__(
        self, resources: tuple[Resource, ...], ask: Ask, store: Store, report: Callable[[], None],
        changed: Callable[[Any], None], timing: Timing = TIMING, met: Callable[[Any], None] = lambda o: None,
    ) -> None:  # fmt: skip
        self.name = resources[0].name
        self.listed = False  # was there ever a whole list?
        self.trouble = ""  # why nothing is heard just now
        self.brief = ""  # the same for DNS clients
        self.heard = time.monotonic()  # when the last byte came
        self.events: Counter[str] = Counter()  # by type
        self.relists: Counter[str] = Counter()  # by reason
        self.reconnects = 0
        self._resources, self._ask, self._store = resources, ask, store
        self._report, self._timing = report, timing
        self._pauses = Pauses(timing)
        self._version = ""  # of the last that was seen; "": a list is due
        self._intake = Intake(store, changed, met)
        self._streams = True
        self._settled = False
        self._settling: asyncio.TimerHandle
        self._in_vain = 0  # streams in a row that ended too soon
        self._use(resources[0])

    def _use(self, resource: Resource) -> None:
        self._resource = resource
        self._intake.use(resource)

    @property
    def malformed(self) -> int:
        """How many objects could not be understood."""
        return self._intake.malformed

    async def run(self) -> None:
        """Until cancelled. The one place where an error ends."""
        while True:
            self._settled = False
            cause = "ended"
            error: SourceError | None = None
            try:
                await (self._stream() if self._version else self._list())
            except _Relist as again:
                cause = "relist"
                self._version = ""
                self.relists[str(again)] += 1
            except Refused as refusal:
                cause, error = "refused", refusal
                if self._resource.optional and refusal.code == 404:
                    await self._do_without()
                    cause, error = "absent", None
                self.listed |= self._resource.optional and refusal.code == 403
            except SourceError as failure:
                cause, error = "unreachable", failure
            except Exception as bug:
                log.exception("%s: an error of kdns's own; the watch begins anew", self.name)
                cause, error = "refused", SourceError(f"{type(bug).__name__}: {bug}")
            await self._pause(cause, error)

    async def _pause(self, cause: str, error: SourceError | None) -> None:
        self.reconnects += 1
        if self._settled:
            self._pauses.reset()
            self._in_vain = 0
            if cause == "ended":
                return  # in order: a server ends each watch some time
        else:
            self._in_vain += 1
        pause = self._pauses.next(cause, getattr(error, "retry_after", 0.0))
        if error is None and cause != "absent" and self._in_vain > 2:
            error = SourceError(f"{self._in_vain} times in a row the watch ended at once")
        if error is not None and not self._settled:
            self._tell(str(error), error.brief)
        await asyncio.sleep(pause)

    def _tell(self, trouble: str, brief: str = "") -> None:
        if trouble != self.trouble:
            self.trouble, self.brief = trouble, brief
            self._report()

    def _settle(self) -> None:
        """The stream has lived for a while; a list must have come to its end as well."""
        if self._intake.listing:
            self._settling = asyncio.get_running_loop().call_later(self._timing.settle, self._settle)
            return
        self._settled = True
        self._tell("")

    # ------------------------------------------------------------ list

    async def _list(self) -> None:
        """All there is, and then the watch."""
        for resource in self._resources:
            self._use(resource)
            try:
                return await self._list_streamed()
            except Refused as refusal:
                if refusal.code == 410:
                    raise _Relist("expired") from None
                if refusal.code != 404 or resource is self._resources[-1]:
                    raise

    async def _list_streamed(self) -> None:
        self._intake.listing, self._intake.seen = True, set()
        if self._streams:
            try:
                return await self._stream()
            except _NotStreamed:
                self._streams = False
            except Refused as refusal:
                # Whoever may not watch may perhaps list, and says so in the words that people look for.
                if not self._intake.listing or refusal.code not in (400, 403, 422):
                    raise
                self._streams = refusal.code == 403
        self._intake.seen = set()
        await self._complete(await self._pages())
        await self._stream()

    async def _pages(self) -> str:
        """A list page by page; its version."""
        version = ""
        async for page in pages(self._resource.api, self._opened, self._hear):
            await self._each(page.items or (), self._intake.item)
            version = page.metadata.resourceVersion
        return version

    def _opened(self, query: list[tuple[str, str]]) -> Chunks:
        return self._ask(self._resource.path, query + self._selectors())

    def _hear(self) -> None:
        self.heard = time.monotonic()

    async def _complete(self, version: str) -> None:
        """The list has ended: what it had not is gone."""
        await self._store.remove_all(self._resource.kind, self._intake.unseen())
        self._intake.listing, self._intake.seen = False, set()
        self._version = version
        self.listed, self.trouble, self.brief = True, "", ""
        self._report()

    async def _do_without(self) -> None:
        """The server does not have an optional resource: there is nothing of it, until it has."""
        self._hear()
        if not self.listed:
            log.warning("kubernetes: the API server has no %s: nothing asks for names by them until it has", self.name)
        self._intake.seen = set()
        await self._complete("")

    # ------------------------------------------------------------ watch

    async def _stream(self) -> None:
        """A watch, from the last version, or with all there is first, to its end."""
        listing, loop = self._intake.listing, asyncio.get_running_loop()
        lasts = round(self._timing.lasts * random.uniform(1, 2))
        query = [("watch", "1"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(lasts))]
        if listing:
            query += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), ("resourceVersion", "")]
        else:
            query.append(("resourceVersion", self._version))
        try:
            async with self._opened(query) as chunks:
                self._settling = loop.call_later(self._timing.settle, self._settle)
                try:
                    await self._follow(chunks)
                finally:
                    self._settling.cancel()
        except Refused as refusal:
            if refusal.code == 410:
                raise _Relist("expired") from None
            raise
        if self._intake.listing:
            raise SourceError("the stream ended in the middle of the list")

    async def _follow(self, chunks: AsyncIterator[bytes]) -> None:
        lines, loop = Lines(), asyncio.get_running_loop()
        self._hear()
        try:
            async with asyncio.timeout(self._timing.silence if self._intake.listing else None) as silence:
                async for chunk in chunks:
                    self._hear()
                    await self._each(lines.feed(chunk), self._event)
                    silence.reschedule(loop.time() + self._timing.silence if self._intake.listing else None)
        except TimeoutError:
            if silence.expired():
                raise _NotStreamed from None
            raise

    async def _each(self, sent: Iterable[T], take: Callable[[T], str | None]) -> None:
        """Take all that was sent in steps, between which the loop has its turn."""
        left, more = iter(sent), True
        while more:
            with self._store.together():
                listed, more = _step(left, take)
            if listed:
                await self._complete(listed)
            elif more:
                await asyncio.sleep(0)

    def _event(self, line: bytes) -> str:
        """One event; the version of the list that it ends, else ""."""
        event = self._intake.understood(line)
        if event is None:
            return ""
        metadata = event.object.metadata
        self.events[event.type if event.type in TYPES else "other"] += 1
        match event.type:
            case "ERROR":
                raise self._said(line)
            case "BOOKMARK":
                if self._intake.listing and INITIAL_END in (metadata.annotations or {}):
                    return self._end_of_list(line, metadata)
            case "ADDED" | "MODIFIED":
                self._intake.apply(event.object)
            case "DELETED":
                self._intake.remove(metadata)
        if not self._intake.listing:
            self._advance(metadata.resourceVersion)
        return ""

    def _end_of_list(self, line: bytes, metadata: Metadata) -> str:
        """The version of a list that a bookmark ends; Refused where it is one of something else."""
        try:
            kind = events.bookmark.decode(line).object.kind
        except UNDECODABLE:
            kind = ""
        if kind != self._resource.api or not metadata.resourceVersion:
            raise Refused(200, f"not a list of {self._resource.api}, but of {kind[:100] or 'something without a kind'}")
        return metadata.resourceVersion

    def _advance(self, version: str) -> None:
        """On to a version; they only grow, unless the server's past is not the one it had."""
        if version.isdecimal() and self._version.isdecimal() and int(version) < int(self._version):
            raise _Relist("order")
        self._version = version or self._version

    def _said(self, line: bytes) -> Exception:
        """What an ERROR event stands for."""
        try:
            status = events.error.decode(line).object
        except UNDECODABLE:
            status = Status()
        if status.code == 410:
            return _Relist("expired")
        return refused(status.code, status)

    def _selectors(self) -> list[tuple[str, str]]:
        given = (("labelSelector", self._resource.labels), ("fieldSelector", self._resource.fields))
        return [(name, value) for name, value in given if value]


def _step(left: Iterator[T], take: Callable[[T], str | None]) -> tuple[str | None, bool]:
    """Take some of what is left, as long as the loop may be held: (the version of a list that ended, may there be more)."""
    until = time.perf_counter() + HELD
    for one in left:
        listed = take(one)
        if listed or time.perf_counter() > until:
            return listed, True
    return None, False
