"""The reflector: lists and watches one resource of an API server, and keeps the store at what it says.

    list ── streamed: a watch that sends what there is first, ended by a bookmark
     │  └── else in pages, where the server refuses that
     ▼
    watch ── from the list's version on; after its end from the last version seen
     └── 410, or versions that go back ──► list again, and apply the difference

An object is decoded, put into the store and forgotten before the next one; of a list only the keys remain, until what was
not in it is removed. Every end is followed by a pause that grows with each one, so that no server and no log is flooded;
until it is over, and for as long as it takes, the store stays as it is.

No sockets here: `Ask` opens a request, and says a failure as a SourceError.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from kdns.cluster.apiserver import events
from kdns.cluster.apiserver.events import Bare, Event, INITIAL_END, Lines, refused, Status, UNDECODABLE
from kdns.cluster.apiserver.resources import Resource
from kdns.cluster.objects import Metadata, Namespace, Pod, Service, Slice
from kdns.cluster.store import Store
from kdns.errors import Refused, SourceError

log = logging.getLogger(__name__)

Ask = Callable[[str, list[tuple[str, str]]], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Opens a GET of a path with a query; its chunks as they come. Refused where the answer is not 200."""

TYPES = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
HELD = 0.001  # seconds for which the loop is held at most, but for a single object
PAGE = 500  # objects of a page of a list
PAGE_SIZE = 4 << 20  # octets that a page should have: decoding it holds the loop


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
        self.heard = time.monotonic()  # when the last byte came
        self.events: Counter[str] = Counter()  # by type
        self.relists: Counter[str] = Counter()  # by reason
        self.reconnects = 0
        self.malformed = 0
        self._resources, self._ask, self._store = resources, ask, store
        self._report, self._changed, self._met, self._timing = report, changed, met, timing
        self._pauses = Pauses(timing)
        self._version = ""  # of the last that was seen; "": a list is due
        self._listing = False
        self._seen: set[str] = set()  # keys, while listing
        self._streams = True
        self._settled = False
        self._settling: asyncio.TimerHandle
        self._in_vain = 0  # streams in a row that ended too soon
        self._complained: set[str] = set()  # objects whose fault is in the log
        self._use(resources[0])

    def _use(self, resource: Resource) -> None:
        self._resource = resource
        store = self._store
        tables: dict[Any, Any] = {
            Service: store.services, Slice: store.slices, Namespace: store.namespaces, Pod: store.pods
        }  # fmt: skip
        self._table: dict[str, Any] = tables[resource.kind]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Event[resource.struct])  # type: ignore[name-defined]
        self._item_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(resource.struct)

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
        if error is None and self._in_vain > 2:
            error = SourceError(f"{self._in_vain} times in a row the watch ended at once")
        if error is not None and not self._settled:
            self._tell(str(error))
        await asyncio.sleep(pause)

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._report()

    def _settle(self) -> None:
        """The stream has lived for a while; a list must have come to its end as well."""
        if self._listing:
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
        self._listing, self._seen = True, set()
        if self._streams:
            try:
                return await self._stream()
            except _NotStreamed:
                self._streams = False
            except Refused as refusal:
                # Whoever may not watch may perhaps list, and says so in the words that people look for.
                if not self._listing or refusal.code not in (400, 403, 422):
                    raise
                self._streams = refusal.code == 403
        self._seen = set()
        await self._complete(await self._pages())
        await self._stream()

    async def _pages(self) -> str:
        """A list page by page; its version."""
        limit, token = PAGE, ""
        while True:
            body = await self._body([("limit", str(limit)), *([("continue", token)] if token else [])])
            try:
                page = events.page.decode(body)
            except UNDECODABLE as error:
                raise SourceError(f"not the answer of an API server: {error}") from None
            until = time.perf_counter() + HELD
            for raw in page.items or ():
                self._item(raw)
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + HELD
            token = page.metadata.continue_ or ""
            if not token:
                return page.metadata.resourceVersion
            limit = max(10, min(PAGE, limit * PAGE_SIZE // len(body)))

    async def _body(self, query: list[tuple[str, str]]) -> bytearray:
        body = bytearray()
        async with self._ask(self._resource.path, query + self._selectors()) as chunks:
            async for chunk in chunks:
                self.heard = time.monotonic()
                body += chunk
        return body

    async def _complete(self, version: str) -> None:
        """The list has ended: what it had not is gone."""
        for gone in [key for key in self._table if key not in self._seen]:
            self._store.remove(self._resource.kind, gone)
            await asyncio.sleep(0)
        self._listing, self._seen = False, set()
        self._version = version
        self.listed, self.trouble = True, ""
        self._report()

    def forget_unseen(self) -> None:
        """What the store had before is not of this cluster: keep only what has been listed."""
        if not self.listed:
            for key in [key for key in self._table if key not in self._seen]:
                self._store.remove(self._resource.kind, key)

    # ------------------------------------------------------------ watch

    async def _stream(self) -> None:
        """A watch, from the last version, or with all there is first, to its end."""
        listing, loop = self._listing, asyncio.get_running_loop()
        lasts = round(self._timing.lasts * random.uniform(1, 2))
        query = [("watch", "1"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(lasts))]
        if listing:
            query += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), ("resourceVersion", "")]
        else:
            query.append(("resourceVersion", self._version))
        try:
            async with self._ask(self._resource.path, query + self._selectors()) as chunks:
                self._settling = loop.call_later(self._timing.settle, self._settle)
                try:
                    await self._follow(chunks)
                finally:
                    self._settling.cancel()
        except Refused as refusal:
            if refusal.code == 410:
                raise _Relist("expired") from None
            raise
        if self._listing:
            raise SourceError("the stream ended in the middle of the list")

    async def _follow(self, chunks: AsyncIterator[bytes]) -> None:
        lines, loop = Lines(), asyncio.get_running_loop()
        self.heard = time.monotonic()
        try:
            async with asyncio.timeout(self._timing.silence if self._listing else None) as silence:
                async for chunk in chunks:
                    self.heard = time.monotonic()
                    await self._take(lines.feed(chunk))
                    silence.reschedule(loop.time() + self._timing.silence if self._listing else None)
        except TimeoutError:
            if silence.expired():
                raise _NotStreamed from None
            raise

    async def _take(self, lines: Iterable[bytes]) -> None:
        until = time.perf_counter() + HELD
        for line in lines:
            listed = self._event(line)
            if listed:
                await self._complete(listed)
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + HELD

    def _event(self, line: bytes) -> str:
        """One event; the version of the list that it ends, else ""."""
        try:
            event = self._decoder.decode(line)
        except UNDECODABLE as error:
            event = self._half_understood(line, error)
            if event is None:
                return ""
        metadata = event.object.metadata
        self.events[event.type if event.type in TYPES else "other"] += 1
        match event.type:
            case "ERROR":
                raise self._said(line)
            case "BOOKMARK":
                if self._listing and INITIAL_END in (metadata.annotations or {}):
                    return str(metadata.resourceVersion)
            case "ADDED" | "MODIFIED":
                self._apply(event.object)
            case "DELETED":
                self._remove(metadata)
        if not self._listing:
            self._advance(metadata.resourceVersion)
        return ""

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

    # ------------------------------------------------------------ objects

    def _item(self, raw: Raw) -> None:
        try:
            o = self._item_decoder.decode(raw)
        except UNDECODABLE as error:
            try:
                o = events.bare_item.decode(raw)
            except UNDECODABLE:
                o = Bare()
            self._skip(o.metadata, error)
            return
        self._apply(o)

    def _apply(self, o: Any) -> None:
        if type(o) is Bare:
            return
        self._met(o)
        if not self._resource.wants(o.metadata):
            return
        try:
            new = {table_key(one): one for one in self._resource.compact(o)}
        except ValueError as error:
            self._skip(o.metadata, error)
            return
        gone = [key for key in self._resource.keys(self._store, o.metadata) if key not in new]
        changes = not self._listing and any(self._table.get(key) != one for key, one in new.items())
        if new:
            self._store.put(*new.values())
            if self._listing:
                self._seen.update(new)
        for key in gone:
            self._store.remove(self._resource.kind, key)
        if changes:
            self._changed(o)

    def _remove(self, metadata: Metadata) -> None:
        for key in self._resource.keys(self._store, metadata):
            self._seen.discard(key)
            self._store.remove(self._resource.kind, key)

    def _half_understood(self, line: bytes, error: Exception) -> Event[Bare] | None:
        """A malformed event as far as it can be followed: a deletion can, a bookmark, and the version of the rest."""
        try:
            event = events.bare.decode(line)
        except UNDECODABLE:
            event = None
        if event is None or event.type in ("ADDED", "MODIFIED"):
            self._skip(event.object.metadata if event else Metadata(), error)
        return event

    def _skip(self, metadata: Metadata, error: Exception) -> None:
        """An object that cannot be understood: what was known of it stays."""
        self.malformed += 1
        if self._listing:
            self._seen.update(self._resource.keys(self._store, metadata))
        name = "/".join(filter(None, (metadata.namespace, metadata.name))) or "one without a name"
        if name not in self._complained and len(self._complained) < 1000:
            self._complained.add(name)
            log.warning("%s: %s is left out: %s", self._resource.name, name, error)

    def _selectors(self) -> list[tuple[str, str]]:
        given = (("labelSelector", self._resource.labels), ("fieldSelector", self._resource.fields))
        return [(name, value) for name, value in given if value]


def table_key(o: Any) -> str:
    key: str = o.name if isinstance(o, Namespace) else o.key
    return key
