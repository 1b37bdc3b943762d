"""Manifest files -> what the store keeps, with the cluster's controllers in between.

It runs beside the loop for what is small, and as a program of its own for what is large (`manifests` starts it):
the request on its standard input, the objects or an error's text on its standard output.
"""

import gc
import pickle
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kdns.cluster import columns, objects
from kdns.cluster.endpoints import is_mirrored, key_of, mirrored
from kdns.cluster.manifests import controllers
from kdns.cluster.manifests.controllers import DEFAULT_RANGES, Ranges
from kdns.cluster.manifests.documents import files, read, STRUCTS
from kdns.cluster.manifests.faults import Document, fault
from kdns.cluster.manifests.markup import Room
from kdns.cluster.manifests.validation import check
from kdns.cluster.objects import (
    EndpointsObject,
    Metadata,
    NamespaceObject,
    NodeObject,
    PodObject,
    Selection,
    ServiceObject,
    SliceObject,
    Stored,
)
from kdns.cluster.selectors import parse
from kdns.errors import ManifestError

EVERYTHING = Selection(pods=True)
BATCH = 1000  # objects that the program of its own writes at once, so that they can be read bit by bit


def load(paths: Sequence[str], selection: Selection = EVERYTHING, of: Ranges = DEFAULT_RANGES) -> list[Stored]:
    """What the store keeps of the cluster that manifests describe; nothing where they describe nothing.

    ManifestError where anything in them is wrong.
    """
    cluster = _Cluster(selection, of)
    by_kind: dict[str, list[Document]] = {kind: [] for kind in STRUCTS}
    room = Room()
    for path in files(paths):
        for document in read(path, room):
            by_kind[document.kind].append(document)
    for kind, documents in by_kind.items():  # Pods come last: by then it is known who selects them
        decoder = msgspec.json.Decoder(STRUCTS[kind])
        cluster.begin(kind)
        for document in documents:
            try:
                o = decoder.decode(document.json)
                check(o)
                cluster.add(o)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise fault(document, error) from None
    try:
        return cluster.stored()
    except ValueError as error:
        raise ManifestError(f"{', '.join(paths)}: {error}") from None


class _Cluster:
    """The objects of all manifests; of two with one name the later counts, as if applied one after the other."""

    def __init__(self, selection: Selection, of: Ranges) -> None:
        self.selection, self.ranges = selection, of
        self.selects = parse(selection.labels)
        self.namespaces: dict[str, dict[str, str]] = {}
        self.zone_of: dict[str, str] = {}  # by Node
        self.services: dict[str, ServiceObject] = {}
        self.slices: dict[str, objects.Slice | None] = {}  # None: not selected
        self.sliced: dict[str, str] = {}  # the Service of each slice
        self.endpoints: dict[str, EndpointsObject] = {}
        self.pods: dict[str, objects.Pod | None] = {}
        self.members: dict[str, dict[str, PodObject]] = {}  # by Service, in the order of the manifests
        self.selectors = controllers.Selectors(())
        self.is_dump = False  # taken from a cluster, not written by hand

    def begin(self, kind: str) -> None:
        """All objects of the kinds before this one are known."""
        if kind == "Pod":
            have = set(self.sliced.values())
            self.selectors = controllers.Selectors(
                o for key, o in self.services.items() if o.spec.type != "ExternalName" and key not in have
            )

    def add(self, o: Any) -> None:
        metadata: Metadata = o.metadata
        if isinstance(o, NamespaceObject):
            self.namespaces[metadata.name] = controllers.namespace_labels(metadata.name, metadata.labels)
            return
        if isinstance(o, NodeObject):
            if zone := (metadata.labels or {}).get(objects.ZONE_LABEL):
                self.zone_of[metadata.name] = zone
            return
        metadata.namespace = sys.intern(metadata.namespace or "default")
        if metadata.namespace not in self.namespaces:
            self.namespaces[metadata.namespace] = controllers.namespace_labels(metadata.namespace, None)
        key = key_of(metadata)
        if isinstance(o, ServiceObject):
            self.services[key] = o
            self.is_dump |= bool(metadata.uid)
        elif isinstance(o, SliceObject):
            self._add_slice(key, o)
        elif isinstance(o, EndpointsObject):
            self.endpoints[key] = o
        elif isinstance(o, PodObject):
            self._add_pod(key, o)

    def _add_slice(self, key: str, o: SliceObject) -> None:
        self.slices[key] = s = self._compact(o)
        service = (o.metadata.labels or {}).get(objects.SERVICE_NAME)
        self.sliced[key] = s.service if s is not None else f"{o.metadata.namespace}/{service}"

    def _compact(self, o: SliceObject) -> objects.Slice | None:
        if not self.selects(o.metadata.labels):
            return None
        return objects.slice_of(o, pods=self.selection.pod_names, zones=self.selection.zones)

    def _add_pod(self, key: str, o: PodObject) -> None:
        if key in self.pods:  # as it was before
            for members in self.members.values():
                members.pop(key, None)
        self.pods[key] = objects.pod(o) if self.selection.pods and self.selects(o.metadata.labels) else None
        for service in self.selectors.of(o):
            self.members.setdefault(key_of(service.metadata), {})[key] = o

    def stored(self) -> list[Stored]:
        """Everything, once the controllers have done their work."""
        if not (self.namespaces or self.services or self.zone_of):
            return []
        if not self.is_dump:
            self._provide()
        made = [compact for o in self._made() if (compact := self._compact(o)) is not None]
        kept = [s for s in self.slices.values() if s is not None]
        pods = [pod for pod in self.pods.values() if pod is not None]
        taken = [ip for s in kept + made for ip in columns.endpoints(s)] + [ip for pod in pods for ip in pod.ips]
        for key, ips in controllers.cluster_ips(self.services.values(), self.ranges, taken).items():
            self.services[key].spec.clusterIPs = ips
        namespaces = [
            objects.Namespace(sys.intern(name), tuple(sorted(labels.items()))) for name, labels in self.namespaces.items()
        ]
        services = [objects.service(o) for o in self.services.values() if self.selects(o.metadata.labels)]
        every: list[objects.Service | objects.Slice | objects.Pod] = [*services, *kept, *made, *pods]
        return [*namespaces, *(o for o in every if self._is_wanted(o))]

    def _is_wanted(self, o: objects.Service | objects.Slice | objects.Pod) -> bool:
        """Is it of a namespace, and of a kind, that the selection has?"""
        chosen = self.selection.namespaces
        if chosen and o.key.partition("/")[0] not in chosen:
            return False
        return self.selection.endpoints or not isinstance(o, objects.Slice)

    def _provide(self) -> None:
        """What each cluster has, where manifests written by hand leave it out."""
        for name in controllers.NAMESPACES:
            self.namespaces.setdefault(name, controllers.namespace_labels(name, None))
        own = controllers.kubernetes_service()
        self.services.setdefault(key_of(own.metadata), own)

    def _made(self) -> Iterable[SliceObject]:
        have = set(self.sliced.values())
        for key, o in self.endpoints.items():
            if key not in have and is_mirrored(o, self.services.get(key)):
                yield from mirrored(o)
        for key, pods in self.members.items():
            yield from controllers.selected(self.services[key], pods.values(), self.zone_of, self.ranges)


# ---------------------------------------------------------------- a program of its own


def main() -> None:
    """A request on standard input, the objects or an error's text on standard output."""
    gc.disable()  # it ends soon
    paths, selection, networks = pickle.load(sys.stdin.buffer)
    reply = pickle.Pickler(sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)
    try:
        loaded = load(paths, selection, controllers.ranges(*networks))
    except ManifestError as error:
        reply.dump(error)
        return
    for at in range(0, len(loaded) or 1, BATCH):
        reply.dump(loaded[at : at + BATCH])


if __name__ == "__main__":
    main()
