import pytest

from kdns.config.patterns import Pattern, Template


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"(.*)-(us-west-1)\.example\.org", "ftp-us-west-1.example.org.", ("ftp-us-west-1.example.org", "ftp", "us-west-1")),
        ("b", "abc", ("b",)),
        ("(a)|(b)", "b", ("b", "", "b")),
        ("^a$", "ba", None),
        (r"[[:digit:]]+\z", "a17", ("17",)),
        ("(?<n>x)", "x", ("x", "x")),
    ],
)
def test_what_is_found(pattern: str, text: str, expected: tuple[str, ...] | None) -> None:
    found = Pattern(pattern)
    assert (expected, expected is not None) == (found.find(text), found.matches(text))


def test_groups_by_name() -> None:
    assert {"a": 1, "b": 3} == Pattern("(?P<a>x)(y)?(?<b>z)").names


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[bad[", "'[bad[' is no regular expression: missing ]: [bad["),
        ("(?=a)", "'(?=a)' is no regular expression: invalid perl operator: (?="),
        (r"(a)\1", r"'(a)\1' is no regular expression: invalid escape sequence: \1"),
        ("x" * 10_001, "the regular expression is over 10000 characters long"),
    ],
)
def test_what_is_no_expression(pattern: str, expected: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError) as caught:
        Pattern(pattern)
    assert (expected, "", "") == (str(caught.value), *capfd.readouterr())


def test_an_expression_that_would_take_another_engine_for_ever() -> None:
    assert None is Pattern("^(a+)+$").find("a" * 250 + "!")


def test_a_text_with_places() -> None:
    assert "web.{x}.ns.web" == Template("{1}.{x}.{2}.{1}", Pattern("(.*)/(.*)")).filled(("web/ns", "web", "ns"))
    assert "a{1}" == Template("a{0}", Pattern(".*")).filled(("{1}",))
    with pytest.raises(ValueError) as caught:
        Template("{2}", Pattern("(a)"))
    assert "'{2}' names group 2, and '(a)' has 1" == str(caught.value)
