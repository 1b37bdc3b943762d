"""docs/from-coredns.md: its table of plugins is of what there is."""

import re

import pytest

from kdns import plugins
from tests.support import ROOT
from tests.support.configured import is_served

TEXT = (ROOT / "docs" / "from-coredns.md").read_text()
TABLE = TEXT.partition("## Every plugin")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (\w+) \| ([\w ]+) \| ?(.*?) ?\|$", TABLE, re.MULTILINE)[1:]


def test_every_plugin_of_coredns_has_a_row() -> None:
    assert list(plugins.ORDER) == [name for name, _, _ in ROWS]


@pytest.mark.parametrize(("name", "state", "instead"), ROWS, ids=[name for name, _, _ in ROWS])
def test_a_row_says_what_is_so(name: str, state: str, instead: str) -> None:
    assert state in ("same", "differs", "no effect", "refused")
    assert (state != "refused") == is_served(name), f"{name} is served now, or is not any more: say so in docs/from-coredns.md"
    assert state == "same" or instead


def test_paths_are_there() -> None:
    paths = re.findall(r"(?:deploy|tests|kdns)/[\w/.-]*\w", TEXT)
    assert len(paths) > 5
    assert [] == [path for path in paths if not (ROOT / path).exists()]
