"""*auto* - serves the zones of all zone files in a directory.

Description
    Each file whose name matches REGEXP, in DIR or below, is a zone, served as by *file*; what its origin is follows from
    the file's name. Files that come, go and change are taken up. One that cannot be served is told in the log: its zone
    stays as it was, or gets SERVFAIL where it was never read. Where two files have one origin the first in the order of
    their paths counts. Files in folders whose name begins with ".." are passed over: a mounted ConfigMap has them twice.

Syntax
    auto [ZONES...] {
        directory DIR [REGEXP ORIGIN_TEMPLATE]
        reload DURATION
        reload_by_mtime
        fallthrough [ZONES...]
        upstream [ADDRESS...]
    }

    ZONES                only zones in these are served; those of the server block by default.
    directory            where the files are; a relative path starts where *root* says. REGEXP need not match all of a file's
                         name; `{1}` in ORIGIN_TEMPLATE is its first group. By default `db\\.(.*)` and `{1}`.
    reload               how often to look for files and their changes (1m); 0 is never. What has changed is served where the
                         serial of its SOA is another one.
    reload_by_mtime      it is served in any case.
    fallthrough          a name that does not exist (in these zones) is for the plugins after this one.
    upstream             has no effect any more.

Metrics
    None.

Differences
    - As *file*. A zone whose file was never right gets SERVFAIL.

Examples
    The files db.* in the folder zones, looked at every half minute:

        . {
            auto {
                directory zones
                reload 30s
            }
        }
"""

import asyncio
import logging
import os
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, duration, fallthrough, flag, option, zones
from kdns.config.patterns import Pattern, Template
from kdns.core.authority import Authority
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.zonefile import ZoneFile
from kdns.dns import names

log = logging.getLogger(__name__)


class Directory:
    """Where the files are, and which zone each has."""

    def __init__(self, path: str, expression: str = r"db\.(.*)", template: str = "{1}") -> None:
        self.path = path
        self._pattern = Pattern(expression)
        self._template = Template(template, self._pattern)
        if not self._pattern.groups:
            raise ValueError(f"'{expression}' has no group to take the origin from")

    def origin(self, name: str) -> str | None:
        """The zone that a file is of, by its name; ValueError where that is no name."""
        found = self._pattern.find(name)
        text = "" if found is None else self._template.filled(found)
        return names.absolute(text) if text else None


def _directory(o: Directive) -> Directory:
    words = o.arguments(1, 4)
    if len(words) not in (1, 3):
        raise ValueError("takes a directory, or a directory, a regular expression and a template; how often is said by reload")
    return Directory(*words)


def _anything(o: Directive) -> bool:
    return True


@dataclass(frozen=True)
class Options:
    zones: tuple[str, ...] = argument(zones)
    directory: Directory | None = option(_directory)
    reload: float = option(duration(), 60.0)
    reload_by_mtime: bool = option(flag, False)
    fallthrough: tuple[str, ...] = option(fallthrough, ())
    upstream: bool = option(_anything, False, note="upstream has no effect any more, the line may go")

    def __post_init__(self) -> None:
        if self.directory is None:
            raise ValueError("needs a directory: write 'directory DIR'")


class Auto(Authority):
    """The zones of one directory."""

    table = Options
    internet_only = True
    name = "auto"

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        super().__init__(block, directive, options)
        assert options.directory is not None
        self.roster = f"auto {directive.file}:{directive.line}"
        self._every, self._by_mtime = options.reload, options.reload_by_mtime
        self._within = options.zones or block.zones
        self.fallthrough = Fallthrough(self._within, options.fallthrough)
        self._directory = options.directory
        self._folder = block.path(options.directory.path)
        self._files: dict[str, ZoneFile] = {}
        for file in self._changed(self._found()):
            if file.zone is None:
                file.look()
                file.take_newest()

    def _found(self) -> dict[str, str]:
        """The path of each zone's file, by origin; for a thread where others wait."""
        found: dict[str, str] = {}
        for folder, below, files in os.walk(self._folder):
            below[:] = sorted(name for name in below if not name.startswith(".."))
            for name in sorted(files):
                origin = self._origin(name)
                if origin is not None and any(names.is_below(origin, zone) for zone in self._within):
                    found.setdefault(origin, os.path.join(folder, name))
        return found

    def _origin(self, name: str) -> str | None:
        """The zone that a file is of, if it is any."""
        try:
            return self._directory.origin(name)
        except ValueError as error:
            log.warning("%s: the name of the file gives no zone: %s", name, error)
            return None

    def _changed(self, found: dict[str, str]) -> list[ZoneFile]:
        """Serve these files and no others; all of them."""
        gone = [origin for origin, file in self._files.items() if found.get(origin) != file.path]
        for origin in gone:
            log.info("%s: %s is no longer there", origin, self._files[origin].path)
            self.release(self._files.pop(origin))
        for origin in found.keys() - self._files.keys():
            self._files[origin] = self._file(found[origin], origin)
            self.hold([self._files[origin]])
        return list(self._files.values())

    def _file(self, path: str, origin: str) -> ZoneFile:
        key = ("zone file", path, origin, self._by_mtime)
        return self.block.keep(key, lambda: ZoneFile(path, origin, "auto", self._by_mtime))

    async def run(self) -> None:
        while self._every:
            await asyncio.sleep(self._every)
            await self.look()

    async def look(self) -> None:
        """Take up what has changed."""
        before = set(self.held)
        for file in self._changed(await asyncio.to_thread(self._found)):
            await file.follow()
        if set(self.held) != before:
            self.block.forget((self.roster or "",))
