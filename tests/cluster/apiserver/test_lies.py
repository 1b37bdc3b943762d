"""What an API server says is bounded, is what was asked for or a failure, and is repeated to nobody whom it does not concern."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kdns.cluster.apiserver import intake, pages
from kdns.cluster.apiserver.screening import screen
from kdns.cluster.apiserver.source import Connection
from kdns.cluster.objects import (
    EndpointAddress,
    EndpointObject,
    EndpointsObject,
    Metadata,
    NamespaceObject,
    PodObject,
    PortObject,
    ServiceObject,
    ServiceSpec,
    SliceObject,
    Subset,
    TargetRef,
)
from kdns.core.lines import Lines, Writer
from kdns.errors import masked, one_line, Refused, SourceError
from kdns.testing import faults
from kdns.testing.apiserver import Exchange, FakeApiServer, Fault
from kdns.testing.messages import bookmark_event
from tests.cluster.apiserver.test_reflector import service
from tests.cluster.apiserver.test_source import kubeconfig, source
from tests.support.waiting import until

# ---------------------------------------------------------------- pages


def listing(*names: str, kind: str = "ServiceList", more: str = "", version: str = "7") -> bytes:
    items = [service(name) for name in names]
    return json.dumps({"kind": kind, "metadata": {"resourceVersion": version, "continue": more}, "items": items}).encode()


class Server:
    """Answers each request of a list by a function of its limit and token."""

    def __init__(self, answer: Callable[[int, str], bytes]) -> None:
        self.asked: list[tuple[int, str]] = []
        self.octets = 0
        self._answer = answer

    @asynccontextmanager
    async def ask(self, query: list[tuple[str, str]]) -> AsyncIterator[AsyncIterator[bytes]]:
        given = dict(query)
        self.asked.append((int(given["limit"]), given.get("continue", "")))
        yield self._chunks(self._answer(*self.asked[-1]))

    async def _chunks(self, body: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(body), 1 << 16):
            self.octets += len(body[at : at + (1 << 16)])
            yield body[at : at + (1 << 16)]


def read(server: Server) -> int:
    """How many objects the pages have."""

    async def run() -> int:
        return sum([len(page.items or ()) async for page in pages.pages("Service", server.ask, lambda: None)])

    return asyncio.run(run())


def test_pages_up_to_the_last() -> None:
    server = Server(lambda limit, token: listing("a", "b", more="" if token == "3" else str(int(token or 0) + 1)))
    assert 8 == read(server)
    assert [(500, ""), (500, "1"), (500, "2"), (500, "3")] == server.asked


LARGE = {"octets": b'"' + b"x" * (1 << 24) + b'"', "elements": b"[" + b"{}," * 1_100_000 + b"{}]"}


@pytest.mark.parametrize("content", LARGE.values(), ids=LARGE)
def test_a_page_that_is_too_large_is_read_no_further_and_asked_for_in_smaller_ones(content: bytes) -> None:
    server = Server(lambda limit, token: content if limit > 10 else listing("a"))
    assert 1 == read(server)
    assert [(500, ""), (62, ""), (7, "")] == server.asked
    assert server.octets < 2 * (pages.MOST_OCTETS + (1 << 17))


def test_a_single_object_that_is_too_large_for_a_page_is_an_error() -> None:
    with pytest.raises(SourceError, match="a page of one object that has more than 16 MiB"):
        read(Server(lambda limit, token: b" " * (17 << 20)))


def test_pages_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_PAGES", 50)
    server = Server(lambda limit, token: listing(more="again"))
    with pytest.raises(SourceError, match="a list of more than 50 pages"):
        read(server)
    assert 50 == len(server.asked)


NO_LISTS = {
    "HTML": (b"<html>sign in</html>", "not the answer of an API server: JSON is malformed"),
    "nothing": (b"", "not the answer of an API server: Input data was truncated"),
    "an empty object": (b"{}", "not a ServiceList, but something without a kind"),
    "a list of others": (listing(kind="PodList"), "not a ServiceList, but PodList"),
    "a Status": (b'{"kind": "Status", "metadata": {}}', "not a ServiceList, but Status"),
    "no items": (b'{"kind": "ServiceList", "metadata": {"resourceVersion": "7"}}', "not a ServiceList, but ServiceList"),
    "no version": (listing(version=""), "not a ServiceList, but ServiceList"),
}


@pytest.mark.parametrize("name", NO_LISTS)
def test_what_is_no_list_is_a_refusal(name: str) -> None:
    body, expected = NO_LISTS[name]
    with pytest.raises(Refused) as caught:
        read(Server(lambda limit, token: body))
    assert str(caught.value).startswith(expected)
    assert "the API server does not answer what was asked" == caught.value.brief


# ---------------------------------------------------------------- a running source


def says(body: bytes, **headers: str) -> Fault:
    async def fault(exchange: Exchange) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, headers={"Content-Type": "application/json", **named})

    return fault


def with_source(test: Callable[[FakeApiServer, Any], Any], *faulty: Fault, **connection: Any) -> None:
    """An ApiServer over one that has prod/a, and does as the faults say for services."""

    async def run() -> None:
        async with FakeApiServer() as api:
            api.put("services", service("a"))
            for fault in faulty:
                api.play("services", fault, times=None)
            of = source(Connection(endpoint=api.url, **connection), 2.0)
            await of.start()
            try:
                await test(api, of)
            finally:
                await of.close()

    asyncio.run(run())


def both(first: Fault, second: Fault) -> Fault:
    async def fault(exchange: Exchange) -> web.StreamResponse | None:
        return await first(exchange) or await second(exchange)

    return fault


ENCODED = gzip.compress(b'{"type":"ADDED","object":{}}\n' * 1_000_000)
encoded = says(ENCODED, Content_Encoding="gzip")


@pytest.mark.parametrize("paged", [False, True])
def test_what_is_compressed_is_not_unpacked(paged: bool) -> None:
    async def test(api: FakeApiServer, of: Any) -> None:
        assert not of.store.synced
        expected = f"services: 127.0.0.1:{api.port}: an answer with Content-Encoding gzip, which was not asked for"
        assert expected == of.why_not()
        assert 0 == sum(reflector.malformed for reflector in of._reflectors), "nothing of it was read"

    with_source(test, both(faults.no_initial_events(), encoded) if paged else encoded)


def test_a_refusal_that_is_compressed_is_not_unpacked_either() -> None:
    async def fault(exchange: Exchange) -> web.StreamResponse:
        return web.Response(status=403, body=ENCODED, headers={"Content-Encoding": "gzip"})

    async def test(api: FakeApiServer, of: Any) -> None:
        assert "services: 403 Forbidden" == of.why_not()

    with_source(test, fault)


def empty_of(kind: str, version: int = 9) -> Fault:
    return faults.says(bookmark_event(kind, version, initial_events_end=True), then="stall")


@pytest.mark.parametrize(
    ("fault", "paged"),
    [(says(b'{"kind": "PodList", "metadata": {"resourceVersion": "9"}, "items": []}'), True),
     (says(b"{}"), True), (empty_of("pods"), False)],
    ids=["a list of others", "an empty object", "a stream of others"],
)  # fmt: skip
def test_what_is_no_list_never_empties_the_cluster(fault: Fault, paged: bool) -> None:
    async def test(api: FakeApiServer, of: Any) -> None:
        assert of.store.synced
        if paged:
            api.play("services", faults.no_initial_events(), on=["stream"], times=None)
        api.play("services", faults.gone, on=["watch"])
        api.play("services", fault, on=["list", "page", "stream"], times=None)
        api.hang_up("services", cut=True)
        await until(lambda: (of.why_not() or "").startswith("services: not a "), "the trouble")
        assert {"prod/a"} == set(of.store.services)
        api.heal()
        await until(lambda: of.why_not() is None, "no trouble")

    with_source(test)


def test_objects_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST", 20)

    async def test(api: FakeApiServer, of: Any) -> None:
        for i in range(50):
            api.put("services", service(f"s{i}"))
        await until(lambda: of.why_not() is not None, "the trouble")
        assert "services: more than 20 services: no cluster has so many" == of.why_not()
        assert 21 == len(of.store.services)

    with_source(test)


# ---------------------------------------------------------------- names

GOOD = Metadata(name="web", namespace="prod")
ODD = "a\0b\x1b[2J.\u202e"
SCREENED: list[tuple[Any, str]] = [
    (ServiceObject(GOOD, ServiceSpec(externalName="Db_1.Example.com.", ports=(PortObject(80, "http", "TCP"),))), ""),
    (ServiceObject(Metadata(name="1-2", namespace="prod")), ""),
    (NamespaceObject(Metadata(name="prod")), ""),
    (PodObject(Metadata(name="web-1.a", namespace="prod")), ""),
    (SliceObject(GOOD, endpoints=[EndpointObject(("10.0.0.1",), hostname="Db-0", targetRef=TargetRef(name="db-0"))]), ""),
    (ServiceObject(Metadata(name="", namespace="prod")), "metadata.name: ' ' is no object's name"),
    (ServiceObject(Metadata(name="web")), "metadata.namespace: ' ' is no DNS label"),
    (ServiceObject(Metadata(name="a/b", namespace="prod")), "metadata.name: 'a/b' is no object's name"),
    (ServiceObject(Metadata(name="a.b", namespace="prod")), "metadata.name: 'a.b' is no DNS label"),
    (ServiceObject(Metadata(name="a" * 64, namespace="prod")), f"metadata.name: '{'a' * 64}' is no DNS label"),
    (ServiceObject(Metadata(name="web\n", namespace="prod")), "metadata.name: 'web\\n' is no object's name"),
    (ServiceObject(Metadata(name="web", namespace="Über")), "metadata.namespace: 'Über' is no DNS label"),
    (NamespaceObject(Metadata(name=ODD)), f"metadata.name: {ODD!r} is no object's name"),
    (PodObject(Metadata(name="a" * 254, namespace="prod")), f"metadata.name: '{'a' * 80}' is no object's name"),
    (ServiceObject(GOOD, ServiceSpec(externalName=ODD)), f"spec.externalName: {ODD!r} is no host name"),
    (ServiceObject(GOOD, ServiceSpec(externalName="a\\000b.c")), "spec.externalName: 'a\\\\000b.c' is no host name"),
    (ServiceObject(GOOD, ServiceSpec(ports=(PortObject(80, "a.b"),))), "spec.ports.name: 'a.b' is no DNS label"),
    (ServiceObject(GOOD, ServiceSpec(ports=(PortObject(80, "a", "TCP\0"),))), "spec.ports.protocol: 'TCP\\x00' is no DNS label"),
    (ServiceObject(GOOD, ServiceSpec(ports=(PortObject(70000),))), "spec.ports.port: no port"),
    (ServiceObject(GOOD, ServiceSpec(ports=(PortObject(1),) * 20_001)), "spec.ports: more than 20000"),
    (SliceObject(GOOD, endpoints=[EndpointObject(("10.0.0.1",), hostname=ODD)]), f"endpoints.hostname: {ODD!r} is no DNS label"),
    (SliceObject(GOOD, endpoints=[EndpointObject(("10.0.0.1",), hostname=host) for host in ("a", "b\nc", "d")]),
     "endpoints.hostname: 'b\\nc' is no DNS label"),
    (SliceObject(GOOD, endpoints=[EndpointObject(("10.0.0.1",), hostname=host) for host in ("a", "b", "-d")]),
     "endpoints.hostname: '-d' is no DNS label"),
    (SliceObject(GOOD, endpoints=[EndpointObject(("10.0.0.1",), targetRef=TargetRef(name=ODD))]),
     f"endpoints.targetRef.name: {ODD!r} is no object's name"),
    (SliceObject(GOOD, addressType="FQDN", endpoints=[EndpointObject((ODD,))]), f"endpoints.addresses: {ODD!r} is no host name"),
    (EndpointsObject(GOOD, [Subset([EndpointAddress("10.0.0.1", "a b")])]), "subsets.addresses.hostname: 'a b' is no DNS label"),
]  # fmt: skip


@pytest.mark.parametrize(("o", "expected"), SCREENED)
def test_names_that_are_none(o: Any, expected: str) -> None:
    said = ""
    try:
        screen(o)
    except ValueError as error:
        said = str(error)
    assert expected == said


def test_an_object_with_such_a_name_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async def test(api: FakeApiServer, of: Any) -> None:
        api.put("services", service("b\x1b[2J"))
        api.put("services", service("c"))
        await until(lambda: "prod/c" in of.store.services, "the one after it")
        assert {"prod/a", "prod/c"} == set(of.store.services)

    with caplog.at_level(logging.WARNING, "kdns"):
        with_source(test)
    assert ["services: prod/b\\x1b[2J is left out: metadata.name: 'b\\x1b[2J' is no object's name"] == [
        record.getMessage() for record in caplog.records if record.name.startswith("kdns")
    ]


# ---------------------------------------------------------------- what is repeated

SECRETS = [
    ('403 Forbidden: User "system:serviceaccount:kube-system:nobody" cannot list resource "secrets"', ""),
    ("x: 500: exec: process returned 1, kubeconfig /tmp/pytest-of-root/Test_Run0123456789abcdef/kubeconfig", ""),
    ("https://me:pass@10.0.0.1/api", "https://***@10.0.0.1/api"),
    ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
    ('{"token": "abc", "other": 1}', '{"token": "***", "other": 1}'),
    ("password=hunter2&x=1", "password=***&x=1"),
    ("AWS_SECRET_ACCESS_KEY: no; client_secret: 'x y'", "AWS_SECRET_ACCESS_KEY: no; client_secret: '*** y'"),
    ("got eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJrIn0.c2ln from it", "got *** from it"),
]


@pytest.mark.parametrize(("said", "expected"), SECRETS)
def test_secrets_are_masked(said: str, expected: str) -> None:
    assert (expected or said) == masked(said)
    assert (expected or said) == str(SourceError(said))


LEAKY = """
import sys
sys.stderr.write("denied for token=abc123 at https://idp.example/x\\n\\x1b[2J")
sys.exit(1)
"""


def test_what_a_plugin_for_credentials_said_stays_out_of_dns(tmp_path: Path) -> None:
    script = tmp_path / "plugin.py"
    script.write_text(LEAKY)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "python3", "args": [str(script)]}}

    async def test() -> None:
        of = source(Connection(kubeconfig=kubeconfig(tmp_path, user)), 5.0)
        await of.start()
        said = of.why_not() or ""
        assert "abc123" not in said
        assert said.isprintable()
        assert "gave none: " in said
        assert "there is no credential for the API server (see /ready and the log)" == of.store.why_not
        await of.close()

    asyncio.run(test())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("fine – as it is", None), ("a\nb\r\tc", "a\\nb\\r\\tc"), ("\x1b[2J\0", "\\x1b[2J\\x00"), ("\u202e\udc80", "\\u202e\\udc80")],
)
def test_one_line(text: str, expected: str | None) -> None:
    assert (expected or text) == one_line(text)


def test_lines_of_the_log_have_no_control_characters(tmp_path: Path) -> None:
    record = logging.LogRecord("kdns.plugins.x", logging.ERROR, "", 0, "said %s", ("a\n[ERROR] forged \x1b[2J",), None)
    try:
        raise ValueError("a\x1b[2J")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    with (tmp_path / "log").open("w+") as file:
        Lines(Writer(file.fileno())).emit(record)
        file.seek(0)
        lines = file.read().splitlines()
    assert ["[ERROR] plugin/x: said a\\n[ERROR] forged \\x1b[2J", "Traceback (most recent call last):"] == lines[:2]
    assert "ValueError: a\\x1b[2J" == lines[-1]
