"""HTTP: the pages of plugins, carried over reloads."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from kdns.errors import KdnsError
from kdns.server.run import Server
from tests.support.stage import Fixed, known


async def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 2)).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


@pytest.fixture
def pages(stage: Any) -> None:
    def page(directive: Any, site: Any) -> Fixed:
        async def answer() -> tuple[int, str, bytes]:
            if directive.args[2] == "fail":
                raise ValueError("on purpose")
            return 503 if directive.args[2] == "no" else 200, "text/plain; charset=utf-8", directive.args[2].encode()

        site.instance.serve_http(directive.args[0], directive.args[1], answer)
        return Fixed(known)

    stage["page"] = page


def test_pages(pages: None, free_port: int) -> None:
    at = f"127.0.0.1:{free_port}"
    text = f".:{free_port} {{\n bind 127.0.0.2\n page {at} /a OK\n page {at} /b no\n page {at} /c fail\n}}\n"

    async def check() -> Any:
        server = Server(text)
        await server.start()
        found = [await get(free_port, path) for path in ("/a", "/a?x=1", "/b", "/c", "/d")]
        found += [await get(free_port, "/a", "HEAD"), await get(free_port, "/a", "POST")]
        await server.stop()
        return found

    logging.getLogger("kdns.server.http").setLevel(logging.CRITICAL)
    assert [
        (200, "OK"), (200, "OK"), (503, "no"), (500, "500: see the log\n"), (404, "404: no such page here\n"),
        (200, ""), (405, "GET only\n"),
    ] == asyncio.run(check())  # fmt: skip


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
