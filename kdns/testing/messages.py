"""What an API server says in JSON: events of a watch, bookmarks, statuses; and where it has its resources."""

import json
from typing import Any

Object = dict[str, Any]

RESOURCES = {
    "services": ("v1", "Service"),
    "endpoints": ("v1", "Endpoints"),
    "namespaces": ("v1", "Namespace"),
    "pods": ("v1", "Pod"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "ingresses": ("networking.k8s.io/v1", "Ingress"),
    "gateways": ("gateway.networking.k8s.io/v1", "Gateway"),
    "httproutes": ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    "tlsroutes": ("gateway.networking.k8s.io/v1alpha2", "TLSRoute"),
}
TOO_OLD = "too old resource version"


def error_event(code: int, reason: str, message: str) -> Object:
    """What ends a watch."""
    return {"type": "ERROR", "object": status(code, reason, message)}


def expired_event() -> Object:
    """What ends a watch from a version that is too old: 410 Expired."""
    return error_event(410, "Expired", TOO_OLD)


def bookmark_event(resource: str, version: int, *, initial_events_end: bool = False) -> Object:
    """The version that a watch has come to; `initial_events_end`: all that was there before has been told."""
    metadata: Object = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial_events_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    api_version, kind = RESOURCES[resource]
    return {"type": "BOOKMARK", "object": {"kind": kind, "apiVersion": api_version, "metadata": metadata}}


def status(code: int, reason: str, message: str) -> Object:
    """What is said in place of what was asked for."""
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    }  # fmt: skip


def group_path(resource: str) -> str:
    """Where the API has a resource: apis/discovery.k8s.io/v1."""
    api_version = RESOURCES[resource][0]
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def change_event(type: str, obj: Object) -> Object:
    """ADDED, MODIFIED or DELETED, and the object."""
    return {"type": type, "object": obj}


def octets_of(event: Object) -> bytes:
    """A line of a watch."""
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"
