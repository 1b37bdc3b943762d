"""What a *cache* directive says: its options as a table, and how their words are read."""

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from kdns.config.directive import Directive
from kdns.config.options import argument, flag, option
from kdns.plugins.cache.answers import BUDGET, Cache, DENIAL, FAILURE, Limits, SUCCESS

CAPACITY, LEAST_CAPACITY = 9984, 1024


class Stale(NamedTuple):
    """How stale answers are served, in seconds; `verify`: the upstream is waited for so long (0: as it takes), None: not."""

    duration: int = 3600
    verify: float | None = 1.8
    ttl: int = 30
    recheck: int = 30


class Prefetch(NamedTuple):
    """When an answer is asked for anew in advance: after so many hits (0: never), so many seconds apart at most."""

    amount: int = 0
    gap: int = 60
    percentage: int = 10


class Room(NamedTuple):
    """How many answers of a kind, and their TTLs; None where nothing is said of it."""

    capacity: int
    most: int | None
    least: int | None

    def limits(self, most: int) -> Limits:
        """With what is not said filled in."""
        longest = most if self.most is None else self.most
        return Limits(self.capacity, longest, min(5, most, longest) if self.least is None else self.least)


def _where(o: Directive) -> tuple[int, tuple[str, ...]]:
    """The longest TTL (0: as usual), and the zones."""
    most = 0
    if o.args and re.fullmatch("[+-]?[0-9]+", o.args[0]):
        most = o.integer(1, 2**31 - 1, at=0)
    return most, o.origins(start=1 if most else 0)


def _room(o: Directive) -> Room:
    count = len(o.arguments(1, 3))
    capacity = max(LEAST_CAPACITY, o.integer(0, 10_000_000, at=0))
    most = o.integer(1, 2**31 - 1, at=1) if count > 1 else None
    return Room(capacity, most, o.integer(0, 2**31 - 1, at=2) if count > 2 else None)


def _prefetch(o: Directive) -> Prefetch:
    count = len(o.arguments(1, 3))
    percentage = 10
    if count > 2:
        match = re.fullmatch("([0-9]{2})%", o.args[2])
        if match is None or not 10 <= int(match[1]) <= 90:
            raise ValueError(f"'{o.args[2]}' is not a percentage from 10% to 90%")
        percentage = int(match[1])
    gap = math.ceil(o.duration(at=1)) if count > 1 else 60
    return Prefetch(o.integer(0, 2**31 - 1, at=0), gap, percentage)


def _stale(o: Directive) -> Stale | None:
    words = list(o.arguments(0, 5))
    if words == ["off"]:
        return None
    duration = math.ceil(o.duration(0, 2**31 - 1, at=0)) if words else 3600
    mode = words[1].lower() if len(words) > 1 else "immediate"
    if mode not in ("immediate", "verify"):
        raise ValueError(f"'{words[1]}' is none of immediate, verify")
    verify, at = None, 2
    if mode == "verify":
        verify, at = (o.duration(at=2) if len(words) > 2 else 0.0), 3
    if len(words) > at + 2:
        raise ValueError("too many arguments")
    ttl = o.duration(0, 2**31 - 1, at=at) if len(words) > at else 30.0
    if ttl % 1:
        raise ValueError(f"'{words[at]}' is not a whole number of seconds")
    recheck = o.duration(0, 300, at=at + 1) if len(words) > at + 1 else 0.0
    return Stale(duration, verify, int(ttl), math.ceil(recheck))


def _octets(o: Directive) -> int:
    return o.octets("1M", "1024G")


def _policy(o: Directive) -> bool:
    return o.one().lower() == "prefer_positive" or bool(o.choice(("prefer_positive",)))


def _servfail(o: Directive) -> int:
    return math.ceil(o.duration(0, 300))


def _disable(o: Directive) -> tuple[tuple[str, str], ...]:
    where = o.choice((SUCCESS, DENIAL), at=0)
    return tuple((where, zone) for zone in o.origins(default=(".",), start=1))


def shape(directive: Directive) -> tuple[Any, ...]:
    """What a directive says, wherever it stands."""
    return directive.name, directive.args, tuple(map(shape, directive.block))


USUAL = Room(CAPACITY, None, None)


@dataclass(frozen=True)
class Options:
    where: tuple[int, tuple[str, ...]] = argument(_where)
    success: Room = option(_room, USUAL)
    denial: Room = option(_room, USUAL)
    prefetch: Prefetch = option(_prefetch, Prefetch())
    serve_stale: Stale | None = option(_stale, Stale())
    serve_stale_policy: bool = option(_policy, False)
    servfail: int = option(_servfail, 5)
    disable: tuple[tuple[str, str], ...] = option(_disable, (), many=True)  # (kind, zone)
    keepttl: bool = option(flag, False)
    nxdomain_cut: bool = option(flag, False)
    max_size: int = option(_octets, BUDGET)

    def __post_init__(self) -> None:
        if self.serve_stale_policy and self.serve_stale is None:
            raise ValueError("serve_stale_policy has no effect with serve_stale off: take one of them out")

    def cache(self) -> Cache:
        """An empty one."""
        most = self.where[0]
        success, denial = self.success.limits(most or 3600), self.denial.limits(most or 1800)
        return Cache(success, denial, self.servfail, self.nxdomain_cut, self.max_size)

    def never_kept(self) -> list[str]:
        """Zones of which nothing is kept."""
        return [zone for which, zone in self.disable if which == SUCCESS and (DENIAL, zone) in self.disable]

    def disabled(self, kind: str) -> list[str]:
        """Zones of which answers of this kind are not kept, though others are. Failures are as denials are."""
        where, never = DENIAL if kind == FAILURE else kind, self.never_kept()
        return [zone for which, zone in self.disable if which == where and zone not in never]
