"""Manifest files -> what the store keeps, with the cluster's controllers in between.

It runs beside the loop for what is small, and as a program of its own for what is large (`manifests` starts it):
the request on its standard input, the objects or an error's text on its standard output.
"""

import gc
import pickle
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from kdns.cluster import columns, entrances, external, objects
from kdns.cluster.balancers import ASKING, Entrance, entrance_key, kind_of
from kdns.cluster.endpoints import is_mirrored, key_of, mirrored
from kdns.cluster.manifests import controllers
from kdns.cluster.manifests.controllers import DEFAULT_RANGES, Ranges
from kdns.cluster.manifests.documents import files, read, STRUCTS
from kdns.cluster.manifests.faults import Document, fault, place_of
from kdns.cluster.manifests.fields import check_fields
from kdns.cluster.manifests.markup import Reading
from kdns.cluster.manifests.validation import check
from kdns.cluster.manifests.workloads import DEFAULT_POD_RANGES, Pods, WorkloadObject
from kdns.cluster.objects import (
    EndpointsObject,
    Metadata,
    NamespaceObject,
    NodeObject,
    pod_addresses,
    PodObject,
    Selection,
    ServiceObject,
    SliceObject,
    Stored,
)
from kdns.cluster.selectors import parse
from kdns.dns import names
from kdns.errors import ManifestError

EVERYTHING = Selection(pods=True)
BATCH = 1000  # objects that the program of its own writes at once, so that they can be read bit by bit


class Options(NamedTuple):
    """How manifests are read; equal options make equal clusters of the same files."""

    selection: Selection = EVERYTHING
    cluster_ips: Ranges = DEFAULT_RANGES
    pod_ips: Ranges = DEFAULT_POD_RANGES
    lenient: bool = False  # what is almost right is taken as it is; else it is an error


class Loaded(NamedTuple):
    """What manifests come to."""

    objects: list[Stored]
    census: str = ""  # 12 Services, 30 Pods in 3 namespaces; not used: 2 Ingress
    hints: tuple[str, ...] = ()  # files that were passed by


def load(paths: Sequence[str], options: Options = Options()) -> Loaded:  # noqa: B008 - a tuple
    """What the store keeps of the cluster that manifests describe; nothing where they describe nothing.

    ManifestError where anything in them is wrong.
    """
    cluster = _Cluster(options)
    by_kind: dict[str, list[Document]] = {kind: [] for kind in STRUCTS}
    reading = Reading(not options.lenient, _unwanted(options.selection))
    for path in files(paths, reading.hints):
        for document in read(path, reading):
            by_kind[document.kind].append(document)
    for kind, documents in by_kind.items():
        decoder = msgspec.json.Decoder(STRUCTS[kind])
        cluster.begin(kind)
        for document in documents:
            try:
                cluster.add(_object(document, decoder, reading.strict), document)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise fault(document, error) from None
    try:
        return Loaded(cluster.stored(), cluster.census(reading.unused), tuple(reading.hints))
    except ValueError as error:
        raise ManifestError(f"{', '.join(paths)}: {error}") from None


def _unwanted(selection: Selection) -> set[str]:
    """The kinds that are passed by, for nobody asks for names by them."""
    wanted = {*selection.asking, *(("Gateway",) if {*selection.asking} - {"Ingress"} else ())}
    return {"Gateway", *ASKING} - wanted


def _object(document: Document, decoder: msgspec.json.Decoder[Any], strict: bool) -> Any:
    """A document as an object that may be served."""
    o = decoder.decode(document.json)
    if strict and not document.place and not o.metadata.uid:  # YAML has been looked at before it became JSON
        check_fields(document.kind, msgspec.json.decode(document.json))
    if isinstance(o, WorkloadObject):
        o.kind = document.kind
    check(o, strict)
    return o


class _Cluster:
    """The objects of all manifests; of two with one name the later counts, where that is allowed at all."""

    def __init__(self, options: Options) -> None:
        self.options = options
        selection = self.selection = options.selection
        self.ranges = options.cluster_ips
        self.places: dict[tuple[str, str], Document] = {}  # by kind and key
        self.owners: dict[str, str] = {}  # of ClusterIPs, as they are written: keys of Services
        self.nodes: list[str] = []
        self.by_hand: dict[str, dict[str, PodObject]] = {}  # Pods by namespace and name
        self.workloads: list[WorkloadObject] = []
        self.made_pods = 0
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
        self.entrances: dict[str, Entrance | None] = {}  # None: not selected
        self.is_dump = False  # taken from a cluster, not written by hand

    def begin(self, kind: str) -> None:
        """All objects of the kinds before this one are known."""
        if kind == "Pod":
            have = set(self.sliced.values())
            self.selectors = controllers.Selectors(
                o for key, o in self.services.items() if o.spec.type != "ExternalName" and key not in have
            )

    def add(self, o: Any, document: Document) -> None:
        """ValueError where there is such a thing already."""
        metadata: Metadata = o.metadata
        if document.kind not in ("Namespace", "Node"):
            metadata.namespace = sys.intern(metadata.namespace or "default")
        self._note(key_of(metadata), document)
        if isinstance(o, NamespaceObject):
            self.namespaces[metadata.name] = controllers.namespace_labels(metadata.name, metadata.labels)
            return
        if isinstance(o, NodeObject):
            self.nodes.append(metadata.name)
            if zone := (metadata.labels or {}).get(objects.ZONE_LABEL):
                self.zone_of[metadata.name] = zone
            return
        if metadata.namespace not in self.namespaces:
            self.namespaces[metadata.namespace] = controllers.namespace_labels(metadata.namespace, None)
        key = key_of(metadata)
        if isinstance(o, ServiceObject):
            self._own(o)
            self.services[key] = o
            self.is_dump |= bool(metadata.uid)
        elif isinstance(o, SliceObject):
            self._add_slice(key, o)
        elif isinstance(o, EndpointsObject):
            self.endpoints[key] = o
        elif isinstance(o, entrances.EntranceObject):
            chosen = document.kind == "Gateway" or self.selects(metadata.labels)
            self.entrances[entrance_key(metadata.namespace, metadata.name, document.kind)] = (
                entrances.entrance(o, document.kind) if chosen else None
            )
        elif isinstance(o, PodObject):
            self.by_hand.setdefault(metadata.namespace, {})[metadata.name] = o
            self._add_pod(key, o)
        elif isinstance(o, WorkloadObject) and not metadata.uid:  # a dump has its Pods
            self.workloads.append(o)

    def _note(self, key: str, document: Document) -> None:
        """ValueError where the same object was met before."""
        before = self.places.setdefault((document.kind, key), document)
        if before is not document and not self.options.lenient:
            raise ValueError(f"metadata.name: the same object is also at {place_of(before)}")

    def _own(self, o: ServiceObject) -> None:
        """ValueError where another Service has the same ClusterIP."""
        for ip in controllers.given(o):
            key = self.owners.setdefault(ip, key_of(o.metadata))
            if key != key_of(o.metadata) and not self.options.lenient:
                at = place_of(self.places["Service", key])
                raise ValueError(f"spec.clusterIP: {ip} is that of Service {key}, at {at}")

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
        wanted = self.selection.pods and self.selects(o.metadata.labels)
        self.pods[key] = objects.pod(o, self.selection.pod_labels) if wanted else None
        for service in self.selectors.of(o):
            self.members.setdefault(key_of(service.metadata), {})[key] = o

    def stored(self) -> list[Stored]:
        """Everything, once the controllers have done their work."""
        if not (self.namespaces or self.services or self.nodes):
            return []
        if not self.is_dump:
            self._provide()
        self._work()
        made = [compact for o in self._made() if (compact := self._compact(o)) is not None]
        kept = [s for s in self.slices.values() if s is not None]
        pods = [pod for pod in self.pods.values() if pod is not None]
        taken = [ip for s in kept + made for ip in columns.endpoints(s)] + [ip for pod in pods for ip in pod.ips]
        for key, ips in controllers.cluster_ips(self.services.values(), self.ranges, taken).items():
            self.services[key].spec.clusterIPs = ips
        namespaces = [
            objects.Namespace(sys.intern(name), tuple(sorted(labels.items()))) for name, labels in self.namespaces.items()
        ]
        service = external.service if self.selection.external else objects.service
        services = [service(o) for o in self.services.values() if self.selects(o.metadata.labels)]
        doors = [entrance for entrance in self.entrances.values() if entrance is not None]
        every: list[objects.Service | objects.Slice | objects.Pod | Entrance] = [*services, *kept, *made, *pods, *doors]
        return [*namespaces, *(o for o in every if self._is_wanted(o))]

    def _is_wanted(self, o: objects.Service | objects.Slice | objects.Pod | Entrance) -> bool:
        """Is it of a namespace, and of a kind, that the selection has? Gateways are of all namespaces."""
        chosen = self.selection.namespaces
        if chosen and kind_of(o.key) != "Gateway" and o.key.partition("/")[0] not in chosen:
            return False
        return self.selection.endpoints or not isinstance(o, objects.Slice)

    def _provide(self) -> None:
        """What each cluster has, where manifests written by hand leave it out."""
        for name in controllers.NAMESPACES:
            self.namespaces.setdefault(name, controllers.namespace_labels(name, None))
        own = controllers.kubernetes_service()
        self.services.setdefault(key_of(own.metadata), own)

    def _work(self) -> None:
        """The Pods of the workloads."""
        if not self.workloads:
            return
        taken = [ip for s in self.slices.values() if s is not None for ip in columns.endpoints(s)]
        taken += [names.packed(ip) for pods in self.by_hand.values() for pod in pods.values() for ip in pod_addresses(pod)]
        taken += map(names.packed, self.owners)
        pods = Pods(self.options.pod_ips, taken, self.nodes)
        for o in sorted(self.workloads, key=lambda o: key_of(o.metadata)):
            for pod in pods.of(o, self.by_hand.get(o.metadata.namespace, {})):
                self._add_pod(key_of(pod.metadata), pod)
                self.made_pods += 1

    def census(self, unused: Mapping[str, int]) -> str:
        """How many there are: `12 Services, 30 Pods in 3 namespaces; not used: 2 Ingress`."""
        own = controllers.kubernetes_service()
        services = [key for key in self.services if ("Service", key) in self.places or key != key_of(own.metadata)]
        pods = sum(map(len, self.by_hand.values())) + self.made_pods
        homes = {kind_and_key[1].partition("/")[0] for kind_and_key in self.places if kind_and_key[0] not in ("Namespace", "Node")}
        doors = "".join(f", {count} {kind}" for kind, count in sorted(Counter(map(kind_of, self.entrances)).items()))
        counts = f"{_counted(len(services), 'Service')}, {_counted(pods, 'Pod')}{doors} in {_counted(len(homes), 'namespace')}"
        rest = ", ".join(f"{count} {kind}" for kind, count in sorted(unused.items()) if count)
        return f"{counts}; not used: {rest}" if rest else counts

    def _made(self) -> Iterable[SliceObject]:
        have = set(self.sliced.values())
        for key, o in self.endpoints.items():
            if key not in have and is_mirrored(o, self.services.get(key)):
                yield from mirrored(o)
        for key, pods in self.members.items():
            yield from controllers.selected(self.services[key], pods.values(), self.zone_of, self.ranges)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


# ---------------------------------------------------------------- a program of its own


def main() -> None:
    """A request on standard input, the objects or an error's text on standard output."""
    gc.disable()  # it ends soon
    paths, options = pickle.load(sys.stdin.buffer)
    reply = pickle.Pickler(sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)
    try:
        loaded = load(paths, Options(*options))
    except ManifestError as error:
        reply.dump(error)
        return
    reply.dump((loaded.census, loaded.hints))  # nothing whose class is this module's: that is __main__ here
    for at in range(0, len(loaded.objects), BATCH):
        reply.dump(loaded.objects[at : at + BATCH])


if __name__ == "__main__":
    main()
