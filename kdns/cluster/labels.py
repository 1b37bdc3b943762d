"""What a cluster's objects say of a query: which Service its name means, whose Pod asks. For *metadata*; names as CoreDNS has them.

No I/O.
"""

from kdns.cluster.store import Store
from kdns.dns import names


def of_name(name: str, origin: str, zonal: bool) -> dict[str, str]:
    """The parts of a name in the zone of an origin by what they are, each perhaps empty; `parse-error` where it is no such name."""
    below = names.labels(name if origin == "." else name[: -len(origin)] or ".")
    kind = below.pop() if below else ""
    namespace, service = ([*reversed(below), "", ""])[:2]
    rest = below[:-2]
    found = {"port-name": "", "protocol": "", "endpoint": "", "service": service, "namespace": namespace, "kind": kind}
    if zonal:
        found["zone"] = ""
    if len(rest) == 1:
        found["endpoint"] = rest[0]
    elif len(rest) == 2:
        found["port-name"], found["protocol"] = (label.removeprefix("_") for label in rest)
    elif rest and zonal and kind == "svc" and rest[-1] == "_zone" and rest[-2] in ("pin", "prefer"):
        found["zone"] = ".".join(rest[:-2])
    elif rest or kind not in ("", "svc", "pod"):
        return {"parse-error": "invalid query name"}
    return found


def of_client(store: Store, host: str) -> dict[str, str]:
    """The Pod whose address it is, where Pods are known: its namespace, name and labels."""
    pods = store.pods_at(names.packed(host)) if host else ()
    pod = store.pods.get(pods[0]) if pods else None
    if pod is None:
        return {}
    namespace, _, name = pod.key.partition("/")
    own = {f"client-label/{key}": value for key, value in pod.labels}
    return {"client-namespace": namespace, "client-pod-name": name, **own}
