"""What an upstream said: wire to Response. No I/O.

A decoder of our own, for a forwarded question has some 50 microseconds for everything. Rdata stay octets, with the names in
them uncompressed where RFC 1035 and RFC 3597 4 allow compression, so that they can be sent again as they are. Anything may
come: all loops are bounded by the size of the message, and all that is wrong ends in one exception with one line.
"""

import struct
from collections.abc import Collection

from kdns.dns import names
from kdns.dns.query import picked, Query, skip_name
from kdns.dns.response import ExtendedError, Made, NOT_SAID, Response, RRset
from kdns.dns.types import A, AA, AAAA, AD, CD, CNAME, DNAME, EDE, IN, MX, NS, OPT, PTR, RA, RRSIG, SOA, SRV, TC
from kdns.errors import Garbage

NAPTR = 35
MAX_POINTERS = 32  # in one name; compression as it is done needs a handful
SPARE_STEPS = 256  # labels and pointers of names that a message may have beside one for each of its octets
NEVER = 2**31  # a TTL from here on is 0 (RFC 2181 8)

# Where names stand in rdata: octets before them, how many they are, octets after them (None: any number).
_NAMES: dict[int, tuple[int, int, int | None]] = {
    NS: (0, 1, 0), 3: (0, 1, 0), 4: (0, 1, 0), CNAME: (0, 1, 0), SOA: (0, 2, 20), 7: (0, 1, 0), 8: (0, 1, 0), 9: (0, 1, 0),
    PTR: (0, 1, 0), 14: (0, 2, 0), MX: (2, 1, 0), 17: (0, 2, 0), 18: (2, 1, 0), 21: (2, 1, 0), 24: (18, 1, None),
    26: (2, 2, 0), 30: (0, 1, None), SRV: (6, 1, 0), 36: (2, 1, 0), DNAME: (0, 1, 0), NAPTR: (-1, 1, 0),
}  # fmt: skip
_SIZES = {A: 4, AAAA: 16}
_SPECIAL = frozenset(_NAMES) | frozenset(_SIZES) | {OPT}

_HEADER = struct.Struct("!5H")
_COUNTS = struct.Struct("!3H").unpack_from
_RR = struct.Struct("!HHIH")
_POINTED = struct.Struct("!HHHIH").unpack

_rrset = tuple.__new__  # half the time of RRset(…)
Records = dict[tuple[str, int, bytes], tuple[list[bytes], list[int]]]


def decode(wire: bytes, query: Query, made: Made = NOT_SAID, keep: Collection[int] = ()) -> Response:
    """A message that answers a query (see `waiting.answers`) as a Response; Garbage is all that it raises.

    Records of one owner and type become one RRset where the first of them stands, with the least of their TTLs
    (RFC 2181 5.2). OPT is taken out: the size and the flags in it were meant for us alone (RFC 6891 6.1.1). A message that
    was cut in the middle of a record keeps what is before, if it says so by TC. `keep`: codes of EDNS options that are for the
    client all the same.
    """
    flags, questions, answers, authorities, additionals = _HEADER.unpack_from(wire, 2)
    if answers and questions and not authorities and additionals < 2:
        usual = _usual(wire, query, flags, answers, additionals, made)
        if usual is not None:
            return usual
    reader = _Reader(wire, query if questions else None)
    answer, authority, additional = reader.section(answers), reader.section(authorities), reader.section(additionals)
    if reader.cut and not flags & TC:
        raise Garbage("its reply is cut short")
    return Response(
        rcode=flags & 15 | reader.rcode << 4,
        authoritative=bool(flags & AA),
        flags=flags & (RA | AD | CD | TC),
        answer=answer,
        authority=authority,
        additional=additional,
        foreign=True,
        made=made,
        error=reader.error,
        options=picked(reader.said, keep) if keep else b"",
    )


def _usual(wire: bytes, query: Query, flags: int, answers: int, opts: int, made: Made) -> Response | None:
    """The reply that most are: some addresses of the name asked, and an OPT without options; None where it is another.

    It says what `decode` would, in a third of the time.
    """
    size = _SIZES.get(query.type)
    if size is None:
        return None
    at = 12 + len(query.question)
    end = at + answers * (size + 12)
    if opts:
        if len(wire) != end + 11 or wire[end : end + 3] != b"\0\0\x29" or wire[end + 5] or wire[end + 9 :] != b"\0\0":
            return None
    elif len(wire) != end:
        return None
    head = wire[at : at + 12]
    _, type, cls, ttl, length = _POINTED(head)
    if head[:2] != b"\xc0\x0c" or type != query.type or cls != query.cls or length != size:
        return None
    rdata = []
    for start in range(at, end, size + 12):
        if wire[start : start + 12] != head:  # another TTL, or another record
            return None
        rdata.append(wire[start + 12 : start + 12 + size])
    return Response(
        rcode=flags & 15,
        authoritative=flags & AA != 0,
        flags=flags & (RA | AD | CD | TC),
        answer=(_rrset(RRset, (query.name, type, ttl if ttl < NEVER else 0, tuple(rdata))),),
        foreign=True,
        made=made,
    )


def least_ttl(wire: bytes) -> int:
    """Seconds for which a message of ours holds: the least TTL of what it answers, or of the SOA that says there is nothing.

    0 where it has neither (RFC 8484 5.1).
    """
    questions, answers, authorities = _COUNTS(wire, 4)
    at = 12
    for _ in range(questions):
        at = skip_name(wire, at) + 4
    ttls = []
    for _ in range(answers or authorities):
        at = skip_name(wire, at)
        _, _, ttl, length = _RR.unpack_from(wire, at)
        ttls.append(ttl)
        at += 10 + length
    return min(ttls, default=0)


class _Reader:
    """One message, read from its question on."""

    __slots__ = ("at", "cls", "cut", "error", "owners", "rcode", "said", "steps", "wire")

    def __init__(self, wire: bytes, query: Query | None) -> None:
        self.wire = wire
        self.cls = IN if query is None else query.cls
        self.at = 12 if query is None else 12 + len(query.question)
        self.owners = {} if query is None else {12: query.name}  # names that pointers led to
        self.steps = len(wire) + SPARE_STEPS  # labels and pointers that may still be read: without pointers half would do
        self.cut = False  # in the middle of a record: nothing can be read any more
        self.rcode = 0  # the upper bits, from OPT
        self.error: ExtendedError | None = None
        self.said = b""  # all options of OPT

    def section(self, count: int) -> tuple[RRset, ...]:
        """So many records as RRsets, or what there is of them."""
        if not count or self.cut:
            return ()
        section: Records = {}
        try:
            self.read(section, count)
        except (IndexError, struct.error):
            self.cut = True
        return tuple([_rrset(RRset, (key[0], key[1], min(ttls), tuple(rdata))) for key, (rdata, ttls) in section.items()])

    def read(self, section: Records, count: int) -> None:
        wire, at = self.wire, self.at
        for _ in range(count):
            first = wire[at]
            if first >= 0xC0 and (known := self.owners.get((first & 0x3F) << 8 | wire[at + 1])):
                owner, at = known, at + 2
            elif first:
                owner, at = self.owner(at)
            else:
                owner, at = ".", at + 1
            type, cls, ttl, size = _RR.unpack_from(wire, at)
            at += 10
            end = at + size
            if end > len(wire):
                raise IndexError
            if type not in _SPECIAL:
                rdata = wire[at:end]
            elif type == OPT:
                self.options(ttl, wire[at:end])
            elif type in _SIZES:
                rdata = wire[at:end]
                if size != _SIZES[type]:
                    raise Garbage(f"its reply has an address of {size} octets")
            else:
                rdata = self.rdata(type, at, end)
            at = end
            if cls != self.cls or type == OPT:
                continue
            ttl = ttl if ttl < NEVER else 0
            key = (owner, type, rdata[:2] if type == RRSIG else b"")  # signatures of other types are other RRsets
            if key in section:
                rdatas, ttls = section[key]
                rdatas.append(rdata)
                ttls.append(ttl)
            else:
                section[key] = [rdata], [ttl]
        self.at = at

    def owner(self, at: int) -> tuple[str, int]:
        """An owner name as kdns writes names, and where it ends."""
        pointed = (self.wire[at] & 0x3F) << 8 | self.wire[at + 1] if self.wire[at] >= 0xC0 else -1
        octets, end = self.name(at)
        name = names.text(octets.lower())
        if pointed >= 0:
            self.owners[pointed] = name
        return name, end

    def name(self, at: int) -> tuple[bytes, int]:
        """A name, uncompressed, and where it ends.

        Each pointer leads to before the run of labels that it stands in (RFC 1035 4.1.4: a prior occurrence), and the labels
        there end before that run.
        """
        wire = self.wire
        run, before = at, len(wire)
        parts: list[bytes] = []
        end = steps = 0
        while size := wire[at]:
            steps += 1
            if size >= 0xC0:
                target = (size & 0x3F) << 8 | wire[at + 1]
                parts.append(wire[run:at])
                end = end or at + 2
                if target >= run or len(parts) > MAX_POINTERS:
                    raise Garbage("its reply has names that run in circles")
                run, before, at = target, run, target
            elif size > names.MAX_LABEL:
                raise Garbage("its reply has a label of an unknown kind")
            else:
                at += size + 1
                if before <= at < len(wire):
                    raise Garbage("its reply has a name that runs into itself")
                if at - run > names.MAX_NAME:
                    raise Garbage("its reply has a name of over 255 octets")
        self.steps -= steps
        if self.steps < 0:
            raise Garbage("its reply has too many names for its size")
        parts.append(wire[run : at + 1])
        octets = b"".join(parts)
        if len(octets) > names.MAX_NAME:
            raise Garbage("its reply has a name of over 255 octets")
        return octets, end or at + 1

    def rdata(self, type: int, at: int, end: int) -> bytes:
        """Rdata with the names in it uncompressed."""
        before, count, after = _NAMES[type]
        start = at
        at = self._strings(at + 4, 3) if before < 0 else at + before
        parts = [self.wire[start:at]]
        for _ in range(count):
            octets, at = self.name(at)
            parts.append(octets)
        if at > end or (after is not None and at + after != end):
            raise Garbage(f"its reply has a record of type {type} that does not end where it says")
        parts.append(self.wire[at:end])
        return b"".join(parts)

    def _strings(self, at: int, count: int) -> int:
        """Past so many character strings (RFC 1035 3.3)."""
        for _ in range(count):
            at += 1 + self.wire[at]
        return at

    def options(self, ttl: int, options: bytes) -> None:
        """The upper bits of the code, and the first extended error (RFC 8914)."""
        self.rcode, self.said = ttl >> 24, options
        at = 0
        while at + 4 <= len(options):
            code, size = int.from_bytes(options[at : at + 2], "big"), int.from_bytes(options[at + 2 : at + 4], "big")
            value = options[at + 4 : at + 4 + size]
            if code == EDE and len(value) >= 2 and self.error is None:
                text = value[2:].rstrip(b"\0").decode(errors="replace")
                shown = text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
                self.error = ExtendedError(int.from_bytes(value[:2], "big"), shown)
            at += 4 + size
