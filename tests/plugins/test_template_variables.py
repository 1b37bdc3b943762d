"""*template*: variables and conditions."""

import asyncio

import pytest

from kdns.core.generation import Generation
from kdns.dns.query import Address
from tests.plugins.test_template import elsewhere, said
from tests.support.configured import ask, generation_of, in_block, listener_of, refused

DEVICES = """template IN A example.com {
    match ^(?P<ip>[0-9]{1,3}(-[0-9]{1,3}){3})[.](?P<id>[a-z2-7]{26})[.]example[.]com[.]$
    var ip replace(group('ip'), '-', '.')
    expr "any(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16'], incidr(ip, #))"
    answer "{{ .Name }} 60 IN A {{ .Var.ip }}"
    fallthrough
}"""
ID = "abcdefghijklmnopqrstuvwxyz"
CHAIN = """template IN TXT example.com {
    match ^([a-z]+)[.](?P<rest>.*)$
    var head upper(group(1))
    var whole head + '/' + group('rest') + '/' + group(7) + group('none')
    var parts split(group(0), '.')
    expr type() == 'TXT'
    expr len(head) > 1
    answer "{{ .Name }} 60 TXT {{ .Var.whole }} {{ range .Var.parts }}{{ . }},{{ end }}"
}"""


def serving(text: str) -> Generation:
    return generation_of(in_block(text), elsewhere)


@pytest.mark.parametrize(("text", "name", "type", "expected"), [
    (DEVICES, f"192-168-1-2.{ID}.example.com.", "A", f"192-168-1-2.{ID}.example.com. 60 IN A 192.168.1.2"),
    (DEVICES, f"8-8-8-8.{ID}.example.com.", "A", "elsewhere"),
    (DEVICES, "www.example.com.", "A", "elsewhere"),
    (DEVICES.replace("    fallthrough\n", ""), f"8-8-8-8.{ID}.example.com.", "A", "SERVFAIL"),
    (DEVICES, f"192-168-1-999.{ID}.example.com.", "A", "SERVFAIL"),  # it is no address: incidr cannot tell
    (CHAIN, "ab.c.example.com.", "TXT", 'ab.c.example.com. 60 IN TXT "AB/c.example.com./" "ab,c,example,com,,"'),
    (CHAIN, "a.c.example.com.", "TXT", "SERVFAIL"),  # a condition is not true, and nothing falls through
    ("template IN A {\nexpr 1 + 1\nanswer \"{{ .Name }} 60 A 192.0.2.1\"\nfallthrough\n}", "a.example.", "A", "elsewhere"),
    ("template IN A {\nvar n name()\nanswer \"{{ .Var.n }} 60 A 192.0.2.1\"\n}", "a.example.", "A", "a.example. 60 IN A 192.0.2.1"),
])  # fmt: skip
def test_variables_and_conditions(text: str, name: str, type: str, expected: str) -> None:
    assert expected == said(serving(text), name, type)


def test_what_cannot_be_told_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    said(serving("errors\n" + DEVICES), f"192-168-1-999.{ID}.example.com.")
    assert "template: an expression: ValueError: '192.168.1.999' does not appear to be an IPv4 or IPv6 address" in caplog.text


@pytest.mark.parametrize(("line", "expected"), [
    ("var a", "var: takes at least 2 arguments, has 1"),
    ("var 1a name()", "var: '1a' is no name of a variable"),
    ("var name name()", "var: 'name' is a word of the language"),
    ("var len 1", "var: 'len' is a word of the language"),
    ("var matches 1", "var: 'matches' is a word of the language"),
    ("var group 1", "var: 'group' is a word of the language"),
    ("var a b + 1", "var: there is no variable 'b'"),
    ("var a (1", "var: ')' is expected where '' stands"),
    ("expr group()", "expr: group() takes one value in its brackets"),
    ("expr", "expr: takes at least 1 argument, has none"),
    ("answer \"{{ html .Name }}\"", "answer: function 'html' is not known here"),
    ("answer \"{{ define `x` }}{{ end }}\"", "answer: {{define}} is not known here"),
])  # fmt: skip
def test_what_is_wrong_is_refused_at_the_start(line: str, expected: str) -> None:
    assert f"Corefile:4: template: {expected}" == refused(in_block(f"template IN A {{\nrcode NOERROR\n{line}\n}}"))


@pytest.mark.parametrize(("condition", "expected"), [
    ("name() startsWith 'a'", True), ("do()", True), ("client_ip() == '127.0.0.1'", False), ("proto() == 'udp'", False),
])  # fmt: skip
def test_a_condition_on_the_client_keeps_its_server_block_out_of_the_memo(condition: str, expected: bool) -> None:
    generation = serving(f"template IN A {{\nexpr {condition}\nanswer \"{{{{ .Name }}}} 60 A 192.0.2.1\"\nfallthrough\n}}")
    assert expected == generation.blocks[0].memoized


def test_a_variable_of_the_client_keeps_its_answers_out_of_it() -> None:
    generation = serving("template IN A {\nvar who client_ip()\nanswer \"{{ .Name }} 60 A {{ .Var.who }}\"\n}")
    for client in ("192.0.2.1", "192.0.2.2"):
        reply = asyncio.run(ask(generation, "a.example.", "A", client=Address(client, 5353)))
        assert [client] == [rdata.to_text() for rdata in reply.answer[0]]
    assert 0 == len(listener_of(generation).memo)
