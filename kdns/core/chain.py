"""The plugins that answer in a server block, as one function. No I/O.

There are two such functions: what waits goes through coroutines, what is known through plain calls (`Plugin.at_once`).
"""

import math
from collections.abc import Awaitable

from kdns.core.plugin import Handler, Known, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Response
from kdns.dns.types import REFUSED

UNANSWERED = Response(  # by the configuration alone, so it holds as long as that
    rcode=REFUSED,
    authoritative=False,
    stable_for=math.inf,
    error=ExtendedError(20, "no plugin here answers for this name"),
)


def is_unanswered(answer: Answer) -> bool:
    """Did nobody answer? A plugin may have added what that rests on."""
    return isinstance(answer, Response) and answer.rcode == REFUSED and answer.error is UNANSWERED.error


def chain(plugins: list[Plugin]) -> Handler:
    """The plugins that answer as one handler, the first outermost."""
    handler: Handler = _end
    for plugin in reversed(plugins):
        if _is_link(plugin):
            handler = _link(plugin, handler)
    return handler


def known(plugins: list[Plugin]) -> Known:
    """What they say where none has to wait; None where one has, or does not tell."""
    handler: Known = _known_end
    told: list[str] = ["."]  # zones of names that somebody may know before another has to wait
    for plugin in reversed(plugins):
        if _is_link(plugin):
            tells = _tells_at_once(type(plugin))
            handler = _known_link(plugin, handler) if tells else _waits
            told = [*told, *plugin.told] if tells else []
    return handler if "." in told else _known_in(tuple(told), handler)


async def _end(query: Query) -> Answer:
    """The end of every chain: nobody here answers for the name."""
    return UNANSWERED


def _known_end(query: Query) -> Answer | None:
    return UNANSWERED


def _is_link(plugin: Plugin) -> bool:
    return plugin.overrides("answer") and not plugin.passed_by


def _tells_at_once(plugin: type[Plugin]) -> bool:
    """Does `at_once` speak for `answer`, and not for that of a class which this one derives from?"""
    return next("at_once" in vars(cls) for cls in plugin.__mro__ if "answer" in vars(cls))


def _known_in(zones: tuple[str, ...], handler: Known) -> Known:
    """The same for names in these zones alone: of others nobody is asked in vain."""

    def known_in(query: Query) -> Answer | None:
        return None if names.first_above(query.name, zones) is None else handler(query)

    return known_in


def _waits(query: Query) -> Answer | None:
    return None


def _link(plugin: Plugin, next: Handler) -> Handler:
    answer = plugin.answer

    def link(query: Query) -> Awaitable[Answer]:
        return answer(query, next)

    return link


def _known_link(plugin: Plugin, next: Known) -> Known:
    at_once = plugin.at_once

    def link(query: Query) -> Answer | None:
        return at_once(query, next)

    return link
