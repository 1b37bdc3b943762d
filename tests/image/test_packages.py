"""The wheel and the sdist, as `make` builds them, each installed with all it needs where there was nothing, and run."""

import subprocess
import sys
from pathlib import Path

import pytest

from kdns import __version__
from tests.support import ROOT

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, and nothing of what is being worked on in them but files that git has or would take."""
    source, packages = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("packages")
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run("make", "wheel", "sdist", f"PYTHON={sys.executable}", cwd=source)
    for package in (source / "dist").iterdir():
        package.rename(packages / package.name)
    return packages


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_it_installs_where_nothing_is_and_runs(kind: str, packages: Path, tmp_path: Path) -> None:
    [package] = packages.glob(kind)
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    run(tmp_path / "venv/bin/pip", "install", "--quiet", "--no-compile", package, cwd=tmp_path)
    kdns = tmp_path / "venv/bin/kdns"
    assert f"kdns-{__version__}" == run(kdns, "-version", cwd=tmp_path).splitlines()[0]
    assert "1053" in run(kdns, "check", "-conf", ROOT / "zones/Corefile", cwd=ROOT)
    page = {path.name for path in (tmp_path / "venv").glob("lib/python*/site-packages/kdns/plugins/page/page.*")}
    assert {"page.css", "page.html", "page.js", "page.svg"} == page
    [sample] = (tmp_path / "venv").glob("lib/python*/site-packages/kdns/zones/cluster.yaml")
    assert (ROOT / "zones/cluster.yaml").read_bytes() == sample.read_bytes()
