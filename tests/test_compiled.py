"""What is compiled for a wheel: all of it or nothing, and `kdns -version` says which."""

import ast
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from kdns.cli import main
from tests.support import ROOT

HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]


def test_the_version_says_which_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    suffixes = {Path(import_module(module).__file__ or "").suffix for module in HOOK["modules"]}
    main(["-version"])
    expected = {".py"} if capsys.readouterr().out.rstrip().endswith("plain") else {".so"}
    assert expected == suffixes


def test_the_source_is_taken_as_it_is_unless_told_otherwise() -> None:
    assert HOOK["enable-by-default"] is False


@pytest.mark.parametrize("module", HOOK["modules"])
def test_no_compiled_class_is_told_more_than_its_bases(module: str) -> None:
    """mypyc drops keywords, such as the `gc=False` of a Struct, without a word."""
    place = ROOT / module.replace(".", "/")
    tree = ast.parse((place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).read_text())
    told = [each.name for each in ast.walk(tree) if isinstance(each, ast.ClassDef) and each.keywords]
    assert [] == told
