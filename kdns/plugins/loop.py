"""*loop* - finds upstreams that hand questions back to this server, and takes them out.

Description
    Every upstream of every *forward* in the server block is asked a question that nobody else asks,
    `<random>.<random>.ZONE HINFO`. Where it arrives here, that upstream forwards to this server: it is not asked any
    more, all else goes on, the log names it, and so does the metric. A common cause is a /etc/resolv.conf with an
    address of the machine itself, such as 127.0.0.53.

    They are asked at the start, after a reload, when the upstreams change, and every ten minutes; those taken out every 30
    seconds, and after three times without a loop they are asked again by *forward*.

    The question goes to the upstream past *cache*. A loop through several servers is found where they pass HINFO on.

    Only once in a server block.

Syntax
    loop [exit]

    exit                 a loop ends the process with exit code 1, as in CoreDNS.

Metrics
    - `kdns_loop_detected{zone, to}`: 1 for an upstream that was taken out.

Differences
    - An upstream that leads back is taken out, and the process goes on; `loop exit` ends it as CoreDNS does.

Examples
    Nothing is lost where one of the nameservers is this server:

        . {
            loop
            forward . /etc/resolv.conf
        }
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from kdns.config.directive import Directive
from kdns.config.options import argument
from kdns.core.block import Block
from kdns.core.plugin import Handler, Known, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, Made, Response
from kdns.dns.types import NXDOMAIN
from kdns.errors import KdnsError
from kdns.upstream.upstream import Exclusion

log = logging.getLogger(__name__)

HINFO = 13
AGAIN = 30.0  # seconds until an upstream that was taken out is probed again
ALL = 600.0  # seconds until all are
LOOK = 1.0  # seconds between looks at which upstreams there are
CLEAN = 3  # probes in a row that must not come back: behind an address there may be several servers
CAUSE = "it forwards to this server (loop)"
MADE = Made("loop")


class Upstream(Protocol):
    name: str
    exclusions: list[Exclusion]


@runtime_checkable
class Forward(Protocol):
    """What *forward* offers."""

    zone: str

    @property
    def upstreams(self) -> Sequence[Upstream]: ...
    async def ask(self, upstream: Upstream, query: Query, /) -> Response: ...


class Probed(NamedTuple):
    """An upstream as one *forward* has it, and the zone of that."""

    forward: Forward
    upstream: Upstream
    zone: str


def _exit(o: Directive) -> bool:
    return o.choice(("exit",)) == "exit" if o.arguments(0, 1) else False


@dataclass(frozen=True)
class Options:
    exit: bool = argument(_exit)


class Loop(Plugin):
    """It sees what comes back."""

    table = Options
    once = True
    same_for_everyone = True  # what it answers itself is never in the memo
    told = ()

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block, self.ends = block, options.exit
        self.looping: dict[str, tuple[Probed, Exclusion]] = {}  # taken out, by name
        self.detected = block.gauge("kdns_loop_detected", "1 for an upstream that forwards to this server.", ("zone", "to"))
        self._clean: dict[str, int] = {}  # probes of those that did not come back, in a row
        self._probes: dict[str, Probed] = {}  # by the name asked
        self._came_back: set[str] = set()

    def answer(self, query: Query, next: Handler) -> Awaitable[Answer]:
        return self._caught(query) if query.type == HINFO and query.name in self._probes else next(query)

    async def _caught(self, query: Query) -> Answer:
        self._came_back.add(query.name)
        self._take_out(self._probes[query.name], f"{query.client} -> {query.local}")
        return Response(rcode=NXDOMAIN, authoritative=False, made=MADE)

    def at_once(self, query: Query, next: Known) -> Answer | None:
        return None if query.type == HINFO else next(query)

    async def run(self) -> None:
        while True:
            all = self.all()
            await self.probe(all)
            for _ in range(round(ALL / AGAIN)):
                if not await self._same(all):
                    break
                await self.probe([probed for probed, _ in self.looping.values()])

    async def _same(self, all: list[Probed]) -> bool:
        """Wait until it is time to probe again; False as soon as the upstreams are not those any more."""
        for _ in range(round(AGAIN / LOOK)):
            await asyncio.sleep(LOOK)
            if self.all() != all:
                return False
        return True

    def all(self) -> list[Probed]:
        """All upstreams of the server block."""
        out = []
        for forward in self.block.named("forward"):
            assert isinstance(forward, Forward)
            zone = next((own for own in self.block.zones if names.is_below(own, forward.zone)), forward.zone)
            out += [Probed(forward, upstream, zone) for upstream in forward.upstreams]
        return out

    async def probe(self, several: list[Probed]) -> None:
        """Ask each upstream; take out those from which it comes back, and back in those from which it does not any more."""
        present = {probed.upstream.name for probed in self.all()}
        for name in [name for name in self.looping if name not in present]:
            self._take_in(name, "it is no upstream any more")
        self._probes = {f"{_random()}.{_random()}.{probed.zone.lstrip('.')}": probed for probed in several}
        self._came_back = set()
        await asyncio.gather(*(self._ask(name, probed) for name, probed in self._probes.items()))
        for name, probed in self._probes.items():
            label = probed.upstream.name
            if name not in self._came_back and label in self.looping:
                self._clean[label] = self._clean.get(label, 0) + 1
                if self._clean[label] >= CLEAN:
                    self._take_in(label, "questions do not come back from it any more")
        if self.ends and self.looping:
            raise SystemExit(1)

    async def _ask(self, name: str, probed: Probed) -> None:
        try:
            await probed.forward.ask(probed.upstream, Query(name, HINFO))
        except KdnsError:  # no answer is as good as any: what counts is whether the question arrives here
            pass

    def _take_out(self, probed: Probed, way: str) -> None:
        label = probed.upstream.name
        self._clean[label] = 0
        if label in self.looping:
            return
        if self.ends:
            log.critical('Loop (%s) detected for zone "%s": upstream %s forwards to this server', way, probed.zone, label)
        else:
            log.error(
                'Loop (%s) detected for zone "%s": upstream %s forwards to this server and is not asked any more; '
                "take it out of the Corefile or of the file of nameservers", way, probed.zone, label,
            )  # fmt: skip
        exclusion = Exclusion(CAUSE)
        self.looping[label] = probed, exclusion
        probed.upstream.exclusions.append(exclusion)
        self.detected.labels(probed.zone, label).set(1)

    def _take_in(self, label: str, why: str) -> None:
        self._include(label)
        del self.looping[label]
        log.info("upstream %s is asked again where it is one: %s", label, why)

    def _include(self, label: str) -> None:
        probed, exclusion = self.looping[label]
        if exclusion in probed.upstream.exclusions:
            probed.upstream.exclusions.remove(exclusion)
        self.detected.remove(probed.zone, label)

    def remarks(self) -> list[str]:
        """What a person should know, although it is no reason not to be ready."""
        return [f"upstream {label} is not asked: {CAUSE}" for label in self.looping]

    def close(self) -> None:
        """Upstreams outlive this generation."""
        for label in self.looping:
            self._include(label)


def _random() -> int:
    return random.SystemRandom().getrandbits(62)
