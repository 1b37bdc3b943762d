import pytest

from kdns.dns.types import type_number, type_text


@pytest.mark.parametrize(("text", "number"), [("A", 1), ("aaaa", 28), ("ANY", 255), ("TYPE65280", 65280), ("LOC", 29)])
def test_numbers_of_types(text: str, number: int) -> None:
    assert number == type_number(text)


@pytest.mark.parametrize("text", ["", "BOGUS", "TYPE65536", "TYPE-1", "A A"])
def test_what_is_no_type(text: str) -> None:
    with pytest.raises(ValueError, match=f"unknown type '{text}'"):
        type_number(text)


@pytest.mark.parametrize(("number", "text"), [(1, "A"), (257, "CAA"), (65280, "TYPE65280")])
def test_types_as_text(number: int, text: str) -> None:
    assert text == type_text(number)
