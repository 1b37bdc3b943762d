"""tls: what its line says, its files, and addresses that it encrypts, judged by dnspython and the standard library."""

import asyncio
import base64
import contextlib
import re
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import pytest

from kdns.plugins.tls import Tls
from kdns.server.load import load, notes
from kdns.server.run import Server
from tests.support.certificates import Authority, Pair
from tests.support.configured import refused
from tests.support.running import serving

QUERY = dns.message.make_query("kdns.test", "A", id=0)
WIRE = QUERY.to_wire()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.sign("dns.example")


@pytest.fixture(scope="module")
def client_pair(authority: Authority) -> Pair:
    return authority.sign("client.example")


@pytest.fixture
def files(pair: Pair, authority: Authority, tmp_path: Path) -> Iterator[Path]:
    """A folder with tls.crt, tls.key, ca.crt, and some that are wrong."""
    for source, name in ((pair.cert, "tls.crt"), (pair.key, "tls.key"), (authority.root.cert, "ca.crt")):
        shutil.copy(source, tmp_path / name)
    (tmp_path / "text").write_text("hello")
    shutil.copy(authority.root.key, tmp_path / "other.key")
    (tmp_path / "broken.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return tmp_path


# ---------------------------------------------------------------- the line

PREFIX = "Corefile:2: tls: "
WRONG = [
    ("tls", PREFIX + "takes 2 to 3 arguments, has none"),
    ("tls DIR/tls.crt", PREFIX + "takes 2 to 3 arguments, has 1"),
    ("tls DIR/none.crt DIR/tls.key", PREFIX + "cannot read DIR/none.crt: no such file or directory"),
    ("tls DIR/tls.crt DIR/none.key", PREFIX + "cannot read DIR/none.key: no such file or directory"),
    ("tls DIR/text DIR/tls.key", PREFIX + "cannot read DIR/text: it holds no PEM with -----BEGIN CERTIFICATE-----"),
    ("tls DIR/tls.crt DIR/tls.crt", PREFIX + "cannot read DIR/tls.crt: it holds no PEM with -----BEGIN PRIVATE KEY-----"),
    ("tls DIR/tls.crt DIR/other.key", PREFIX + "cannot read DIR/tls.crt and DIR/other.key: key values mismatch"),
    ("tls DIR/broken.crt DIR/tls.key", PREFIX + "cannot read DIR/broken.crt and DIR/tls.key: they are no PEM"),
    ("tls DIR/tls.crt DIR/tls.key DIR/text", PREFIX + "cannot read DIR/text: it holds no PEM with -----BEGIN CERTIFICATE-----"),
    ("tls DIR/tls.crt DIR/tls.key {\nclient_auth yes\n}",
     "Corefile:3: tls: client_auth: 'yes' is none of nocert, request, require, verify_if_given, require_and_verify"),
    ("tls DIR/tls.crt DIR/tls.key {\nkeylog DIR\n}", PREFIX + "cannot read DIR: is a directory"),
    ("tls {\nacme dns.example.org\n}",
     PREFIX + "acme is not served: let cert-manager or another ACME client write the files, and name them: tls CERT KEY\n"
     "Corefile:3: tls: unknown option 'acme'"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), WRONG)
def test_a_line_that_is_wrong(line: str, expected: str, files: Path) -> None:
    got = refused(f"tls://. {{\n{line.replace('DIR', str(files))}\nwhoami\n}}").replace(str(files), "DIR")
    assert expected == got


def test_an_address_has_one_certificate(files: Path, authority: Authority) -> None:
    one, other = f"tls {files}/tls.crt {files}/tls.key", f"tls {authority.root.cert} {authority.root.key}"

    def blocks(first: str, second: str) -> str:
        return f"tls://a. {{\n{first}\nwhoami\n}}\ntls://b. {{\n{second}\nwhoami\n}}\n"

    assert "Corefile:1: tls://:853 needs a certificate: add tls CERT KEY" == refused("tls://a. {\nwhoami\n}")
    assert (
        "Corefile:5: tls://:853 has one certificate for all its zones: write the same tls as in the server block at Corefile:1,"
        " or give it an address of its own (bind)"
    ) == refused(blocks(one, other))
    load(blocks(one, one))
    load(blocks(one, ""))
    load(blocks(f"bind 127.0.0.1\n{one}", f"bind ::1\n{other}"))


def test_what_has_no_effect_or_no_certificate_is_said(files: Path) -> None:
    said = notes(load(f". {{\ntls {files}/tls.crt {files}/tls.key\nwhoami\n}}\nhttps://. {{\nwhoami\n}}"))
    assert [
        "Corefile:2: tls: has no effect: no zone of this server block begins with tls:// or https://",
        "Corefile:5: https://:443 is HTTP without TLS, for a proxy with a certificate; else add tls CERT KEY",
    ] == said


@pytest.mark.parametrize("scheme", ["quic", "grpc", "https3"])
def test_schemes_that_are_not_served(scheme: str) -> None:
    expected = f"Corefile:1: {scheme}:// is not served by kdns; dns://, tls://, https:// are: put a proxy in front of one"
    assert expected == refused(f"{scheme}://. {{\nwhoami\n}}")


# ---------------------------------------------------------------- DNS over TLS


def corefile(scheme: str, port: int, line: str) -> str:
    return f"{scheme}://.:{port} {{\nbind 127.0.0.1\n{line}\nwhoami\n}}\n"


def trusting(ca: Path, own: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context


async def over_tls(port: int, context: ssl.SSLContext) -> str:
    """The rcode of the reply; or why there is none."""

    def ask() -> str:
        try:
            reply = dns.query.tls(QUERY, "127.0.0.1", 10, port, ssl_context=context, server_hostname="dns.example")
            return dns.rcode.to_text(reply.rcode())
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError as error:
            return str(error.reason)
        except (EOFError, ConnectionError):
            return "closed"

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize(("scheme", "spoken"), [("tls", "dot"), ("https", "h2")])
def test_each_scheme_says_what_is_spoken_on_it(scheme: str, spoken: str, files: Path, free_port: int) -> None:
    async def agreed() -> str | None:
        async with serving(corefile(scheme, free_port, f"tls {files}/tls.crt {files}/tls.key")):
            context = trusting(files / "ca.crt")
            context.set_alpn_protocols(["http/1.1", "dot", "h2"])
            _, writer = await asyncio.open_connection("127.0.0.1", free_port, ssl=context, server_hostname="dns.example")
            protocol: str | None = writer.get_extra_info("ssl_object").selected_alpn_protocol()
            writer.transport.abort()
            return protocol

    assert spoken == asyncio.run(agreed())


def test_many_queries_of_one_connection(files: Path, free_port: int) -> None:
    async def run() -> tuple[list[int], list[tuple[bytes, bytes]]]:
        async with serving(corefile("tls", free_port, f"tls {files}/tls.crt {files}/tls.key\nprometheus 127.0.0.1:0")) as server:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", free_port, ssl=trusting(files / "ca.crt"), server_hostname="dns.example"
            )
            writer.write(b"".join(len(WIRE).to_bytes(2, "big") + n.to_bytes(2, "big") + WIRE[2:] for n in range(1, 501)))
            got = []
            for _ in range(500):
                size = int.from_bytes(await reader.readexactly(2), "big")
                got.append(int.from_bytes((await reader.readexactly(size))[:2], "big"))
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            text = await server.generation.metrics.text()
            return sorted(got), re.findall(rb'coredns_dns_requests_total{.*proto="(.*?)".*} (.*)', text)

    assert (list(range(1, 501)), [(b"tls", b"500.0")]) == asyncio.run(run())


def test_clients(files: Path, client_pair: Pair, tmp_path: Path, free_port: int) -> None:
    stranger = Authority(tmp_path, "stranger").sign("client.example")
    cases = [
        ("nocert", None, "NOERROR"), ("nocert", stranger, "NOERROR"), ("request", None, "NOERROR"),
        ("verify_if_given", None, "NOERROR"), ("verify_if_given", client_pair, "NOERROR"),
        ("verify_if_given", stranger, "refused"), ("require", None, "refused"),
        ("require_and_verify", None, "refused"), ("require_and_verify", stranger, "refused"),
        ("require_and_verify", client_pair, "NOERROR"),
    ]  # fmt: skip

    async def run(policy: str, own: Pair | None) -> str:
        line = f"tls {files}/tls.crt {files}/tls.key {files}/ca.crt {{\nclient_auth {policy}\n}}"
        async with serving(corefile("tls", free_port, line)):
            said = await over_tls(free_port, trusting(files / "ca.crt", own))
            return said if said == "NOERROR" else "refused"

    assert [expected for *_, expected in cases] == [asyncio.run(run(policy, own)) for policy, own, _ in cases]


def test_the_wrong_authority_and_what_is_no_tls(files: Path, tmp_path: Path, free_port: int) -> None:
    stranger = Authority(tmp_path, "stranger")

    async def run() -> list[str]:
        async with serving(corefile("tls", free_port, f"tls {files}/tls.crt {files}/tls.key")):
            reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
            writer.write(len(WIRE).to_bytes(2, "big") + WIRE)
            ended = await reader.read()
            writer.close()
            return [
                await over_tls(free_port, trusting(stranger.root.cert)),
                str(WIRE in ended),
                await over_tls(free_port, trusting(files / "ca.crt")),
            ]

    assert ["unable to get local issuer certificate", "False", "NOERROR"] == asyncio.run(run())


def test_those_who_never_encrypt_are_few_and_go_for_new_ones(files: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdns.server.tcp.CONNECTIONS", 16)

    async def run() -> tuple[str, int]:
        async with serving(corefile("tls", free_port, f"tls {files}/tls.crt {files}/tls.key")):
            opened = [await asyncio.open_connection("127.0.0.1", free_port) for _ in range(20)]
            said = await over_tls(free_port, trusting(files / "ca.crt"))
            ended = sum([await reader.read() == b"" for reader, _ in opened[:16]])
            for _, writer in opened:
                writer.close()
            return said, ended

    assert ("NOERROR", 16) == asyncio.run(run())


def test_dig(files: Path, free_port: int) -> None:
    async def run() -> str:
        async with serving(corefile("tls", free_port, f"tls {files}/tls.crt {files}/tls.key")):
            words = ("+tls", f"+tls-ca={files}/ca.crt", "+tls-hostname=dns.example", "kdns.test", "@127.0.0.1", f"-p{free_port}")
            dig = await asyncio.create_subprocess_exec("dig", *words, stdout=asyncio.subprocess.PIPE)
            return (await dig.communicate())[0].decode()

    assert "status: NOERROR" in asyncio.run(run())


def test_the_secrets_of_connections_are_kept_for_those_who_debug(files: Path, free_port: int) -> None:
    async def run() -> None:
        async with serving(corefile("tls", free_port, f"tls {files}/tls.crt {files}/tls.key {{\nkeylog {files}/keys\n}}")):
            context = ssl.create_default_context(cafile=str(files / "ca.crt"))
            _, writer = await asyncio.open_connection("127.0.0.1", free_port, ssl=context, server_hostname="dns.example")
            writer.close()

    asyncio.run(run())
    assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in (files / "keys").read_text()


def _tls(server: Server) -> Tls:
    (plugin,) = server.generation.blocks[0].named("tls")
    assert isinstance(plugin, Tls)
    return plugin


def test_files_that_change(files: Path, authority: Authority, pair: Pair, free_port: int) -> None:
    expired = authority.sign("old.example", expired=True)

    async def run() -> list[object]:
        said: list[object] = []
        async with serving(corefile("tls", free_port, f"tls {files}/tls.crt {files}/tls.key")) as server:
            context = trusting(files / "ca.crt")
            context.check_hostname = False
            for cert, key in ((expired.cert, expired.key), (expired.cert, pair.key), (pair.cert, pair.key)):
                shutil.copy(cert, files / "tls.crt")
                shutil.copy(key, files / "tls.key")
                _tls(server)._look()
                remarks = [line.replace(str(files), "DIR") for line in _tls(server).remarks()]
                said.append((await over_tls(free_port, context), remarks))
        return said

    expiry = "tls: the certificate in DIR/tls.crt has expired: clients refuse it"
    kept = "tls: cannot read DIR/tls.crt and DIR/tls.key: key values mismatch; the certificate before stays"
    assert [
        ("certificate has expired", [expiry]),
        ("certificate has expired", [kept, expiry]),
        ("NOERROR", []),
    ] == asyncio.run(run())


def test_its_files_are_watched(files: Path) -> None:
    generation = load(f"tls://. {{\nroot {files}\ntls tls.crt tls.key ca.crt\nwhoami\n}}")
    assert [[f"{files}/tls.crt", f"{files}/tls.key", f"{files}/ca.crt"]] == [watched.paths() for watched in generation.watched]


# ---------------------------------------------------------------- DNS over HTTPS

ENCODED = base64.urlsafe_b64encode(WIRE).rstrip(b"=").decode()
MESSAGE = {"Content-Type": "application/dns-message"}
REQUESTS = [
    ("GET", f"/dns-query?dns={ENCODED}", None, {}, 200),
    ("GET", f"/dns-query?dns={ENCODED}==", None, {}, 200),
    ("POST", "/dns-query", WIRE, MESSAGE, 200),
    ("GET", "/dns-query", None, {}, 400),
    ("GET", "/dns-query?dns=", None, {}, 400),
    ("GET", "/dns-query?dns=A", None, {}, 400),
    ("GET", "/dns-query?dns=AA*A", None, {}, 400),
    ("GET", "/dns-query?dns=AAAA", None, {}, 400),
    ("GET", f"/?dns={ENCODED}", None, {}, 404),
    ("POST", "/dns-query", b"", MESSAGE, 400),
    ("POST", "/dns-query", b"\0" * 16385, MESSAGE, 413),
    ("POST", "/dns-query", b"\0" * 65535, MESSAGE, 413),
    ("POST", "/dns-query", WIRE, {"Content-Type": "application/json"}, 415),
    ("PUT", "/dns-query", WIRE, MESSAGE, 405),
    ("POST", "/dns-query", WIRE[:2] + b"\x81" + WIRE[3:], MESSAGE, 400),  # a reply
]  # fmt: skip


def requested(
    url: str, method: str, body: bytes | None, headers: dict[str, str], context: ssl.SSLContext | None
) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as reply:
            assert reply.headers["Content-Type"] == "application/dns-message"
            assert reply.headers["Cache-Control"] == "max-age=0"
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


@pytest.mark.parametrize("encrypted", [True, False], ids=["tls", "clear"])
def test_requests(encrypted: bool, files: Path, free_port: int) -> None:
    async def run() -> list[tuple[int, bytes]]:
        line = f"tls {files}/tls.crt {files}/tls.key" if encrypted else ""
        async with serving(corefile("https", free_port, line)):
            context = trusting(files / "ca.crt") if encrypted else None
            base = f"{'https' if encrypted else 'http'}://127.0.0.1:{free_port}"
            return [
                await asyncio.to_thread(requested, base + path, method, body, headers, context)
                for method, path, body, headers, _ in REQUESTS
            ]

    got = asyncio.run(run())
    assert [status for *_, status in REQUESTS] == [status for status, _ in got]
    assert {"kdns.test."} == {str(dns.message.from_wire(body).question[0].name) for status, body in got if status == 200}
