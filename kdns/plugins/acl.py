"""*acl* - says which clients may ask what.

Description
    Rules are looked at in their order, and the first that fits a query's type and its client's address decides. What no rule
    fits is allowed. A rule with neither `type` nor `net` fits every query.

    - `allow` passes the query on.
    - `block` answers REFUSED, with the extended error 15 (Blocked).
    - `filter` answers NOERROR with nothing in it, with the extended error 17 (Filtered).
    - `drop` does not answer at all.

    The address is the one that the query comes from: behind source NAT, a proxy's or a node's. An IPv4 address that an IPv6
    socket shows as ::ffff:192.0.2.1 is 192.0.2.1.

    *acl* may stand several times in a server block: each has its say, in their order. Replies come from the memo all the same,
    to each client those that its rules allow.

Syntax
    acl [ZONES...] {
        ACTION [type QTYPE...] [net SOURCE...]
    }

    - ZONES are those that the rules are for; without any, the zones of the server block.
    - ACTION is `allow`, `block`, `filter` or `drop`.
    - QTYPE is a type such as `A`, `AAAA`, `TYPE65`, or `*` for all of them.
    - SOURCE is an address, a prefix such as 10.0.0.0/8, or `*` for all of them.

Metrics
    - `coredns_acl_blocked_requests_total{server, zone, view}`, `coredns_acl_filtered_requests_total{server, zone, view}`,
      `coredns_acl_dropped_requests_total{server, zone, view}`: queries that came to that end.
    - `coredns_acl_allowed_requests_total{server, view}`: all others.

    What the memo answers counts as well.

Examples
    No addresses for a network:

        . {
            acl {
                block type A net 192.168.0.0/16
            }
            whoami
        }

    Nothing for a network, but for a part of it:

        . {
            acl {
                allow net 192.168.1.0/24
                block net 192.168.0.0/16
            }
            whoami
        }

    Nothing but for two networks:

        . {
            acl {
                allow net 192.168.0.0/24 192.168.1.0/24
                block
            }
            whoami
        }

    No answer for some about a part of a zone:

        example.org {
            acl a.example.org {
                drop net 192.168.1.0/24
            }
            whoami
        }
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from kdns.config.directive import Directive
from kdns.config.options import argument, lines, Network, zones
from kdns.core.block import Block
from kdns.core.fallthrough import Fallthrough
from kdns.core.metrics import Metric
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Made, replace, Response, SILENCE
from kdns.dns.types import BLOCKED, FILTERED, REFUSED, type_number

ACTIONS = ("allow", "block", "filter", "drop")
COUNTED = {"block": "blocked", "filter": "filtered", "drop": "dropped"}
MOST_CLIENTS = 10_000  # whose rules are remembered


class Networks:
    """Addresses in any of many prefixes: a look-up for each length of prefix, however many there are."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._by_length: dict[tuple[int, int], set[int]] = {}  # by version and host bits
        for network in networks:
            bits = network.max_prefixlen - network.prefixlen
            self._by_length.setdefault((network.version, bits), set()).add(int(network.network_address) >> bits)

    def __contains__(self, host: str) -> bool:
        address = ip_address(host)
        number, version = int(address), address.version
        return any(number >> bits in some for (of, bits), some in self._by_length.items() if of == version)


class Rule(NamedTuple):
    """What to do with queries of these types from these addresses; None: of all."""

    action: str
    types: frozenset[int] | None
    sources: Networks | None


def _rule(o: Directive) -> Rule:
    if o.name not in ACTIONS:
        raise o.unknown(ACTIONS)
    o.arguments()
    words: dict[str, list[str]] = {}
    kind = ""
    for word in o.args:
        if word.lower() in ("type", "net"):
            kind = word.lower()
            words.setdefault(kind, [])
        elif kind:
            words[kind].append(word)
        else:
            raise ValueError(f"'{word}' is neither 'type' nor 'net'")
    for kind, given in words.items():
        if not given:
            raise ValueError(f"'{kind}' is followed by nothing, write '*' for all")
    types, sources = (None if "*" in words.get(kind, "*") else words[kind] for kind in ("type", "net"))
    return Rule(
        o.name,
        None if types is None else frozenset(map(type_number, types)),
        None if sources is None else Networks(map(_network, sources)),
    )


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"'{text}' is neither an address nor a prefix such as 10.0.0.0/8 or 2001:db8::/32") from None


@dataclass(frozen=True)
class Options:
    zones: tuple[str, ...] = argument(zones)
    rules: tuple[Rule, ...] = lines(_rule)


class Acl(Plugin):
    """What it says depends on the question and the client's address alone, so that the memo needs to know only who asks."""

    table = Options

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        if not options.rules:
            raise directive.error("has no rule: what has to be blocked?")
        self.block = block
        self._zones = Fallthrough(options.zones or block.zones)
        self._rules = options.rules
        self._remedy = f"acl at {directive.file}:{directive.line} has a rule against it for this client and type"
        self._tokens: dict[tuple[int, ...], bytes] = {}  # by the rules that fit an address: no more than networks have edges
        self._of: dict[str, tuple[bytes, list[Rule]]] = {}  # what fits an address
        labels = ("server", "zone", "view")
        self._ends = {
            action: block.counter(f"coredns_acl_{past}_requests_total", f"Queries that were {past}.", labels)
            for action, past in COUNTED.items()
        }
        self._allowed = block.counter("coredns_acl_allowed_requests_total", "Queries that were allowed.", ("server", "view"))

    def audience(self, client: str) -> bytes:
        return self._fitting(client)[0]

    def _fitting(self, client: str) -> tuple[bytes, list[Rule]]:
        """The rules that fit an address, and a token for them."""
        found = self._of.get(client)
        if found is None:
            fits = tuple(i for i, rule in enumerate(self._rules) if rule.sources is None or client in rule.sources)
            token = self._tokens.setdefault(fits, len(self._tokens).to_bytes(4, "big"))
            if len(self._of) >= MOST_CLIENTS:
                self._of.clear()
            found = self._of[client] = token, [self._rules[i] for i in fits]
        return found

    async def answer(self, query: Query, next: Handler) -> Answer:
        zone = self._zones.zone(query.name)
        action = "allow" if zone is None else self._verdict(query)
        if action == "allow":
            other = await next(query)
            self._count_allowed(1)
            if not isinstance(other, Response) or not other.stable_for:
                return other
            return replace(other, made=other.made.counted(self._count_allowed))
        counter = self._ends[action].labels(zone or "", self.block.view)
        counter.inc()
        return SILENCE if action == "drop" else self._refusal(action, counter)

    def _refusal(self, action: str, counter: Metric) -> Response:
        return Response(
            rcode=REFUSED if action == "block" else 0,
            authoritative=False,
            stable_for=math.inf,  # for this audience
            error=ExtendedError(BLOCKED if action == "block" else FILTERED, remedy=self._remedy),
            made=Made("acl", replayed=counter.inc),
        )

    def _verdict(self, query: Query) -> str:
        for rule in self._fitting(query.client.host)[1]:
            if rule.types is None or query.type in rule.types:
                return rule.action
        return "allow"

    def _count_allowed(self, times: int) -> None:
        self._allowed.labels(self.block.view).inc(times)
