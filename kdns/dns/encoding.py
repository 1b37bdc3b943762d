"""A Response as a message: names compressed, what does not fit left out, rotations as rings of octets. No I/O."""

import struct
from collections.abc import Callable
from functools import lru_cache, partial

from kdns.dns import names
from kdns.dns.compression import COMPRESSED, Places, POINTER, REACH
from kdns.dns.query import Edns, Query
from kdns.dns.response import ExtendedError, replace, Response, RRset
from kdns.dns.ring import Ring, UnevenRing
from kdns.dns.types import A, AA, AAAA, AD, CD, DO, EDE, LARGEST_UDP, NOERROR, OPCODE, OPT, OUR_SIZE, QR, RA, RD, SOA, TC
from kdns.errors import FormatError

ADDRESSES = frozenset((A, AAAA))
_RR_HEAD = struct.Struct("!HHI").pack
_USUAL = struct.Struct("!HHHIH").pack
_COUNTS = struct.Struct("!5H").pack
_SIZES = [n.to_bytes(2, "big") for n in range(512)]


def opt(
    edns: Edns | None, announced: int = OUR_SIZE, rcode: int = NOERROR, error: ExtendedError | None = None, options: bytes = b""
) -> bytes:  # fmt: skip
    """Our OPT record for a reply: none where the query had none; DO is echoed, options are not (RFC 6891 6.1.1)."""
    if edns is None:
        return b""
    if rcode < 16 and error is None and announced == OUR_SIZE and not options:
        return _OPT_DO if edns.do else _OPT
    option = options
    if error is not None:
        note = error.text.encode()[:200]
        option += struct.pack("!HHH", EDE, 2 + len(note), error.code) + note
    flags = DO if edns.do else 0
    return b"\0" + struct.pack("!HHBBHH", OPT, announced, rcode >> 4, 0, flags, len(option)) + option


_OPT = b"\0" + struct.pack("!HHIH", OPT, OUR_SIZE, 0, 0)
_OPT_DO = b"\0" + struct.pack("!HHIH", OPT, OUR_SIZE, DO, 0)


def refusal(wire: bytes, error: FormatError) -> bytes:
    """The reply, without its id, to a message that decode did not take; the question is kept where it was understood."""
    flags = QR | int.from_bytes(wire[2:4], "big") & (OPCODE | RD) | error.rcode & 15
    record = opt(Edns(0, False), rcode=error.rcode) if error.edns else b""
    return _COUNTS(flags, 1 if error.question else 0, 0, 0, 1 if record else 0) + error.question + record


def encode(
    query: Query, response: Response, most: int = LARGEST_UDP, announced: int = OUR_SIZE, recursion: bool = False
) -> bytes | Ring:  # fmt: skip
    """A reply without its id; a Ring where the response rotates.

    Over UDP at most `query.limit(most)` octets: what does not fit is left out, by whole records in the answer and then
    with TC (RFC 2181 9), by whole RRsets in the additional section and then silently. The OPT record is always kept; it says
    that we take `announced` octets. `recursion`: RA is set, whatever the response says (RFC 1035 4.1.1).
    """
    tail = b"" if query.edns is None else opt(query.edns, announced, response.rcode, response.error, response.options)
    room = query.limit(most) - len(tail)
    if len(tail) > 11 and room < 12 + len(query.question):  # a long name and a long reason
        tail = opt(query.edns, announced, response.rcode)
        room = query.limit(most) - len(tail)
    at = 12 + len(query.question)
    if not response.rotate and not response.additional and not response.cls and not (response.answer and response.authority):
        usual = _usual(query, response, at, room, tail, recursion)
        if usual is not None:
            return usual
    places = Places(query.name, query.question)
    if response.cls:
        places.cls = response.cls
    turning = response.answer[-1:] if response.rotate else ()
    ring: Callable[[bytes, bytes], Ring] | None = None
    answer, answers, at, whole = _section(places, response.answer[:-1] if turning else response.answer, at, room)
    if turning and whole:
        owner = places.owner(turning[0].name, at)
        ring, records, count, at, whole = _rotation(places, turning[0], owner, at, room)
        answer += records
        answers += count
    authority: list[bytes] = []
    additional: list[bytes] = []
    authorities = additionals = 0
    if whole and response.authority:
        authority, authorities, at, whole = _section(places, response.authority, at, room)
    if whole and response.additional:
        for rrset in response.additional:
            records, count, after, fits = _section(places, (rrset,), at, room)
            if not fits:
                break
            additional += records
            additionals += count
            at = after
    if not whole and response.error is not None:  # records go before reasons
        return encode(query, replace(response, error=None), most, announced, recursion)
    flags = _flags(query, response, recursion)
    if not whole:
        flags |= TC
    head = _COUNTS(flags, 1, answers, authorities, additionals + (1 if tail else 0)) + query.question
    if ring is not None:
        return ring(b"".join([head, *answer]), b"".join([*authority, *additional, tail]))
    return b"".join([head, *answer, *authority, *additional, tail])


def _flags(query: Query, response: Response, recursion: bool) -> int:
    """The flags of a reply; AD only for those who show that they know it (RFC 6840 5.8)."""
    flags = QR | query.flags & (OPCODE | RD | CD) | response.flags | response.rcode & 15
    if response.authoritative:
        flags |= AA
    if recursion:
        flags |= RA
    flags &= ~response.without
    return flags & ~AD if flags & AD and not (query.flags & AD or query.do) else flags


def _usual(query: Query, response: Response, at: int, room: int, tail: bytes, recursion: bool) -> bytes | None:
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
    if above and asked[above - 1] != ".":
        return None
    pointer = 0xC00C + above
    if type == SOA:
        rdata, longer = _soa(rdata, name, pointer)
        if asked.endswith(longer) or not query.question[:-4].islower():
            return None
    elif type in COMPRESSED and rdata[-2:-1].lower() == asked[-2:-1].encode():
        return None  # their top labels end alike, so there may be something to compress
    size = len(rdata)
    if size > 511 or at + 12 + size > room:
        return None
    flags = _flags(query, response, recursion)
    answers = 1 if response.answer else 0
    head = _COUNTS(flags, 1, answers, 1 - answers, 1 if tail else 0) + query.question
    return head + _USUAL(pointer, type, query.cls, ttl, size) + rdata + tail


@lru_cache(1024)
def _soa(rdata: bytes, origin: str, pointer: int) -> tuple[bytes, tuple[str, ...]]:
    """An SOA's rdata with its two names compressed by a pointer to its origin, and longer names.

    A question below one of these has more in common with the rdata than the origin. That is so of all questions (they end
    in "") where the names are not both below the origin, in lower case, or have more in common with each other.
    """
    parts, longer, at = [], [], 0
    for _ in range(2):
        end = names.end(rdata, at)
        name = names.text(rdata[at:end])
        if "\\" in name or not names.is_below(name, origin) or not rdata[at:end].islower():
            return rdata, ("",)
        parts += [rdata[at : end - len(origin) - 1], pointer.to_bytes(2, "big")]
        longer += [f"{label}.{origin}" for label in names.labels(name[: -len(origin)] or ".")[-1:]]
        at = end
    if len(set(longer)) < len(longer):
        return rdata, ("",)
    return b"".join(parts) + rdata[at:], tuple(longer)


def _section(places: Places, rrsets: tuple[RRset, ...], at: int, room: int) -> tuple[list[bytes], int, int, bool]:
    """Records of a section from `at` on: (parts, how many records, where they end, did all fit)."""
    parts: list[bytes] = []
    count = 0
    for rrset in rrsets:
        records, some, at, whole = _records(places, rrset, places.owner(rrset.name, at), at, room)
        parts += records
        count += some
        if not whole:
            return parts, count, at, False
    return parts, count, at, True


def _records(places: Places, rrset: RRset, owner: bytes, at: int, room: int) -> tuple[list[bytes], int, int, bool]:
    """The records of one RRset; `owner` as it stands before the first of them."""
    type, rdata = rrset.type, rrset.rdata
    fixed = _RR_HEAD(type, places.cls, rrset.ttl)
    if type in ADDRESSES and len(owner) == 2:
        unit = 12 + len(rdata[0])
        shown = min(len(rdata), max(room - at, 0) // unit)
        head = owner + fixed + _SIZES[len(rdata[0])]
        records = head + head.join(rdata if shown == len(rdata) else rdata[:shown])
        return [records] if shown else [], shown, at + shown * unit, shown == len(rdata)
    pointer = owner if len(owner) <= 2 or at >= REACH else (POINTER | at).to_bytes(2, "big")
    parts: list[bytes] = []
    for octets in rdata:
        if type in COMPRESSED:
            octets = places.rdata(type, octets, at + len(owner) + 10)
        size = _SIZES[len(octets)] if len(octets) < 512 else len(octets).to_bytes(2, "big")
        record = owner + fixed + size + octets
        if at + len(record) > room:
            return parts, len(parts), at, False
        parts.append(record)
        at += len(record)
        owner = pointer
    return parts, len(parts), at, True


def _rotation(
    places: Places, rrset: RRset, owner: bytes, at: int, room: int
) -> tuple[Callable[[bytes, bytes], Ring] | None, list[bytes], int, int, bool]:
    """One RRset as what makes a ring of it, where that can be; the rest as `_records` has it.

    What has names to compress has other octets at each place; the order of records of another type than addresses matters
    where not all of them fit.
    """
    type, rdata = rrset.type, rrset.rdata
    fixed = owner + _RR_HEAD(type, places.cls, rrset.ttl)
    if len(rdata) > 1 and len(owner) == 2 and type not in COMPRESSED:
        if type in ADDRESSES:
            unit = 12 + len(rdata[0])
            shown = min(len(rdata), max(room - at, 0) // unit)
            if shown:
                make = partial(Ring, fixed + _SIZES[len(rdata[0])], rdata, shown)
                return make, [], shown, at + shown * unit, shown == len(rdata)
        elif 12 * len(rdata) + sum(map(len, rdata)) > room - at:
            shown = max(room - at, 0) // (12 + max(map(len, rdata)))
            if shown:
                return partial(UnevenRing, fixed, rdata, shown), [], shown, at, False
    return None, *_records(places, rrset, owner, at, room)
