"""Manifest files as single objects: YAML or JSON, several documents, `List` kinds, directories.

A *document* is one object of a kind that DNS needs, as JSON; everything else is skipped unread. YAML is turned into JSON of
just the fields that count, so that what follows has one way to decode.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kdns.cluster.manifests.faults import Document, fault
from kdns.cluster.manifests.markup import broken_json, broken_yaml, MOST_EXPANDED, nodes, octets_of, Room, size_of, unreadable
from kdns.cluster.objects import EndpointsObject, NamespaceObject, NodeObject, PodObject, ServiceObject, SliceObject
from kdns.errors import ManifestError

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"

STRUCTS: dict[str, Any] = {
    "Namespace": NamespaceObject,
    "Node": NodeObject,
    "Service": ServiceObject,
    "EndpointSlice": SliceObject,
    "Endpoints": EndpointsObject,
    "Pod": PodObject,
}
MOST_FILES = 10_000


# ---------------------------------------------------------------- files


def files(paths: Sequence[str]) -> list[str]:
    """The files that the paths stand for, directories searched; ManifestError where one is missing or has none.

    Names that begin with "." are left out: Kubernetes keeps the real files of a mounted ConfigMap there.
    """
    out: list[str] = []
    for path in paths:
        try:
            found = sorted(islice(_below(path, set()), MOST_FILES + 1)) if os.path.isdir(path) else [path]
            os.stat(path)
        except OSError as error:
            raise unreadable(path, error) from None
        except RecursionError:
            raise ManifestError(f"{path}: directories nested too deeply") from None
        if not found:
            raise ManifestError(f"{path}: no manifests in this directory (*.yaml, *.yml, *.json)")
        out += found
        if len(out) > MOST_FILES:
            raise ManifestError(f"{path}: too many files: at most {MOST_FILES}")
    return out


def _below(directory: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    at = os.stat(directory)
    if (at.st_dev, at.st_ino) in seen:  # a symbolic link to where we are
        return
    seen.add((at.st_dev, at.st_ino))
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _below(entry.path, seen)
            elif entry.name.lower().endswith(SUFFIXES):
                yield entry.path


def read(path: str, room: Room) -> Iterator[Document]:
    """The documents of a file; ManifestError where it cannot be read or is not what it should be."""
    octets = octets_of(path, room.octets)
    room.octets -= len(octets)
    if not path.lower().endswith(".json") and not _is_json(octets):
        return _yaml(path, octets, room)
    return _json(path, octets.removeprefix(b"\xef\xbb\xbf"))


def _is_json(octets: bytes) -> bool:
    if not octets[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    try:
        msgspec.json.decode(octets.removeprefix(b"\xef\xbb\xbf"), type=Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False  # braces are YAML too
    return True


# ---------------------------------------------------------------- kinds


class _Head(Struct, gc=False):
    kind: str | None = None
    apiVersion: str | None = None
    items: Raw = Raw(b"null")


_head = msgspec.json.Decoder(_Head)
_items = msgspec.json.Decoder(list[Raw] | None)


def _is_known(kind: str, version: str) -> bool:
    """Other groups have kinds of the same names: a `Service` of Knative is none."""
    group = version.rpartition("/")[0]
    return kind in STRUCTS and (not version or group == ("discovery.k8s.io" if kind == "EndpointSlice" else ""))


def _of_items(kind: str, version: str) -> tuple[str, str]:
    """Kind and version of items that do not say: those of a typed list follow from the list's."""
    return ("", "") if kind == "List" else (kind.removesuffix("List"), version)


def _json(path: str, octets: bytes) -> Iterator[Document]:
    if not octets.strip():
        return
    pending = [(Raw(octets), "", "")]
    while pending:
        raw, kind, version = pending.pop()
        try:
            head = _head.decode(raw)
            kind, version = head.kind or kind, head.apiVersion or version
            items = _items.decode(head.items) if kind.endswith("List") else None
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise _not_an_object(path, octets, raw, error) from None
        if items is not None:
            pending += [(item, *_of_items(kind, version)) for item in reversed(items)]
        elif not kind:
            raise fault(Document("", raw, path, ()), ValueError("kind: missing"))
        elif _is_known(kind, version):
            yield Document(kind, raw, path, ())


def _not_an_object(path: str, octets: bytes, raw: Raw, error: Exception) -> ManifestError:
    if isinstance(error, msgspec.ValidationError):
        return fault(Document("", raw, path, ()), error)
    return broken_json(path, octets, error)


# ---------------------------------------------------------------- YAML


def _yaml(path: str, octets: bytes, room: Room) -> Iterator[Document]:
    has_aliases = b"*" in octets and b"&" in octets
    for number, node in enumerate(nodes(path, octets)):
        try:
            content = node[0].construct_document(node[1])
        except Exception as error:  # of an explicit tag's constructor, anything: `!!bool x` is a KeyError
            raise broken_yaml(path, octets, error) from None
        if has_aliases:
            room.expanded -= min(MOST_EXPANDED + 1, _expanded(content, {}))
            if room.expanded < 0:
                raise ManifestError(f"{path}: aliases expand to too much: over {size_of(MOST_EXPANDED)}")
        yield from _objects(path, number, content)


def _objects(path: str, number: int, content: Any) -> Iterator[Document]:
    pending: list[tuple[Any, tuple[int, ...], str, str]] = [(content, (number,), "", "")]
    while pending:
        o, place, kind, version = pending.pop()
        if o is None and len(place) == 1:  # an empty document
            continue
        here = Document("", b"", path, place)
        if not isinstance(o, dict):
            raise fault(here, ValueError("not an object: 'kind', 'metadata' and so on are expected"))
        kind, version = o.get("kind") or kind, o.get("apiVersion") or version
        if not isinstance(kind, str) or not isinstance(version, str):
            raise fault(here, ValueError(f"{'apiVersion' if isinstance(kind, str) else 'kind'}: a text is expected"))
        if not kind:
            raise fault(here, ValueError("kind: missing"))
        if kind.endswith("List") and isinstance(items := o.get("items"), list):
            pending += [(item, (*place, i), *_of_items(kind, version)) for i, item in enumerate(items)][::-1]
        elif _is_known(kind, version):
            try:
                octets = msgspec.json.encode(msgspec.convert(o, STRUCTS[kind]))
            except (msgspec.MsgspecError, RecursionError, ValueError) as error:
                raise fault(here._replace(kind=kind), error, o) from None
            yield Document(kind, octets, path, place)


def _expanded(o: Any, seen: dict[int, int]) -> int:
    """How many octets a document has when its aliases are written out; more than it may where it contains itself."""
    if not isinstance(o, dict | list):
        return len(o) + 2 if isinstance(o, str | bytes) else 8
    if id(o) not in seen:
        seen[id(o)] = MOST_EXPANDED + 1
        parts = (*o, *o.values()) if isinstance(o, dict) else o
        seen[id(o)] = 2 + sum(1 + _expanded(below, seen) for below in parts)
    return seen[id(o)]
