"""Corefiles of real clusters (tests/corefiles, each with the place it was written from), served here with ports mapped.

Each is asked what only its special plugin answers. Where that plugin is not there yet, the Corefile is in AWAITED, by the
plugin, and is refused for it alone: so the day it starts, the test here asks to be told.
"""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.mapped import mapped

FOLDER = ROOT / "tests" / "corefiles"
QUESTIONS: dict[str, dict[str, Any]] = json.loads((FOLDER / "questions.json").read_text())
AWAITED = {
    "kubespray": "k8s_external",
}


def test_each_has_questions_and_a_source() -> None:
    assert {path.name for path in FOLDER.iterdir()} - {"questions.json"} == set(QUESTIONS)
    assert all(each["source"] and each["asks"] for each in QUESTIONS.values())
    assert set(AWAITED) <= set(QUESTIONS)


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name not in AWAITED])
def test_a_real_corefile_is_served(name: str, tmp_path: Path) -> None:
    given = QUESTIONS[name]
    with mapped((FOLDER / name).read_text(), tmp_path, given.get("files"), given.get("objects", ())) as server:
        assert server.answers()
        for owner, type, expected, *cls in given["asks"]:
            assert (owner, expected.replace("$HOSTNAME", socket.gethostname())) == (owner, server.answer(owner, type, *cls))


@pytest.mark.parametrize("name", AWAITED)
def test_a_corefile_whose_plugin_is_awaited(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kdns", "check", "-conf", str(FOLDER / name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = done.stdout + done.stderr
    assert (1, True) == (done.returncode, f"'{AWAITED[name]}'" in found), f"{name} is served now, take it off AWAITED: {found}"
