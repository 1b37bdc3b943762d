"""A query, and the wire of it. No I/O.

A query has one question, already valid; its name is text as `names` has it. What upstreams say is read in `reply`.
"""

import enum
import struct
import time
from collections.abc import Collection
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Final, NamedTuple

from kdns.dns import names
from kdns.dns.types import (
    BADVERS,
    DO,
    FORMERR,
    IN,
    LARGEST,
    LARGEST_UDP,
    NONE,
    NOTIFY,
    NOTIMP,
    OPCODE,
    OPT,
    QR,
    RD,
    REFUSED,
    SMALLEST,
)  # fmt: skip
from kdns.errors import FormatError


class Transport(enum.StrEnum):
    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"  # RFC 7858
    HTTPS = "https"  # RFC 8484

    __hash__ = str.__hash__  # an Enum's own is a function of Python, and each reply is counted by its transport


class Address(NamedTuple):
    """One end of an exchange: an address as text (RFC 5952) and a port."""

    host: str
    port: int

    @classmethod
    def of_sockaddr(cls, raw: bytes) -> "Address":
        """From struct sockaddr_in or sockaddr_in6, as the kernel writes it; a mapped IPv4 address becomes IPv4."""
        port = int.from_bytes(raw[2:4], "big")
        if raw[0] == AF_INET:
            return cls(inet_ntop(AF_INET, raw[4:8]), port)
        return cls(inet_ntop(AF_INET6, raw[8:24]).removeprefix("::ffff:"), port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_UDP: Final = Transport.UDP  # an Enum looks its members up by a function of Python
NOBODY = Address("", 0)
MAPPED = bytes(10) + b"\xff\xff"  # before the octets of an IPv4 address (RFC 4291 2.5.5.2)


class Edns(NamedTuple):
    """What an OPT record said (RFC 6891): the sender's payload size in octets, DO, the options as they came."""

    size: int
    do: bool
    options: bytes = b""


def picked(options: bytes, codes: Collection[int], others: bool = False) -> bytes:
    """Of EDNS options those of these codes, or all others, as they came; what is cut short is left out."""
    found, at = [], 0
    while at + 4 <= len(options):
        end = at + 4 + int.from_bytes(options[at + 2 : at + 4], "big")
        if end <= len(options) and (int.from_bytes(options[at : at + 2], "big") in codes) is not others:
            found.append(options[at:end])
        at = end
    return b"".join(found)


def without(options: bytes, codes: Collection[int]) -> bytes:
    """EDNS options but those of these codes."""
    return picked(options, codes, others=True)


class Query:
    """One question, already valid (RFC 9619: never more than one); or NOTIFY (RFC 1996), as `flags` then say."""

    __slots__ = ("_client", "_local", "cls", "do", "edns", "flags", "name", "question", "received", "trail",
                 "transport", "type", "wire")  # fmt: skip

    name: str  # lower case, absolute
    type: int
    cls: int
    question: bytes  # the question section as it came: the spelling is echoed
    flags: int  # the header's, RD, AD and CD among them
    edns: Edns | None
    do: bool  # are DNSSEC's records wanted (RFC 3225)?
    transport: Transport
    received: float  # time.monotonic()
    trail: tuple[str, ...]  # the aliases that were followed on the way to it
    wire: bytes  # the message as it came; empty for a question of our own

    def __init__(
        self,
        name: str,
        type: int,
        cls: int = IN,
        flags: int = RD,
        edns: Edns | None = None,
        question: bytes = b"",
        wire: bytes = b"",
        client: Address | bytes = NOBODY,
        local: Address | bytes = NOBODY,
        transport: Transport = Transport.UDP,
        received: float = 0.0,
    ) -> None:
        """Without `question` it is one of our own, as for the target of an alias."""
        self.name, self.type, self.cls, self.flags, self.edns = name, type, cls, flags, edns
        self.do = edns is not None and edns.do
        self.question = question or names.wire(name) + struct.pack("!HH", type, cls)
        self.wire = wire
        self._client, self._local = client, local
        self.transport, self.received = transport, received or time.monotonic()
        self.trail = ()

    @property
    def client(self) -> Address:
        """Who asks; read from the kernel's octets at need only."""
        if isinstance(self._client, bytes):
            self._client = Address.of_sockaddr(self._client)
        return self._client

    @client.setter
    def client(self, client: Address | bytes) -> None:
        self._client = client

    @property
    def over_ipv6(self) -> bool:
        """Did it come over IPv6? An IPv4 address that is mapped did not."""
        client = self._client
        if isinstance(client, bytes):
            return client[0] != AF_INET and client[8:20] != MAPPED
        return ":" in client.host

    @property
    def local(self) -> Address:
        """The address that was asked."""
        if isinstance(self._local, bytes):
            self._local = Address.of_sockaddr(self._local)
        return self._local

    @local.setter
    def local(self, local: Address | bytes) -> None:
        self._local = local

    @property
    def ends(self) -> tuple[Address | bytes, Address | bytes]:
        """`client` and `local` as they came: addresses, or struct sockaddr."""
        return self._client, self._local

    def about(self, name: str, type: int) -> "Query":
        """Another question on behalf of the same client, as for the target of an alias."""
        other = Query(name, type, self.cls, self.flags, self.edns)
        other._client, other._local = self._client, self._local
        other.transport, other.received, other.trail = self.transport, self.received, (*self.trail, self.name)
        return other

    def instead(self, name: str, type: int, cls: int, edns: Edns | None) -> "Query":
        """The same query, had the client asked this."""
        other = Query(name, type, cls, self.flags, edns)
        other._client, other._local, other.wire = self._client, self._local, self.wire
        other.transport, other.received, other.trail = self.transport, self.received, self.trail
        return other

    def options(self, codes: Collection[int]) -> bytes:
        """The client's EDNS options of these codes, as they came."""
        return picked(self.edns.options, codes) if codes and self.edns is not None else b""

    def limit(self, most: int = LARGEST_UDP) -> int:
        """Octets that a reply may have: over UDP what the client says it takes, at least 512, but no more than `most`."""
        if self.transport is not _UDP:
            return LARGEST
        return SMALLEST if self.edns is None else self.takes(most)

    def takes(self, most: int = LARGEST_UDP) -> int:
        """The same for UDP, whatever this query came over."""
        return SMALLEST if self.edns is None else min(max(self.edns.size, SMALLEST), most)


_RR = struct.Struct("!HHIH").unpack_from
# The counts of a header's last three sections: none, and one additional record.
_NO_RECORDS: Final = b"\0\0\0\0\0\0"
_ONE_RECORD: Final = b"\0\0\0\0\0\1"
_OPT_HEAD: Final = b"\0\0\x29"  # the root, and the type
_DO: Final = DO >> 8  # in the third octet of its TTL (RFC 6891 6.1.3)
_NO_OPTIONS: Final = b"\0\0"  # their length


# ---------------------------------------------------------------- wire -> Query


def decode(
    wire: bytes,
    client: Address | bytes = NOBODY,
    local: Address | bytes = NOBODY,
    transport: Transport = Transport.UDP,
    received: float = 0.0,
) -> Query | None:
    """A message as a Query; None for what deserves silence; FormatError with the code for what deserves only that.

    The order of the checks is that of the ISC EDNS compliance tests (RFC 8906). `client` and `local` may be struct sockaddr
    as the kernel wrote it; `received` is time.monotonic().
    """
    if len(wire) < 12:
        return None
    flags = wire[2] << 8 | wire[3]
    if flags & (QR | OPCODE):
        if flags & QR:
            return None
        if flags & OPCODE != NOTIFY:
            raise FormatError(NOTIMP)
    if wire[4] or wire[5] != 1:
        raise FormatError(FORMERR)
    edns: Edns | None = None
    version = 0
    try:
        end, name = names.asked(wire)
        at = end + 4
        type, cls = wire[end] << 8 | wire[end + 1], wire[end + 2] << 8 | wire[at - 1]
        question = wire[12:at]
        records = wire[6:12]
        if records != _NO_RECORDS:
            if records == _ONE_RECORD and len(wire) == at + 11 and wire[at : at + 3] == _OPT_HEAD:
                if wire[at + 9 :] != _NO_OPTIONS:  # they are not there
                    raise FormatError(FORMERR)
                edns, version = Edns(wire[at + 3] << 8 | wire[at + 4], wire[at + 7] & _DO != 0), wire[at + 6]
            else:
                answers, authorities, additionals = (int.from_bytes(records[i : i + 2], "big") for i in (0, 2, 4))
                edns, version = _records(wire, at, answers + authorities, additionals)
    except (IndexError, struct.error):
        raise FormatError(FORMERR) from None
    if version:
        raise FormatError(BADVERS, question, True)
    if cls >= NONE:  # ANY as well: neither is a class of records
        raise FormatError(REFUSED, question, edns is not None)
    if type == OPT:
        raise FormatError(FORMERR)
    return Query(name, type, cls, flags, edns, question, wire, client, local, transport, received)


def _records(wire: bytes, at: int, before: int, additionals: int) -> tuple[Edns | None, int]:
    """The records of a query from `at` on, `before` of them not additional: (EDNS, its version)."""
    edns, version = None, 0
    for i in range(before + additionals):
        is_root = not wire[at]
        at = skip_name(wire, at)
        type, cls, ttl, length = _RR(wire, at)
        at += 10 + length
        if at > len(wire):
            raise FormatError(FORMERR)
        if type == OPT and i >= before:
            if edns is not None or not is_root:
                raise FormatError(FORMERR)
            edns, version = Edns(cls, bool(ttl & DO), wire[at - length : at]), ttl >> 16 & 0xFF
    return edns, version


def skip_name(wire: bytes, at: int) -> int:
    """Past a name that may end in a pointer; where the pointer leads does not matter here."""
    while size := wire[at]:
        if size >= 0xC0:
            wire[at + 1]  # cut short: IndexError
            return at + 2
        if size > names.MAX_LABEL:
            raise FormatError(FORMERR)
        at += size + 1
    return at + 1
