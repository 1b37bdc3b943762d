"""Manifest files as single objects: YAML or JSON, several documents, `List` kinds, directories.

A *document* is one object of a kind that DNS needs, as JSON; everything else is skipped unread. YAML is turned into JSON of
just the fields that count, so that what follows has one way to decode.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kdns.cluster import entrances
from kdns.cluster.manifests.faults import Document, fault
from kdns.cluster.manifests.fields import check_fields, is_served
from kdns.cluster.manifests.markup import (
    broken_json,
    broken_yaml,
    line_at,
    MOST_EXPANDED,
    nodes,
    not_utf8,
    octets_of,
    printable,
    Reading,
    size_of,
    unreadable,
)
from kdns.cluster.manifests.workloads import WorkloadObject
from kdns.cluster.objects import EndpointsObject, NamespaceObject, NodeObject, PodObject, ServiceObject, SliceObject
from kdns.errors import ManifestError

SUFFIXES = (".yaml", ".yml", ".json", ".jsonl")
_KUSTOMIZE = ("kustomization.yaml", "kustomization.yml", "Kustomization")
STDIN = "-"

STRUCTS: dict[str, Any] = {
    "Namespace": NamespaceObject,
    "Node": NodeObject,
    "Service": ServiceObject,
    "EndpointSlice": SliceObject,
    "Endpoints": EndpointsObject,
    "Pod": PodObject,  # before workloads: what is there by hand is not made
    "Deployment": WorkloadObject,
    "ReplicaSet": WorkloadObject,
    "StatefulSet": WorkloadObject,
    "DaemonSet": WorkloadObject,
    "Job": WorkloadObject,
    **entrances.STRUCTS,
}
MOST_FILES = 10_000


# ---------------------------------------------------------------- files


def files(paths: Sequence[str], hints: list[str] | None = None) -> list[str]:
    """The files that the paths stand for, directories searched; ManifestError where one is missing or has none.

    Names that begin with "." are left out: Kubernetes keeps the real files of a mounted ConfigMap there. So is what other
    programs make manifests of: `hints` says what to do with it.
    """
    hints = [] if hints is None else hints
    out: list[str] = []
    for path in paths:
        try:
            found = sorted(islice(_below(path, set(), hints), MOST_FILES + 1)) if os.path.isdir(path) else [path]
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


def _below(directory: str, seen: set[tuple[int, int]], hints: list[str]) -> Iterator[str]:
    at = os.stat(directory)
    if (at.st_dev, at.st_ino) in seen:  # a symbolic link to where we are
        return
    seen.add((at.st_dev, at.st_ino))
    with os.scandir(directory) as listed:
        entries = [entry for entry in islice(listed, MOST_FILES + 1) if not entry.name.startswith(".")]
    if any(entry.name == "Chart.yaml" for entry in entries):
        hints.append(f"{directory}: a Helm chart, passed by: helm template {directory} | kdns --manifests -")
        return
    for entry in entries:
        if entry.is_dir():
            yield from _below(entry.path, seen, hints)
        elif entry.name in _KUSTOMIZE:
            hints.append(f"{entry.path}: passed by: kubectl kustomize {directory} | kdns --manifests -")
        elif entry.name == "values.yaml":
            hints.append(f"{entry.path}: values of a Helm chart, passed by")
        elif entry.name.lower().endswith(SUFFIXES):
            yield entry.path


def read(path: str, reading: Reading) -> Iterator[Document]:
    """The documents of a file; ManifestError where it cannot be read or is not what it should be."""
    octets = octets_of(path, reading.octets)
    reading.octets -= len(octets)
    if not path.lower().endswith((".json", ".jsonl")) and not _is_json(octets):
        return _yaml(path, octets, reading)
    return _json(path, octets.removeprefix(b"\xef\xbb\xbf"), reading)


def _is_json(octets: bytes) -> bool:
    if not octets[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    try:
        msgspec.json.decode(octets.removeprefix(b"\xef\xbb\xbf"), type=Raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        return _MORE in str(error)  # else braces are YAML too
    return True


# ---------------------------------------------------------------- kinds


_MORE = "trailing characters"  # as msgspec says it of JSON after JSON


class _Head(Struct, gc=False):
    kind: str | None = None
    apiVersion: str | None = None
    items: Raw = Raw(b"null")


_head = msgspec.json.Decoder(_Head)
_items = msgspec.json.Decoder(list[Raw] | None)


def _of_items(kind: str, version: str) -> tuple[str, str]:
    """Kind and version of items that do not say: those of a typed list follow from the list's."""
    return ("", "") if kind == "List" else (kind.removesuffix("List"), version)


def _json(path: str, octets: bytes, reading: Reading) -> Iterator[Document]:
    if not octets.strip():
        return
    pending = [(raw, "", "") for raw in reversed(_values(path, octets))]
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
        elif _is_used(Document("", raw, path, ()), kind, version, reading):
            yield Document(kind, raw, path, ())


def _values(path: str, octets: bytes) -> list[Raw]:
    """The JSON values of a file: one mostly, one a line, or one after the other."""
    try:
        msgspec.json.decode(octets, type=Raw)
    except msgspec.DecodeError as error:
        if _MORE not in str(error):
            return [Raw(octets)]  # whoever reads it says what is wrong
    except RecursionError:
        return [Raw(octets)]
    else:
        return [Raw(octets)]
    if wrong := not_utf8(path, octets):
        raise wrong
    text, out, at = octets.decode(), [], 0
    try:
        while rest := _BLANK.match(text, at):
            if rest.end() == len(text):
                break
            _, at = _DECODER.raw_decode(text, rest.end())
            out.append(Raw(text[rest.end() : at].encode()))
    except (ValueError, RecursionError) as error:
        offset = len(text[: getattr(error, "pos", 0)].encode())
        raise ManifestError(f"{path}:{line_at(octets, offset)}: bad JSON: {getattr(error, 'msg', error)}") from None
    return out


_BLANK = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def _is_used(here: Document, kind: str, version: str, reading: Reading, content: Any = None) -> bool:
    """Is an object of a kind that is served? ManifestError for one of a kind that is almost one."""
    try:
        used = kind not in reading.unwanted and is_served(kind, version, reading.strict)
    except ValueError as error:
        raise fault(here, error, content) from None
    reading.unused[printable(kind)] += not used
    return used


def _not_an_object(path: str, octets: bytes, raw: Raw, error: Exception) -> ManifestError:
    if isinstance(error, msgspec.ValidationError):
        return fault(Document("", raw, path, ()), error)
    return broken_json(path, octets, error)


# ---------------------------------------------------------------- YAML


def _yaml(path: str, octets: bytes, reading: Reading) -> Iterator[Document]:
    has_aliases = b"*" in octets and b"&" in octets
    for number, node in enumerate(nodes(path, octets, reading.strict)):
        try:
            content = node[0].construct_document(node[1])
        except Exception as error:  # of an explicit tag's constructor, anything: `!!bool x` is a KeyError
            raise broken_yaml(path, octets, error) from None
        if has_aliases:
            reading.expanded -= min(MOST_EXPANDED + 1, _expanded(content, {}))
            if reading.expanded < 0:
                raise ManifestError(f"{path}: aliases expand to too much: over {size_of(MOST_EXPANDED)}")
        yield from _objects(path, number, content, reading)


def _objects(path: str, number: int, content: Any, reading: Reading) -> Iterator[Document]:
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
        elif _is_used(here, kind, version, reading, o):
            try:
                if reading.strict:
                    check_fields(kind, o)
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
