"""A folder imports only from folders to its right, and inside a folder a module only from those above it in its `__init__`.

The order inside a folder is the one in which its `__init__` lists its files. Plugins know none of their neighbours.
"""

import ast
import re
from pathlib import Path

import pytest

import kdns

ROOT = Path(kdns.__file__).parent
FOLDERS = [  # the lowest first
    "errors", "dns", "config", "core", "cluster upstream", "plugins", "server", "commands", "cli testing", "__main__ pytest_plugin",
]  # fmt: skip
ORDERED = [
    "dns", "config", "core", "cluster", "cluster/apiserver", "cluster/manifests", "upstream", "server", "commands", "testing",
]  # fmt: skip
MODULES = sorted(ROOT.rglob("*.py"))
NO_FILES = ("errors", "dns", "config", "core")  # neither sockets nor files
READS_FILES = {("core", "files"), ("core", "lines")}


def rank(folder: str) -> int:
    return next(i for i, side_by_side in enumerate(FOLDERS) if folder in side_by_side.split())


def module_of(path: Path) -> tuple[str, ...]:
    return tuple(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__")


def imported(path: Path) -> set[tuple[str, ...]]:
    """The modules of kdns that a file imports, at its head or in a function: by `import x` and `from x import y` alike.

    What is imported for type checkers alone does not count: a plugin and its block know each other.
    """
    found = set()
    tree = ast.parse(path.read_text())
    for node in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            for alias in node.names:
                found.add(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {_module(name) for name in found if name.split(".")[0] == "kdns"} - {()}


def _module(name: str) -> tuple[str, ...]:
    """`kdns.dns.names.wire` is of the module dns.names."""
    parts = name.split(".")[1:]
    while parts and not (ROOT.joinpath(*parts).is_dir() or ROOT.joinpath(*parts).with_suffix(".py").is_file()):
        parts.pop()
    return tuple(parts)


def listed(folder: str) -> list[str]:
    """The files and folders of a folder in the order in which its `__init__` lists them."""
    text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or ""
    return re.findall(r"^(\w+)(?:\.py|/)\s", text, re.MULTILINE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_folder_imports_only_from_folders_to_its_right(path: Path) -> None:
    here = module_of(path)
    for there in imported(path) if here else ():
        if here[0] == there[0]:
            neighbours = here[0] == "plugins" and len(here) > 1 and there[1:2] not in ((), here[1:2])
            assert not neighbours, f"{'.'.join(here)} imports its neighbour {'.'.join(there)}"
        else:
            assert rank(there[0]) < rank(here[0]), f"{'.'.join(here)} imports {'.'.join(there)}"


def test_the_package_itself_imports_nothing() -> None:
    assert set() == imported(ROOT / "__init__.py")


@pytest.mark.parametrize("folder", ORDERED)
def test_a_folder_lists_its_files_in_reading_order(folder: str) -> None:
    order = listed(folder)
    there = {path.stem for path in (ROOT / folder).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - {"__init__"} == set(order)
    for at, name in enumerate(order):
        path = ROOT / folder / name
        for file in path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
            inside = {there[len(Path(folder).parts)] for there in imported(file) if _is_inside(there, folder)}
            assert inside <= set(order[: at + path.is_dir()]), f"{file.relative_to(ROOT)} imports one that is listed below it"


def _is_inside(module: tuple[str, ...], folder: str) -> bool:
    parts = Path(folder).parts
    return module[: len(parts)] == parts and len(module) > len(parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_some_modules_open_sockets_and_files(path: Path) -> None:
    here = module_of(path)
    if here and here[0] in NO_FILES and here not in READS_FILES:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        modules |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert "open" not in names
        assert not modules & {"pathlib", "io", "os"} or here == ("config", "corefile")
        assert "socket" not in modules or here[0] == "dns"  # the constants and conversions of addresses


def test_only_one_module_imports_kubernetes() -> None:
    importers = {
        str(path.relative_to(ROOT))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kubernetes")
        or (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "kubernetes" for a in node.names))
    }
    assert importers == {"cluster/apiserver/library.py"}
