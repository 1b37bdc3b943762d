"""The numbers of the protocol, each in one place: record types, codes, flags, sizes, extended errors. No I/O.

Each is Final, so that compiled modules have the number itself wherever its name stands.
"""

from typing import Final

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
YXDOMAIN: Final = 6
NOTAUTH: Final = 9
BADVERS: Final = 16
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN",
          7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 16: "BADVERS", 23: "BADCOOKIE"}  # fmt: skip

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
MX: Final = 15
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
NAPTR: Final = 35
OPT: Final = 41
DNAME: Final = 39
DS: Final = 43
RRSIG: Final = 46
NSEC: Final = 47
HTTPS: Final = 65
SVCB: Final = 64
IXFR: Final = 251
AXFR: Final = 252
ANY: Final = 255
TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
         35: "NAPTR", 39: "DNAME", 43: "DS", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 52: "TLSA", 64: "SVCB",
         65: "HTTPS", 99: "SPF", 251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA"}  # fmt: skip
IN: Final = 1  # classes; above NONE there is ANY
NONE: Final = 254

OUR_SIZE: Final = 1232  # octets of UDP payload that cross any path unfragmented (DNS flag day 2020)
SMALLEST: Final = 512  # without EDNS (RFC 1035 4.2.1)
LARGEST: Final = 65535  # over TCP
LARGEST_UDP: Final = 65507  # what an IPv4 packet carries

QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
AD: Final = 0x0020
CD: Final = 0x0010
OPCODE: Final = 0x7800
NOTIFY: Final = 0x2000
DO: Final = 0x8000  # in the flags of EDNS (RFC 3225)
# EDNS options (RFC 5001, 7871, 7873, 7828, 7830, 8914)
NSID: Final = 3
ECS: Final = 8
COOKIE: Final = 10
KEEPALIVE: Final = 11
PADDING: Final = 12
EDE: Final = 15
# extended errors (RFC 8914 4); OTHER: see its text
OTHER: Final = 0
NOT_READY: Final = 14
BLOCKED: Final = 15
FILTERED: Final = 17
NOT_AUTHORITATIVE: Final = 20


_NUMBERS = {text: number for number, text in TYPES.items()}


def type_number(text: str) -> int:
    """The number of a type, as people write it: `A`, `aaaa`, `TYPE65280` (RFC 3597 5); ValueError where it is none."""
    number = _NUMBERS.get(text.upper())
    if number is None:
        from dns.rdatatype import RdataType, UnknownRdatatype  # knows them all

        try:
            number = int(RdataType.from_text(text))
        except (UnknownRdatatype, ValueError):
            raise ValueError(f"unknown type '{text}'") from None
    return number


def type_text(number: int) -> str:
    """A type as people write it."""
    return TYPES.get(number, f"TYPE{number}")


def rcode_text(number: int) -> str:
    """A code as people write it: `NXDOMAIN`; its number where it has no name."""
    return RCODES.get(number, str(number))
