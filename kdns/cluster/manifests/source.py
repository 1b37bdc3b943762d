"""Manifest files -> store, again when they change.

`Manifests` loads once, then watches. What is large is loaded in a process of its own.

A change that is wrong is never taken: what was good before is served on, and `problem` says why. What is not the manifests'
fault, a process that was killed or a file that the system refuses, is tried again, with pauses that grow.
"""

import asyncio
import logging
import os
import stat
import tempfile
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from kdns.cluster.manifests.apart import load_apart, Lost
from kdns.cluster.manifests.controllers import DEFAULT_RANGES, Ranges
from kdns.cluster.manifests.documents import files, STDIN
from kdns.cluster.manifests.loading import EVERYTHING, load, Loaded, Options
from kdns.cluster.manifests.markup import MOST_OCTETS, size_of
from kdns.cluster.manifests.provenance import places, places_apart
from kdns.cluster.manifests.workloads import DEFAULT_POD_RANGES
from kdns.cluster.objects import Selection
from kdns.cluster.store import Store
from kdns.core.metrics import Metrics
from kdns.core.plugin import Kept
from kdns.errors import ManifestError, Unreadable

log = logging.getLogger(__name__)

POLL = 0.25  # seconds between looks at the files
SETTLE = 0.1  # seconds for which a changed file must stay as it is before it is read
APART_FROM = 64 * 1024  # octets of manifests from which they are loaded in a process of their own
FIRST, LONGEST = 1.0, 60.0  # seconds until what was lost is tried again; each pause is twice the one before
SOME = 5  # Services that are named where they are gone
TRIES = 2  # more, at start
SLOW = 1.0  # seconds after which a start says what it is doing


# ---------------------------------------------------------------- files -> store


Seen = tuple[str, int, int, int, int]  # path, mtime and ctime (ns), size, inode
Look = tuple[Seen | tuple[str, str], ...]  # of each file; or why not


class Manifests(Kept):
    """A source of cluster objects: files, directories, "-" for standard input.

    Standard input and pipes are read once, to their end, and kept in a temporary file.
    """

    def __init__(
        self,
        paths: Sequence[str],
        store: Store,
        selection: Selection = EVERYTHING,
        ranges: Ranges = DEFAULT_RANGES,
        pod_ips: Ranges = DEFAULT_POD_RANGES,
        lenient: bool = False,
        metrics: Metrics | None = None,
    ) -> None:
        self.problem: str | None = None  # why the last change was not taken
        self._paths = tuple(paths)
        self.store, self._options = store, Options(selection, ranges, pod_ips, lenient)
        metrics = Metrics() if metrics is None else metrics
        self._refused = metrics.gauge(
            "kdns_manifests_refused", "1 while the last change of the manifests is wrong and not taken."
        )
        self._lost = metrics.counter(
            "kdns_manifests_lost_total", "Times that manifests could not be read, whatever is in them."
        )
        self._pause = FIRST
        self._again: float | None = None  # when what was lost is tried again, in seconds of the loop
        self._hinted: tuple[str, ...] = ()
        self._has_any = False  # objects, in what is served
        self._judged: Look = ()  # the files as they were when they were last taken or refused
        self._spools: dict[str, str] = {}  # files with what came by a pipe, by its path
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load, then watch; ManifestError where the manifests are wrong, for nothing was good before."""
        for path in self._paths:
            if path == STDIN or stat.S_ISFIFO(_mode(path)):
                self._spools[path] = await _spooled(path)
                if not self._options.lenient and not _size(self._spools[path]):
                    raise ManifestError(f"{'standard input' if path == STDIN else path}: nothing came, it is empty")
        look = await asyncio.to_thread(self._look)
        slow = asyncio.get_running_loop().call_later(SLOW, log.info, "manifests: reading %.1f MiB", _octets(look) / (1 << 20))
        try:
            loaded = await self._begun(look)
        finally:
            slow.cancel()
        self._judged = look
        await self._take(loaded)
        self._watching = asyncio.create_task(self._watch(), name="manifests")

    async def _begun(self, look: Look) -> Loaded:
        """What a start loads. A loader that is lost is tried again, though not for long: nothing was good before."""
        failed = ""
        for pause in (FIRST * 2**i for i in range(TRIES)):
            try:
                return await self._load(look)
            except (Lost, Unreadable) as error:
                failed = self._told(error)
            self._lost.inc()
            log.warning("%s; tried again in %g s", failed, pause)
            await asyncio.sleep(pause)
        try:
            return await self._load(look)
        except Lost:
            raise ManifestError(failed) from None

    async def check(self) -> None:
        """ManifestError where they are wrong. What comes by a pipe is left alone: it can be read only once."""
        paths = [path for path in self._paths if path != STDIN and not stat.S_ISFIFO(_mode(path))]
        if paths:
            await asyncio.to_thread(load, paths, self._options)

    def why_not(self) -> str | None:
        """Why what is served is not what the files say, or None."""
        return self.problem

    async def provenance(self, service: str, slices: Collection[str]) -> dict[tuple[str, str], dict[str, Any]]:
        """Where a Service and its slices stand, by kind and key; ManifestError where the files do not say (any more)."""
        kinds = {"Service": [service], "Endpoints": [service], "EndpointSlice": slices}
        wanted = [(kind, key) for kind, keys in kinds.items() for key in keys]
        paths = self._real_paths()
        look = await asyncio.to_thread(self._look)
        found = await (places_apart(paths, wanted) if _is_large(look) else asyncio.to_thread(places, paths, wanted))
        made = found.pop(("Endpoints", service), "")
        out = {of: {"at": self._named(place)} for of, place in found.items()}
        by = f"Endpoints at {self._named(made)}" if made else "the Pods that the selector matches"
        return {("EndpointSlice", key): {"made of": by} for key in slices} | out

    async def close(self) -> None:
        """Watch no more; the store stays as it is."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        for spool in self._spools.values():
            with suppress(OSError):
                os.unlink(spool)

    async def _take(self, loaded: Loaded, again: str = "") -> None:
        """Serve what was loaded, and say what it is; `again` is what to say before."""
        before = set(self.store.services)
        await self.store.replace(loaded.objects)
        self.store.synced = True
        self._has_any = bool(loaded.objects)
        gone = sorted(before - set(self.store.services))
        rest = f" and {len(gone) - SOME} more" if len(gone) > SOME else ""
        told = f"; gone since before: {', '.join(gone[:SOME])}{rest}" if gone else ""
        log.info("manifests%s: %s%s", again, loaded.census, told)
        for hint in loaded.hints:
            if hint not in self._hinted:
                log.warning("%s", hint)
        self._hinted = loaded.hints

    async def read_again(self) -> None:
        """Serve the files as they are now, and not only when their change is seen; ManifestError where they are wrong."""
        look = await asyncio.to_thread(self._look)
        loaded = await self._load(look)
        self._judge(look, None)
        await self._take(loaded, " have changed")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            look = self._judged
            try:
                look = await asyncio.to_thread(self._look)
                if look == self._judged and (self._again is None or asyncio.get_running_loop().time() < self._again):
                    continue
                await asyncio.sleep(SETTLE)
                if look == await asyncio.to_thread(self._look):
                    await self._reload(look)
            except Exception as error:  # whatever it is, the watch goes on
                self._lose(error, look)

    async def _reload(self, look: Look) -> None:
        """Take the files as they are, or say why not; neither, where they change while they are read."""
        problem = None
        loaded = Loaded([])
        try:
            loaded = await self._load(look)
            if self._has_any and not loaded.objects:
                problem = f"{', '.join(self._paths)}: nothing is left in the manifests"
        except ManifestError as error:
            if isinstance(error, Unreadable):
                raise
            problem = str(error)
        if look != await asyncio.to_thread(self._look):
            return
        again = " are right again" if self.problem else " have changed"
        self._judge(look, problem)
        if problem is None:
            await self._take(loaded, again)
        else:
            log.error("%s (still serving what was good before)", problem)

    def _judge(self, look: Look, problem: str | None) -> None:
        """The files as they are now have been read, and this is wrong with them, or nothing."""
        self._judged, self.problem = look, problem
        self._pause, self._again = FIRST, None
        self._refused.set(problem is not None)

    def _lose(self, error: Exception, look: Look) -> None:
        """The files could not be read as they are: that says nothing about them."""
        known = look == self._judged and self._again is not None and asyncio.get_running_loop().time() < self._again
        self._judged = look
        if known:
            return
        self.problem = self._told(error)
        self._refused.set(0)
        log.error("%s (still serving what was good before, tried again in %g s)", self.problem, self._pause)
        self._lost.inc()
        self._again = asyncio.get_running_loop().time() + self._pause
        self._pause = min(LONGEST, 2 * self._pause)

    def _told(self, error: Exception) -> str:
        if isinstance(error, ManifestError):
            return str(error)
        how = str(error) if isinstance(error, Lost) else f"failed: {type(error).__name__}: {error}"
        return f"{', '.join(self._paths)}: the process that reads them {how}"

    async def _load(self, look: Look) -> Loaded:
        paths = self._real_paths()
        try:
            if _is_large(look):
                return await load_apart(paths, self._options)
            return await asyncio.to_thread(load, paths, self._options)
        except ManifestError as error:
            raise type(error)(self._named(str(error))) from None

    def _named(self, text: str) -> str:
        """A text with what came by a pipe called so."""
        for path, spool in self._spools.items():
            text = text.replace(spool, "standard input" if path == STDIN else path)
        return text

    def _real_paths(self) -> list[str]:
        return [self._spools.get(path, path) for path in self._paths]

    def _look(self) -> Look:
        """The files as they are now; ManifestError is a part of it, Unreadable is raised."""
        out: list[Seen | tuple[str, str]] = []
        for path in self._real_paths():
            try:
                for file in files([path]):
                    at = os.stat(file)
                    out.append((file, at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino))
            except Unreadable:
                raise
            except (OSError, ManifestError) as error:
                out.append((path, str(error)))
        return tuple(out)


def _is_large(look: Look) -> bool:
    """Are the files large enough for a process of its own?"""
    return _octets(look) >= APART_FROM


def _octets(look: Look) -> int:
    return sum(one[3] for one in look if len(one) == 5)


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0  # what is wrong with it is said when it is read


def _size(path: str) -> int:
    return os.stat(path).st_size


async def _spooled(path: str) -> str:
    """All that a pipe or standard input says, as a temporary file.

    A thread that nobody waits for reads it: it may be a terminal where nobody types.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str] = loop.create_future()

    def copy() -> None:
        try:
            outcome: str | OSError = _copied(path)
        except OSError as error:
            outcome = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, outcome)

    def finish(outcome: str | OSError) -> None:
        if done.cancelled():
            return
        if isinstance(outcome, str):
            done.set_result(outcome)
        else:
            done.set_exception(ManifestError(f"{path}: {outcome.strerror}"))

    threading.Thread(target=copy, name=f"manifests from {path}", daemon=True).start()
    return await done


def _copied(path: str) -> str:
    source = os.dup(0) if path == STDIN else os.open(path, os.O_RDONLY)
    try:
        with tempfile.NamedTemporaryFile(prefix="kdns-", delete=False) as spool:
            size = 0
            while size <= MOST_OCTETS and (octets := os.read(source, 1 << 20)):
                size += len(octets)
                spool.write(octets)
        if size > MOST_OCTETS:
            os.unlink(spool.name)
            raise OSError(0, f"too large: over {size_of(MOST_OCTETS)}")
        return spool.name
    finally:
        os.close(source)
