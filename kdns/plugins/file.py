"""*file* - serves zones from zone files (RFC 1035).

Description
    The records of DBFILE are answered for with authority: wildcards (RFC 4592), delegations with their glue, DNAME, and for
    a signed zone its signatures and NSEC records (not NSEC3; whoever signed the file signs it again). Aliases that lead out
    of the zone are followed as any question to this server is.

    The file may use `$ORIGIN`, `$TTL` and `$INCLUDE` (relative to the file that it stands in); `$GENERATE` is refused. What
    is wrong with it is said with file and line. Records that are not in the zone are left out, with a line in the log, and
    so are those beside an alias. A file that is wrong when kdns starts keeps it from starting; one that is missing then is
    waited for, and until it is there its names get SERVFAIL. A file that is wrong later changes nothing.

    Other than in CoreDNS: a positive answer does not have the zone's NS records in its authority section; a wildcard does not
    answer for a name that has names below it (RFC 4592 2.2.2), nor does such a name fall through.

Syntax
    file DBFILE [ZONES...] {
        reload DURATION
        reload_by_mtime
        fallthrough [ZONES...]
        upstream [ADDRESS...]
    }

    DBFILE               the file; a relative path starts where *root* says.
    ZONES                the zones that it is served for, each with the file's relative names below it; those of the server
                         block by default.
    reload               how often to look whether the file, or one that it includes, has changed (1m); 0 is never. What is
                         read is served where the serial of its SOA is another one.
    reload_by_mtime      it is served in any case.
    fallthrough          a name that does not exist (in these zones) is for the plugins after this one.
    upstream             has no effect any more.

Metrics
    None.

Differences
    - No NS records beside positive answers; a wildcard does not answer for a name that has names below it (RFC 4592).
    - The SOA beside a denial has at most its own last field as TTL (RFC 2308 3); beside an alias that leads to nothing stands the
      SOA of its target's zone (RFC 2308 2.1).
    - ANY has one RRset (RFC 8482).
    - A delegation has the addresses of all its name servers that the zone knows, not those below it alone (RFC 1034 6.2.6).
    - `$GENERATE` is refused.

Examples
    A zone, which others may transfer, and of whose changes one is told:

        example.org {
            file zones/db.example.org
            transfer {
                to * 127.0.0.1:5399
            }
        }

    One file for two zones:

        . {
            file zones/db.shared example.org example.net
        }
"""

import asyncio
import logging
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, duration, fallthrough, flag, option
from kdns.core.authority import Authority
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.zonefile import ZoneFile
from kdns.errors import FileError, ZoneFileError

log = logging.getLogger(__name__)


def _file_and_zones(o: Directive) -> tuple[str, tuple[str, ...]]:
    return o.arguments(1)[0], o.origins(start=1)


def _anything(o: Directive) -> bool:
    return True


@dataclass(frozen=True)
class Options:
    file: tuple[str, tuple[str, ...]] = argument(_file_and_zones)
    reload: float = option(duration(), 60.0)
    reload_by_mtime: bool = option(flag, False)
    fallthrough: tuple[str, ...] = option(fallthrough, ())
    upstream: bool = option(_anything, False, note="upstream has no effect any more, the line may go")


class File(Authority):
    """The zones of one file."""

    table = Options
    internet_only = True
    name = "file"
    remedy = "it is read again as soon as it changes"

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        super().__init__(block, directive, options)
        self._every = options.reload
        name, origins = options.file
        path, origins = block.path(name), origins or block.zones
        self.fallthrough = Fallthrough(origins, options.fallthrough)
        self._files = [self._file(path, origin, options.reload_by_mtime) for origin in origins]
        for file in self._files:
            if file.zone is None:
                self._first(file)
        self.hold(self._files)
        block.answer_at_once(origins)

    def _file(self, path: str, origin: str, by_mtime: bool) -> ZoneFile:
        return self.block.keep(("zone file", path, origin, by_mtime), lambda: ZoneFile(path, origin, "file", by_mtime))

    def _first(self, file: ZoneFile) -> None:
        """Read a file that nobody has read; one that is not there (yet) is waited for, where it is looked for."""
        try:
            file.zone = file.read()
            file.why_not = ""
        except FileError as error:
            if not error.missing or not self._every:
                raise self.directive.error(str(error)) from None
            file.why_not = f"cannot be served: {error}"
            log.warning("%s %s; it is looked for every %g s", file.origin, file.why_not, self._every)
        except ZoneFileError as error:
            raise self.directive.error(str(error)) from None

    async def run(self) -> None:
        while self._every:
            await asyncio.sleep(self._every)
            await self.look()

    async def look(self) -> None:
        """Take up what has changed."""
        for file in self._files:
            await file.follow()
