"""Zones that a plugin answers for from their records: what *file*, *auto* and *secondary* share.

Such a plugin says which zones it has and where their newest version is (`Held`). How a question goes through a zone is
`dns.zone`'s affair.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kdns.config.directive import Directive
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Key, Made, replace, Response
from kdns.dns.transfer import Outgoing
from kdns.dns.types import NOT_READY, NXDOMAIN, SERVFAIL
from kdns.dns.zone import Zone


class Held:
    """A zone as it is now, and who wants to know of a newer version. It may outlive a reload of the Corefile."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.key: Key = f"zone {origin}"
        self.zone: Zone | None = None
        self.why_not = "is not loaded yet"  # why there is no zone, or no newer one; empty where all is well
        self.serves: set[Block] = set()  # whose answers are made from it

    def take(self, zone: Zone | None) -> None:
        """Another version, or none: what was made from the one before is forgotten."""
        self.zone = zone
        for block in self.serves:
            block.forget((self.key,))


class Authority(Plugin):
    """What answers from zones. A class that derives from it fills `held`, by origin."""

    same_for_everyone = True
    name = ""
    remedy = ""  # where a zone is not there, for whoever runs the server

    def __init__(self, block: Block, directive: Directive, options: Any) -> None:
        super().__init__(block, directive, options)
        self.held: dict[str, Held] = {}
        self.roster: Key | None = None  # what changes with the zones that there are, where they may
        self.fallthrough = Fallthrough(())  # of names that do not exist
        self._made = Made(self.name)
        self._later: list[Authority] | None = None  # the plugins of other directives of this name, after this one

    def hold(self, every: Iterable[Held]) -> None:
        """These, too, are answered for."""
        for held in every:
            self.held[held.origin] = held
            held.serves.add(self.block)

    def release(self, held: Held) -> None:
        """This one is answered for no longer."""
        del self.held[held.origin]
        held.serves.discard(self.block)
        self.block.forget((held.key,))

    def close(self) -> None:
        for held in self.held.values():
            held.serves.discard(self.block)

    async def answer(self, query: Query, next: Handler) -> Answer:
        origin = names.closest(query.name, self.held)
        if origin is None or self._is_theirs(query.name, origin):
            other = await next(query)
            if self.roster is None or not isinstance(other, Response):
                return other
            return replace(other, depends=(*other.depends, self.roster))
        held = self.held[origin]
        if held.zone is None:
            why = ExtendedError(NOT_READY, f"{origin} {held.why_not}", self.remedy)
            return Response(rcode=SERVFAIL, authoritative=False, made=self._made, error=why)
        response, leads_out = held.zone.lookup(query.name, query.type, query.do)
        if response.rcode == NXDOMAIN and not response.answer and self.fallthrough.passes(query.name):
            return await self.fallthrough.after(response, query, next)
        return await self.block.follow(query, response, held.zone.negative) if leads_out else response

    def _is_theirs(self, name: str, origin: str) -> bool:
        """Is the name in a longer zone of another directive of this name? The ones before this one would have answered."""
        if self._later is None:
            every = self.block.named(self.name)
            self._later = [plugin for plugin in every[every.index(self) + 1 :] if isinstance(plugin, Authority)]
        return any(len(names.closest(name, plugin.held) or "") > len(origin) for plugin in self._later)

    def remarks(self) -> list[str]:
        """Zones that are not there, or not as new as they should be."""
        return [f"{held.origin} {held.why_not}" for held in self.held.values() if held.why_not]

    def transferable(self) -> Mapping[str, Key]:
        return {origin: held.key for origin, held in self.held.items() if held.zone and held.zone.soa}

    def outgoing(self, origin: str, query: Query) -> Outgoing:
        zone = self.held[origin].zone
        assert zone is not None and zone.soa is not None  # as `transferable` says
        return Outgoing(zone.soa, ([rrset] for rrset in zone.transfer()))
