"""A plugin of a package from elsewhere: installed beside kdns as a user would, and served."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.processes import Kdns

PACKAGE = ROOT / "tests" / "third_party" / "kdns-greet"
COREFILE = "greet.example:$port {\nbind 127.0.0.1\ngreet {\nword hi\n}\nerrors\nwhoami\n}\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed to."""
    folder = tmp_path_factory.mktemp("third_party")
    source = shutil.copytree(PACKAGE, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "site")]
    subprocess.run([*pip, *flags, str(source)], check=True, capture_output=True)
    return folder / "site"


@pytest.fixture
def path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", f"{installed}:{ROOT}")
    return installed


def kdns(*words: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "kdns", *words], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_it_is_served(path: Path, tmp_path: Path) -> None:
    with Kdns(COREFILE, tmp_path) as process:
        assert 'world.greet.example. 60 IN TXT "hi world"' == process.ask("world.greet.example", "TXT").answer[0].to_text()
        assert [] == process.ask("world.greet.example", "A").answer


def test_its_manual_is_shown(path: Path) -> None:
    status, text = kdns("help", "greet")
    assert (0, "*greet* - says hello to whoever asks for TXT.") == (status, text.splitlines()[0])
    assert ["greet", "says hello to whoever asks for TXT."] in [line.split(maxsplit=1) for line in kdns("help")[1].splitlines()]
    assert "dns.greet" in kdns("-plugins")[1].splitlines()


BROKEN = [
    ("import nothing_of_that_name", "cannot be loaded: No module named 'nothing_of_that_name'"),
    ("x = 1", "cannot be loaded: kdns_greet has 0 classes that derive from Plugin, it needs one"),
]


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_one_that_is_broken_is_a_line(
    text: str, expected: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = shutil.copytree(path, tmp_path / "site")
    (site / "kdns_greet.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")
    (tmp_path / "Corefile").write_text(". {\n    greet\n}\n")
    status, said = kdns("check", "-conf", str(tmp_path / "Corefile"))
    assert (1, True) == (status, f"Corefile:2: greet: plugin 'greet' of package kdns-greet {expected}" in said), said
