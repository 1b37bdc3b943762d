"""A zone: its records, what it says of any name, and the order in which they are transferred. No I/O.

`Zone` holds records as they are, from a file or a transfer: the way of a question through it is RFC 1034 4.3.2, with wildcards as
RFC 4592 has them, DNAME (RFC 6672), and for those who ask with DO what a signed zone carries (RFC 4035 3.1; NSEC, not NSEC3).
`Apex` is the top of a zone whose records are made when they are asked for.

A negative answer carries the SOA (RFC 2308 3): NODATA where the name exists, or a name below it does (an empty non-terminal,
RFC 8020), else NXDOMAIN. A positive one carries nothing that was not asked for, but addresses of what it names.
"""

import math
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kdns.dns import names
from kdns.dns.response import ExtendedError, Key, Made, replace, Response, RRset
from kdns.dns.types import (
    A,
    AAAA,
    ANY,
    CNAME,
    DNAME,
    DS,
    HTTPS,
    MX,
    NOERROR,
    NS,
    NSEC,
    NXDOMAIN,
    RRSIG,
    SOA,
    SRV,
    SVCB,
    YXDOMAIN,
)  # fmt: skip

MOST_NEGATIVE_TTL = 300  # seconds, of the SOA in answers
MOST_ALIASES = 10  # followed inside a zone for one question
_TARGET = {NS: 0, MX: 2, SRV: 6, SVCB: 2, HTTPS: 2}  # octets before the name whose addresses are of use

Node = dict[int, RRset]


class Timers(NamedTuple):
    """The numbers of a SOA record (RFC 1035 3.3.13): a serial, then seconds."""

    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int

    @classmethod
    def of(cls, rdata: bytes) -> "Timers":
        return cls(*struct.unpack("!5I", rdata[-20:]))


class Found(NamedTuple):
    """What a zone says; whether it ends in an alias that leads out of it, for others to follow."""

    response: Response
    leads_out: bool = False


class Zone:
    """The records of one zone, which do not change: a newer version is another Zone.

    `key` is what its answers depend on: whoever puts a newer version in its place says that this key has changed. Without a
    SOA among the records negative answers have none either, and nobody downstream will keep them.
    """

    def __init__(self, origin: str, rrsets: Iterable[RRset], key: Key, made_by: str = "") -> None:
        self.origin = origin
        self._depends = (key,)
        self._made = Made(made_by)
        self._nodes: dict[str, Node] = {origin: {}}  # an empty one: a name with names below it alone
        self._signatures: dict[str, Node] = {}  # by the type that they cover
        self._cuts: dict[str, int] = {}  # where the zone ends: NS below the origin, or DNAME
        for name, type, covered, rrset in _joined(rrsets):
            self._put(name, type, covered, rrset)
        for name, node in self._nodes.items():
            _tidy(node)
            if DNAME in node or (NS in node and name != origin):
                self._cuts[name] = DNAME if DNAME in node else NS
        soa = self._nodes[origin].get(SOA)
        self.soa = soa
        self.timers = Timers.of(soa.rdata[0]) if soa else Timers(0, 0, 0, 0, 0)
        self.negative = (soa._replace(ttl=min(soa.ttl, self.timers.minimum)),) if soa else ()  # RFC 2308 5
        self._chain = sorted((_order(name), name) for name, node in self._nodes.items() if NSEC in node)

    def _put(self, name: str, type: int, covered: int, rrset: RRset) -> None:
        for above in names.upwards(name):
            if above in self._nodes:
                break
            self._nodes[above] = {}
        if covered:
            self._signatures.setdefault(name, {})[covered] = rrset
        else:
            self._nodes[name][type] = rrset

    def __len__(self) -> int:
        """How many records there are."""
        return sum(len(rrset.rdata) for rrset in self.rrsets())

    def rrsets(self) -> Iterator[RRset]:
        """All RRsets, the SOA first."""
        for name, node in self._nodes.items():
            yield from sorted(node.values(), key=lambda rrset: rrset.type != SOA)
            yield from self._signatures.get(name, {}).values()

    def transfer(self) -> Iterator[RRset]:
        """All RRsets as AXFR has them: the SOA first, and once more at the end (RFC 5936 2.2)."""
        yield from self.rrsets()
        if self.soa:
            yield self.soa

    # ------------------------------------------------------------ what it says

    def lookup(self, name: str, type: int, do: bool = False) -> Found:
        """What a name in the zone has of a type; `do`: signatures and proofs as well.

        Aliases are followed inside the zone, and the code is that of the last target (RFC 6604 2.1).
        """
        response = self._look(name, type, do)
        seen = {name}
        for _ in range(MOST_ALIASES):
            if not response.answer or response.answer[-1].type != CNAME or type in (CNAME, ANY):
                return Found(response)
            target = names.text(response.answer[-1].rdata[0].lower())
            if target in seen:  # each alias of a circle stands once
                return Found(response)
            if not names.is_below(target, self.origin) or self._is_cut(target):
                return Found(response, True)
            seen.add(target)
            more = self._look(target, type, do)
            response = replace(
                more,
                authoritative=True,
                answer=response.answer + more.answer,
                authority=tuple(dict.fromkeys(response.authority + more.authority)),
            )
        return Found(response)

    def _is_cut(self, name: str) -> bool:
        """Is the name one that the zone has delegated?"""
        cut = self._cut(name) if self._cuts else None
        return cut is not None and self._cuts[cut] == NS

    def _cut(self, name: str) -> str | None:
        """Where the zone ends on the way down to a name; a DNAME ends it below its owner only (RFC 6672 2.3)."""
        found = None
        for above in names.upwards(name):
            end = self._cuts.get(above)
            if end == NS or (end == DNAME and above != name):
                found = above
            if above == self.origin:
                break
        return found

    def _look(self, name: str, type: int, do: bool) -> Response:
        if self._cuts:
            cut = self._cut(name)
            if cut is not None and self._cuts[cut] == DNAME:
                return self._renamed(name, cut, do)
            if cut is not None and (cut != name or type not in (DS, NSEC)):  # those are of the parent's side (RFC 4035 3.1.4.1)
                return self._referral(cut, do)
        node = self._nodes.get(name)
        if node is not None:
            return self._at(name, name, node, type, do)
        encloser = next(above for above in names.upwards(name) if above in self._nodes)
        wildcard = "*." + encloser.lstrip(".")
        node = self._nodes.get(wildcard)
        if node is not None:
            return self._at(name, wildcard, node, type, do)
        return self._no(NXDOMAIN, self._proof(name, wildcard) if do else ())

    def _at(self, name: str, owner: str, node: Node, type: int, do: bool) -> Response:
        """What stands at an owner, under the name asked: another name where the owner is a wildcard."""
        if type == ANY:
            rrset = next(iter(node.values()), None)  # one is enough (RFC 8482 4.1)
        else:
            rrset = node.get(type) or node.get(CNAME)
        proof: tuple[RRset, ...] = ()
        if do and rrset is None:
            proof = self._proof(name, owner)
        elif do and name != owner:
            proof = self._proof(name)
        if type == RRSIG and owner in self._signatures:
            answer = tuple(self._signatures[owner].values())
        elif rrset is None:
            return self._no(NOERROR, proof)
        else:
            answer = self._signed(owner, rrset, do)
        if name != owner:
            answer = tuple([each._replace(name=name) for each in answer])
        additional = self._addresses(rrset, do) if rrset and rrset.type in _TARGET else ()
        return self._yes(answer, proof, additional)

    def _yes(
        self, answer: tuple[RRset, ...], authority: tuple[RRset, ...] = (), additional: tuple[RRset, ...] = (), rcode: int = NOERROR
    ) -> Response:
        return Response(
            rcode=rcode,
            authoritative=bool(answer),
            answer=answer,
            authority=authority,
            additional=additional,
            stable_for=math.inf,
            depends=self._depends,
            made=self._made,
        )

    def _no(self, rcode: int, proof: tuple[RRset, ...]) -> Response:
        signed = self._signed(self.origin, self.negative[0], True) if proof and self.negative else self.negative
        return replace(self._yes((), signed + proof, (), rcode), authoritative=True)

    def _signed(self, owner: str, rrset: RRset, do: bool) -> tuple[RRset, ...]:
        """An RRset with its signature where that is wanted: before it, so that an alias is what an answer ends in."""
        signature = self._signatures.get(owner, {}).get(rrset.type) if do else None
        return (rrset,) if signature is None else (signature, rrset)

    def _addresses(self, rrset: RRset, do: bool = False) -> tuple[RRset, ...]:
        """The addresses that the zone has of the names in an RRset, glue among them."""
        found: dict[RRset, None] = {}
        for rdata in rrset.rdata:
            target = names.text(rdata[_TARGET[rrset.type] :])
            node = self._nodes.get(target, {})
            for type in (A, AAAA):
                if type in node:
                    found |= dict.fromkeys(self._signed(target, node[type], do))
        return tuple(found)

    def _referral(self, cut: str, do: bool) -> Response:
        """The name servers of what is delegated, with their addresses, and whether it is signed (RFC 4035 3.1.4)."""
        node = self._nodes[cut]
        authority: tuple[RRset, ...] = (node[NS],)
        if do:
            authority += self._signed(cut, node[DS], True) if DS in node else self._proof(cut, cut)
        return self._yes((), authority, self._addresses(node[NS]))

    def _renamed(self, name: str, owner: str, do: bool) -> Response:
        """A name below a DNAME is an alias of the same name below its target (RFC 6672 3.2)."""
        rrset = self._nodes[owner][DNAME]
        answer = self._signed(owner, rrset, do)
        above = names.text(rrset.rdata[0].lower())
        try:
            target = names.wire(name[: -len(owner) if owner != "." else None] + above.lstrip("."))
        except ValueError:  # over 255 octets
            return self._yes(answer, rcode=YXDOMAIN)
        return self._yes((*answer, RRset(name, CNAME, rrset.ttl, (target,))))

    # ------------------------------------------------------------ what is not there, in a signed zone

    def _proof(self, *missing: str) -> tuple[RRset, ...]:
        """The NSEC records at these names or around them, each with its signature (RFC 4035 3.1.3)."""
        found: dict[RRset, None] = {}
        for name in missing if self._chain else ():
            at = bisect_right(self._chain, (_order(name), name)) - 1
            owner = self._chain[at][1]  # before the first of them stands the last: they are a ring
            found |= dict.fromkeys(self._signed(owner, self._nodes[owner][NSEC], True))
        return tuple(found)


def _joined(rrsets: Iterable[RRset]) -> Iterator[tuple[str, int, int, RRset]]:
    """RRsets by owner, type and covered type (of signatures), each once: the least TTL (RFC 2181 5.2), no record twice."""
    rdatas: dict[tuple[str, int, int], dict[bytes, None]] = {}
    ttls: dict[tuple[str, int, int], int] = {}
    for name, type, ttl, every in rrsets:
        for rdata in every:
            key = name, type, int.from_bytes(rdata[:2], "big") if type == RRSIG else 0
            rdatas.setdefault(key, {})[rdata] = None
            ttls[key] = min(ttl, ttls.get(key, ttl))
    for key, records in rdatas.items():
        yield *key, RRset(key[0], key[1], ttls[key], tuple(records))


def _tidy(node: Node) -> None:
    """Beside an alias there is nothing else (RFC 1034 3.6.2, RFC 4034 4), and there is one; but a zone has a SOA."""
    alias = node.get(CNAME)
    if alias is None or len(node) == len(alias.rdata) == 1:
        return
    if SOA in node:
        del node[CNAME]
        return
    for type in [type for type in node if type not in (CNAME, NSEC)]:
        del node[type]
    node[CNAME] = alias._replace(rdata=alias.rdata[:1])


def _order(name: str) -> list[bytes]:
    """What names are sorted by in a signed zone (RFC 4034 6.1)."""
    wire, at, out = names.wire(name), 0, []
    while size := wire[at]:
        out.append(wire[at + 1 : at + 1 + size])
        at += size + 1
    return out[::-1]


class Apex:
    """The top of a zone. `ttl` (seconds) is how long a negative answer may be kept; `made_by` the plugin.

    `server`: labels of its name server.
    """

    def __init__(self, origin: str, ttl: int, made_by: str, server: str = "ns.dns") -> None:
        self.origin = origin
        self._made = Made(made_by)
        self._ttl = ttl
        self._head = names.wire(_below(server, origin)) + names.wire(_below("hostmaster", origin))
        self._serial = -1
        self._soa = RRset(origin, SOA, 0, ())
        self._negative = (self._soa,)

    def soa(self, serial: int) -> RRset:
        """The SOA record as of a serial (RFC 1035 3.3.13), with CoreDNS's intervals."""
        if serial != self._serial:
            rdata = self._head + struct.pack("!5I", serial & 0xFFFFFFFF, 7200, 1800, 86400, self._ttl)
            self._soa = RRset(self.origin, SOA, min(self._ttl, MOST_NEGATIVE_TTL), (rdata,))
            self._negative = (self._soa,)
            self._serial = serial
        return self._soa

    def negative(
        self, exists: bool, serial: int, depends: tuple[Key, ...] | None, error: ExtendedError | None = None
    ) -> Response:
        """NODATA or NXDOMAIN. `depends` None: on too much to be named, so nobody may keep it."""
        return Response(
            rcode=NOERROR if exists else NXDOMAIN,
            authority=self._negative if serial == self._serial else (self.soa(serial),),
            stable_for=0.0 if depends is None else math.inf,
            depends=depends or (),
            made=self._made,
            error=error,
        )


def _below(label: str, origin: str) -> str:
    return f"{label}." if origin == "." else f"{label}.{origin}"
