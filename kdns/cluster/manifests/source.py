"""Manifest files -> store, again when they change.

`Manifests` loads once, then watches. What is large is loaded in a process of its own: YAML and JSON are parsed with the
interpreter's lock held, which would stop answers for as long, and the memory that it takes goes with the process.

A change that is wrong is never taken: what was good before is served on, and `problem` says why.
"""

import asyncio
import io
import logging
import os
import pickle
import stat
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress

from kdns.cluster.manifests.controllers import DEFAULT_RANGES, Ranges
from kdns.cluster.manifests.documents import files, STDIN
from kdns.cluster.manifests.loading import EVERYTHING, load
from kdns.cluster.objects import Selection, Stored
from kdns.cluster.store import Store
from kdns.core.metrics import Gauge, Histogram, Metric
from kdns.errors import ManifestError

log = logging.getLogger(__name__)

POLL = 0.25  # seconds between looks at the files
SETTLE = 0.1  # seconds for which a changed file must stay as it is before it is read
APART_FROM = 64 * 1024  # octets of manifests from which they are loaded in a process of their own
_PROGRAM = "kdns.cluster.manifests.loading"


# ---------------------------------------------------------------- files -> store


Look = tuple[tuple[str, int, int, int] | tuple[str, str], ...]  # of each file: path, mtime (ns), size, inode; or why not


class Manifests:
    """A source of cluster objects: files, directories, "-" for standard input.

    Standard input and pipes are read once, to their end, and kept in a temporary file.
    """

    def __init__(
        self,
        paths: Sequence[str],
        store: Store,
        selection: Selection = EVERYTHING,
        ranges: Ranges = DEFAULT_RANGES,
    ) -> None:
        self.problem: str | None = None  # why the last change was not taken
        self._paths = tuple(paths)
        self.store, self._selection, self._ranges = store, selection, ranges
        self._refused = Gauge("kdns_manifests_refused", "1 while the last change of the manifests is wrong and not taken.")
        self._has_any = False  # objects, in what is served
        self._judged: Look = ()  # the files as they were when they were last taken or refused
        self._spools: dict[str, str] = {}  # files with what came by a pipe, by its path
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load, then watch; ManifestError where the manifests are wrong, for nothing was good before."""
        for path in self._paths:
            if path == STDIN or stat.S_ISFIFO(_mode(path)):
                self._spools[path] = await _spooled(path)
        look = await asyncio.to_thread(self._look)
        loaded = await self._load(look)
        self._judged = look
        await self._take(loaded)
        self._watching = asyncio.create_task(self._watch(), name="manifests")

    def why_not(self) -> str | None:
        """Why what is served is not what the files say, or None."""
        return self.problem

    def metrics(self) -> list[Metric | Histogram]:
        """Whether the last change was refused."""
        self._refused.set(1 if self.problem else 0)
        return [self._refused]

    async def close(self) -> None:
        """Watch no more; the store stays as it is."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        for spool in self._spools.values():
            with suppress(OSError):
                os.unlink(spool)

    async def _take(self, loaded: list[Stored]) -> None:
        await self.store.replace(loaded)
        self.store.synced = True
        self._has_any = bool(loaded)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            look = await asyncio.to_thread(self._look)
            if look == self._judged:
                continue
            await asyncio.sleep(SETTLE)
            if look == await asyncio.to_thread(self._look):
                await self._reload(look)

    async def _reload(self, look: Look) -> None:
        """Take the files as they are, or say why not; neither, where they change while they are read."""
        problem = None
        loaded: list[Stored] = []
        try:
            loaded = await self._load(look)
            if self._has_any and not loaded:
                problem = f"{', '.join(self._paths)}: nothing is left in the manifests"
        except ManifestError as error:
            problem = str(error)
        except Exception as error:  # whatever it is, the watch goes on
            problem = f"{', '.join(self._paths)}: {type(error).__name__}: {error}"
        if look != await asyncio.to_thread(self._look):
            return
        self._judged, self.problem = look, problem
        if problem is None:
            await self._take(loaded)
            log.info("manifests changed and were read again: %s", ", ".join(self._paths))
        else:
            log.error("%s (still serving what was good before)", problem)

    async def _load(self, look: Look) -> list[Stored]:
        paths = self._real_paths()
        try:
            if sum(size for _, _, size, _ in (one for one in look if len(one) == 4)) >= APART_FROM:
                return await _load_apart(paths, self._selection, self._ranges)
            return await asyncio.to_thread(load, paths, self._selection, self._ranges)
        except ManifestError as error:
            text = str(error)
            for path, spool in self._spools.items():
                text = text.replace(spool, "standard input" if path == STDIN else path)
            raise ManifestError(text) from None

    def _real_paths(self) -> list[str]:
        return [self._spools.get(path, path) for path in self._paths]

    def _look(self) -> Look:
        out: list[tuple[str, int, int, int] | tuple[str, str]] = []
        for path in self._real_paths():
            try:
                for file in files([path]):
                    at = os.stat(file)
                    out.append((file, at.st_mtime_ns, at.st_size, at.st_ino))
            except (OSError, ManifestError) as error:
                out.append((path, str(error)))
        return tuple(out)


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0  # what is wrong with it is said when it is read


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
            while octets := os.read(source, 1 << 20):
                spool.write(octets)
        return spool.name
    finally:
        os.close(source)


# ---------------------------------------------------------------- a process of its own


async def _load_apart(paths: Sequence[str], selection: Selection, of: Ranges) -> list[Stored]:
    request = pickle.dumps((list(paths), selection, [str(network) for network in of]))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        _PROGRAM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us alone
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        reply, _ = await process.communicate(request)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ManifestError(f"{', '.join(paths)}: the process that reads them ended with status {process.returncode}")
    return await _unpickled(reply)


async def _unpickled(reply: bytes) -> list[Stored]:
    """What the process wrote, a batch at a time: the loop has its turn between them."""
    stream = io.BytesIO(reply)
    unpickler = pickle.Unpickler(stream)
    loaded: list[Stored] = []
    while stream.tell() < len(reply):
        batch: list[Stored] | str = unpickler.load()
        if isinstance(batch, str):
            raise ManifestError(batch)
        loaded += batch
        await asyncio.sleep(0)
    return loaded
