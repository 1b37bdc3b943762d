"""*ratelimit*: each network its allowance of replies over UDP, the rest dropped or told to come by TCP."""

import asyncio

import dns.flags
import dns.message
import pytest

from kdns.dns.query import Address, Transport
from kdns.plugins import ratelimit
from kdns.plugins.ratelimit import Allowances
from tests.plugins.test_acl import known
from tests.support.configured import generation_of, in_block, listener_of, LOCAL, refused


async def asked(options: str, *hosts: str, transport: Transport = Transport.UDP) -> str:
    """A letter for each query in its turn: answered, TC, silence."""
    generation = generation_of(in_block(f"ratelimit 2 {{\n{options}\n}}"), known)
    out = ""
    for host in hosts:
        wire = dns.message.make_query("example.org", "A").to_wire()
        reply = await listener_of(generation).reply(wire, Address(host, 5353), LOCAL, transport)
        if not isinstance(reply, bytes):
            out += "-"
        else:
            message = dns.message.from_wire(reply)
            out += "T" if message.flags & dns.flags.TC and not message.answer else "a"
    return out


FOUR, SIX = ["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8:0:ff::1"]
CASES = [
    ("", FOUR * 4, "aa-T-T-T"),
    ("slip 1", FOUR * 3, "aaTTTT"),
    ("slip 0", FOUR * 3, "aa----"),
    ("ipv4_prefix 32", FOUR * 3, "aaaa-T"),
    ("", SIX * 3, "aa-T-T"),
    ("ipv6_prefix 64", SIX * 2, "aaaa"),
    ("except 192.0.2.0/24", FOUR * 3, "aaaaaa"),
    ("except 10.0.0.0/8 192.0.2.1\nexcept 10.1.1.1", FOUR * 4, "aaaaa-aT"),
    ("", ["192.0.2.1", "198.51.100.1", "2001:db8::1"] * 2, "aaaaaa"),
]


@pytest.mark.parametrize(("options", "hosts", "expected"), CASES)
def test_who_is_answered(options: str, hosts: list[str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit.time, "monotonic", lambda: 5.0)
    assert expected == asyncio.run(asked(options, *hosts))


def test_over_tcp_all_are_answered() -> None:
    assert "aaaaaa" == asyncio.run(asked("", *FOUR * 3, transport=Transport.TCP))


def test_the_memo_does_not_answer_in_its_place() -> None:
    generation = generation_of(in_block("ratelimit 2"), known)
    assert [False] == [block.memoized for block in generation.blocks]


def test_an_allowance_comes_back_with_time_and_adds_up_for_a_second() -> None:
    clock = iter([time for time in (0.0, 0.25, 0.5, 100.0) for _ in range(9)])
    allowances = Allowances(4, lambda: next(clock))
    assert [4, 1, 1, 4] == [sum(allowances.take((4, 1)) for _ in range(9)) for _ in range(4)]


def test_networks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "MOST", 10)
    allowances = Allowances(1)
    for network in range(100):
        allowances.take((4, network))
    assert 10 == len(allowances)


def test_a_rate_is_needed() -> None:
    assert "Corefile:2: ratelimit" in refused(in_block("ratelimit"))
    assert "Corefile:2: ratelimit" in refused(in_block("ratelimit 0"))
