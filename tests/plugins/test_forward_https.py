"""*forward* to https:// upstreams: what it asks, what it makes of what comes back, and unbound as a judge."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.name
import dns.rrset
import pytest
from aiohttp import web

from kdns.core.generation import Generation
from kdns.dns.query import Transport
from kdns.server.load import load
from kdns.upstream import https
from kdns.upstream.upstream import Upstream
from tests.plugins.test_forward import plugin, serving, why
from tests.support.certificates import certificate
from tests.support.configured import answers, ask, in_block
from tests.support.https_upstream import address, Asked, GoAway, honest, HttpsUpstream, Reset, Said, Script, Step
from tests.support.waiting import until

UNBOUND = shutil.which("unbound") or shutil.which("unbound", path="/usr/sbin")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("https")
    certificate(made, "dns.example")
    return made


@pytest.fixture
def context(folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "dns.example.crt", folder / "dns.example.key")
    return made


def corefile(port: int, folder: Path, options: str = "", name: str = "") -> str:
    return in_block(f"forward . https://127.0.0.1{name}:{port} {{\ntls {folder}/dns.example.crt\n{options}\n}}")


def upstream(generation: Generation) -> Upstream:
    return plugin(generation).upstreams[0]


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_what_is_asked(method: str, context: ssl.SSLContext, folder: Path) -> None:
    async def run() -> None:
        async with (
            HttpsUpstream(context) as up,
            serving(corefile(up.port, folder, f"doh_method {method}\ntls_servername dns.example")) as generation,
        ):
            assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org", id=77))
            [asked] = up.asked
            headers = {name: value.partition("?")[0] for name, value in asked.headers.items() if name != "content-length"}
            body = {"content-type": "application/dns-message"} if method == "POST" else {}
            assert headers == {
                ":method": method, ":scheme": "https", ":authority": f"dns.example:{up.port}", ":path": "/dns-query",
                "accept": "application/dns-message", **body,
            }  # fmt: skip
            assert (0, "www.example.org.") == (asked.message.id, asked.name)
            assert "=" not in asked.headers[":path"].partition("?dns=")[2]

    asyncio.run(run())


def test_many_questions_share_one_connection(context: ssl.SSLContext, folder: Path) -> None:
    async def run() -> None:
        async with (
            HttpsUpstream(context, lambda asked: [0.01, Said(honest(asked))]) as up,
            serving(corefile(up.port, folder)) as generation,
        ):
            replies = await asyncio.gather(*(ask(generation, f"{n}.example.org") for n in range(90)))
            assert [["192.0.2.1"]] * 90 == [answers(reply) for reply in replies]
            assert {f"{n}.example.org." for n in range(90)} == {str(reply.question[0].name) for reply in replies}
            assert (90, 1) == (len(up.asked), up.connections)
            to = ("forward", f"127.0.0.1:{up.port}", "https")
            value = generation.metrics.registry().get_sample_value
            labels = dict(zip(("proxy_name", "to", "proto"), to, strict=True))
            assert (89, 1) == (
                value("coredns_proxy_conn_cache_hits_total", labels), value("coredns_proxy_conn_cache_misses_total", labels)
            )  # fmt: skip

    asyncio.run(run())


def test_a_connection_takes_no_more_than_the_upstream_wants(
    context: ssl.SSLContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "QUESTIONS", 5)

    async def run() -> None:
        async with (
            HttpsUpstream(context, lambda asked: [0.05, Said(honest(asked))]) as up,
            serving(corefile(up.port, folder, "max_fails 0")) as generation,
        ):
            replies = await asyncio.gather(*(ask(generation, f"{n}.example.org") for n in range(20)))
            assert ([["192.0.2.1"]] * 20, 4) == ([answers(reply) for reply in replies], up.connections)

    asyncio.run(run())


NAMES = [
    ("", "", ["192.0.2.1"], []),
    ("tls_servername dns.example", "", ["192.0.2.1"], []),
    ("", "%dns.example", ["192.0.2.1"], []),
    ("", "%other.example", [], ["its certificate: Hostname mismatch, certificate is not valid for 'other.example'."]),
]


@pytest.mark.parametrize(("options", "name", "expected", "reasons"), NAMES)
def test_the_name_in_the_certificate(
    options: str, name: str, expected: list[str], reasons: list[str], context: ssl.SSLContext, folder: Path
) -> None:
    async def run() -> None:
        async with HttpsUpstream(context) as up, serving(corefile(up.port, folder, options, name)) as generation:
            reply = await ask(generation, "www.example.org", use_edns=0)
            assert expected == answers(reply)
            assert [f"23 127.0.0.1:{up.port}: {reason}" for reason in reasons] == why(reply)

    asyncio.run(run())


def of_another(asked: Asked) -> bytes:
    message = dns.message.from_wire(honest(asked))
    message.question[0].name = dns.name.from_text("other.example.")
    return message.to_wire()


LIES: list[tuple[str, Script, str]] = [
    ("redirect", lambda q: [Said(b"", "302")], "it redirects (HTTP status 302): name the server that it leads to"),
    ("not found", lambda q: [Said(honest(q), "404")], "it answers with HTTP status 404"),
    ("overloaded", lambda q: [Said(b"", "503")], "it answers with HTTP status 503"),
    ("a status that is none", lambda q: [Said(honest(q), "20x")], "it answers with HTTP status 0"),
    ("a page", lambda q: [Said(honest(q), type="text/html")], "its reply is not of the type application/dns-message"),
    ("another question", lambda q: [Said(of_another(q))], "its reply is to another question"),
    ("nothing", lambda q: [Said(b"")], "its reply is to another question"),
    ("garbage", lambda q: [Said(honest(q)[:-20])], "its reply is cut short"),
    ("too much", lambda q: [Said(honest(q) + b"\0" * 70_000)], "its reply has more than 65535 octets"),
    ("reset", lambda q: [Reset()], "it refused the question (HTTP/2 RST_STREAM)"),
    ("end", lambda q: [GoAway()], "it ended the connection"),
]


@pytest.mark.parametrize(("kind", "script", "expected"), LIES, ids=[kind for kind, *_ in LIES])
def test_failures_say_why(kind: str, script: Script, expected: str, context: ssl.SSLContext, folder: Path) -> None:
    async def run() -> None:
        async with (
            HttpsUpstream(context, script) as up,
            serving(corefile(up.port, folder, "max_connect_attempts 1\nmax_fails 0")) as generation,
        ):
            reply = await ask(generation, "www.example.org", use_edns=0)
            assert (2, [f"23 127.0.0.1:{up.port}: {expected}"]) == (reply.rcode(), why(reply))
            up.script = address
            assert ["192.0.2.1"] == answers(await ask(generation, "again.example.org"))

    asyncio.run(run())


def test_a_large_reply_is_whole(context: ssl.SSLContext, folder: Path) -> None:
    def script(asked: Asked) -> list[Step]:
        message = dns.message.from_wire(honest(asked))
        message.answer = [dns.rrset.from_text(asked.name, 60, "IN", "TXT", *(f"{n}{'x' * 240}" for n in range(250)))]
        return [Said(message.to_wire(max_size=65535))]

    async def run() -> int:
        async with HttpsUpstream(context, script) as up, serving(corefile(up.port, folder)) as generation:
            for n in range(4):  # more than a window of flow control
                reply = await ask(generation, f"{n}.example.org", "TXT", transport=Transport.TCP)
                assert 250 == len(answers(reply))
            return up.connections

    assert 1 == asyncio.run(run())


# ---------------------------------------------------------------- HTTP/1.1

Answer = Callable[[web.BaseRequest, Asked], Awaitable[web.Response]]


async def say(request: web.BaseRequest, asked: Asked) -> web.Response:
    return web.Response(body=honest(asked), content_type="application/dns-message")


@asynccontextmanager
async def over_http1(context: ssl.SSLContext, answer: Answer = say, port: int = 0) -> AsyncIterator[tuple[int, list[Asked]]]:
    """An upstream that speaks HTTP/1.1 alone: its port, and what it was asked."""
    asked: list[Asked] = []
    peers: list[Any] = []

    async def respond(request: web.BaseRequest) -> web.Response:
        peer = request.transport and request.transport.get_extra_info("peername")
        peers.extend([] if peer in peers else [peer])
        headers = {":method": request.method, ":path": request.path_qs, **{k.lower(): v for k, v in request.headers.items()}}
        asked.append(Asked(headers, await request.read(), peers.index(peer) + 1))
        return await answer(request, asked[-1])

    context.set_alpn_protocols(["http/1.1"])
    speaking = web.Server(respond, handler_cancellation=True)
    server = await asyncio.get_running_loop().create_server(speaking, "127.0.0.1", port, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()
        await speaking.shutdown(0.1)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_what_speaks_http_1_1_alone(method: str, context: ssl.SSLContext, folder: Path) -> None:
    async def run() -> None:
        options = f"doh_method {method}\ntls_servername dns.example"
        async with over_http1(context) as (port, asked), serving(corefile(port, folder, options)) as generation:
            for n in range(3):
                assert ["192.0.2.1"] == answers(await ask(generation, f"{n}.example.org"))
            assert ([1, 1, 1], [0, 0, 0]) == ([one.connection for one in asked], [one.message.id for one in asked])
            headers = {name: value.partition("?")[0] for name, value in asked[0].headers.items() if name != "content-length"}
            body = {"content-type": "application/dns-message"} if method == "POST" else {}
            assert headers == {
                ":method": method, ":path": "/dns-query", "host": f"dns.example:{port}",
                "accept": "application/dns-message", **body,
            }  # fmt: skip

    asyncio.run(run())


def body_of(make: Callable[[Asked], bytes], status: int = 200, type: str = "application/dns-message", **headers: str) -> Answer:
    async def answer(request: web.BaseRequest, asked: Asked) -> web.Response:
        return web.Response(status=status, body=make(asked), content_type=type, headers=headers)

    return answer


async def hang(request: web.BaseRequest, asked: Asked) -> web.Response:
    await asyncio.sleep(60)
    raise AssertionError


async def end(request: web.BaseRequest, asked: Asked) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


HTTP1_LIES: list[tuple[str, Answer, str]] = [
    ("redirect", body_of(lambda q: b"", 302, location="/other"), "23 ADDRESS: it redirects (HTTP status 302): name the server that"
     " it leads to"),
    ("overloaded", body_of(honest, 503), "23 ADDRESS: it answers with HTTP status 503"),
    ("a page", body_of(honest, type="text/html"), "23 ADDRESS: its reply is not of the type application/dns-message"),
    ("another question", body_of(of_another), "23 ADDRESS: its reply is to another question"),
    ("too much", body_of(lambda q: honest(q) + b"\0" * 70_000), "23 ADDRESS: its reply has more than 65535 octets"),
    ("silence", hang, "22 ADDRESS: no reply within 0.3 s"),
    ("end", end, "23 ADDRESS: its HTTP/1.1 is broken (ServerDisconnectedError)"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "answer", "expected"), HTTP1_LIES, ids=[kind for kind, *_ in HTTP1_LIES])
def test_failures_over_http_1_1_say_why(
    kind: str, answer: Answer, expected: str, context: ssl.SSLContext, folder: Path
) -> None:
    async def run() -> None:
        options = f"max_connect_attempts 1\nmax_fails 0\nread_timeout {'300ms' if kind == 'silence' else '5s'}"
        async with over_http1(context, answer) as (port, _), serving(corefile(port, folder, options)) as generation:
            reply = await ask(generation, "www.example.org", use_edns=0)
            assert [expected.replace("ADDRESS", f"127.0.0.1:{port}")] == why(reply)

    asyncio.run(run())


def test_a_connection_of_http_1_1_that_was_ended_meanwhile_costs_nothing(context: ssl.SSLContext, folder: Path) -> None:
    async def answer(request: web.BaseRequest, asked: Asked) -> web.Response:
        assert request.transport is not None
        asyncio.get_running_loop().call_later(0.02, request.transport.abort)
        return await say(request, asked)

    async def run() -> None:
        async with over_http1(context, answer) as (port, _), serving(corefile(port, folder)) as generation:
            for n in range(3):
                assert ["192.0.2.1"] == answers(await ask(generation, f"{n}.example.org"))
                await asyncio.sleep(0.05)
            assert not upstream(generation).health.suspect

    asyncio.run(run())


def test_an_upstream_that_learns_http_2(context: ssl.SSLContext, folder: Path) -> None:
    async def run() -> None:
        async with over_http1(context) as (port, asked):
            generation = load(corefile(port, folder, "max_fails 0\nmax_connect_attempts 0"))
            assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org"))
        async with HttpsUpstream(context, port=port) as up:
            assert ["192.0.2.1"] == answers(await ask(generation, "other.example.org"))
            assert (1, 1) == (len(asked), len(up.asked))
            await generation.close()

    asyncio.run(run())


# ---------------------------------------------------------------- HTTP/2 again


def test_silence_is_cancelled_and_ends_the_use_of_a_connection(context: ssl.SSLContext, folder: Path) -> None:
    async def run() -> None:
        async with (
            HttpsUpstream(context, lambda q: [] if "silent" in q.name else [Said(honest(q))]) as up,
            serving(corefile(up.port, folder, "read_timeout 1s\nmax_connect_attempts 1\nmax_fails 0")) as generation,
        ):
            assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org"))
            reply = await ask(generation, "silent.example.org", use_edns=0)
            assert [f"22 127.0.0.1:{up.port}: no reply within 1 s"] == why(reply)
            await until(lambda: up.cancelled == 1)
            assert ["192.0.2.1"] == answers(await ask(generation, "other.example.org"))
            assert 2 == up.connections

    asyncio.run(run())


def test_a_connection_that_was_ended_meanwhile_costs_nothing(context: ssl.SSLContext, folder: Path) -> None:
    async def run() -> None:
        async with (
            HttpsUpstream(context, lambda q: [Said(honest(q)), GoAway()]) as up,
            serving(corefile(up.port, folder)) as generation,
        ):
            for n in range(3):
                assert ["192.0.2.1"] == answers(await ask(generation, f"{n}.example.org"))
            assert not upstream(generation).health.suspect

    asyncio.run(run())


def test_idle_connections_are_closed(context: ssl.SSLContext, folder: Path) -> None:
    async def run() -> int:
        async with HttpsUpstream(context) as up, serving(corefile(up.port, folder, "expire 50ms")) as generation:
            for n in range(3):
                await ask(generation, f"{n}.example.org")
                await asyncio.sleep(0.25)
            return up.connections

    assert 3 == asyncio.run(run())


def test_health_is_checked_by_https(context: ssl.SSLContext, folder: Path, free_port: int) -> None:
    async def run() -> None:
        text = corefile(free_port, folder, "health_check 20ms domain check.example\nmax_fails 1")
        async with serving(text) as generation:
            assert 2 == (await ask(generation, "www.example.org")).rcode()
            health = upstream(generation).health
            await until(lambda: health.down)
            async with HttpsUpstream(context, port=free_port) as up:
                await until(lambda: not health.suspect)
                assert ["check.example."] == [asked.name for asked in up.asked]

    asyncio.run(run())


def test_what_waits_at_the_end_ends_too(context: ssl.SSLContext, folder: Path) -> None:
    async def run() -> list[str]:
        async with HttpsUpstream(context, lambda q: []) as up:
            async with serving(corefile(up.port, folder, "max_connect_attempts 1")) as generation:
                waiting = asyncio.create_task(ask(generation, "www.example.org", use_edns=0))
                await until(lambda: len(up.asked) == 1)
            return [line.rpartition(": ")[2] for line in why(await waiting)]

    assert ["the server is ending"] == asyncio.run(run())


ZONE = """
server:
    interface: 127.0.0.1@{port}
    https-port: {port}
    tls-service-key: "{folder}/dns.example.key"
    tls-service-pem: "{folder}/dns.example.crt"
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    do-ip6: no
    module-config: "iterator"
    local-zone: "example.org." static
    local-data: "www.example.org. 60 IN A 192.0.2.1"
    {many}
remote-control:
    control-enable: no
"""


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_unbound_as_upstream(method: str, folder: Path, free_port: int) -> None:
    if UNBOUND is None:
        pytest.skip("unbound is not installed")
    many = "\n".join(f'    local-data: "many.example.org. 60 IN TXT {n:03d}{"x" * 200}"' for n in range(100))
    (folder / "unbound.conf").write_text(ZONE.format(port=free_port, folder=folder, many=many))
    process = subprocess.Popen([UNBOUND, "-d", "-c", folder / "unbound.conf"], stderr=subprocess.DEVNULL)

    async def run() -> None:
        text = corefile(free_port, folder, f"max_connect_attempts 0\nmax_fails 0\ndoh_method {method}")
        async with serving(text) as generation:
            assert ["192.0.2.1"] == answers(await ask(generation, "www.example.org"))
            assert 3 == (await ask(generation, "no.example.org")).rcode()
            large = await ask(generation, "many.example.org", "TXT", transport=Transport.TCP)
            assert 100 == len(answers(large))

    try:
        asyncio.run(run())
    finally:
        process.terminate()
        process.wait(10)
