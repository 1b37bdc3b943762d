"""DNS over HTTPS: HTTP/2 and HTTP/1.1 as clients of others speak them, and what a client may not do."""

import asyncio
import contextlib
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import h2.connection
import httpx2
import pytest
from h2.config import H2Configuration
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from kdns.server import http2
from kdns.server.https import PREFACE
from kdns.server.run import Server
from tests.support.certificates import Authority, Pair
from tests.support.running import serving
from tests.support.stage import address_of, addresses, question

TYPE = "application/dns-message"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("https"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.sign("dns.example")


def corefile(port: int, answer: str = "known", tls: str = "") -> str:
    return f"https://.:{port} {{\nbind 127.0.0.1\n{tls}\n{answer}\n}}\n"


def encrypted(port: int, pair: Pair, answer: str = "known", rest: str = "") -> str:
    return corefile(port, answer, f"tls {pair.cert} {pair.key} {rest}")


# ---------------------------------------------------------------- clients of others


def commands(port: int, ca: Path) -> dict[str, tuple[list[str], str]]:
    """Command lines that ask for n7.example, and what is to be in their output."""
    at, name = ["@127.0.0.1", "-p", str(port)], "n7.example"
    url = f"https://dns.example:{port}/dns-query?dns=AAABAAABAAAAAAAAAm43B2V4YW1wbGUAAAEAAQ"
    resolve = ["--resolve", f"dns.example:{port}:127.0.0.1", "--cacert", str(ca), "-s", "-o", "/dev/null"]
    shown = ["-w", "%{http_version} %{http_code} %{content_type}"]
    trust = [f"+tls-ca={ca}", "+tls-hostname=dns.example"]
    return {
        "dig": (["dig", *at, name, "+https", *trust, "+short"], "10.0.0.7\n"),
        "dig GET": (["dig", *at, name, "+https-get", *trust, "+short"], "10.0.0.7\n"),
        "kdig": (["kdig", *at, name, "+https", *trust, "+short"], "10.0.0.7\n"),
        "kdig GET": (["kdig", *at, name, "+https", "+https-get", *trust, "+short"], "10.0.0.7\n"),
        "curl HTTP/2": (["curl", *resolve, *shown, "--http2", url], f"2 200 {TYPE}"),
        "curl HTTP/1.1": (["curl", *resolve, *shown, "--http1.1", url], f"1.1 200 {TYPE}"),
        "nghttp": (["nghttp", "-n", "-s", "--no-verify-peer", f"https://127.0.0.1:{port}{url[url.index('/dns-query'):]}"],
                   " 200 "),
    }  # fmt: skip


CLIENTS = ["dig", "dig GET", "kdig", "kdig GET", "curl HTTP/2", "curl HTTP/1.1", "nghttp"]


@pytest.mark.parametrize("client", CLIENTS)
def test_clients(client: str, stage: Any, pair: Pair, authority: Authority, free_port: int) -> None:
    command, expected = commands(free_port, authority.root.cert)[client]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")

    async def run() -> str:
        async with serving(encrypted(free_port, pair)):
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            return (await process.communicate())[0].decode()

    said = asyncio.run(run())
    assert expected in said


def test_dig_in_the_clear(stage: Any, free_port: int) -> None:
    async def run() -> str:
        async with serving(corefile(free_port)):
            command = ["dig", "@127.0.0.1", "-p", str(free_port), "n7.example", "+http-plain", "+short"]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            return (await process.communicate())[0].decode()

    assert "10.0.0.7\n" == asyncio.run(run())


@pytest.mark.parametrize("post", [True, False])
def test_dnspython(post: bool, stage: Any, pair: Pair, authority: Authority, free_port: int) -> None:
    def ask() -> list[list[str]]:
        context = ssl.create_default_context(cafile=str(authority.root.cert))
        with httpx2.Client(http1=False, http2=True, verify=context) as session:
            replies = []
            for n in range(1, 4):
                reply = dns.query.https(
                    dns.message.make_query(f"n{n}.example", "A"), f"https://127.0.0.1:{free_port}/dns-query", 10,
                    post=post, session=session,
                )  # fmt: skip
                replies.append([rdata.to_text() for rrset in reply.answer for rdata in rrset])
            return replies

    async def run() -> list[list[str]]:
        async with serving(encrypted(free_port, pair)):
            return await asyncio.to_thread(ask)

    assert [["10.0.0.1"], ["10.0.0.2"], ["10.0.0.3"]] == asyncio.run(run())


def test_certificates_that_change_clients_certificates_and_expiry(
    stage: Any, pair: Pair, authority: Authority, tmp_path: Path, free_port: int
) -> None:
    own, expired = authority.sign("client.example"), authority.sign("old.example", expired=True)
    (tmp_path / "tls.crt").write_bytes(pair.cert.read_bytes())
    (tmp_path / "tls.key").write_bytes(pair.key.read_bytes())
    text = encrypted(
        free_port, Pair(tmp_path / "tls.crt", tmp_path / "tls.key"),
        rest=f"{authority.root.cert} {{\nclient_auth require_and_verify\n}}",
    )  # fmt: skip

    def context(certificate: Pair | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(authority.root.cert))
        if certificate is not None:
            made.load_cert_chain(certificate.cert, certificate.key)
        return made

    def get(session: httpx2.Client) -> str:
        try:
            return str(session.get(f"https://127.0.0.1:{free_port}/").status_code)
        except httpx2.HTTPError as error:
            return "expired" if "expired" in str(error) else "refused"

    async def run(two: bool) -> list[str]:
        async with serving(text) as server:
            with (
                httpx2.Client(http1=not two, http2=two, verify=context(own)) as first,
                httpx2.Client(http1=not two, http2=two, verify=context(own)) as second,
                httpx2.Client(http1=not two, http2=two, verify=context(None)) as stranger,
            ):
                said = [await asyncio.to_thread(get, stranger), await asyncio.to_thread(get, first)]
                (tmp_path / "tls.crt").write_bytes(expired.cert.read_bytes())
                (tmp_path / "tls.key").write_bytes(expired.key.read_bytes())
                look(server)
                said += [await asyncio.to_thread(get, first), await asyncio.to_thread(get, second)]
                (tmp_path / "tls.crt").write_bytes(pair.cert.read_bytes())
                (tmp_path / "tls.key").write_bytes(pair.key.read_bytes())
                look(server)
                return [*said, await asyncio.to_thread(get, second)]

    for two in (True, False):
        assert ["refused", "404", "404", "expired", "404"] == asyncio.run(run(two))


def look(server: Server) -> None:
    """The files of certificates have changed."""
    for watched in server.generation.watched:
        watched.changed()


# ---------------------------------------------------------------- what is said, judged by package h2


class Client:
    """HTTP/2 in the clear, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: dict[int, int]) -> None:
        self._reader, self._writer = reader, writer
        self.h2 = h2.connection.H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(settings)  # type: ignore[arg-type]
        self.replies: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.whole: list[int] = []
        self.resets: dict[int, int] = {}
        self.ended: int | None = None  # the code of GOAWAY

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, port: int, settings: dict[int, int] | None = None) -> AsyncIterator["Client"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer, settings or {})
        finally:
            writer.transport.abort()

    def send(self, headers: Sequence[tuple[str, str]], body: bytes = b"", whole: bool = True) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers, end_stream=whole and not body)
        if body:
            self.h2.send_data(stream, body, end_stream=whole)
        return stream

    def post(self, wire: bytes, whole: bool = True, **other: str) -> int:
        said = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/dns-query", "content-type": TYPE}
        return self.send(list({**said, **{f":{name}": value for name, value in other.items()}}.items()), wire, whole)

    async def flush(self) -> None:
        self._writer.write(self.h2.data_to_send())
        await self._writer.drain()

    async def read(self, replies: int = 0, acknowledge: bool = True) -> bool:
        """Read until so many replies are whole; False where the connection ends before."""
        await self.flush()
        while len(self.whole) < replies or not replies:
            try:
                octets = await asyncio.wait_for(self._reader.read(65536), 20)
            except ConnectionError:
                octets = b""
            if not octets:
                return False
            for event in self.h2.receive_data(octets):
                self._take(event, acknowledge)
            if self.ended is None:
                await self.flush()
        return True

    def _take(self, event: Event, acknowledge: bool) -> None:
        if isinstance(event, ResponseReceived):
            self.replies[event.stream_id] = (dict(event.headers), bytearray())  # type: ignore[arg-type]
        elif isinstance(event, DataReceived):
            self.replies[event.stream_id][1].extend(event.data)
            if acknowledge:
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.whole.append(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, ConnectionTerminated):
            self.ended = int(event.error_code)

    def answers(self) -> list[list[str]]:
        return [addresses(bytes(self.replies[stream][1])) for stream in self.whole]


def told(answer: str, port: int, check: Any, **bounds: Any) -> None:
    """Run a check of a client of a server in the clear."""

    async def run() -> None:
        async with serving(corefile(port, answer)) as server, Client.of(port, **bounds) as client:
            await check(client, server)

    asyncio.run(run())


def test_many_streams_of_one_connection_in_any_order(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        slow = [client.post(question(f"n{n}.{ms}.example", id=0)) for n, ms in ((1, 300), (2, 0), (3, 100))]
        assert await client.read(3)
        assert [slow[1], slow[2], slow[0]] == client.whole
        assert [["10.0.0.2"], ["10.0.0.3"], ["10.0.0.1"]] == client.answers()
        for n in range(90):
            client.post(question(f"n{n + 1}.0.example", id=n))
        assert await client.read(93)
        assert {f"10.0.0.{n + 1}" for n in range(90)} == {answer for [answer] in client.answers()[3:]}

    told("slow", free_port, check)


def test_the_memo_answers_and_is_counted(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        for _ in range(3):
            client.post(question("n5.example", id=9))
            assert await client.read(len(client.whole) + 1)
        [listener] = server.generation.listeners.values()
        assert ([["10.0.0.5"]] * 3, 1, 2) == (client.answers(), listener.counts.misses, listener.counts.hits)
        headers = client.replies[1][0]
        assert ("200", TYPE, "max-age=5", str(len(client.replies[1][1]))) == (
            headers[":status"], headers["content-type"], headers["cache-control"], headers["content-length"]
        )  # fmt: skip

    told("known", free_port, check)


WIRE = question("n5.example", id=0)
STATUSES: list[tuple[dict[str, str], bytes, str]] = [
    ({}, WIRE, "200"),
    ({":path": "/dns-query?x=1"}, WIRE, "200"),
    ({"content-type": "application/dns-message; x=y"}, WIRE, "200"),
    ({"content-type": "Application/DNS-Message"}, WIRE, "200"),
    ({"content-type": "application/json"}, WIRE, "415"),
    ({":path": "/"}, WIRE, "404"),
    ({":method": "PUT"}, WIRE, "405"),
    ({":method": "HEAD"}, b"", "405"),
    ({":method": "GET"}, b"", "400"),
    ({":method": "GET", ":path": "/dns-query?dns=AA*A"}, b"", "400"),
    ({":method": "GET", ":path": "/dns-query?dns="}, b"", "400"),
    ({":method": "GET", ":path": "/dns-query?dns=AAAA"}, b"", "400"),
    ({":method": "GET", ":path": "/dns-query?a=b&dns=AAABAAABAAAAAAAAAm41B2V4YW1wbGUAAAEAAQ"}, b"", "200"),
    ({}, b"", "400"),
    ({}, WIRE[:2] + b"\x81" + WIRE[3:], "400"),  # a reply
    ({}, b"\0" * 16384, "200"),  # FORMERR
    ({}, b"\0" * 16385, "413"),
]


def test_statuses(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        said = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/dns-query", "content-type": TYPE}
        got = []
        for other, body, _ in STATUSES:
            stream = client.h2.get_next_available_stream_id()
            client.h2.send_headers(stream, list((said | other).items()), end_stream=not body)
            for at in range(0, len(body), 16000):
                client.h2.send_data(stream, body[at : at + 16000], end_stream=at + 16000 >= len(body))
            assert await client.read(len(client.whole) + 1)
            got.append(client.replies[stream][0][":status"])
        assert [status for *_, status in STATUSES] == got
        [allow] = {headers.get("allow") for headers, _ in client.replies.values() if headers[":status"] == "405"}
        assert "GET, POST" == allow

    told("known", free_port, check)


def test_a_body_without_end_is_refused_before_it_ends(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        stream = client.post(b"\0" * 16000, whole=False)
        client.h2.send_data(stream, b"\0" * 16000)
        assert await client.read(1)
        client.post(WIRE)
        assert await client.read(2)
        assert ("413", {stream: 0}) == (client.replies[stream][0][":status"], client.resets)

    told("known", free_port, check)


def test_a_question_that_is_cancelled_is_not_answered(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        stream = client.post(question("n1.60000.example"))
        client.post(question("n2.0.example"))
        assert await client.read(1)
        assert 1 == len(server.in_flight)
        client.h2.reset_stream(stream)
        client.post(question("n3.0.example"))
        assert await client.read(2)
        assert ([["10.0.0.2"], ["10.0.0.3"]], 0) == (client.answers(), len(server.in_flight))

    told("slow", free_port, check)


def test_over_the_limit_of_queries_in_flight_is_503(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        server.in_flight.limit = 2
        for n in range(3):
            client.post(question(f"n{n}.60000.example"))
        assert await client.read(1)
        assert "503" == client.replies[client.whole[0]][0][":status"]

    told("slow", free_port, check)


# ---------------------------------------------------------------- what a client may not do


def noisy(client: Client, kind: str) -> None:
    for n in range(1000):
        if kind == "PING":
            client.h2.ping(n.to_bytes(8, "big"))
        elif kind == "SETTINGS":
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65535 + n})
        elif kind == "RST_STREAM":
            client.h2.reset_stream(client.post(question(f"n{n}.60000.example"), whole=n % 2 == 0))
        elif kind == "WINDOW_UPDATE":
            client.h2.increment_flow_control_window(1)
        elif kind == "empty DATA":
            if not n:
                client.post(b"\0", whole=False)
            client.h2.send_data(1, b"")


@pytest.mark.parametrize("kind", ["PING", "SETTINGS", "RST_STREAM", "WINDOW_UPDATE", "empty DATA"])
def test_who_asks_for_nothing_is_told_to_be_calm(kind: str, stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        noisy(client, kind)
        assert not await client.read()
        assert (11, 0) == (client.ended, len(server.in_flight))  # ENHANCE_YOUR_CALM

    told("slow", free_port, check)


def test_noise_between_answers_is_taken(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        for n in range(300):
            client.h2.ping(n.to_bytes(8, "big"))
            client.post(question(f"n{n + 1}.example"))
            assert await client.read(n + 1)
        assert 300 == len(client.answers())

    told("known", free_port, check)


def test_more_streams_than_told(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        for n in range(150):
            client.post(question(f"n{n}.60000.example"))
        assert not await client.read()
        assert (1, 0) == (client.ended, len(server.in_flight))  # PROTOCOL_ERROR

    told("slow", free_port, check)


@pytest.mark.parametrize(("large", "lines"), [(20_000, 1), (100, 300)])
def test_headers_that_are_too_large(large: int, lines: int, stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        said = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/dns-query", "content-type": TYPE}
        client.send([*said.items(), *((f"x-{n}", "y" * large) for n in range(lines))], WIRE)
        assert not await client.read()
        assert client.ended is not None and not client.replies

    told("known", free_port, check)


def test_octets_that_nothing_comes_of(stage: Any, free_port: int) -> None:
    """A frame that says to have 16 MB; headers that never end."""

    async def check(client: Client, server: Server) -> None:
        await client.flush()
        client._writer.write(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"\0" * 100_000)
        assert not await client.read()

    told("known", free_port, check)


def test_what_is_no_http_2_after_its_beginning(stage: Any, free_port: int) -> None:
    async def run() -> list[bool]:
        ended = []
        async with serving(corefile(free_port)):
            for octets in (PREFACE + b"\0" * 100, PREFACE[:20] + b"X" * 100, b"P\0" + b"\0" * 100):
                reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
                writer.write(octets)
                said = await asyncio.wait_for(reader.read(), 20)
                ended.append(b" 200" not in said)
                writer.close()
        return ended

    assert [True, True, True] == asyncio.run(run())


def test_a_beginning_in_pieces(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        client.post(WIRE)
        octets = client.h2.data_to_send()
        for at in range(len(octets)):
            client._writer.write(octets[at : at + 1])
            await asyncio.sleep(0.001)
        assert await client.read(1)
        assert [["10.0.0.5"]] == client.answers()

    told("known", free_port, check)


def test_http_1_1_in_pieces(stage: Any, free_port: int) -> None:
    async def run() -> bytes:
        async with serving(corefile(free_port)):
            reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
            head = f"POST /dns-query HTTP/1.1\r\nhost: x\r\ncontent-type: {TYPE}\r\ncontent-length: {len(WIRE)}\r\n"
            for octet in head.encode() + b"connection: close\r\n\r\n" + WIRE:
                writer.write(bytes([octet]))
                await asyncio.sleep(0)
            said = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return said

    head, _, body = asyncio.run(run()).partition(b"\r\n\r\n")
    assert (b"HTTP/1.1 200 OK", ["10.0.0.5"]) == (head.split(b"\r\n")[0], addresses(body))


ENDS: list[tuple[str, str, Any]] = [
    ("nothing after the beginning", "READ", lambda client: None),
    ("a request that is never whole", "READ", lambda client: client.post(b"\0", whole=False)),
    ("PING alone", "READ", lambda client: client.h2.ping(b"\0" * 8)),
    ("idle", "IDLE", lambda client: client.post(WIRE)),
]


@pytest.mark.parametrize(("kind", "bound", "act"), ENDS, ids=[kind for kind, *_ in ENDS])
def test_who_does_nothing_is_ended(
    kind: str, bound: str, act: Any, stage: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, bound, 0.2)

    async def check(client: Client, server: Server) -> None:
        act(client)
        assert not await client.read()

    told("known", free_port, check)


def test_replies_that_are_not_taken_are_bounded(
    stage: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that opens no window gets nothing, and is ended in time, or at once where too much waits."""
    monkeypatch.setattr(http2, "WRITE", 0.3)

    async def check(client: Client, server: Server) -> None:
        client.post(WIRE)
        assert not await client.read(1)
        assert {b""} == {bytes(body) for _, body in client.replies.values()}

    told("known", free_port, check, settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
    monkeypatch.setattr(http2, "WRITE", 60.0)
    monkeypatch.setattr(http2, "UNTAKEN", 2000)

    async def check_many(client: Client, server: Server) -> None:
        for _ in range(90):
            client.post(WIRE)
        assert not await client.read()

    told("known", free_port, check_many, settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})


def test_a_window_that_opens_later(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        client.post(WIRE)
        await client.flush()
        await asyncio.sleep(0.05)
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65535})
        assert await client.read(1)
        assert [["10.0.0.5"]] == client.answers()

    told("known", free_port, check, settings={SettingCodes.INITIAL_WINDOW_SIZE: 5})


def test_a_window_that_becomes_smaller_than_what_was_sent(stage: Any, free_port: int) -> None:
    async def check(client: Client, server: Server) -> None:
        client.post(b"", method="HEAD")
        assert await client.read(1)  # the first settings are taken up
        client.post(WIRE)
        await client.flush()
        await asyncio.sleep(0.05)
        for size in (5, 65535):
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})
            await client.flush()
            await asyncio.sleep(0.05)
        assert await client.read(2, acknowledge=False)
        assert ["10.0.0.5"] == addresses(bytes(client.replies[client.whole[1]][1]))

    told("known", free_port, check, settings={SettingCodes.INITIAL_WINDOW_SIZE: 20})


def test_the_end_of_service_waits_for_answers(stage: Any, free_port: int) -> None:
    async def run() -> tuple[list[list[str]], int | None]:
        server = Server(corefile(free_port, "slow"))
        await server.start()
        async with Client.of(free_port) as client:
            client.post(question("n4.400.example"))
            client.post(question("n3.0.example"))
            assert await client.read(1)
            stopping = asyncio.create_task(server.stop())
            assert await client.read(2)
            assert not await client.read(3)
            await stopping
            return client.answers(), client.ended

    assert ([["10.0.0.3"], ["10.0.0.4"]], 0) == asyncio.run(run())


@pytest.mark.parametrize("kind", ["tls", "clear"])
def test_who_does_nothing_does_not_hold_up_the_end(
    kind: str, stage: Any, pair: Pair, authority: Authority, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that has its answer, and does not take part in the end of TLS, nor one that has said nothing."""
    monkeypatch.setattr("kdns.server.run.DRAIN", 60.0)

    context = ssl.create_default_context(cafile=str(authority.root.cert)) if kind == "tls" else None
    if context is not None:
        context.set_alpn_protocols(["h2"])

    async def run() -> str:
        server = Server(encrypted(free_port, pair) if context else corefile(free_port))
        await server.start()
        _, silent = await asyncio.open_connection("127.0.0.1", free_port)
        sock, status = await asyncio.to_thread(ask_once, free_port, context)
        with contextlib.closing(sock):
            await asyncio.wait_for(server.stop(), 20)
        silent.close()
        return status

    assert "200" == asyncio.run(run())


def ask_once(port: int, context: ssl.SSLContext | None) -> tuple[socket.socket, str]:
    """The status of the reply to one request, and the connection, which stays open."""
    sock = socket.create_connection(("127.0.0.1", port))
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="dns.example")
    client = h2.connection.H2Connection(H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    said = {":method": "POST", ":scheme": "https", ":authority": "x", ":path": "/dns-query", "content-type": TYPE}
    client.send_headers(1, list(said.items()))
    client.send_data(1, WIRE, end_stream=True)
    sock.sendall(client.data_to_send())
    while True:
        for event in client.receive_data(sock.recv(65536)):
            if isinstance(event, ResponseReceived):
                return sock, str(dict(event.headers)[":status"])


def test_connections_of_both_kinds_are_counted_together(
    stage: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdns.server.https.CONNECTIONS", 4)

    async def run() -> list[bool]:
        async with serving(corefile(free_port)), contextlib.AsyncExitStack() as stack:
            clients = []
            for n in range(8):
                if n % 2:
                    _, writer = await asyncio.open_connection("127.0.0.1", free_port)
                    writer.write(b"GET /")
                    stack.callback(writer.close)
                else:
                    client = await stack.enter_async_context(Client.of(free_port))
                    client.post(WIRE)
                    clients.append(await client.read(1) and client)
            last = clients[-1]
            assert isinstance(last, Client)
            last.post(WIRE)
            first = clients[0]
            assert isinstance(first, Client)
            return [await last.read(2), await first.read(2)]

    assert [True, False] == asyncio.run(run())


def test_other_requests_do_not_wait_for_one_connection(
    stage: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one client sends at once is answered in parts, with turns of others in between."""
    monkeypatch.setattr(http2, "PART", 500)

    async def run() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with serving(corefile(free_port)), Client.of(free_port) as client:
            task = asyncio.create_task(others())
            for n in range(90):
                client.post(question(f"n{n}.{'x' * 60}.example"))
            octets = client.h2.data_to_send()
            client._writer.write(octets)
            assert await client.read(90)
            task.cancel()
            return turns - len(octets) // 500

    assert asyncio.run(run()) > 0


def test_the_name_of_an_address(stage: Any) -> None:
    assert b"\x0a\0\0\x05" == address_of("n5.example")
