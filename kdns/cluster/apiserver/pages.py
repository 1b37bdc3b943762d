"""A list page by page, within bounds: of octets and elements for a page, of pages for the list.

A page that is too large is asked for again with fewer objects; a list without an end is given up. Nothing is believed to be
a list but what says so: an empty answer of somebody else must not empty the cluster.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from msgspec import UNSET

from kdns.cluster.apiserver import events
from kdns.cluster.apiserver.events import Page, UNDECODABLE
from kdns.errors import Refused, SourceError

Chunks = AbstractAsyncContextManager[AsyncIterator[bytes]]

PAGE = 500  # objects of a page
PAGE_SIZE = 4 << 20  # octets that a page should have: decoding it holds the loop
MOST_OCTETS = 16 << 20  # of a page
MOST_ELEMENTS = 1_000_000  # of a page, by its commas: the shortest item has two octets, and takes fifty
MOST_PAGES = 20_000


async def pages(kind: str, ask: Callable[[list[tuple[str, str]]], Chunks], heard: Callable[[], None]) -> AsyncIterator[Page]:
    """The pages of a list of objects of a kind; SourceError where they cannot be had, Refused where it is no such list.

    `heard` is called when something came.
    """
    limit, token = PAGE, ""
    for _ in range(MOST_PAGES):
        body = await _body(ask, limit, token, heard)
        while body is None:
            if limit == 1:
                raise SourceError(f"a page of one object that has more than {MOST_OCTETS >> 20} MiB")
            limit = max(1, limit // 8)
            body = await _body(ask, limit, token, heard)
        page = _understood(body, kind)
        limit = max(1, min(PAGE, limit * PAGE_SIZE // len(body)))
        yield page
        token = page.metadata.continue_ or ""
        if not token:
            return
    raise SourceError(f"a list of more than {MOST_PAGES} pages")


async def _body(
    ask: Callable[[list[tuple[str, str]]], Chunks], limit: int, token: str, heard: Callable[[], None]
) -> bytearray | None:
    """A page's octets; None where they are too many."""
    body, elements = bytearray(), 0
    async with ask([("limit", str(limit)), *([("continue", token)] if token else [])]) as chunks:
        async for chunk in chunks:
            heard()
            body += chunk
            elements += chunk.count(b",")
            if len(body) > MOST_OCTETS or elements > MOST_ELEMENTS:
                return None
    return body


def _understood(body: bytearray, kind: str) -> Page:
    try:
        page = events.page.decode(body)
    except UNDECODABLE as error:
        raise Refused(200, f"not the answer of an API server: {error}") from None
    if page.kind != f"{kind}List" or page.items is UNSET or not page.metadata.resourceVersion:
        raise Refused(200, f"not a {kind}List, but {page.kind[:100] or 'something without a kind'}")
    return page
