"""An API server that misbehaves on demand: list and watch as kdns sees them, from memory, on loopback.

    async with FakeApiServer() as api:
        api.put("services", {"metadata": {"name": "web", "namespace": "prod"}, "spec": {...}})
        api.play("services", faults.gone, on=WATCH)                  # the next watch is answered with 410
        api.play("endpointslices", faults.not_found, times=None)     # as on a server that has none
        ... api.count("services", "watch") ...

A fault is a coroutine function that takes the Exchange: it answers it, or returns None and the usual answer follows.
Selectors are kept with each request and not applied. What a real API server does by itself, tests/support/control_plane has.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Self

import yaml
from aiohttp import web

from kdns.testing.messages import bookmark_event, change_event, expired_event, group_path, Object, octets_of, RESOURCES, status
from kdns.testing.ports import free_ports

Kind = Literal["list", "page", "watch", "stream"]  # page: a list that goes on; stream: a watch with sendInitialEvents
LIST: tuple[Kind, ...] = ("list", "page")
WATCH: tuple[Kind, ...] = ("watch", "stream")
ANY: tuple[Kind, ...] = LIST + WATCH


class Received(NamedTuple):
    """A request as it came: `at` in seconds of time.monotonic()."""

    resource: str
    kind: Kind
    at: float
    namespace: str
    query: dict[str, str]
    authorization: str


class FakeApiServer:
    """`put` and `delete` change what it has, `play` queues faults, `requests` is what it was asked."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.version = 1
        self.requests: list[Received] = []
        self._stores = {resource: _Store() for resource in RESOURCES}
        self._faults: list[_Queued] = []
        self.pages: dict[str, tuple[int, list[Object]]] = {}
        self._open: set[Exchange] = set()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listens; after a stop on the same port with the same objects."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Cuts every connection, as a killed server does."""
        self.hang_up(cut=True)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def kubeconfig(self, folder: Path) -> Path:
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": "fake-token"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        }  # fmt: skip
        path = folder / "fake.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    # What it has.

    def put(self, resource: str, obj: Object) -> int:
        """Adds or replaces an object, tells the watches, and returns its resourceVersion."""
        store, key = self._stores[resource], _key(resource, obj)
        return self._change(resource, "MODIFIED" if key in store.objects else "ADDED", obj)

    def delete(self, resource: str, key: str) -> int:
        """Deletes `namespace/name` (a namespace: `name`)."""
        return self._change(resource, "DELETED", self._stores[resource].objects[key])

    def compact(self) -> None:
        """Forgets the past: a watch from any version before now gets an ERROR event of 410."""
        for store in self._stores.values():
            store.oldest = self.version
            store.log.clear()

    def bookmark(self, resource: str) -> None:
        """Sends one, with the version of now, to all open watches of the resource that asked for bookmarks."""
        self._tell(resource, bookmark_event(resource, self.version))

    def hang_up(self, resource: str | None = None, *, cut: bool = False) -> None:
        """Ends all open watches (of a resource) and whatever stalls: in order, or cut as by a dead host's reset."""
        for exchange in list(self._open):
            if resource in (None, exchange.resource):
                exchange.end(cut)

    # How it misbehaves.

    def play(self, resource: str, fault: "Fault", on: Iterable[Kind] = ANY, times: int | None = 1) -> None:
        """The next `times` (None: all) requests of these kinds meet the fault; of several that fit, the first."""
        self._faults.append(_Queued(resource, fault, frozenset(on), times))

    def heal(self) -> None:
        """No more faults; what already stalls goes on stalling until hang_up()."""
        self._faults.clear()

    # What it saw.

    def count(self, resource: str, kind: Kind | None = None) -> int:
        return sum(one.resource == resource and kind in (None, one.kind) for one in self.requests)

    def watching(self, resource: str) -> int:
        """How many requests of the resource are open now."""
        return sum(exchange.resource == resource for exchange in self._open)

    async def until(self, holds: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
        """Waits; raises TimeoutError naming `what` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not after {timeout:g} s")
            await asyncio.sleep(0.005)

    # How it answers.

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        exchange = self._understand(request)
        if exchange is None:
            return web.Response(status=404, text="404 page not found\n")
        resource, kind = exchange.resource, exchange.kind
        authorization = request.headers.get("Authorization", "")
        query = dict(request.query)
        self.requests.append(Received(resource, kind, time.monotonic(), exchange.namespace, query, authorization))
        self._open.add(exchange)
        try:
            if (fault := self._next_fault(exchange)) is not None and (answer := await fault(exchange)) is not None:
                return answer
            return await (self._watch(exchange) if kind in WATCH else self._list(exchange))
        finally:
            self._open.discard(exchange)

    def _understand(self, request: web.Request) -> "Exchange | None":
        *group, resource = request.path.strip("/").split("/")
        namespace = ""
        if len(group) > 2 and group[-2] == "namespaces":
            namespace = group.pop()
            group.pop()
        if resource not in RESOURCES or "/".join(group) != group_path(resource):
            return None
        query = request.query
        kind: Kind = "page" if "continue" in query else "list"
        if query.get("watch") in ("1", "true"):
            kind = "stream" if query.get("sendInitialEvents") == "true" else "watch"
        return Exchange(self, request, resource, kind, namespace)

    def _next_fault(self, exchange: "Exchange") -> "Fault | None":
        for queued in self._faults:
            if queued.resource == exchange.resource and exchange.kind in queued.on and queued.times != 0:
                if queued.times is not None:
                    queued.times -= 1
                return queued.fault
        return None

    async def _list(self, exchange: "Exchange") -> web.StreamResponse:
        query = exchange.request.query
        version, left = self.version, self._stores[exchange.resource].select(exchange.namespace)
        if exchange.kind == "page":
            if query["continue"] not in self.pages:
                return exchange.refusal(410, "Expired", "The provided continue parameter is too old")
            version, left = self.pages[query["continue"]]
        limit = int(query.get("limit") or 0)
        if limit == 0 or query.get("resourceVersion") == "0":  # a real server then ignores the limit
            limit = len(left)
        metadata: Object = {"resourceVersion": str(version)}
        if len(left) > limit:
            metadata |= {"continue": self.page(version, left[limit:]), "remainingItemCount": len(left) - limit}
        api_version, kind = RESOURCES[exchange.resource]
        items = [{key: value for key, value in obj.items() if key not in ("apiVersion", "kind")} for obj in left[:limit]]
        return web.json_response({"kind": f"{kind}List", "apiVersion": api_version, "metadata": metadata, "items": items})

    def page(self, version: int, left: list[Object]) -> str:
        """A token for the rest of a list."""
        token = f"page-{len(self.pages) + 1}"
        self.pages[token] = version, left
        return token

    async def _watch(self, exchange: "Exchange") -> web.StreamResponse:
        store, version = self._stores[exchange.resource], exchange.request.query.get("resourceVersion", "")
        exchange.events = asyncio.Queue()  # from here on changes are told
        if exchange.kind == "watch" and version not in ("", "0"):
            if int(version) < store.oldest:
                return await exchange.stream(expired_event())
            events = [event for number, event in store.log if number > int(version)]
        else:
            events = [change_event("ADDED", obj) for obj in store.select("")]
        events = [event for event in events if exchange.wants(event)]
        if exchange.backwards:
            events.reverse()
        if exchange.kind == "stream":
            events.append(bookmark_event(exchange.resource, self.version, initial_events_end=True))
        await exchange.say(*events)
        return await exchange.follow()

    def _change(self, resource: str, type: str, obj: Object) -> int:
        self.version += 1
        store, key = self._stores[resource], _key(resource, obj)
        api_version, kind = RESOURCES[resource]
        copy: Object = json.loads(json.dumps({"kind": kind, "apiVersion": api_version, **obj}))
        copy["metadata"]["resourceVersion"] = str(self.version)
        copy["metadata"].setdefault("uid", f"uid-{self.version}")
        store.objects[key] = copy
        if type == "DELETED":
            del store.objects[key]
        store.log.append((self.version, change_event(type, copy)))
        self._tell(resource, change_event(type, copy))
        return self.version

    def _tell(self, resource: str, event: Object) -> None:
        for exchange in self._open:
            if exchange.resource == resource and exchange.events is not None and exchange.wants(event):
                exchange.events.put_nowait(event)


@dataclass(eq=False)
class Exchange:
    """One request and its answer in the making; what a fault works with."""

    server: FakeApiServer
    request: web.Request
    resource: str
    kind: Kind
    namespace: str
    backwards: bool = False
    events: asyncio.Queue[Object] | None = None
    _answer: web.StreamResponse | None = None
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(self, *lines: Object | bytes) -> web.StreamResponse:
        """Writes events, or bytes as they are, to a chunked answer with status 200; begins it where need be."""
        if self._answer is None:
            self._answer = web.StreamResponse(headers={"Content-Type": "application/json"})
            self._answer.enable_chunked_encoding()
            await self._answer.prepare(self.request)
        written = b"".join(line if isinstance(line, bytes) else octets_of(line) for line in lines)
        if written:
            await self._answer.write(written)
        return self._answer

    async def stream(self, *lines: Object | bytes) -> web.StreamResponse:
        """The whole of a chunked answer."""
        answer = await self.say(*lines)
        await answer.write_eof()
        return answer

    async def follow(self) -> web.StreamResponse:
        """Tells what changes until the request's timeoutSeconds or a hang-up."""
        seconds = self.request.query.get("timeoutSeconds")
        telling = asyncio.create_task(self._tell_changes())
        try:
            await asyncio.wait_for(self._over.wait(), float(seconds) if seconds else None)
        except TimeoutError:
            pass
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)  # a client that has left is no error
        return await self.stream(*self._untold())

    async def _tell_changes(self) -> None:
        while self.events is not None:
            await self.say(await self.events.get(), *self._untold())

    def _untold(self) -> list[Object]:
        return [self.events.get_nowait() for _ in range(self.events.qsize())] if self.events is not None else []

    async def stall(self) -> web.StreamResponse:
        """Says no more, until a hang-up or until the client has left."""
        await self._over.wait()
        return self._answer or web.Response(status=504)

    def refusal(self, code: int, reason: str, message: str, **headers: str) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(status(code, reason, message), status=code, headers=named)

    def cut(self) -> None:
        if self.request.transport is not None:
            self.request.transport.abort()

    def end(self, cut: bool) -> None:
        if cut:
            self.cut()
        self._over.set()

    def wants(self, event: Object) -> bool:
        if event["type"] == "BOOKMARK":
            return self.request.query.get("allowWatchBookmarks") in ("1", "true")
        return self.namespace in ("", event["object"]["metadata"].get("namespace"))


Fault = Callable[[Exchange], Awaitable[web.StreamResponse | None]]


@dataclass
class _Store:
    objects: dict[str, Object] = field(default_factory=dict)
    log: list[tuple[int, Object]] = field(default_factory=list)
    oldest: int = 0

    def select(self, namespace: str) -> list[Object]:
        every = [self.objects[key] for key in sorted(self.objects)]
        return [obj for obj in every if namespace in ("", obj["metadata"].get("namespace"))]


@dataclass
class _Queued:
    resource: str
    fault: Fault
    on: frozenset[Kind]
    times: int | None


def _key(resource: str, obj: Object) -> str:
    metadata = obj["metadata"]
    return metadata["name"] if resource == "namespaces" else f"{metadata['namespace']}/{metadata['name']}"
