"""Options as a table: what is not tested through plugins."""

from dataclasses import dataclass

import pytest

from kdns.config.directive import Directive
from kdns.config.options import flag, lines, option, read
from kdns.errors import CorefileError


def _number(o: Directive) -> int:
    o.no_args()
    if not o.name.isdigit():
        raise ValueError("is no number")
    return int(o.name)


@dataclass(frozen=True)
class Table:
    numbers: tuple[int, ...] = lines(_number)
    quiet: bool = option(flag, False)


def directive(*words: str) -> Directive:
    return Directive("sum", (), tuple(Directive(word, line=n, plugin="sum") for n, word in enumerate(words, 2)))


@pytest.mark.parametrize(
    ("words", "expected"), [((), Table()), (("3", "1"), Table((3, 1))), (("2", "quiet", "2", "9"), Table((2, 2, 9), True))]
)
def test_lines_that_are_no_option_keep_their_order(words: tuple[str, ...], expected: Table) -> None:
    assert expected == read(Table, directive(*words)).options


def test_a_line_that_is_neither() -> None:
    with pytest.raises(CorefileError) as caught:
        read(Table, directive("1", "quite"))
    assert "Corefile:3: sum: quite: is no number" == str(caught.value)
