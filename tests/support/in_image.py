"""pytest in the container image: `python -m tests.support.in_image ARGUMENTS`, root; pytest's arguments, files as from here.

What is tested is what is shipped: the image's own kdns, compiled modules and all, on its own interpreter, with the packages
that were left beside it. Added are the tests, what kdns offers to tests and the packages that tests need. It runs as a Pod would,
as an ordinary user on a read-only root; who needs a program that the image has not (dig, say) is skipped.
"""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.support import ROOT
from tests.support.pod import Image, Pod

# The packages of tests come last: one that the image has is the image's.
PYTEST = "import sys; sys.path.append('/packages'); import pytest; sys.exit(pytest.main())"
OPTIONS = ["--rootdir=/tree", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
MEMORY = 1 << 30  # octets


def main(arguments: list[str]) -> int:
    image = Image.built()
    [library] = image.root.glob("opt/kdns/lib/python3.*")
    words = [f"/tree/{word}" if (ROOT / word.partition("::")[0]).exists() else word for word in arguments]
    with tempfile.TemporaryDirectory(prefix="kdns-in-image-") as folder:
        tree, packages = Path(folder, "tree"), Path(folder, "packages")
        _lay_out(tree, library / "site-packages" / "kdns")
        _install(packages, library.name.removeprefix("python"))
        Path(folder).chmod(0o755)
        mounts = {"/tree": tree, "/packages": packages}
        environment = {"PYTHONPATH": "/tree", "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis", "HOME": "/tmp"}
        pod = Pod(
            image, ["-c", PYTEST, *OPTIONS, *words], command=["/opt/kdns/bin/python3"], mounts=mounts, environment=environment,
            memory=MEMORY, writable_tmp=True,
        )  # fmt: skip
        with pod:
            status, log = pod.wait(timeout=1200)
    print(log)
    return status


def _lay_out(tree: Path, package: Path) -> None:
    """The tests beside the kdns of the image, which gets back what was for tests."""
    no_byte_code = shutil.ignore_patterns("__pycache__")
    for name in ("tests", "zones"):
        shutil.copytree(ROOT / name, tree / name, ignore=no_byte_code)
    shutil.copy(ROOT / "pyproject.toml", tree)
    shutil.copytree(package, tree / "kdns")
    shutil.copytree(ROOT / "kdns" / "testing", tree / "kdns" / "testing", ignore=no_byte_code)
    shutil.copy(ROOT / "kdns" / "pytest_plugin.py", tree / "kdns")


def _install(folder: Path, version: str) -> None:
    """What tests need, for another Python than this one."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(folder)]
    subprocess.run([*pip, "--python-version", version, "--only-binary", ":all:", *needed], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
