import asyncio
import json
import re
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import pytest

from kdns.core.lines import stdout
from kdns.core.plugin import Exchange
from kdns.core.served import Served
from kdns.dns import names
from kdns.dns.query import Address, Edns, Query, Transport
from kdns.dns.response import ExtendedError, Made, Response, RRset
from kdns.dns.types import A, CNAME, MX, NXDOMAIN, RA, REFUSED, SERVFAIL, SOA, TXT
from kdns.plugins import manual
from kdns.plugins.log import words
from kdns.plugins.log.formats import COMMON, Format
from tests.support.configured import ask, CLIENT, generation_of, in_block, listener_of, LOCAL

WEB = RRset("web.prod.svc.cluster.local.", A, 5, (names.packed("10.96.0.1"),))
FOUND = Response(answer=(WEB,), made=Made("kubernetes"), stable_for=60)
APEX = RRset("cluster.local.", SOA, 5, (b"\0\0" + bytes(20),))
NODATA = Response(authority=(APEX,))
MISSING = Response(rcode=NXDOMAIN, authority=(APEX,))


def exchange(**fields: Any) -> Exchange:
    """The exchange of the example in the manual; what matters otherwise is given."""
    query = Query("web.prod.svc.cluster.local.", A)
    query.wire = (4711).to_bytes(2, "big") + bytes(46)
    query.client, query.local = fields.pop("client", CLIENT), LOCAL
    query.transport = fields.pop("transport", Transport.UDP)
    query.edns = fields.pop("edns", None)
    return Exchange(query, fields.pop("response", FOUND), fields.pop("reply", b"\x85\x00" + bytes(92)), 0.000123)


def line_of(form: str, exchange: Exchange) -> str:
    """The line of an exchange in a format."""
    query, size = exchange.query, len(exchange.reply) + 2
    served = Served(query.wire, query.client, query.local, query.transport, size, exchange.seconds)
    format = Format(form, lambda query, name: None)
    return format.filled(format.text_of(exchange), served, words.room_of(exchange))


def lines_of(block: str, answer: Response, tmp_path: Path, *questions: tuple[str, str], **options: Any) -> list[str]:
    """What *log* writes of some questions."""

    async def run() -> None:
        generation = generation_of(in_block(block), answer)
        for name, type in questions:
            await ask(generation, name, type, **options)
        await generation.close()

    return written(run, tmp_path)


def written(run: Callable[[], Coroutine[Any, Any, None]], tmp_path: Path) -> list[str]:
    """What is written to standard output meanwhile."""
    with (tmp_path / "out").open("w+") as out, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        asyncio.run(run())
        stdout().end()
        out.seek(0)
        return out.read().splitlines()


def test_the_default_line() -> None:
    question = '"A IN web.prod.svc.cluster.local. udp 48 false 1232"'
    expected = f"[INFO] 10.244.0.7:41234 - 4711 {question} NOERROR qr,aa,rd 96 0.000123s"
    assert expected == line_of(COMMON, exchange(edns=Edns(1232, False)))


@pytest.mark.parametrize(
    ("form", "expected", "fields"),
    [
        ("{remote}:{port} {local}", "[fd00::7]:53 10.96.0.10", {"client": Address("fd00::7", 53)}),
        ("{>bufsize} {bufsize} {do}", "512 512 false", {}),
        ("{>bufsize} {proto}", "65535 tcp", {"transport": Transport.TCP}),
        ("{>id} {id} {>opcode} {class}", "4711 4711 0 IN", {}),
        ("{rflags}", "qr,aa,tc,rd,ra,ad,cd", {"reply": b"\x87\xb0"}),
        ("{/log/class} {/log/type} {/geoip/country}", "success NOERROR -", {}),
        ("{/ede}", "-", {}),
        ("{/ede} {rcode}", "no namespace NXDOMAIN", {"response": Response(rcode=NXDOMAIN, error=ExtendedError(0, "no namespace"))}),
        ("{/log/class} {/log/type} {rcode}", "denial NODATA NOERROR", {"response": NODATA}),
        ("{/log/class} {/log/type} {rcode}", "denial NXDOMAIN NXDOMAIN", {"response": MISSING}),
        ("{/log/class} {rcode}", "error REFUSED", {"response": Response(rcode=REFUSED)}),
        ("{rcode}", "11", {"response": Response(rcode=11)}),
        ("{unknown} { {type} } {", "{unknown} { A } {", {}),
        ("{combined}", None, {}),
    ],
)
def test_the_words_of_a_format(form: str, expected: str | None, fields: dict[str, Any]) -> None:
    if expected is None:
        expected = line_of(COMMON, exchange()).removeprefix("[INFO] ") + ' "0"'
    assert "[INFO] " + expected == line_of(form, exchange(**fields))


@pytest.mark.parametrize(
    ("block", "answer", "expected"),
    [
        ('log . "{name}"', FOUND, ["a.example.org.", "b.example.com."]),
        ('log example.org "{name}"', FOUND, ["a.example.org."]),
        ('log "{name}"', FOUND, ["a.example.org.", "b.example.com."]),
        ('log . "{name}" {\nclass denial error\n}', FOUND, []),
        ('log . "{name}" {\nclass denial\nclass error\n}', MISSING, ["a.example.org.", "b.example.com."]),
        ('log . "{name}" {\nclass error\n}', Response(rcode=SERVFAIL), ["a.example.org.", "b.example.com."]),
        ('log . "{name}" {\nclass all error\n}', FOUND, ["a.example.org.", "b.example.com."]),
        (
            'log example.org "1 {name}" {\nclass error\n}\nlog . "2 {name}"',
            FOUND,
            ["2 b.example.com."],
        ),
    ],
)
def test_which_queries_are_logged(block: str, answer: Response, expected: list[str], tmp_path: Path) -> None:
    lines = lines_of(block, answer, tmp_path, ("a.example.org", "A"), ("b.EXAMPLE.com", "AAAA"))
    assert ["[INFO] " + line for line in expected] == lines


def test_every_query_of_a_stable_answer_is_seen(tmp_path: Path) -> None:
    question = ("web.prod.svc.cluster.local", "A")
    assert len(lines_of("log", FOUND, tmp_path, question, question)) == 2


def test_the_memo_answers_what_is_logged(tmp_path: Path) -> None:
    """A hit has a line of its own: who asks, the id, sizes and the transport are its, whatever else is the reply's."""
    asked = []

    def found(query: Query) -> Response:
        asked.append(query.name)
        return FOUND

    form = "{remote}:{port} {local} {>id} {name} {proto} {size} {>bufsize} {rcode} {>rflags} {rsize} 100%s {/log/type}"
    wire = dns.message.make_query("web.prod.svc.cluster.local", "A", id=7, use_edns=0, payload=1232).to_wire()
    cookie = dns.edns.GenericOption(10, bytes(8))
    other = dns.message.make_query("WEB.prod.svc.cluster.local", "A", id=8, payload=1232, options=[cookie]).to_wire()
    sockaddr = b"\x0a\0" + (53).to_bytes(2, "big") + bytes(4) + names.packed("fd00::7") + bytes(4)

    async def run() -> None:
        generation = generation_of(in_block(f'log . "{form}"'), found)
        listener = listener_of(generation)
        udp, tcp = (wire, CLIENT, Transport.UDP), (wire, sockaddr, Transport.TCP)
        for octets, client, transport in (udp, tcp, *[(other, CLIENT, Transport.UDP)] * 2):
            if listener.recall(octets, client, LOCAL, transport) is None:
                await listener.reply(octets, client, LOCAL, transport)
        await generation.close()

    lines = written(run, tmp_path)
    rest = "NOERROR qr,aa,rd 71 100%s NOERROR"
    assert [
        f"[INFO] 10.244.0.7:41234 10.96.0.10 7 web.prod.svc.cluster.local. udp 55 1232 {rest}",
        f"[INFO] [fd00::7]:53 10.96.0.10 7 web.prod.svc.cluster.local. tcp 55 65535 {rest}",
        *[f"[INFO] 10.244.0.7:41234 10.96.0.10 8 web.prod.svc.cluster.local. udp 67 1232 {rest}"] * 2,
    ] == lines
    assert 2 == len(asked)


def test_truncation_is_seen(tmp_path: Path) -> None:
    many = Response(answer=(WEB._replace(rdata=tuple(bytes((10, 0, 0, n)) for n in range(100))),))
    [line] = lines_of("log", many, tmp_path, ("web.prod.svc.cluster.local", "A"))
    assert '"A IN web.prod.svc.cluster.local. udp 44 false 512" NOERROR qr,aa,tc,rd 508 ' in line


def test_json(tmp_path: Path) -> None:
    answer = Response(
        answer=(
            RRset("a.example.org.", CNAME, 30, (names.wire("web.prod.svc.cluster.local."),)),
            WEB,
            RRset("m.", MX, 7, (b"\0\x0a" + names.wire("mx.example.org."),)),
            RRset("t.", TXT, 7, (b"\x05hello",)),
            RRset("u.", 65280, 7, (b"\1\2",)),
        ),
        flags=RA,
        authoritative=False,
        made=Made("forward", "10.0.0.1:53", "miss"),
        error=ExtendedError(3, "stale"),
    )
    [line] = lines_of("log . {\nformat json\n}", answer, tmp_path, ("A.example.org", "A"), use_edns=0, payload=1232)
    fields = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("time"))
    assert 0 < fields.pop("duration_seconds") < 5
    assert fields.pop("response_size") > 100
    assert {
        "level": "INFO", "plugin": "log", "client_ip": "10.244.0.7", "client_port": 41234, "qname": "a.example.org.",
        "qtype": "A", "qclass": "IN", "protocol": "udp", "id": 4711, "opcode": 0, "request_size": 42,
        "dnssec_ok": False, "bufsize": 1232, "rcode": "NOERROR", "flags": "qr,rd,ra", "answered_by": "forward",
        "upstream": "10.0.0.1:53", "cache": "miss", "error": "stale",
        "answers": [
            "a.example.org. 30 IN CNAME web.prod.svc.cluster.local.",
            "web.prod.svc.cluster.local. 5 IN A 10.96.0.1",
            "m. 7 IN MX 10 mx.example.org.",
            't. 7 IN TXT "hello"',
            "u. 7 IN TYPE65280 \\# 2 0102",
        ],
    } == fields  # fmt: skip


def test_the_manual_names_every_word() -> None:
    text = manual("log")
    every = [*words.FIXED, *words.OF_REPLY, *words.OF_QUERY, *words.SELDOM]
    assert [] == [word for word in every if f"{{{word}}}" not in text and f"{{>{word}}}" not in text]
