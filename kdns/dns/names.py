"""Domain names: text and wire, parents, reverse names.

In kdns a name is text: absolute, lower case (RFC 4343), escaped as in zone files (RFC 1035 5.1): what is not a letter,
a digit, "-", "_" or "*" stands as `\\.` or `\\032`. So two names are equal where their texts are, and a name is below a
zone where its text ends so. No I/O.
"""

import ipaddress
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

MAX_NAME: Final = 255  # octets on the wire (RFC 1035 2.3.4)
MAX_LABEL: Final = 63

_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789-_*./+"  # needs no escape, as dnspython and BIND print it
_SPECIAL = '"().;\\@$'
_DOT: Final = 0x2E
_LENGTHS = [bytes((size,)) for size in range(MAX_LABEL + 1)]
_OCTETS = {str(octet): octet for octet in range(256)}
_LABEL = re.compile(r"((?:[^.\\]++|\\.?)*+)(?:\.|\Z)", re.DOTALL)  # escaped, with its dot; never goes back


def text(wire: bytes) -> str:
    """A name on the wire (uncompressed, with its final zero octet) as text, in lower case."""
    at = 0
    labels = []
    while size := wire[at]:
        labels.append(wire[at + 1 : at + 1 + size])
        at += size + 1
    return joined(labels)


def starts(wire: bytes) -> list[int]:
    """Where the labels begin of a name on the wire (uncompressed)."""
    at, places = 0, []
    while size := wire[at]:
        places.append(at)
        at += size + 1
    return places


def end(wire: bytes, at: int = 0) -> int:
    """Where the name ends that stands uncompressed at `at`."""
    while size := wire[at]:
        at += size + 1
    return at + 1


def joined(labels: list[bytes]) -> str:
    """Labels in any spelling, leftmost first, as the text of a name."""
    name = b".".join(labels).lower()
    if not name.translate(None, _PLAIN) and name.count(b".") == len(labels) - 1:
        return name.decode() + "."
    return "".join(["".join(map(_ESCAPED.__getitem__, label.lower())) + "." for label in labels]) or "."


def _escaped(octet: int) -> str:
    if 0x20 < octet < 0x7F:
        return "\\" + chr(octet) if chr(octet) in _SPECIAL else chr(octet)
    return f"\\{octet:03d}"


_ESCAPED = tuple(map(_escaped, range(256)))
_IN_TEXT = bytes([ord(each) if len(each) == 1 else 0 for each in map(_ESCAPED.__getitem__, bytes(range(256)).lower())])
_IN_TEXT = _IN_TEXT.replace(b".", b"\0")  # of each octet of a label, as text has it; 0 where that is escaped

MOST_RESTS = 2000
_RESTS: dict[bytes, str] = {}  # what stood behind the first label of names asked for, and its text with the dot before it


def asked(message: bytes) -> tuple[int, str]:
    """Where the name ends that a query asks for, and its text; IndexError where that is no name.

    Nothing stands before it that it could point to, so a pointer is none. Most names differ from others that were asked for in
    their first label alone.
    """
    first = 13 + message[12]
    end = message.find(b"\0", first) + 1 or first  # compiled, a slice that ends before it begins is an error
    rest = _RESTS.get(message[first:end])
    if rest is not None and 13 < first <= 13 + MAX_LABEL and end <= 12 + MAX_NAME:
        label = message[13:first].translate(_IN_TEXT).decode()
        if "\0" not in label:
            return end, label + rest
    wire = message[12 : 12 + MAX_NAME]
    name = bytearray(wire.translate(_IN_TEXT))
    at = 0
    while size := wire[at]:
        if size > MAX_LABEL:
            raise IndexError(at)
        name[at] = _DOT
        at += size + 1
    name[at] = _DOT
    if not at or 0 in name[:at]:
        return at + 13, text(wire)
    if at + 13 == end:
        if len(_RESTS) >= MOST_RESTS:
            _RESTS.clear()
        _RESTS[message[first:end]] = name[first - 12 : at + 1].decode()
    return at + 13, name[1 : at + 1].decode()


def wire(name: str) -> bytes:
    """A name as text on the wire, uncompressed; ValueError where it is no name (RFC 1035 2.3.4).

    The spelling is kept; a missing final dot is added.
    """
    if name == ".":
        return b"\0"
    if not name.endswith(".") or _is_escaped(name, 0):
        name += "."
        if _is_escaped(name, 0):
            raise ValueError(f"'{name[:-1]}' is not a domain name: it ends in a backslash")
    try:
        if "\\" in name:
            parts = [_octets(label) for label in labels(name)]
        else:
            parts = name[:-1].encode("ascii").split(b".")
    except (UnicodeEncodeError, IndexError):
        raise ValueError(f"'{name}' is not a domain name: what is not ASCII is written \\DDD") from None
    if b"" in parts:
        raise ValueError(f"'{name}' is not a domain name: a label is empty")
    try:
        out = b"".join([_LENGTHS[len(part)] + part for part in parts]) + b"\0"
    except IndexError:
        out = b""
    if not 0 < len(out) <= MAX_NAME:
        raise ValueError(f"'{name}' is not a domain name: a label is over 63 octets, or the name over 255")
    return out


def _octets(label: str) -> bytes:
    out = bytearray()
    at = 0
    while at < len(label):
        if label[at] != "\\":
            out += label[at].encode("ascii")
            at += 1
        elif label[at + 1].isdigit():
            value = label[at + 1 : at + 4]
            if len(value) != 3 or not value.isdigit() or int(value) > 255:
                raise ValueError(f"'{label}' has a bad escape: \\DDD is three digits up to 255")
            out.append(int(value))
            at += 4
        else:
            out += label[at + 1].encode("ascii")
            at += 2
    return bytes(out)


def labels(name: str) -> list[str]:
    """The labels of a name, leftmost first, still escaped; none for the root."""
    if name == ".":
        return []
    if "\\" not in name:
        return name.removesuffix(".").split(".")
    return _LABEL.findall(name)[:-1]  # the last is what is behind the end


def absolute(name: str) -> str:
    """A name as a person writes it, in the one form used here: absolute, lower case, escaped.

    ValueError where it is none.
    """
    return text(wire(name).lower()) if name else "."


def relative(name: str, origin: str) -> str:
    """A name as a zone file writes it, absolute: `@` is the origin, what does not end in a dot stands below it (RFC 1035 5.1).

    The spelling is kept, and nothing is checked: `wire` does that.
    """
    if name == "@":
        return origin
    if name.endswith(".") and not _is_escaped(name, 0):
        return name
    return f"{name}." if origin == "." else f"{name}.{origin}"


def is_below(name: str, zone: str) -> bool:
    """True where the name is the zone's origin or stands below it."""
    if not name.endswith(zone):
        return False
    return zone == "." or len(name) == len(zone) or (name[-len(zone) - 1] == "." and not _is_escaped(name, len(zone)))


def first_above(name: str, zones: Iterable[str]) -> str | None:
    """The first of the zones that the name is in, or None."""
    for zone in zones:
        if name.endswith(zone) and ((name[-len(zone) - 1 : -len(zone)] == "." and "\\" not in name) or is_below(name, zone)):
            return zone
    return None


def _is_escaped(name: str, tail: int) -> bool:
    """Is the dot before the last `tail` characters a part of a label?"""
    if "\\" not in name:
        return False
    head = name[: -tail - 1]
    return (len(head) - len(head.rstrip("\\"))) % 2 == 1


def parent(name: str) -> str:
    """The name without its first label; the root is its own parent."""
    if "\\" in name:
        return name[_LABEL.match(name).end() :] or "."  # type: ignore[union-attr]  # it matches everything
    return name.partition(".")[2] or "."


def upwards(name: str) -> Iterator[str]:
    """The name, its parent, and so on to the root: linear in its labels, escaped ones too."""
    if "\\" in name:
        at = 0
        for label in labels(name):
            yield name[at:]
            at += len(label) + 1
        name = "."
    while name != ".":
        yield name
        name = name.partition(".")[2] or "."
    yield name


def closest(name: str, zones: Container[str]) -> str | None:
    """The longest of the zones that the name is in, or None."""
    if "\\" in name:
        return next((above for above in upwards(name) if above in zones), None)
    while name not in zones:
        if name == ".":
            return None
        name = name.partition(".")[2] or "."
    return name


def packed(address: str) -> bytes:
    """An address in text as 4 or 16 octets; ValueError where it is none."""
    try:
        return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except (OSError, UnicodeEncodeError):
        raise ValueError(f"'{address}' is not an IP address") from None


def all_packed(addresses: Sequence[str]) -> bytes:
    """Addresses in text as 4 or 16 octets each, one after the other; ValueError where one is none."""
    if len(addresses) > 1:
        try:
            return b"".join(map(partial(inet_pton, AF_INET6 if ":" in addresses[0] else AF_INET), addresses))
        except (OSError, UnicodeEncodeError):  # of both families, or one is none
            pass
    return b"".join([packed(address) for address in addresses])


def unpacked(address: bytes) -> str:
    """An address of 4 or 16 octets as text (RFC 5952)."""
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)


def reverse_name(address: bytes) -> str:
    """The name that carries an address's PTR record (RFC 1035 3.5, RFC 3596 2.5)."""
    if len(address) == 4:
        return ".".join(map(str, reversed(address))) + ".in-addr.arpa."
    return ".".join(reversed(address.hex())) + ".ip6.arpa."


IN_ADDR, IP6 = "in-addr.arpa.", "ip6.arpa."


def reverse_prefix(name: str) -> tuple[bytes, int] | None:
    """What a name in in-addr.arpa or ip6.arpa stands for: (octets padded with zeros, bits), or None.

    Bits are 32 or 128 for a whole address, fewer for what stands above addresses.
    """
    if name.endswith(IN_ADDR):
        parts = labels(name[: -len(IN_ADDR)] or ".")
        octets = [_OCTETS.get(part, -1) for part in parts[::-1]]
        if len(octets) > 4 or -1 in octets:
            return None
        return bytes(octets).ljust(4, b"\0"), 8 * len(octets)
    if name.endswith(IP6):
        parts = labels(name[: -len(IP6)] or ".")
        if len(parts) > 32 or not all(len(p) == 1 and p in "0123456789abcdef" for p in parts):
            return None
        return bytes.fromhex("".join(reversed(parts)).ljust(32, "0")), 4 * len(parts)
    return None


@lru_cache(4096)
def dashed(address: bytes) -> str:
    """An address as a label: 10-244-1-7, fd00--1 (Kubernetes DNS specification 2.4.1)."""
    if len(address) == 4:
        return "{}-{}-{}-{}".format(*address)
    label = ipaddress.IPv6Address(address).compressed.replace(":", "-")
    return label + "0" if label[-1] == "-" else label  # no label of a host ends in a hyphen (RFC 952)


def undashed(label: str) -> bytes | None:
    """The address that a label stands for, in any spelling of it, or None."""
    four = label.count("-") == 3 and "--" not in label
    try:
        return inet_pton(AF_INET, label.replace("-", ".")) if four else inet_pton(AF_INET6, label.replace("-", ":"))
    except (OSError, ValueError):  # also of a NUL or a character that is not ASCII
        return None
