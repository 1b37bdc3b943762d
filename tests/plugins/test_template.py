"""*template*: documented examples, what falls through, what fails."""

import asyncio
import logging
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from kdns.core.generation import Generation
from kdns.dns.query import Address, Query
from kdns.dns.response import Response, RRset
from kdns.dns.types import A
from tests.support.configured import ask, generation_of, in_block, listener_of, refused


def elsewhere(query: Query) -> Response:
    """What the plugins after it would say."""
    rdata = b"\x05g.org" if query.type == 16 else b"\x7f\x7f\x7f\x7f"
    return Response(answer=(RRset(query.name, query.type if query.type == 16 else A, 1, (rdata,)),), authoritative=False)


def said(generation: Generation, name: str, type: str = "A", **options: Any) -> str:
    """All sections in a line, or the code alone; with the extended error."""
    reply = asyncio.run(ask(generation, name, type, use_edns=0, **options))
    sections = [" ".join(text for rrset in s for text in rrset.to_text().splitlines()) for s in reply.sections[1:]]
    text = " / ".join(filter(None, sections))
    if "127.127.127.127" in text:
        return "elsewhere"
    code = "" if reply.rcode() == 0 else dns.rcode.to_text(reply.rcode())
    assert not reply.flags & dns.flags.RA  # nobody recurses here
    assert bool(reply.flags & dns.flags.AA) == (reply.rcode() != dns.rcode.SERVFAIL and not is_unanswered(reply))
    return " ".join(filter(None, (code, text, *(option.to_text() for option in reply.options)))) or "NODATA"


def is_unanswered(reply: dns.message.Message) -> bool:
    return any(option.to_text().startswith("EDE 20") for option in reply.options)


EVERYTHING = "template ANY ANY {\nrcode NXDOMAIN\n}"
INVALID = """template ANY ANY invalid {
    rcode NXDOMAIN
    authority "invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)"
    ederror 21 "Blocked according to RFC2606"
}"""
SOA = "SOA ns.invalid. hostmaster.invalid. 1 60 60 60 60"
WHY = "EDE 21 (Not Supported): Blocked according to RFC2606"
NOBODY = "EDE 20 (Not Authoritative): no plugin here answers for this name"
COMPLETION = r"""template IN ANY example.com {
    match "example\.com\.(dc1\.example\.com\.)$"
    rcode NXDOMAIN
    authority "{{ index .Match 1 }} 60 IN SOA ns.{{ index .Match 1 }} hostmaster.{{ index .Match 1 }} (1 60 60 60 60)"
    fallthrough
}"""
EXAMPLE = """template IN A example {
    match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$
    answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"
    fallthrough
}
template IN PTR in-addr.arpa {
    match ^(?P<d>[0-9]*)[.](?P<c>[0-9]*)[.](?P<b>[0-9]*)[.](?P<a>[0-9]*)[.]in-addr[.]arpa[.]$
    answer "{{ .Name }} 60 IN PTR ip-{{ .Group.a }}-{{ .Group.b }}-{{ .Group.c }}-{{ .Group.d }}.example."
}"""
SEVERAL = """template IN A example {
    match "^ip-(?P<a>10)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]dc[.]example[.]$"
    match "^(?P<a>[0-9]*)[.](?P<b>[0-9]*)[.](?P<c>[0-9]*)[.](?P<d>[0-9]*)[.]ext[.]example[.]$"
    answer "{{ .Name }} 60 IN A {{ .Group.a}}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"
    fallthrough
}"""
MX = """template IN MX example {
    match ^ip-10-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$
    answer "{{ .Name }} 60 IN MX 10 {{ .Name }}"
    additional "{{ .Name }} 60 IN A 10.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"
    authority  "example. 60 IN NS ns0.example."
    authority  "example. 60 IN NS ns1.example."
    additional "ns0.example. 60 IN A 203.0.113.8"
    fallthrough
}"""
FOOGLE = r"""template IN ANY foogle.com {
    match "^foogle\.com\.$"
    answer "foogle.com 60 IN CNAME google.com"
}"""
SELF = """template IN A a.test {
    answer "{{ .Name }} 7 CNAME b.test."
}
template IN A b.test {
    answer "{{ .Name }} 8 A 192.0.2.1"
}
template IN A c.test {
    answer "{{ .Name }} 7 CNAME nowhere.test."
}
template IN A nowhere.test {
    rcode NXDOMAIN
}"""
AKS = r"""template ANY ANY internal.cloudapp.net {
    match "^(?:[^.]+\.){4,}internal\.cloudapp\.net\.$"
    rcode NXDOMAIN
    fallthrough
}"""
ASKS = """template IN TXT {
    answer "{{ .Name }} TXT {{ .Type }} {{ .Class }} {{ .Zone }} {{ .Remote }} {{ .Question.Name }} {{ .Question.Qtype }}"
}"""
HEX = """template IN A example {
    match "^ip0a(?P<b>[a-f0-9]{2})(?P<c>[a-f0-9]{2})(?P<d>[a-f0-9]{2})[.]example[.]$"
    answer "{{ .Name }} A 10.{{ parseInt .Group.b 16 8 }}.{{ parseInt .Group.c 16 8 }}.{{ parseInt .Group.d 16 8 }}"
}"""
TWO = 'template IN A t.test {\nanswer "{{ .Name }} 60 A 192.0.2.1"\nanswer "{{ .Name }} 30 A 192.0.2.2"\n}'

CASES: list[tuple[str, str, str, dict[str, Any], str]] = [
    (EVERYTHING, "a.test", "A", {}, "NXDOMAIN"),
    (EVERYTHING, "version.bind", "TXT", {"rdclass": "CH"}, "NXDOMAIN"),
    (INVALID, "a.invalid", "A", {}, f"NXDOMAIN invalid. 60 IN {SOA} {WHY}"),
    (INVALID, "a.invalid", "A", {"rdclass": "CH"}, f"NXDOMAIN invalid. 60 CH {SOA} {WHY}"),
    (INVALID, "a.valid", "A", {}, "elsewhere"),
    (
        COMPLETION, "a.example.com.dc1.example.com", "MX", {},
        "NXDOMAIN dc1.example.com. 60 IN SOA ns.dc1.example.com. hostmaster.dc1.example.com. 1 60 60 60 60",
    ),
    (COMPLETION, "a.example.com", "A", {}, "elsewhere"),
    (EXAMPLE, "IP-10-1-2-3.Example", "A", {}, "IP-10-1-2-3.Example. 60 IN A 10.1.2.3"),
    (EXAMPLE, "x.ip-10-1-2-3.example", "A", {}, "x.ip-10-1-2-3.example. 60 IN A 10.1.2.3"),
    (EXAMPLE, "www.example", "A", {}, "elsewhere"),
    (EXAMPLE, "3.2.1.10.in-addr.arpa", "PTR", {}, "3.2.1.10.in-addr.arpa. 60 IN PTR ip-10-1-2-3.example."),
    (EXAMPLE, "3.2.1.10.in-addr.arpa", "A", {}, "elsewhere"),
    (EXAMPLE, "in-addr.arpa", "PTR", {}, "SERVFAIL"),
    (EXAMPLE, "ip-999-1-2-3.example", "A", {}, "SERVFAIL"),
    (EXAMPLE, "ip-10-1-2-3.example", "A", {"rdclass": "CH"}, f"REFUSED {NOBODY}"),
    (HEX, "ip0a1f00ff.example", "A", {}, "ip0a1f00ff.example. 3600 IN A 10.31.0.255"),
    (HEX, "ip0a1f00f.example", "A", {}, "SERVFAIL"),
    (SEVERAL, "ip-10-1-2-3.dc.example", "A", {}, "ip-10-1-2-3.dc.example. 60 IN A 10.1.2.3"),
    (SEVERAL, "192.0.2.1.ext.example", "A", {}, "192.0.2.1.ext.example. 60 IN A 192.0.2.1"),
    (
        MX, "ip-10-1-2-3.example", "MX", {},
        "ip-10-1-2-3.example. 60 IN MX 10 ip-10-1-2-3.example. / example. 60 IN NS ns0.example. example. 60 IN NS ns1.example."
        " / ip-10-1-2-3.example. 60 IN A 10.1.2.3 ns0.example. 60 IN A 203.0.113.8",
    ),
    (FOOGLE, "foogle.com", "CNAME", {}, "foogle.com. 60 IN CNAME google.com."),
    (FOOGLE, "foogle.com", "TXT", {}, 'foogle.com. 60 IN CNAME google.com. google.com. 1 IN TXT "g.org"'),
    (FOOGLE, "www.foogle.com", "A", {}, "SERVFAIL"),
    (SELF, "a.test", "A", {}, "a.test. 7 IN CNAME b.test. b.test. 8 IN A 192.0.2.1"),
    (SELF, "c.test", "A", {}, "NXDOMAIN c.test. 7 IN CNAME nowhere.test."),
    (AKS, "a.b.c.d.internal.cloudapp.net", "A", {}, "NXDOMAIN"),
    (AKS, "vm.internal.cloudapp.net", "A", {}, "elsewhere"),
    (ASKS, "A.test", "TXT", {}, 'A.test. 3600 IN TXT "TXT" "IN" "." "10.244.0.7" "a.test." "16"'),
    (TWO, "t.test", "A", {}, "t.test. 30 IN A 192.0.2.1 t.test. 30 IN A 192.0.2.2"),
    ("template IN A {\nrcode REFUSED\nederror 15\n}", "a.test", "A", {}, "REFUSED EDE 15 (Blocked)"),
    ("template IN A {\nrcode SERVFAIL\n}", "a.test", "A", {}, "SERVFAIL"),
    ('template IN A {\nanswer "{{ .Nmae }} A 192.0.2.1"\n}', "a.test", "A", {}, "SERVFAIL"),
    ("template IN A test {\nmatch ^b\nfallthrough org\n}", "a.test", "A", {}, "SERVFAIL"),
    ("template IN A test org {\nmatch ^b\nfallthrough org\n}", "a.org", "A", {}, "elsewhere"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "name", "type", "options", "expected"), CASES)
def test_answers(lines: str, name: str, type: str, options: dict[str, Any], expected: str) -> None:
    assert expected == said(generation_of(in_block(lines), elsewhere), name, type, **options)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("template IN", "Corefile:2: template: takes at least 2 arguments, has 1"),
        ("template XX A", "Corefile:2: template: 'XX' is none of ANY, IN, CH, HS"),
        ("template IN BOGUS", "Corefile:2: template: unknown type 'BOGUS'"),
        ("template IN A {\nmatch (?=a)\n}", "Corefile:3: template: match: '(?=a)' is no regular expression: invalid perl oper"),
        ('template IN A {\nanswer "{{ .Name"\n}', "Corefile:3: template: answer: '{{' without '}}'"),
        ('template IN A {\nanswer "{{ foo }}"\n}', "Corefile:3: template: answer: function 'foo' is not known here"),
        ("template IN A {\nrcode NOPE\n}", "Corefile:3: template: rcode: 'NOPE' is none of "),
        ("template IN A {\nederror many\n}", "Corefile:3: template: ederror: 'many' is not a whole number from 0 to 65535"),
        ("template IN A {\nanswr x\n}", "Corefile:3: template: unknown option 'answr', did you mean 'answer'?"),
    ],
)
def test_what_is_refused(lines: str, expected: str) -> None:
    said = refused(in_block(lines))
    assert expected == said[: len(expected)] and "\n" not in said


def test_an_option_of_older_days_is_a_note() -> None:
    generation = generation_of(in_block("template IN A {\nupstream\n}"))
    assert ["Corefile:3: template: upstream has no effect any more, the line may go"] == generation.blocks[0].notes


def test_the_memo_has_what_the_question_alone_decides() -> None:
    lines = 'template IN A one.test {\nanswer "{{ .Name }} A 192.0.2.1"\n}\n' + ASKS

    async def run() -> tuple[int, list[str]]:
        generation = generation_of(in_block(lines), elsewhere)
        told = []
        for host in ("10.0.0.1", "10.0.0.2"):
            await ask(generation, "one.test", "A", client=Address(host, 1))
            told.append((await ask(generation, "two.test", "TXT", client=Address(host, 1))).answer[0][0].strings[3].decode())
        return len(listener_of(generation).memo), told

    assert (1, ["10.0.0.1", "10.0.0.2"]) == asyncio.run(run())


def test_what_fails_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    lines = 'errors\ntemplate IN A {\nanswer "{{ .Name }} A {{ .Name }}"\n}\ntemplate IN AAAA {\nanswer "{{ .Nmae }}"\n}'
    generation = generation_of(in_block(lines), elsewhere)
    registry = generation.metrics.registry()
    with caplog.at_level(logging.ERROR):
        assert ["SERVFAIL", "SERVFAIL"] == [said(generation, "a.test", type) for type in ("A", "AAAA")]
    of = {"server": "dns://:53", "zone": ".", "view": "", "class": "IN"}
    assert [1, 1, 1, 1] == [
        registry.get_sample_value("coredns_template_matches_total", {**of, "type": "A"}),
        registry.get_sample_value("coredns_template_matches_total", {**of, "type": "AAAA"}),
        registry.get_sample_value(
            "coredns_template_rr_failures_total", {**of, "type": "A", "section": "answer", "template": "{{ .Name }} A {{ .Name }}"}
        ),
        registry.get_sample_value(
            "coredns_template_template_failures_total", {**of, "type": "AAAA", "section": "answer", "template": "{{ .Nmae }}"}
        ),
    ]
    assert "Corefile:3: template: answer: 'a.test.' is not an IP address" in caplog.text
    assert "Corefile:6: template: answer: there is no field .Nmae" in caplog.text


@pytest.mark.parametrize(("metadata", "expected"), [("metadata", '"inside" "-"'), ("", '"" "-"')])
def test_labels_of_metadata(metadata: str, expected: str) -> None:
    lines = metadata + '''
view inside {
    expr true
}
template IN TXT {
    answer "{{ .Name }} 5 TXT {{ printf `%q` (.Meta `view/name`) }} -{{ .Meta `no/label` }}"
}'''
    assert f"a.test. 5 IN TXT {expected}" == said(generation_of(in_block(lines)), "a.test", "TXT")
