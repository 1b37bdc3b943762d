"""An answer in one sentence, for a person: what the name has, why, and what to do about it. No I/O."""

from collections.abc import Iterable
from difflib import SequenceMatcher

from kdns.core.chain import is_unanswered
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, Response, RRset, Silence
from kdns.dns.types import A, AAAA, CNAME, NOERROR, NXDOMAIN, rcode_text, REFUSED, SERVFAIL, type_text

SHOWN = 3  # addresses that are named
ALIKE = 0.8  # how much of a zone's name a misspelt one has, of 1
NO_FORWARD = "a forward in the Corefile would ask others for it"


def sentence(query: Query, answer: Answer, by: str, whole: str, zones: Iterable[str]) -> str:
    """All of it in one sentence.

    `by`: the last plugin that was asked; `whole`: the name that was meant, where it is short for one; `zones`: those served here.
    """
    name = shown(query.name)
    if not isinstance(answer, Response):
        dropped = isinstance(answer, Silence)
        return f"{name} gets no reply: {by} drops the query" if dropped else f"{name} is answered with a transfer of the zone"
    subject, remedy = name, answer.error.remedy if answer.error is not None else ""
    why = answer.error.text if answer.error is not None else ""
    aliases = [shown(names.text(rrset.rdata[0].lower())) for rrset in answer.answer if rrset.type == CNAME]
    if aliases and query.type != CNAME and aliases[-1] not in why:
        subject = f"{name} is an alias of {aliases[-1]}, which"
    records = [rrset for rrset in answer.answer if rrset.type != CNAME or query.type == CNAME]
    if records:
        return _ended(f"{subject} {_had(records)}{_told(answer)}" + (f", but {why}" if why else ""), remedy)
    if not answer.authoritative or is_unanswered(answer):
        near = f"ask for {shown(whole)}" if whole else misspelt(query.name, zones)
        remedy = near or remedy or (NO_FORWARD if is_unanswered(answer) else "")
    if aliases and answer.rcode == NOERROR and not answer.authority:
        return _ended(f"{subject} nothing here resolves", NO_FORWARD)
    why = why or (f"{answer.made.upstream} says so" if answer.made.upstream else "") or remedy
    return _ended(f"{subject} {_lacked(query, answer.rcode)}" + (f": {why}" if why else ""), remedy if remedy != why else "")


def misspelt(name: str, zones: Iterable[str]) -> str:
    """What to ask for where a name nearly is of a zone here; empty where it is not."""
    labels = names.labels(name)
    for zone in zones:
        if len(labels) == 1:
            return f"ask for the whole name, which ends in {shown(zone)}"
        own = names.labels(zone)
        end = ".".join(labels[-len(own) :])
        if 0 < len(own) < len(labels) and ALIKE <= SequenceMatcher(None, end, shown(zone)).ratio() < 1:
            return f"ask for {'.'.join(labels[: -len(own)])}.{shown(zone)}, of a zone that is served here"
    return ""


def shown(name: str) -> str:
    """A name as people write it."""
    return name.rstrip(".") or "."


def _ended(text: str, remedy: str) -> str:
    return f"{text}; {remedy}" if remedy else text


def _had(records: list[RRset]) -> str:
    """What there is: the addresses, or how many records."""
    every = [names.unpacked(rdata) for rrset in records if rrset.type in (A, AAAA) for rdata in rrset.rdata]
    if every:
        return f"is {', '.join(every[:SHOWN])}" + (f" and {len(every) - SHOWN} more" if len(every) > SHOWN else "")
    count = sum(len(rrset.rdata) for rrset in records)
    return f"has {count} {type_text(records[-1].type)} record{'s' if count > 1 else ''}"


def _told(response: Response) -> str:
    """By whom, where that is not the plugin that has the zone."""
    made = response.made
    source = " of ".join(filter(None, ("a cached answer" if made.cached in ("hit", "stale") else "", made.upstream)))
    return f" ({source})" if source else ""


def _lacked(query: Query, rcode: int) -> str:
    code = rcode_text(rcode)
    return {
        NOERROR: f"has no {type_text(query.type)} record",
        NXDOMAIN: "does not exist",
        REFUSED: "is refused",
        SERVFAIL: "could not be resolved",
    }.get(rcode, f"is answered with {code}")
