"""*view*: the language of its expressions, which server block takes a query, and what the memo keeps for whom."""

import asyncio
from typing import Any

import dns.message
import pytest

from kdns.core.expressions.language import Reader
from kdns.core.expressions.queries import KNOWN, OF_QUERY
from kdns.core.generation import Generation
from kdns.dns.query import Address, Edns, Query, Transport
from kdns.dns.response import Response, RRset
from kdns.plugins.view import value_of, View
from kdns.server.load import load
from tests.support.configured import add, answers, ask, Fixed, in_block, listener_of, refused

CLIENT, OTHER = Address("127.0.0.7", 40000), Address("192.168.3.4", 40001)


def query(**fields: Any) -> Query:
    made = Query(fields.get("name", "www.example.com."), fields.get("type", 1), fields.get("cls", 1), edns=fields.get("edns"))
    made.client, made.local = fields.get("client", CLIENT), Address("10.96.0.10", 53)
    made.transport = fields.get("transport", Transport.UDP)
    made.wire = (4711).to_bytes(2, "big") + bytes(40)
    return made


def value(text: str, **fields: Any) -> Any:
    asked = query(**fields)

    def known(name: str, *words: Any) -> Any:
        return {"a/b": "c"}.get(*words, "") if name == "metadata" else OF_QUERY[name](asked)

    return value_of(Reader(text, KNOWN).read(), known)


LANGUAGE = [
    ("true", True), ("nil", None), ("1 == 1.0", True), ("1 == true", False), ("'1' == 1", False), ("0x2A", 42), ("0b101", 5),
    ("0o52", 42), (".5 + 1", 1.5), ("1e3", 1000.0), ("'a' + \"b\"", "ab"), ("`\\n`", "\\n"), (r"'\x41\u0042\t\''", "AB\t'"),
    ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("2 ** 3 ** 2", 512.0), ("2 ^ 2", 4.0), ("-7 % 3", -1), ("7 / 2", 3.5), ("10 - 2 - 3", 5),
    ("1 < 2 && 2 <= 2 and 3 > 2 && !(3 >= 4)", True), ("false || true or false", True), ("not false and true", True),
    ("true || 1 / 0 == 1", True), ("1 / 0 == 1", None), ("'a' < 1", None), ("1 && true", None), ("1 ? 2 : 3", None),
    ("'b' in ['a', 'b']", True), ("'c' not in ['a', 'b']", True), ("1 in [true]", False), ("'a' in {a: 1}", True),
    ("'abc' contains 'b'", True), ("'abc' startsWith 'ab'", True), ("'abc' endsWith 'ab'", False),
    ("'abc' not contains 'b'", False),
    ("'abc' matches '^a.c$'", True), ("'a' matches 'b'", False), ("not ('a' matches 'b')", True),
    ("1 == 1 ? 'y' : 'n'", "y"), ("false ? 1 : true ? 2 : 3", 2), ("nil ?? 'x'", "x"), ("'y' ?? 'x'", "y"),
    ("1..3", [1, 2, 3]), ("[1, 2, 3][-1]", 3), ("[1, 2, 3][1:]", [2, 3]), ("[1, 2, 3][:2]", [1, 2]), ("[1, 2, 3][0:1]", [1]),
    ("'abc'[1:2]", "b"), ("[1][:]", [1]), ("[1][7]", None), ("{a: {b: 1}}.a.b", 1), ("{a: 1}?.b?.c", None),
    ("{'x y': 1}['x y']", 1),
    ("let x = 2; let y = 3; x * y", 6), ("'A b' | lower() | split(' ')", ["a", "b"]), ("[1, 2, 3,]", [1, 2, 3]),
    ("1 /* one */ + 1", 2), ("len('abc') + len([1])", 4), ("trim('  a ')", "a"), ("trim('__a', '_')", "a"),
    ("trimPrefix('abc', 'a')", "bc"), ("trimSuffix('abc', 'c')", "ab"), ("upper('a')", "A"),
    ("split('a,b,c', ',', 2)", ["a", "b,c"]),
    ("replace('aba', 'a', 'c')", "cbc"), ("repeat('ab', 2)", "abab"), ("repeat('ab', 10001)", None), ("1..10002", None),
    ("indexOf('abc', 'c')", 2), ("lastIndexOf('aba', 'a')", 2), ("hasPrefix('ab', 'a')", True), ("hasSuffix('ab', 'a')", False),
    ("join(['a', 'b'], ',')", "a,b"), ("int('42')", 42), ("float('1.5')", 1.5),
    ("string(true) + string(1.0) + string(nil)", "true1<nil>"),
    ("abs(-5)", 5), ("ceil(1.5)", 2.0), ("floor(1.5)", 1.0), ("round(-2.5)", -3.0), ("max(1, 2)", 2), ("min([3, 1])", 1),
    ("sum([1, 2])", 3),
    ("first([])", None), ("last([1, 2])", 2), ("take([1, 2, 3], 2)", [1, 2]), ("reverse([1, 2])", [2, 1]),
    ("sort([2, 1], 'desc')", [2, 1]),
    ("uniq([1, 1])", [1]), ("concat([1], [2])", [1, 2]), ("keys({a: 1})", ["a"]), ("values({a: 1})", [1]),
    ("flatten([1, [2, [3]]])", [1, 2, 3]), ("mean([1, 2], 6)", 3.0), ("median(1, [5, 3])", 3),
    ("splitAfter('a,b', ',')", ["a,", "b"]),
    ("get([1], 1)", None), ("get({a: 1}, 'a')", 1), ("toPairs({a: 1})", [["a", 1]]), ("fromPairs([['a', 1]])", {"a": 1}),
    ("bitand(6, 3)", 2), ("bitor(4, 1)", 5), ("bitxor(6, 3)", 5), ("bitnand(6, 3)", 4), ("bitnot(0)", -1), ("bitshl(1, 3)", 8),
    ("bitshl(1, 64)", 0), ("bitshr(8, 2)", 2), ("findIndex([1, 2], # > 1)", 1), ("findLast([1, 2, 1], # > 0)", 1),
    ("findLastIndex([1, 2], # > 2)", None), ("groupBy([1, 2, 3], # % 2)", {1: [1, 3], 0: [2]}),
    ("sortBy([3, 1, 2], -#)", [3, 2, 1]),
    ("all(1..3, # > 0)", True), ("any([1, 2], {# == 3})", False), ("one([1, 2], # == 2)", True), ("none([1], # == 2)", True),
    ("map(1..3, # * 2)", [2, 4, 6]), ("filter(0..9, {# % 5 == 0})", [0, 5]), ("count([true, false], #)", 1),
    ("find([1, 2], # > 1)", 2),
    ("let n = 2; any([1, 2], # == n)", True), ("any([[1], [2]], any(#, # == 2))", True),
    ("incidr('10.1.2.3', '10.0.0.0/8')", True), ("incidr('2001:db8::1', '2001:0DB8::/32')", True),
    ("incidr('::1', '10.0.0.0/8')", False),
    ("incidr('x', '10.0.0.0/8')", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), LANGUAGE, ids=[text for text, _ in LANGUAGE])
def test_the_language(text: str, expected: Any) -> None:
    found = value(text)
    assert (expected, type(expected)) == (found, type(found))


QUERIES = [
    ("name() == 'www.example.com.'", {}), ("type() == 'AAAA'", {"type": 28}), ("type() == 'TYPE65280'", {"type": 65280}),
    ("class() == 'IN'", {}), ("class() == 'CH'", {"cls": 3}), ("client_ip() == '127.0.0.7'", {}), ("port() == '40000'", {}),
    ("client_ip() == '2001:db8::1' && incidr(client_ip(), '2001:0DB8::/32')", {"client": Address("2001:db8::1", 1)}),
    ("server_ip() == '10.96.0.10'", {}), ("server_port() == '53'", {}), ("proto() == 'udp'", {}), ("opcode() == 0", {}),
    ("proto() == 'tcp' && bufsize() == 65535", {"transport": Transport.TCP}), ("bufsize() == 512", {}),
    ("bufsize() == 1232 && do()", {"edns": Edns(1232, True)}), ("!do()", {}), ("size() == 42", {}), ("id() == 4711", {}),
    ("metadata('a/b') == 'c' && metadata('a/c') == ''", {}), ("name() matches '^www\\\\..*\\\\.com\\\\.$'", {}),
    ("(type() == 'A' && name() == 'example.com.') || client_ip() == '127.0.0.7'", {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fields"), QUERIES, ids=[text for text, _ in QUERIES])
def test_what_a_query_says(text: str, fields: dict[str, Any]) -> None:
    assert value(text, **fields) is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nam() == 'a'", "there is no function 'nam', did you mean 'name'?"),
        ("name == 'a'", "'name' is a function: brackets belong behind it"),
        ("len == 1", "'len' is a function: brackets belong behind it"),
        ("now()", "there is no function 'now'"),
        ("__import__('os')", "there is no function '__import__'"),
        ("name().upper", None),
        ("1 +", "it ends where a value is expected"),
        ("(1", "')' is expected where '' stands"),
        ("1 2", "'2' is not expected there"),
        ("'a", "''a' is not understood"),
        ("1 @ b", "'@ b' is not understood"),
        ("# == 1", "# stands in predicates only"),
        ("name() matches '['", "'[' is no regular expression: missing ]: ["),
        ("name() matches type()", "matches is followed by a regular expression between quotes"),
        ("incidr(client_ip(), '10.0.0.0')", "'10.0.0.0' is not a prefix such as 10.0.0.0/8 or 2001:db8::/32"),
        ("type(1)", "type() takes nothing in its brackets"),
        ("metadata()", "metadata() takes one value in its brackets"),
        ("upper()", "upper() does not take no values"),
        ("let 1 = 2; 3", "let is followed by a name, not by '1'"),
        ("(" * 60 + "1" + ")" * 60, "it is more than 50 levels deep"),
        ("1 ? 2", "':' is expected where '' stands"),
        ("true" + " || true" * 5000, None),
    ],
)
def test_what_is_no_expression(text: str, expected: str | None) -> None:
    if expected is None:
        assert value(text) in (None, True)
    else:
        message = refused(in_block(f"view v {{\nexpr {text}\n}}") if "#" not in text else in_block(f'view v {{\nexpr "{text}"\n}}'))
        assert message.startswith(f"Corefile:3: view: expr: {expected}")


# ---------------------------------------------------------------- server blocks


def served(*views: str) -> Generation:
    """A server block for each of these expressions, and one for the rest, each answering with an address of its own."""
    blocks = [f"example.com {{\nview v{n} {{\nexpr {text}\n}}\n}}\n" for n, text in enumerate(views, 1)]
    generation = load("".join(blocks) + "example.com {\n}\n")
    for n, block in enumerate(generation.blocks, 1):
        said = RRset("www.example.com.", 1, 5, (bytes((10, 0, 0, n)),))
        add(block, "fixed", Fixed(Response(answer=(said,), stable_for=60, depends=("k",))))
    generation.begin()
    return generation


def said(generation: Generation, *clients: Address, type: str = "A") -> list[str]:
    async def run() -> list[str]:
        return [answers(await ask(generation, "www.example.com.", type, client=client))[0] for client in clients]

    return asyncio.run(run())


def test_the_first_that_takes_it_has_it() -> None:
    generation = served("incidr(client_ip(), '127.0.0.0/24')", "incidr(client_ip(), '192.168.0.0/16')")
    assert ["10.0.0.1", "10.0.0.2", "10.0.0.3"] == said(generation, CLIENT, OTHER, Address("10.9.9.9", 53))
    assert ["v1", "v2", ""] == [block.view for block in generation.blocks]


def test_all_expressions_have_to_be_true() -> None:
    generation = served("incidr(client_ip(), '127.0.0.0/24')\nexpr type() == 'AAAA'")
    assert ["10.0.0.2"] == said(generation, CLIENT)


def keys(generation: Generation, *clients: Address) -> set[bytes]:
    wire = dns.message.make_query("www.example.com.", "A").to_wire()
    return {listener_of(generation).key(wire, client) for client in clients}


NEIGHBOUR = Address("127.0.0.9", 53)


@pytest.mark.parametrize(
    ("text", "entries", "audiences"),
    [
        ("incidr(client_ip(), '127.0.0.0/24')", 2, 2),
        ("type() == 'A' && incidr(client_ip(), '127.0.0.0/24')", 2, 2),
        ("type() == 'AAAA' && do()", 1, 1),
        ("bufsize() > 1232", 0, 1),
        ("client_ip() in [name(), '127.0.0.7']", 3, 3),
        ("let n = '127.0.0.0/24'; type() == 'A' && incidr(client_ip(), n)", 3, 3),
        ("any(['127.0.0.0/24'], type() == 'A' && incidr(client_ip(), #))", 3, 3),
        ("port() == '40000'", 0, 1),
        ("incidr(client_ip(), '127.0.0.0/24') && id() == 4711", 0, 2),
        ("metadata('kubernetes/client-namespace') == 'a'", 0, 1),
    ],
)
def test_what_the_memo_keeps(text: str, entries: int, audiences: int) -> None:
    generation = served(f'"{text}"' if "#" in text else text)
    said(generation, CLIENT, OTHER, NEIGHBOUR)
    assert (entries, audiences) == (len(listener_of(generation).memo), len(keys(generation, CLIENT, OTHER, NEIGHBOUR)))


def test_the_memo_never_gives_what_another_block_should_say() -> None:
    generation = served("port() == '40000'")
    assert ["10.0.0.2", "10.0.0.1", "10.0.0.2"] == said(generation, OTHER, CLIENT, OTHER)


def test_a_view_is_a_label() -> None:
    generation = served("true")
    [plugin] = generation.blocks[0].named("view")
    assert isinstance(plugin, View) and "v1" == plugin.labels(query())["view/name"]()


def test_a_long_token_is_cut_to_a_digest() -> None:
    generation = served("type() == 'A' && repeat(client_ip(), 50) != name()")
    [plugin] = generation.blocks[0].named("view")
    assert 32 == len(plugin.audience("127.0.0.7"))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("view", "Corefile:2: view: takes 1 argument, has none"),
        ("view a {\nexpr\n}", "Corefile:3: view: expr: takes at least 1 argument, has none"),
        ("view a\nview b", "Corefile:3: view: may stand only once in a server block, and stands at Corefile:2"),
    ],
)
def test_what_is_wrong(lines: str, expected: str) -> None:
    assert expected == refused(in_block(lines))
