"""The plain query of one: what has the same answer has the same, what may have another has another or none."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns.plain import _OPTS, is_of, MOST_OPTS, plain, respelt
from kdns.dns.query import decode
from kdns.dns.types import TYPES
from kdns.errors import FormatError

NAME = b"\3web\4prod\0"
HEADER = struct.Struct("!5H")
COOKIE = b"\0\x0a\0\x08" + b"c" * 8
SUBNET = b"\0\x08\0\x04\0\1\0\0"


def query(flags: int = 0x0100, name: bytes = NAME, type: int = 1, tail: bytes = b"", counts: tuple[int, ...] = (1, 0, 0)) -> bytes:
    """A query without its id; with something behind the question that counts as one additional record."""
    return HEADER.pack(flags, *counts, 1 if tail else 0) + name + struct.pack("!HH", type, 1) + tail


def opt(size: int = 1232, flags: int = 0, options: bytes = b"", version: int = 0) -> bytes:
    return b"\0" + struct.pack("!HHBBHH", 41, size, 0, version, flags, len(options)) + options


@pytest.mark.parametrize(
    ("what", "asked", "expected"),
    [
        ("plain", query(), query()),
        ("AD and CD", query(0x0130), query(0x0130)),
        ("no recursion", query(0), query(0)),
        ("EDNS", query(tail=opt()), query(tail=opt())),
        ("DO", query(tail=opt(flags=0x8000)), query(tail=opt(flags=0x8000))),
        ("a cookie", query(tail=opt(options=COOKIE)), query(tail=opt())),
        ("many options", query(tail=opt(4096, 0x8000, SUBNET + COOKIE)), query(tail=opt(4096, 0x8000))),
        ("an unknown EDNS flag", query(tail=opt(flags=0x4001)), query(tail=opt())),
        ("a size below the least", query(tail=opt(0)), query(tail=opt(512))),
        ("the Z flag, AA, TC, RA, a code", query(0x07CF), query()),
        ("random case", query(name=b"\3wEb\4prod\0"), query(name=b"\3WEB\4PROD\0")),
        ("capitals", query(name=b"\3WEB\4PROD\0"), query(name=b"\3WEB\4PROD\0")),
        ("types are no letters", query(type=0x4161), query(type=0x4161)),
        ("the root", query(name=b"\0"), query(name=b"\0")),
    ],
)
def test_what_has_a_plain_query(what: str, asked: bytes, expected: bytes) -> None:
    assert expected == plain(asked)


@pytest.mark.parametrize(
    ("what", "asked"),
    [
        ("nothing", b""),
        ("cut short", query()[:-1]),
        ("cut short in the name", query()[:-5]),
        ("cut short in the name, with EDNS", query(tail=opt())[:14]),
        ("cut short before the name", query()[:10]),
        ("cut short in the header", query()[:1]),
        ("cut short in the type, with EDNS", query(tail=opt())[: len(query()) - 3]),
        ("an OPT record that is cut short", query(tail=opt()[:-1])),
        ("no question", HEADER.pack(0x0100, 0, 0, 0, 0)),
        ("a reply", query(0x8100)),
        ("NOTIFY", query(0x2000)),
        ("octets after the end", query() + b"x"),
        ("octets after the options", query(tail=opt(options=COOKIE) + b"x")),
        ("options cut short", query(tail=opt(options=COOKIE)[:-1])),
        ("octets after EDNS", query(tail=opt() + b"x")),
        ("EDNS cut short", query(tail=opt(options=COOKIE)[:-1])),
        ("EDNS 1", query(tail=opt(version=1))),
        ("another record than EDNS", query(tail=b"\0\0\x01\0\1\0\0\0\0\0\0")),
        ("a signature", query(counts=(1, 0, 0))[:8] + b"\0\2" + query(tail=opt())[10:] + b"\0\0\xfa\0\xff\0\0\0\0\0\0"),
        ("an answer", query(counts=(1, 1, 0))),
        ("more than is everyday", query(tail=opt(options=b"\0\x0c\1\xf4" + bytes(500)))),
    ],
)
def test_what_has_none(what: str, asked: bytes) -> None:
    assert None is plain(asked)


@pytest.mark.parametrize(
    ("options", "expected"),
    [(b"", True), (COOKIE, True), (SUBNET, False), (COOKIE + SUBNET, False), (COOKIE + SUBNET[:-1], False), (COOKIE[:3], False)],
)
def test_options_that_somebody_heeds(options: bytes, expected: bool) -> None:
    assert expected == (plain(query(tail=opt(options=options)), frozenset((8,))) is not None)


def test_the_question_is_spelt_as_it_was_asked() -> None:
    asked = query(name=b"\3wEb\4pRod\0")
    known = plain(asked)
    assert known is not None
    rest = b"\xc0\x0c" + bytes(9)
    assert asked + rest == respelt(known + rest, asked)


def test_a_label_may_have_an_octet_of_zero_inside() -> None:
    """What is taken for the rest of the query has to fit by chance; then it is no query of what was decoded."""
    label = b"a\0" + struct.pack("!HH", 1, 1) + opt(options=bytes(20))
    asked = query(name=bytes((len(label),)) + label + b"\0")[:8] + b"\0\1" + bytes((len(label),)) + label + b"\0\0\1\0\1" + opt()
    made = plain(asked[:10] + asked[10 : 10 + 1 + len(label)])
    assert made is not None
    assert not is_of(made, bytes((len(label),)) + label + b"\0\0\1\0\1", True)


names = st.lists(st.binary(min_size=1, max_size=5), max_size=3).map(
    lambda labels: b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
)
queries = st.builds(
    query,
    st.integers(0, 0xFFFF).map(lambda flags: flags & 0x07FF),
    names,
    st.sampled_from(sorted(TYPES)),
    st.just(b"") | st.builds(opt, st.sampled_from((0, 512, 1232, 4096)), st.sampled_from((0, 0x8000)), st.binary(max_size=12)),
)


@given(queries)
def test_two_that_have_the_same_plain_query_are_decoded_alike(asked: bytes) -> None:
    known = plain(asked)
    try:
        one = decode(b"\0\1" + asked)
    except FormatError:
        return
    assert one is not None
    if known is None or not is_of(known, one.question, one.edns is not None):
        return
    other = decode(b"\0\1" + known)
    assert other is not None
    assert (one.name, one.type, one.cls, one.do, one.takes()) == (other.name, other.type, other.cls, other.do, other.takes())
    assert (one.edns is None) == (other.edns is None)
    assert one.flags & 0x0130 == other.flags
    assert known == plain(known)


def test_opt_records_that_are_remembered_are_bounded() -> None:
    for size in range(MOST_OPTS + 10):
        assert query(tail=opt(size + 512)) == plain(query(tail=opt(size + 512, options=COOKIE)))
    assert len(_OPTS) <= MOST_OPTS
