"""A Unix socket on which people ask about the server: a request is a line of JSON, what comes back are lines of JSON.

Rules that must never be broken: what is asked is bounded in octets and seconds, those who ask in number, and what they do not
read in octets; long work gives others their turn.
"""

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from kdns.core.block import Block
from kdns.core.explanation import explain_at, listeners_of, overhear, overhear_no_more, question, texts
from kdns.core.plugin import Exchange, Kept
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.types import AXFR, NOERROR, rcode_text, SOA, type_text
from kdns.errors import ListenError

PATH = "/run/kdns/admin.sock"
MOST = 8  # connections at once
LONGEST = 8192  # octets of a request
PATIENCE = 5.0  # seconds until a request is there
UNREAD = 1 << 18  # octets that nobody reads yet; then lines of *tail* are left out

Say = Callable[[Any], Awaitable[None]]


class Desk(Kept):
    """It is kept over reloads; `serve` says which server blocks are at work."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.blocks: Sequence[Block] = ()
        self._server: asyncio.Server | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._listening: list[Callable[[Exchange], None]] = []
        self._works: dict[str, Callable[[dict[str, Any]], AsyncIterator[Any]]] = {
            "explain": self._explain, "dump": self._dump, "flush": self._flush,
        }  # fmt: skip

    async def start(self) -> None:
        """Listen; ListenError where that cannot be."""
        try:
            sock = _bound(self.path)
        except OSError as error:
            raise ListenError(f"cannot listen on {self.path}: {error.strerror or error}") from None
        self._server = await asyncio.start_unix_server(self._come, sock=sock, limit=LONGEST)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def serve(self, blocks: Sequence[Block]) -> None:
        """These are at work from now on."""
        for listening in self._listening:
            overhear_no_more(self.blocks, listening)
        self.blocks = blocks
        for listening in self._listening:
            overhear(listeners_of(self.blocks), blocks, listening)

    async def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._asking) >= MOST:
            writer.write(_octets({"error": f"{MOST} are being answered already: ask again in a moment"}))
            writer.close()
            return
        self._asking.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # who asked is gone, or we are
        finally:
            self._asking.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(what: Any) -> None:
            writer.write(_octets(what))
            await writer.drain()

        try:
            asked = json.loads(await asyncio.wait_for(reader.readline(), PATIENCE))
            work = self._works.get(asked["command"])
            if work is not None:
                async for what in work(asked):
                    await say(what)
            elif asked["command"] == "tail":
                await self._tail(asked, reader, writer)
            else:
                await say({"error": f"there is no command '{asked['command']}'"})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, TimeoutError) as error:
            await say({"error": str(error) or "the request did not come in time"})

    # ------------------------------------------------------------ the requests

    async def _explain(self, asked: dict[str, Any]) -> AsyncIterator[Any]:
        query = question(asked["name"], asked.get("type", "A"), asked.get("client") or "127.0.0.1")
        yield await explain_at(listeners_of(self.blocks), query)

    async def _dump(self, asked: dict[str, Any]) -> AsyncIterator[Any]:
        if asked.get("cached"):
            for listener in listeners_of(self.blocks):
                for name, type, hits in listener.memo.listed():
                    yield {"cached": f"{listener.server} {names.text(name)} {type_text(type)} {hits}"}
            return
        there = [(origin, plugin) for block in self.blocks for _, plugin in block.plugins for origin in plugin.transferable()]
        if not there:
            yield {"error": "there is no zone here that could be shown"}
        wanted = names.absolute(asked["zone"]) if asked.get("zone") else None
        if there and wanted is not None and wanted not in dict(there):
            yield {"error": f"there is no zone {wanted} here that could be shown; there is {', '.join(dict(there))}"}
        for origin, plugin in there:
            if wanted in (None, origin):
                yield {"line": f"$ORIGIN {origin}"}
                for first, step in enumerate(plugin.outgoing(origin, Query(origin, AXFR)).steps):
                    for rrset in step:
                        if rrset.type != SOA or not first:  # it comes again at the end
                            for line in texts(rrset):
                                yield {"line": line}
                    await asyncio.sleep(0)

    async def _flush(self, asked: dict[str, Any]) -> AsyncIterator[Any]:
        name = names.absolute(asked["name"])
        replies = sum(listener.memo.flush(names.wire(name)) for listener in listeners_of(self.blocks))
        answers = sum(plugin.flush(name) for block in self.blocks for _, plugin in block.plugins)
        yield {"flushed": name, "replies": replies, "answers": answers}

    async def _tail(self, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Queries as they are answered, until who asked goes."""
        zone = names.absolute(asked.get("name") or ".")
        code, client = (asked.get("code") or "").upper(), asked.get("client")
        lost = 0

        def overheard(exchange: Exchange) -> None:
            nonlocal lost
            line = _line(exchange)
            if not names.is_below(exchange.query.name, zone) or (client and client != line["client"]):
                return
            if code and code not in (line["code"], line["kind"]):
                return
            if writer.transport.get_write_buffer_size() > UNREAD:
                lost += 1
                return
            writer.write(_octets({**line, **({"left out": lost} if lost else {})}))
            lost = 0

        self._listening.append(overheard)
        overhear(listeners_of(self.blocks), self.blocks, overheard)
        try:
            await reader.read(1)
        finally:
            self._listening.remove(overheard)
            overhear_no_more(self.blocks, overheard)


def _octets(what: Any) -> bytes:
    return json.dumps(what).encode() + b"\n"


def _line(exchange: Exchange) -> dict[str, Any]:
    query, response, _, seconds = exchange
    code = rcode_text(response.rcode)
    return {
        "client": query.client.host,
        "name": query.name,
        "type": type_text(query.type),
        "code": code,
        "kind": "NODATA" if response.rcode == NOERROR and not response.answer else code,
        "by": response.made.by,
        "upstream": response.made.upstream,
        "ms": round(seconds * 1000, 3),
        "why": response.error.text if response.error is not None else "",
    }


def _bound(path: str) -> socket.socket:
    """A listening socket that its owner alone may write to; what a process left behind that is gone makes room."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "there is a file that is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            else:
                raise OSError(errno.EADDRINUSE, "another process listens there")
    sock = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock
