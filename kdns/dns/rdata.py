"""Rdata: text as in zone files, and wire. No I/O.

Addresses and bare names, nearly all that there is, are made here; every other type by dnspython, which knows some seventy and
is imported where the first of them is met. (dnslib knows twenty, and leaves escapes in strings and names as they stand.)
What nobody knows is written as RFC 3597 5 has it, and any type may be.
"""

import binascii
import re

from kdns.dns import names
from kdns.dns.types import A, AAAA, CNAME, DNAME, NS, PTR

MOST = 65535  # octets of rdata
_WIDTH = {A: 4, AAAA: 16}
_BARE = frozenset((CNAME, DNAME, NS, PTR))  # rdata that is a name and nothing else
_GENERIC = re.compile(r"\\#\s+([0-9]{1,5})((?:\s+[0-9a-fA-F]+)*)\s*")


def to_wire(type: int, text: str, origin: str) -> bytes:
    """Rdata that a zone file writes so, names in it relative to the origin; ValueError with one line where it is none."""
    text = text.replace("\t", " ").strip()
    if not text.isprintable():
        raise ValueError("rdata is printable text on one line: another octet is written \\DDD")
    if text.startswith("\\#"):
        return _generic(type, text)
    if type in _WIDTH:
        address = names.packed(text)
        if len(address) != _WIDTH[type]:
            raise ValueError(f"'{text}' is not an IPv{4 if type == A else 6} address")
        return address
    if type in _BARE:
        if len(text.split()) != 1:
            raise ValueError(f"'{text}' is not one domain name")
        return names.wire(names.relative(text, origin))
    return _by_dnspython(type, text, origin)


def _generic(type: int, text: str) -> bytes:
    """`\\# 4 0a000001` (RFC 3597 5)."""
    found = _GENERIC.fullmatch(text)
    try:
        octets = bytes.fromhex(found[2]) if found else None
    except ValueError:
        octets = None
    if found is None or octets is None or len(octets) != int(found[1]):
        raise ValueError(f"'{_shown(text)}' is not rdata: \\# is followed by a number of octets, and these in hexadecimal")
    if (type in _WIDTH or type in _BARE) and not _is_sound(type, octets):
        raise ValueError(f"'{_shown(text)}' is not rdata of its type")
    return octets


def _by_dnspython(type: int, text: str, origin: str) -> bytes:
    import dns.exception
    import dns.name
    import dns.rdata
    from dns.rdataclass import RdataClass
    from dns.rdatatype import RdataType

    try:
        above = dns.name.from_wire(names.wire(origin), 0)[0]
        made = dns.rdata.from_text(RdataClass.IN, RdataType.make(type), text, above, False).to_wire()
    except (dns.exception.DNSException, ValueError, OverflowError, LookupError, binascii.Error) as error:
        raise ValueError(f"'{_shown(text)}' is not rdata of its type: {_reason(error)}") from None
    if made is None or len(made) > MOST:
        raise ValueError(f"'{_shown(text)}' is too long")
    return bytes(made)


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "..."


def _reason(error: Exception) -> str:
    """What an error of dnspython says, without the place in a text that it never had, on one line."""
    said = " ".join(re.sub(r"^<string>:\d+: ", "", str(error)).split())
    return said or type(error).__name__


def to_text(type: int, rdata: bytes) -> str:
    """Rdata as a zone file writes it, names absolute; as RFC 3597 5 has it where the type is unknown or the rdata is wrong."""
    if type in _WIDTH or type in _BARE:
        if not _is_sound(type, rdata):
            return generic(rdata)
        return names.unpacked(rdata) if type in _WIDTH else names.text(rdata)
    import dns.rdata
    from dns.rdataclass import RdataClass
    from dns.rdatatype import RdataType

    try:
        return dns.rdata.from_wire(RdataClass.IN, RdataType.make(type), rdata, 0, len(rdata)).to_text().rstrip()
    except Exception:  # an upstream may have made it up, and dnspython raises what it likes
        return generic(rdata)


def generic(rdata: bytes) -> str:
    """Rdata of no known type (RFC 3597 5)."""
    return f"\\# {len(rdata)} {rdata.hex()}".rstrip()


def _is_sound(type: int, rdata: bytes) -> bool:
    """Is it an address of its width, or one whole uncompressed name?"""
    if type in _WIDTH:
        return len(rdata) == _WIDTH[type]
    at = 0
    while at < len(rdata) and 0 < rdata[at] <= names.MAX_LABEL:
        at += rdata[at] + 1
    return at == len(rdata) - 1 <= names.MAX_NAME - 1 and rdata[at] == 0
