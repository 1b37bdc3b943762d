"""The objects behind a name of the cluster, for a person: which Service, which slices, each endpoint and whether it is in or out.

Who asks runs the server, so what is hidden from DNS is shown, and said to be hidden. Of objects only what DNS needs is kept:
versions and ages, or files and lines, are asked of their source, and where it does not say, what is known is shown without.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from heapq import nsmallest
from operator import methodcaller
from typing import Any, Protocol

from kdns.cluster import listing
from kdns.cluster.answers import Answers, is_reverse
from kdns.cluster.columns import endpoints, hostnames_of, unready_of
from kdns.cluster.objects import Port, Slice
from kdns.cluster.search_lists import tried, tried_outside
from kdns.cluster.store import Store
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import RRset
from kdns.errors import KdnsError

MOST = 200  # endpoints that are shown of a slice
STEP = 2000  # Services that are looked at before others have their turn: about a millisecond

_PARTED = methodcaller("partition", "/")


class Source(Protocol):
    async def provenance(self, service: str, slices: Collection[str]) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        """By kind and key, what objects do not keep of themselves; KdnsError where it cannot be had."""


async def account(answers: Answers, source: Source, name: str, origin: str) -> dict[str, Any]:
    """What is known of a name in a zone; nothing of names that stand for no object."""
    below = names.labels(name[: -len(origin)] if origin != "." else name)
    if below[-1:] == ["svc"] and len(below) > 2:
        key = f"{below[-2]}/{below[-3]}"
        told = _service(answers, key)
        more = await _provenance(told["slices"], source, key) if told["exists"] or told["slices"] else {}
        return {"service": key, **more, **told}
    if (prefix := names.reverse_prefix(name)) is not None and prefix[1] == 8 * len(prefix[0]):
        store, address = answers.store, prefix[0]
        found = {"services": list(store.services_at(address)), "pods": list(store.pods_at(address))}
        return {"address": names.unpacked(address), **found} if any(found.values()) else {}
    return {}


def meant(answers: Answers, query: Query) -> str:
    """The name at or below a Service that this one is short for, as a search list makes it; empty where it is none's."""
    labels, store = names.labels(query.name), answers.store
    if labels[-1:] == ["svc"]:
        labels.pop()
    if len(labels) == 1:
        labels += [namespace for namespace in store.namespaces if f"{namespace}/{labels[0]}" in store.services][:1]
    known = len(labels) > 1 and f"{labels[-1]}/{labels[-2]}" in store.services
    return f"{'.'.join(labels)}.svc.{answers.origin.lstrip('.')}" if known else ""


async def _provenance(slices: list[dict[str, Any]], source: Source, key: str) -> Mapping[str, Any]:
    """Of a Service, and added to its slices; those that are not known here yet are put to them. Or why there is none."""
    try:
        found = dict(await source.provenance(key, [s["slice"] for s in slices]))
    except KdnsError as error:
        return {"versions and ages": f"not known: {error}"}
    own: Mapping[str, Any] = found.pop(("Service", key), {})
    for s in slices:
        s.update(found.pop(("EndpointSlice", s["slice"]), {}))
    slices += [{"slice": of, "known here": False, **more} for (_, of), more in found.items()]
    return own


async def found(answers: Answers, text: str, after: str, most: int) -> list[Mapping[str, Any]]:
    """At most so many Services whose names have the text in them, in order of name, those after one only.

    `web`, `prod/web`, `web.prod` and `web.prod.svc.cluster.local` find the same. All are looked at, in steps between which
    others have their turn.
    """
    text = text.lower().strip().removesuffix(".")
    below = answers.origin.strip(".")
    keys = list(answers.store.services)
    best: list[str] = []
    for at in range(0, len(keys), STEP):
        named = (f"{name}.{namespace}.svc.{below}." for namespace, _, name in map(_PARTED, keys[at : at + STEP]))
        if "/" in text:
            namespace, _, name = text.partition("/")
            matching = (n for n in named if name in n.partition(".")[0] and f".{namespace}." in n)
        else:
            matching = (n for n in named if text in n)
        best = nsmallest(most, [*best, *(name for name in matching if name > after)])
        await asyncio.sleep(0)
    return [_row(answers, name) for name in best]


def _row(answers: Answers, name: str) -> dict[str, Any]:
    label, namespace = name.split(".", 2)[:2]
    key = f"{namespace}/{label}"
    service = answers.store.services.get(key)
    slices = answers.store.slices_of(key)
    kind = "gone" if service is None else "ExternalName" if service.alias else "ClusterIP" if service.ips else "headless"
    return {
        "name": name,
        "service": key,
        "kind": kind,
        "ready": sum(len(s.addresses) // s.width for s in slices if s.width),
        "endpoints": sum(s.total for s in slices),
        "hidden": not answers.exposed(namespace),
    }


def records_of(answers: Answers, name: str, origin: str) -> Iterator[RRset]:
    """The records of the Service that a name is of, and of names below it."""
    below = names.labels(name[: -len(origin)] if origin != "." else name)
    if below[-1:] == ["svc"] and len(below) > 2:
        for step in listing.service(answers, f"{below[-2]}/{below[-3]}", origin):
            yield from step


def search_try(store: Store, name: str, origin: str) -> tuple[str, str] | None:
    """What was asked for with a name that does not exist, and the suffix that a search list put behind it, if that is so."""
    below = names.labels(name[: -len(origin)] if origin != "." else name)
    if not below or is_reverse(origin):
        return None
    if below[-1] != "svc":
        count = tried_outside(below)
    else:
        count = tried(below[:-1], below[-2] in store.namespaces) if len(below) > 2 else 0
    asked = ".".join(below[:count]) + "."
    return (asked, name[len(asked) :]) if count else None


def _service(answers: Answers, key: str) -> dict[str, Any]:
    store = answers.store
    namespace = key.partition("/")[0]
    told: dict[str, Any] = {
        "exists": key in store.services,
        "namespace exists": namespace in store.namespaces,
        "hidden": not answers.exposed(namespace),
    }
    service = store.services.get(key)
    if service is not None:
        told["cluster ips"] = [names.unpacked(ip) for ip in service.ips]
        told["ports"] = _ports(service.ports)
        told["selector"] = service.selector
        if service.alias:
            told["alias of"] = service.alias
    told["slices"] = [_slice(s) for s in store.slices_of(key)]
    return told


def _slice(s: Slice) -> dict[str, Any]:
    hostnames = hostnames_of(s)
    if s.width:
        every = [
            f"{names.unpacked(address)}{f' ({hostnames[i]})' if hostnames and hostnames[i] else ''}"
            for i, address in enumerate(endpoints(s)[:MOST])
        ]
    else:
        every = hostnames[:MOST]
    return {
        "slice": s.key,
        "ports": _ports(s.ports),
        "in": [f"{endpoint}: ready" for endpoint in every],
        "out": [f"{endpoint}: not ready" for endpoint in unready_of(s)],
        "endpoints": s.total,
    }


def _ports(ports: tuple[Port, ...]) -> list[str]:
    return [f"{p.name or '(no name)'} {p.number}/{p.protocol}" for p in ports]
