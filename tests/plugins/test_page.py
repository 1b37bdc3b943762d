"""*page*: what a browser is given, who is answered, what the figures are, and what bounds all that. See test_page_in_chromium."""

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import dns.rcode
import pytest

from kdns.core.explanation import listeners_of
from kdns.core.listener import Listener
from kdns.dns.query import Address
from kdns.plugins.page import _is_loopback, figures, FILES, onlooker, questions
from kdns.plugins.page.values import LONGEST, MOST, octets_of
from kdns.server.load import load, notes
from kdns.server.run import Server
from kdns.testing.upstream import address, FakeUpstream
from tests.support.configured import in_block
from tests.support.running import Client, serving
from tests.support.small_cluster import MANIFESTS

TOWN = f"""{MANIFESTS}---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: staging}}
spec: {{type: ExternalName, externalName: example.com}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web-1, namespace: prod, labels: {{app: web}}}}
spec: {{containers: [{{name: c, image: c}}]}}
status: {{phase: Running, podIP: 127.0.0.1, podIPs: [{{ip: 127.0.0.1}}], conditions: [{{type: Ready, status: "True"}}]}}
"""
ZONE = "cluster.local"
HEAD = b"\0\0\1\0\0\1\0\0\0\0\0\0"  # of a query: one question
Get = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def corefile(tmp_path: Path, free_port: int) -> str:
    """A Corefile, with `MORE` for what a test wants besides."""
    (tmp_path / "town.yaml").write_text(TOWN)
    zones = f"{ZONE} in-addr.arpa"
    kubernetes = f"kubernetes {zones} {{\nmanifests {tmp_path}/town.yaml\npods verified\nfallthrough in-addr.arpa\n}}\n"
    return f".:0 {{\nbind 127.0.0.1\npage 127.0.0.1:{free_port}\n{kubernetes}loadbalance\nMORE\n}}\n"


async def fetch(port: int, path: str, method: str = "GET", host: str = "localhost", **headers: str) -> tuple[int, str, bytes]:
    """Status, head and body of a page on 127.0.0.1."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines])
    writer.write(f"{head}\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), head.decode(), body


def on(corefile: str, port: int, work: Callable[[Server, Client, Get], Awaitable[Any]], more: str = "") -> Any:
    """What some work says that is done beside a server; it gets at JSON by a path and what stands after the `?`."""

    async def get(path: str, **values: str) -> tuple[int, Any]:
        status, _, body = await fetch(port, f"{path}?{urlencode(values)}")
        return status, json.loads(body)

    async def run() -> Any:
        async with serving(corefile.replace("MORE", more)) as server, Client.of(server.generation.port) as client:
            return await work(server, client, get)

    return asyncio.run(run())


def listener_of(server: Server) -> Listener:
    [listener] = listeners_of(server.generation.blocks)
    return listener


# ---------------------------------------------------------------- who is answered, and with what


def test_the_files_of_the_page(corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        return [(path, *await fetch(free_port, path)) for path in FILES]

    for path, status, head, body in on(corefile, free_port, work):
        assert (200, FILES[path][1]) == (status, re.findall(r"Content-Type: (.*)\r", head)[0])
        assert "Content-Security-Policy: default-src 'self'; base-uri 'none'" in head
        assert "X-Content-Type-Options: nosniff" in head
        assert "Access-Control" not in head
        links = set(re.findall(r"https?://[^\"' ]*", body.decode())) - {"http://www.w3.org/2000/svg"}
        assert set() == links
        assert b"innerHTML" not in body
        assert not re.search(rb"<script[^>]*>[^<]|style=|onclick=\"", body)  # what the policy would not run


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200), ("localhost:8053", 200), ("127.0.0.1:8053", 200), ("[::1]:8053", 200), ("10.1.2.3", 200),
        ("evil.example", 403), ("evil.example:8053", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403),
        ("[::1", 403), ("x@localhost@evil.example", 403), ("", 403),
    ],
)  # fmt: skip
def test_a_name_that_may_be_anybodys_is_not_answered(host: str, expected: int, corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        return [(await fetch(free_port, path, host=host))[0] for path in ("/", "/page.js", "/figures", "/explain?name=a")]

    assert {expected} == set(on(corefile, free_port, work))


@pytest.mark.parametrize(
    ("site", "expected"), [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)]
)
def test_a_page_of_another_site_learns_and_starts_nothing(site: str, expected: int, corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        page, figures = [await fetch(free_port, path, Sec_Fetch_Site=site) for path in ("/", "/figures")]
        return page[0], figures[0], math.isinf(listener_of(server).look_at)

    assert (200, expected, expected == 403) == on(corefile, free_port, work)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_is_for_reading(method: str, corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        return [(await fetch(free_port, path, method))[0] for path in ("/", "/figures", "/explain")]

    assert [405] * 3 == on(corefile, free_port, work)


@pytest.mark.parametrize(
    ("address", "expected"), [("localhost:1", True), ("127.0.0.9:1", True), ("[::1]:1", True), (":1", False), ("10.0.0.1:1", False)]
)
def test_whoever_opens_it_to_others_is_told(address: str, expected: bool) -> None:
    found = notes(load(in_block(f"page {address}\nwhoami")))
    told = "Corefile:2: page: is on no loopback address: whoever reaches that sees names, clients and objects"
    assert ([] if expected else [told]) == found
    assert expected == _is_loopback(address.rpartition(":")[0].strip("[]"))


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize("more", ["", "prometheus 127.0.0.1:0"])
def test_each_query_is_counted_once(more: str, corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        for _ in range(3):
            await client.ask(f"web.prod.svc.{ZONE}")
        await client.ask(f"nosuch.prod.svc.{ZONE}")
        await client.ask("example.org")
        return (await get("/figures"))[1]

    figures = on(corefile, free_port, work, more)
    assert {"NOERROR": 3, "NXDOMAIN": 1, "REFUSED": 1} == figures["codes"]
    assert (5, 2, 5) == (figures["queries"], figures["hits"], sum(figures["times"]["counts"]))
    assert len(figures["times"]["bounds"]) + 1 == len(figures["times"]["counts"])
    assert [["."]] == [each["zones"] for each in figures["servers"]]
    assert (None, []) == (figures["upstreams"], figures["amiss"])


def test_who_asks_for_what_is_seen_while_somebody_looks(corefile: str, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hits stay hits, and after a reload, too, it is seen what they are."""
    monkeypatch.setattr(onlooker, "EVERY", 0.0)
    monkeypatch.setattr(figures, "EVERY", 0.0)

    async def work(server: Server, client: Client, get: Get) -> Any:
        await client.ask(f"web.prod.svc.{ZONE}")
        await get("/figures")
        for _ in range(4):
            await client.ask(f"WEB.prod.svc.{ZONE}")
        await client.ask(f"web.prod.svc.{ZONE}", transport="tcp")
        assert await server.reload()
        await asyncio.sleep(0)
        for suffix in (f"prod.svc.{ZONE}.", f"svc.{ZONE}.", f"{ZONE}."):
            for _ in range(2):
                await client.ask(f"api.example.com.{suffix}")
        await client.ask(f"nosuch.prod.svc.{ZONE}")
        return server.generation.blocks[0].memoized, listener_of(server).counts.hits, (await get("/figures"))[1]["seen"]

    memoized, hits, seen = on(corefile, free_port, work)
    assert (True, 7) == (memoized, hits)  # the first of a name misses, in lower case and with capitals
    assert (12, 6) == (seen["queries"], seen["tries"])
    assert {"name": f"web.prod.svc.{ZONE}.", "type": "A", "times": 5} == seen["names"][0]
    assert [{"client": "127.0.0.1", "times": 12, "pods": ["prod/web-1"]}] == seen["clients"]
    tried = {"times": 2, "tried": ["api.example.com."], "ndots": 2}
    expected = [{"suffix": suffix, **tried} for suffix in (f"prod.svc.{ZONE}.", f"svc.{ZONE}.", f"{ZONE}.")]
    assert expected == sorted(seen["suffixes"], key=lambda row: -len(row["suffix"]))


def test_nothing_is_looked_at_where_nobody_looks(corefile: str, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlooker, "PATIENCE", 0.05)

    async def work(server: Server, client: Client, get: Get) -> Any:
        found = [listener_of(server).look_at]
        await get("/figures")
        found.append(listener_of(server).look_at)
        await asyncio.sleep(0.3)
        return [*found, listener_of(server).look_at]

    before, while_open, after = on(corefile, free_port, work)
    assert (math.inf, math.inf) == (before, after)
    assert while_open < math.inf


@pytest.mark.parametrize(
    "wire",
    [b"", bytes(12), b"\xff" * 100, HEAD + b"\1", HEAD + b"\xc0" * 30, HEAD + b"\3a\0b\0\0\1\0\1"],
)
@pytest.mark.parametrize("client", [Address("127.0.0.1", 1), Address("fe80::1%lo", 1), bytes(16), bytes(28)])
def test_what_is_no_query_is_looked_at_without_harm(wire: bytes, client: Address | bytes) -> None:
    generation = load(in_block("page 127.0.0.1:0\nwhoami"))
    [listener] = listeners_of(generation.blocks)
    looking = onlooker.Onlooker()
    looking.serve(generation.blocks)
    looking._see(listener, wire, client, b"\0\0\x81\x83")
    assert [1] == [row["times"] for row in looking.table()["clients"]]


def test_upstreams(corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        await client.ask("example.org")
        return (await get("/figures"))[1]["upstreams"]

    async def run() -> Any:
        async with FakeUpstream(address) as upstream:
            more = f"forward . 127.0.0.1:{upstream.port}"
            return upstream.port, await asyncio.to_thread(on, corefile, free_port, work, more)

    port, [row] = asyncio.run(run())
    assert (f"127.0.0.1:{port}", False, 1, 1) == (row["to"], row["down"], row["asked"], row["replied"])
    assert row["seconds"] > 0 and sum(row["counts"]) == 1


def test_what_is_amiss_is_said(corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        server.generation.blocks[0].named("kubernetes")[0].ready = lambda: "not all is known"  # type: ignore[method-assign]
        return (await get("/figures"))[1]["amiss"]

    assert ["kubernetes: not all is known"] == on(corefile, free_port, work)


# ---------------------------------------------------------------- explain


def test_explain(corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        return await get("/explain", name=f"db-1.db.prod.svc.{ZONE}", client="10.0.0.9")

    status, told = on(corefile, free_port, work)
    assert 200 == status
    name = f"db-1.db.prod.svc.{ZONE}"
    assert told["sentence"].startswith(f"{name} does not exist: db-1, an endpoint of Service prod/db, is not ready")
    assert ["loadbalance", "kubernetes"] == [step["plugin"] for step in told["way"]]
    assert ("10.0.0.9", dns.rcode.to_text(dns.rcode.NXDOMAIN)) == (told["client"], told["code"])


@pytest.mark.parametrize(
    ("path", "asked", "expected"),
    [
        ("/explain", {}, "which name?"),
        ("/explain", {"name": "a", "type": "NOSUCH"}, "unknown type 'NOSUCH'"),
        ("/explain", {"name": "a", "client": "me"}, "'me' is not an IP address"),
        ("/explain", {"name": "a" * 64}, f"'{'a' * 64}.' is not a domain name: a label is over 63 octets, or the name over 255"),
        ("/explain", {"name": "a" * 1200}, "name is too long"),
        ("/objects", {"text": "a" * 1200}, "text is too long"),
        ("/object", {"name": "a" * 1200}, "name is too long"),
        ("/object", {"name": "a..b"}, "'a..b.' is not a domain name: a label is empty"),
    ],
)
def test_what_cannot_be_asked_is_said(path: str, asked: dict[str, str], expected: str, corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        return await get(path, **asked)

    assert (400, {"error": expected}) == on(corefile, free_port, work)


@pytest.mark.parametrize(
    "path", ["/explain?name=", "/explain?name=a&type=", "/explain?name=a&client=", "/objects?text=", "/object?name="]
)
@pytest.mark.parametrize("text", ["%ff", "%ed%b0%80", "%00", "\\999", "%F0%9F%90%A2", "..", "TYPE%C2%B2", "a" * 63 + ".%0a", "%"])
def test_whatever_is_asked_is_answered_or_refused(path: str, text: str, corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        status, _, body = await fetch(free_port, path + text)
        return status, json.loads(body)

    status, said = on(corefile, free_port, work)
    assert status in (200, 400), said


def test_few_questions_are_answered_at_a_time(corefile: str, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        go = asyncio.Event()

        async def slow(*_: Any) -> dict[str, Any]:
            await go.wait()
            return {}

        monkeypatch.setattr(questions, "explain_at", slow)
        waiting = [asyncio.create_task(get("/explain", name="a")) for _ in range(questions.AT_ONCE + 2)]
        first, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        go.set()
        return first.pop().result(), sorted([status for status, _ in await asyncio.gather(*waiting)])

    refused, every = on(corefile, free_port, work)
    assert (503, {"error": "4 questions are under way already: ask again in a moment"}) == refused
    assert [200] * questions.AT_ONCE + [503] * 2 == every


# ---------------------------------------------------------------- objects


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["default/kubernetes", "prod/db", "prod/web", "staging/web"]),
        ("WEB", ["prod/web", "staging/web"]),
        ("prod/", ["prod/db", "prod/web"]),
        ("prod/w", ["prod/web"]),
        ("web.staging", ["staging/web"]),
        (f"db.prod.svc.{ZONE}.", ["prod/db"]),
        ("nosuch", []),
    ],
)
def test_objects_are_found(text: str, expected: list[str], corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        return await get("/objects", text=text)

    status, found = on(corefile, free_port, work)
    assert (200, expected, False) == (status, sorted(row["service"] for row in found["objects"]), found["more"])


def test_all_objects_are_listed_once_part_by_part(corefile: str, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "ROWS", 2)

    async def work(server: Server, client: Client, get: Get) -> Any:
        rows: list[Any] = []
        while True:
            _, found = await get("/objects", after=rows[-1]["name"] if rows else "")
            rows += found["objects"]
            if not found["more"]:
                return rows

    rows = on(corefile, free_port, work)
    assert [
        ("prod/db", "headless", 1, 2), ("default/kubernetes", "ClusterIP", 0, 0),
        ("prod/web", "ClusterIP", 1, 1), ("staging/web", "ExternalName", 0, 0),
    ] == [(row["service"], row["kind"], row["ready"], row["endpoints"]) for row in rows]  # fmt: skip
    assert (f"db.prod.svc.{ZONE}.", False) == (rows[0]["name"], rows[0]["hidden"])


def test_an_object(corefile: str, free_port: int) -> None:
    async def work(server: Server, client: Client, get: Get) -> Any:
        return await get("/object", name=f"db.prod.svc.{ZONE}"), await get("/object", name="example.org")

    (status, told), nothing = on(corefile, free_port, work)
    [account] = told["objects"]
    assert (200, "prod/db", ["10.244.0.1 (db-0): ready"]) == (status, account["service"], account["slices"][0]["in"])
    assert f"db-0.db.prod.svc.{ZONE}. 5 IN A 10.244.0.1" in told["records"]
    assert f"_sql._tcp.db.prod.svc.{ZONE}. 5 IN SRV 0 100 5432 db-0.db.prod.svc.{ZONE}." in told["records"]
    assert (200, {"name": "example.org.", "objects": [], "records": []}) == nothing


def test_answers_are_bounded() -> None:
    values = {"list": list(range(MOST + 5)), "text": "a" * (LONGEST + 7), "in": [{"deep": [None, True, 1.5, "b"]}]}
    said = json.loads(octets_of(values))
    assert [*range(MOST), "… and 5 more"] == said["list"]
    assert "a" * LONGEST + "… and 7 characters more" == said["text"]
    assert [{"deep": [None, True, 1.5, "b"]}] == said["in"]
