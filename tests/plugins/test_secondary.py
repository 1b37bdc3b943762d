"""Copies of zones: had, kept up to date, served while the primary is away, expired; catalogs; with servers on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.zone
import pytest

from kdns.plugins.secondary import copy
from kdns.plugins.transfer import notices
from kdns.server.run import Server
from kdns.testing.ports import free_port
from tests.support.configured import refused
from tests.support.running import serving

TOP = "$TTL 60\n@ SOA ns host {serial} {refresh} {retry} {expire} 30\n@ NS ns\n"


def zone(path: Path, records: str, serial: int = 1, refresh: int = 7200, retry: int = 1800, expire: int = 86400) -> None:
    path.write_text(TOP.format(serial=serial, refresh=refresh, retry=retry, expire=expire) + records)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AGAIN", 0.05), ("SHORTEST", 0.05), ("REFRESH_JITTER", 0.0), ("RETRY_JITTER", 0.0)):
        monkeypatch.setattr(copy, name, value)
    monkeypatch.setattr(notices, "QUIET", 0.0)


def primary(port: int, path: Path, to: str = "*", zones: str = "example.org") -> str:
    return f".:{port} {{\nbind 127.0.0.1\nfile {path} {zones} {{\nreload 0\n}}\ntransfer {zones} {{\nto {to}\n}}\n}}\n"


def secondary(port: int, primaries: str, more: str = "", outside: str = "", zones: str = "example.org") -> str:
    return (
        f".:{port} {{\nbind 127.0.0.1\nsecondary {zones} {{\ntransfer from {primaries}\n{more}\n}}\n"
        f"{outside}\n}}\n"
    )


async def asked(port: int, name: str, type: str = "A") -> str:
    reply = await dns.asyncquery.udp(dns.message.make_query(name, type), "127.0.0.1", port=port, timeout=5)
    code = dns.rcode.to_text(reply.rcode())
    return " ".join(rdata.to_text() for rrset in reply.answer for rdata in rrset) or code


async def until(expected: str, ask: Callable[[], Awaitable[str]]) -> None:
    """The answer comes to be this one."""
    async with asyncio.timeout(10):
        while await ask() != expected:  # noqa: ASYNC110 - what is waited for is another server
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def pair(tmp_path: Path, more: str = "", outside: str = "") -> AsyncIterator[tuple[Server, int, int]]:
    """A primary of the file `db`, and a secondary of it: (the primary, its port, the other port)."""
    first, second = free_port(), free_port()
    async with (
        serving(primary(first, tmp_path / "db", to=f"127.0.0.1:{second}")) as server,
        serving(secondary(second, f"127.0.0.1:{first}", more, outside)),
    ):
        yield server, first, second


async def changed(server: Server) -> None:
    """The primary reads its file again."""
    for block in server.generation.blocks:
        for plugin in block.named("file"):
            await plugin.look()  # type: ignore[attr-defined]


def test_a_zone_is_had_and_handed_on(tmp_path: Path) -> None:
    zone(tmp_path / "db", "a A 192.0.2.1\n*.w TXT x\nalias CNAME a\n")

    async def run() -> None:
        async with pair(tmp_path, outside="transfer example.org {\nto *\n}") as (_, first, second):
            await until("192.0.2.1", lambda: asked(second, "a.example.org"))
            assert '"x"' == await asked(second, "y.w.example.org", "TXT")
            assert "a.example.org. 192.0.2.1" == await asked(second, "alias.example.org")
            assert "NXDOMAIN" == await asked(second, "nothing.example.org")
            assert "REFUSED" == await asked(second, "example.net")
            zones = [dns.zone.Zone("example.org", relativize=False) for _ in range(2)]
            for port, each in zip((first, second), zones, strict=True):
                await dns.asyncquery.inbound_xfr("127.0.0.1", each, port=port)
            assert set(zones[0].iterate_rdatas()) == set(zones[1].iterate_rdatas())

    asyncio.run(run())


def test_a_change_is_told_and_taken_over_at_once(tmp_path: Path) -> None:
    zone(tmp_path / "db", "a A 192.0.2.1\n")

    async def run() -> None:
        async with pair(tmp_path) as (server, _, second):
            await until("192.0.2.1", lambda: asked(second, "a.example.org"))
            zone(tmp_path / "db", "a A 192.0.2.2\n", serial=2)
            await changed(server)
            await until("192.0.2.2", lambda: asked(second, "a.example.org"))

    asyncio.run(run())


def test_without_being_told_it_asks_as_often_as_the_soa_says(tmp_path: Path, port: int) -> None:
    zone(tmp_path / "db", "a A 192.0.2.1\n", refresh=0)

    async def run() -> None:
        first = free_port()
        async with (
            serving(primary(first, tmp_path / "db")) as server,
            serving(secondary(port, f"127.0.0.1:{first}")),
        ):
            await until("192.0.2.1", lambda: asked(port, "a.example.org"))
            zone(tmp_path / "db", "a A 192.0.2.2\n", serial=2)
            await changed(server)
            await until("192.0.2.2", lambda: asked(port, "a.example.org"))

    asyncio.run(run())


def test_while_the_primary_is_away_it_answers_until_the_zone_expires(tmp_path: Path, port: int) -> None:
    zone(tmp_path / "db", "a A 192.0.2.1\n", refresh=0, retry=0, expire=1)

    async def run() -> None:
        first = free_port()
        async with serving(secondary(port, f"127.0.0.1:{first}")) as server:
            (plugin,) = server.generation.blocks[0].named("secondary")
            await until("SERVFAIL", lambda: asked(port, "a.example.org"))
            assert plugin.remarks() == [] or "cannot be transferred" in plugin.remarks()[0]
            async with serving(primary(first, tmp_path / "db")):
                await until("192.0.2.1", lambda: asked(port, "a.example.org"))
            for _ in range(3):
                assert "192.0.2.1" == await asked(port, "a.example.org")
            await until("SERVFAIL", lambda: asked(port, "a.example.org"))
            assert [f"example.org. cannot be transferred: 127.0.0.1:{first}: connection refused"] == plugin.remarks()
            async with serving(primary(first, tmp_path / "db")):  # the same serial as before
                await until("192.0.2.1", lambda: asked(port, "a.example.org"))
            assert [] == plugin.remarks()

    asyncio.run(run())


def test_the_next_primary_is_asked_where_one_does_not_give_it(tmp_path: Path, port: int) -> None:
    zone(tmp_path / "db", "a A 192.0.2.1\n")

    async def run() -> None:
        nobody, refuses, gives = free_port(), free_port(), free_port()
        async with (
            serving(primary(refuses, tmp_path / "db", to="192.0.2.1")),
            serving(primary(gives, tmp_path / "db")),
            serving(secondary(port, f"127.0.0.1:{nobody} 127.0.0.1:{refuses}", f"transfer from 127.0.0.1:{gives}")),
        ):
            await until("192.0.2.1", lambda: asked(port, "a.example.org"))

    asyncio.run(run())


@pytest.mark.parametrize(("primaries", "expected"), [("127.0.0.1:9", "NOERROR"), ("127.0.0.2:9", "REFUSED")])
def test_only_a_primary_may_say_that_there_is_something_new(port: int, primaries: str, expected: str) -> None:
    async def run() -> None:
        async with serving(secondary(port, primaries)):
            told = dns.message.make_query("example.org", "SOA")
            told.set_opcode(dns.opcode.NOTIFY)
            told.flags |= dns.flags.AA
            reply = await dns.asyncquery.udp(told, "127.0.0.1", port=port, timeout=5)
            assert (expected, dns.opcode.NOTIFY) == (dns.rcode.to_text(reply.rcode()), reply.opcode())

    asyncio.run(run())


def test_what_was_had_outlives_a_reload(tmp_path: Path, port: int) -> None:
    zone(tmp_path / "db", "a A 192.0.2.1\n")

    async def run() -> None:
        first = free_port()
        text = secondary(port, f"127.0.0.1:{first}")
        async with serving(text) as server:
            async with serving(primary(first, tmp_path / "db")):
                await until("192.0.2.1", lambda: asked(port, "a.example.org"))
            server.text = text + "\n# changed\n"
            assert await server.reload()
            assert "192.0.2.1" == await asked(port, "a.example.org")
            zone(tmp_path / "db", "a A 192.0.2.2\n", serial=2)
            async with serving(primary(first, tmp_path / "db", to=f"127.0.0.1:{port}")):
                await until("192.0.2.2", lambda: asked(port, "a.example.org"))

    asyncio.run(run())


def test_what_does_not_exist_falls_through(tmp_path: Path, port: int) -> None:
    zone(tmp_path / "db", "a A 192.0.2.1\n")
    zone(tmp_path / "other", "b A 192.0.2.3\n")

    async def run() -> None:
        async with pair(tmp_path, "fallthrough", "whoami") as (_, _first, second):
            await until("192.0.2.1", lambda: asked(second, "a.example.org"))
            reply = await dns.asyncquery.udp(dns.message.make_query("b.example.org", "A"), "127.0.0.1", port=second, timeout=5)
            assert reply.additional

    asyncio.run(run())


CATALOG = 'version TXT "2"\nm1.zones PTR one.test.\nm2.zones PTR two.test.\nm3.zones PTR elsewhere.example.\n'


def test_a_catalog_makes_its_members_zones(tmp_path: Path, port: int) -> None:
    zone(tmp_path / "catalog", CATALOG)
    zone(tmp_path / "member", "a A 192.0.2.1\n")
    members = "one.test two.test three.test elsewhere.example"

    async def run() -> None:
        first = free_port()
        corefile = (
            f".:{first} {{\nbind 127.0.0.1\nfile {tmp_path / 'catalog'} catalog.test {{\nreload 0\n}}\n"
            f"file {tmp_path / 'member'} {members} {{\nreload 0\n}}\ntransfer {{\nto 127.0.0.1:{port}\n}}\n}}\n"
        )
        async with (
            serving(corefile) as server,
            serving(secondary(port, f"127.0.0.1:{first}", "catalog test", zones="catalog.test")) as other,
        ):
            for name in ("one", "two"):
                await until("192.0.2.1", lambda name=name: asked(port, f"a.{name}.test"))  # type: ignore[misc]
            assert "REFUSED" == await asked(port, "a.three.test")
            zone(tmp_path / "catalog", CATALOG.replace("two", "three"), serial=2)
            await changed(server)
            await until("192.0.2.1", lambda: asked(port, "a.three.test"))
            assert ("REFUSED", "REFUSED") == (await asked(port, "a.two.test"), await asked(port, "a.elsewhere.example"))
            zone(tmp_path / "catalog", CATALOG.replace('"2"', '"1"'), serial=3)  # no catalog: all stays
            await changed(server)
            (plugin,) = other.generation.blocks[0].named("secondary")
            await until("3", lambda: serial(port))
            assert {"catalog.test.", "one.test.", "three.test."} == set(plugin.held)  # type: ignore[attr-defined]

    asyncio.run(run())


async def serial(port: int) -> str:
    return (await asked(port, "catalog.test", "SOA")).split()[2:3][0]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("secondary", "Corefile:2: secondary: has nobody to take a zone from: write 'transfer from' and addresses"),
        ("secondary {\ntransfer to *\n}",
         "Corefile:3: secondary: transfer: 'to' is not 'from'; who may have the zone from here is said by *transfer*"),
        ("secondary {\ntransfer from ns.example\n}",
         "Corefile:3: secondary: transfer: 'ns.example' does not appear to be an IPv4 or IPv6 address"),
        ("secondary {\ntransfer from\n}", "Corefile:3: secondary: transfer: takes at least 2 arguments, has 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_directive(line: str, why: str) -> None:
    assert why == refused(f"example.org {{\n{line}\n}}\n")
