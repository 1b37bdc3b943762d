"""The addresses of upstreams that a Corefile gives by host name.

They are asked of resolvers, never of this server's own plugins: who forwards to a name must not need itself to find it. They
are asked again when their TTLs are over. While that fails, the addresses before stay.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kdns.core.metrics import Metrics
from kdns.core.plugin import Kept
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.types import A, AAAA, NOERROR, NXDOMAIN, OUR_SIZE, rcode_text
from kdns.upstream.attempts import Attempts
from kdns.upstream.policies import as_given
from kdns.upstream.sources import Sources
from kdns.upstream.tallies import Tallies
from kdns.upstream.targets import Host, Target
from kdns.upstream.udp import connected
from kdns.upstream.upstream import Terms, Upstream

log = logging.getLogger(__name__)

RESOLV_CONF = "/etc/resolv.conf"
START = 3.0  # seconds for which a start waits for addresses
LEAST, MOST = 5, 300  # seconds between two questions for a name, whatever the TTL
AGAIN = 10.0  # seconds until a name is asked for again that could not be resolved
ADDRESSES = 15  # of one name and family


class _Found(NamedTuple):
    """What came of a question for one family: its addresses, seconds for which they hold; or why there is no answer."""

    addresses: tuple[str, ...] = ()
    ttl: float = MOST
    failure: str = ""


class Resolver(Kept):
    """Some host names and their `addresses`, of those families that have a route from here. `servers`: whom to ask, in order;
    none: the nameservers of /etc/resolv.conf, read anew each time that it changes. FileError where that cannot be read.
    """

    def __init__(self, hosts: Sequence[Host], servers: Sequence[Target] = (), source: str = "") -> None:
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.changed: list[Callable[[], None]] = []  # told when addresses have changed
        self._hosts, self._source = {host.name: host.port for host in hosts}, source
        self._servers = Sources(servers or [RESOLV_CONF])
        self._failures: dict[str, str] = {}  # why a name cannot be resolved just now
        self._found: dict[tuple[str, int], tuple[str, ...]] = {}  # the last addresses by name and type
        self._due = dict.fromkeys(self._hosts, 0.0)  # when a name is to be asked for, of time.monotonic()
        self._tallies = Tallies(Metrics())  # what is asked here is no query that was forwarded
        self._upstreams: dict[Target, Upstream] = {}
        self._attempts = Attempts(self._tallies, as_given(), prefer_udp=True)
        self._asking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Resolve the names, and go on without them where that takes too long."""
        first = asyncio.Event()
        self._asking = asyncio.get_running_loop().create_task(self._ask_on(first))
        try:
            async with asyncio.timeout(START):
                await first.wait()
        except TimeoutError:
            log.warning("upstream %s: no address within %g s, the start goes on without", self._without_addresses(), START)

    def _without_addresses(self) -> str:
        return ", ".join(_shown(name) for name in self._hosts if name not in self.addresses)

    def remarks(self) -> list[str]:
        """The names that cannot be resolved just now, a line each."""
        kept = {True: "its addresses stay as they were", False: "it has none yet"}
        return [
            f"{_shown(name)} cannot be resolved: {why}; {kept[name in self.addresses]}" for name, why in self._failures.items()
        ]

    async def _ask_on(self, first: asyncio.Event) -> None:
        """Ask for each name when its time has come, for ever."""
        while True:
            now = time.monotonic()
            try:
                await asyncio.gather(*(self._resolve(name) for name, due in self._due.items() if due <= now))
            except Exception:
                log.exception("upstreams could not be resolved")
            first.set()
            await asyncio.sleep(max(0.0, min(self._due.values()) - time.monotonic()))

    async def _resolve(self, name: str) -> None:
        """Ask for the addresses of a name; those of a family that cannot be had stay as they were."""
        self._due[name] = time.monotonic() + AGAIN
        found = dict(zip((A, AAAA), await asyncio.gather(self._ask(name, A), self._ask(name, AAAA)), strict=True))
        for type, one in found.items():
            if not one.failure:
                self._found[name, type] = one.addresses
        failures: list[str] = []
        if not any(one.addresses for one in found.values()):
            failures = list(dict.fromkeys(one.failure for one in found.values() if one.failure)) or ["it has no address"]
        self._tell(name, failures)
        if not failures:
            self._due[name] = time.monotonic() + min(max(min(one.ttl for one in found.values()), LEAST), MOST)
        every = [address for type in found for address in self._found.get((name, type), ())]
        self._take(name, tuple(self._reachable(every, self._hosts[name])))

    async def _ask(self, name: str, type: int) -> _Found:
        """The addresses of a name of one family."""
        asked = await self._asked()
        if not asked:
            return _Found(failure=f"{RESOLV_CONF} names no nameserver")
        response, replied = await self._attempts.ask(asked, Query(name, type), OUR_SIZE)
        if not replied:
            return _Found(failure=response.error.text if response.error else "no reply")
        if response.rcode not in (NOERROR, NXDOMAIN):
            return _Found(failure=f"{response.made.upstream} answers {rcode_text(response.rcode)}")
        records = [rrset for rrset in response.answer if rrset.type == type]
        addresses = dict.fromkeys(names.unpacked(rdata) for rrset in records for rdata in rrset.rdata)
        # In one order, however they come: or each answer that is turned round would be a change.
        return _Found(tuple(sorted(addresses))[:ADDRESSES], min((rrset.ttl for rrset in response.answer), default=MOST))

    async def _asked(self) -> list[Upstream]:
        """The resolvers as they are named just now."""
        self._servers.look()
        wanted = self._servers.targets
        gone = [self._upstreams.pop(target) for target in self._upstreams.keys() - set(wanted)]
        for target in wanted:
            if target not in self._upstreams:
                self._upstreams[target] = Upstream(target, Terms(source=self._source, max_fails=0), self._tallies)
        asked = [self._upstreams[target] for target in wanted]
        for upstream in gone:  # while this waits, others ask for other names
            await upstream.close()
        return asked

    def _tell(self, name: str, failures: list[str]) -> None:
        """A line in the log when a name cannot be resolved any more, and when it can again."""
        if failures:
            why = "; ".join(failures)
            if name not in self._failures:
                log.warning("upstream %s cannot be resolved: %s", _shown(name), why)
            self._failures[name] = why
        elif self._failures.pop(name, None) is not None:
            log.info("upstream %s is resolved again", _shown(name))

    def _take(self, name: str, addresses: tuple[str, ...]) -> None:
        if addresses and addresses != self.addresses.get(name):
            log.info("upstream %s has the addresses %s", _shown(name), ", ".join(addresses))
            self.addresses[name] = addresses
            for changed in self.changed:
                changed()

    def _reachable(self, addresses: Sequence[str], port: int) -> Sequence[str]:
        """Those of families that have a route from here; all where none has."""
        return [address for address in addresses if _has_route(address, port, self._source)] or addresses

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        for upstream in self._upstreams.values():
            await upstream.close()


def _has_route(address: str, port: int, source: str) -> bool:
    try:
        connected((address, port), source).close()
    except OSError:
        return False
    return True


def _shown(name: str) -> str:
    return name.rstrip(".")
