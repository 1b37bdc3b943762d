"""Which answers of hosts, template, rewrite, acl, view and autopath the memo has, told by counting: each is asked three times.

An answer that depends on the question alone, or on the client's network where the plugin says so (`audience`), costs the plugins
one question; what depends on more costs three.
"""

import asyncio
import math
from pathlib import Path

import dns.message
import pytest

from kdns.core.generation import Generation
from kdns.dns.query import Address, Query, Transport
from kdns.dns.response import Response, RRset
from kdns.dns.types import A
from tests.support.configured import CLIENT, generation_of, in_block, listener_of, LOCAL

TIMES = 3
VIEW = "view v {\nexpr "
TEMPLATE = 'template IN TXT {\nanswer "{{ .Name }} 60 IN TXT '
CASES = [
    # lines of the server block, a question, how many times its plugins are asked
    ("hosts {\n10.0.0.1 a.example\n}", "a.example A", 1),
    ("hosts {\n10.0.0.1 a.example\n}", "a.example AAAA", 1),
    ("hosts {\n10.0.0.1 a.example\n}", "1.0.0.10.in-addr.arpa PTR", 1),
    ("hosts {\n10.0.0.1 *.example\nfallthrough\n}", "b.example A", 1),
    ("hosts {\n10.0.0.1 a.example\nfallthrough\n}", "behind.example A", 1),
    ("hosts {\n10.0.0.1 a.example\n}", "nothere.example A", 3),  # SERVFAIL is asked again
    (TEMPLATE + '{{ .Zone }}{{ .Type }}"\n}', "a.example TXT", 1),
    (TEMPLATE + '{{ .Zone }}"\nmatch ^x\nfallthrough\n}', "a.example TXT", 1),
    (TEMPLATE + '{{ .Remote }}"\n}', "a.example TXT", 3),
    (TEMPLATE + '{{ .Message.Id }}"\n}', "a.example TXT", 3),
    ("template IN TXT {\nrcode NXDOMAIN\n}", "a.example TXT", 1),
    ("rewrite name a.example b.example", "a.example A", 1),
    ("rewrite name regex (.*)\\.x {1}.y answer auto", "a.x A", 1),
    ("rewrite type AAAA A", "a.example AAAA", 1),
    ("rewrite ttl a.example 7", "a.example A", 1),
    ("rewrite rcode a.example NOERROR NXDOMAIN", "a.example A", 1),
    ("rewrite edns0 local set 0xffee 0x61", "a.example A", 1),
    ("rewrite edns0 local set 0xffee {client_ip}", "a.example A", 3),
    ("acl {\nblock net 192.0.2.0/24\n}", "a.example A", 1),
    ("acl {\nblock type A\n}", "a.example A", 1),
    ("acl {\nfilter net 10.244.0.0/16\n}", "a.example A", 1),
    (f"{VIEW}incidr(client_ip(), '10.0.0.0/8')\n}}", "a.example A", 1),
    (f"{VIEW}type() == 'A' && name() startsWith 'a'\n}}", "a.example A", 1),
    (f"{VIEW}id() == 0 || port() != '1'\n}}", "a.example A", 3),
    ("autopath example resolv.conf", "b.one.example A", 1),
]


def behind(query: Query) -> Response:
    """What stands behind: one address for any name."""
    return Response(answer=(RRset(query.name, A, 5, (b"\x0a\0\0\2",)),), stable_for=math.inf)


def asked(generation: Generation, question: str, client: Address) -> int:
    """How many of some questions alike were not answered from the memo."""
    listener = listener_of(generation)
    name, type = question.split()
    count = 0
    for id in range(TIMES):
        wire = dns.message.make_query(name, type, id=id, use_edns=0, payload=1232).to_wire()
        if listener.replay(wire[2:], client, Transport.UDP) is None:
            count += 1
            asyncio.run(_asked(generation, wire, client))
    return count


async def _asked(generation: Generation, wire: bytes, client: Address) -> None:
    assert isinstance(await listener_of(generation).reply(wire, client, LOCAL, Transport.UDP), bytes)


@pytest.fixture(autouse=True)
def search_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resolv.conf").write_text("search one.example two.example\n")


@pytest.mark.parametrize(("lines", "question", "times"), CASES)
def test_what_the_memo_has(lines: str, question: str, times: int) -> None:
    assert times == asked(generation_of(in_block(lines), behind), question, CLIENT)


@pytest.mark.parametrize("lines", ["acl {\nblock net 192.0.2.0/24\n}", f"{VIEW}incidr(client_ip(), '192.0.2.0/24')\n}}\n"])
def test_clients_of_one_kind_cost_one_question(lines: str) -> None:
    generation = generation_of(in_block(lines) + ". {\nhosts {\n10.0.0.1 a.example\n}\n}\n" * ("view" in lines), behind)
    every = [Address(host, 1) for host in ("192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.2", "203.0.113.1")]
    assert [1, 0, 1, 0, 0] == [asked(generation, "a.example A", client) for client in every]
