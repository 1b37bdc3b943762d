"""What of a query an answer depends on, found without decoding it. No I/O.

Many clients never send the same octets twice: c-ares puts a cookie into each query, unbound spells names at random (0x20),
EDNS sizes and flags that mean nothing differ from resolver to resolver. The *plain* query of such a one is what the same
question looks like without all that, and has the same answer. It keeps what may change an answer: the name, the type, the class,
RD, AD, CD and DO, whether there is EDNS, and the size that it says. A name that has a capital becomes one of capitals alone:
names in rdata keep their spelling and must not point into a question that is spelled otherwise later (RFC 4343 4), so questions
in lower case and others are two.

Rules that must never be broken:

- What is not understood has no plain query. More than one record beside the question, a signature (TSIG) among them, is not
  understood; nor are an opcode, a version of EDNS above 0, and options that somebody heeds.
- Two queries that are decoded to different questions have different plain ones. The name is taken to end at the first octet
  of 0, which a label may have inside: then what is made here is no query (`is_of` says so), and must not be kept.
"""

from kdns.dns.types import AD, CD, OPCODE, OPT, QR, RD

SHORTEST = 10  # octets of a header without the id
LONGEST = 510  # octets of a query without its id: beyond them it is no everyday one
_NOBODY: frozenset[int] = frozenset()
_OPT_OWNER = b"\0" + OPT.to_bytes(2, "big")
_SMALLEST = b"\2\0"  # a size below 512 means 512 (RFC 6891 6.2.3)
_DO = b"\0\0\x80\0\0\0"  # the rest of an OPT record: no upper rcode, version 0, flags, no options
_NO_DO = bytes(6)
MOST_OPTS = 1000
_OPTS: dict[bytes, tuple[bytes, int]] = {}  # what `_opt` found
_COUNTS = (b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\0\0\0\1")  # one question, and perhaps one additional record
_HEADS = {
    flags.to_bytes(2, "big") + counts: flags.to_bytes(2, "big") + counts
    for counts in _COUNTS
    for flags in (rd | ad | cd for rd in (0, RD) for ad in (0, AD) for cd in (0, CD))
}


def plain(query: bytes, heeded: frozenset[int] = _NOBODY) -> bytes | None:
    """The plain query of one, both without the id; None where there is none. `heeded`: codes of EDNS options that count."""
    if not SHORTEST <= len(query) <= LONGEST:
        return None
    first = query[:10]
    head = _HEADS.get(first) or _head(query)
    at = query.find(b"\0", 10) + 5
    if head is None or not 10 < at <= len(query):  # or no question ends: compiled, a slice to before its start is an error
        return None
    name = query[10 : at - 4]
    folded = name.lower()
    if folded != name:
        folded = name.upper()
    elif head == first and at == len(query) and not head[9]:
        return query
    if not head[9]:
        return head + folded + query[at - 4 :] if len(query) == at else None
    end = at + 11
    opt, length = _OPTS.get(query[at:end]) or _opt(query[at:end])
    if length != len(query) - end or (heeded and length and _has(query, end, heeded)):
        return None
    return head + folded + query[at - 4 : at] + opt


def is_of(plain: bytes, question: bytes, edns: bool) -> bool:
    """Is this the plain query of what was decoded to this question?"""
    return len(plain) == 10 + len(question) + (11 if edns else 0)


def respelt(reply: bytes, query: bytes) -> bytes:
    """The reply to a plain query as that to the query itself, all without ids: with the question as that spells it."""
    end = query.find(b"\0", 10) + 1
    spelt = query[10:end]
    return reply if reply.startswith(spelt, 10) else reply[:10] + spelt + reply[end:]


def _head(query: bytes) -> bytes | None:
    """The header of a plain query, where the flags that mean nothing in a query are set."""
    flags = int.from_bytes(query[:2], "big")
    if flags & (QR | OPCODE):
        return None
    return _HEADS.get((flags & (RD | AD | CD)).to_bytes(2, "big") + query[2:10])


def _opt(octets: bytes) -> tuple[bytes, int]:
    """The plain one of an OPT record without its options, and how many octets these say to have.

    Where it is none, that is more than there can be.
    """
    if octets[:3] != _OPT_OWNER or len(octets) < 11 or octets[6]:
        return b"", 1 << 16
    plain = _OPT_OWNER + max(octets[3:5], _SMALLEST) + (_DO if octets[7] & 0x80 else _NO_DO)
    if len(_OPTS) >= MOST_OPTS:
        _OPTS.clear()
    _OPTS[octets] = found = plain, int.from_bytes(octets[9:], "big")
    return found


def _has(query: bytes, at: int, heeded: frozenset[int]) -> bool:
    """Is one of these among the EDNS options from `at` on? Options that are cut short count as if one were."""
    while at + 4 <= len(query):
        if int.from_bytes(query[at : at + 2], "big") in heeded:
            return True
        at += 4 + int.from_bytes(query[at + 2 : at + 4], "big")
    return at != len(query)
