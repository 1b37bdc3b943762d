"""The server from start to end: configured, bound, reloaded, drained, and no query lost."""

import asyncio
import gc
import socket
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from kdns.config.directive import Directive
from kdns.core.block import Block
from kdns.core.plugin import Kept
from kdns.errors import KdnsError
from kdns.server.load import load, summary
from kdns.server.run import Server
from kdns.testing import ports
from tests.support.stage import address_of, addresses, answering, arranging, ask, client, Fixed, known, question, Words

COREFILE = ".:{port} {{\n  bind 127.0.0.1\n  {plugin}\n}}\n"


class Load:
    """A closed loop of queries from many ports, in a thread: each asks anew when it has its answer."""

    def __init__(self, port: int, clients: int = 32) -> None:
        self.port, self.clients = port, clients
        self.answered = self.lost = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(self.clients)]
        id = 0
        while not self._end.is_set():
            for at, sock in enumerate(socks):
                if id % 7 == 0:  # a port of its own now and then, or each would stay with one server
                    sock.close()
                    sock = socks[at] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.settimeout(20)
                id = (id + 1) & 0xFFFF
                sock.sendto(question(f"n{id % 50}.test.", id=id), ("127.0.0.1", self.port))
            for sock in socks:
                try:
                    sock.recv(4096)
                    self.answered += 1
                except OSError:
                    self.lost += 1
        for sock in socks:
            sock.close()

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()

    async def ended(self) -> int:
        """Queries lost, of some hundred at least."""
        while self.answered < 300 and self._thread.is_alive():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self._end.set()
        await asyncio.to_thread(self._thread.join)
        return self.lost


async def asked(port: int, name: str = "n9.test.", host: str = "127.0.0.1", type: int = 1) -> list[str]:
    with client() as sock:
        reply, _ = await ask(sock, question(name, type), (host, port))
    return addresses(reply)


def test_udp_tcp_and_end(stage: Any, free_port: int) -> None:
    async def check() -> Any:
        server = Server(COREFILE.format(port=free_port, plugin="known"))
        await server.start()
        over_udp = await asked(free_port)
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        wire = question("n8.test.")
        writer.write(len(wire).to_bytes(2, "big") + wire)
        over_tcp = addresses(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
        writer.close()
        await server.stop()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        return over_udp, over_tcp, left

    assert (["10.0.0.9"], ["10.0.0.8"], []) == asyncio.run(check())


def test_sites_by_zone_and_port(stage: Any, free_port: int) -> None:
    text = f"test:{free_port} {{\n bind 127.0.0.1 127.0.0.2\n known\n}}\nother:{free_port} {{\n bind 127.0.0.1\n who\n}}\n"

    async def check() -> Any:
        server = Server(text)
        await server.start()
        found = [
            await asked(free_port, "n3.test."),
            await asked(free_port, "n3.test.", "127.0.0.2"),
            len(await asked(free_port, "n3.other.", type=16)),
            await asked(free_port, "n3.elsewhere."),
            await asked(free_port, "n3.other.", "127.0.0.2"),
        ]
        lines = summary(server.generation)
        await server.stop()
        return found, lines

    found, lines = asyncio.run(check())
    assert [["10.0.0.3"], ["10.0.0.3"], 2, [], []] == found
    assert [
        f"test.:{free_port} on 127.0.0.1",
        f"test.:{free_port} on 127.0.0.2",
        f"other.:{free_port} on 127.0.0.1",
    ] == lines


def test_plugins_are_set_up_in_their_order(stage: Any) -> None:
    seen: list[str] = []
    for name in ("whoami", "forward", "cache", "errors", "mine"):
        stage[name] = arranging(lambda directive, block: seen.append(directive.name))
    load(". {\n whoami\n cache\n mine\n forward\n errors\n}\n")
    assert ["errors", "cache", "mine", "forward", "whoami"] == seen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Corefile: no server block; the least is a zone such as '.' and a plugin"),
        (". {\n  wohami\n}\n", "Corefile:2: unknown plugin 'wohami', did you mean 'whoami'?"),
        (". {\n  grpc\n}\n", "Corefile:2: grpc: is not served by kdns: write 'forward FROM tls://ADDRESS'"),
        ("tls://. {\n  whoami\n}\n", "Corefile:1: tls://:853 needs a certificate: add tls CERT KEY"),
        (". {\n  broken\n}\n", "Corefile:2: broken: no such thing"),
        (". {\n  bind nowhere\n  known\n}\n", "cannot listen on nowhere: not an IP address"),
        (".:1 {\n  bind 203.0.113.9\n  known\n}\n",
         "cannot listen on 203.0.113.9:1 (UDP): this machine has no such address; name one of its own in bind"),
    ],
)  # fmt: skip
def test_a_bad_corefile_is_one_line(stage: Any, text: str, message: str) -> None:
    def broken(directive: Any, block: Any) -> None:
        raise directive.error("no such thing")

    stage["broken"] = arranging(broken)

    async def check() -> None:
        await Server(text).start()

    with pytest.raises(KdnsError) as caught:
        asyncio.run(check())
    assert message == str(caught.value)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
@pytest.mark.parametrize("bind", ["bind 127.0.0.1", ""])
def test_a_port_in_use(stage: Any, free_port: int, kind: socket.SocketKind, bind: str) -> None:
    async def check() -> None:
        await Server(f".:{free_port} {{\n {bind}\n known\n}}\n").start()

    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", free_port))
        if kind == socket.SOCK_STREAM:
            other.listen()
        with pytest.raises(KdnsError) as caught:
            asyncio.run(check())
    protocol = "TCP" if kind == socket.SOCK_STREAM else "UDP"
    assert (
        f"cannot listen on {'127.0.0.1' if bind else ''}:{free_port} ({protocol}): another program has it; "
        "end that one, or choose another port (-dns.port)"
    ) == str(caught.value)


def test_a_reload_carries_over_and_closes(stage: Any, free_port: int, tmp_path: Path) -> None:
    log: list[str] = []

    class Thing(Kept):
        def __init__(self, name: str) -> None:
            self.name = name

        async def start(self) -> None:
            log.append(f"start {self.name}")

        async def close(self) -> None:
            log.append(f"close {self.name}")

    class Carries(Fixed):
        table = Words

        def __init__(self, block: Block, directive: Directive, options: Words) -> None:
            super().__init__(known)
            for name in options.words:
                block.keep(("thing", name), lambda name=name: Thing(name))
            self.name = "+".join(options.words)

        async def run(self) -> None:
            log.append(f"run {self.name}")
            try:
                await asyncio.sleep(9)
            finally:
                log.append(f"end {self.name}")

    stage["carries"] = Carries
    path = tmp_path / "Corefile"

    async def check() -> Any:
        def write(args: str) -> str:
            path.write_text(COREFILE.format(port=free_port, plugin=f"carries {args}"))
            return path.read_text()

        server = Server(write("a b"), str(path))
        await server.start()
        first = server._sockets["dns", "127.0.0.1", free_port]
        await asyncio.sleep(0.01)
        write("b c")
        assert await server.reload()
        await asyncio.sleep(0.05)
        path.write_text(". {\n carries d\n wohami\n}\n")
        assert not await server.reload()
        assert first is server._sockets["dns", "127.0.0.1", free_port]
        answer = await asked(free_port)
        await server.stop()
        return answer

    assert ["10.0.0.9"] == asyncio.run(check())
    assert [
        "start a", "start b", "run a+b", "start c", "run b+c", "end a+b", "close a", "close d", "end b+c", "close b", "close c",
    ] == log  # fmt: skip


PLUGINS = """.:{port} {{
    bind 127.0.0.1
    errors
    kubernetes cluster.local in-addr.arpa {{
        manifests {manifests}
        fallthrough in-addr.arpa
        ttl {ttl}
    }}
    prometheus 127.0.0.1:0
    hosts {{
        192.0.2.1 host.test
        fallthrough
    }}
    acl {{
        block net 192.0.2.0/24
    }}
    rewrite name old.test host.test
    template ANY A template.test {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.2"
    }}
    cookie
    forward . 127.0.0.1:{nowhere}
    cache {ttl}
    loadbalance
}}
"""


@pytest.mark.plain
def test_nothing_of_a_generation_that_ended_waits_for_garbage_to_be_collected(free_port: int, tmp_path: Path) -> None:
    """To look at every object there is holds the loop up for tens of milliseconds."""
    manifests, path = tmp_path / "objects.yaml", tmp_path / "Corefile"
    manifests.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n")

    def write(ttl: int) -> None:
        path.write_text(PLUGINS.format(port=free_port, manifests=manifests, ttl=ttl, nowhere=ports.free_port()))

    def of(server: Server) -> dict[str, weakref.ref[Any]]:
        (block,), (listener,) = server.generation.blocks, server.generation.listeners.values()
        plugins = {name: weakref.ref(plugin) for name, plugin in block.plugins}
        return {**plugins, "block": weakref.ref(block), "listener": weakref.ref(listener), "itself": weakref.ref(server.generation)}

    async def check() -> list[str]:
        write(5)
        server = Server(path.read_text(), str(path))
        await server.start()
        await asked(free_port, "host.test.")
        first = of(server)
        gc.collect()
        gc.disable()
        try:
            write(6)
            assert await server.reload()
            while server._aside:
                await asyncio.wait(server._aside)
            await asyncio.sleep(0.05)
            return [name for name, there in first.items() if there() is not None]
        finally:
            gc.enable()
            await server.stop()

    assert [] == asyncio.run(check())


def test_a_reload_whose_things_do_not_start_changes_nothing(stage: Any, free_port: int, tmp_path: Path) -> None:
    closed: list[str] = []

    class Thing(Kept):
        async def start(self) -> None:
            raise KdnsError("cannot start")

        async def close(self) -> None:
            closed.append("closed")

    def broken(directive: Directive, block: Block) -> None:
        block.keep("thing", Thing)

    stage["broken"] = arranging(broken)
    path = tmp_path / "Corefile"

    async def check() -> Any:
        path.write_text(COREFILE.format(port=free_port, plugin="known"))
        server = Server(path.read_text(), str(path))
        await server.start()
        two = COREFILE.replace("bind 127.0.0.1", "bind 127.0.0.1 127.0.0.2")
        path.write_text(two.format(port=free_port, plugin="who\n broken"))
        done = await server.reload()
        found = await asked(free_port)
        with client() as sock, pytest.raises((TimeoutError, ConnectionError)):
            await ask(sock, question("n1.test."), ("127.0.0.2", free_port), 0.1)
        await server.stop()
        return done, found

    assert (False, ["10.0.0.9"]) == asyncio.run(check())
    assert ["closed"] == closed


def test_a_reload_to_another_port(stage: Any, free_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "Corefile"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        for sock in (taken, free):
            sock.bind(("127.0.0.1", 0))
        taken_port, other_port = taken.getsockname()[1], free.getsockname()[1]
        free.close()

        async def check() -> Any:
            path.write_text(COREFILE.format(port=free_port, plugin="known"))
            server = Server(path.read_text(), str(path))
            await server.start()
            path.write_text(COREFILE.format(port=taken_port, plugin="known"))
            done = [await server.reload()]
            found = [await asked(free_port)]
            path.write_text(COREFILE.format(port=other_port, plugin="known"))
            done.append(await server.reload())
            found.append(await asked(other_port))
            await asyncio.sleep(0.1)
            with client() as sock, pytest.raises((TimeoutError, ConnectionError)):
                await ask(sock, question("n1.test."), ("127.0.0.1", free_port), 0.1)
            await server.stop()
            return done, found

        assert ([False, True], [["10.0.0.9"], ["10.0.0.9"]]) == asyncio.run(check())
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [
        f"reload failed, the configuration before stays: cannot listen on 127.0.0.1:{taken_port} (UDP): "
        "another program has it; end that one, or choose another port (-dns.port)"
    ] == said


def test_no_query_is_lost_to_reloads(stage: Any, free_port: int, tmp_path: Path) -> None:
    path = tmp_path / "Corefile"
    texts = [COREFILE.format(port=free_port, plugin=plugin) for plugin in ("known", "known\n# again", "nonsense", "who")]

    async def check() -> Any:
        path.write_text(texts[0])
        server = Server(texts[0], str(path))
        await server.start()
        with Load(free_port) as load:
            for turn in range(12):
                path.write_text(texts[turn % 4])
                await server.reload()
                await asyncio.sleep(0.05)
            result = await load.ended()
        await server.stop()
        return result

    assert 0 == asyncio.run(check())


@pytest.mark.parametrize("bind", ["bind 127.0.0.1", ""])
def test_no_query_is_lost_to_a_rolling_restart(stage: Any, free_port: int, bind: str) -> None:
    """Two servers of one address; one ends and its successor begins, again and again."""
    text = f".:{free_port} {{\n {bind}\n known\n}}\n"

    async def check() -> Any:
        servers = [Server(text), Server(text)]
        for server in servers:
            await server.start()
        with Load(free_port) as load:
            await asyncio.sleep(0.1)
            for _ in range(5):
                await servers.pop(0).stop()
                servers.append(Server(text))
                await servers[-1].start()
                await asyncio.sleep(0.05)
            result = await load.ended()
        for server in servers:
            await server.stop()
        return result

    assert 0 == asyncio.run(check())


def test_it_answers_on_through_lameduck(stage: Any, free_port: int) -> None:
    class Health(answering(known)):  # type: ignore[misc]
        async def lame(self) -> None:
            await asyncio.sleep(0.1)

    stage["health"] = Health

    async def check() -> Any:
        server = Server(COREFILE.format(port=free_port, plugin="health"))
        await server.start()
        began = time.monotonic()
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0.05)
        found = await asked(free_port), server.generation.stopping
        await stopping
        return found, time.monotonic() - began >= 0.1

    assert ((["10.0.0.9"], True), True) == asyncio.run(check())


def test_what_is_true_for_a_second_is_forgotten_at_the_next(stage: Any, free_port: int) -> None:
    from kdns.dns.response import Response, RRset

    async def fleeting(query: Any) -> Response:
        return Response(answer=(RRset(query.name, 1, 5, (address_of(query.name),)),), stable_for=0.5)

    stage["fleeting"] = answering(fleeting)

    async def check() -> Any:
        server = Server(COREFILE.format(port=free_port, plugin="fleeting"))
        await server.start()
        assert server._ticker is not None
        server._ticker.cancel()  # a second begins where this test says so
        listener = next(iter(server.generation.listeners.values()))
        hits = []
        for begins in (False, False, True, False):
            if begins:
                server._tick()
                server._ticker.cancel()
            await asked(free_port)
            hits.append(listener.counts.hits)
        await server.stop()
        return hits

    assert [0, 1, 1, 2] == asyncio.run(check())


def test_a_plugin_whose_run_fails_is_begun_again(stage: Any, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    monkeypatch.setattr("kdns.server.run.AGAIN", 0.01)

    class Failing(answering(known)):  # type: ignore[misc]
        async def run(self) -> None:
            runs.append(1)
            raise ValueError("on purpose")

    stage["failing"] = Failing

    async def check() -> Any:
        server = Server(COREFILE.format(port=free_port, plugin="failing"))
        await server.start()
        await asyncio.sleep(0.05)
        found = await asked(free_port)
        await server.stop()
        return found

    assert ["10.0.0.9"] == asyncio.run(check())
    assert len(runs) > 1
