"""What is wrong with an object of a manifest, and where: `cluster.yaml:12: Service prod/web: spec.ports[0].port: missing`.

Nothing remembers lines while all is well: where an object turns out to be wrong, its line is looked for in the file again.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import yaml
from msgspec import Raw

from kdns.cluster.manifests.markup import nodes, not_utf8, octets_of, printable
from kdns.errors import ManifestError

_CLUSTER_SCOPED = ("Namespace", "Node")


class Document(NamedTuple):
    kind: str  # one of STRUCTS
    json: bytes | Raw
    path: str  # of the file
    place: tuple[int, ...]  # in YAML: which document of the file, which item of its list, ...; () in JSON


def fault(document: Document, error: Exception, content: Any = None) -> ManifestError:
    """What is wrong with an object: file, line, kind, name, field. `content` is what its JSON says, where that is known.

    The error is msgspec's, or a ValueError with "field: what is wrong".
    """
    if content is None and document.json:
        try:
            content = msgspec.json.decode(document.json)
        except (msgspec.MsgspecError, RecursionError, ValueError) as worse:
            error = worse
    if isinstance(error, UnicodeDecodeError):
        with suppress(ManifestError):
            return not_utf8(document.path, octets_of(document.path)) or ManifestError(f"{document.path}: not UTF-8")
    complaint = printable(_complaint(error, content))
    field = re.match(r"([\w/-]+(?:\.[\w/-]+|\[[^\]]*\])*): ", complaint)
    line = _locate(document, field[1] if field else "")
    where = f"{document.path}:{line}" if line else document.path
    what = _described(document.kind, content)
    return ManifestError(": ".join(part for part in (where, what, complaint) if part))


def place_of(document: Document) -> str:
    """Where an object begins: `cluster.yaml:12`."""
    line = _locate(document, "")
    return f"{document.path}:{line}" if line else document.path


def _described(kind: str, content: Any) -> str:
    if not kind:
        return ""
    metadata = content.get("metadata") if isinstance(content, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    name = _shown(metadata.get("name"))
    return f"{kind} {name}" if kind in _CLUSTER_SCOPED else f"{kind} {_shown(metadata.get('namespace') or 'default')}/{name}"


def _shown(name: Any) -> str:
    return printable(str(name)) if name and isinstance(name, str | int) else "?"


def _complaint(error: Exception, content: Any) -> str:
    """One line: "field: what is wrong", the field as the API writes it."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = " ".join(str(error).split()).replace(" | null", "")
    if not isinstance(error, msgspec.ValidationError):
        return text
    said = re.fullmatch(r"(.*?)(?: - at (`key` in )?`\$\.?([^`]*)`)?", text)
    assert said is not None
    what, of_key, path = said[1].replace("`", ""), said[2], said[3] or ""
    if missing := re.fullmatch(r"Object missing required field (\w+)", what):
        path, what = f"{path}.{missing[1]}".lstrip("."), "missing"
    if of_key:
        what = f"a key: {what}"
    elif re.fullmatch("Expected str, got (int|float|bool)", what):
        what += " (quote it)"
    elif what == "Expected int, got str":
        what += " (no quotes)"
    if path.endswith("[...]"):
        path = f"{path[:-5]}[{_offender(content, path[:-5])}]"
    return f"{path}: {what}" if path else what


def _steps(field: str) -> list[str | int]:
    """A field as steps down: `spec.ports[0].port` is spec, ports, 0, port."""
    found = re.findall(r"([\w/-]+)|\[([^\]]*)\]", field)
    return [int(index) if index.isdecimal() else index or name for name, index in found]


def _offender(content: Any, field: str) -> str:
    """The first key of a map of texts whose value is none."""
    for step in _steps(field):
        try:
            content = content[step]
        except (LookupError, TypeError):
            return "?"
    values = content.items() if isinstance(content, dict) else ()
    return next((_shown(key) for key, value in values if not isinstance(value, str)), "?")


def _locate(document: Document, field: str) -> int | None:
    """The line of a field, or of what is nearest above it; None where the file no longer says."""
    try:
        octets = octets_of(document.path)
        if document.place:
            roots = (node for _, node in nodes(document.path, octets))
            root = next(islice(roots, document.place[0], None))
            steps = [step for index in document.place[1:] for step in ("items", index)] + _steps(field)
            return _descend(root, steps)
        start = octets.find(bytes(document.json))
        if start < 0:
            return None
        above = octets.count(b"\n", 0, start)
        try:
            return above + _descend(next(nodes(document.path, bytes(document.json)))[1], _steps(field))
        except (ManifestError, StopIteration):  # JSON that is no YAML, as where tabs indent it
            return above + 1
    except (ManifestError, StopIteration):
        return None


def _descend(node: Any, steps: Sequence[str | int]) -> int:
    """The line where a walk down from a node ends, as far as it goes."""
    line: int = node.start_mark.line + 1
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            return line
    return line
