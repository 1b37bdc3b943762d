"""`kdns explain NAME [TYPE]`: how a name is answered, step by step, and why."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from kdns.commands.asking import BOLD, DIM, outline, parser, reply, show, styled
from kdns.commands.corefiles import at_work, laboratory
from kdns.commands.lines import progress
from kdns.core.explanation import explain, FOREVER, question
from kdns.errors import KdnsError, one_line

MADE = 5  # of what it was made from, as many are named


def run(words: list[str]) -> int:
    """Ask a server, or manifests."""
    flags = parser("explain", "How a name is answered, step by step, and why.")
    flags.add_argument("name", metavar="NAME", help="the name, such as web.prod.svc.cluster.local")
    flags.add_argument("type", metavar="TYPE", nargs="?", default="A", help="the type of record (A)")
    flags.flag("client", "IP", "who asks (127.0.0.1)")
    flags.add_argument("--manifests", nargs="+", metavar="PATH", help="ask these manifests instead of a server")
    given = flags.read(words)
    client = given.client or "127.0.0.1"
    if given.manifests:
        told = asyncio.run(_of_manifests(given.manifests, given.name, given.type, client))
    else:
        told = reply(given.socket, command="explain", name=given.name, type=given.type, client=client)
    if given.json:
        print(json.dumps(told))
    else:
        show(lines(told))
    return 0


def lines(told: dict[str, Any]) -> Iterator[str]:
    """The sentence, the answer, how it came about, and from which objects."""
    yield styled(told["sentence"], BOLD)
    if "listener" not in told:
        return
    by = f" by {told['answered by']}" if told.get("answered by") else ""
    yield from _rows("answer", [f"{told.get('code') or told['answer']}{by}{_lasting(told)}", *_records(told)])
    asked = f"{told['question']} by {told['client']} at {told['listener']}, server block {told['server block']}"
    yield from _rows("asked", [asked])
    memo = told["memo"]
    kept = f"{memo['replies']} replies for the name, {memo['hits']} hits"
    yield from _rows("memo", [kept if memo["used"] else "not used in this server block"])
    yield from _rows("way", [f"{step['plugin']:14}{step['ms']:>9.3f} ms  {step['verdict']}" for step in told["way"]])
    yield from _rows("upstreams", [f"{one['upstream']}  {one['ms']:.3f} ms  {one['said']}" for one in told["upstreams tried"]])
    for found in told["objects"]:
        yield from _rows("objects", list(outline(found)))


def _rows(name: str, rows: list[str]) -> Iterator[str]:
    """Rows beside a name; nothing where there are none."""
    for at, row in enumerate(rows):
        yield styled(f"{name if not at else '':11}", DIM) + row


def _lasting(told: dict[str, Any]) -> str:
    """How long it holds, where it does."""
    if "holds" not in told or told["holds"] == "0 s":
        return ""
    made = ", ".join(told["made from"][:MADE])
    return f", until {made or 'the configuration'} changes" if told["holds"] == FOREVER else f", for {told['holds']}"


def _records(told: dict[str, Any]) -> list[str]:
    sections = {name: told[name] for name in ("answer", "authority", "additional") if isinstance(told.get(name), list)}
    return [one_line(record) + ("" if name == "answer" else f"  ({name})") for name, every in sections.items() for record in every]


async def _of_manifests(paths: list[str], name: str, type: str, client: str) -> dict[str, Any]:
    """What a server of these manifests would say; nothing is listened on."""
    try:
        query = question(name, type, client)
    except ValueError as error:
        raise KdnsError(str(error)) from None
    with progress(lambda: "reading manifests"):
        async with at_work(laboratory(paths, 53)) as generation:
            return await explain(next(iter(generation.listeners.values())), query)
