"""Zone files, judged by dnspython's reader: the same records; and what is wrong with one, by file and line."""

import random
from collections.abc import Callable

import dns.rdatatype
import dns.zone
import pytest

from kdns.dns import master, names
from kdns.dns.response import RRset
from kdns.dns.types import SOA
from kdns.dns.zone import Zone
from kdns.errors import FileError, ZoneFileError

TOP = "$TTL 300\n@ SOA ns host 1 7200 1800 86400 60\n"


def reader_of(files: dict[str, str]) -> Callable[[str], str]:
    def text_of(path: str) -> str:
        if path not in files:
            raise FileError(path, "no such file or directory", missing=True)
        return files[path]

    return text_of


def read(text: str, origin: str = "example.", **more: str) -> master.Master:
    return master.read("zones/db.example", origin, reader_of({"zones/db.example": text} | more))


def records(found: master.Master) -> set[tuple[str, int, int, bytes]]:
    return {(name, type, ttl, octets) for name, type, ttl, rdata in found.rrsets for octets in rdata}


def by_dnspython(text: str, origin: str) -> set[tuple[str, int, int, bytes]]:
    zone = dns.zone.from_text(text, origin, relativize=False, check_origin=False)
    return {(names.absolute(name.to_text()), rdata.rdtype, ttl, rdata.to_wire()) for name, ttl, rdata in zone.iterate_rdatas()}


TEXTS = [
    "$ORIGIN example.\n@ 3600 IN SOA ns host ( 1 ; serial\n 2h\n 30m ) 1w 60\n  NS ns\n  NS ns.other.\nns A 192.0.2.1\n",
    TOP + 'a TXT "semi;colon" plain "two words" "(not"\nb TXT ( "one"\n "two" ) ; a comment\n',
    TOP + "$ORIGIN sub\nwww A 192.0.2.1\n$ORIGIN deep.sub.example.\nwww A 192.0.2.2\n@ A 192.0.2.3\n",
    TOP + "a 10 IN A 192.0.2.1\nb IN 20 A 192.0.2.2\nc in a 192.0.2.3\n30 A 192.0.2.4\nin A 192.0.2.5\n",
    TOP + "$TTL 1h30m\na A 192.0.2.1\n$ttl 5\nb A 192.0.2.1\n",
    "@ SOA ns host 1 7200 1800 86400 60\na A 192.0.2.1\n",
    "@ 9 SOA ns host 1 7200 1800 86400 60\na A 192.0.2.1\nb 7 A 192.0.2.1\nc A 192.0.2.1\n",
    TOP + "*.w A 192.0.2.1\nx\\.y A 192.0.2.1\n\\042 A 192.0.2.1\n_sip._udp SRV 0 0 5060 sip\nUPPER.Example. A 192.0.2.1\n",
    TOP + 'h HTTPS 1 . alpn="h2,h3" port=443\ns SVCB 0 h\nt TYPE65280 \\# 2 00ff\nc CAA 0 issue "ca.example"\nd DNAME else.\n',
    TOP + "\n   \n; nothing\n\t; nothing\na\tA\t192.0.2.1 ; end\n \t AAAA 2001:db8::1",
    (TOP + "a A 192.0.2.1\n A 192.0.2.2\n").replace("\n", "\r\n"),
    TOP + "$ORIGIN .\nexample NS ns.example\nns.example A 192.0.2.1\n",
    "example. 5 IN SOA ns host 1 2 3 4 5\na.example. 5 IN A 192.0.2.1\nexample. 5 IN SOA ns host 1 2 3 4 5\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_records_are_those_that_dnspython_reads(text: str) -> None:
    found = read(text)
    assert by_dnspython(text, "example.") == records(found)
    assert () == found.remarks


def test_many_records_in_any_order_of_words_and_lines() -> None:
    chance = random.Random(5)
    lines = []
    for i in range(300):
        ttl, cls = chance.choice(["", f"{i} "]), chance.choice(["", "IN "])
        middle = chance.choice([ttl + cls, cls + ttl])
        rdata = chance.choice([f"A 192.0.2.{i % 256}", f"MX {i} mail{i}", f'TXT "{i} {i}" ; {i}', f"TXT (\n {i}\n)", "CNAME @"])
        alone = rdata.startswith("CNAME") or "CNAME" in "".join(lines[-1:])
        owner = f"n{i}" if alone else chance.choice([f"n{i}", " "])
        lines.append(f"{owner if lines else 'n'} {middle}{rdata}")
    text = TOP + "\n".join(lines)
    zone = Zone("example.", read(text).rrsets, "db.example")  # one TTL for an RRset, as dnspython has it
    assert by_dnspython(text, "example.") == records(master.Master(list(zone.rrsets()), (), ()))


def test_an_included_file_stands_beside_its_own_and_gives_nothing_back() -> None:
    found = read(
        TOP + "a A 192.0.2.1\n$INCLUDE more/sub.db sub\n A 192.0.2.2\nb A 192.0.2.3\n$INCLUDE same.db\n",
        **{"zones/more/sub.db": "a A 192.0.2.4\n$INCLUDE deep.db\n$ORIGIN else.example.\n",
           "zones/more/deep.db": "deep A 192.0.2.5", "zones/same.db": "c A 192.0.2.6"},
    )  # fmt: skip
    owners = {(name, octets[-1]) for name, type, _, octets in records(found) if type != SOA}
    expected = {("a.example.", 1), ("a.example.", 2), ("b.example.", 3), ("a.sub.example.", 4), ("deep.sub.example.", 5),
                ("c.example.", 6)}  # fmt: skip
    assert expected == owners
    assert ("zones/db.example", "zones/more/sub.db", "zones/more/deep.db", "zones/same.db") == found.files


WRONG = [
    ("a A 10.0.0", "zones/db.example:3: A: '10.0.0' is not an IP address"),
    ("a A", "zones/db.example:3: A: '' is not an IP address"),
    ("a", "zones/db.example:3: the record of a.example. has no type"),
    ("a 300 IN", "zones/db.example:3: the record of a.example. has no type"),
    ("a NOSUCH x", "zones/db.example:3: unknown type 'NOSUCH'"),
    ("a TYPE70000 x", "zones/db.example:3: unknown type 'TYPE70000'"),
    ("a ANY x", "zones/db.example:3: no record is of type ANY"),
    ("a OPT x", "zones/db.example:3: no record is of type OPT"),
    ("a CH TXT x", "zones/db.example:3: class CH is not served: only IN is"),
    ("a..b A 192.0.2.1", "zones/db.example:3: 'a..b.example.' is not a domain name: a label is empty"),
    ("ü A 192.0.2.1", "zones/db.example:3: 'ü.example.' is not a domain name: what is not ASCII is written \\DDD"),
    ("\n\na TXT (\n1 2", "zones/db.example:5: '(' without ')'"),
    ("a TXT x )", "zones/db.example:3: ')' without '('"),
    ('\na TXT "x\ny"', "zones/db.example:4: a string that does not end on its line"),
    ("a TXT x\\", "zones/db.example:3: a backslash at the end of a line"),
    ("$GENERATE 1-9 a$ A 192.0.2.$", "zones/db.example:3: $GENERATE is not served: write its records out"),
    ("$TTL", "zones/db.example:3: $TTL has 0 words after it"),
    ("$TTL x", "zones/db.example:3: 'x' is not a time to live in seconds, such as 300 or 1h"),
    ("$TTL 2147483648", "zones/db.example:3: '2147483648' is not a time to live in seconds, such as 300 or 1h"),
    ("$ORIGIN a b", "zones/db.example:3: $ORIGIN has 2 words after it"),
    ("$UNICODE 2008", "zones/db.example:3: unknown word '$UNICODE': there are $TTL, $ORIGIN and $INCLUDE"),
    ("$INCLUDE none.db", "zones/db.example:3: none.db: no such file or directory"),
    ("$INCLUDE db.example", "zones/db.example:3: db.example is included 10 deep: does it include itself?"),
    ("$INCLUDE bad.db", "zones/bad.db:2: A: 'x' is not an IP address"),
    ("@ SOA ns host 2 7200 1800 86400 60", "zones/db.example:3: a second SOA record: a zone has one"),
    ("a SOA ns host 2 7200 1800 86400 60", "zones/db.example:3: the SOA record of a.example. is not that of the zone example."),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "why"), WRONG)
def test_what_is_wrong_is_told_with_file_and_line(lines: str, why: str) -> None:
    with pytest.raises(ZoneFileError) as caught:
        read(TOP + lines, **{"zones/bad.db": "a A 192.0.2.1\nb A x"})
    assert why == str(caught.value)


def test_what_is_wrong_with_a_file_as_a_whole() -> None:
    for text, why in (
        ("a 5 A 192.0.2.1", "zones/db.example: has no SOA record at example."),
        ("", "zones/db.example: has no SOA record at example."),
        (" A 192.0.2.1", "zones/db.example:1: the first record has no owner name"),
        ("a A 192.0.2.1", "zones/db.example:1: the record has no TTL: state one, or put $TTL above it"),
    ):
        with pytest.raises(ZoneFileError) as caught:
            read(text)
        assert why == str(caught.value)
    with pytest.raises(FileError, match=r"^cannot read none: no such file or directory$"):
        master.read("none", "example.", reader_of({}))


def test_what_is_amiss_and_served_is_told() -> None:
    aliases = "a CNAME b\na A 192.0.2.1\n@ CNAME b\nb CNAME c\nb CNAME c\n"
    found = read(TOP + "www.example.net. A 192.0.2.1\nx.example.net. NS y\n" + aliases)
    expected = {
        "zones/db.example:3: www.example.net. is not in the zone example. and is left out, with 1 more",
        "zones/db.example:5: a.example. is an alias and has other records: they are left out",
        "zones/db.example:7: example. is an alias and has other records: the alias is left out",
    }
    assert expected == set(found.remarks)


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 40 + "x", "1s" * 5000, '"' * 5001, "(" * 5000, "\\" * 5001])
def test_odd_words_end_in_one_line(text: str) -> None:
    with pytest.raises(ZoneFileError) as caught:
        read(f"{TOP}a {text} A x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.example. 60 IN A 192.0.2.1", RRset("a.example.", 1, 60, (b"\xc0\x00\x02\x01",))),
        (" A.example IN 1m A 192.0.2.1 ; so", RRset("a.example.", 1, 60, (b"\xc0\x00\x02\x01",))),
        ("a CH A 192.0.2.1", RRset("a.", 1, 3600, (b"\xc0\x00\x02\x01",))),
        ("a.example. 60 CNAME b", RRset("a.example.", 5, 60, (b"\x01b\x00",))),
        (". 5 SOA a b (1 2\n3 4 5)", RRset(".", 6, 5, (b"\x01a\0\x01b\0" + b"".join(n.to_bytes(4, "big") for n in range(1, 6)),))),
    ],
)
def test_one_record(text: str, expected: RRset) -> None:
    assert expected == master.record(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "'' is not one record"),
        ("a A 192.0.2.1\nb A 192.0.2.2", "'a A 192.0.2.1\nb A 192.0.2.2' is not one record"),
        ("a.example. 60 IN", "'a.example. 60 IN' has no type"),
        ("a.example. 60 IN IN A 192.0.2.1", "unknown type 'IN'"),
        ("a.example. A 10.0.0", "'10.0.0' is not an IP address"),
        ("a..example. A 10.0.0.1", "'a..example.' is not a domain name: a label is empty"),
        ("a ANY x", "no record is of type ANY"),
        ('a TXT "x', "a string that does not end on its line"),
    ],
)
def test_what_is_not_one_record(text: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        master.record(text)
    assert expected == str(caught.value)
