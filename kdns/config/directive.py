"""A directive of a Corefile, and the values that its arguments stand for: zones, addresses, durations.

What a directive means is its plugin's affair; the readers of `Directive` make that short, and its errors alike. No I/O.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_network

from kdns.dns import names
from kdns.errors import CorefileError

PORTS = {"dns": 53, "tls": 853, "quic": 853, "grpc": 443, "https": 443, "https3": 443}  # by scheme

MAX_DURATION = (2**63 - 1) / 1e9  # seconds; what Go's own duration holds


@dataclass(frozen=True, slots=True)
class Directive:
    """A line of a server block, or of a block in it: a name, its arguments, and the block that it opens.

    `plugin` is the directive of the server block that this one stands below; empty where it is that directive itself.
    """

    name: str
    args: tuple[str, ...] = ()
    block: tuple["Directive", ...] = ()
    file: str = "Corefile"
    line: int = 1
    plugin: str = ""

    def error(self, message: str) -> CorefileError:
        """`Corefile:12: kubernetes: message`, to be raised."""
        return error_at(self.file, self.line, f"{self.plugin or self.name}: {message}")

    def unknown(self, known: Iterable[str]) -> CorefileError:
        """The error for a name that is none of the known options (or, in a server block, plugins)."""
        hint = did_you_mean(self.name, known)
        if self.plugin:
            return self.error(f"unknown option '{self.name}'{hint}")
        return error_at(self.file, self.line, f"unknown plugin '{self.name}'{hint}")

    def arguments(self, low: int = 0, high: int | None = None) -> tuple[str, ...]:
        """The arguments, which must be `low` to `high` in number. An option that is read so has no block."""
        if self.plugin and self.block:
            raise self.error(f"{self.name} takes no block")
        count = len(self.args)
        if count < low or (high is not None and count > high):
            wanted = str(low) if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            nouns = "argument" if wanted in ("1", "at least 1", "0 to 1") else "arguments"
            raise self._refused(f"takes {'no' if wanted == '0' else wanted} {nouns}, has {count or 'none'}")
        return self.args

    def no_args(self) -> None:
        self.arguments(0, 0)

    def no_block(self) -> None:
        if self.block:
            raise self._refused("takes no block")

    def one(self) -> str:
        """The one argument."""
        return self.arguments(1, 1)[0]

    def optional(self, default: str = "") -> str:
        """The one argument, or the default where there is none."""
        return (*self.arguments(0, 1), default)[0]

    def integer(self, low: int, high: int, at: int | None = None) -> int:
        """The one argument, or the one at an index, as a whole number from low to high."""
        value = self._value(at)
        if not re.fullmatch("[+-]?[0-9]{1,18}", value) or not low <= int(value) <= high:
            raise self._refused(f"'{value}' is not a whole number from {low} to {high}")
        return int(value)

    def duration(self, low: float = 0, high: float = MAX_DURATION, at: int | None = None) -> float:
        """The one argument, or the one at an index, as seconds from low to high; see `seconds`."""
        value = self._value(at)
        try:
            found = seconds(value)
        except ValueError as error:
            raise self._refused(str(error)) from None
        if not low <= found <= high:
            limit = f"at least {low:g}s" if found < low else f"at most {high:g}s"
            raise self._refused(f"'{value}' is out of range: {limit}")
        return found

    def choice(self, words: Iterable[str], at: int | None = None) -> str:
        """The one argument, or the one at an index, which must be one of the words."""
        value, known = self._value(at), list(words)
        if value not in known:
            raise self._refused(f"'{value}' is none of {', '.join(known)}")
        return value

    def origins(self, default: Iterable[str] = (), start: int = 0) -> tuple[str, ...]:
        """The arguments from an index on as zones (see `origins`), or the default where there are none."""
        try:
            found = [zone for argument in self.args[start:] for zone in origins(argument)]
        except ValueError as error:
            raise self._refused(str(error)) from None
        return tuple(found or default)

    def address(self, default: str) -> tuple[str, int]:
        """The one argument, or the default, as host and port: `:8080`, `localhost:8080`, `[::1]:8080`."""
        try:
            return host_port(self.optional(default))
        except ValueError as error:
            raise self._refused(str(error)) from None

    def _value(self, at: int | None) -> str:
        return self.one() if at is None else self.arguments(at + 1)[at]

    def _refused(self, message: str) -> CorefileError:
        """An error about the arguments: for an option its name comes first."""
        return self.error(f"{self.name}: {message}" if self.plugin else message)


@dataclass(frozen=True, slots=True)
class Key:
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


def keys(text: str, dns_port: int) -> list[Key]:
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
    return [Key(scheme, origin, port) for origin in _reverse_zones(zone) or [_origin(zone)]]


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


def error_at(file: str, line: int, message: str) -> CorefileError:
    """One line, whatever words of the Corefile are in it."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in f"{file}:{line}: {message}")
    return CorefileError(shown)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f", did you mean '{close[0]}'?" if close else ""
