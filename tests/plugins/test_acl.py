"""*acl*: who may ask what; that the memo keeps each client's own verdict."""

import asyncio
import math

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from kdns.dns.query import Address, Query, Transport
from kdns.dns.response import Made, Response, RRset
from kdns.dns.types import A
from tests.support.configured import add, ask, Fixed, generation_of, in_block, listener_of, LOCAL, refused
from tests.support.running import serving


def known(query: Query) -> Response:
    return Response(answer=(RRset(query.name, A, 5, (bytes((192, 0, 2, 1)),)),), stable_for=math.inf, made=Made("fixed"))


async def verdict(corefile: str, name: str, type: str, host: str) -> str:
    generation = generation_of(corefile, known)
    query = dns.message.make_query(name, type, use_edns=0)
    reply = await listener_of(generation).reply(query.to_wire(), Address(host, 5353), LOCAL, Transport.UDP)
    assert reply is None or isinstance(reply, bytes)
    return "silence" if reply is None else shown(dns.message.from_wire(reply))


def shown(message: dns.message.Message) -> str:
    error = "".join(f" {option.to_text()}" for option in message.options)
    return ("answer" if message.answer else dns.rcode.to_text(message.rcode())) + error


BLOCKED, FILTERED = "REFUSED EDE 15 (Blocked)", "NOERROR EDE 17 (Filtered)"
BY_TYPE = "acl {\nblock type A net 192.168.0.0/16\n}"
EXCEPT = "acl {\nallow net 192.168.1.0/24\nblock net 192.168.0.0/16\n}"
ONLY = "acl {\nallow net 192.168.0.0/24 192.168.1.0/24\nblock\n}"
ZONE = "acl a.example.org {\ndrop net 192.168.1.0/24\n}"
SIX = "acl {\nfilter type AAAA TYPE65 net fd00::/8 10.0.0.1\n}"
STARS = "acl {\nallow type TXT net *\nblock type * net *\n}"
TWICE = "acl {\nfilter type A\n}\nacl {\nblock\n}"

CASES = [
    (BY_TYPE, "example.org", "A", "192.168.7.7", BLOCKED),
    (BY_TYPE, "example.org", "AAAA", "192.168.7.7", "answer"),
    (BY_TYPE, "example.org", "A", "192.169.7.7", "answer"),
    (BY_TYPE, "example.org", "A", "fd00::1", "answer"),
    (EXCEPT, "example.org", "A", "192.168.1.255", "answer"),
    (EXCEPT, "example.org", "A", "192.168.2.0", BLOCKED),
    (EXCEPT, "example.org", "A", "10.0.0.1", "answer"),
    (ONLY, "example.org", "A", "192.168.1.1", "answer"),
    (ONLY, "example.org", "A", "192.168.2.1", BLOCKED),
    (ZONE, "A.example.org", "A", "192.168.1.1", "silence"),
    (ZONE, "b.a.example.org", "A", "192.168.1.1", "silence"),
    (ZONE, "example.org", "A", "192.168.1.1", "answer"),
    (ZONE, "a.example.org", "A", "192.168.2.1", "answer"),
    (SIX, "example.org", "AAAA", "fd12::7", FILTERED),
    (SIX, "example.org", "HTTPS", "10.0.0.1", FILTERED),
    (SIX, "example.org", "AAAA", "10.0.0.2", "answer"),
    (STARS, "example.org", "TXT", "10.0.0.2", "answer"),
    (STARS, "example.org", "MX", "fd00::1", BLOCKED),
    (TWICE, "example.org", "A", "10.0.0.2", FILTERED),
    (TWICE, "example.org", "MX", "10.0.0.2", BLOCKED),
]


@pytest.mark.parametrize(("rules", "name", "type", "host", "expected"), CASES)
def test_verdicts(rules: str, name: str, type: str, host: str, expected: str) -> None:
    assert expected == asyncio.run(verdict(in_block(rules), name, type, host))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("acl", "Corefile:2: acl: has no rule: what has to be blocked?"),
        ("acl a..b", "Corefile:2: acl: 'a..b.' is not a domain name: a label is empty"),
        ("acl {\nblok\n}", "Corefile:3: acl: unknown option 'blok', did you mean 'block'?"),
        ("acl {\nblock 10.0.0.0/8\n}", "Corefile:3: acl: block: '10.0.0.0/8' is neither 'type' nor 'net'"),
        ("acl {\nblock net\n}", "Corefile:3: acl: block: 'net' is followed by nothing, write '*' for all"),
        ("acl {\nblock type BOGUS\n}", "Corefile:3: acl: block: unknown type 'BOGUS'"),
        (
            "acl {\nblock net 10.0.0.0/33\n}",
            "Corefile:3: acl: block: '10.0.0.0/33' is neither an address nor a prefix such as 10.0.0.0/8 or 2001:db8::/32",
        ),
    ],
)
def test_what_is_refused(lines: str, expected: str) -> None:
    assert expected == refused(in_block(lines))


CLIENTS = {"127.0.0.2": BLOCKED, "127.0.0.3": FILTERED, "127.0.0.4": "answer"}
RULES = "acl {\nblock net 127.0.0.2\nfilter net 127.0.0.3/32\n}"


async def said(host: str, port: int) -> str:
    """What a running server says to a client of this address."""
    query = dns.message.make_query("a.example.", "A", use_edns=0)
    return shown(await dns.asyncquery.udp(query, "127.0.0.1", 5, port=port, source=host))


def test_each_client_has_its_own_verdict_out_of_the_memo_too(free_port: int) -> None:
    async def run() -> tuple[list[dict[str, str]], int, dict[str, float]]:
        async with serving(f".:{free_port} {{\nbind 127.0.0.1\nprometheus 127.0.0.1:0\n{RULES}\n}}") as server:
            block = server.generation.blocks[0]
            add(block, "fixed", Fixed(known))
            rounds = [{host: await said(host, free_port) for host in hosts} for hosts in (CLIENTS, [*CLIENTS][::-1], CLIENTS)]
            listener = listener_of(server.generation)
            hits = listener.counts.hits
            await server.generation.fold()
            counted = {
                sample.name: sample.value
                for family in server.generation.metrics.registry().collect()
                for sample in family.samples
                if sample.name.startswith("coredns_acl_")
            }
            return rounds, hits, counted

    rounds, hits, counted = asyncio.run(run())
    assert [CLIENTS] * 3 == rounds
    assert 6 == hits
    assert {
        "coredns_acl_blocked_requests_total": 3,
        "coredns_acl_filtered_requests_total": 3,
        "coredns_acl_allowed_requests_total": 3,
    } == counted


def test_clients_of_one_kind_share_their_replies() -> None:
    async def run() -> int:
        generation = generation_of(in_block(EXCEPT), known)
        for host in ("192.168.1.1", "192.168.1.2", "192.168.9.1", "192.168.9.2", "10.0.0.1", "10.9.9.9"):
            await ask(generation, "a.example.", client=Address(host, 1))
        return len(listener_of(generation).memo)

    assert 3 == asyncio.run(run())


def test_many_networks_cost_a_client_a_look_up_for_each_length() -> None:
    nets = " ".join(f"10.{n >> 8}.{n & 255}.0/24" for n in range(2000))
    assert BLOCKED == asyncio.run(verdict(in_block(f"acl {{\nblock net {nets}\n}}"), "a.example", "A", "10.7.207.9"))
    assert "answer" == asyncio.run(verdict(in_block(f"acl {{\nblock net {nets}\n}}"), "a.example", "A", "10.7.208.9"))
