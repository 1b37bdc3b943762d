"""The plugin that docs/plugin.md builds step by step is a whole one: put together from the page, it answers."""

import asyncio
import re
import sys
import types
from pathlib import Path

import pytest

from kdns import plugins
from kdns.config.options import names_of
from kdns.core.plugin import Plugin
from tests.support import ROOT
from tests.support.configured import answers, ask, generation_of, listener_of, refused

PAGE = (ROOT / "docs" / "plugin.md").read_text()
MOST_LINES = 25  # of what is not the answer


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


LEAST, OPTIONS, REST, IMPORTS = blocks("python")
[COREFILE] = blocks("corefile")


def source() -> str:
    """The file that the page describes: the head of the class, what it asks for, and then its answer."""
    head, _, answer = LEAST.partition("\n")
    return "\n\n".join([IMPORTS, OPTIONS, f"{head}\n{REST}\n{answer}"])


@pytest.fixture
def motd(monkeypatch: pytest.MonkeyPatch) -> type[Plugin]:
    module = types.ModuleType("motd_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source(), "docs/plugin.md", "exec"), vars(module))
    found: type[Plugin] = module.Motd
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda name: found if name == "motd" else load(name))
    return found


def test_it_answers_and_follows_its_file(motd: type[Plugin], tmp_path: Path) -> None:
    file = tmp_path / "motd"
    generation = generation_of(COREFILE.replace("FILE", str(file)))
    [plugin] = generation.blocks[0].named("motd")
    assert plugin.ready() == f"cannot read {file}: no such file or directory"
    file.write_text("Good morning\nMind the gap\n")
    [watched] = generation.watched
    watched.changed()
    assert plugin.ready() is None
    said = asyncio.run(ask(generation, "motd.example", "TXT"))
    assert ['"Good morning"', '"Mind the gap"'] == answers(said)
    assert 30 == said.answer[0].ttl
    assert 1 == len(listener_of(generation).memo)
    file.write_text("Good night\n")
    watched.changed()
    assert ['"Good night"'] == answers(asyncio.run(ask(generation, "motd.example", "TXT")))
    assert [] == answers(asyncio.run(ask(generation, "x.motd.example", "TXT")))


def test_a_wrong_option_is_told(motd: type[Plugin]) -> None:
    assert "Corefile:3: motd: unknown option 'tll', did you mean 'ttl'?" == refused(". {\nmotd {\ntll 5\n}\n}\n")


def test_what_it_costs_beside_its_answer() -> None:
    """All but what reads the file, which is this plugin's own affair."""
    without = re.sub(r"    def read\(self\).*?(?=    def ready)", "", REST, flags=re.DOTALL)
    lines = [line for line in (OPTIONS + without).splitlines() if line.strip()]
    assert len(lines) <= MOST_LINES


def test_the_manual_names_every_option(motd: type[Plugin]) -> None:
    [manual] = blocks("text")
    assert ["file", "ttl"] == list(names_of(motd.table))
    assert all(re.search(rf"^        {name} ", manual, re.MULTILINE) for name in names_of(motd.table))
