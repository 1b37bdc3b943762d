"""Differences that can be taken out of a reply: CoreDNS's as kdns would say it, by the name of the difference.

Each function takes (CoreDNS's reply, kdns's reply) and returns the first one without that difference; all else has to be equal.
STANDING ones are everywhere, ON_CALL ones where a question has the name.
"""

from collections.abc import Callable

from tests.peer.questions import Reply


def _recursion_available(coredns: Reply, kdns: Reply) -> Reply:
    """RA in all that a block with *forward* says."""
    return coredns._replace(flags=kdns.flags) if kdns.flags.replace(" RA", "") == coredns.flags else coredns


def _apex_ns(coredns: Reply, kdns: Reply) -> Reply:
    """The NS records of a zone (and their signature) beside each positive answer out of it."""
    rest = [record for record in coredns.authority if not {" in ns ", " in rrsig ns "} & _kinds(record)]
    return coredns._replace(authority=rest) if coredns.answer and "AA" in coredns.flags else coredns


def _negative_ttl(coredns: Reply, kdns: Reply) -> Reply:
    """The TTL of a SOA beside a denial: at most the last of its fields."""
    return coredns._replace(authority=sorted(_bounded(record) for record in coredns.authority)) if _is_denial(coredns) else coredns


def _targets_soa(coredns: Reply, kdns: Reply) -> Reply:
    """The SOA beside an alias that leads to nothing: that of the target's zone."""
    return coredns._replace(authority=kdns.authority) if _is_denial(coredns) and " in cname " in " ".join(kdns.answer) else coredns


def _edns_as_asked(coredns: Reply, kdns: Reply) -> Reply:
    """EDNS, and its flag DO, in the reply to a query that has none."""
    return coredns._replace(edns="" if coredns.edns.startswith("UNASKED-EDNS") else coredns.edns.replace(" UNASKED-DO", ""))


def _authoritative(coredns: Reply, kdns: Reply) -> Reply:
    """AA, and addresses beside an NS record."""
    return coredns._replace(flags=f"AA {coredns.flags}", additional=kdns.additional)


def _is_denial(reply: Reply) -> bool:
    last = reply.answer[-1] if reply.answer else " in cname "
    return " in cname " in last


def _kinds(record: str) -> set[str]:
    _, _, cls, type, rdata = record.split(" ", 4)
    return {f" {cls} {type} ", f" {cls} {type} {rdata.split(' ')[0]} "}


def _bounded(record: str) -> str:
    name, ttl, cls, type, rdata = record.split(" ", 4)
    least = min(int(ttl), int(rdata.rpartition(" ")[2])) if type == "soa" else ttl
    return f"{name} {least} {cls} {type} {rdata}"


STANDING: dict[str, Callable[[Reply, Reply], Reply]] = {
    "recursion-available": _recursion_available,
    "apex-ns": _apex_ns,
    "negative-ttl": _negative_ttl,
    "targets-soa": _targets_soa,
    "edns-as-asked": _edns_as_asked,
}
ON_CALL: dict[str, Callable[[Reply, Reply], Reply]] = {"local-authoritative": _authoritative}


def alike(coredns: Reply, kdns: Reply, name: str = "") -> bool:
    """Are two replies the same but for what differs everywhere, and differ in what is called by the name, and no more?

    Of a difference that cannot be taken out there has to be one.
    """
    same = _but_for_standing(coredns, kdns)
    if not name:
        return same
    return not same and (name not in ON_CALL or _but_for_standing(ON_CALL[name](coredns, kdns), kdns))


def _but_for_standing(coredns: Reply, kdns: Reply) -> bool:
    for without in STANDING.values():
        if coredns != kdns:
            coredns = without(coredns, kdns)
    return coredns == kdns
