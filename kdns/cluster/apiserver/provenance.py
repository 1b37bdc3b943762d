"""The version and the age of a Service and its slices, asked for when a person wants to know.

They change with each event and no answer is made of them, so they are not kept: for 10,000 Services that would be megabytes.
Lists with a selector are asked for, since kdns may list and watch and not get.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, UTC
from typing import Any

from kdns.cluster.apiserver import events
from kdns.cluster.apiserver.pages import Chunks, pages
from kdns.cluster.objects import Metadata, SERVICE_NAME
from kdns.errors import SourceError

WITHIN = 2.0  # seconds for both lists
SERVICES = "/api/v1/namespaces/{}/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"

Ask = Callable[[str, list[tuple[str, str]]], Chunks]


async def provenance(ask: Ask, service: str) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and key; SourceError where the API server does not answer, or not in time."""
    namespace, _, name = service.partition("/")
    try:
        async with asyncio.timeout(WITHIN):
            own, of = ("fieldSelector", f"metadata.name={name}"), ("labelSelector", f"{SERVICE_NAME}={name}")
            found = await _listed(ask, "Service", SERVICES.format(namespace), name, own)
            slices = await _listed(ask, "EndpointSlice", SLICES.format(namespace), name, of)
    except TimeoutError:
        raise SourceError(f"no answer within {WITHIN:g} s") from None
    return found | slices


async def _listed(ask: Ask, kind: str, path: str, name: str, selector: tuple[str, str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Versions and ages of the objects of the first page."""
    found = {}
    async for page in pages(kind, lambda query: ask(path, [*query, selector]), lambda: None):
        for item in page.items or ():
            try:
                metadata = events.bare_item.decode(item).metadata
            except events.UNDECODABLE:
                continue
            if name not in (metadata.name, (metadata.labels or {}).get(SERVICE_NAME)):
                continue  # whoever answers has not heeded the selector
            key = f"{metadata.namespace}/{metadata.name}"
            found[kind, key] = {"resourceVersion": metadata.resourceVersion, "age": _age(metadata)}
        break
    return found


def _age(metadata: Metadata) -> str:
    """Since it was made, as kubectl has it: 3d; empty where the object does not say."""
    try:
        seconds = int((datetime.now(UTC) - datetime.fromisoformat(metadata.creationTimestamp or "")).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"
