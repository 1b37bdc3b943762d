"""Options as a table: what is read, and what is said of each thing that is wrong, all in one run."""

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest

from kdns.config import options
from kdns.config.corefile import parse
from kdns.config.directive import Directive
from kdns.config.options import argument, NoOptions, option, read
from kdns.errors import CorefileError


def _even(o: Directive) -> int:
    number = o.integer(0, 100)
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


@dataclass(frozen=True)
class Table:
    where: tuple[str, ...] = argument(options.zones)
    ttl: int = option(options.integer(0, 3600), 5)
    fast: bool = option(options.flag, False)
    except_: tuple[str, ...] = option(options.some_zones, (), many=True)
    even: int = option(_even, 0)
    old: bool = option(options.flag, False, note="old has no effect, the line may go")

    def __post_init__(self) -> None:
        if self.fast and self.even:
            raise ValueError("fast and even exclude each other: keep one")


def directive(text: str) -> Directive:
    [block] = parse(f". {{\n{text}\n}}\n", "Corefile", None)  # type: ignore[arg-type]
    return block.directives[0]


def of(text: str) -> Any:
    return read(Table, directive(text)).options


def wrong(text: str, table: type = Table) -> list[str]:
    with pytest.raises(CorefileError) as caught:
        read(table, directive(text))
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", Table(where=())),
        ("x a.example B.example", Table(where=("a.example.", "b.example."))),
        ("x {\nttl 7\nfast\n}", Table(where=(), ttl=7, fast=True)),
        ("x {\nttl 7\nttl 9\n}", Table(where=(), ttl=9)),  # the later one counts
        ("x {\nexcept a\nexcept b c\n}", Table(where=(), except_=("a.", "b.", "c."))),
    ],
)
def test_what_is_read(text: str, expected: Table) -> None:
    assert expected == of(text)


def test_all_that_is_wrong_is_told_in_one_run() -> None:
    assert [
        "Corefile:3: x: ttl: '-1' is not a whole number from 0 to 3600",
        "Corefile:4: x: unknown option 'tll', did you mean 'ttl'?",
        "Corefile:5: x: even: 3 is odd",
        "Corefile:6: x: fast: takes no arguments, has 1",
        "Corefile:7: x: except: takes at least 1 argument, has none",
    ] == wrong("x {\nttl -1\ntll 5\neven 3\nfast yes\nexcept\n}")


@pytest.mark.parametrize(
    ("text", "table", "expected"),
    [
        ("x {\nfast\neven 2\n}", Table, "Corefile:2: x: fast and even exclude each other: keep one"),
        ("x a..b", Table, "Corefile:2: x: 'a..b.' is not a domain name: a label is empty"),
        ("x y", NoOptions, "Corefile:2: x: takes no arguments, has 1"),
        ("x {\ny\n}", NoOptions, "Corefile:2: x: takes no block"),
        ("x {\nfast {\n}\n}", Table, None),
        ("x {\nttl 5 {\nmore\n}\n}", Table, "Corefile:3: x: ttl takes no block"),
    ],
)
def test_what_is_wrong(text: str, table: type, expected: str | None) -> None:
    if expected is None:
        assert of(text).fast
    else:
        assert [expected] == wrong(text, table)


def test_what_a_person_should_know() -> None:
    assert ["Corefile:3: x: old has no effect, the line may go"] == read(Table, directive("x {\nold\n}")).notes
    assert [] == read(Table, directive("x")).notes


@pytest.mark.parametrize(
    ("reader", "words", "expected"),
    [
        (options.word, "a", "a"),
        (options.words(1, 2), "a b", ("a", "b")),
        (options.number(0, 9), "2.5", 2.5),
        (options.duration(), "1m30s", 90.0),
        (options.choice("a", "b"), "b", "b"),
        (options.zones, "10.0.0.0/8", ("10.in-addr.arpa.",)),
        (options.fallthrough, "", (".",)),
        (options.fallthrough, "a", ("a.",)),
        (options.addresses, "10.0.0.1 0:0::1", ("10.0.0.1", "::1")),
        (options.networks, "10.1.2.3/8 ::1", (ip_network("10.0.0.0/8"), ip_network("::1"))),
        (options.listen(":8080"), "", ":8080"),
        (options.listen(":8080"), "localhost:1", "localhost:1"),
        (options.tls_files, "", ("", "", "")),
        (options.tls_files, "ca", ("", "", "ca")),
        (options.tls_files, "cert key", ("cert", "key", "")),
        (options.tls_files, "cert key ca", ("cert", "key", "ca")),
    ],
)
def test_readers(reader: Any, words: str, expected: Any) -> None:
    assert expected == reader(directive(f"x {{\ny {words}\n}}").block[0])


@pytest.mark.parametrize(
    ("reader", "words", "expected"),
    [
        (options.number(0, 9), "10", "'10' is not a number from 0 to 9"),
        (options.number(0, 9, "a rate"), "fast", "'fast' is not a rate"),
        (options.address, "a", "'a' is not an IP address"),
        (options.networks, "10.0.0.0/33", "'10.0.0.0/33' is not a prefix such as 10.0.0.0/8 or 2001:db8::/32"),
        (options.listen(":1"), "8080", "'8080' is not an address and port such as 127.0.0.1:8080, [::1]:8080 or :8080"),
    ],
)
def test_what_readers_refuse(reader: Any, words: str, expected: str) -> None:
    with pytest.raises((ValueError, CorefileError)) as caught:
        reader(directive(f"x {{\ny {words}\n}}").block[0])
    assert expected in str(caught.value)
