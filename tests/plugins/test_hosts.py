"""*hosts*: lines of a file and of the Corefile as names; what changes, what is wrong."""

import asyncio
import logging
import os
from pathlib import Path

import dns.flags
import dns.rcode
import pytest

from kdns.core.generation import Generation
from kdns.dns.query import Query
from kdns.dns.response import Response, RRset
from kdns.dns.types import A
from kdns.plugins.hosts import Hosts
from kdns.server.load import load
from tests.support.configured import answers, ask, generation_of, in_block, listener_of, refused
from tests.support.running import Client, serving

FILE = """\
127.0.0.1 localhost
10.0.0.9 host.test  # a comment
10.0.0.8 host.test under_score.test UPPER.Test.
fe80::1%eth0 link.test

::ffff:10.1.1.1 mapped.test
10.0.0.7 *.w.test
fd00::9 a.w.test
"""
INLINE = """
    10.0.0.1 host.test other.test
    fd00::1 host.test
    10.0.0.8 host.test
    ttl 17
"""


def elsewhere(query: Query) -> Response:
    """What the plugins after it would say."""
    return Response(answer=(RRset(query.name, A, 1, (b"\x7f\x7f\x7f\x7f",)),), authoritative=False)


def generation(tmp_path: Path, more: str = "", zones: str = "", text: str = FILE) -> Generation:
    (tmp_path / "hosts").write_text(text)
    return generation_of(in_block(f"hosts {tmp_path}/hosts {zones} {{\n{INLINE}\n{more}\n}}"), elsewhere)


def said(generation: Generation, name: str, type: str) -> str:
    """Addresses and names of an answer, its TTL, or why there are none."""
    reply = asyncio.run(ask(generation, name, type))
    found = answers(reply)
    if found == ["127.127.127.127"]:
        return "elsewhere"
    if not found:
        return {0: "NODATA"}.get(reply.rcode(), dns.rcode.to_text(reply.rcode()))
    assert reply.flags & dns.flags.AA
    assert 17 == reply.answer[0].ttl
    return " ".join(found)


CASES = [
    ("localhost", "A", "127.0.0.1"),
    ("HOST.test", "A", "10.0.0.9 10.0.0.8 10.0.0.1"),
    ("host.test", "AAAA", "fd00::1"),
    ("host.test", "ANY", "10.0.0.9 10.0.0.8 10.0.0.1"),
    ("a.w.test", "ANY", "fd00::9"),
    ("host.test", "TXT", "NODATA"),
    ("host.test", "PTR", "NODATA"),
    ("other.test", "AAAA", "NODATA"),
    ("under_score.test", "A", "10.0.0.8"),
    ("upper.test", "A", "10.0.0.8"),
    ("link.test", "AAAA", "fe80::1"),
    ("mapped.test", "A", "10.1.1.1"),
    ("x.w.test", "A", "10.0.0.7"),
    ("x.w.test", "AAAA", "NODATA"),
    ("a.w.test", "A", "NODATA"),
    ("y.x.w.test", "A", "SERVFAIL"),
    ("w.test", "A", "SERVFAIL"),
    ("8.0.0.10.in-addr.arpa", "PTR", "host.test. under_score.test. upper.test."),
    ("8.0.0.10.in-addr.arpa", "A", "NODATA"),
    ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", "PTR", "host.test."),
    ("7.0.0.10.in-addr.arpa", "PTR", "elsewhere"),
    ("0.0.10.in-addr.arpa", "PTR", "elsewhere"),
    ("7.0.0.10.in-addr.arpa", "A", "SERVFAIL"),
]


@pytest.mark.parametrize(("name", "type", "expected"), CASES)
def test_names(tmp_path: Path, name: str, type: str, expected: str) -> None:
    assert expected == said(generation(tmp_path), name, type)


@pytest.mark.parametrize(
    ("more", "zones", "name", "type", "expected"),
    [
        ("fallthrough", "", "no.test", "A", "elsewhere"),
        ("fallthrough", "", "host.test", "TXT", "NODATA"),
        ("fallthrough org", "", "no.test", "A", "SERVFAIL"),
        ("fallthrough org", "", "no.org", "A", "elsewhere"),
        ("fallthrough\nfallthrough_unsupported", "", "host.test", "TXT", "elsewhere"),
        ("fallthrough\nfallthrough_unsupported", "", "other.test", "AAAA", "NODATA"),
        ("fallthrough org\nfallthrough_unsupported", "", "host.test", "TXT", "NODATA"),
        ("no_reverse", "", "8.0.0.10.in-addr.arpa", "PTR", "elsewhere"),
        ("", "w.test org", "host.test", "A", "elsewhere"),
        ("", "w.test org", "b.w.test", "A", "10.0.0.7"),
        ("", "w.test org", "no.org", "A", "SERVFAIL"),
        ("", "w.test org", "9.0.0.10.in-addr.arpa", "PTR", "elsewhere"),
        ("", "test", "9.0.0.10.in-addr.arpa", "PTR", "host.test."),
    ],
)
def test_options(tmp_path: Path, more: str, zones: str, name: str, type: str, expected: str) -> None:
    assert expected == said(generation(tmp_path, more, zones), name, type)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("hosts\nhosts", "Corefile:3: hosts: may stand only once in a server block, and stands at Corefile:2"),
        ("hosts {\ntll 5\n}", "Corefile:3: hosts: unknown option 'tll', did you mean 'ttl'?"),
        ("hosts {\nttl 65536\n}", "Corefile:3: hosts: ttl: '65536' is not a whole number from 0 to 65535"),
        ("hosts {\n10.0.0.256 a\n}", "Corefile:3: hosts: 10.0.0.256: '10.0.0.256' is not an IP address"),
        ("hosts {\n10.0.0.1\n}", "Corefile:3: hosts: 10.0.0.1: takes at least 1 argument, has none"),
        ("hosts {\n10.0.0.1 a..b\n}", "Corefile:3: hosts: 10.0.0.1: 'a..b.' is not a domain name: a label is empty"),
        (
            "hosts {\nfallthrough_unsupported\n}",
            "Corefile:2: hosts: fallthrough_unsupported is for fallthrough, which is not there",
        ),
    ],
)
def test_what_is_refused(lines: str, expected: str) -> None:
    assert expected == refused(in_block(lines))


def test_lines_that_make_no_sense_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = generation(tmp_path, text="10.0.0.300 a.test\n10.0.0.2 b.test\n10.0.0.3\n10.0.0.4 c..test d.test\n")
    assert ["10.0.0.2", "SERVFAIL", "SERVFAIL"] == [said(made, f"{name}.test", "A") for name in "bad"]
    told = f"{tmp_path}/hosts:1: '10.0.0.300' is not an IP address: it is left out, and 2 more"
    assert [told] == [r.message for r in caplog.records if r.levelno == logging.WARNING]


def test_a_file_that_changes_goes_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "hosts"

    async def run() -> list[list[str]]:
        made = generation(tmp_path, text="10.0.0.2 b.test\n", more="fallthrough")
        plugin = made.blocks[0].named("hosts")[0]
        assert isinstance(plugin, Hosts)
        seen = []
        for text in ("10.0.0.2 b.test\n", "10.0.0.3 b.test\n10.0.0.4 c.test\n", None, "10.0.0.5 c.test\n"):
            if text is None:
                os.remove(path)
            else:
                path.write_text(text)
            await plugin.look()
            await plugin.look()  # the memo has the answers: they must be forgotten, once
            seen.append([*(await told(made, "b.test")), *(await told(made, "c.test")), *(await told(made, "other.test"))])
            assert bool(plugin.remarks()) == (text is None)
            assert len(listener_of(made).memo) > 0
        return seen

    async def told(made: Generation, name: str) -> list[str]:
        return answers(await ask(made, name))

    other = "127.127.127.127"
    assert [
        ["10.0.0.2", other, "10.0.0.1"],
        ["10.0.0.3", "10.0.0.4", "10.0.0.1"],
        [other, other, "10.0.0.1"],
        [other, "10.0.0.5", "10.0.0.1"],
    ] == asyncio.run(run())


def test_a_reload_reads_no_file_that_is_the_same(tmp_path: Path) -> None:
    corefile = in_block(f"hosts {tmp_path}/hosts")
    (tmp_path / "hosts").write_text("10.0.0.2 b.test\n")
    before = generation_of(corefile)
    after = Generation(before)
    load(corefile, generation=after)
    files = [one.blocks[0].named("hosts")[0].file for one in (before, after)]  # type: ignore[attr-defined]
    assert files[0] is files[1]


def test_a_server_takes_up_a_change(tmp_path: Path, free_port: int) -> None:
    path = tmp_path / "hosts"
    path.write_text("10.0.0.2 b.test\n")
    corefile = f".:{free_port} {{\nbind 127.0.0.1\nprometheus 127.0.0.1:0\nhosts {path} {{\nreload 20ms\n}}\n}}"

    async def run() -> tuple[list[str], list[str], float | None]:
        async with serving(corefile) as server, Client.of(free_port) as client:
            first = answers(await client.ask("b.test"))
            path.write_text("10.0.0.22 b.test\n10.0.0.23 b.test\n")
            async with asyncio.timeout(20):
                while (second := answers(await client.ask("b.test"))) == first:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            return first, second, server.generation.metrics.registry().get_sample_value("coredns_hosts_entries")

    assert (["10.0.0.2"], ["10.0.0.22", "10.0.0.23"], 2) == asyncio.run(run())
