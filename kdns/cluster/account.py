"""The objects behind a name of the cluster, for a person: which Service, which slices, each endpoint and whether it is in or out.

Who asks runs the server, so what is hidden from DNS is shown, and said to be hidden. Of objects only what DNS needs is kept:
a resourceVersion and an age are not known here.
"""

from typing import Any

from kdns.cluster.answers import Answers
from kdns.cluster.columns import endpoints, hostnames_of, unready_of
from kdns.cluster.objects import Port, Slice
from kdns.dns import names

MOST = 200  # endpoints that are shown of a slice


def account(answers: Answers, name: str, origin: str) -> dict[str, Any]:
    """What is known of a name in a zone; nothing of names that stand for no object."""
    below = names.labels(name[: -len(origin)] if origin != "." else name)
    if below[-1:] == ["svc"] and len(below) > 2:
        return _service(answers, f"{below[-2]}/{below[-3]}")
    if (prefix := names.reverse_prefix(name)) is not None and prefix[1] == 8 * len(prefix[0]):
        store, address = answers.store, prefix[0]
        return {
            "address": names.unpacked(address),
            "services": list(store.services_at(address)),
            "pods": list(store.pods_at(address)),
        }
    return {}


def _service(answers: Answers, key: str) -> dict[str, Any]:
    store = answers.store
    namespace = key.partition("/")[0]
    told: dict[str, Any] = {
        "service": key,
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
