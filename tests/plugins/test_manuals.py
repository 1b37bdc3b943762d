"""Every plugin's docstring is its manual, and each example in it starts."""

import asyncio
import contextlib
import pkgutil
from pathlib import Path

import pytest

from kdns import plugins
from kdns.cluster.apiserver import source as apiserver
from kdns.core.generation import Generation
from kdns.errors import CorefileError
from kdns.plugins import manual
from kdns.server.run import Server
from kdns.testing.apiserver import FakeApiServer
from kdns.testing.ports import free_port
from kdns.upstream.resolving import Resolver
from kdns.upstream.upstream import Upstream
from tests.support import ROOT
from tests.support.certificates import Authority

NAMES = sorted(module.name for module in pkgutil.iter_modules(plugins.__path__))
SECTIONS = ("Description", "Syntax", "Metrics", "Examples")


def examples(text: str) -> list[str]:
    """The indented blocks of the section Examples."""
    found: list[str] = []
    inside = False
    for line in text.partition("\nExamples\n")[2].splitlines():
        if line.startswith("        "):
            if not inside:
                found.append("")
            found[-1] += line[8:] + "\n"
        inside = line.startswith("        ") or (inside and not line)
    return found


CASES = [pytest.param(text, id=f"{name}-{n}") for name in NAMES for n, text in enumerate(examples(manual(name)), 1)]


def test_examples_of_a_manual() -> None:
    text = "x\n\nExamples\n    One:\n\n        . {\n            a\n\n            b\n        }\n\n    Two:\n\n        c\n"
    assert examples(text) == [". {\n    a\n    b\n}\n", "c\n"]


@pytest.mark.parametrize("name", NAMES)
def test_a_manual_has_all_its_sections(name: str) -> None:
    lines = manual(name).splitlines()
    assert lines[0].startswith(f"*{name}* - ")
    assert tuple(line for line in lines if line in SECTIONS) == SECTIONS
    assert examples(manual(name))


@pytest.mark.parametrize("corefile", CASES)
def test_an_example_starts(corefile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    http = Generation.http
    ports: dict[str, int] = {}

    def on_a_free_port(self, address, path, answer):  # type: ignore[no-untyped-def]
        if address not in ports:
            ports[address] = free_port()
        http(self, f"127.0.0.1:{ports[address]}", path, answer)

    async def nobody(self) -> list[Upstream]:  # type: ignore[no-untyped-def]
        return []

    monkeypatch.setattr(Generation, "http", on_a_free_port)
    monkeypatch.setattr(Resolver, "_asked", nobody)  # who is elsewhere
    monkeypatch.chdir(ROOT)
    if "\n    tls " in corefile:
        pair = Authority(tmp_path).sign("dns.example")
        for file, path in (("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", pair.cert)):
            corefile = corefile.replace(file, str(path))
        for scheme in ("tls://.", "https://."):
            corefile = corefile.replace(scheme, f"{scheme}:{free_port()}")

    async def start_and_stop() -> int:
        async with contextlib.AsyncExitStack() as around:
            if "kubernetes" in corefile:  # as in a Pod: an API server is there
                api = await around.enter_async_context(FakeApiServer())
                connection = apiserver.Connection
                monkeypatch.setattr(apiserver, "Connection", lambda **given: connection(**{**given, "endpoint": api.url}))
            port = free_port()
            server = Server(corefile.replace(":53 ", f":{port} "), dns_port=port)
            try:
                await asyncio.wait_for(server.start(), 20)
                return len(server.generation.blocks)
            finally:
                hurry = asyncio.Event()
                hurry.set()
                await asyncio.wait_for(server.stop(hurry), 20)

    assert asyncio.run(start_and_stop()) >= 1


def test_a_plugin_of_coredns_that_is_not_here() -> None:
    with pytest.raises(CorefileError) as caught:
        plugins.load("etcd")
    assert str(caught.value) == "plugin 'etcd' is not served by kdns: forward these zones to a CoreDNS that keeps it"


def test_no_plugin_stands_twice_in_the_order() -> None:
    assert len(set(plugins.ORDER)) == len(plugins.ORDER)
    assert [name for name in NAMES if name not in plugins.ORDER] == []
