"""Names that objects ask for themselves: Services by an annotation, Ingresses and routes to Gateways by their host names.

Pure, over the store; a wildcard (`*.example.org.`) stands for what no other name asked for is closer to (RFC 4592).
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any

from kdns.cluster import records
from kdns.cluster.balancers import External, kind_of
from kdns.cluster.members import Naming
from kdns.cluster.objects import Service
from kdns.cluster.reasons import reason
from kdns.cluster.records import Found
from kdns.cluster.store import Store
from kdns.dns import names
from kdns.dns.response import ExtendedError, Key, RRset
from kdns.dns.types import ANY

SERVICE = "Service"


class Asked:
    """The names that objects of some kinds ask for; `exposed` says whether the objects of a namespace are to be seen."""

    def __init__(self, store: Store, exposed: Callable[[str], bool], kinds: Collection[str]) -> None:
        self._store, self._exposed = store, exposed
        self._every = [store.outside if kind == SERVICE else store.asking[kind] for kind in kinds]

    def look(self, name: str, type: int, origin: str, naming: Naming) -> tuple[Found, tuple[Key, ...]]:
        """What a name has, and what that was made from."""
        keys, depends = self._closest(name, origin)
        addresses: list[bytes] = []
        targets: list[str] = []
        for key in keys:
            depends.append(key.partition("/")[0])
            if not self._exposed(key.partition("/")[0]):
                continue
            for gateway, external in self._ways(key):
                addresses += external.addresses if external is not None else ()
                targets += external.names if external is not None else ()
                depends += [gateway] if gateway else ()
        made_from = tuple(dict.fromkeys(depends))
        if addresses:
            return Found(True, of_type(records.addresses(name, naming.ttl, addresses), type)), made_from
        if targets:
            return Found(True, (records.cname(name, targets[0], naming),)), made_from
        return Found(bool(keys) or self._exists(name)), made_from

    def has(self, name: str) -> bool:
        """Does somebody ask for this very name?"""
        return any(outside.of(name) for outside in self._every)

    def names(self) -> Iterator[str]:
        """The names that somebody asks for, in whatever zone, wildcards as they stand; each may come again."""
        for outside in self._every:
            for name in outside.every():
                if isinstance(name, str):
                    yield name

    def why(self, name: str, origin: str) -> ExtendedError | None:
        """Why a name that is asked for has no address; None where nobody asks for it, or it has one."""
        for key in self._closest(name, origin)[0]:
            if not self._exposed(key.partition("/")[0]):
                continue
            ways = list(self._ways(key))
            if not any(external and (external.addresses or external.names) for _, external in ways):
                text, see = self._of_gateways(ways)
                return reason(f"{spoken(key)} asks for it and has no address yet{text}", f"see {_kubectl(see or key)}")
        return None

    def account(self, name: str, origin: str) -> dict[str, Any]:
        """Who asks for a name, for a person."""
        told = [
            {"by": spoken(key), "hidden": not self._exposed(key.partition("/")[0])}
            | {f"addresses{f' of {spoken(gateway)}' if gateway else ''}": _shown(external) for gateway, external in self._ways(key)}
            for key in self._closest(name, origin)[0]
        ]
        return {"asked for": told} if told else {}

    def _closest(self, name: str, origin: str) -> tuple[list[str], list[Key]]:
        """The keys of who asks for a name, or for the closest wildcard above it; and the names that were looked at."""
        above = name
        looked: list[Key] = [name]
        keys = self._of(name)
        while not keys and not self._exists(above) and above != origin:
            above = names.parent(above)
            wildcard = f"*.{above.lstrip('.')}"
            looked += [wildcard, above] if above != origin else [wildcard]
            keys = self._of(wildcard)
        return keys, looked

    def _of(self, name: str) -> list[str]:
        return [key for outside in self._every for key in outside.of(name)]

    def _exists(self, name: str) -> bool:
        return any(outside.exists(name) for outside in self._every)

    def _ways(self, key: str) -> Iterator[tuple[str, External | None]]:
        """Where an object is reached: its own load balancer, or its Gateways by their keys; None for one that is not there."""
        store = self._store
        entrance = store.entrances.get(key)
        if entrance is None:
            yield "", store.services[key].external
        elif kind_of(key) == "Ingress":
            yield "", entrance.external
        else:
            for gateway in entrance.gateways:
                there = store.entrances.get(gateway)
                yield gateway, there.external if there is not None else None

    def _of_gateways(self, ways: list[tuple[str, External | None]]) -> tuple[str, str]:
        """What is wrong with the Gateways of a route, and the one to look at; nothing of what has a load balancer of its own.

        Clients are told the first: a Gateway in a namespace that is hidden from them is not named in it.
        """
        if not ways:
            return ": no Gateway takes it", ""
        said = [
            f"{spoken(of) if self._exposed(of.partition('/')[0]) else 'a Gateway'} "
            f"{'has none' if external is not None else 'does not exist'}"
            for of, external in ways if of
        ]  # fmt: skip
        there = next((of for of, external in ways if of and external is not None), "")
        return f": {', '.join(said)}" if said else "", there


def of_type(rrsets: tuple[RRset, ...], type: int) -> tuple[RRset, ...]:
    """Those of a type; one of them for ANY (RFC 8482)."""
    return rrsets[:1] if type == ANY else tuple(rrset for rrset in rrsets if rrset.type == type)


def spoken(key: str) -> str:
    """An object as a person calls it: Ingress shop/web."""
    name, _, kind = key.partition(" ")
    return f"{kind or SERVICE} {name}"


def unreached(service: Service) -> ExtendedError:
    """Of a Service that cannot be reached from outside."""
    if service.alias:
        remedy = "give who asks for it the name that it stands for"
        return reason(f"Service {service.key} is an ExternalName, which has no address", remedy)
    remedy = "its type has to be LoadBalancer, with something that gives it an address, or set spec.externalIPs"
    return reason(f"Service {service.key} has no address outside of the cluster (yet)", f"{remedy}: {_kubectl(service.key)}")


def _kubectl(key: str) -> str:
    """What shows an object to a person."""
    place, _, kind = key.partition(" ")
    namespace, _, name = place.partition("/")
    return f"kubectl describe {(kind or SERVICE).lower()} {name} -n {namespace}"


def _shown(external: External | None) -> str:
    if external is None:
        return "it does not exist"
    return ", ".join([*map(names.unpacked, external.addresses), *external.names]) or "none yet"
