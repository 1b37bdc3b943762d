"""What a *forward* directive says: its options as a table, and how their words are read."""

import re
from dataclasses import dataclass
from typing import Any

from kdns.config.directive import Directive
from kdns.config.options import address, argument, choice, duration, flag, integer, option, some_zones, tls_files, word
from kdns.config.values import origins
from kdns.dns import names
from kdns.dns.types import COOKIE, ECS, EDE, KEEPALIVE, NOERROR, NSID, PADDING, RCODES
from kdns.upstream.attempts import Attempts
from kdns.upstream.policies import POLICIES
from kdns.upstream.tallies import Tallies
from kdns.upstream.targets import Target, target, Tls
from kdns.upstream.upstream import Terms

MOST = 15  # words that name upstreams


def _where(o: Directive) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """FROM as zones, and the words of TO."""
    words = o.arguments(2)[1:]
    if len(words) > MOST:
        raise ValueError(f"takes at most {MOST} upstreams, has {len(words)}")
    return origins(o.args[0]), words


def _health_check(o: Directive) -> dict[str, Any]:
    """What it says of upstreams, by the names of Terms."""
    said: dict[str, Any] = {"interval": o.duration(at=0) or Terms().interval}
    words = list(o.args[1:])
    while words:
        word = words.pop(0)
        if word == "no_rec":
            said["recurse"] = False
        elif word == "domain" and words:
            said["domain"] = names.absolute(words.pop(0))
        else:
            raise ValueError(f"'{word}' is neither no_rec nor domain and a name")
    return said


def _rcodes(o: Directive) -> frozenset[int]:
    numbers = {name: number for number, name in RCODES.items()}
    for code in o.arguments(1):
        if code.upper() not in numbers:
            raise ValueError(f"'{code}' is none of {', '.join(numbers)}")
    return frozenset(numbers[code.upper()] for code in o.args)


def _edns_options(o: Directive) -> frozenset[int]:
    codes = set()
    for name in o.arguments(1):
        code = {"nsid": NSID, "subnet": ECS}.get(name.lower(), int(name) if re.fullmatch("[0-9]{1,5}", name) else 65536)
        if code > 65535:
            raise ValueError(f"'{name}' is neither nsid nor subnet nor a code up to 65535")
        if code in (COOKIE, KEEPALIVE, PADDING, EDE):
            raise ValueError(f"{name}: cookies, keepalive, padding and errors are between two neighbours")
        codes.add(code)
    return frozenset(codes)


def _resolvers(o: Directive) -> tuple[Target, ...]:
    found = []
    for text in o.arguments(1):
        one = target(text)
        if not isinstance(one, Target) or one.encrypted:
            raise ValueError(f"'{text}' is not an address, with a port or without")
        found.append(one)
    return tuple(found)


def _failures(o: Directive) -> frozenset[int]:
    found = _rcodes(o)
    if NOERROR in found:
        raise ValueError("NOERROR is no failure")
    return found


@dataclass(frozen=True)
class Options:
    where: tuple[tuple[str, ...], tuple[str, ...]] = argument(_where)
    except_: tuple[str, ...] = option(some_zones, (), many=True)
    force_tcp: bool = option(flag, False)
    prefer_udp: bool = option(flag, False)
    expire: float = option(duration(), Terms().expire)
    max_age: float = option(duration(), Terms().max_age)
    max_idle_conns: int = option(integer(0, 1_000_000), 0)
    read_timeout: float = option(duration(low=0.001), 2.0)
    max_fails: int = option(integer(0, 2**32 - 1), Terms().max_fails)
    max_connect_attempts: int | None = option(integer(0, 2**32 - 1))
    doh_method: str = option(choice("GET", "POST"), "POST")
    tls: tuple[str, str, str] = option(tls_files, ("", "", ""))
    tls_servername: str = option(word, "")
    policy: str = option(choice(*POLICIES), "random")
    health_check: dict[str, Any] | None = option(_health_check)
    max_concurrent: int = option(integer(0, 2**31 - 1), 0)
    next: frozenset[int] = option(_rcodes, frozenset())
    next_on_nodata: bool = option(flag, False)
    failfast_all_unhealthy_upstreams: bool = option(flag, False)
    failover: frozenset[int] = option(_failures, frozenset())
    source_address: str = option(address, "")
    use_caps_for_id: bool = option(flag, False)
    edns_options: frozenset[int] = option(_edns_options, frozenset())
    resolver: tuple[Target, ...] = option(_resolvers, ())

    def __post_init__(self) -> None:
        if 0 < self.max_age < self.expire:
            raise ValueError(f"max_age ({self.max_age:g} s) must not be less than expire ({self.expire:g} s)")

    def terms(self, tls: Tls) -> Terms:
        """What each upstream is told."""
        return Terms(
            expire=self.expire, max_age=self.max_age, max_idle=self.max_idle_conns, max_fails=self.max_fails,
            source=self.source_address, force_tcp=self.force_tcp, tls=tls, random_case=self.use_caps_for_id,
            doh_method=self.doh_method, **(self.health_check or {}),
        )  # fmt: skip

    def attempts(self, tallies: Tallies) -> Attempts:
        """How they are tried."""
        return Attempts(
            tallies, POLICIES[self.policy](), timeout=self.read_timeout, most=self.max_connect_attempts,
            failover=self.failover, failfast=self.failfast_all_unhealthy_upstreams,
            force_tcp=self.force_tcp, prefer_udp=self.prefer_udp,
        )  # fmt: skip
