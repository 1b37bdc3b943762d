"""Zones handed on: AXFR and IXFR as dnspython asks for them, who may have them, and NOTIFY to those who are told."""

import asyncio
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import dns.versioned
import dns.xfr
import dns.zone
import pytest

from kdns.core.generation import Generation
from kdns.core.listener import Messages
from kdns.dns.query import Address, Transport
from kdns.dns.response import RRset
from kdns.dns.types import SOA
from kdns.plugins.transfer import notices
from tests.support.configured import ask, CLIENT, generation_of, listener_of, LOCAL, refused

TOP = "$TTL 60\n@ SOA ns host {serial} 7200 1800 86400 30\n@ NS ns\n"
FILE = "example.org {{\nfile zones/db.example.org\ntransfer {{\nto {to}\n}}\n}}\n"


async def messages(generation: Generation, query: dns.message.Message, host: str = CLIENT.host) -> list[dns.message.Message]:
    """All that comes back over TCP."""
    reply = await listener_of(generation).reply(query.to_wire(), Address(host, 5), LOCAL, Transport.TCP)
    octets = [each async for each in reply] if isinstance(reply, Messages) else [reply]
    return [dns.message.from_wire(each, xfr=True, one_rr_per_rrset=True) for each in octets if isinstance(each, bytes)]


def ixfr(origin: str, serial: int) -> dns.message.Message:
    query = dns.message.make_query(origin, "IXFR")
    query.authority = [dns.rrset.from_text(origin, 0, "IN", "SOA", f". . {serial} 0 0 0 0")]
    return query


def zone_of(found: list[dns.message.Message], origin: str) -> dns.versioned.Zone:
    """The zone that dnspython makes of a transfer."""
    zone = dns.versioned.Zone(dns.name.from_text(origin), relativize=False)
    with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
        assert [inbound.process_message(message) for message in found][-1]
    return zone


def test_all_of_a_zone_is_what_its_file_says() -> None:
    found = asyncio.run(messages(generation_of(FILE.format(to="*")), dns.message.make_query("example.org", "AXFR")))
    expected = dns.zone.from_file("zones/db.example.org", "example.org", relativize=False)
    assert set(expected.iterate_rdatas()) == set(zone_of(found, "example.org.").iterate_rdatas())
    assert all(message.flags & dns.flags.AA for message in found)


@pytest.mark.parametrize(
    ("serial", "records"), [(2026010100, None), (2026010101, ["SOA"]), (2026010102, ["SOA"]), (1, None)]
)
def test_what_has_not_changed_is_not_sent_again(serial: int, records: list[str] | None) -> None:
    found = asyncio.run(messages(generation_of(FILE.format(to="*")), ixfr("example.org.", serial)))
    kinds = [dns.rdatatype.to_text(rrset.rdtype) for message in found for rrset in message.answer]
    if records is None:
        assert ("SOA", "SOA") == (kinds[0], kinds[-1]) and len(kinds) > 10
    else:
        assert records == kinds


def test_over_udp_the_soa_or_a_hint_to_ask_over_tcp() -> None:
    generation = generation_of(FILE.format(to="*"))
    reply = asyncio.run(ask(generation, "example.org", "AXFR"))
    assert reply.flags & dns.flags.TC and not reply.answer
    wire = asyncio.run(listener_of(generation).reply(ixfr("example.org.", 1).to_wire(), CLIENT, LOCAL, Transport.UDP))
    assert isinstance(wire, bytes)
    assert [dns.rdatatype.SOA] == [rrset.rdtype for rrset in dns.message.from_wire(wire).answer]


@pytest.mark.parametrize(
    ("to", "host", "expected"),
    [
        ("*", "10.9.9.9", "NOERROR"),
        ("*", "2001:db8::7", "NOERROR"),
        ("10.9.9.9", "10.9.9.9", "NOERROR"),
        ("10.9.9.9:5300", "10.9.9.9", "NOERROR"),
        ("10.9.0.0/16", "10.9.9.9", "NOERROR"),
        ("192.0.2.1 \n to [2001:db8::7]:53", "2001:db8::7", "NOERROR"),
        ("10.9.9.8", "10.9.9.9", "REFUSED"),
        ("10.8.0.0/16", "10.9.9.9", "REFUSED"),
        ("0.0.0.0/0", "2001:db8::7", "REFUSED"),
    ],
)
def test_who_may_have_it(to: str, host: str, expected: str) -> None:
    generation = generation_of(FILE.format(to=to))
    for query in (dns.message.make_query("example.org", "AXFR"), ixfr("example.org.", 1)):
        found = asyncio.run(messages(generation, query, host))
        assert expected == dns.rcode.to_text(found[0].rcode())
        assert (expected == "NOERROR") == bool(found[0].answer)


@pytest.mark.parametrize(
    ("corefile", "name", "expected"),
    [
        (FILE.format(to="*"), "www.example.org", "NOTAUTH"),
        (". {\nfile zones/db.example.org example.org\nfile zones/db.shared example.net\ntransfer example.net {\nto *\n}\n}\n",
         "example.org", "REFUSED"),
        (". {\nfile zones/db.shared example.net sub.example.net\ntransfer example.net {\nto *\n}\n"
         "transfer sub.example.net {\nto 192.0.2.1\n}\n}\n", "sub.example.net", "REFUSED"),
        (". {\nfile zones/db.shared example.net sub.example.net\ntransfer example.net {\nto 192.0.2.1\n}\n"
         "transfer sub.example.net {\nto *\n}\n}\n", "sub.example.net", "NOERROR"),
        ("example.org {\nfile zones/db.example.org\n}\n", "example.org", "REFUSED"),
        ("example.org {\nfile none\ntransfer {\nto *\n}\n}\n", "example.org", "NOTAUTH"),
    ],
)  # fmt: skip
def test_which_zones_there_are(corefile: str, name: str, expected: str) -> None:
    found = asyncio.run(messages(generation_of(corefile), dns.message.make_query(name, "AXFR")))
    assert expected == dns.rcode.to_text(found[0].rcode())


def test_a_question_for_what_changed_without_a_serial() -> None:
    found = asyncio.run(messages(generation_of(FILE.format(to="*")), dns.message.make_query("example.org", "IXFR")))
    assert [dns.rcode.FORMERR] == [message.rcode() for message in found]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("transfer", "Corefile:2: transfer: transfers to nobody: write 'to' and addresses, or 'to *'"),
        ("transfer {\nto\n}", "Corefile:3: transfer: to: takes at least 1 argument, has none"),
        ("transfer {\nto x.example\n}",
         "Corefile:3: transfer: to: 'x.example' is neither * nor an address (with a port or without) nor a prefix"),
        ("transfer {\nto *\nsource eth0\n}", "Corefile:4: transfer: source: 'eth0' is not an IP address"),
        ("transfer {\nto 10.0.0.0/99\n}",
         "Corefile:3: transfer: to: '10.0.0.0/99' is neither * nor an address (with a port or without) nor a prefix"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_directive(line: str, why: str) -> None:
    assert why == refused(f"example.org {{\n{line}\n}}\n")


# ---------------------------------------------------------------- NOTIFY


class Told:
    """Stands for `tell`: who was told of what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: list[tuple[str, str, str]] = []
        self.event = asyncio.Event()
        monkeypatch.setattr(notices, "tell", self.tell)

    async def tell(self, target: object, soa: RRset, source: str) -> None:
        assert SOA == soa.type
        self.of.append((str(target), soa.name, source))
        self.event.set()

    async def until(self, count: int) -> list[tuple[str, str, str]]:
        while len(self.of) < count:
            await asyncio.wait_for(self.event.wait(), 5)
            self.event.clear()
        return sorted(self.of)


def test_those_who_stand_at_to_are_told_of_the_start_and_of_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "QUIET", 0.0)
    told = Told(monkeypatch)
    (tmp_path / "db").write_text(TOP.format(serial=1))
    corefile = (
        f". {{\nfile {tmp_path / 'db'} example.org\nfile zones/db.shared example.net example.com\n"
        "transfer example.org example.net {\nto * 10.9.0.0/16 192.0.2.1 [2001:db8::1]:5300\nsource 192.0.2.9\n}\n}\n"
    )

    async def run() -> None:
        generation = generation_of(corefile)
        (plugin,) = generation.blocks[0].named("transfer")
        running = asyncio.create_task(plugin.run())
        both = ("192.0.2.1:53", "[2001:db8::1]:5300")
        start = [(target, origin, "192.0.2.9") for target in both for origin in ("example.net.", "example.org.")]
        assert sorted(start) == await told.until(4)
        told.of.clear()
        (tmp_path / "db").write_text(TOP.format(serial=2))
        await generation.blocks[0].named("file")[0].look()  # type: ignore[attr-defined]
        assert [(target, "example.org.", "192.0.2.9") for target in both] == await told.until(2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_many_changes_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async def run() -> None:
        generation = generation_of(FILE.format(to="192.0.2.1"))
        block = generation.blocks[0]
        monkeypatch.setattr(notices.asyncio, "sleep", pause)
        running = asyncio.create_task(block.named("transfer")[0].run())
        await told.until(1)
        for _ in range(100):
            block.forget(("zone example.org.",))
        await told.until(2)
        block.forget(("another", "zone example.net."))
        for _ in range(9):
            await sleep(0)
        assert 2 == len(told.of)
        assert [False, True] == [seconds > 4 for seconds in pauses if seconds]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_a_notification_to_who_is_no_secondary_of_it() -> None:
    query = dns.message.make_query("example.org", "SOA")
    query.set_opcode(dns.opcode.NOTIFY)
    found = asyncio.run(messages(generation_of(FILE.format(to="*")), query))
    assert [(dns.rcode.NOTIMP, dns.opcode.NOTIFY)] == [(message.rcode(), message.opcode()) for message in found]


def test_others_have_their_turn_between_any_two_messages(tmp_path: Path) -> None:
    (tmp_path / "db").write_text(TOP.format(serial=1) + "".join(f"h{i} A 192.0.2.1\n" for i in range(5000)))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def run() -> None:
        generation = generation_of(f"example.org {{\nfile {tmp_path / 'db'}\ntransfer {{\nto *\n}}\n}}\n")
        other = asyncio.create_task(others())
        several = await asyncio.gather(*[messages(generation, dns.message.make_query("example.org", "AXFR")) for _ in range(3)])
        assert [5000 // 200] * 3 <= [len(found) for found in several]
        assert turns >= sum(len(found) for found in several)
        other.cancel()

    asyncio.run(run())
