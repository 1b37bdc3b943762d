"""Answers that end in an alias, completed by what its target has. No I/O."""

from collections.abc import Awaitable, Callable

from kdns.core.chain import is_unanswered
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, replace, Response, RRset
from kdns.dns.types import CNAME, OTHER

Lookup = Callable[[Query, str, int], Awaitable[Answer]]  # a question on behalf of a query: its name and type


async def follow(lookup: Lookup, query: Query, alias: Response, soa: tuple[RRset, ...]) -> Answer:
    """See `Block.follow`."""
    target = _target(alias.answer[-1])
    seen = {rrset.name for rrset in alias.answer if rrset.type == CNAME}
    if target in seen:
        return _round(query, alias, soa)
    if target in query.trail:
        return alias  # whoever asked for its target sees it come back
    found = await lookup(query, target, query.type)
    if not isinstance(found, Response):
        return found
    alone = replace(
        alias,
        stable_for=min(alias.stable_for, found.stable_for),
        depends=tuple(dict.fromkeys(alias.depends + found.depends)),
    )
    if is_unanswered(found):
        return alone
    if any(rrset.type == CNAME and _target(rrset) in seen for rrset in found.answer):
        return _round(query, alone, soa)
    return replace(
        alone,
        rcode=found.rcode,
        flags=found.flags,
        answer=alias.answer + found.answer,
        authority=found.authority,
        additional=found.additional,
        error=found.error,
    )


def _target(alias: RRset) -> str:
    return names.text(alias.rdata[0].lower())


def _round(query: Query, alias: Response, soa: tuple[RRset, ...]) -> Response:
    """NODATA: resolvers fail on an alias that leads back to itself, and would ask for ever."""
    text = f"{query.name.rstrip('.')} is an alias that leads back to itself"
    why = ExtendedError(OTHER, text, "one of its aliases must lead elsewhere")
    return replace(alias, answer=(), authority=soa, error=why)
