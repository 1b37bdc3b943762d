"""Catalog zones: a zone whose records say which zones there are (RFC 9432). No I/O."""

from typing import NamedTuple

from kdns.dns import names
from kdns.dns.response import RRset
from kdns.dns.types import PTR, TXT
from kdns.dns.zone import Zone

VERSION = b"\x012"
MOST = 20_000  # members; it is others who say how many there are


class Member(NamedTuple):
    """A member zone: the label that it has in the catalog, and the catalog that is to have it next (4.4.1), if any."""

    label: str
    new_owner: str = ""


def members(zone: Zone) -> dict[str, Member]:
    """The member zones of a catalog by origin; ValueError where it is none, and all of it is to be passed over (5.1)."""
    found: dict[str, Member] = {}
    owners: dict[str, str] = {}  # by label
    zones = f"zones.{zone.origin}"
    version: tuple[bytes, ...] = ()
    listed: list[tuple[str, RRset]] = []
    for rrset in zone.rrsets():
        if rrset.name == f"version.{zone.origin}" and rrset.type == TXT:
            version = rrset.rdata
        elif rrset.type == PTR and len(rrset.rdata) == 1 and rrset.name != zones and names.is_below(rrset.name, zones):
            labels = names.labels(rrset.name[: -len(zones)])
            if len(labels) == 1:
                listed.append((labels[0], rrset))
            elif len(labels) == 2 and labels[0] == "coo":
                owners[labels[1]] = names.text(rrset.rdata[0])
    if version != (VERSION,):
        raise ValueError(f"its version.{zone.origin} TXT record is not one \"2\"")
    if len(listed) > MOST:
        raise ValueError(f"it has {len(listed)} members, more than {MOST}")
    for label, rrset in listed:
        origin = names.text(rrset.rdata[0])
        if origin in found:
            raise ValueError(f"it has {origin} twice")
        found[origin] = Member(label, owners.get(label, ""))
    return found
