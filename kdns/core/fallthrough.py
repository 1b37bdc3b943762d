"""Which zones are a plugin's own, and what of them it leaves to the plugins after it. No I/O.

A plugin that answers for zones says so by `[ZONES...]` and `fallthrough [ZONES...]`: names outside of its zones are never its
affair; a name in them that it has nothing for is answered, unless the name is in a zone that falls through.
"""

from collections.abc import Iterable

from kdns.core.plugin import Handler
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, replace, Response


class Fallthrough:
    """The zones of a plugin, and those whose names fall through: none unless said.

    `kept`: those of its zones that nothing falls through from.
    """

    def __init__(self, zones: Iterable[str], through: Iterable[str] = ()) -> None:
        self.zones = tuple(sorted(set(zones), key=len, reverse=True))  # the longest first
        through = tuple(dict.fromkeys(through))
        self._through = tuple(other for other in through if any(_overlap(other, zone) for zone in self.zones))
        self.kept = tuple(zone for zone in self.zones if not any(_overlap(other, zone) for other in through))

    def zone(self, name: str) -> str | None:
        """The longest of its zones that a name is in; None: it is not the plugin's affair."""
        return names.first_above(name, self.zones)

    def passes(self, name: str) -> bool:
        """Does a name in its zones fall through where the plugin has nothing for it?"""
        return names.first_above(name, self._through) is not None

    async def after(self, nothing: Response, query: Query, next: Handler) -> Answer:
        """What the plugins after this one say, which holds as long as this one has nothing for the name.

        `nothing` is what it would have said itself.
        """
        other = await next(query)
        if not isinstance(other, Response):
            return other
        return replace(
            other,
            stable_for=min(other.stable_for, nothing.stable_for),
            depends=other.depends + nothing.depends,
            foreign=other.foreign and nothing.stable_for > 0,
        )


def _overlap(one: str, other: str) -> bool:
    return names.is_below(one, other) or names.is_below(other, one)
