"""*hosts* - answers from lines such as those of /etc/hosts, in a file and in the Corefile.

Description
    A line is an address and the names that have it. Names have A and AAAA records, and addresses PTR records. What the file and
    the Corefile say adds up. A name that is here and has nothing of the type asked has an empty answer (NODATA); `ANY` gets one
    RRset (RFC 8482). A name that is not here falls through where `fallthrough` says so, else the answer is SERVFAIL: there is
    no zone, so nobody could say for how long it does not exist. Addresses that are not here always fall through.

    `*.example.com` stands for all names with one label in its place, but for those that have a line of their own. It makes no
    PTR record.

    The file is looked at every few seconds. Where it is gone, what the Corefile says goes on being served; where it cannot be
    read, so does what it said before. Lines that make no sense are left out, with a warning.

    It differs from CoreDNS where RFC 8020 and RFC 4592 say otherwise: for a reverse name that is here other types than PTR are
    NODATA, and a name that has a line of its own takes nothing from a wildcard. A line of the Corefile that is no option and has
    no address is an error.

    Only once in a server block. There is no zone transfer of it.

Syntax
    hosts [FILE [ZONES...]] {
        ADDRESS NAME...
        ttl SECONDS
        no_reverse
        reload DURATION
        fallthrough [ZONES...]
        fallthrough_unsupported
    }

    - FILE is /etc/hosts by default; a relative path starts where *root* says.
    - ZONES are those that names are taken of; without any, the zones of the server block. Reverse zones need not be said.
    - `ttl` is from 0 to 65535 (3600).
    - `no_reverse` makes no PTR records.
    - `reload` is how often the file is looked at (5s); 0s for never.
    - `fallthrough` leaves names that are not here (in ZONES) to the plugins after this one.
    - `fallthrough_unsupported` does so for names that are here, too, where another type than A, AAAA, PTR or ANY is asked.

Metrics
    - `coredns_hosts_entries`: pairs of an address and a name.
    - `coredns_hosts_reload_timestamp_seconds`: when the file was last read.

Differences
    - A name that has a line of its own takes nothing from a wildcard; a reverse name that is here is NODATA for other types.
    - ANY has one RRset (RFC 8482).

Examples
    The machine's own file, and all else asked of others:

        . {
            hosts {
                fallthrough
            }
            whoami
        }

    A file that may come later, for two zones:

        . {
            hosts example.hosts example.org example.net {
                reload 15s
                fallthrough
            }
            whoami
        }

    In the Corefile, with a wildcard:

        . {
            hosts {
                10.0.0.1 www.example.org web.example.org
                fd00::1 www.example.org
                10.0.0.2 *.apps.example.org
                ttl 60
                fallthrough
            }
            whoami
        }
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, duration, fallthrough, flag, integer, lines, option
from kdns.config.values import origins
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.files import read_text, Stamp, stamp
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import MAPPED, Query
from kdns.dns.response import Answer, ExtendedError, Key, Made, Response, RRset
from kdns.dns.types import A, AAAA, ANY, NOT_AUTHORITATIVE, PTR, SERVFAIL
from kdns.errors import FileError

log = logging.getLogger(__name__)

MADE = Made("hosts")
NOT_HERE = ExtendedError(NOT_AUTHORITATIVE)
Line = tuple[bytes, list[str]]  # an address and the names that have it


def line_of(words: list[str]) -> Line:
    """An address and its names; ValueError where they are none."""
    address = names.packed(words[0].partition("%")[0])
    if not words[1:]:
        raise ValueError(f"{words[0]} has no name")
    return address.removeprefix(MAPPED), [names.absolute(name) for name in words[1:]]


class Entries:
    """What lines say: addresses by name, names by address; only of names in some zones."""

    def __init__(self, every: Iterable[Line], zones: Fallthrough, reverse: bool) -> None:
        self.pairs = 0
        self.addresses: dict[int, dict[str, tuple[bytes, ...]]] = {A: {}, AAAA: {}}
        found: dict[bytes, dict[str, None]] = {}
        alike: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}  # the same address for very many names is kept once
        for address, several in every:
            by_name = self.addresses[A if len(address) == 4 else AAAA]
            for name in several:
                if zones.zone(name) is None:
                    continue
                self.pairs += 1
                rdata = by_name.get(name, ())
                if address not in rdata:
                    rdata = (*rdata, address)
                    by_name[name] = alike.setdefault(rdata, rdata)
                if reverse and not name.startswith("*."):
                    found.setdefault(address, {})[name] = None
        self.names = {address: tuple(several) for address, several in found.items()}

    def owner(self, name: str) -> str | None:
        """Where the records of a name stand: there, or at a wildcard; None where it has none."""
        for owner in (name, f"*.{names.parent(name).lstrip('.')}"):
            if owner in self.addresses[A] or owner in self.addresses[AAAA]:
                return owner
        return None


class File:
    """A file of lines as it was last read; what the Corefile says comes after it."""

    def __init__(self, path: str, inline: tuple[Line, ...], zones: Fallthrough, reverse: bool) -> None:
        self.path, self._inline, self._zones, self._reverse = path, inline, zones, reverse
        self.read_at = 0.0
        self._seen: tuple[Stamp, ...] = ()  # what it was when it was read
        self.why_not = ""
        self.entries = Entries(inline, zones, reverse)
        self.look()

    def look(self) -> None:
        """Read it where it has changed; for a thread where others wait."""
        seen = (stamp(self.path),)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.entries = Entries([*self._lines(read_text(self.path)), *self._inline], self._zones, self._reverse)
            self.read_at, self.why_not = time.time(), ""
        except FileError as error:
            self.why_not = str(error)
            log.warning("%s", error)
            if error.missing:
                self.entries = Entries(self._inline, self._zones, self._reverse)

    def _lines(self, text: str) -> Iterator[Line]:
        wrong = []
        for number, line in enumerate(text.split("\n"), 1):
            words = line.partition("#")[0].split()
            try:
                if words:
                    yield line_of(words)
            except ValueError as error:
                wrong.append(f"{self.path}:{number}: {error}")
        if wrong:
            more = f", and {len(wrong) - 1} more" if wrong[1:] else ""
            log.warning("%s: it is left out%s", wrong[0], more)


def _file(o: Directive) -> tuple[str, tuple[str, ...]]:
    path = (*o.arguments(), "/etc/hosts")[0]
    return path, tuple(zone for argument in o.args[1:] for zone in origins(argument))


def _inline(o: Directive) -> Line:
    if not o.name[0].isdigit() and ":" not in o.name:
        raise o.unknown(("ttl", "no_reverse", "reload", "fallthrough", "fallthrough_unsupported"))
    return line_of([o.name, *o.arguments(1)])


@dataclass(frozen=True)
class Options:
    file: tuple[str, tuple[str, ...]] = argument(_file)
    inline: tuple[Line, ...] = lines(_inline)
    ttl: int = option(integer(0, 65535), 3600)
    no_reverse: bool = option(flag, False)
    reload: float = option(duration(), 5.0)
    fallthrough: tuple[str, ...] = option(fallthrough, ())
    fallthrough_unsupported: bool = option(flag, False)

    def __post_init__(self) -> None:
        if self.fallthrough_unsupported and not self.fallthrough:
            raise ValueError("fallthrough_unsupported is for fallthrough, which is not there")


class Hosts(Plugin):
    table = Options
    once = True
    same_for_everyone = True
    internet_only = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block, self.options = block, options
        path, zones = block.path(options.file[0]), options.file[1] or block.zones
        self._fallthrough = Fallthrough(zones, options.fallthrough)
        inline = tuple((address, tuple(several)) for address, several in options.inline)
        self.file = block.keep(
            ("hosts", path, zones, inline, options.no_reverse),
            lambda: File(path, options.inline, self._fallthrough, not options.no_reverse),
        )
        self._key: Key = f"hosts {path}"
        self._pairs = block.gauge("coredns_hosts_entries", "Pairs of an address and a name in hosts.")
        self._read_at = block.gauge("coredns_hosts_reload_timestamp_seconds", "When the file of hosts was last read.")
        self._tell()

    def _tell(self) -> None:
        self._pairs.set(self.file.entries.pairs)
        self._read_at.set(self.file.read_at)

    async def answer(self, query: Query, next: Handler) -> Answer:
        name, type, entries = query.name, query.type, self.file.entries
        address = names.reverse_prefix(name)
        if address is not None and (several := entries.names.get(address[0])) and address[1] == 8 * len(address[0]):
            return self._yes(name, PTR, tuple(map(names.wire, several)) if type in (PTR, ANY) else ())
        if type == PTR and address is not None:
            return await self._fallthrough.after(self._yes(name, type, ()), query, next)
        if self._fallthrough.zone(name) is None:
            return await next(query)
        owner = entries.owner(name)
        if owner is not None:
            if type not in (A, AAAA, ANY, PTR) and self.options.fallthrough_unsupported and self._fallthrough.passes(name):
                return await self._fallthrough.after(self._yes(name, type, ()), query, next)
            kind = type if type != ANY else A if owner in entries.addresses[A] else AAAA
            return self._yes(name, kind, entries.addresses.get(kind, {}).get(owner, ()))
        if self._fallthrough.passes(name):
            return await self._fallthrough.after(self._yes(name, type, ()), query, next)
        return Response(rcode=SERVFAIL, authoritative=False, error=NOT_HERE, made=MADE)

    def _yes(self, name: str, type: int, rdata: tuple[bytes, ...]) -> Response:
        answer = (RRset(name, type, self.options.ttl, rdata),) if rdata else ()
        return Response(answer=answer, stable_for=math.inf, depends=(self._key,), made=MADE)

    async def run(self) -> None:
        while self.options.reload:
            await asyncio.sleep(self.options.reload)
            await self.look()

    async def look(self) -> None:
        """Take up what has changed."""
        before = self.file.entries
        await asyncio.to_thread(self.file.look)
        if self.file.entries is not before:
            self.block.forget((self._key,))
        self._tell()

    def remarks(self) -> list[str]:
        """Why the file is not served."""
        return [self.file.why_not] if self.file.why_not else []

    def example(self) -> str | None:
        """The first name that has an address."""
        return next((name for by_name in self.file.entries.addresses.values() for name in by_name if name[0] != "*"), None)
