"""The text of manifests: octets, YAML within bounds, and what is wrong with either, by line.

What a document means is not known here. YAML is libyaml's where PyYAML has it.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from kdns.errors import ManifestError

_MAX_DEPTH = 200  # of YAML; libyaml's composer would overflow the C stack


def octets_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from None


def not_utf8(path: str, octets: bytes) -> ManifestError | None:
    try:
        octets.decode()
    except UnicodeDecodeError as error:
        return ManifestError(f"{path}:{line_at(octets, error.start)}: not UTF-8: octet {octets[error.start]:#04x}")
    return None


def line_at(octets: bytes, offset: int) -> int:
    return octets.count(b"\n", 0, offset) + 1


def printable(text: str) -> str:
    """One line of a length that fits a log."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text[:500].split()))


# ---------------------------------------------------------------- JSON


def broken_json(path: str, octets: bytes, error: Exception) -> ManifestError:
    """What keeps octets from being JSON: file and line."""
    if isinstance(error, RecursionError):
        return ManifestError(f"{path}: JSON nested too deeply")
    if wrong := not_utf8(path, octets):
        return wrong
    at = re.search(r"^(?:JSON is malformed: )?(.*?)(?: \(byte (\d+)\))?$", str(error))
    assert at is not None
    offset = int(at[2]) if at[2] else len(octets.rstrip())
    return ManifestError(f"{path}:{line_at(octets, offset)}: bad JSON: {at[1].lower()}")


# ---------------------------------------------------------------- YAML


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: no dates, no numbers to the base of sixty; and within bounds."""

    _depth = 0
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise yaml.YAMLError("nested too deeply")

    def ascend_resolver(self) -> None:
        self._depth -= 1

    def flatten_mapping(self, node: Any) -> None:
        super().flatten_mapping(node)
        if len(node.value) > 100_000:  # merge keys can double at each level
            raise yaml.YAMLError("merge keys expand to too much")

    def construct_yaml_int(self, node: Any) -> Any:
        text = self.construct_scalar(node)
        return text if ":" in text else super().construct_yaml_int(node)

    def construct_yaml_float(self, node: Any) -> Any:
        text = self.construct_scalar(node)
        return text if ":" in text else super().construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def nodes(path: str, octets: bytes) -> Iterator[tuple[Any, Any]]:
    """Each YAML document: the loader, and the document's root node."""
    try:
        loader = _Loader(octets)
        while loader.check_node():
            yield loader, loader.get_node()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise broken_yaml(path, octets, error) from None


def broken_yaml(path: str, octets: bytes, error: Exception) -> ManifestError:
    if wrong := None if octets.startswith((b"\xff\xfe", b"\xfe\xff")) else not_utf8(path, octets):
        return wrong
    if not isinstance(error, yaml.MarkedYAMLError):
        why = str(getattr(error, "reason", None) or error).partition("\n")[0]
        if not isinstance(error, yaml.YAMLError | RecursionError):
            why = f"a value is not what its tag says: {type(error).__name__}: {why}"
        return ManifestError(f"{path}: bad YAML: {printable(why)}")
    mark, since = error.problem_mark or error.context_mark, error.context_mark
    where = f"{path}:{mark.line + 1}" if mark else path
    why = error.problem or "it cannot be read"
    if mark and _is_tab(octets, mark):
        why = "a tab: YAML is indented with spaces"
    elif error.context and since and mark and since.line != mark.line:
        why += f" {error.context} that begins on line {since.line + 1}"
    return ManifestError(f"{where}: bad YAML: {printable(why)}")


def _is_tab(octets: bytes, mark: Any) -> bool:
    lines = octets.split(b"\n")
    line, column = int(mark.line), int(mark.column)
    return line < len(lines) and lines[line][column : column + 1] == b"\t"
