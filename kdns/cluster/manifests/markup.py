"""The text of manifests: octets, YAML within bounds, and what is wrong with either, by line.

What a document means is not known here. YAML is libyaml's where PyYAML has it.
"""

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import yaml

from kdns.errors import ManifestError, Unreadable

MOST_OCTETS = 128 << 20  # of all manifests together
MOST_EXPANDED = 64 << 20  # octets that the aliases of all manifests write out
_MAX_DEPTH = 200  # of YAML; libyaml's composer would overflow the C stack
_MAX_MERGED = 100_000  # fields that the merge keys of a document write out
_NO_FILES = {
    stat.S_ISDIR: "a directory", stat.S_ISFIFO: "a FIFO", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}  # fmt: skip


class Reading:
    """One reading of manifests: what they may still have, in octets, and what was met that is not used.

    Where it is strict, what is almost right is an error.
    """

    def __init__(self, strict: bool = False, unwanted: Collection[str] = ()) -> None:
        self.strict, self.unwanted = strict, unwanted  # kinds that nobody asks for
        self.octets, self.expanded = MOST_OCTETS, MOST_EXPANDED  # as they stand; by their aliases written out
        self.unused: Counter[str] = Counter()  # kinds
        self.hints: list[str] = []  # files that were passed by, and what to do with them


def octets_of(path: str, room: int = MOST_OCTETS) -> bytes:
    """What a file has, at most `room` octets; a FIFO or a device is not waited for, and Unreadable where it may not be read."""
    try:
        at = os.stat(path)
        if not stat.S_ISREG(at.st_mode):
            raise ManifestError(f"{path}: {next(what for is_one, what in _NO_FILES.items() if is_one(at.st_mode))}, not a file")
        octets = b""
        if at.st_size <= room:
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                octets = file.read(room + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if max(at.st_size, len(octets)) > room:
        raise ManifestError(f"{path}: too large: all manifests together may have {size_of(MOST_OCTETS)}")
    return octets


def unreadable(path: str, error: OSError) -> ManifestError:
    """Unreadable where trying again may help, as where descriptors have run out; what is not there is seen when it comes."""
    lasting = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG)
    return (ManifestError if lasting else Unreadable)(f"{path}: {error.strerror}")


def size_of(octets: int) -> str:
    return f"{octets >> 20} MiB"


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
    _merged = 0
    strict = False
    root: Any = None  # of the document
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
        own = len(node.value)
        if self.strict:
            self._refuse_twice(node)
        super().flatten_mapping(node)
        if len(node.value) != own:
            node.merged = True
        self._merged += max(0, len(node.value) - own)
        if self._merged > _MAX_MERGED:  # they can double at each level
            raise yaml.YAMLError("merge keys expand to too much")

    def _refuse_twice(self, node: Any) -> None:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) == len(keys) or hasattr(node, "merged"):
            return
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value not in lines:
                lines[key.value if isinstance(key, yaml.ScalarNode) else ""] = key.start_mark.line + 1
                continue
            why = f"'{key.value}' is there twice, first on line {lines[key.value]}"
            if node is self.root and key.value in ("apiVersion", "kind", "metadata"):
                why += ": is a line with --- missing between two objects?"
            raise yaml.constructor.ConstructorError(None, None, why, key.start_mark)

    def construct_yaml_int(self, node: Any) -> Any:
        text = self.construct_scalar(node)
        return text if ":" in text else super().construct_yaml_int(node)

    def construct_yaml_float(self, node: Any) -> Any:
        text = self.construct_scalar(node)
        return text if ":" in text else super().construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def nodes(path: str, octets: bytes, strict: bool = False) -> Iterator[tuple[Any, Any]]:
    """Each YAML document: the loader, and the document's root node."""
    try:
        loader = _Loader(octets)
        loader.strict = strict
        while loader.check_node():
            loader.root = loader.get_node()
            yield loader, loader.root
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
