"""What *forward* finds in these tests: an upstream whose reply is told by the first label of the name.

    nx NXDOMAIN, nodata, servfail, refused, silent (no reply), alias (CNAME to www), big (60 addresses: cut over UDP),
    seen (TXT records of the EDNS options that came), short (a TTL of a second), mx, srv; any other label an address:
    192.0.2.n for A at the n-th upstream of a Corefile, 2001:db8::n for AAAA where the name begins with "six".
"""

import dns.flags
import dns.rdataclass
import dns.rdatatype

from kdns.testing.upstream import answer, Asked, Step


class Script:
    """The replies of the n-th upstream."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, asked: Asked) -> list[Step]:
        """The reply; its flags RD and CD are the query's."""
        recursion = 0 if asked.message.flags & dns.flags.RD else 1
        checking = 0x10 if asked.message.flags & dns.flags.CD else 0
        return [octets[:2] + bytes([octets[2] ^ recursion, octets[3] | checking]) + octets[4:] for octets in self._steps(asked)]

    def _steps(self, asked: Asked) -> list[bytes]:
        if asked.message.question[0].rdclass != dns.rdataclass.IN:
            return [answer(asked)]
        label, _, rest = asked.name.partition(".")
        type = dns.rdatatype.to_text(asked.message.question[0].rdtype)
        soa = f"{rest or '.'} 300 IN SOA ns.{rest} admin.{rest} 1 7200 1800 86400 60"
        match label:
            case "nx":
                return [answer(asked, rcode="NXDOMAIN", authority=[soa])]
            case "servfail" | "refused":
                return [answer(asked, rcode=label.upper())]
            case "silent":
                return []
            case "seen" if type == "TXT":
                options = [f"{option.otype}:{option.to_wire().hex()}" for option in asked.message.options]
                return [answer(asked, f'{asked.name} 60 IN TXT "{" ".join(options) or "none"}"')]
            case "big" if type == "A":
                return [self._big(asked)]
            case "alias" if type in ("A", "AAAA"):
                www = self._address(f"www.{rest}", type)
                return [answer(asked, f"{asked.name} 300 IN CNAME www.{rest}", *www, authority=[] if www else [soa])]
        found = self._records(asked.name, label, rest, type)
        return [answer(asked, *found, authority=[] if found else [soa])]

    def _records(self, name: str, label: str, rest: str, type: str) -> list[str]:
        match label, type:
            case "mx", "MX":
                return [f"{name} 300 IN MX 10 www.{rest}"]
            case "srv", "SRV":
                return [f"{name} 300 IN SRV 0 10 80 www.{rest}"]
            case "nodata", _:
                return []
            case _:
                return self._address(name, type)

    def _address(self, name: str, type: str) -> list[str]:
        ttl = 1 if name.startswith("short") else 300
        if type == "A":
            return [f"{name} {ttl} IN A 192.0.2.{self.n}"]
        return [f"{name} {ttl} IN AAAA 2001:db8::{self.n}"] if type == "AAAA" and name.startswith("six") else []

    @staticmethod
    def _big(asked: Asked) -> bytes:
        flags = "QR RD RA TC" if asked.transport == "udp" else "QR RD RA"
        every = [] if asked.transport == "udp" else [f"{asked.name} 300 IN A 192.0.3.{n}" for n in range(1, 61)]
        return answer(asked, *every, flags=flags)
