"""*dns64* - makes IPv6 addresses of IPv4 ones, for clients behind NAT64.

Description
    A client that asks over IPv6 for the AAAA records of a name that has none is told its IPv4 addresses within an IPv6 prefix,
    which a NAT64 gateway translates (RFC 6147). A name that does not exist does not exist; a failure counts as no AAAA records,
    and so do addresses in ::ffff:0:0/96, which no network carries. Aliases and TTLs are the A records', the TTL at most that
    of the SOA that said that there is no AAAA, or 600.

    A client that asks with DO and CD validates by itself, and would refuse what is made here: it is answered as without
    this plugin. Signatures of A records are left out, and no such reply says AD.

    Reverse names of such addresses are not answered.

Syntax
    dns64 [PREFIX] {
        prefix PREFIX
        translate_all
        allow_ipv4
    }

    - PREFIX is 64:ff9b::/96 by default; another one has 32, 40, 48, 56, 64 or 96 bits (RFC 6052 2.2).
    - `translate_all`: where there are AAAA records, they are replaced all the same, if there are A records.
    - `allow_ipv4`: clients that ask over IPv4 are answered alike.

Metrics
    `coredns_dns64_requests_translated_total{server}`: replies with such addresses.

Differences
    - Options count after a PREFIX, too.

Examples
    The well-known prefix:

        . {
            dns64
            whoami
        }

    A network's own, for all who ask:

        . {
            dns64 {
                prefix 2001:db8:64::/96
                allow_ipv4
            }
            whoami
        }
"""

from dataclasses import dataclass
from ipaddress import IPv6Network

from kdns.config.directive import Directive
from kdns.config.options import argument, flag, option
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import MAPPED, Query
from kdns.dns.response import Answer, replace, Response, RRset
from kdns.dns.types import A, AAAA, AD, CD, NXDOMAIN, RRSIG, SOA

WELL_KNOWN = IPv6Network("64:ff9b::/96")  # RFC 6052 2.1
LENGTHS = (32, 40, 48, 56, 64, 96)
WITHOUT_SOA = 600  # seconds that a synthesized record holds at most where no SOA says another time (RFC 6147 5.1.7)


def _network(text: str) -> IPv6Network:
    try:
        network = IPv6Network(text, strict=False)
    except ValueError:
        raise ValueError(f"'{text}' is not an IPv6 prefix such as {WELL_KNOWN}") from None
    if network.prefixlen not in LENGTHS:
        raise ValueError(f"'{text}' has {network.prefixlen} bits, and has to have one of {', '.join(map(str, LENGTHS))}")
    return network


def _prefix(o: Directive) -> IPv6Network:
    return _network(o.one())


def _prefix_at_most(o: Directive) -> IPv6Network | None:
    return _network(o.optional()) if o.args else None


@dataclass(frozen=True)
class Options:
    own: IPv6Network | None = argument(_prefix_at_most)
    prefix: IPv6Network | None = option(_prefix)
    translate_all: bool = option(flag, False)
    allow_ipv4: bool = option(flag, False)

    def __post_init__(self) -> None:
        if self.own and self.prefix:
            raise ValueError("has two prefixes: keep one")


class Dns64(Plugin):
    """What it says depends on the question, and on whether the client asks over IPv6."""

    table = Options
    internet_only = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block = block
        self.prefix = options.own or options.prefix or WELL_KNOWN
        self.all, self.ipv4 = options.translate_all, options.allow_ipv4
        self.same_for_everyone = options.allow_ipv4
        self.translated = block.counter(
            "coredns_dns64_requests_translated_total", "Replies with IPv6 addresses made of IPv4 ones.", ("server",)
        )

    def audience(self, client: str) -> bytes:
        return b"6" if ":" in client else b"4"

    async def answer(self, query: Query, next: Handler) -> Answer:
        response = await next(query)
        if query.type != AAAA or not isinstance(response, Response) or response.rcode == NXDOMAIN:
            return response
        if not (self.ipv4 or ":" in query.client.host) or (query.do and query.flags & CD):
            return response
        if not self.all and any(rrset.type == AAAA and _usable(rrset) for rrset in response.answer):
            return response
        found = await self.block.lookup(query, query.name, A)
        if not isinstance(found, Response):
            return response
        stable_for = min(response.stable_for, found.stable_for)
        depends = tuple(dict.fromkeys(response.depends + found.depends))
        if not any(rrset.type == A for rrset in found.answer):
            return replace(response, stable_for=stable_for, depends=depends)
        self.translated.inc()
        longest = longest_ttl(response)
        return replace(
            found,
            flags=found.flags & ~AD,
            answer=tuple(self._translated(rrset, longest) for rrset in found.answer if not _signs_addresses(rrset)),
            stable_for=stable_for,
            depends=depends,
            made=found.made._replace(by="dns64").counted(self.translated.inc),
        )

    def _translated(self, rrset: RRset, longest: int) -> RRset:
        if rrset.type != A:
            return rrset
        return RRset(rrset.name, AAAA, min(rrset.ttl, longest), tuple(embedded(self.prefix, octets) for octets in rrset.rdata))


def embedded(prefix: IPv6Network, address: bytes) -> bytes:
    """An IPv4 address within a prefix: after it, but around the octet 64 to 71, which is zero (RFC 6052 2.2)."""
    octets = prefix.network_address.packed[: prefix.prefixlen // 8] + address
    if prefix.prefixlen < 96:
        octets = octets[:8] + b"\0" + octets[8:]
    return octets.ljust(16, b"\0")


def longest_ttl(response: Response) -> int:
    """How long it holds that there are no AAAA records."""
    return next((rrset.ttl for rrset in response.authority if rrset.type == SOA), WITHOUT_SOA)


def _usable(rrset: RRset) -> bool:
    """Has it an address outside of ::ffff:0:0/96 (RFC 6147 5.1.4)?"""
    return any(not octets.startswith(MAPPED) for octets in rrset.rdata)


def _signs_addresses(rrset: RRset) -> bool:
    return rrset.type == RRSIG and rrset.rdata[0][:2] == A.to_bytes(2, "big")
