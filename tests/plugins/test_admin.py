"""*admin*: what a server says of itself on its socket, as `kdns explain`, `tail`, `dump` and `flush` show it."""

import asyncio
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.zone
import pytest

from kdns import cli
from kdns.commands.asking import outline
from kdns.commands.tail import line
from kdns.errors import KdnsError
from kdns.plugins.admin import desk
from kdns.server.run import Server
from tests.support.running import Client, serving
from tests.support.small_cluster import MANIFESTS
from tests.support.waiting import until


@pytest.fixture
def corefile(tmp_path: Path) -> str:
    (tmp_path / "town.yaml").write_text(MANIFESTS)
    kubernetes = f"kubernetes cluster.local in-addr.arpa {{\nmanifests {tmp_path}/town.yaml\n}}\n"
    return f".:0 {{\nbind 127.0.0.1\nadmin {tmp_path}/s\n{kubernetes}loadbalance\n}}\n"


def on(corefile: str, work: Callable[[Server, Client], Any]) -> Any:
    """What some work says that is done beside a server."""

    async def run() -> Any:
        async with serving(corefile) as server, Client.of(server.generation.port) as client:
            return await work(server, client)

    return asyncio.run(run())


async def asked(path: Path, **request: Any) -> list[dict[str, Any]]:
    """What comes back of a request."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(json.dumps(request).encode() + b"\n")
    said = [json.loads(each) async for each in reader]
    writer.close()
    return said


def test_explain(corefile: str, tmp_path: Path) -> None:
    async def work(server: Server, client: Client) -> Any:
        await client.ask("db-1.db.prod.svc.cluster.local")
        return await asked(tmp_path / "s", command="explain", name="db-1.db.prod.svc.cluster.local", client="10.0.0.9")

    (told,) = on(corefile, work)
    why = "db-1.db.prod.svc.cluster.local does not exist: db-1, an endpoint of Service prod/db, is not ready; "
    assert why == told["sentence"][: len(why)]
    assert [("loadbalance", "passed it on"), ("kubernetes", "answered")] == [(s["plugin"], s["verdict"]) for s in told["way"]]
    assert ("NXDOMAIN", ".", "10.0.0.9") == (told["code"], told["server block"], told["client"])
    assert {"used": True, "replies": 1, "hits": 0} == told["memo"]
    assert (["prod/db"], "until that changes") == (told["made from"], told["holds"])
    ((found,),) = [told["objects"]]
    (shown,) = found["slices"]
    assert (["10.244.0.1 (db-0): ready"], ["db-1: not ready"], 2) == (shown["in"], shown["out"], shown["endpoints"])


def test_explain_tells_the_upstreams_that_were_tried(tmp_path: Path) -> None:
    async def work(server: Server, client: Client) -> Any:
        return await asked(tmp_path / "s", command="explain", name="www.example.com")

    corefile = f".:0 {{\nbind 127.0.0.1\nadmin {tmp_path}/s\nforward . 127.0.0.1:1 127.0.0.1:2 {{\npolicy sequential\n}}\n}}\n"
    (told,) = on(corefile, work)
    tried = [(one["upstream"], one["said"]) for one in told["upstreams tried"]]
    assert [(f"127.0.0.1:{port}", "connection refused") for port in (1, 2)] == tried[:2]
    assert all(one["ms"] > 0 for one in told["upstreams tried"])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"command": "explain", "name": "a", "type": "NOSUCH"}, "unknown type 'NOSUCH'"),
        ({"command": "explain", "name": "a", "client": "me"}, "'me' is not an IP address"),
        ({"command": "explain"}, "'name'"),
        ({"command": "quit"}, "there is no command 'quit'"),
        ({"command": "dump", "zone": "example.org"},
         "there is no zone example.org. here that could be shown; there is cluster.local., in-addr.arpa."),
        ([], "list indices must be integers or slices, not str"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(request_: Any, expected: str, corefile: str, tmp_path: Path) -> None:
    async def work(server: Server, client: Client) -> Any:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(json.dumps(request_).encode() + b"\n")
        said = json.loads(await reader.readline())
        writer.close()
        return said

    assert {"error": expected} == on(corefile, work)


def test_dump_is_a_master_file(corefile: str, tmp_path: Path) -> None:
    async def work(server: Server, client: Client) -> Any:
        return await asked(tmp_path / "s", command="dump", zone="cluster.local")

    text = "\n".join(each["line"] for each in on(corefile, work))
    zone = dns.zone.from_text(text, "cluster.local.", check_origin=False)
    assert "10.96.0.1" == zone.find_rdataset("web.prod.svc", "A")[0].to_text()
    assert "0 100 5432 db-0.db.prod.svc" == zone.find_rdataset("_sql._tcp.db.prod.svc", "SRV")[0].to_text()


def test_flush_and_what_is_cached(corefile: str, tmp_path: Path) -> None:
    async def work(server: Server, client: Client) -> Any:
        for name in ("web", "WEB", "db"):
            await client.ask(f"{name}.prod.svc.cluster.local")
        before = await asked(tmp_path / "s", command="dump", cached=True)
        flushed = await asked(tmp_path / "s", command="flush", name="web.prod.svc.cluster.local")
        return before, flushed, await asked(tmp_path / "s", command="dump", cached=True)

    before, flushed, after = on(corefile, work)
    assert {"web", "db"} == {each["cached"].split()[1].partition(".")[0] for each in before}
    assert [("web.prod.svc.cluster.local.", len(before) - 1)] == [(each["flushed"], each["replies"]) for each in flushed]
    assert ["db.prod.svc.cluster.local."] == [each["cached"].split()[1] for each in after]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["web A NOERROR", "web A NOERROR", "gone A NXDOMAIN", "web AAAA NODATA"]),
        ({"name": "web.prod.svc.cluster.local"}, ["web A NOERROR", "web A NOERROR", "web AAAA NODATA"]),
        ({"code": "nxdomain"}, ["gone A NXDOMAIN"]),
        ({"code": "NODATA"}, ["web AAAA NODATA"]),
        ({"client": "127.0.0.9"}, []),
    ],
)
def test_tail(filters: dict[str, str], expected: list[str], corefile: str, tmp_path: Path) -> None:
    """Hits are seen, for there are none while somebody listens; afterwards the memo is back, over a reload too."""

    async def work(server: Server, client: Client) -> Any:
        await client.ask("web.prod.svc.cluster.local")
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(json.dumps({"command": "tail", **filters}).encode() + b"\n")
        await until(lambda: bool(server.generation.blocks[0].witnesses))
        for name, type in (("web", "A"), ("web", "A"), ("gone", "A"), ("web", "AAAA")):
            await client.ask(f"{name}.prod.svc.cluster.local", type)
        assert await server.reload()
        await until(lambda: bool(server.generation.blocks[0].witnesses))
        writer.write_eof()
        said = [json.loads(each) async for each in reader]
        writer.close()
        await until(lambda: not server.generation.blocks[0].witnesses)
        return said, server.generation.blocks[0].memoized

    said, memoized = on(corefile, work)
    assert memoized
    assert expected == [f"{each['name'].partition('.')[0]} {each['type']} {each['kind']}" for each in said]
    assert all(line(each) for each in said)


# ---------------------------------------------------------------- the socket


def test_the_socket_is_its_owners_and_goes_with_the_server(corefile: str, tmp_path: Path) -> None:
    async def work(server: Server, client: Client) -> Any:
        return stat.S_IMODE(os.stat(tmp_path / "s").st_mode)

    assert 0o600 == on(corefile, work)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("there", "expected"), [("a file", "there is a file that is no socket"), ("a server", "another process")])
def test_a_socket_that_cannot_be_had(there: str, expected: str, corefile: str, tmp_path: Path) -> None:
    if there == "a file":
        (tmp_path / "s").write_text("")
        with pytest.raises(KdnsError, match=expected):
            on(corefile, lambda *_: None)  # type: ignore[arg-type,return-value]
        return

    async def other(server: Server, client: Client) -> Any:
        with pytest.raises(KdnsError, match=expected):
            async with serving(corefile):
                pass

    on(corefile, other)


def test_a_socket_that_was_left_behind_makes_room(corefile: str, tmp_path: Path) -> None:
    desk._bound(str(tmp_path / "s")).close()

    async def work(server: Server, client: Client) -> Any:
        return await asked(tmp_path / "s", command="flush", name="a")

    assert [{"flushed": "a.", "replies": 0, "answers": 0}] == on(corefile, work)


# ---------------------------------------------------------------- the command line


def test_explain_of_manifests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "town.yaml").write_text(MANIFESTS)
    words = ["explain", "_https._tcp.web.prod.svc.cluster.local", "SRV", "--manifests", str(tmp_path / "town.yaml")]
    assert 0 == cli.main(words)
    first, *rest = capsys.readouterr().out.splitlines()
    name = "_https._tcp.web.prod.svc.cluster.local"
    why = "Service prod/web has no port 'https', it has http"
    remedy = f"ask for {name.replace('https', 'http')}, or add the port to spec.ports"
    assert f"{name} does not exist: {why}; {remedy}" == first
    assert "objects    service  prod/web" in rest
    assert ["at", f"{tmp_path}/town.yaml:1"] in [line.split() for line in rest]
    assert 0 == cli.main([*words, "--json"])
    assert "NXDOMAIN" == json.loads(capsys.readouterr().out)["code"]


def test_explain_shows_all_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crowd = MANIFESTS + "".join(f"- {{addresses: [10.244.1.{n}]}}\n" for n in range(1, 121))
    (tmp_path / "town.yaml").write_text(crowd)
    words = ["db.prod.svc.cluster.local", "SRV", "--manifests", str(tmp_path / "town.yaml"), "--json"]
    assert 0 == cli.main(["explain", *words])
    told = json.loads(capsys.readouterr().out)
    assert ("db.prod.svc.cluster.local has 121 SRV records", 121) == (told["sentence"], len(told["answer"]))


def test_where_no_server_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, end in (("flush", "PATH here"), ("explain", "--manifests FILE asks files in its place")):
        assert 1 == cli.main([command, "a", "--socket", str(tmp_path / "none")])
        said = capsys.readouterr().err
        assert f"cannot ask a server at {tmp_path}/none: no such file or directory; the server's Corefile needs" in said
        assert said.endswith(f"{end}\n")


def test_who_asks_while_too_many_do_is_told_so(corefile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(server: Server, client: Client) -> Any:
        waiting = [await asyncio.open_unix_connection(str(tmp_path / "s")) for _ in range(desk.MOST)]
        status = await asyncio.to_thread(cli.main, ["explain", "a", "--socket", str(tmp_path / "s")])
        for _, writer in waiting:
            writer.close()
        return status

    assert 1 == on(corefile, work)
    assert "kdns: 8 are being answered already: ask again in a moment\n" == capsys.readouterr().err


@pytest.mark.parametrize("said", [b"", b'{"sente'])
@pytest.mark.parametrize("command", ["explain", "flush"])
def test_a_server_that_ends_before_it_has_answered(
    said: bytes, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async def work() -> int:
        async with await asyncio.start_unix_server(answer, str(tmp_path / "s")):
            return await asyncio.to_thread(cli.main, [command, "a", "--socket", str(tmp_path / "s")])

    assert 1 == asyncio.run(work())
    assert f"kdns: the server at {tmp_path}/s ended before it had answered\n" == capsys.readouterr().err


def test_an_outline() -> None:
    told = {"name": "a\x1b", "none": "", "no": False, "in": {"n": 1}, "list": ["x", {"k": "v", "l": ["m"]}]}
    expected = ["name  a\\x1b", "no  no", "in", "  n  1", "list", "  x", "  - k  v", "    l  m"]
    assert expected == list(outline(told))
