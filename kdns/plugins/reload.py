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

Differences
    - A Corefile that cannot be served changes nothing, health and metrics included.

Examples
    Look every ten seconds:

        . {
            reload 10s 0s
            whoami
        }
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass

from kdns.config.corefile import parse
from kdns.config.directive import Directive
from kdns.config.options import argument
from kdns.core.block import Block
from kdns.core.files import Reading
from kdns.core.metrics import gauges
from kdns.core.plugin import Plugin
from kdns.errors import CorefileError, FileError

log = logging.getLogger(__name__)

INTERVAL, LEAST_INTERVAL = 30.0, 2.0  # seconds
JITTER, LEAST_JITTER = 15.0, 1.0


def _times(o: Directive) -> tuple[float, float]:
    """The interval and its jitter in seconds; an interval of 0 is `off`."""
    if o.arguments(0, 2) == ("off",):
        return 0.0, 0.0
    interval = o.duration(low=LEAST_INTERVAL, at=0) if o.args else INTERVAL
    jitter = o.duration(at=1) if len(o.args) > 1 else JITTER
    if 0 < jitter < LEAST_JITTER:
        raise ValueError(f"'{o.args[1]}' is too short: a jitter is 0s or at least {LEAST_JITTER:g}s")
    return interval, min(jitter, interval / 2)


@dataclass(frozen=True)
class Options:
    times: tuple[float, float] = argument(_times)


class Reload(Plugin):
    """Looks after the files of one generation, which ends when the next one takes over."""

    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        interval, jitter = options.times
        self.block = block
        self.interval = interval + random.uniform(-jitter / 2, jitter / 2)
        self.served = self._seen = content_hash(block.files)

    def _is_first(self) -> bool:
        return next(plugin for block in self.block.all_blocks for plugin in block.named("reload")) is self

    async def run(self) -> None:
        if not self.interval or not self._is_first():
            return
        version = {("sha512", self.served): 1.0}
        help = "1 for the Corefile that is served."
        self.block.metrics.collect(
            "reload", lambda: [gauges("coredns_reload_version_info", help, ("hash", "value"), version)]
        )
        if not self.block.corefile:
            log.info("nothing to look after: the Corefile is no file")
            return
        log.info("Running configuration SHA512 = %s", self.served)
        while True:
            await asyncio.sleep(self.interval)
            await self.look()

    async def look(self) -> None:
        """Reload where what is in the files is not what was there the last time, nor what is served."""
        try:
            found = content_hash(await asyncio.to_thread(read_files, self.block.corefile))  # a disk may be slow
        except FileError as error:
            log.warning("%s: what is served stays", error)
            return
        before, self._seen = self._seen, found
        if found in (before, self.served) or self.block.stopping:
            return
        log.info("the Corefile has changed")
        await asyncio.shield(self.block.reload())  # which ends this task


def read_files(corefile: str) -> dict[str, str]:
    """The text of a Corefile, and of all that it imports, by path.

    FileError where the Corefile itself cannot be read. Where something else is wrong with it, that shows when it is served.
    """
    files = Reading()
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
