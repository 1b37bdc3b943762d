"""*forward*: its options, whom it asks, what it makes of replies, and that it leaves nothing behind."""

import asyncio
import os
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from kdns.core.generation import Generation
from kdns.dns.query import Query, Transport
from kdns.dns.types import NXDOMAIN, RD, REFUSED, SERVFAIL
from kdns.errors import UpstreamError
from kdns.plugins.forward import Forward
from kdns.plugins.forward.options import Options
from kdns.server.load import load
from kdns.testing.upstream import address, answer, Asked, Close, Elsewhere, FakeUpstream, Half, Script, Step, with_id
from kdns.upstream.targets import Target, Tls
from kdns.upstream.upstream import Exclusion, Terms
from tests.support.certificates import certificate
from tests.support.configured import answers, ask, in_block, refused

UNBOUND = shutil.which("unbound") or shutil.which("unbound", path="/usr/sbin")


@asynccontextmanager
async def serving(corefile: str) -> AsyncIterator[Generation]:
    """An generation of a Corefile; once it is closed, no socket and no task of it is left."""
    before = _open()
    generation = load(corefile)
    generation.metrics.registry()
    try:
        yield generation
    finally:
        await generation.close()
    for _ in range(100):  # what an upstream of the tests has open ends a little later
        if _open() == before:
            break
        await asyncio.sleep(0.01)
    assert before == _open()


def _open() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())


def forwarding(*ports: int, options: str = "", scheme: str = "") -> str:
    to = " ".join(f"{scheme}127.0.0.1:{port}" for port in ports)
    return in_block(f"forward . {to} {{\n{options}\n}}")


def plugin(generation: Generation) -> Forward:
    found = generation.blocks[0].named("forward")[0]
    assert isinstance(found, Forward)
    return found


def why(message: dns.message.Message) -> list[str]:
    return [f"{option.code} {option.text}" for option in message.options if isinstance(option, dns.edns.EDEOption)]


# ---------------------------------------------------------------- the directive

ERRORS = [
    ("forward", "Corefile:2: forward: takes at least 2 arguments, has none"),
    ("forward .", "Corefile:2: forward: takes at least 2 arguments, has 1"),
    ("forward . a..example", "Corefile:2: forward: 'a..example' is neither an address nor a file nor a host name"),
    ("forward . /nonexistent", "Corefile:2: forward: '/nonexistent' is neither an address nor a file nor a host name"),
    ("forward . /dev/null", "Corefile:2: forward: '/dev/null' is neither an address nor a file nor a host name"),
    ("forward . quic://10.0.0.1",
     "Corefile:2: forward: 'quic://10.0.0.1': quic:// is not served by kdns; dns://, tls://, https:// are: use one"),
    ("forward a..b 10.0.0.1", "Corefile:2: forward: 'a..b.' is not a domain name: a label is empty"),
    ("forward . " + "10.0.0.1 " * 16, "Corefile:2: forward: takes at most 15 upstreams, has 16"),
    ("forward . 10.0.0.1 {\nexpired 1s\n}", "Corefile:3: forward: unknown option 'expired', did you mean 'expire'?"),
    ("forward . 10.0.0.1 {\nexpire -1s\n}", "Corefile:3: forward: expire: '-1s' is out of range: at least 0s"),
    ("forward . 10.0.0.1 {\nmax_age 5s\n}", "Corefile:2: forward: max_age (5 s) must not be less than expire (10 s)"),
    ("forward . 10.0.0.1 {\nexcept\n}", "Corefile:3: forward: except: takes at least 1 argument, has none"),
    ("forward . 10.0.0.1 {\nforce_tcp yes\n}", "Corefile:3: forward: force_tcp: takes no arguments, has 1"),
    ("forward . 10.0.0.1 {\npolicy best\n}",
     "Corefile:3: forward: policy: 'best' is none of random, round_robin, sequential, fastest"),
    ("forward . 10.0.0.1 {\nfailover NOERROR\n}", "Corefile:3: forward: failover: NOERROR is no failure"),
    ("forward . 10.0.0.1 {\nread_timeout 0s\n}", "Corefile:3: forward: read_timeout: '0s' is out of range: at least 0.001s"),
    ("forward . 10.0.0.1 {\nhealth_check 1s norec\n}",
     "Corefile:3: forward: health_check: 'norec' is neither no_rec nor domain and a name"),
    ("forward . 10.0.0.1 {\nsource_address lo\n}", "Corefile:3: forward: source_address: 'lo' is not an IP address"),
    ("forward . dns.example {\nresolver\n}", "Corefile:3: forward: resolver: takes at least 1 argument, has none"),
    ("forward . dns.example {\nresolver ns.example\n}",
     "Corefile:3: forward: resolver: 'ns.example' is not an address, with a port or without"),
    ("forward . dns.example {\nresolver tls://10.0.0.1\n}",
     "Corefile:3: forward: resolver: 'tls://10.0.0.1' is not an address, with a port or without"),
    ("forward . tls://10.0.0.1%a.example {\ntls_servername b.example\n}",
     "Corefile:2: forward: tls_servername and '%a.example' exclude each other: keep one"),
    ("forward . tls://10.0.0.1 {\ntls /nonexistent\n}",
     "Corefile:2: forward: tls: [Errno 2] No such file or directory: '/nonexistent'"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), ERRORS)
def test_errors_name_line_and_reason(line: str, expected: str) -> None:
    assert expected == refused(in_block(line))


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"search example.org\n", "FILE names no nameserver"),
        (b"nameserver 10.0.0.1\n" * 5000, "cannot read FILE: it has 100000 octets, more than 65536"),
        (b"nameserver \xff\n", "cannot read FILE: it is not UTF-8 text"),
    ],
)
def test_a_file_without_nameservers_is_an_error(octets: bytes, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_bytes(octets)
    assert f"Corefile:2: forward: {expected.replace('FILE', str(file))}" == refused(in_block(f"forward . {file}"))


LINES = """
    except example.org 10.0.0.0/9
    except example.net
    force_tcp
    prefer_udp
    expire 20s
    max_age 1m
    max_idle_conns 3
    read_timeout 1s
    max_fails 3
    max_connect_attempts 4
    tls
    tls_servername dns.example
    policy fastest
    health_check 5s no_rec domain example.org
    max_concurrent 1000
    next NXDOMAIN refused
    next_on_nodata
    failfast_all_unhealthy_upstreams
    failover SERVFAIL
    source_address 127.0.0.1
    use_caps_for_id
    resolver 10.0.0.3 [2001:db8::3]:5353
"""


def test_all_options_are_read() -> None:
    generation = load(in_block(f"forward example 10.0.0.1:5300 tls://10.0.0.2 {{{LINES}}}"))
    expected = Options(
        where=(("example.",), ("10.0.0.1:5300", "tls://10.0.0.2")),
        except_=("example.org.", *(f"{n}.10.in-addr.arpa." for n in range(128)), "example.net."),
        force_tcp=True,
        prefer_udp=True,
        expire=20.0,
        max_age=60.0,
        max_idle_conns=3,
        read_timeout=1.0,
        max_fails=3,
        max_connect_attempts=4,
        tls=("", "", ""),
        tls_servername="dns.example",
        policy="fastest",
        health_check={"interval": 5.0, "recurse": False, "domain": "example.org."},
        max_concurrent=1000,
        next=frozenset({NXDOMAIN, REFUSED}),
        next_on_nodata=True,
        failfast_all_unhealthy_upstreams=True,
        failover=frozenset({SERVFAIL}),
        source_address="127.0.0.1",
        use_caps_for_id=True,
        resolver=(Target("10.0.0.3"), Target("2001:db8::3", 5353)),
    )
    [forward] = generation.blocks[0].named("forward")
    assert isinstance(forward, Forward)
    assert expected == forward.options
    terms = Terms(
        expire=20.0, max_age=60.0, max_idle=3, max_fails=3, source="127.0.0.1", interval=5.0, recurse=False,
        domain="example.org.", force_tcp=True, tls=Tls(server_name="dns.example"), random_case=True,
    )  # fmt: skip
    assert terms == expected.terms(Tls(server_name="dns.example"))
    assert [("10.0.0.1:5300", "dns"), ("10.0.0.2:853", "tls")] == [(up.name, up.target.scheme) for up in forward.upstreams]
    asyncio.run(generation.close())


def test_options_have_defaults() -> None:
    generation = load(in_block("forward . 10.0.0.1"))
    [forward] = generation.blocks[0].named("forward")
    assert isinstance(forward, Forward)
    assert Options(where=((".",), ("10.0.0.1",))) == forward.options
    assert Terms(expire=10.0, max_age=0.0, max_idle=0, max_fails=2, interval=0.5, recurse=True, domain=".") == Terms()
    assert (2.0, None, "random", 0) == (
        forward.options.read_timeout, forward.options.max_connect_attempts, forward.options.policy,
        forward.options.max_concurrent,
    )  # fmt: skip
    asyncio.run(generation.close())


TAKEN = [
    (".", "", "a.example.", True),
    ("example", "", "a.example.", True),
    ("example", "", "example.", True),
    ("example", "", "notexample.", False),
    (".", "except a.example", "b.a.example.", False),
    (".", "except a.example", "ba.example.", True),
    ("a.example", "except a.example", "a.example.", True),
    ("10.0.0.0/9", "", "1.0.100.10.in-addr.arpa.", True),
    ("10.0.0.0/9", "", "1.0.200.10.in-addr.arpa.", False),
]


@pytest.mark.parametrize(("origin", "option", "name", "taken"), TAKEN)
def test_which_names_are_forwarded(origin: str, option: str, name: str, taken: bool) -> None:
    async def run() -> None:
        async with FakeUpstream() as up:
            line = f"forward {origin} 127.0.0.1:{up.port} {{\n{option}\n}}"
            async with serving(in_block(line)) as generation:
                expected = ["192.0.2.1"] if taken else []
                assert expected == answers(await ask(generation, name))

    asyncio.run(run())


# ---------------------------------------------------------------- what goes through


def both_ways(script: Script, name: str = "www.example.org", options: str = "", **asking: Any) -> tuple[Any, list[Asked]]:
    """A reply through *forward*, and what its upstream was asked."""

    async def run() -> tuple[Any, list[Asked]]:
        async with FakeUpstream(script) as up, serving(forwarding(up.port, options=options)) as generation:
            return await ask(generation, name, **asking), up.asked

    return asyncio.run(run())


FLAGS = [  # AD is always asked for (RFC 6840 5.7), whoever asks
    ("QR RD RA", "RD", "RD AD", "QR RD RA"),
    ("QR AA RD RA", "RD", "RD AD", "QR AA RD RA"),
    ("QR RD RA AD", "RD AD", "RD AD", "QR RD RA AD"),
    ("QR RD RA AD", "RD", "RD AD", "QR RD RA"),  # and told to those who know it (5.8)
    ("QR RD RA CD", "RD CD", "RD AD CD", "QR RD RA CD"),
    ("QR RA", "", "AD", "QR RA"),
]


@pytest.mark.parametrize(("upstream", "client", "asked", "expected"), FLAGS)
def test_flags_go_through(upstream: str, client: str, asked: str, expected: str) -> None:
    reply, questions = both_ways(
        lambda q: [answer(q, "www.example.org. 5 IN A 192.0.2.1", flags=upstream)], flags=dns.flags.from_text(client)
    )
    assert (asked, expected) == (dns.flags.to_text(questions[0].message.flags), dns.flags.to_text(reply.flags))


AD_CLIENTS: list[tuple[dict[str, Any], bool]] = [
    ({}, False), ({"flags": "RD AD"}, True), ({"use_edns": 0}, False), ({"want_dnssec": True}, True),
]  # fmt: skip


@pytest.mark.parametrize("first", AD_CLIENTS)
@pytest.mark.parametrize("second", AD_CLIENTS)
def test_who_shares_an_answer_learns_what_was_validated(
    first: tuple[dict[str, Any], bool], second: tuple[dict[str, Any], bool]
) -> None:
    def validated(asked: Asked) -> Sequence[Step]:
        return [answer(asked, f"{asked.name} 60 IN A 192.0.2.1", flags="QR RD RA AD")]

    async def run() -> None:
        async with FakeUpstream(validated) as up, serving(in_block(f"cache\nforward . 127.0.0.1:{up.port}")) as generation:
            for asking, expected in (first, second):
                flags = dns.flags.from_text(asking.get("flags", "RD"))
                reply = await ask(generation, "www.example.org", **{**asking, "flags": flags})
                assert expected == bool(reply.flags & dns.flags.AD)

    asyncio.run(run())


RCODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "NOTAUTH"]


@pytest.mark.parametrize("rcode", RCODES)
def test_codes_go_through(rcode: str) -> None:
    reply, questions = both_ways(lambda q: [answer(q, rcode=rcode)], use_edns=0)
    assert (rcode, 1) == (dns.rcode.to_text(reply.rcode()), len(questions))


CLIENTS = [{}, {"use_edns": 0, "payload": 4096}, {"use_edns": 0, "want_dnssec": True, "payload": 512}]


@pytest.mark.parametrize("client", CLIENTS)
def test_edns_is_ours_on_each_side(client: dict[str, Any]) -> None:
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"01234567")

    async def run() -> tuple[dns.message.Message, list[Asked]]:
        async with FakeUpstream(lambda q: [answer(q, options=[cookie])]) as up, serving(forwarding(up.port)) as generation:
            asking = {**client, "options": [cookie]} if client else {}
            return await ask(generation, "www.example.org", **asking), up.asked

    reply, questions = asyncio.run(run())
    asked = questions[0].message
    assert (0, 1232, bool(client.get("want_dnssec")), ()) == (
        asked.edns, asked.payload, bool(asked.ednsflags & dns.flags.DO), asked.options
    )  # fmt: skip
    assert (0 if client else -1, ()) == (reply.edns, reply.options)


def test_a_server_that_does_not_know_edns_is_asked_without() -> None:
    async def run() -> None:
        def old(asked: Asked) -> Sequence[Step]:
            return [answer(asked, rcode="FORMERR", edns=False)] if asked.message.edns >= 0 else address(asked)

        async with FakeUpstream(old) as up, serving(forwarding(up.port)) as generation:
            for _ in range(2):
                assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org", use_edns=0))
            assert [0, -1, -1] == [asked.message.edns for asked in up.asked]

    asyncio.run(run())


@pytest.mark.parametrize("rcode", ["BADVERS", "BADCOOKIE", "3841"])
@pytest.mark.parametrize(("honest_without", "expected"), [(True, "NOERROR"), (False, "SERVFAIL")])
def test_codes_of_edns_are_for_us_alone(rcode: str, honest_without: bool, expected: str) -> None:
    """Without EDNS their lower bits would be NOERROR, YXRRSET, NXDOMAIN."""

    def script(asked: Asked) -> Sequence[Step]:
        return address(asked) if asked.message.edns < 0 and honest_without else [answer(asked, rcode=rcode)]

    for client in ({}, {"use_edns": 0}):
        reply, questions = both_ways(script, **client)
        assert (expected, [0, -1]) == (dns.rcode.to_text(reply.rcode()), [asked.message.edns for asked in questions][:2])


BARE = ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"]


@pytest.mark.parametrize("rcode", BARE)
def test_a_failure_may_come_without_the_question(rcode: str) -> None:
    def script(asked: Asked) -> Sequence[Step]:
        return [asked.message.to_wire()[:2] + struct.pack("!5H", 0x8180 | dns.rcode.from_text(rcode), 0, 0, 0, 0)]

    reply, questions = both_ways(script)
    assert (rcode, {"udp"}) == (dns.rcode.to_text(reply.rcode()), {asked.transport for asked in questions})


def test_a_path_that_drops_edns_costs_one_question() -> None:
    """What has no reply with EDNS is asked without, and so are those after it; health checks see both."""

    async def run() -> None:
        def path(asked: Asked) -> Sequence[Step]:
            return address(asked) if asked.message.edns < 0 else []

        options = "read_timeout 100ms\nhealth_check 20ms"
        async with FakeUpstream(path) as up, serving(forwarding(up.port, options=options)) as generation:
            for n in range(5):
                assert ["192.0.2.1"] == answers(await ask(generation, f"{n}.example.org", use_edns=0))
            edns = [asked.message.edns for asked in up.asked if asked.name != "."]
            assert [0, -1, -1, -1, -1, -1] == edns
            assert 1.0 == counted(generation, "kdns_forward_without_edns", f"127.0.0.1:{up.port}")
            assert plugin(generation).upstreams[0].usable

    asyncio.run(run())


def test_why_an_upstream_failed_goes_through() -> None:
    error = dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS, "bogus")
    reply, _ = both_ways(lambda q: [answer(q, rcode="SERVFAIL", options=[error])], use_edns=0)
    assert (["6 bogus"], dns.rcode.SERVFAIL) == (why(reply), reply.rcode())


def test_negative_answers_go_through_with_and_without_soa() -> None:
    soa = "example.org. 300 IN SOA ns. host. 1 2 3 4 5"
    reply, _ = both_ways(lambda q: [answer(q, rcode="NXDOMAIN", authority=[soa])])
    assert [soa] == [rrset.to_text() for rrset in reply.authority]
    reply, _ = both_ways(lambda q: [answer(q, rcode="NXDOMAIN")])
    assert ([], dns.rcode.NXDOMAIN) == (reply.authority, reply.rcode())


MANY = [f"www.example.org. 5 IN A 192.0.2.{n}" for n in range(1, 60)]  # over 512 octets, below 1232


def truncated_over_udp(asked: Asked) -> Sequence[Step]:
    if asked.transport == "udp":
        return [answer(asked, flags="QR TC RD RA")]
    return [answer(asked, *MANY)]


TRUNCATED = [
    ("", Transport.UDP, ["udp"], True, 0),
    ("", Transport.TCP, ["tcp"], False, 59),
    ("force_tcp", Transport.UDP, ["tcp"], False, 59),
    ("prefer_udp", Transport.TCP, ["udp", "tcp"], False, 59),
    ("prefer_udp", Transport.UDP, ["udp", "tcp"], False, 59),
    ("prefer_udp\nforce_tcp", Transport.TCP, ["tcp"], False, 59),
]


@pytest.mark.parametrize(("options", "transport", "asked", "truncated", "count"), TRUNCATED)
def test_transports_and_truncation(
    options: str, transport: Transport, asked: list[str], truncated: bool, count: int
) -> None:  # fmt: skip
    reply, questions = both_ways(truncated_over_udp, options=options, transport=transport, use_edns=0)
    assert (asked, truncated, count) == (
        [question.transport for question in questions], bool(reply.flags & dns.flags.TC), len(answers(reply))
    )  # fmt: skip


def test_a_large_answer_is_cut_for_a_client_without_edns() -> None:
    reply, questions = both_ways(lambda q: [answer(q, *MANY)])
    assert (True, 29) == (bool(reply.flags & dns.flags.TC), len(answers(reply)))
    assert ["udp"] == [question.transport for question in questions]


VERSION = 'version.bind. 0 CH TXT "2.7"'
CLASSES = [
    ("forward . 127.0.0.1:PORT", "CH", [VERSION]),
    ("cache\nloadbalance\nforward . 127.0.0.1:PORT", "CH", [VERSION]),
    ("whoami\nforward . 127.0.0.1:PORT", "CH", [VERSION]),
    ("whoami", "CH", []),
    ("forward . 127.0.0.1:PORT", "ANY", []),
]


@pytest.mark.parametrize(("lines", "cls", "expected"), CLASSES)
def test_names_of_other_classes_are_for_upstreams(lines: str, cls: str, expected: list[str]) -> None:
    async def run() -> None:
        async with (
            FakeUpstream(lambda q: [answer(q, VERSION)]) as up,
            serving(in_block(lines.replace("PORT", str(up.port)))) as generation,
        ):
            for _ in range(2):
                reply = await ask(generation, "version.bind", "TXT", rdclass=cls)
                assert expected == [rrset.to_text() for rrset in reply.answer]
                assert (dns.rcode.NOERROR if expected else dns.rcode.REFUSED) == reply.rcode()
            assert (2 if expected else 0) == len(up.asked)

    asyncio.run(run())


RECURSION = [
    ("whoami", False),
    ("whoami\nforward b.example 192.0.2.1", True),
    ("forward b.example 192.0.2.1", True),  # REFUSED here
]


@pytest.mark.parametrize(("lines", "expected"), RECURSION)
def test_recursion_is_available_where_others_can_be_asked(lines: str, expected: bool) -> None:
    async def run() -> None:
        async with serving(in_block(lines)) as generation:
            reply = await ask(generation, "a.example")
            assert expected == bool(reply.flags & dns.flags.RA)

    asyncio.run(run())


# ---------------------------------------------------------------- lies


def honest(asked: Asked) -> bytes:
    return answer(asked, f"{asked.name} 60 IN A 192.0.2.1")


def lie(asked: Asked) -> bytes:
    return answer(asked, f"{asked.name} 60 IN A 192.0.2.66")


def about(asked: Asked, name: str, type: str = "A") -> bytes:
    """A lie whose question is another."""
    other = dns.message.make_query(name, type, id=asked.id, use_edns=0)
    return answer(Asked(other, "udp", asked.client), f"{name} 60 IN A 192.0.2.66")


LIES: list[tuple[str, Script]] = [
    ("id", lambda q: [with_id(lie(q), q.id ^ 1), 0.02, honest(q)]),
    ("question", lambda q: [about(q, "evil.example."), 0.02, honest(q)]),
    ("type", lambda q: [about(q, q.name, "AAAA"), 0.02, honest(q)]),
    ("source", lambda q: [Elsewhere(lie(q)), 0.02, honest(q)]),
    ("question, not reply", lambda q: [q.message.to_wire(), 0.02, honest(q)]),
    ("short", lambda q: [b"", lie(q)[:11], 0.02, honest(q)]),
    ("a few ids", lambda q: [*[with_id(lie(q), q.id + n & 0xFFFF) for n in range(1, 3)], 0.02, honest(q)]),
    ("twice", lambda q: [honest(q), lie(q)]),
]


@pytest.mark.parametrize(("kind", "script"), LIES)
def test_lies_are_ignored(kind: str, script: Script) -> None:
    reply, questions = both_ways(script)
    assert ["192.0.2.1"] == answers(reply)
    assert 1 == len(questions)


def test_the_case_of_letters_goes_through() -> None:
    reply, questions = both_ways(address, name="wWw.eXample.org")
    assert ("wWw.eXample.org.", "wWw.eXample.org.") == (questions[0].name, reply.question[0].name.to_text())


def flood(asked: Asked) -> Sequence[Step]:
    """Over UDP many lies, each with another id, and then the truth; over TCP the truth."""
    if asked.transport == "tcp":
        return [honest(asked)]
    return [*[with_id(lie(asked), asked.id + n & 0xFFFF) for n in range(1, 50)], honest(asked)]


def test_who_is_guessed_at_asks_over_tcp_and_from_another_port_then() -> None:
    async def run() -> None:
        async with FakeUpstream(flood) as up, serving(forwarding(up.port)) as generation:
            replies = await asyncio.gather(*(ask(generation, f"{n}.example.org") for n in range(8)))
            assert [["192.0.2.1"]] * 8 == [answers(reply) for reply in replies]
            assert {"udp": 8, "tcp": 8} == Counter(asked.transport for asked in up.asked)
            assert 8 == counted(generation, "kdns_forward_spoofed_total", f"127.0.0.1:{up.port}")
            up.script = address
            await ask(generation, "again.example.org")
            ports = {asked.client[1] for asked in up.asked[:-1]}
            assert ("udp", False) == (up.asked[-1].transport, up.asked[-1].client[1] in ports)

    asyncio.run(run())


def test_many_questions_are_under_way_at_once() -> None:
    def slow(asked: Asked) -> Sequence[Step]:
        n = int(asked.name.split(".")[0])
        return [0.1 - n / 4000, answer(asked, f"{asked.name} 60 IN A 192.0.2.{n}")]

    async def run() -> None:
        async with FakeUpstream(slow) as up, serving(forwarding(up.port)) as generation:
            for transport in Transport:
                asks = [ask(generation, f"{n}.example.org", transport=transport) for n in range(200)]
                replies = await asyncio.wait_for(asyncio.gather(*asks), 2)
                assert [[f"192.0.2.{n}"] for n in range(200)] == [answers(reply) for reply in replies]
            assert up.connections <= 16

    asyncio.run(run())


# ---------------------------------------------------------------- failures


def silent(asked: Asked) -> Sequence[Step]:
    return []


@pytest.fixture
def closed_port(free_port: int) -> int:
    return free_port


FAILED: list[tuple[str, Script, str, Transport, str]] = [
    ("silence", silent, "", Transport.UDP, "22 127.0.0.1:PORT: no reply within 0.1 s"),
    ("silence over TCP", silent, "", Transport.TCP, "22 127.0.0.1:PORT: no reply within 0.1 s"),
    ("garbage", lambda q: [honest(q)[:-20]], "", Transport.UDP, "23 127.0.0.1:PORT: its reply is cut short"),
    ("closed", lambda q: [Close()], "", Transport.TCP, "23 127.0.0.1:PORT: it closed the connection"),
    ("half", lambda q: [Half(honest(q), 20)], "", Transport.TCP, "23 127.0.0.1:PORT: it closed the connection"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "script", "options", "transport", "expected"), FAILED)
def test_failures_say_why(kind: str, script: Script, options: str, transport: Transport, expected: str) -> None:
    async def run() -> None:
        async with (
            FakeUpstream(script) as up,
            serving(forwarding(up.port, options=f"read_timeout 100ms\n{options}")) as generation,
        ):
            reply = await ask(generation, "www.example.org", transport=transport, use_edns=0)
            assert dns.rcode.SERVFAIL == reply.rcode()
            assert [expected.replace("PORT", str(up.port))] == why(reply)
            assert 2 == sum(asked.name == "www.example.org." for asked in up.asked)  # twice as many as upstreams

    asyncio.run(run())


@pytest.mark.parametrize("transport", Transport)
def test_a_closed_port_moves_on_at_once(closed_port: int, transport: Transport) -> None:
    async def run() -> None:
        async with (
            FakeUpstream() as up,
            serving(forwarding(closed_port, up.port, options="policy sequential")) as generation,
        ):
            reply = await asyncio.wait_for(ask(generation, "www.example.org", transport=transport), 1)
            assert ["192.0.2.1"] == answers(reply)

    asyncio.run(run())


def test_all_ports_closed_says_so(closed_port: int) -> None:
    async def run() -> None:
        async with serving(forwarding(closed_port)) as generation:
            reply = await asyncio.wait_for(ask(generation, "www.example.org", use_edns=0), 1)
            assert [f"23 127.0.0.1:{closed_port}: connection refused"] == why(reply)

    asyncio.run(run())


def test_a_dead_upstream_costs_one_query_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdns.upstream.upstream.CHECK", 0.1)

    async def run() -> None:
        async with FakeUpstream(silent) as dead, FakeUpstream() as up:
            options = "policy sequential\nread_timeout 400ms\nhealth_check 50ms\nmax_fails 1"
            async with serving(forwarding(dead.port, up.port, options=options)) as generation:
                loop = asyncio.get_running_loop()
                took = []
                for n in range(20):
                    began = loop.time()
                    assert ["192.0.2.1"] == answers(await ask(generation, f"{n}.example.org"))
                    took.append(loop.time() - began > 0.39)
                assert [True] + [False] * 19 == took
                await asyncio.sleep(0.2)  # a check fails
                assert [True, False] == [upstream.health.down for upstream in plugin(generation).upstreams]
                dead.script = address
                await asyncio.sleep(0.4)
                assert [False, False] == [upstream.health.down for upstream in plugin(generation).upstreams]
                await ask(generation, "again.example.org")
                assert "again.example.org." == dead.asked[-1].name

    asyncio.run(run())


CHECKS = [("", ". NS", True), ("health_check 20ms no_rec domain Example.org", "example.org. NS", False),
          ("force_tcp", ". NS", True)]  # fmt: skip


@pytest.mark.parametrize(("options", "question", "recursion"), CHECKS)
def test_what_a_check_asks(options: str, question: str, recursion: bool) -> None:
    options = f"read_timeout 50ms\n{options}"

    async def run() -> None:
        async with FakeUpstream(silent) as up, serving(forwarding(up.port, options=options)) as generation:
            await ask(generation, "www.example.org")
            check = next(asked for asked in up.asked if asked.name != "www.example.org.")
            asked = check.message.question[0]
            assert (question, recursion, "tcp" if "tcp" in options else "udp") == (
                f"{asked.name} {asked.rdtype.name}", bool(check.message.flags & RD), check.transport
            )  # fmt: skip

    asyncio.run(run())


ALL_DOWN = [("", ["192.0.2.1"], 1.0), ("failfast_all_unhealthy_upstreams", [], 1.0)]


@pytest.mark.parametrize(("options", "expected", "broken"), ALL_DOWN)
def test_all_are_down(options: str, expected: list[str], broken: float) -> None:
    async def run() -> None:
        async with FakeUpstream() as up, serving(forwarding(up.port, options=options)) as generation:
            plugin(generation).upstreams[0].health.fails = 2
            assert expected == answers(await ask(generation, "www.example.org"))
            assert broken == counted(generation, "coredns_forward_healthcheck_broken_total")

    asyncio.run(run())


def test_max_fails_0_checks_nothing(closed_port: int) -> None:
    async def run() -> None:
        async with serving(forwarding(closed_port, options="max_fails 0")) as generation:
            await ask(generation, "www.example.org")
            health = plugin(generation).upstreams[0].health
            assert (False, False) == (health.suspect, health.down)

    asyncio.run(run())


def test_one_deadline_for_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdns.upstream.attempts.DEADLINE", 0.35)

    async def run() -> None:
        async with FakeUpstream(silent) as a, FakeUpstream(silent) as b:
            options = "read_timeout 200ms\nmax_connect_attempts 0"
            async with serving(forwarding(a.port, b.port, options=options)) as generation:
                began = asyncio.get_running_loop().time()
                reply = await ask(generation, "www.example.org")
                assert 0.3 < asyncio.get_running_loop().time() - began < 4
                assert dns.rcode.SERVFAIL == reply.rcode()

    asyncio.run(run())


@pytest.mark.parametrize(("attempts", "expected"), [("1", 1), ("3", 3)])
def test_max_connect_attempts(attempts: str, expected: int, closed_port: int) -> None:
    async def run() -> None:
        async with serving(forwarding(closed_port, options=f"max_connect_attempts {attempts}")) as generation:
            await ask(generation, "www.example.org")
            assert expected == counted(generation, "coredns_forward_requests_total", f"127.0.0.1:{closed_port}")

    asyncio.run(run())


def counted(generation: Generation, name: str, *labels: str) -> float:
    for family in generation.metrics.registry().collect():
        for sample in family.samples:
            if sample.name == name and labels == tuple(sample.labels.values()):
                return sample.value
    return 0.0


def test_over_max_concurrent_is_refused_and_counted() -> None:
    async def run() -> None:
        async with (
            FakeUpstream(lambda q: [0.1, honest(q)]) as up,
            serving(forwarding(up.port, options="max_concurrent 2")) as generation,
        ):
            replies = await asyncio.gather(*(ask(generation, f"{n}.example.org", use_edns=0) for n in range(5)))
            codes = Counter(dns.rcode.to_text(reply.rcode()) for reply in replies)
            assert {"NOERROR": 2, "REFUSED": 3} == codes
            assert ["0 2 queries wait for upstreams already (max_concurrent)"] == why(replies[4])
            assert 3 == counted(generation, "coredns_forward_max_concurrent_rejects_total")
            assert ["192.0.2.1"] == answers(await ask(generation, "again.example.org"))

    asyncio.run(run())


def test_a_query_that_is_given_up_leaves_nothing_behind() -> None:
    async def run() -> None:
        async with FakeUpstream(silent) as up, serving(forwarding(up.port, options="max_concurrent 1")) as generation:
            for transport in Transport:
                task = asyncio.ensure_future(ask(generation, "www.example.org", transport=transport))
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            up.script = address
            assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org"))

    asyncio.run(run())


@pytest.mark.parametrize("transport", Transport)
def test_what_waits_at_the_end_ends_too(transport: Transport) -> None:
    async def run() -> None:
        options = "max_connect_attempts 0"
        async with FakeUpstream(silent) as up, serving(forwarding(up.port, options=options)) as generation:
            waiting = asyncio.ensure_future(ask(generation, "www.example.org", transport=transport))
            await asyncio.sleep(0.05)
            await generation.close()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(run())


# ---------------------------------------------------------------- which upstream


@asynccontextmanager
async def three() -> AsyncIterator[list[FakeUpstream]]:
    async with FakeUpstream() as a, FakeUpstream() as b, FakeUpstream() as c:
        yield [a, b, c]


POLICIES = [
    ("sequential", lambda counts: counts == [60, 0, 0]),
    ("round_robin", lambda counts: counts == [20, 20, 20]),
    ("random", lambda counts: min(counts) > 4 and sum(counts) == 60),
]


@pytest.mark.parametrize(("policy", "holds"), POLICIES)
def test_policies(policy: str, holds: Any) -> None:
    async def run() -> None:
        async with three() as ups:
            async with serving(forwarding(*(up.port for up in ups), options=f"policy {policy}")) as generation:
                for n in range(60):
                    await ask(generation, f"{n}.example.org")
            assert holds([len(up.asked) for up in ups]), [len(up.asked) for up in ups]

    asyncio.run(run())


def test_the_fastest_is_asked_most_and_the_others_now_and_then() -> None:
    async def run() -> None:
        async with three() as ups:
            ups[0].script = ups[2].script = lambda q: [0.1, honest(q)]
            async with serving(forwarding(*(up.port for up in ups), options="policy fastest")) as generation:
                for n in range(200):
                    await ask(generation, f"{n}.example.org")
            slow, fast = len(ups[0].asked) + len(ups[2].asked), len(ups[1].asked)
            assert fast > 120 and 2 < slow < 80, (fast, slow)

    asyncio.run(run())


def test_failover_asks_the_next_and_returns_the_last() -> None:
    async def run() -> None:
        async with three() as ups:
            options = "policy sequential\nfailover SERVFAIL REFUSED"
            async with serving(forwarding(*(up.port for up in ups), options=options)) as generation:
                ups[0].script = lambda q: [answer(q, rcode="SERVFAIL")]
                ups[1].script = lambda q: [answer(q, rcode="REFUSED")]
                assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org"))
                ups[2].script = ups[1].script
                assert dns.rcode.REFUSED == (await ask(generation, "www.example.org")).rcode()
                assert [2, 2, 2] == [len(up.asked) for up in ups]

    asyncio.run(run())


NEXT = [
    ("next NXDOMAIN", "NXDOMAIN", ["192.0.2.1"]),
    ("next NXDOMAIN", "REFUSED", []),
    ("next_on_nodata", "NOERROR", ["192.0.2.1"]),
    ("", "NOERROR", []),
]


@pytest.mark.parametrize(("option", "rcode", "expected"), NEXT)
def test_next_asks_the_next_forward(option: str, rcode: str, expected: list[str]) -> None:
    async def run() -> None:
        async with FakeUpstream(lambda q: [answer(q, rcode=rcode)]) as first, FakeUpstream() as second:
            lines = f"forward . 127.0.0.1:{first.port} {{\n{option}\n}}\n"
            async with serving(in_block(lines)) as generation:  # without another, it has no meaning
                assert [] == answers(await ask(generation, "www.example.org"))
            async with serving(in_block(f"{lines}forward . 127.0.0.1:{second.port}")) as generation:
                assert expected == answers(await ask(generation, "www.example.org"))

    asyncio.run(run())


def test_an_upstream_that_is_taken_out_is_not_asked_but_can_be_probed() -> None:
    async def run() -> None:
        async with FakeUpstream() as up, serving(forwarding(up.port)) as generation:
            forward = plugin(generation)
            [upstream] = forward.upstreams
            exclusion = Exclusion("its questions come back to this server")
            upstream.exclusions.append(exclusion)
            reply = await ask(generation, "www.example.org", use_edns=0)
            assert [f"22 127.0.0.1:{up.port}: its questions come back to this server"] == why(reply)
            assert [] == up.asked
            response = await forward.ask(upstream, Query("probe.example.", 13))
            assert ("127.0.0.1:" + str(up.port), 1) == (response.made.upstream, len(up.asked))
            upstream.exclusions.remove(exclusion)
            assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org"))

    asyncio.run(run())


def test_a_probe_says_why_it_failed(closed_port: int) -> None:
    async def run() -> None:
        async with serving(forwarding(closed_port)) as generation:
            forward = plugin(generation)
            with pytest.raises(UpstreamError, match="connection refused"):
                await forward.ask(forward.upstreams[0], Query("probe.example.", 13))

    asyncio.run(run())


# ---------------------------------------------------------------- connections


@pytest.mark.parametrize("gone", [[Close()], [0.05, Close()]])
def test_a_connection_that_was_closed_meanwhile_costs_nothing(gone: list[Step]) -> None:
    async def run() -> None:
        async with FakeUpstream(lambda q: [honest(q), *gone]) as up, serving(forwarding(up.port)) as generation:
            for _ in range(3):
                assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org", transport=Transport.TCP))
                await asyncio.sleep(0.02)
            assert not plugin(generation).upstreams[0].health.suspect

    asyncio.run(run())


@pytest.mark.parametrize("scheme", ["", "tls://"])
def test_a_connection_that_has_gone_silent_is_not_asked_again(scheme: str, tls: tuple[Any, str]) -> None:
    """As where a firewall forgot it: nothing comes back, no end of the connection either."""
    context, ca = tls

    def script(asked: Asked) -> Sequence[Step]:
        return [honest(asked)] if asked.connection > 1 or asked.name.startswith("first") else []

    async def run() -> None:
        options = f"force_tcp\nread_timeout 1s\nmax_connect_attempts 1\nmax_fails 0\ntls {ca}"
        async with (
            FakeUpstream(script, context if scheme else None) as up,
            serving(forwarding(up.port, options=options, scheme=scheme)) as generation,
        ):
            got = [answers(await ask(generation, f"{name}.example.org")) for name in ("first", "second", "third")]
            assert ([["192.0.2.1"], [], ["192.0.2.1"]], 2) == (got, up.connections)

    asyncio.run(run())


AGES = [("", 1), ("expire 50ms", 3), ("max_age 50ms\nexpire 50ms", 3)]


@pytest.mark.parametrize(("options", "expected"), AGES)
def test_connections_are_kept_until_they_are_idle_or_old(options: str, expected: int) -> None:
    async def run() -> None:
        async with FakeUpstream() as up, serving(forwarding(up.port, options=f"force_tcp\n{options}")) as generation:
            for n in range(3):
                await ask(generation, f"{n}.example.org")
                await asyncio.sleep(0.15)
            assert expected == up.connections
            to = ("forward", f"127.0.0.1:{up.port}", "tcp")
            assert (3 - expected, expected) == (
                counted(generation, "coredns_proxy_conn_cache_hits_total", *to),
                counted(generation, "coredns_proxy_conn_cache_misses_total", *to),
            )

    asyncio.run(run())


def test_max_idle_conns() -> None:
    async def run() -> None:
        async with (
            FakeUpstream(lambda q: [0.05, honest(q)]) as up,
            serving(forwarding(up.port, options="force_tcp\nmax_idle_conns 1")) as generation,
        ):
            for expected in (4, 7):
                await asyncio.gather(*(ask(generation, f"{n}.example.org") for n in range(4)))
                assert expected == up.connections
                await asyncio.sleep(0.15)

    asyncio.run(run())


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return certificate(tmp_path_factory.mktemp("tls"), "dns.example")


TLS = [
    ("tls CA", "", ["192.0.2.1"], []),
    ("tls CA\ntls_servername dns.example", "", ["192.0.2.1"], []),
    ("tls CA", "%dns.example", ["192.0.2.1"], []),
    ("tls CA\ntls_servername other.example", "", [],
     ["its certificate: Hostname mismatch, certificate is not valid for 'other.example'."]),
    ("", "", [], ["its certificate: self-signed certificate"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "name", "expected", "reasons"), TLS)
def test_dns_over_tls(tls: tuple[Any, str], options: str, name: str, expected: list[str], reasons: list[str]) -> None:
    context, ca = tls

    async def run() -> None:
        async with FakeUpstream(context=context) as up:
            line = f"forward . tls://127.0.0.1{name}:{up.port} {{\n{options.replace('CA', ca)}\n}}"
            async with serving(in_block(line)) as generation:
                for n in range(3):
                    reply = await ask(generation, f"{n}.example.org", use_edns=0)
                    assert expected == answers(reply)
                    assert [f"23 127.0.0.1:{up.port}: {reason}" for reason in reasons] == why(reply)
                if expected:
                    assert (1, {"tls"}) == (up.connections, {asked.transport for asked in up.asked})

    asyncio.run(run())


def test_tls_to_what_speaks_none_fails() -> None:
    async def run() -> None:
        async with FakeUpstream() as up:
            corefile = forwarding(up.port, scheme="tls://", options="read_timeout 200ms")
            async with serving(corefile) as generation:
                assert dns.rcode.SERVFAIL == (await ask(generation, "www.example.org")).rcode()

    asyncio.run(run())


# ---------------------------------------------------------------- files, reload, metrics


def test_a_file_of_nameservers_is_watched(tmp_path: Path, caplog: Any) -> None:
    file, other = tmp_path / "resolv.conf", tmp_path / "other"
    file.write_text("nameserver 127.0.0.1\n")

    async def run() -> None:
        async with serving(in_block(f"forward . {file}")) as generation:
            forward = plugin(generation)
            [watched] = generation.watched
            assert ([str(file)], 1.0) == (list(watched.paths()), watched.every)
            first = forward.upstreams
            for text, expected in (
                ("nameserver 127.0.0.2\nnameserver 127.0.0.1\n", ["127.0.0.2:53", "127.0.0.1:53"]),
                ("", ["127.0.0.2:53", "127.0.0.1:53"]),
                ("nameserver nonsense\n", ["127.0.0.2:53", "127.0.0.1:53"]),
                (None, ["127.0.0.2:53", "127.0.0.1:53"]),
                ("nameserver 127.0.0.3\n", ["127.0.0.3:53"]),
            ):
                if text is None:
                    file.unlink()
                else:
                    other.write_text(text)
                    other.replace(file)
                watched.changed()
                assert expected == [upstream.name for upstream in forward.upstreams]
                if "127.0.0.1:53" in expected:
                    assert first[0] in forward.upstreams

    asyncio.run(run())
    assert [
        f"{file} names no nameserver, they stay as they were",
        f"{file} names no nameserver, they stay as they were",
        f"cannot read {file}: no such file or directory; its nameservers stay as they were",
    ] == [record.message for record in caplog.records if record.levelname == "WARNING"]


def test_a_file_is_looked_for_below_root(tmp_path: Path) -> None:
    (tmp_path / "upstreams").write_text("nameserver 127.0.0.9\n")
    generation = load(in_block(f"root {tmp_path}\nforward . upstreams"))
    assert ["127.0.0.9:53"] == [upstream.name for upstream in plugin(generation).upstreams]
    asyncio.run(generation.close())


def test_what_is_equal_outlives_a_reload() -> None:
    async def run() -> None:
        async with FakeUpstream() as up, serving(forwarding(up.port)) as first:
            await ask(first, "www.example.org", transport=Transport.TCP)
            kept = plugin(first).upstreams
            for options, carried in (("", True), ("max_concurrent 5", True), ("expire 20s", False)):
                second = load(forwarding(up.port, options=options), generation=Generation(first))
                assert carried == (plugin(second).upstreams == kept)
                if carried:
                    await ask(second, "www.example.org", transport=Transport.TCP)
                await second.close(wanted=first.kept.values())
            assert 1 == up.connections

    asyncio.run(run())


def test_what_is_counted() -> None:
    async def run() -> None:
        async with (
            FakeUpstream(lambda q: [answer(q, rcode="NXDOMAIN")] if "no" in q.name else address(q)) as up,
            serving(forwarding(up.port)) as generation,
        ):
            for name in ("a.example", "b.example", "no.example"):
                await ask(generation, name)
            to = f"127.0.0.1:{up.port}"
            value = generation.metrics.registry().get_sample_value
            for rcode, times in (("NOERROR", 2), ("NXDOMAIN", 1)):
                labels = {"to": to, "rcode": rcode}
                assert times == value("coredns_forward_responses_total", labels)
                assert times == value("coredns_proxy_request_duration_seconds_count", {"proxy_name": "forward", **labels})
            assert 3 == value("coredns_forward_requests_total", {"to": to})
            assert 0 == value("kdns_forward_down", {"to": to})

    asyncio.run(run())


def test_metrics_of_several_forwards_are_one() -> None:
    generation = load("a { forward . 127.0.0.1\n}\nb { forward . 127.0.0.1\n}".replace("{ f", "{\nf"))
    assert 1 == len([family for family in generation.metrics.registry().collect() if "forward_requests" in family.name])
    asyncio.run(generation.close())


# ---------------------------------------------------------------- a real one

ZONE = """
server:
    interface: 127.0.0.1@{port}
    port: {port}
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    logfile: ""
    do-ip6: no
    access-control: 127.0.0.0/8 allow
    module-config: "iterator"
    local-zone: "example.org." static
    local-data: "example.org. 300 IN SOA ns.example.org. host.example.org. 1 7200 1800 86400 30"
    local-data: "www.example.org. 60 IN A 192.0.2.1"
    local-data: "www.example.org. 60 IN AAAA 2001:db8::1"
    local-data: "mail.example.org. 60 IN MX 10 www.example.org."
    {many}
remote-control:
    control-enable: no
"""


@pytest.fixture
def unbound(tmp_path: Path, free_port: int) -> Iterator[int]:
    if UNBOUND is None:
        pytest.skip("unbound is not installed")
    many = "\n".join(f'    local-data: "many.example.org. 60 IN TXT {n:03d}{"x" * 200}"' for n in range(20))
    (tmp_path / "unbound.conf").write_text(ZONE.format(port=free_port, folder=tmp_path, many=many))
    process = subprocess.Popen([UNBOUND, "-d", "-c", tmp_path / "unbound.conf"], stderr=subprocess.DEVNULL)
    try:
        yield free_port
    finally:
        process.terminate()
        process.wait(10)


REAL = [
    ("www.example.org", "A", Transport.UDP, "NOERROR", ["192.0.2.1"], False),
    ("www.example.org", "AAAA", Transport.TCP, "NOERROR", ["2001:db8::1"], False),
    ("mail.example.org", "MX", Transport.UDP, "NOERROR", ["10 www.example.org."], False),
    ("www.example.org", "TXT", Transport.UDP, "NOERROR", [], False),
    ("no.example.org", "A", Transport.UDP, "NXDOMAIN", [], False),
    ("many.example.org", "TXT", Transport.UDP, "NOERROR", [], True),
]


def test_unbound_as_upstream(unbound: int) -> None:
    async def run() -> None:
        async with serving(forwarding(unbound, options="max_connect_attempts 0")) as generation:
            for name, type, transport, rcode, expected, truncated in REAL:
                reply = await ask(generation, name, type, transport=transport, use_edns=0)
                assert (rcode, expected, truncated) == (
                    dns.rcode.to_text(reply.rcode()), answers(reply), bool(reply.flags & dns.flags.TC)
                )  # fmt: skip
                assert bool(expected) or truncated or reply.authority[0].rdtype.name == "SOA"
            assert 20 == len(answers(await ask(generation, "many.example.org", "TXT", transport=Transport.TCP)))

    asyncio.run(run())


def test_a_failure_is_one_that_may_be_kept_for_a_while(closed_port: int) -> None:
    async def run() -> None:
        async with serving(forwarding(closed_port)) as generation:
            query = Query("www.example.org.", 1)
            response = await plugin(generation).answer(query, generation.blocks[0]._handler)
            assert (SERVFAIL, True, False, "forward", 0.0) == (
                response.rcode, response.foreign, response.authoritative, response.made.by, response.stable_for
            )  # fmt: skip

    asyncio.run(run())
