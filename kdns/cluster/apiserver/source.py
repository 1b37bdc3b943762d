"""Follow an API server: list and watch what DNS needs of it into a store, and outlive its absences.

`ApiServer` runs a reflector for each resource, decides when the store is synced, and says what is known, since when, and
what is missing. While the API server is away nothing is taken back; a snapshot, where there is one, serves a start
without it. It is imported only where an API server is used: with the packages that `client` needs it costs close to 40 MB.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, UTC
from typing import Any, TYPE_CHECKING

from kdns.cluster.apiserver.client import Client, Connection
from kdns.cluster.apiserver.provenance import provenance
from kdns.cluster.apiserver.reflector import Reflector, TIMING, Timing
from kdns.cluster.apiserver.resources import programmed, resources
from kdns.cluster.apiserver.snapshot import EVERY, Snapshot
from kdns.cluster.apiserver.tallies import Absence, Stats
from kdns.cluster.objects import NamespaceObject, Selection
from kdns.cluster.store import Store
from kdns.core.metrics import counters, gauges, Metrics
from kdns.core.plugin import Kept

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

__all__ = ["ApiServer", "Connection"]

log = logging.getLogger(__name__)

KUBE_SYSTEM = "kube-system"  # its uid stands for the cluster's


class ApiServer(Kept):
    """Keeps a store at what an API server says of a Selection.

    `programmed` is called with the kind of a Service and seconds for each change that says when it was made.
    """

    def __init__(
        self, connection: Connection, selection: Selection, store: Store,
        snapshot: str = "", startup_timeout: float = 5.0, timing: Timing = TIMING, metrics: Metrics | None = None,
    ) -> None:  # fmt: skip
        self.store = store
        self._metrics = Metrics() if metrics is None else metrics
        self.stats = Stats(self._metrics)
        self.stale = False  # are the answers those of a snapshot?
        self.programmed: Callable[[str, float], None] = lambda kind, s: self.stats.programming.labels(kind).observe(s)
        self._client = Client(connection, self.stats)
        self._startup_timeout = startup_timeout
        self._snapshot = Snapshot(snapshot, selection) if snapshot else None
        self._loaded = False  # from the snapshot, and not yet replaced
        self._written = 0.0  # the snapshot, in seconds since 1970
        self._writing: asyncio.Task[bool] | None = None
        self._cluster = ""  # uid of kube-system
        self._synced = False
        self._began = 0.0
        self._first = asyncio.Event()  # all are listed, or the first trouble
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._absence = Absence(self._state)
        self._reflectors = [
            Reflector(choice, self._client.ask, store, self._reported, self._programmed, timing, self._met)
            for choice in resources(selection)
        ]

    async def start(self) -> None:
        """Returns once all is known, or after `startup_timeout` seconds; SourceError where the configuration is at fault."""
        await self._client.check()
        if self._snapshot is not None:
            header = await self._snapshot.load(self.store)
            if header is not None:
                self._loaded, self._cluster, self._written = True, header.cluster, header.written
            self.store.listeners.append(self._note)
            self._tasks.append(asyncio.create_task(self._keep(self._snapshot)))
        self._metrics.collect(id(self), self.families)
        self._began = time.monotonic()
        self._tasks += [asyncio.create_task(reflector.run(), name=reflector.name) for reflector in self._reflectors]
        try:
            async with asyncio.timeout(self._startup_timeout):
                await self._first.wait()
        except TimeoutError:
            self._do_without()
            if not self.store.synced:
                log.warning("kubernetes: not synced after %g s: %s", self._startup_timeout, self.why_not())

    async def check(self) -> None:
        """SourceError where a file of the configuration is not there or is not what it should be; nobody is asked."""
        await asyncio.to_thread(self._client.check_files)

    async def close(self) -> None:
        """End the watches, and write the snapshot."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._metrics.ends(id(self))
        self._absence.close()
        await self._client.close()
        if self._snapshot is not None:
            if self._note in self.store.listeners:
                self.store.listeners.remove(self._note)
            if self._writing is not None:
                await self._writing
            if self._synced and self._changed.is_set():
                await self._snapshot.write(self.store, self._cluster)

    def why_not(self) -> str | None:
        """What is missing and why, or None: endpointslices: 403 Forbidden: ... cannot list resource "endpointslices"."""
        reasons: dict[str, list[str]] = {}
        for reflector in self._reflectors:
            if reflector.trouble or not reflector.listed:
                reasons.setdefault(reflector.trouble or "waiting for the API server's list", []).append(reflector.name)
        return "; ".join(f"{', '.join(of)}: {why}" for why, of in reasons.items()) or None

    async def provenance(self, service: str, slices: Collection[str]) -> dict[tuple[str, str], dict[str, Any]]:
        """The versions and ages of a Service and its slices, by kind and key; SourceError where they cannot be had."""
        return await provenance(self._client.ask, service)

    def brief(self) -> str:
        """The same for DNS clients: nothing that an API server or a plugin for credentials said."""
        reasons = {reflector.brief: None for reflector in self._reflectors if reflector.brief}
        return f"{'; '.join(reasons)} (see /ready and the log)" if reasons else "waiting for the API server's list"

    @property
    def age(self) -> dict[str, float]:
        """Seconds since the last byte of each watch, by resource."""
        now = time.monotonic()
        return {reflector.name: now - reflector.heard for reflector in self._reflectors}

    def families(self) -> Iterable["Family"]:
        """What is known, and how its watches do, for a scrape."""
        store = self.store
        tables = (("services", store.services), ("endpointslices", store.slices), ("namespaces", store.namespaces),
                  ("pods", store.pods), *((("entrances", store.entrances),) if store.entrances else ()))  # fmt: skip
        by_resource = ("resource",)
        every = {(reflector.name,): reflector for reflector in self._reflectors}
        return [
            gauges("kdns_kubernetes_objects", "Objects that are known.", ("kind",), {(of,): len(all) for of, all in tables}),
            counters(
                "kdns_kubernetes_events_total", "Events of watches, lists as streams included.", ("resource", "type"),
                {(*name, type): n for name, reflector in every.items() for type, n in reflector.events.items()},
            ),
            counters(
                "kdns_kubernetes_relists_total", "Lists that had to be made again.", ("resource", "reason"),
                {(*name, reason): n for name, reflector in every.items() for reason, n in reflector.relists.items()},
            ),
            counters(
                "kdns_kubernetes_reconnects_total", "Watches that ended and were made again.", by_resource,
                {name: reflector.reconnects for name, reflector in every.items()},
            ),
            counters(
                "kdns_kubernetes_malformed_objects_total", "Objects that could not be understood.", by_resource,
                {name: reflector.malformed for name, reflector in every.items()},
            ),
            gauges(
                "kdns_kubernetes_watch_age_seconds", "Time since the API server was heard.", by_resource,
                {(name,): seconds for name, seconds in self.age.items()},
            ),
            gauges("kdns_kubernetes_stale", "1 while answers come from a snapshot of an earlier run.", (), {(): self.stale}),
        ]  # fmt: skip

    # ------------------------------------------------------------ what reflectors report

    def _reported(self) -> None:
        """A reflector has listed, is in trouble, or out of it."""
        troubled = any(reflector.trouble for reflector in self._reflectors)
        if all(reflector.listed for reflector in self._reflectors):
            if not self._synced:
                self._sync()
        elif troubled:
            self._do_without()
        if not self.store.synced:
            self.store.why_not = self.brief()
        if troubled:
            self._absence.lasts()
        else:
            self._absence.ends()

    def _state(self) -> tuple[str, float | None]:
        age = max(0.0, time.time() - self._written) if self.stale else max(self.age.values())
        return self.why_not() or "", age if self.store.synced else None

    def _sync(self) -> None:
        store = self.store
        log.info(
            "kubernetes: synced in %.1f s: %d services, %d endpointslices, %d namespaces, %d pods%s",
            time.monotonic() - self._began, len(store.services), len(store.slices), len(store.namespaces), len(store.pods),
            "; the snapshot is no longer needed" if self.stale else "",
        )  # fmt: skip
        self._synced, self._loaded, self.stale = True, False, False
        store.synced, store.why_not = True, ""
        self._first.set()
        self._changed.set()

    def _do_without(self) -> None:
        """The API server is not to be had at start: answer from the snapshot, if there is one."""
        if self._loaded and not self.stale:
            self.stale = True
            self.store.synced, self.store.why_not = True, ""
            written = datetime.fromtimestamp(self._written, UTC).isoformat(" ", "seconds")
            log.warning("kubernetes: answers are those of the snapshot of %s, until the API server is there", written)
            self._first.set()

    def _met(self, o: Any) -> None:
        """An object as it came, of any kind: kube-system tells which cluster it is of."""
        if isinstance(o, NamespaceObject) and o.metadata.name == KUBE_SYSTEM and o.metadata.uid:
            if self._loaded and self._cluster not in ("", o.metadata.uid):
                log.warning("kubernetes: the snapshot is of another cluster than this API server, and is dropped")
                self._loaded = self.stale = False
                self.store.synced, self.store.why_not = False, self.brief()
            self._cluster = o.metadata.uid

    def _programmed(self, o: Any) -> None:
        found = programmed(self.store, o, time.time()) if self._synced else None
        if found is not None:
            self.programmed(*found)

    # ------------------------------------------------------------ the snapshot

    def _note(self, keys: Iterable[Any]) -> None:
        self._changed.set()

    async def _keep(self, snapshot: Snapshot) -> None:
        """Write the snapshot when something has changed, not too often."""
        while True:
            await self._changed.wait()
            if self._synced:
                self._changed.clear()
                self._writing = asyncio.create_task(snapshot.write(self.store, self._cluster))
                if not await asyncio.shield(self._writing):
                    self._changed.set()
            await asyncio.sleep(EVERY if self._synced else 1.0)
