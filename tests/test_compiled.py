"""What is compiled for a wheel: all of it or nothing, and `kdns -version` says which."""

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
