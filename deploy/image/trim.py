"""Leave of the packages beside kdns what it uses: `python -P -B trim.py`, with the interpreter of their virtual environment.

Everything that kdns imports is imported, wherever in it the import stands, and what is executed meanwhile is kept:

- what kdns offers to tests goes;
- a package none of whose modules was executed goes, and with it what it says of itself;
- of the packages in PART_BY_PART, large and generated, only the modules that were executed stay, and what is no module;
- every other stays whole, so that what it imports only when it needs it is there.
"""

import ast
import importlib
import shutil
import sys
import sysconfig
from importlib.metadata import Distribution, distributions
from pathlib import Path

PART_BY_PART = {"kubernetes"}
FOR_TESTS = ("testing", "pytest_plugin.py")  # of kdns: what other projects' tests use
SITE = Path(sysconfig.get_path("purelib"))


def main() -> None:
    for name in FOR_TESTS:
        path = SITE / "kdns" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    executed = imports_of("kdns")
    for distribution in list(distributions(path=[str(SITE)])):
        name = f"{distribution.name} {distribution.version}"
        used = keep(distribution, executed)
        print(f"{name}: {used >> 10} kB" if used else f"{name}: not used")
    for folder in sorted((path for path in SITE.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def imports_of(package: str) -> set[Path]:
    """The files whose code runs when a package's modules and all that they import, in functions too, are imported."""
    executed = set()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "exec":
            executed.add(Path(arguments[0].co_filename))
        elif event == "import" and arguments[1]:  # an extension module
            executed.add(Path(arguments[1]))

    sys.addaudithook(watch)
    for path in sorted((SITE / package).rglob("*.py")):
        if path.stem != "__main__":
            importlib.import_module(".".join(path.relative_to(SITE).with_suffix("").parts).removesuffix(".__init__"))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found = [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)]
                exec("\n".join(ast.unparse(statement) for statement in found), {})
    return executed


def keep(distribution: Distribution, executed: set[Path]) -> int:
    """Remove what is not needed of a package; the octets that stay."""
    files = {Path(str(file.locate())).resolve() for file in distribution.files or () if ".." not in file.parts}
    needed = files & executed
    if distribution.name in PART_BY_PART:
        needed |= {above / "__init__.py" for file in needed for above in file.parents if above.is_relative_to(SITE)} & files
        needed |= {file for file in files if file.suffix != ".py"} if needed else set()
    elif needed:
        needed = files
    for file in files - needed:
        file.unlink(missing_ok=True)
    if needed and distribution.name in PART_BY_PART:
        _list_again(distribution)
    return sum(file.stat().st_size for file in needed if file.exists())


def _list_again(distribution: Distribution) -> None:
    """What a package says of its files is true again."""
    record = next(Path(str(file.locate())) for file in distribution.files or () if file.name == "RECORD")
    lines = record.read_text().splitlines()
    record.write_text("".join(f"{line}\n" for line in lines if (SITE / line.split(",")[0]).exists()))


if __name__ == "__main__":
    sys.exit(main())
