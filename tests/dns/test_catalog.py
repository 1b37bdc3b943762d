"""Catalog zones: which zones one lists (RFC 9432)."""

import pytest

from kdns.dns import master
from kdns.dns.catalog import Member, members
from kdns.dns.zone import Zone

TOP = "$TTL 0\n@ SOA invalid. invalid. 1 2 3 4 5\n@ NS invalid.\n"


def catalog(text: str) -> Zone:
    return Zone("c.", master.read("c", "c.", lambda path: TOP + text).rrsets, "c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a.zones PTR One.Test.\nb.zones PTR two.test.\n", {"one.test.": Member("a"), "two.test.": Member("b")}),
        ("a.zones PTR one.test.\ncoo.a.zones PTR d.\n", {"one.test.": Member("a", "d.")}),
        ("a.zones PTR one.test.\ngroup.a.zones TXT x\nx.ext.a.zones PTR y.\n", {"one.test.": Member("a")}),
        ("a.zones PTR one.test.\na.zones PTR two.test.\n", {}),  # of one label there is one member (4.1)
        ("a.zones A 192.0.2.1\nzones PTR x.\nx PTR y.\n", {}),
        (r"a\.b.zones PTR one.test.", {"one.test.": Member(r"a\.b")}),
    ],
)
def test_the_members(text: str, expected: dict[str, Member]) -> None:
    assert expected == members(catalog('version TXT "2"\n' + text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a.zones PTR one.test.", 'its version.c. TXT record is not one "2"'),
        ('version TXT "1"', 'its version.c. TXT record is not one "2"'),
        ('version TXT "1"\nversion TXT "2"', 'its version.c. TXT record is not one "2"'),
        ('version TXT "2"\na.zones PTR one.test.\nb.zones PTR one.test.', "it has one.test. twice"),
        ('version TXT "2"\n' + "".join(f"m{i}.zones PTR z{i}.\n" for i in range(20_001)), "it has 20001 members, more than 20000"),
    ],
)
def test_what_is_no_catalog(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        members(catalog(text))
    assert why == str(caught.value)
