"""Corefiles of real clusters (tests/corefiles, each with the place it was written from), served here with ports mapped.

Each is asked what only its special plugin answers.
"""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.mapped import mapped

FOLDER = ROOT / "tests" / "corefiles"
QUESTIONS: dict[str, dict[str, Any]] = json.loads((FOLDER / "questions.json").read_text())


def test_each_has_questions_and_a_source() -> None:
    assert {path.name for path in FOLDER.iterdir()} - {"questions.json"} == set(QUESTIONS)
    assert all(each["source"] and each["asks"] for each in QUESTIONS.values())


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_real_corefile_is_served(name: str, tmp_path: Path) -> None:
    given = QUESTIONS[name]
    with mapped((FOLDER / name).read_text(), tmp_path, given.get("files"), given.get("objects", ())) as server:
        assert server.answers()
        for owner, type, expected, *cls in given["asks"]:
            assert (owner, expected.replace("$HOSTNAME", socket.gethostname())) == (owner, server.answer(owner, type, *cls))
