"""HTTP: the pages of plugins, carried over reloads."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kdns.config.directive import Directive
from kdns.core.behind import Page, Request
from kdns.core.block import Block
from kdns.errors import KdnsError
from kdns.server.http import Http
from kdns.server.run import Server
from kdns.server.sockets import Sharing, shown
from tests.support.stage import arranging


async def get(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 20)).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


@pytest.fixture
def pages(stage: Any) -> None:
    def page(directive: Directive, block: Block) -> None:
        async def answer(request: Request) -> tuple[int, str, bytes]:
            if directive.args[2] == "fail":
                raise ValueError("on purpose")
            return 503 if directive.args[2] == "no" else 200, "text/plain; charset=utf-8", directive.args[2].encode()

        block.http(directive.args[0], directive.args[1], answer)

    stage["page"] = arranging(page)


def test_pages(pages: None, free_port: int, caplog: pytest.LogCaptureFixture) -> None:
    at = f"127.0.0.1:{free_port}"
    text = f".:{free_port} {{\n bind 127.0.0.2\n page {at} /a OK\n page {at} /b no\n page {at} /c fail\n}}\n"

    async def check() -> Any:
        server = Server(text)
        await server.start()
        found = [await get(free_port, path) for path in ("/a", "/a?x=1", "/b", "/c", "/d")]
        found += [await get(free_port, "/a", "HEAD"), await get(free_port, "/a", "POST")]
        await server.stop()
        return found

    with caplog.at_level(logging.CRITICAL, "kdns.server.http"):
        found = asyncio.run(check())
    assert [
        (200, "OK"), (200, "OK"), (503, "no"), (500, "500: see the log\n"), (404, "404: no such page here\n"),
        (200, ""), (405, "GET only\n"),
    ] == found  # fmt: skip


@pytest.mark.parametrize("octets", [b"GET / HTTP/\xa3\r\n\r\n", b"XYZ\r\n\r\n", b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n"])
def test_what_is_no_http_is_not_told(pages: None, octets: bytes, free_port: int, caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> bytes:
        server = Server(f".:{free_port} {{\n bind 127.0.0.2\n page 127.0.0.1:{free_port} /a OK\n}}\n")
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(octets)
        said = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        await server.stop()
        return said

    with caplog.at_level(logging.INFO):
        said = asyncio.run(check())
    assert (b"400 Bad Request", []) == (said.split(b"\r\n")[0][9:], [r for r in caplog.records if r.levelno > logging.INFO])


def test_carried_over_a_reload(pages: None, free_port: int, tmp_path: Path) -> None:
    path = tmp_path / "Corefile"
    at = f"127.0.0.1:{free_port}"

    async def check() -> Any:
        server = Server("")
        found = []
        for content in ("one", "two"):
            path.write_text(f".:{free_port} {{\n bind 127.0.0.2\n page {at} /a {content}\n}}\n")
            server.path = str(path)
            assert await server.reload()
            found.append(await get(free_port, "/a"))
        path.write_text(f".:{free_port} {{\n bind 127.0.0.2\n known\n}}\n")
        assert await server.reload()
        with pytest.raises(ConnectionRefusedError):
            await get(free_port, "/a")
        await server.stop()
        return found

    assert [(200, "one"), (200, "two")] == asyncio.run(check())


def test_not_an_address(pages: None, free_port: int) -> None:
    async def check() -> None:
        await Server(f".:{free_port} {{\n page nonsense /a OK\n}}\n").start()

    with pytest.raises(KdnsError, match=r"^cannot listen: 'nonsense' is not an address and port"):
        asyncio.run(check())


@contextlib.asynccontextmanager
async def serving(wanted: dict[str, list[str]]) -> AsyncIterator[Http]:
    """Pages whose content is their address and path, and one that takes its time."""

    def page(text: str) -> Page:
        async def answer(request: Request) -> tuple[int, str, bytes]:
            if text.endswith("/slow"):
                await asyncio.sleep(0.1)
            return 200, "text/plain", text.encode()

        return answer

    http = Http()
    pages = {address: {path: page(address + path) for path in paths} for address, paths in wanted.items()}
    try:
        await http.serve(pages, http.bind(pages, Sharing.REFUSED))
        yield http
    finally:
        await http.close()


@pytest.mark.parametrize(
    ("wanted", "sockets", "expected"),
    [
        (["localhost", "127.0.0.1"], ["127.0.0.1"], {"127.0.0.1 /0": "localhost", "127.0.0.1 /1": "127.0.0.1"}),
        (["", "localhost", "127.0.0.1"], [""],
         {"127.0.0.1 /0": "", "127.0.0.1 /1": "localhost", "127.0.0.1 /2": "127.0.0.1",
          "127.0.0.2 /0": "", "127.0.0.2 /1": None, "::1 /0": "", "::1 /1": None}),
        (["0.0.0.0", "127.0.0.1", "[::1]"], ["0.0.0.0", "::1"],
         {"127.0.0.1 /0": "0.0.0.0", "127.0.0.1 /1": "127.0.0.1", "127.0.0.2 /1": None, "::1 /2": "[::1]", "::1 /0": None}),
        (["[0::1]", "[::1]"], ["::1"], {"::1 /0": "[0::1]", "::1 /1": "[::1]"}),
    ],
)  # fmt: skip
def test_addresses_are_compared_as_addresses(
    wanted: list[str], sockets: list[str], expected: dict[str, str | None], free_port: int
) -> None:
    async def check() -> Any:
        pages = {f"{host}:{free_port}": [f"/{i}", "/all"] for i, host in enumerate(wanted)}
        async with serving(pages) as http:
            found = {}
            for asked in expected:
                host, _, path = asked.partition(" ")
                status, text = await get(free_port, path, host=host)
                found[asked] = text.rpartition(":")[0] if status == 200 else None
            return found, list(http._served)

    assert (expected, [shown(host, free_port) for host in sockets]) == asyncio.run(check())


def test_from_all_addresses_to_one_and_back(free_port: int) -> None:
    """A reload that changes what is listened on: nobody is left with the pages of before."""

    async def check() -> Any:
        found = []
        async with serving({f":{free_port}": ["/a"]}) as http:
            for address in (f"127.0.0.1:{free_port}", f":{free_port}"):
                pages = {address: {"/b": (await _page(address))}}
                await http.serve(pages, http.bind(pages, Sharing.REFUSED))
                found += [await get(free_port, "/b"), (await get(free_port, "/a"))[0]]
        return found

    assert [(200, f"127.0.0.1:{free_port}"), 404, (200, f":{free_port}"), 404] == asyncio.run(check())


async def _page(text: str) -> Page:
    async def answer(request: Request) -> tuple[int, str, bytes]:
        return 200, "text/plain", text.encode()

    return answer


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /a HTTP/1.1\r\nHost:", b"GET /a HTTP/1.1\r\n" + b"X: y\r\n" * 3000, b"GET /" + b"a" * 17000],
    ids=["nothing", "half a request", "too many headers", "too long a path"],
)
def test_what_is_no_request_is_closed(sent: bytes, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdns.server.http.READ", 0.1)

    async def check() -> Any:
        async with serving({f":{free_port}": ["/a"]}) as http:
            reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                assert b"200" not in await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return [len(listener._of) + len(listener.connections) for listener in http._served.values()]

    assert [0] == asyncio.run(check())


def test_a_connection_is_kept_for_a_while(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdns.server.http.READ", 0.05)
    monkeypatch.setattr("kdns.server.http.IDLE", 0.2)

    async def check() -> Any:
        async with serving({f":{free_port}": ["/a", "/slow"]}):
            reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
            found = []
            for path in ("/a", "/slow", "/a"):  # the slow one takes longer than a request may take to arrive
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
                found.append(head.split()[1])
                await reader.readexactly(len(f":{free_port}{path}"))
                await asyncio.sleep(0.1)
            ended = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return found, ended

    assert ([b"200"] * 3, b"") == asyncio.run(check())


def test_those_who_say_nothing_make_room_for_a_probe(free_port: int) -> None:
    async def check() -> Any:
        async with serving({f":{free_port}": ["/a"]}) as http:
            streams = []
            for i in range(100):
                _, writer = await asyncio.open_connection("127.0.0.1", free_port, local_addr=(f"127.0.1.{i + 1}", 0))
                writer.write(b"GET /a HTTP/1.1\r\nHost:")
                streams.append(writer)
            found = await get(free_port, "/a")
            (listener,) = http._served.values()
            most = len(listener.connections)
            for writer in streams:
                writer.close()
            return found[0], most <= 64

    assert (200, True) == asyncio.run(check())
