"""*reload* - takes up a changed Corefile without a restart.

Description
    The Corefile, and every file that it imports, is read again every INTERVAL. What counts is what is in them, so the
    symlinks of a ConfigMap are followed, and a file that was merely touched changes nothing. What is new is parsed,
    set up and bound beside what is served; then it takes over, and no query is lost. What has not changed (the watch of
    the cluster, caches, sockets, counters) goes on.

    A Corefile that cannot be served changes nothing. It is logged with its line and the reason, and counted, once; it is
    tried again when it changes, or on SIGUSR1, which reloads at once, with this plugin or without.

    The first *reload* of the Corefile counts.

Syntax
    reload [INTERVAL] [JITTER]
    reload off

    INTERVAL             30s by default, at least 2s.
    JITTER               INTERVAL is longer or shorter by up to half of this, by chance, so that servers that were started
                         together do not reload together: 15s by default, at least 1s, or 0s; at most half of INTERVAL.
    off                  only SIGUSR1 reloads.

Metrics
    - `coredns_reload_failed_total`: Corefiles that could not be served, those that SIGUSR1 asked for included.
    - `coredns_reload_version_info{hash="sha512", value}`: 1 for what is served.

Examples
    Look every ten seconds:

        . {
            reload 10s 0s
            whoami
        }
"""

import asyncio
import glob
import hashlib
import logging
import random
from collections.abc import Mapping
from pathlib import Path

from kdns.config.corefile import parse
from kdns.config.directive import Directive
from kdns.core.metrics import Gauge, Metric
from kdns.core.plugin import Handler
from kdns.core.site import Instance, Site
from kdns.dns.query import Query
from kdns.dns.response import Response
from kdns.errors import CorefileError

log = logging.getLogger(__name__)

INTERVAL, LEAST_INTERVAL = 30.0, 2.0  # seconds
JITTER, LEAST_JITTER = 15.0, 1.0


def setup(directive: Directive, site: Site) -> "Reload | None":
    site.once(directive)
    directive.no_block()
    if directive.arguments(0, 2) == ("off",):
        return None
    count = len(directive.args)
    interval = directive.duration(low=LEAST_INTERVAL, at=0) if count else INTERVAL
    jitter = directive.duration(at=1) if count > 1 else JITTER
    if 0 < jitter < LEAST_JITTER:
        raise directive.error(f"'{directive.args[1]}' is too short: a jitter is 0s or at least {LEAST_JITTER:g}s")
    if any(other.plugin("reload") for other in site.instance.sites):
        return None
    plugin = Reload(site.instance, interval, min(jitter, interval / 2))
    site.instance.collectors.append(plugin.metrics)
    return plugin


class Reload:
    """Looks after the files of one generation, which ends when the next one takes over."""

    def __init__(self, instance: Instance, interval: float = INTERVAL, jitter: float = 0.0) -> None:
        self._instance = instance
        self.interval = interval + random.uniform(-jitter / 2, jitter / 2)
        self.served = self._seen = content_hash(instance.files)

    async def answer(self, query: Query, next: Handler) -> Response:
        return await next(query)

    async def run(self) -> None:
        if not self._instance.corefile:
            log.info("nothing to look after: the Corefile is no file")
            return
        log.info("Running configuration SHA512 = %s", self.served)
        while True:
            await asyncio.sleep(self.interval)
            await self.look()

    async def look(self) -> None:
        """Reload where what is in the files is not what was there the last time, nor what is served."""
        try:
            found = content_hash(await asyncio.to_thread(read_files, self._instance.corefile))  # a disk may be slow
        except (OSError, ValueError) as error:
            log.warning("cannot read %s, what is served stays: %s", self._instance.corefile, error)
            return
        before, self._seen = self._seen, found
        if found in (before, self.served) or self._instance.stopping:
            return
        log.info("the Corefile has changed")
        await asyncio.shield(self._instance.reload())  # which ends this task

    def metrics(self) -> list[Metric]:
        version = Gauge("coredns_reload_version_info", "1 for the Corefile that is served.", ("hash", "value"))
        version.set(1, "sha512", self.served)
        return [version]


class _Reading:
    """How `import` reads files here: what was read is remembered."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def read(self, path: str) -> str:
        self.texts[path] = Path(path).read_text(encoding="utf-8")
        return self.texts[path]

    def glob(self, pattern: str) -> list[str]:
        return glob.glob(pattern)


def read_files(corefile: str) -> dict[str, str]:
    """The text of a Corefile, and of all that it imports, by path.

    OSError or ValueError where the Corefile itself cannot be read. Where something else is wrong with it, that shows when it
    is served.
    """
    files = _Reading()
    text = files.read(corefile)
    try:
        parse(text, corefile, files)
    except CorefileError:
        pass
    return files.texts


def content_hash(files: Mapping[str, str]) -> str:
    """SHA-512 of files by their paths and texts, in hex."""
    digest = hashlib.sha512()
    for path in sorted(files):
        for part in (path.encode(), files[path].encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
