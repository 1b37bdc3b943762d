"""Label selectors, as an API server reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.cluster.selectors import parse

PROD = {"env": "prod", "tier": "front", "generation": "7"}

CASES = [
    ("", True),
    ("env", True),
    ("env=prod", True),
    ("env==prod", True),
    ("env = dev", False),
    ("env!=dev", True),
    ("env != prod", False),
    ("stage!=dev", True),  # a missing key is not equal either
    ("stage", False),
    ("!stage", True),
    ("! env", False),
    ("env in (prod, dev)", True),
    ("env in(dev)", False),
    ("env notin (dev,test)", True),
    ("env notin (prod)", False),
    ("stage notin (prod)", True),
    ("stage in (,prod)", False),  # a missing label is not an empty one
    ("stage=", False),
    ("env in (prod,dev), !stage, tier=front", True),
    ("env in (prod,dev), !stage, tier=back", False),
    ("in in (x)", False),
    ("generation > 6", True),
    ("generation > 7", False),
    ("generation < 10", True),
    ("env > 1", False),
    ("app.kubernetes.io/name != x", True),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_selects(text: str, expected: bool) -> None:
    assert expected == parse(text)(PROD)


def test_empty_labels() -> None:
    assert [True, False, True] == [parse(text)(None) for text in ("", "env", "!env")]
    assert parse("env=")({"env": ""})


BAD = [
    ("env in prod", "label selector 'env in prod': '(' expected after in and notin, not 'prod'"),
    ("env in ()", "label selector 'env in ()': in and notin take at least one value"),
    ("env in (a", "label selector 'env in (a': ')' is missing"),
    ("env prod", "label selector 'env prod': 'prod' is no operator: one of =, ==, !=, in, notin, <, > expected"),
    ("env=a b", "label selector 'env=a b': ',' expected before 'b'"),
    ("env,", "label selector 'env,': a label key is missing at the end"),
    (",env", "label selector ',env': ',' is no label key"),
    ("!", "label selector '!': a label key is missing at the end"),
    ("env=a/b", "label selector 'env=a/b': 'a/b' is no label value"),
    ("-env", "label selector '-env': '-env' is no label key"),
    ("age > x", "label selector 'age > x': < and > take a whole number"),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_bad(text: str, expected: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse(text)
    assert expected == str(raised.value)


@given(st.text("ab=!(),<> in", max_size=20))
def test_any_text(text: str) -> None:
    """A selector, or one line why not."""
    try:
        selects = parse(text)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert selects({"a": "b"}) in (True, False)
