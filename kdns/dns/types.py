"""The numbers of the protocol, each in one place: record types, codes, flags, sizes, extended errors. No I/O."""

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, NOTAUTH, BADVERS = 0, 1, 2, 3, 4, 5, 6, 9, 16
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN",
          7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 16: "BADVERS", 23: "BADCOOKIE"}  # fmt: skip

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, NAPTR, OPT = 1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 41
DNAME, DS, RRSIG, NSEC, HTTPS, SVCB, IXFR, AXFR, ANY = 39, 43, 46, 47, 65, 64, 251, 252, 255
TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
         35: "NAPTR", 39: "DNAME", 43: "DS", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 52: "TLSA", 64: "SVCB",
         65: "HTTPS", 99: "SPF", 251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA"}  # fmt: skip
IN, NONE = 1, 254  # classes; above NONE there is ANY

OUR_SIZE = 1232  # octets of UDP payload that cross any path unfragmented (DNS flag day 2020)
SMALLEST = 512  # without EDNS (RFC 1035 4.2.1)
LARGEST = 65535  # over TCP
LARGEST_UDP = 65507  # what an IPv4 packet carries

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE, NOTIFY = 0x7800, 0x2000
DO = 0x8000  # in the flags of EDNS (RFC 3225)
NSID, ECS, COOKIE, KEEPALIVE, PADDING, EDE = 3, 8, 10, 11, 12, 15  # EDNS options (RFC 5001, 7871, 7873, 7828, 7830, 8914)
OTHER, NOT_READY, BLOCKED, FILTERED, NOT_AUTHORITATIVE = 0, 14, 15, 17, 20  # extended errors (RFC 8914 4); OTHER: see its text


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
