"""One host for all tests here, with kdns on its port 53, and the programs that ask."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.host import Host

HERE = Path(__file__).parent


def program(name: str, package: str) -> str:
    """Where a program is; the test is skipped where it is nowhere."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/go/bin")
    if found is None:
        pytest.skip(f"{name} is not here (Debian: {package})")
    return found


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    program("ip", "iproute2")
    with Host(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture(scope="session")
def glibc(host: Host) -> str:
    return built(host.folder / "glibc", [program("gcc", "gcc"), "-O1", "-o"], HERE / "resolve.c")


@pytest.fixture(scope="session")
def musl(host: Host) -> str:
    return built(host.folder / "musl", [program("musl-gcc", "musl-tools"), "-static", "-O1", "-o"], HERE / "resolve.c")


@pytest.fixture(scope="session")
def go(host: Host) -> str:
    return built(host.folder / "go", [program("go", "golang"), "build", "-o"], HERE / "resolve.go")


def built(out: Path, compiler: list[str], source: Path) -> str:
    subprocess.run([*compiler, str(out), str(source)], check=True, timeout=300)
    return str(out)
