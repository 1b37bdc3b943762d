"""Names: text and wire, judged by dnspython; zones, parents, reverse names."""

from collections.abc import Callable

import dns.name
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns import names
from tests.support.steps import steps

LABELS = st.lists(st.binary(min_size=1, max_size=20), max_size=9)


@given(LABELS)
def test_text_and_wire_agree_with_dnspython(labels: list[bytes]) -> None:
    octets = b"".join(bytes((len(label),)) + label for label in labels).lower() + b"\0"
    text = names.text(octets)
    assert octets == names.wire(text)
    assert dns.name.from_text(text).to_wire() == octets
    assert names.wire(dns.name.Name([*(label.lower() for label in labels), b""]).to_text()) == octets
    assert len(names.labels(text)) == len(labels)


@given(LABELS)
def test_a_name_is_below_each_of_its_parents_and_no_other(labels: list[bytes]) -> None:
    name = names.text(b"".join(bytes((len(label),)) + label for label in labels).lower() + b"\0")
    above = name
    for _ in range(len(labels)):
        above = names.parent(above)
        assert names.is_below(name, above)
        assert name == above or not names.is_below(above, name)
    assert above == "."
    assert names.parent(".") == "."


@given(LABELS)
def test_the_way_up_is_that_of_the_parents(labels: list[bytes]) -> None:
    name = names.text(b"".join(bytes((len(label),)) + label for label in labels).lower() + b"\0")
    way = list(names.upwards(name))
    assert [name, "."] == [way[0], way[-1]]
    assert way[1:] == [names.parent(below) for below in way[:-1]]
    for zone in way:
        assert zone == names.closest(name, {zone})
    assert names.closest(name, {"x" * 64}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("@", "sub.example."), ("a", "a.sub.example."), ("a.", "a."), (r"a\.", r"a\..sub.example."), (r"a\\.", r"a\\."), (".", ".")],
)
def test_names_relative_to_an_origin(text: str, expected: str) -> None:
    assert expected == names.relative(text, "sub.example.")


@pytest.mark.parametrize(
    ("name", "zone", "expected"),
    [
        ("web.prod.", "prod.", True),
        ("prod.", "prod.", True),
        ("xprod.", "prod.", False),
        ("prod.", "web.prod.", False),
        ("web.prod.", ".", True),
        (r"web\.prod.", "prod.", False),
        (r"web\\.prod.", "prod.", True),
    ],
)
def test_is_below(name: str, zone: str, expected: bool) -> None:
    assert expected == names.is_below(name, zone)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Web.Prod", "web.prod."),
        ("", "."),
        (".", "."),
        ("a\\.b.c.", "a\\.b.c."),
        ("a\\032b", "a\\032b."),
        ("*.x", "*.x."),
    ],
)
def test_absolute(text: str, expected: str) -> None:
    assert expected == names.absolute(text)


@pytest.mark.parametrize("text", ["a..b", ".a", "a" * 64, "ä.de", "\\3", "\\999", "x\\", ".".join(["a" * 60] * 5)])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError):
        names.absolute(text)


def test_closest_is_the_longest_zone() -> None:
    zones = {"local.", "cluster.local.", "."}
    assert "cluster.local." == names.closest("web.svc.cluster.local.", zones)
    assert "local." == names.closest("xcluster.local.", zones)
    assert "." == names.closest("example.org.", zones)
    assert names.closest("example.org.", {"local."}) is None


@given(st.ip_addresses().filter(lambda a: getattr(a, "ipv4_mapped", None) is None))
def test_reverse_names_agree_with_dnspython(address: object) -> None:
    packed = names.packed(str(address))
    assert dns.reversename.from_address(str(address)).to_text() == names.reverse_name(packed)
    assert (packed, len(packed) * 8) == names.reverse_prefix(names.reverse_name(packed))
    assert packed == names.undashed(names.dashed(packed))
    assert str(address) == names.unpacked(packed)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("10.in-addr.arpa.", (b"\x0a\0\0\0", 8)),
        ("in-addr.arpa.", (b"\0\0\0\0", 0)),
        ("1.0.10.in-addr.arpa.", (b"\x0a\0\x01\0", 24)),
        ("01.10.in-addr.arpa.", None),
        ("256.in-addr.arpa.", None),
        ("x.10.in-addr.arpa.", None),
        ("5.4.3.2.1.in-addr.arpa.", None),
        ("d.f.ip6.arpa.", (b"\xfd" + bytes(15), 8)),
        ("fd.ip6.arpa.", None),
        ("example.org.", None),
    ],
)
def test_reverse_prefix(name: str, expected: tuple[bytes, int] | None) -> None:
    assert expected == names.reverse_prefix(name)


@pytest.mark.parametrize("label", ["", "1-2-3", "1-2-3-4-5", "a-b-c-d", "1-2-3-256", "web", "\0", "ä", "-1-2-3-4"])
def test_labels_that_are_no_addresses(label: str) -> None:
    assert names.undashed(label) is None


@pytest.mark.parametrize("text", ["", "1.2.3", "10.0.0.256", "fd00::g", "web", "1.2.3.4 ", "ä"])
def test_texts_that_are_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        names.packed(text)


ESCAPED = "".join(f"\\{octet:03d}." for octet in range(1, 128)).replace(r"\046", r"\.")  # labels of an octet each
LONG = "\\000" * 63 + "." + "\\\\" * 63 + "." + r"\." * 63 + "." + "\\255" * 60 + "."


@pytest.mark.parametrize("name", [ESCAPED, LONG, "a." * 127, "1." * 100 + "in-addr.arpa.", "a." * 100 + "ip6.arpa.", "\\\\" * 63])
@pytest.mark.parametrize(
    "walk",
    [names.labels, names.parent, names.wire, names.absolute, names.reverse_prefix, lambda name: list(names.upwards(name)),
     lambda name: names.closest(name, {"x."}), lambda name: names.is_below(name, "x."), lambda name: names.relative(name, "x."),
     lambda name: names.text(names.wire(name))],
    ids=["labels", "parent", "wire", "absolute", "reverse_prefix", "upwards", "closest", "is_below", "relative", "text"],
)  # fmt: skip
def test_no_name_takes_more_than_some_steps_an_octet(name: str, walk: Callable[[str], object]) -> None:
    assert steps(lambda: walk(name), "kdns/dns/names.py") <= 10 * len(names.wire(name)) + 20


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (r"a\.b.c.", [r"a\.b", "c"]),
        (r"a\\.b.", [r"a\\", "b"]),
        (r"\046.x", [r"\046", "x"]),
        (r"a\.b..c.", [r"a\.b", "", "c"]),
        ("a\\\n.b.", ["a\\\n", "b"]),
        ("a.b\\", ["a", "b\\"]),
        (".", []),
        ("a.b", ["a", "b"]),
    ],
)
def test_labels(name: str, expected: list[str]) -> None:
    assert expected == names.labels(name)


def test_what_stands_above_a_name_of_escaped_labels() -> None:
    above = list(names.upwards(r"a\.b.\\.c."))
    assert [r"a\.b.\\.c.", r"\\.c.", "c.", "."] == above
    assert [*above[1:], "."] == list(map(names.parent, above))
