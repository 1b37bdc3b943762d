"""How a question is answered, step by step, for a person: `kdns explain`.

It is asked as a client would ask it, past the memo, and nothing of it is counted, logged or kept in the memo; upstreams are asked
where the answer needs them. What each step says is made of plain values, ready for JSON.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from kdns.core.block import Block, FAILED
from kdns.core.chain import UNANSWERED
from kdns.core.entries import Entry
from kdns.core.explained import noted
from kdns.core.listener import Listener
from kdns.core.plugin import Exchange, Handler, Plugin
from kdns.core.sentences import sentence
from kdns.dns import names, rdata
from kdns.dns.query import Address, Edns, Query
from kdns.dns.response import Answer, Key, Response, RRset
from kdns.dns.types import LARGEST_UDP, rcode_text, type_number, type_text


def overhear(listeners: Iterable[Listener], blocks: Iterable[Block], witness: Callable[[Exchange], None]) -> None:
    """Somebody listens to each query for a while: none is answered from the memo meanwhile."""
    for block in blocks:
        block.witnesses.append(witness)
        block.settle_memo()
    for listener in listeners:
        listener.memo.clear()


def overhear_no_more(blocks: Iterable[Block], witness: Callable[[Exchange], None]) -> None:
    for block in blocks:
        if witness in block.witnesses:
            block.witnesses.remove(witness)
            block.settle_memo()


FOREVER = "until that changes"

Way = list[dict[str, Any]]


def listeners_of(blocks: Iterable[Block]) -> list[Listener]:
    """The listening addresses of server blocks, each once."""
    every = {id(one): one for block in blocks for one in block.listeners if isinstance(one, Listener)}
    return list(every.values())


def question(name: str, type: str, client: str) -> Query:
    """A question as a client asks it that takes replies of any size; ValueError where it is none."""
    query = Query(names.absolute(name), type_number(type), edns=Edns(LARGEST_UDP, False))
    names.packed(client)
    query.client = Address(client, 0)
    return query


async def explain(listener: Listener, query: Query) -> dict[str, Any]:
    """What is said to a query at a listening address, by whom, made from what, and why."""
    zone, block = listener.find(query)
    kept: list[Entry] = []
    for some in listener.memo.at(names.wire(query.name)):
        kept += some
        await asyncio.sleep(0)
    way: Way = []
    answer: Answer = UNANSWERED
    with noted() as tries:
        if block is not None:
            answer = await _walked(block, query, way)
    plugins = [plugin for _, plugin in (block.plugins if block else ())]
    told = {
        "question": f"{query.name} {type_text(query.type)}",
        "client": query.client.host,
        "listener": listener.server,
        "server block": zone or "none has the name",
        "memo": {"used": block is not None and block.memoized, "replies": len(kept), "hits": sum(entry.hits for entry in kept)},
        "way": way,
        "upstreams tried": [one._asdict() for one in tries],
        "objects": [account for plugin in plugins if (account := dict(await plugin.account(query)))],
    }
    by = str(way[-1]["plugin"]) if way else ""
    meant = next(filter(None, (plugin.meant(query) for plugin in plugins)), "")
    return {**told, **_said(answer), "sentence": sentence(query, answer, by, meant, served(listener))}


def served(listener: Listener) -> list[str]:
    """The zones of a listening address, by its server blocks and their plugins; none that is the root or of addresses."""
    blocks = [block for every in listener.blocks.values() for block in every]
    zones = dict.fromkeys(zone for block in blocks for zone in block.zones)
    zones |= dict.fromkeys(zone for block in blocks for _, plugin in block.plugins for zone in plugin.transferable())
    return [zone for zone in zones if zone != "." and not zone.endswith(".arpa.")]


async def explain_at(listeners: Iterable[Listener], query: Query) -> dict[str, Any]:
    """The same at the first of these addresses that serves the name."""
    for listener in listeners:
        if listener.find(query)[1] is not None:
            return await explain(listener, query)
    return {"sentence": f"{query.name} is in no zone that is served here", "question": query.name}


def texts(rrset: RRset) -> list[str]:
    """An RRset as lines of a zone file."""
    head = f"{rrset.name} {rrset.ttl} IN {type_text(rrset.type)} "
    return [head + rdata.to_text(rrset.type, octets) for octets in rrset.rdata]


async def _walked(block: Block, query: Query, way: Way) -> Answer:
    """What the chain of a server block says; each plugin that is asked leaves a step."""

    async def end(query: Query) -> Answer:
        return UNANSWERED

    handler: Handler = end
    for name, plugin in reversed(block.plugins):
        if plugin.overrides("answer"):
            handler = _step(name, plugin, handler, way)
    try:
        return await handler(query)
    except Exception as error:
        way.append({"plugin": "", "verdict": f"failed: {type(error).__name__}: {error}"})
        return FAILED


def _step(name: str, plugin: Plugin, next: Handler, way: Way) -> Handler:
    async def step(query: Query) -> Answer:
        here: dict[str, Any] = {"plugin": name, "ms": 0.0}
        way.append(here)
        passed: list[Answer] = []

        async def on(query: Query) -> Answer:
            passed.append(await next(query))
            return passed[-1]

        began = time.monotonic()
        answer = await plugin.answer(query, on)
        here["ms"] = round((time.monotonic() - began) * 1000, 3)
        if passed:
            here["verdict"] = "passed it on" if answer is passed[-1] else "passed it on, and changed what came back"
        else:
            here["verdict"] = "answered"
            if isinstance(answer, Response) and answer.made.upstream:
                here["upstream"] = answer.made.upstream
        return answer

    return step


def _said(answer: Answer) -> dict[str, Any]:
    if not isinstance(answer, Response):
        return {"answer": type(answer).__name__.lower()}
    return {
        "code": rcode_text(answer.rcode),
        "answered by": answer.made.by,
        "upstream": answer.made.upstream,
        "cache": answer.made.cached,
        "answer": [text for rrset in answer.answer for text in texts(rrset)],
        "authority": [text for rrset in answer.authority for text in texts(rrset)],
        "additional": [text for rrset in answer.additional for text in texts(rrset)],
        "made from": [_key(key) for key in answer.depends],
        "holds": FOREVER if answer.stable_for == math.inf else f"{answer.stable_for:g} s",
        "why": answer.error.text if answer.error is not None else "",
    }


def _key(key: Key) -> str:
    return names.unpacked(key) if isinstance(key, bytes) and len(key) in (4, 16) else str(key)
