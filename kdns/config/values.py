"""What the words of a Corefile stand for: keys of server blocks, zones, durations, addresses with ports.

Each function takes text and raises ValueError with what is wrong about it. No I/O.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_network

from kdns.dns import names

PORTS = {"dns": 53, "tls": 853, "quic": 853, "grpc": 443, "https": 443, "https3": 443}  # by scheme

MAX_DURATION = (2**63 - 1) / 1e9  # seconds; what Go's own duration holds


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """A key of a server block: the zone (absolute, lower case) that it serves, how, and on which port."""

    scheme: str
    zone: str
    port: int

    def __str__(self) -> str:
        scheme = "" if self.scheme == "dns" else f"{self.scheme}://"
        return f"{scheme}{self.zone}:{self.port}"


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


def seconds(text: str) -> float:
    """A duration as Go writes it (`500ms`, `1m30s`), a bare number being seconds; ValueError where it is none."""
    if re.fullmatch("[+-]?[0-9]+", text):
        return float(text)
    if not re.fullmatch(f"[+-]?(?:{_DURATION.pattern})+", text):
        raise ValueError(f"'{text}' is not a duration such as 5s, 1m30s or 500ms")
    size = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    return -size if text.startswith("-") else size


_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}  # octets


def octets(text: str) -> int:
    """A size: 64M, 64MB, 64Mi, 64MiB are one, a bare number is octets; ValueError where it is none."""
    match = re.fullmatch("([0-9]{1,12})([kmg]?)(i?b|i)?", text.lower())
    if match is None:
        raise ValueError(f"'{text}' is not a size such as 64M")
    return int(match[1]) * _SIZES[match[2]]


def host_port(text: str, port: int | None = None) -> tuple[str, int]:
    """`host:port`, `:port` (every address), `[v6]:port`, and with a default port also a bare host; else ValueError."""
    match = re.fullmatch(r"(?:\[([^][]+)\]|([^][:]*))(?::([0-9]{1,5}))?", text)
    if match is None and port is not None and text.count(":") > 1 and "[" not in text:
        return text, port
    if match is None or not text or (match[3] is None and port is None) or int(match[3] or port or 0) > 65535:
        raise ValueError(f"'{text}' is not an address and port such as 127.0.0.1:8080, [::1]:8080 or :8080")
    return match[1] or match[2], int(match[3]) if match[3] else port or 0


def origins(text: str) -> tuple[str, ...]:
    """A zone as plugins take it for an argument: one origin, or several for a prefix; ValueError where it is none."""
    return tuple(key.zone for key in keys(text, 0))


def keys(text: str, dns_port: int) -> list[ZoneKey]:
    """`[SCHEME://]ZONE[:PORT]`, where ZONE may be a prefix (10.0.0.0/17), which stands for reverse zones."""
    scheme, separator, rest = text.rpartition("://")
    scheme = scheme if separator else "dns"
    if scheme not in PORTS:
        raise ValueError(f"unknown scheme '{scheme}://', known are {', '.join(PORTS)}")
    zone, port = rest, dns_port if scheme == "dns" else PORTS[scheme]
    if match := re.fullmatch(r"(.*):([^:/]*)", rest, re.DOTALL):
        zone, digits = match[1], match[2]
        if not re.fullmatch("[0-9]{1,5}", digits) or int(digits) > 65535:
            raise ValueError(f"'{digits}' is not a port, in '{text}'")
        port = int(digits)
    return [ZoneKey(scheme, origin, port) for origin in _reverse_zones(zone) or [_origin(zone)]]


def _origin(zone: str) -> str:
    if not zone:
        raise ValueError("a zone is missing, write '.' for the root")
    if ":" in zone or re.search(r"\s", zone):
        raise ValueError(f"'{zone}' is neither a zone nor a prefix such as 10.0.0.0/8 or 2001:db8::/32")
    return names.absolute(zone)


def _reverse_zones(zone: str) -> list[str]:
    """The reverse zones of a prefix; several where it ends inside an octet (IPv4) or a nibble (IPv6); else none."""
    if not re.fullmatch(r"[0-9.]+/[0-9]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/[0-9]+", zone):
        return []
    try:
        network = ip_network(zone, strict=False)
    except ValueError:
        raise ValueError(f"'{zone}' is not a prefix such as 10.0.0.0/8 or 2001:db8::/32") from None
    step = 8 if network.version == 4 else 4
    bits = -(-network.prefixlen // step) * step
    above = (network.max_prefixlen - bits) // step
    return [
        names.reverse_name(subnet.network_address.packed).split(".", above)[-1]
        for subnet in network.subnets(new_prefix=bits)
    ]
