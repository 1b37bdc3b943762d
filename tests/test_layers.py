"""A layer imports only from layers below it, and modules of one layer that stand side by side never import each other."""

import ast
from pathlib import Path

import pytest

import kdns

ROOT = Path(kdns.__file__).parent
# The lowest first; a tuple's members stand side by side. A package stands for all its modules, which know each other
# except where they are plugins.
LAYERS: list[tuple[str, ...]] = [
    ("errors", "names"), ("message", "directive"), ("encoding",), ("zone", "memo", "corefile", "metrics"),
    ("plugin", "cluster", "cached"),
    ("site",), ("upstream",), ("plugins",), ("server",), ("cli",), ("__main__",),
]  # fmt: skip
MODULES = sorted(ROOT.rglob("*.py"))


def layer(part: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if part in names)


def imported(path: Path) -> set[str]:
    """The modules of kdns that a file imports, as dotted names without the first."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kdns":
            below = node.module.split(".")[1:]
            found |= {".".join([*below, alias.name]) for alias in node.names} if len(below) < 2 else {".".join(below)}
        elif isinstance(node, ast.Import):
            found |= {alias.name[5:] for alias in node.names if alias.name.startswith("kdns.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_layers_below(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts == ("__init__",):
        assert set() == imported(path)
        return
    here = parts[0]
    for other in imported(path):
        there = other.split(".")[0]
        if there == "__version__":
            continue
        if there != here:
            assert layer(there) < layer(here), f"{'.'.join(parts)} imports {other}"
        elif here == "plugins" and parts[1] != "__init__" and other != "plugins.ORDER":
            raise AssertionError(f"{'.'.join(parts)} imports its neighbour {other}")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_some_modules_open_sockets_and_files(path: Path) -> None:
    part = path.relative_to(ROOT).with_suffix("").parts
    if part[0] in ("errors", "names", "message", "encoding", "zone", "memo", "corefile", "directive", "plugin", "site"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert "open" not in names
        assert not modules & {"socket", "asyncio", "pathlib", "io"}


def test_only_one_module_imports_kubernetes() -> None:
    importers = {
        str(path.relative_to(ROOT))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kubernetes")
        or (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "kubernetes" for a in node.names))
    }
    assert importers <= {"cluster/client.py"}
