"""Compiles what answers a query with mypyc, for a wheel that is to be fast; hatch calls this where it is told to.

`make wheel` tells it to (`HATCH_BUILD_HOOK_ENABLE_CUSTOM=1`). Everything else (`pip install`, an editable install, the tests)
takes the source as it is and needs no compiler: the modules are the same, and both ways pass the same tests.

Not compiled are classes that others derive from, classes with keywords (of `gc=False` and its like mypyc takes no notice),
Protocols that are looked at when they run, and what runs seldom. A compiled module has no docstring: `kdns help` reads that of
its source, which is beside it. A module is added to the list in pyproject.toml where a miss gets cheaper by it. One difference is
to be kept in mind: a slice of bytes that ends before it begins is empty, but raises where it is compiled.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Compiled(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled modules to a wheel, which is then one for this Python and platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        made = Path(self.root, "build", "compiled")
        shutil.rmtree(made, ignore_errors=True)
        subprocess.run([sys.executable, __file__, str(made), *self.config["modules"]], cwd=self.root, check=True)
        for library in made.rglob("*.so"):
            build_data["force_include"][str(library)] = str(library.relative_to(made))
        build_data["pure_python"], build_data["infer_tag"] = False, True


def source(module: str) -> str:
    """The file of a module of the current folder."""
    place = module.replace(".", "/")
    return f"{place}/__init__.py" if Path(place).is_dir() else f"{place}.py"


def compile_to(folder: str, modules: list[str]) -> None:
    """Compile modules of the current folder, as they are named when imported; what comes of them is laid into `folder`."""
    from mypyc.build import mypycify
    from setuptools import setup

    options = ["--config-file=", "--ignore-missing-imports", *map(source, modules)]
    extensions = mypycify(options, opt_level="3", debug_level="0", group_name="kdns", target_dir="build/c")
    for extension in extensions:  # what a compiler warns of in C that nobody wrote takes it two thirds of its time to find
        extension.extra_compile_args += ["-Wno-all"]
    built = ["build_ext", "--build-lib", folder, "--build-temp", "build/o"]
    setup(name="kdns", packages=[], py_modules=[], ext_modules=extensions, script_args=["--quiet", *built])


if __name__ == "__main__":
    compile_to(sys.argv[1], sys.argv[2:])
