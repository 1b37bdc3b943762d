"""What a plugin is, and how a chain is made of them.

A plugin is one file, `plugins/<name>.py`, with `setup(directive, site) -> Plugin | None`. Its docstring is its manual. It is
called once for each time its directive stands in a server block, in the fixed order of `plugins.ORDER`; where it returns
None it has arranged what it does with the site and takes no part in queries.
"""

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, runtime_checkable

from kdns.dns.query import Query
from kdns.dns.response import ExtendedError, Response
from kdns.dns.types import REFUSED

Handler = Callable[[Query], Awaitable[Response]]


@runtime_checkable
class Plugin(Protocol):
    """One link of a chain.

    Optional: `async run()` lives as long as the site serves and is cancelled after; `ready() -> str | None` says why the
    plugin cannot answer yet, or None; `remarks() -> list[str]` says what is amiss though it answers; `async lame()` is
    awaited between SIGTERM and the end of service.
    """

    async def answer(self, query: Query, next: Handler) -> Response:
        """Answer, or `return await next(query)`.

        What is raised becomes SERVFAIL and is logged and counted once, in `site`.
        """
        ...


UNANSWERED = Response(  # by the configuration alone, so it holds as long as that
    rcode=REFUSED,
    authoritative=False,
    stable_for=math.inf,
    error=ExtendedError(20, "no plugin here answers for this name"),
)


def is_unanswered(response: Response) -> bool:
    """Did nobody answer? A plugin may have added what that rests on."""
    return response.rcode == REFUSED and response.error is UNANSWERED.error


async def end(query: Query) -> Response:
    """The end of every chain: nobody here answers for the name."""
    return UNANSWERED


def chain(plugins: Iterable[Plugin], last: Handler = end) -> Handler:
    """The plugins as one handler, the first outermost."""
    handler = last
    for plugin in reversed(list(plugins)):
        handler = _link(plugin, handler)
    return handler


def _link(plugin: Plugin, next: Handler) -> Handler:
    answer = plugin.answer

    def link(query: Query) -> Awaitable[Response]:
        return answer(query, next)

    return link
