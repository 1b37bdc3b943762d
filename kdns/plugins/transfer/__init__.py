"""*transfer* - lets other servers take over zones, and tells them of changes.

Description
    Answers AXFR, and IXFR with all of the zone, or with its SOA alone where nothing is newer, for zones that *file*, *auto*,
    *secondary*, *kubernetes* and *k8s_external* have in the same server block. A zone is sent in small messages, and other
    queries are answered between any two. A cluster's zone has the names of all endpoints, those of Services with a ClusterIP
    too; names that are computed when they are asked for, of Pods and of topology zones, are not in it.

    When a zone changes, and when kdns starts, those whose address stands at `to` are told (NOTIFY, RFC 1996), at once and
    then at most every five seconds. Who may not have a zone gets REFUSED, and NOTAUTH where nobody here has such a zone.

Syntax
    transfer [ZONES...] {
        to ADDRESS...
        source ADDRESS
    }

    ZONES                those of the server block by default.
    to                   who may have them: `*` is everybody; an address; a prefix such as 10.0.0.0/8. An address (with a
                         port or without) is also told of changes. It may stand several times.
    source               the address of ours that they are told from.

Metrics
    - `kdns_transfers_total{server, zone, result}`: transfers by `full`, `unchanged`, `refused`.

Differences
    - A zone that is not here, or cannot be transferred, is NOTAUTH (RFC 5936 2.2.1).
    - A cluster's zone has all that its names are answered with: NS records and their addresses, all endpoints, whole names of load
      balancers, weights.

Examples
    A cluster's zone for a server that is told of changes, and for whoever is in a network:

        .:53 {
            kubernetes cluster.local {
                manifests zones/cluster.yaml
            }
            transfer cluster.local {
                to 127.0.0.1:5399 10.0.0.0/8
            }
        }
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from kdns.config.directive import Directive
from kdns.config.options import address, argument, Network, option, zones
from kdns.config.values import host_port
from kdns.core.block import Block
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query, Transport
from kdns.dns.response import Answer, Key, Made, Response, RRset, Stream
from kdns.dns.transfer import is_newer, known_serial, messages, Outgoing
from kdns.dns.types import AXFR, FORMERR, IXFR, NOTAUTH, REFUSED
from kdns.dns.zone import Timers
from kdns.plugins.transfer.notices import Notices
from kdns.upstream.targets import Target

log = logging.getLogger(__name__)

MADE = Made("transfer")
SLICE = 0.001  # seconds for which the loop is held


class To(NamedTuple):
    """Who may have a zone; and an address that is told of its changes."""

    network: Network
    target: Target | None = None


def _to(o: Directive) -> tuple[To, ...]:
    return tuple([to for word in o.arguments(1) for to in _one(word)])


def _one(word: str) -> list[To]:
    if word == "*":
        return [To(ip_network("0.0.0.0/0")), To(ip_network("::/0"))]
    try:
        if "/" in word:
            return [To(ip_network(word, strict=False))]
        host, port = host_port(word, 53)
        return [To(ip_network(host), Target(str(ip_address(host)), port))]
    except ValueError:
        raise ValueError(f"'{word}' is neither * nor an address (with a port or without) nor a prefix") from None


@dataclass(frozen=True)
class Options:
    zones: tuple[str, ...] = argument(zones)
    to: tuple[To, ...] = option(_to, (), many=True)
    source: str = option(address, "")

    def __post_init__(self) -> None:
        if not self.to:
            raise ValueError("transfers to nobody: write 'to' and addresses, or 'to *'")


class Transfer(Plugin):
    """Answers whoever asks for a whole zone; nothing of that is stable, and all else is left to others."""

    table = Options
    same_for_everyone = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        super().__init__(block, directive, options)
        self.zones = options.zones or block.zones
        self._networks = tuple(to.network for to in options.to)
        self._notices = Notices([to.target for to in options.to if to.target], options.source, self._soa)
        self._turn = asyncio.Lock()  # one slice of work between two turns of the loop, of all transfers together
        help = "Zones that others asked for."
        self._count = block.counter("kdns_transfers_total", help, ("server", "zone", "result"))
        if self._notices:
            block.on_forget(self._forgotten)

    # ------------------------------------------------------------ who asks

    async def answer(self, query: Query, next: Handler) -> Answer:
        if query.type not in (AXFR, IXFR):
            return await next(query)
        zone = self._zone(query.name)
        if zone is None:
            is_last = self.block.named("transfer")[-1] is self
            return Response(rcode=REFUSED, authoritative=False, made=MADE) if is_last else await next(query)
        client = ip_address(query.client.host)
        if not any(client in network for network in self._networks):
            log.warning("%s: %s may not have it", query.name, client)
            self._count.labels(zone, "refused").inc()
            return Response(rcode=REFUSED, authoritative=False, made=MADE)
        outgoing = self._outgoing(query)
        if outgoing is not None:
            return self._send(query, zone, outgoing)
        return Response(rcode=NOTAUTH, authoritative=False, made=MADE)

    def _zone(self, name: str) -> str | None:
        """The zone of this directive that a name is in, unless another directive has a longer one."""
        zone = names.closest(name, self.zones)
        others = [plugin for plugin in self.block.named("transfer") if plugin is not self and isinstance(plugin, Transfer)]
        longer = any(len(names.closest(name, other.zones) or "") > len(zone or "") for other in others)
        return None if longer else zone

    def _outgoing(self, query: Query) -> Outgoing | None:
        """The zone that is asked for, where a plugin has it."""
        for plugin in self._plugins():
            if query.name in plugin.transferable():
                return plugin.outgoing(query.name, query)
        return None

    def _plugins(self) -> list[Plugin]:
        return [plugin for _, plugin in self.block.plugins if plugin.overrides("transferable")]

    def _send(self, query: Query, zone: str, outgoing: Outgoing) -> Answer:
        """All of the zone; the SOA alone where the client has no older one, or where more does not fit (RFC 1995 2, 4)."""
        soa = Response(answer=(outgoing.soa,), made=MADE)
        if query.type == IXFR:
            serial = known_serial(query)
            if serial is None:
                return Response(rcode=FORMERR, authoritative=False, made=MADE)
            if not is_newer(Timers.of(outgoing.soa.rdata[0]).serial, serial):
                self._count.labels(zone, "unchanged").inc()
                return soa
            if query.transport is Transport.UDP:
                return soa
        return Stream(self._stream(query, zone, outgoing))

    async def _stream(self, query: Query, zone: str, outgoing: Outgoing) -> AsyncIterator[Response]:
        began = time.monotonic()
        records = 0
        made = messages(outgoing.steps)
        response: Response | None = None
        while True:
            async with self._turn:
                end = time.monotonic() + SLICE
                for response in made:
                    if response is not None or time.monotonic() > end:
                        break
                else:
                    break
                await asyncio.sleep(0)
            if response is not None:
                records += sum(len(rrset.rdata) for rrset in response.answer)
                yield response
        self._count.labels(zone, "full").inc()
        seconds = time.monotonic() - began
        log.info("%s: %d records to %s in %.1f s", query.name, records, query.client.host, seconds)

    # ------------------------------------------------------------ who is told

    def _known(self) -> dict[str, Key]:
        """The zones that are this directive's affair, each with the key that its changes touch."""
        known = {origin: key for plugin in reversed(self._plugins()) for origin, key in plugin.transferable().items()}
        return {origin: key for origin, key in known.items() if self._zone(origin) is not None}

    def _soa(self, origin: str) -> RRset | None:
        outgoing = self._outgoing(Query(origin, AXFR))
        return None if outgoing is None else outgoing.soa

    def _forgotten(self, keys: Iterable[Key]) -> None:
        changed = set(keys)
        self._notices.add(origin for origin, key in self._known().items() if key in changed)

    async def run(self) -> None:
        self._notices.add(self._known())
        await self._notices.send()
