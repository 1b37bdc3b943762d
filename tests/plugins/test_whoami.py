import asyncio

import dns.flags
import dns.name
import pytest

from kdns.dns.query import Address, Transport
from tests.support.configured import answers, ask, CLIENT, generation_of, in_block


@pytest.mark.parametrize(
    ("name", "type", "client", "transport", "expected"),
    [
        (
            "Example.org",
            "A",
            CLIENT,
            Transport.UDP,
            ["Example.org. 0 IN A 10.244.0.7", "_udp.Example.org. 0 IN SRV 0 0 41234 ."],
        ),
        (
            "example.org",
            "MX",
            Address("fd00::7", 5353),
            Transport.TCP,
            ["example.org. 0 IN AAAA fd00::7", "_tcp.example.org. 0 IN SRV 0 0 5353 ."],
        ),
        (".", "NS", CLIENT, Transport.UDP, [". 0 IN A 10.244.0.7", "_udp. 0 IN SRV 0 0 41234 ."]),
    ],
    ids=["IPv4", "IPv6", "root"],
)
def test_who_asks(name: str, type: str, client: Address, transport: Transport, expected: list[str]) -> None:
    reply = asyncio.run(ask(generation_of(in_block("whoami")), name, type, client=client, transport=transport))
    assert [] == answers(reply)
    assert reply.flags & dns.flags.AA
    assert expected == [text for rrset in reply.additional for text in rrset.to_text().splitlines()]


def test_a_name_that_leaves_no_room_for_a_label() -> None:
    name = ".".join(["a" * 63] * 3 + ["a" * 61]) + "."
    assert len(dns.name.from_text(name).to_wire()) == 255
    reply = asyncio.run(ask(generation_of(in_block("whoami")), name))
    assert [f"{name} 0 IN A 10.244.0.7"] == [rrset.to_text() for rrset in reply.additional]


def test_the_memo_never_answers_for_another_client() -> None:
    async def run() -> list[str]:
        instance = generation_of(in_block("whoami"))
        return [
            (await ask(instance, "example.org", client=Address(host, 1))).additional[0][0].to_text()
            for host in ("10.0.0.1", "10.0.0.2")
        ]

    assert ["10.0.0.1", "10.0.0.2"] == asyncio.run(run())
