"""*secondary* - serves zones that are transferred from another server.

Description
    Each zone is taken from the first of its primaries that gives it (AXFR over TCP), and answered for with authority as by
    *file*. Whether there is a newer one is asked when the primary says so (NOTIFY), and as often as the zone's SOA says
    (refresh); where no primary answers, as often as it says for that case (retry). While they are away the zone is served
    on, until it expires, as the SOA says; then, and before it was had for the first time (tried every ten seconds), its
    names get SERVFAIL. What is had outlives a reload of the Corefile, but not the process: nothing is written to disk.

    With *transfer* others may have the zone from here. Catalog zones (RFC 9432) make each of their members a zone of its own,
    from the same primaries.

Syntax
    secondary [ZONES...] {
        transfer from ADDRESS...
        catalog [MEMBER-ZONES...]
        fallthrough [ZONES...]
    }

    ZONES                those of the server block by default.
    transfer from        the primaries, with a port or without; it may stand several times.
    catalog              the zones are catalogs; only members in these zones are served, all where none is given.
    fallthrough          a name that does not exist (in these zones) is for the plugins after this one.

Metrics
    - `kdns_secondary_serial{zone}`: the serial of what is served.
    - `kdns_secondary_failures_total{zone}`: times that no primary gave the zone.

Examples
    A zone with two primaries, handed on to others:

        example.org {
            secondary {
                transfer from 127.0.0.1:5399 127.0.0.2:5399
            }
            transfer {
                to *
            }
        }
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from kdns.config.directive import Directive
from kdns.config.options import argument, fallthrough, option, zones
from kdns.config.values import host_port
from kdns.core.authority import Authority
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.dns import names
from kdns.dns.catalog import Member, members
from kdns.dns.query import Query
from kdns.dns.response import Key, Made, Response
from kdns.dns.types import REFUSED
from kdns.plugins.secondary.copy import Copy
from kdns.upstream.targets import Target

log = logging.getLogger(__name__)

AT_ONCE = 8  # zones that are asked for at the same time: a catalog may name thousands


def _primaries(o: Directive) -> tuple[Target, ...]:
    word, *addresses = o.arguments(2)
    if word != "from":
        raise ValueError(f"'{word}' is not 'from'; who may have the zone from here is said by *transfer*")
    ends = [host_port(address, 53) for address in addresses]
    return tuple([Target(str(ip_address(host)), port) for host, port in ends])


def _members(o: Directive) -> tuple[str, ...]:
    return o.origins()


@dataclass(frozen=True)
class Options:
    zones: tuple[str, ...] = argument(zones)
    transfer: tuple[Target, ...] = option(_primaries, (), many=True)
    catalog: tuple[str, ...] | None = option(_members)
    fallthrough: tuple[str, ...] = option(fallthrough, ())

    def __post_init__(self) -> None:
        if not self.transfer:
            raise ValueError("has nobody to take a zone from: write 'transfer from' and addresses")


class Secondary(Authority):
    """Copies of zones, those that catalogs name among them."""

    table = Options
    internet_only = True
    name = "secondary"
    remedy = "see that a primary is up and lets kdns transfer the zone"

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        super().__init__(block, directive, options)
        zones = options.zones or block.zones if options.catalog is None else (".",)  # those of members are not known here
        self.fallthrough = Fallthrough(zones, options.fallthrough)
        self._primaries = options.transfer
        self._accepted = options.catalog  # None: these are no catalogs
        self._own = [self._copy(origin) for origin in options.zones or block.zones]
        self._members: dict[str, tuple[Copy, Member]] = {}  # by origin: the catalog that has it, and as what
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()  # a catalog has
        self.hold(self._own)
        block.answer_at_once([copy.origin for copy in self._own])
        if self._accepted is not None:
            self.roster = f"members {self._own[0].origin}"
            block.on_forget(self._forgotten)

    def _copy(self, origin: str, label: str = "") -> Copy:
        """The copy of a zone, which outlives a reload; as a member of a catalog, under one label."""
        turns = self.block.keep("secondary", lambda: asyncio.Semaphore(AT_ONCE))
        key = ("secondary", origin, label, self._primaries)
        return self.block.keep(key, lambda: Copy(origin, self._primaries, turns, self.block.metrics))

    async def notified(self, query: Query) -> Response | None:
        copy = self.held.get(query.name)
        if not isinstance(copy, Copy):
            return None
        if query.client.host not in [primary.host for primary in self._primaries]:
            log.warning("%s: %s says that it changed, and is none of its primaries", query.name, query.client.host)
            return Response(rcode=REFUSED, authoritative=False, made=Made("secondary"))
        copy.notified.set()
        return Response(made=Made("secondary"))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for copy in self._own:
                group.create_task(copy.follow())
            while self._accepted is not None:
                for catalog in self._own:
                    await self._read(catalog, group)
                await self._changed.wait()
                self._changed.clear()

    # ------------------------------------------------------------ catalogs (RFC 9432)

    def _forgotten(self, keys: Iterable[Key]) -> None:
        if any(catalog.key in keys for catalog in self._own):
            self._changed.set()

    async def _read(self, catalog: Copy, group: asyncio.TaskGroup) -> None:
        """Serve the members that a catalog has now, and no longer those that it had."""
        if catalog.zone is None:
            return  # not had yet, or expired: its members have timers of their own
        try:
            now = await asyncio.to_thread(members, catalog.zone)
        except ValueError as error:
            log.error("%s: is no catalog, its members stay as they were: %s", catalog.origin, error)
            return
        for origin in [origin for origin, (owner, _) in self._members.items() if owner is catalog]:
            if now.get(origin) is None or now[origin].label != self._members[origin][1].label:
                self._drop(origin)
        for origin, member in now.items():
            if self._is_free(origin, catalog, member):
                self._members[origin] = catalog, member
                if origin not in self._tasks:
                    copy = self._copy(origin, member.label)
                    self.hold([copy])
                    self._tasks[origin] = group.create_task(copy.follow())
        self.block.forget((self.roster or "",))

    def _is_free(self, origin: str, catalog: Copy, member: Member) -> bool:
        """May a catalog have a member: nobody else has it, or its catalog says that it changes owner to this one (4.4.1)?"""
        if self._accepted and not any(names.is_below(origin, zone) for zone in self._accepted):
            return False
        if origin not in self._members:
            return origin not in self.held
        owner, before = self._members[origin]
        if owner is catalog:
            return True
        if before.new_owner != catalog.origin:
            log.error("%s: is a member of %s already, not of %s", origin, owner.origin, catalog.origin)
            return False
        if before.label != member.label:
            self._drop(origin)
        return True

    def _drop(self, origin: str) -> None:
        del self._members[origin]
        self._tasks.pop(origin).cancel()
        self.release(self.held[origin])
