"""*rewrite*: what becomes of a query, and of its reply, as clients and the plugins behind it see them."""

import asyncio
from typing import Any

import dns.edns
import dns.message
import dns.rdataclass
import dns.rdatatype
import pytest

from kdns.config.directive import Directive
from kdns.core.generation import Generation
from kdns.core.plugin import Plugin
from kdns.dns import names
from kdns.dns.query import Address, Query
from kdns.dns.rdata import to_wire
from kdns.dns.response import Response, RRset
from kdns.dns.types import A, CNAME, NAPTR, NOERROR, NS, NXDOMAIN, PTR, SERVFAIL, SOA, SRV, type_number, type_text
from kdns.plugins.rewrite.words import read_rule
from tests.support.configured import add, ask, generation_of, in_block, listener_of, refused

ADDRESS = b"\x0a\0\0\1"
SOA_TEXT = "ns.example.org. mail.example.org. 1 2 3 4 5"


def rrset(text: str) -> RRset:
    """`owner ttl type rdata`, names absolute."""
    owner, ttl, type, rdata = text.split(" ", 3)
    number = type_number(type)
    return RRset(owner, number, int(ttl), (to_wire(number, rdata, "."),))


def texts(section: Any) -> list[str]:
    return [
        f"{each.name} {each.ttl} {dns.rdatatype.to_text(each.rdtype)} {rdata.to_text()}" for each in section for rdata in each
    ]


class Seen:
    """What the plugin behind is asked, and answers: an address, or what it was told."""

    def __init__(self, **said: Any) -> None:
        self.queries: list[Query] = []
        self._said = said

    def __call__(self, query: Query) -> Response:
        self.queries.append(query)
        if self._said:
            return Response(**{"stable_for": 60, "depends": ("k",), **self._said})
        return Response(answer=(RRset(query.name, A, 5, (ADDRESS,)),), stable_for=60, depends=("k",))


def asked(rules: str, name: str, type: str = "A", seen: Seen | None = None, **options: Any) -> tuple[dns.message.Message, str]:
    """The reply to a client, and the question as it came to the plugin behind."""
    seen = seen or Seen()
    reply = asyncio.run(ask(generation_of(in_block(rules), seen), name, type, **options))
    query = seen.queries[-1] if seen.queries else None
    return reply, f"{query.name} {type_text(query.type)}" if query else ""


EAST = "rewrite name regex (.*)-(us-west-1)\\.coredns\\.rocks {1}.service.{2}.consul"
NAMES = [
    ("rewrite name example.net example.org", "EXAMPLE.net", "example.org. A", "EXAMPLE.net."),
    ("rewrite name exact example.net. example.org.", "example.net", "example.org. A", "example.net."),
    ("rewrite name example.net example.org", "a.example.net", "a.example.net. A", "a.example.net."),
    (
        "rewrite name substring service.us-west-1.example.org service.us-west-1.consul",
        "ftp.service.us-west-1.example.org", "ftp.service.us-west-1.consul. A", "ftp.service.us-west-1.consul.",
    ),
    (
        "rewrite name substring a.example b.example answer auto",
        "a.example", "b.example. A", "a.example.",
    ),
    ("rewrite name prefix old.web new.web answer auto", "old.web.example", "new.web.example. A", "old.web.example."),
    ("rewrite name prefix old new", "old-web.example", "old-web.example. A", "old-web.example."),
    ("rewrite name suffix .schmoogle.com. .google.com.", "web.schmoogle.com", "web.google.com. A", "web.google.com."),
    ("rewrite name suffix .corp .prod.svc answer auto", "web.corp", "web.prod.svc. A", "web.corp."),
    (EAST, "ftp-us-west-1.coredns.rocks", "ftp.service.us-west-1.consul. A", "ftp.service.us-west-1.consul."),
    (EAST, "ftp.coredns.rocks", "ftp.coredns.rocks. A", "ftp.coredns.rocks."),
    (f"{EAST} answer auto", "ftp-us-west-1.coredns.rocks", "ftp.service.us-west-1.consul. A", "ftp-us-west-1.coredns.rocks."),
    (
        "rewrite stop {\nname regex (.*)-(us-west-1)\\.coredns\\.rocks {1}.service.{2}.consul\n"
        "answer name (.*)\\.service\\.(us-west-1)\\.consul {1}-{2}.coredns.rocks\n}",
        "ftp-us-west-1.coredns.rocks", "ftp.service.us-west-1.consul. A", "ftp-us-west-1.coredns.rocks.",
    ),
    ("rewrite name regex ^(.*)$ {0}x", "a", "a.x. A", "a.x."),
    ("rewrite continue name a b\nrewrite name b c", "a", "c. A", "a."),
    ("rewrite name a b\nrewrite name b c", "a", "b. A", "a."),
    ("rewrite name x y\nrewrite stop name b c\nrewrite name c d", "b", "c. A", "b."),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "name", "question", "owner"), NAMES)
def test_names(rules: str, name: str, question: str, owner: str) -> None:
    reply, came = asked(rules, name)
    assert (question, [f"{owner} 5 A 10.0.0.1"], f"{name}.") == (came, texts(reply.answer), str(reply.question[0].name))


def test_a_loop_of_rules_is_no_loop() -> None:
    assert "a. A" == asked("rewrite continue name a b\nrewrite continue name b a", "a")[1]
    assert "b. A" == asked("rewrite name a b\nrewrite name b a", "a")[1]


VALUES = [
    (SRV, "1 2 3 {}"), (CNAME, "{}"), (PTR, "{}"), (NS, "{}"), (type_number("MX"), "10 {}"), (type_number("DNAME"), "{}"),
    (NAPTR, '1 2 "s" "SIP+D2U" "" {}'), (SOA, "{} mail.consul. 1 2 3 4 5"),
]  # fmt: skip


@pytest.mark.parametrize(("type", "form"), VALUES, ids=[type_text(type) for type, _ in VALUES])
def test_values(type: int, form: str) -> None:
    rules = "rewrite stop {\nname suffix .arpa .arpa\nanswer auto\nanswer value (.*)\\.service\\.consul\\. {1}.coredns.rocks.\n}"
    text = type_text(type)
    seen = Seen(answer=(rrset(f"30.arpa. 60 {text} {form.format('ftp.service.consul.')}"),))
    reply, _ = asked(rules, "30.arpa", text, seen)
    assert [f"30.arpa. 60 {text} {form.format('ftp.coredns.rocks.')}"] == texts(reply.answer)


def test_names_are_put_back_in_all_sections_and_below() -> None:
    seen = Seen(
        answer=(rrset("blue. 5 SRV 0 1 80 a.blue."),),
        authority=(rrset("blue. 5 NS ns.blue."),),
        additional=(rrset("a.blue. 5 A 10.0.0.1"), rrset("unblue. 5 A 10.0.0.2")),
    )
    reply, came = asked("rewrite name exact red blue", "red", "SRV", seen)
    assert ("blue. SRV", ["red. 5 SRV 0 1 80 a.red."], ["red. 5 NS ns.red."], ["a.red. 5 A 10.0.0.1", "unblue. 5 A 10.0.0.2"]) == (
        came, texts(reply.answer), texts(reply.authority), texts(reply.additional)
    )  # fmt: skip


def test_a_reply_is_put_back_in_the_reverse_order() -> None:
    rules = "rewrite continue name suffix .a .b answer auto\nrewrite name suffix .b .c answer auto"
    reply, came = asked(rules, "web.a")
    assert ("web.c. A", ["web.a. 5 A 10.0.0.1"]) == (came, texts(reply.answer))


def test_what_would_be_no_name_in_a_reply_stays() -> None:
    seen = Seen(answer=(rrset("b. 5 A 10.0.0.1"),))
    reply, _ = asked(f"rewrite name regex ^a b answer name ^b {'x' * 64}", "a", seen=seen)
    assert ["b. 5 A 10.0.0.1"] == texts(reply.answer)


def test_rdata_that_an_upstream_made_up_stay() -> None:
    strange = RRset("b.", NAPTR, 5, (b"\0\0",))
    reply = asyncio.run(generation_of(in_block("rewrite name a b"), Seen(answer=(strange,))).blocks[0].answer(Query("a.", NAPTR)))
    assert isinstance(reply, Response) and (strange._replace(name="a."),) == reply.answer


def test_a_query_that_becomes_no_name_is_told_so() -> None:
    reply, came = asked(f"rewrite name regex ^(.*).$ {'x' * 60}{{1}}", "example", use_edns=0)
    [option] = reply.options
    assert (SERVFAIL, "") == (reply.rcode(), came)
    why = f"rewritten: '{'x' * 60}example.' is not a domain name: a label is over 63 octets, or the name over 255"
    assert isinstance(option, dns.edns.EDEOption) and why == option.text


def test_types_and_classes() -> None:
    seen = Seen(answer=(rrset("a. 5 HINFO pc unix"),))
    reply, came = asked("rewrite type ANY HINFO", "a", "ANY", seen)
    assert ("a. HINFO", ['a. 5 HINFO "pc" "unix"'], "ANY") == (
        came, texts(reply.answer), dns.rdatatype.to_text(reply.question[0].rdtype)
    )  # fmt: skip
    assert "a. AAAA" == asked("rewrite type TYPE65280 aaaa", "a", "TYPE65280")[1]
    said = Seen(answer=(rrset("a. 5 TXT x"),))
    reply, came = asked("rewrite class CH IN", "a", "TXT", said, rdclass="CH")
    assert ("a. TXT", [1], 3, 1) == (came, [query.cls for query in said.queries], reply.question[0].rdclass, len(reply.answer))
    assert dns.rdataclass.IN == reply.answer[0].rdclass  # an address of CH has other octets
    asked("rewrite class HS IN", "a", "TXT", said, rdclass="CH")
    assert [1, 3] == [query.cls for query in said.queries]


def test_a_class_that_becomes_in_is_for_all_plugins_behind() -> None:
    generation = generation_of(in_block("rewrite class CH IN\nkubernetes cluster.local {\nmanifests zones/cluster.yaml\n}"))
    reply = asyncio.run(ask(generation, "kubernetes.default.svc.cluster.local", rdclass="CH"))
    assert SERVFAIL == reply.rcode()  # of *kubernetes*, which has not read them


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("ttl a 15", 5, 15),
        ("ttl exact a 0", 5, 0),
        ("ttl suffix b 15", 5, 5),
        ("ttl regex ^a 30-300", 5, 30),
        ("ttl prefix a 30-300", 3600, 300),
        ("ttl substring a 30-300", 60, 60),
        ("ttl a -30", 60, 30),
        ("ttl a -30", 6, 6),
        ("ttl a 30-", 6, 30),
        ("ttl a 30-", 60, 60),
        ("ttl a 4294967295", 60, 2**31 - 1),
    ],
)
def test_ttls(rule: str, before: int, after: int) -> None:
    seen = Seen(answer=(rrset(f"a. {before} A 10.0.0.1"),), authority=(rrset(f"a. {before} NS b."),))
    reply, _ = asked(f"rewrite continue {rule}", "a", seen=seen)
    assert ([f"a. {after} A 10.0.0.1"], [f"a. {after} NS b."]) == (texts(reply.answer), texts(reply.authority))


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("rcode a SERVFAIL NOERROR", SERVFAIL, NOERROR),
        ("rcode regex (.*) 2 0", SERVFAIL, NOERROR),
        ("rcode a servfail noerror", NXDOMAIN, NXDOMAIN),
        ("rcode suffix b SERVFAIL NOERROR", SERVFAIL, SERVFAIL),
        ("rcode a NXDOMAIN BADCOOKIE", NXDOMAIN, SERVFAIL),  # without EDNS there is no way to say it
    ],
)
def test_codes(rule: str, before: int, after: int) -> None:
    assert after == asked(f"rewrite {rule}", "a", seen=Seen(rcode=before, stable_for=0))[0].rcode()


def test_a_code_over_15_is_said_by_edns() -> None:
    assert 23 == asked("rewrite rcode a NXDOMAIN BADCOOKIE", "a", seen=Seen(rcode=NXDOMAIN), use_edns=0)[0].rcode()


ALIASES = {
    "my-app.com.": ("my-app.com. 200 CNAME my-app.example.", "my-app.example. 200 CNAME my-app.com.cdn.example.net.",
                    "my-app.com.cdn.example.net. 300 A 20.2.0.1"),
    "my-app.com.other.cdn.com.": ("my-app.com.other.cdn.com. 100 A 30.3.1.2",),
    "a.": ("a. 5 CNAME b.",),
    "b.": ("b. 5 CNAME a.",),
}  # fmt: skip


def aliases(rules: str, name: str, type: str = "A") -> dns.message.Message:
    def answer(query: Query) -> Response:
        records = ALIASES.get(query.name, ())
        return Response(rcode=NOERROR if records else NXDOMAIN, answer=tuple(map(rrset, records)), stable_for=9)

    return asyncio.run(ask(generation_of(in_block(rules), answer), name, type))


NEW = ["my-app.com. 200 CNAME my-app.example.", "my-app.example. 200 CNAME my-app.com.other.cdn.com."]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("cname regex (.*).cdn.example.net. {1}.other.cdn.com.", [*NEW, "my-app.com.other.cdn.com. 100 A 30.3.1.2"]),
        ("cname my-app.com.cdn.example.net my-app.com.other.cdn.com", [*NEW, "my-app.com.other.cdn.com. 100 A 30.3.1.2"]),
        ("cname suffix .cdn.example.net. .other.cdn.com.", [*NEW, "my-app.com.other.cdn.com. 100 A 30.3.1.2"]),
        ("cname exact elsewhere a", list(ALIASES["my-app.com."])),
        ("cname suffix .example.net. ..", list(ALIASES["my-app.com."])),
    ],
)
def test_targets(rule: str, expected: list[str]) -> None:
    assert expected == texts(aliases(f"rewrite {rule}", "my-app.com").answer)


def test_a_target_alone_where_the_alias_was_asked() -> None:
    assert NEW == texts(aliases("rewrite cname suffix .cdn.example.net. .other.cdn.com.", "my-app.com", "CNAME").answer)


def test_a_target_that_does_not_exist() -> None:
    reply = aliases("rewrite cname prefix my-app.com.cdn. gone.", "my-app.com")
    assert (NXDOMAIN, "my-app.example. 200 CNAME gone.example.net.") == (reply.rcode(), texts(reply.answer)[-1])


def test_targets_in_a_loop_end() -> None:
    reply = aliases("rewrite continue cname exact b. my-app.com.\nrewrite cname exact my-app.example. a.", "a")
    assert (NOERROR, []) == (reply.rcode(), texts(reply.answer))  # aliases that lead back to themselves have nothing
    reply = aliases("rewrite name regex ^([ab])$ {1}{1}\nrewrite cname regex (.*) {1}a", "a")
    assert reply.rcode() in (NXDOMAIN, SERVFAIL)


# ---------------------------------------------------------------- EDNS options


def options(query: Query) -> list[tuple[int, bytes]]:
    """Codes and octets of the options that the plugin behind sees."""
    wire = query.edns.options if query.edns else b""
    found = []
    while wire:
        code, size = int.from_bytes(wire[:2], "big"), int.from_bytes(wire[2:4], "big")
        found.append((code, wire[4 : 4 + size]))
        wire = wire[4 + size :]
    return found


HAS = [dns.edns.GenericOption(0xFFEE, b"old"), dns.edns.GenericOption(10, b"12345678")]
COOKIE = (10, b"12345678")


@pytest.mark.parametrize(
    ("rule", "sent", "expected"),
    [
        ("local set 0xffee 0x61626364", None, [(0xFFEE, b"abcd")]),
        ("local set 65518 abcd", None, [(0xFFEE, b"abcd")]),
        ("local set 0xffee abcd revert", HAS, [COOKIE, (0xFFEE, b"abcd")]),
        ("local append 0xffee abcd", None, [(0xFFEE, b"abcd")]),
        ("local append 0xffee abcd", HAS, [(0xFFEE, b"old"), COOKIE]),
        ("local replace 0xffee abcd", None, []),
        ("local replace 0xffee abcd", HAS, [COOKIE, (0xFFEE, b"abcd")]),
        ("local unset 0xffee", HAS, [COOKIE]),
        ("local unset 0xffee", None, []),
        ("local set 0xffee {qname}", None, [(0xFFEE, b"example.org.")]),
        ("local set 0xffee {qtype}", None, [(0xFFEE, b"\0\1")]),
        ("local set 0xffee {client_ip}", None, [(0xFFEE, b"\x0a\x01\x02\x03")]),
        ("local set 0xffee {client_port}", None, [(0xFFEE, b"\x04\xd2")]),
        ("local set 0xffee {protocol}", None, [(0xFFEE, b"udp")]),
        ("local set 0xffee {server_ip}", None, [(0xFFEE, b"\x0a\x60\x00\x0a")]),
        ("local set 0xffee {server_port}", None, [(0xFFEE, b"\0\x35")]),
        ("local set 0xffee {some/label}", None, []),
        ("nsid set", None, [(3, b"")]),
        ("nsid replace", None, []),
        ("nsid unset", [dns.edns.GenericOption(3, b"")], []),
        ("subnet set 24 56", None, [(8, b"\0\1\x18\0\x0a\x01\x02")]),
        ("subnet set 12 56", None, [(8, b"\0\1\x0c\0\x0a\x00")]),
        ("subnet set 0 0", None, [(8, b"\0\1\0\0")]),
        ("subnet unset", [dns.edns.ECSOption("10.9.0.0", 16)], []),
    ],
)
def test_options(rule: str, sent: list[dns.edns.Option] | None, expected: list[tuple[int, bytes]]) -> None:
    seen = Seen()
    asked(f"rewrite edns0 {rule}", "example.org", seen=seen, client=Address("10.1.2.3", 1234), options=sent)
    assert expected == options(seen.queries[-1])


def test_a_client_of_ipv6_tells_its_network() -> None:
    seen = Seen()
    asked("rewrite edns0 subnet set 24 56", "a", seen=seen, client=Address("2001:db8:1:2ff::7", 1234))
    assert [(8, b"\0\2\x38\0\x20\x01\x0d\xb8\x00\x01\x02")] == options(seen.queries[-1])


def test_what_an_upstream_says_to_an_option_of_ours_stays_here() -> None:
    said = b"\0\3\0\2ns" + b"\0\x0a\0\x08answered"
    reply, _ = asked("rewrite edns0 nsid set", "a", seen=Seen(options=said), use_edns=0)
    assert [10] == [int(option.otype) for option in reply.options]
    reply, _ = asked("rewrite edns0 nsid set", "a", seen=Seen(options=said), options=[dns.edns.GenericOption(3, b"")])
    assert [3, 10] == [int(option.otype) for option in reply.options]


# ---------------------------------------------------------------- the memo


def entries(generation: Generation) -> int:
    asyncio.run(ask(generation, "a"))
    return len(listener_of(generation).memo)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("rewrite name a b\nrewrite ttl a 5\nrewrite rcode a 2 0\nrewrite cname a b\nrewrite type A AAAA", 1),
        ("rewrite edns0 local set 0xffee abcd", 1),
        ("rewrite edns0 local set 0xffee {qname}", 1),
        ("rewrite edns0 local set 0xffee {client_ip}", 0),
        ("rewrite edns0 local unset 0xffee", 1),
        ("rewrite edns0 subnet set 24 56", 0),
        ("rewrite name regex a {a/b} metadata", 0),
    ],
)
def test_what_is_the_same_for_everyone_is_kept(rules: str, expected: int) -> None:
    assert expected == entries(generation_of(in_block(rules), Response(stable_for=9, depends=("k",))))


def test_a_kept_reply_is_forgotten_with_what_it_was_made_from() -> None:
    generation = generation_of(in_block("rewrite name a b"), Seen())
    assert 1 == entries(generation)
    generation.forget(["k"])
    wire = dns.message.make_query("a", "A").to_wire()
    assert None is listener_of(generation).memo.get(wire[2:])


# ---------------------------------------------------------------- labels


class Known(Plugin):
    def labels(self, query: Query) -> Any:
        return {"known/ns": lambda: "Team-A", "known/none": lambda: ""}


@pytest.mark.parametrize(
    ("metadata", "to", "expected"),
    [
        ("metadata", "{1}.{known/ns}.svc.cluster.local.", "web.team-a.svc.cluster.local."),
        ("metadata", "{1}.{known/none}.svc.cluster.local.", "web.example."),
        ("metadata", "{1}.{un/known}.svc.cluster.local.", "web.example."),
        ("", "{1}.{known/ns}.svc.cluster.local.", "web.example."),
        ("metadata example.org", "{1}.{known/ns}.svc.cluster.local.", "web.example."),
    ],
)
def test_labels_in_names(metadata: str, to: str, expected: str) -> None:
    seen = Seen()
    generation = generation_of(in_block(f"{metadata}\nrewrite name regex ^([^.]+)\\.example\\.$ {to} metadata answer auto"), seen)
    add(generation.blocks[0], "known", Known(generation.blocks[0], Directive("known"), None))
    reply = asyncio.run(ask(generation, "web.example"))
    assert (expected, ["web.example. 5 A 10.0.0.1"]) == (seen.queries[-1].name, texts(reply.answer))


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("", "what is to be rewritten? One of name, type, class, ttl, rcode, cname, edns0"),
        ("stop", "what is to be rewritten? One of name, type, class, ttl, rcode, cname, edns0"),
        ("nam a b", "'nam' is none of name, type, class, ttl, rcode, cname, edns0, did you mean 'name'?"),
        ("answer name a b", "answer stands after a name rule"),
        ("name a", "takes [KIND] FROM TO, has a; KIND is one of exact, prefix, suffix, substring, regex"),
        ("name regx a b", "'regx' is none of exact, prefix, suffix, substring, regex, did you mean 'regex'?"),
        ("name regex [bad[ b", "'[bad[' is no regular expression: missing ]: [bad["),
        ("name regex (a) {2}", "'{2}.' names group 2, and '(a)' has 1"),
        ("name exact a b c", "'c' stands where 'answer' is expected"),
        ("name exact a b answer", "answer is followed by auto, name or value, not by ''"),
        ("name exact a b answer ttl", "answer is followed by auto, name or value, not by 'ttl'"),
        ("name exact a b answer name c", "answer name needs a regular expression and what takes its place"),
        ("name suffix a b answer auto name c d", "answer auto and answer name exclude each other: keep one"),
        ("name exact a b metadata", "metadata goes with regex"),
        ("name regex a {b} metadata", "'b' is neither a group nor a label such as kubernetes/client-namespace"),
        ("name regex a {1} metadata", "'{1}' names group 1, and 'a' has 0"),
        ("name regex a b}c metadata", "'b}c' has a brace without its other one"),
        ("type A", "takes two words, from and to, has 1"),
        ("type A WV", "unknown type 'WV'"),
        ("class IN WV", "'WV' is none of IN, CH, HS"),
        ("ttl a b", "'b' is neither seconds nor a range of them such as 30-300, -30 or 30-"),
        ("ttl a -", "'-' is neither seconds nor a range of them such as 30-300, -30 or 30-"),
        ("ttl a 300-30", "'300-30' is neither seconds nor a range of them such as 30-300, -30 or 30-"),
        ("ttl exact a 30 b", "'b' is one word too many"),
        ("rcode a SERVFAIL", "takes [KIND] NAME FROM TO, has a SERVFAIL; KIND is one of exact, prefix, suffix, substring, regex"),
        ("cname regex ( b", "'(' is no regular expression: missing ): ("),
        ("edns0", "edns0 is followed by local, nsid or subnet, not by ''"),
        ("edns0 nsid", "'' is none of set, append, replace, unset"),
        ("edns0 nsid set junk", "edns0 nsid set is followed by no words, has 1"),
        ("edns0 nsid unset revert", "edns0 nsid unset is followed by no words, has 1"),
        ("edns0 local set 0xffee", "edns0 local set is followed by 2 words, has 1"),
        ("edns0 local set 65536 a", "'65536' is not a code up to 65535"),
        ("edns0 local set 0xffee 0xabcdefg", "'0xabcdefg' is not hexadecimal"),
        (
            "edns0 local set 0xffee {dummy}",
            "'dummy' is neither a label such as kubernetes/client-namespace nor one of qname, qtype, client_ip, client_port,"
            " protocol, server_ip, server_port",
        ),
        ("edns0 subnet set 33 56", "'33' is not bits of an IPv4 address up to 32"),
        ("name a b {\nanswer auto\n}", "a block stands alone, or after continue or stop"),
    ],
)
def test_what_is_wrong(rule: str, expected: str) -> None:
    assert f"Corefile:2: rewrite: {expected}" == refused(in_block(f"rewrite {rule}"))


def test_a_code_is_a_word_or_a_number() -> None:
    assert refused(in_block("rewrite rcode a SERVFAIL 24")).endswith(", nor a number up to 23")
    assert read_rule(Directive("rewrite", ("rcode", "a", "16", "badvers"))) == read_rule(
        Directive("rewrite", ("rcode", "a", "BADSIG", "BADVERS"))
    )


def test_a_name_as_it_was_asked_is_echoed() -> None:
    reply, _ = asked("rewrite name a.example b.example", "A.eXample")
    assert (b"\x01A\x07eXample\0", "b.example.") == (reply.question[0].name.to_wire(), names.absolute("B.example"))
