"""A Response as a message: names compressed, what does not fit left out, rotations as rings of octets. No I/O.

Names in rdata are never compressed (RFC 3597 4 forbids it for SRV, RFC 1035 allows it elsewhere); owner names are, against
the question and against owners before them.
"""

import random
import struct

from kdns.dns import names
from kdns.dns.query import Edns, Query
from kdns.dns.response import ExtendedError, Response, RRset
from kdns.dns.types import A, AA, AAAA, AD, CD, CNAME, DO, EDE, IN, NOERROR, OPCODE, OPT, OUR_SIZE, QR, RD, TC
from kdns.errors import FormatError

_RR_HEAD = struct.Struct("!HHI").pack
_USUAL = struct.Struct("!HHHIH").pack
_COUNTS = struct.Struct("!5H").pack
_SIZES = [n.to_bytes(2, "big") for n in range(512)]


def opt(edns: Edns | None, ours: int = OUR_SIZE, rcode: int = NOERROR, error: ExtendedError | None = None) -> bytes:
    """Our OPT record for a reply: none where the query had none; DO is echoed, options are not (RFC 6891 6.1.1)."""
    if edns is None:
        return b""
    if rcode < 16 and error is None and ours == OUR_SIZE:
        return _OPT_DO if edns.do else _OPT
    option = b""
    if error is not None:
        note = error.text.encode()[:200]
        option = struct.pack("!HHH", EDE, 2 + len(note), error.code) + note
    flags = DO if edns.do else 0
    return b"\0" + struct.pack("!HHBBHH", OPT, ours, rcode >> 4, 0, flags, len(option)) + option


_OPT = b"\0" + struct.pack("!HHIH", OPT, OUR_SIZE, 0, 0)
_OPT_DO = b"\0" + struct.pack("!HHIH", OPT, OUR_SIZE, DO, 0)


def refusal(wire: bytes, error: FormatError) -> bytes:
    """The reply, without its id, to a message that decode did not take; the question is kept where it was understood."""
    flags = QR | int.from_bytes(wire[2:4], "big") & (OPCODE | RD) | error.rcode & 15
    record = opt(Edns(0, False), rcode=error.rcode) if error.edns else b""
    return _COUNTS(flags, 1 if error.question else 0, 0, 0, 1 if record else 0) + error.question + record


class Ring:
    """A reply whose address records may start at any of them: octets only, a turn is a slice.

    `shown` octets of the ring are shown at a time: all of them, or in a truncated reply as many as fit.
    """

    __slots__ = ("_at", "_head", "_records", "_shown", "_tail", "_unit")

    def __init__(self, head: bytes, records: bytes, unit: int, shown: int, tail: bytes) -> None:
        self._head, self._tail, self._unit, self._shown = head, tail, unit, shown
        self._records = records + records[: shown - unit]
        self._at = random.randrange(len(records) // unit) * unit

    def turn(self) -> bytes:
        """The next reply, without its id; the first of the last comes last."""
        at = self._at
        following = at + self._unit
        self._at = following if following + self._shown <= len(self._records) else 0
        return self._head + self._records[at : at + self._shown] + self._tail

    def __len__(self) -> int:
        """Octets that it holds."""
        return len(self._head) + len(self._records) + len(self._tail)


def encode(query: Query, response: Response, ours: int = OUR_SIZE) -> bytes | Ring:
    """A reply without its id; a Ring where the response rotates.

    Over UDP at most `query.limit(ours)` octets: what does not fit is left out, by whole records in the answer and then
    with TC (RFC 2181 9), by whole RRsets in the additional section and then silently. The OPT record is always kept.
    """
    tail = opt(query.edns, ours, response.rcode, response.error)
    room = query.limit(ours) - len(tail)
    if response.error is not None and room < 12 + len(query.question):  # a long name and a long reason
        tail = opt(query.edns, ours, response.rcode)
        room = query.limit(ours) - len(tail)
    at = 12 + len(query.question)
    if not response.rotate and not response.additional and not (response.answer and response.authority):
        usual = _usual(query, response, at, room, tail)
        if usual is not None:
            return usual
    owners = _Owners(query.name)
    answer, answers, at, whole = owners.section(response.answer, at, room)
    ring = owners.ring if response.rotate else None
    authority: list[bytes] = []
    additional: list[bytes] = []
    authorities = additionals = 0
    if whole and response.authority:
        authority, authorities, at, whole = owners.section(response.authority, at, room)
    if whole and response.additional:
        for rrset in response.additional:
            records, count, after, fits = owners.section((rrset,), at, room)
            if not fits:
                break
            additional += records
            additionals += count
            at = after
    flags = _flags(query, response)
    if not whole:
        flags |= TC
    head = _COUNTS(flags, 1, answers, authorities, additionals + (1 if tail else 0)) + query.question
    if ring is not None:
        before, octets, unit, shown = ring
        rest = b"".join(authority) + b"".join(additional) + tail
        return Ring(head + b"".join(answer[:before]), octets, unit, shown, rest)
    return b"".join([head, *answer, *authority, *additional, tail])


def _flags(query: Query, response: Response) -> int:
    """The flags of a reply; AD only for those who show that they know it (RFC 6840 5.8)."""
    flags = QR | query.flags & (RD | CD) | response.flags | response.rcode & 15
    if response.authoritative:
        flags |= AA
    return flags & ~AD if flags & AD and not (query.flags & AD or query.do) else flags


def _usual(query: Query, response: Response, at: int, room: int, tail: bytes) -> bytes | None:
    """The reply that most are: one record at the name asked, or the SOA of its zone; None where it is another.

    It says what `encode` would, in half the time.
    """
    section = response.answer or response.authority
    if len(section) != 1 or len(section[0].rdata) != 1:
        return None
    name, type, ttl, (rdata,) = section[0]
    asked = query.name
    if not asked.endswith(name) or name == "." or "\\" in asked:
        return None
    above = len(asked) - len(name)
    size = len(rdata)
    if (above and asked[above - 1] != ".") or size > 511 or at + 12 + size > room:
        return None
    flags = _flags(query, response)
    answers = 1 if response.answer else 0
    head = _COUNTS(flags, 1, answers, 1 - answers, 1 if tail else 0) + query.question
    return head + _USUAL(0xC00C + above, type, IN, ttl, size) + rdata + tail


class _Owners:
    """The owner names of one message, compressed, and the records written below them.

    The question's own suffixes need no table: an absolute name without escapes has one character less as text than octets
    on the wire, so where a suffix of it stands is a subtraction.
    """

    __slots__ = ("_alias", "_question", "_seen", "ring")

    def __init__(self, question: str) -> None:
        self._question = question
        self._seen: dict[str, int] = {}
        self._alias: tuple[bytes, int] | None = None  # the target of the last CNAME, and where it stands
        self.ring: tuple[int, bytes, int, int] | None = None  # parts before it, all records, octets of one, octets shown

    def owner(self, name: str, at: int) -> bytes:
        """An owner name to stand at `at`: a pointer, or labels and then a pointer or the root."""
        if name == self._question:
            return b"\xc0\x0c"
        if "\\" in name or "\\" in self._question:
            return names.wire(name)
        question = self._question
        out = b""
        rest = name
        while rest and rest != ".":
            if question.endswith(rest) and (len(question) == len(rest) or question[-len(rest) - 1] == "."):
                return out + (0xC000 | 12 + len(question) - len(rest)).to_bytes(2, "big")
            if rest in self._seen:
                return out + (0xC000 | self._seen[rest]).to_bytes(2, "big")
            if rest is name and self._alias is not None and names.wire(name) == self._alias[0].lower():
                return (0xC000 | self._alias[1]).to_bytes(2, "big")
            if at + len(out) < 0x4000:
                self._seen[rest] = at + len(out)
            label, _, rest = rest.partition(".")
            out += bytes((len(label),)) + label.encode()
        return out + b"\0"

    def section(self, rrsets: tuple[RRset, ...], at: int, room: int) -> tuple[list[bytes], int, int, bool]:
        """Records of a section from `at` on: (parts, how many records, where they end, did all fit)."""
        parts: list[bytes] = []
        count = 0
        for rrset in rrsets:
            owner = self.owner(rrset.name, at)
            pointer = owner if len(owner) == 2 or at >= 0x4000 else (0xC000 | at).to_bytes(2, "big")
            fixed = _RR_HEAD(rrset.type, IN, rrset.ttl)
            rdata = rrset.rdata
            self.ring = None
            if (rrset.type == A or rrset.type == AAAA) and len(owner) == 2:
                unit = 12 + len(rdata[0])
                shown = min(len(rdata), max(room - at, 0) // unit)
                head = pointer + fixed + _SIZES[len(rdata[0])]
                records = head + head.join(rdata)
                if shown and len(rdata) > 1:
                    self.ring = (len(parts), records, unit, shown * unit)
                parts.append(records if shown == len(rdata) else records[: shown * unit])
                at += shown * unit
                count += shown
                if shown < len(rdata):
                    return parts, count, at, False
                continue
            for octets in rdata:
                size = _SIZES[len(octets)] if len(octets) < 512 else len(octets).to_bytes(2, "big")
                record = owner + fixed + size + octets
                if at + len(record) > room:
                    return parts, count, at, False
                parts.append(record)
                if rrset.type == CNAME and at + len(record) - len(octets) < 0x4000:
                    self._alias = (octets, at + len(record) - len(octets))
                at += len(record)
                count += 1
                owner = pointer
        return parts, count, at, True
