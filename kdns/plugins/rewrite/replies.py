"""What is done to the reply to a rewritten query: names put back, TTLs and codes changed. No I/O.

Each is a function from Response to Response. What it makes of a name that is then none is left undone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kdns.dns import names
from kdns.dns.response import replace, Response, RRset
from kdns.dns.types import CNAME, DNAME, MX, NAPTR, NS, PTR, SOA, SRV

Renaming = Callable[[str], str]

_BEFORE_NAME = {CNAME: 0, DNAME: 0, NS: 0, PTR: 0, SOA: 0, MX: 2, SRV: 6}  # octets of rdata


def put_back(new: str, old: str) -> Renaming:
    """The name as it was asked in the place of the one that it became, below it as well."""

    def renamed(name: str) -> str:
        return name[: len(name) - len(new)] + old if names.is_below(name, new) else name

    return renamed


def suffix_put_back(new: str, old: str) -> Renaming:
    """The end that names had in the place of the one that they got."""
    return lambda name: name[: -len(new)] + old if name.endswith(new) else name


@dataclass(frozen=True, slots=True)
class Names:
    """Renames owners of records, or names in their rdata, or both, in all sections."""

    renamed: Renaming
    owners: bool = True
    values: bool = True

    def __call__(self, response: Response) -> Response:
        return replace(
            response,
            answer=tuple(map(self._rrset, response.answer)),
            authority=tuple(map(self._rrset, response.authority)),
            additional=tuple(map(self._rrset, response.additional)),
        )

    def _rrset(self, rrset: RRset) -> RRset:
        name, type, ttl, rdata = rrset
        if self.owners:
            name = self._name(name)
        if self.values and (type in _BEFORE_NAME or type == NAPTR):
            rdata = tuple([self._rdata(type, octets) for octets in rdata])
        return RRset(name, type, ttl, rdata)

    def _name(self, name: str) -> str:
        new = self.renamed(name)
        try:
            return names.absolute(new) if new != name else name
        except ValueError:
            return name

    def _rdata(self, type: int, octets: bytes) -> bytes:
        try:
            start = _strings_end(octets) if type == NAPTR else _BEFORE_NAME[type]
            end = names.end(octets, start)
            name = names.text(octets[start:end])
        except IndexError:  # made up by an upstream
            return octets
        new = self._name(name)
        return octets if new == name else octets[:start] + names.wire(new) + octets[end:]


def _strings_end(octets: bytes) -> int:
    """Where the replacement of a NAPTR record begins: after order, preference and three strings (RFC 3403 4.1)."""
    at = 4
    for _ in range(3):
        at += 1 + octets[at]
    return at


@dataclass(frozen=True, slots=True)
class Ttl:
    """Brings all TTLs into a range, in seconds."""

    least: int
    most: int

    def __call__(self, response: Response) -> Response:
        return replace(
            response,
            answer=tuple(map(self._rrset, response.answer)),
            authority=tuple(map(self._rrset, response.authority)),
            additional=tuple(map(self._rrset, response.additional)),
        )

    def _rrset(self, rrset: RRset) -> RRset:
        return rrset._replace(ttl=min(max(rrset.ttl, self.least), self.most))


@dataclass(frozen=True, slots=True)
class Rcode:
    """Another code in the place of one."""

    old: int
    new: int

    def __call__(self, response: Response) -> Response:
        return replace(response, rcode=self.new) if response.rcode == self.old else response
