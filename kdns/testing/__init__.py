"""A cluster's DNS for tests: a server of its own for as long as a test needs it, in the test's own process.

    with kdns.testing.serve("cluster.yaml") as server:
        host, port = server.address
        server.apply("{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: 10.96.0.9}}")
        server.delete("Service", "web", "prod")
        assert "db.default.svc.cluster.local." in [asked.name for asked in server.queries]

With `async with` it lives on the loop that runs, and `apply` and `delete` are awaited. Otherwise it has a thread with a loop of
its own, so that what blocks in the test (getaddrinfo, a child process) does not keep it from answering.

A change is served when the call that made it returns. Nothing of the process is touched: no signals, no logging, no garbage
collector; the port is one that is free. docs/testing.md has a test that runs as it stands; `kdns.pytest_plugin` makes it a fixture.

Beside it stand others that a DNS server's tests want, imported by themselves:

ports.py      ports that are free
upstream.py   an upstream that does as it is told
messages.py   what an API server says
apiserver.py  an API server that does as it is told
faults.py     what it may be told to do wrong
"""

import asyncio
import contextlib
import json
import tempfile
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import yaml

from kdns.cluster.manifests import loading
from kdns.cluster.manifests.documents import files
from kdns.cluster.manifests.source import Manifests
from kdns.commands.corefiles import laboratory
from kdns.core.plugin import Exchange, Plugin
from kdns.dns.types import rcode_text, type_text
from kdns.errors import KdnsError, ManifestError
from kdns.plugins.kubernetes import Kubernetes
from kdns.server import run

__all__ = ["Asked", "AsyncServer", "KdnsError", "Manifest", "Server", "is_yaml", "serve"]

T = TypeVar("T")
Object = Mapping[str, Any]
Manifest = str | Path | Object | Sequence[Object]
"""A text of YAML, or the path of a file or a folder (a text is a path where no colon with a blank or a line's end is in it);
or an object as a mapping, or several."""

NO_NAMESPACE = ("Namespace", "Node")
WITHIN = 30.0  # seconds that the thread has for a start, a change or the end


class Asked(NamedTuple):
    """A query that was answered."""

    name: str  # absolute, in lower case: web.prod.svc.cluster.local.
    type: str  # A
    rcode: str  # NOERROR
    transport: str  # udp, tcp
    client: str  # its address


class serve:
    """A server of the cluster that manifests describe; or of a Corefile, which says by itself what and where.

    `with` gives a Server, `async with` an AsyncServer. ManifestError, CorefileError or ListenError (KdnsError all) where it
    cannot be served. `lenient` and `pod_ips` are those of `kdns --manifests`.
    """

    def __init__(self, *manifests: Manifest, corefile: str | None = None, lenient: bool = False, pod_ips: str = "") -> None:
        if corefile is not None and manifests:
            raise TypeError("manifests and a Corefile exclude each other")
        self._server = AsyncServer(manifests, corefile, lenient, pod_ips)
        self._thread: _LoopThread | None = None

    def __enter__(self) -> "Server":
        self._thread = _LoopThread()
        try:
            self._thread.wait(self._server._start())
        except BaseException:
            self._thread.end()
            raise
        return Server(self._server, self._thread)

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        try:
            self._thread.wait(self._server._stop())
        finally:
            self._thread.end()

    async def __aenter__(self) -> "AsyncServer":
        await self._server._start()
        return self._server

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server._stop()


class AsyncServer:
    """A server on the loop that runs."""

    def __init__(self, manifests: Sequence[Manifest], corefile: str | None, lenient: bool, pod_ips: str) -> None:
        self.queries: list[Asked] = []
        self.server: run.Server
        self._given, self._corefile = manifests, corefile
        self._options = ["lenient"] * lenient + [f'pod_ips "{pod_ips}"'] * bool(pod_ips)
        self._objects = _Objects(lenient)
        self._folder: tempfile.TemporaryDirectory[str]
        self._changing = asyncio.Lock()

    @property
    def address(self) -> tuple[str, int]:
        """Where it answers, over UDP and TCP: host and port."""
        where = next(iter(self.server.generation.listeners))
        return where.address or "127.0.0.1", where.port

    async def apply(self, *manifests: Manifest) -> None:
        """Objects that are new, or in place of those of the same kind and name; ManifestError, and no change, where wrong."""
        async with self._changing:
            await self._take(await asyncio.to_thread(self._objects.applied, manifests))

    async def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        """An object is gone; LookupError where there is none."""
        async with self._changing:
            await self._take(self._objects.without(kind, name, namespace))

    async def _take(self, objects: "_Objects") -> None:
        if self._corefile is not None:
            raise TypeError("a Corefile says by itself which objects there are")
        await asyncio.to_thread(objects.write, self._file)
        for source in self._sources():
            await source.read_again()
        self._objects = objects

    @property
    def _file(self) -> Path:
        return Path(self._folder.name, "objects.jsonl")

    def _sources(self) -> Iterator[Manifests]:
        for block in self.server.generation.blocks:
            for plugin in block.named("kubernetes"):
                if isinstance(plugin, Kubernetes) and isinstance(plugin.source, Manifests):
                    yield plugin.source

    async def _start(self) -> None:
        with contextlib.ExitStack() as undo:
            self._folder = tempfile.TemporaryDirectory(prefix="kdns-testing-")
            undo.callback(self._folder.cleanup)
            corefile = self._corefile
            if corefile is None:
                self._objects = await asyncio.to_thread(self._objects.applied, self._given)
                await asyncio.to_thread(self._objects.write, self._file)
                corefile = laboratory([str(self._file)], 0, self._options)
            self.server = run.Server(corefile)
            try:
                await self.server.start()
            except BaseException:
                await self.server.stop()
                raise
            for block in self.server.generation.blocks:
                block.complete([("queries", _Recorder(self.queries)), *block.plugins])
            undo.pop_all()

    async def _stop(self) -> None:
        await self.server.stop()
        self._folder.cleanup()


class Server:
    """A server on a thread of its own."""

    def __init__(self, server: AsyncServer, thread: "_LoopThread") -> None:
        self._server, self._thread = server, thread

    @property
    def address(self) -> tuple[str, int]:
        """Where it answers, over UDP and TCP: host and port."""
        return self._server.address

    @property
    def queries(self) -> list[Asked]:
        """What was asked until now, in the order of the answers; a client that has its answer finds its query here."""
        return list(self._server.queries)

    def apply(self, *manifests: Manifest) -> None:
        """Objects that are new, or in place of those of the same kind and name; ManifestError, and no change, where wrong."""
        self._thread.wait(self._server.apply(*manifests))

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        """An object is gone; LookupError where there is none."""
        self._thread.wait(self._server.delete(kind, name, namespace))


class _Recorder(Plugin):
    """Writes down what is asked. A server block with a witness has no memo, so nothing passes it by."""

    def __init__(self, queries: list[Asked]) -> None:
        self._queries = queries

    def witness(self, exchange: Exchange) -> None:
        query, code = exchange.query, rcode_text(exchange.response.rcode)
        self._queries.append(Asked(query.name, type_text(query.type), code, query.transport.value, query.client.host))


class _LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kdns", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine comes to there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WITHIN)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


# ------------------------------------------------------------ objects


class _Objects:
    """Kubernetes objects by kind, namespace and name. Each change makes another one."""

    def __init__(self, lenient: bool, objects: Mapping[tuple[str, str, str], Object] | None = None) -> None:
        self.lenient = lenient
        self._objects = dict(objects or {})

    def write(self, path: Path) -> None:
        """Put all of them into a file, once they are found to be right together; ManifestError, and no file, where not."""
        candidate = path.with_name("candidate.jsonl")
        candidate.write_text("".join(json.dumps(o, default=str) + "\n" for o in self._objects.values()))
        try:
            loading.load([str(candidate)], loading.Options(lenient=self.lenient))
        except ManifestError as error:
            raise ManifestError(str(error).replace(f"{candidate}: ", "")) from None
        candidate.replace(path)

    def applied(self, manifests: Iterable[Manifest]) -> "_Objects":
        """With these besides; ManifestError where they are wrong in themselves."""
        after = _Objects(self.lenient, self._objects)
        for manifest in manifests:
            for o in self._read(manifest):
                after._objects[_key(o)] = o
        return after

    def without(self, kind: str, name: str, namespace: str) -> "_Objects":
        key = (kind, "" if kind in NO_NAMESPACE else namespace, name)
        if key not in self._objects:
            alike = ", ".join(f"{space}/{name}".lstrip("/") for k, space, name in self._objects if k == kind) or "none"
            raise LookupError(f"no {kind} {namespace}/{name}; there is {alike}")
        return _Objects(self.lenient, {other: o for other, o in self._objects.items() if other != key})

    def _read(self, manifest: Manifest) -> Iterator[Object]:
        if isinstance(manifest, Mapping):
            yield from _items(manifest)
        elif isinstance(manifest, str | Path):
            yield from self._read_text(manifest)
        else:
            for o in manifest:
                yield from _items(o)

    def _read_text(self, manifest: str | Path) -> Iterator[Object]:
        """Objects of a file, a folder or a text, once they are found to be right: errors then say file and line."""
        with contextlib.ExitStack() as around:
            path = str(manifest)
            if isinstance(manifest, str) and is_yaml(manifest):
                path = str(Path(around.enter_context(tempfile.TemporaryDirectory()), "manifest.yaml"))
                Path(path).write_text(manifest)
            try:
                loading.load([path], loading.Options(lenient=self.lenient))
                texts = [(file, Path(file).read_text()) for file in files([path])]
            except ManifestError as error:
                raise ManifestError(str(error).replace(path, "manifest.yaml") if path != str(manifest) else str(error)) from None
        for file, text in texts:
            lines = [text] if not file.endswith(".jsonl") else text.splitlines()
            for document in (document for line in lines for document in yaml.load_all(line, _LOADER)):
                if document is not None:
                    yield from _items(document)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def is_yaml(text: str) -> bool:
    """Is it YAML, and not the path of a file?"""
    return ": " in text or ":\n" in text or "\n" in text or not text.strip()


def _items(o: Object) -> Iterator[Object]:
    """An object, or those of a list of objects."""
    if str(o.get("kind", "")).endswith("List") and isinstance(o.get("items"), list):
        for item in o["items"]:
            yield from _items(item)
    else:
        yield o


def _key(o: Object) -> tuple[str, str, str]:
    kind, metadata = str(o.get("kind", "")), o.get("metadata") or {}
    namespace = "" if kind in NO_NAMESPACE else str(metadata.get("namespace") or "default")
    return kind, namespace, str(metadata.get("name", ""))
