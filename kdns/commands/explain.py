"""`kdns explain NAME [TYPE]`: how a name is answered, step by step, and why."""

import asyncio
import json
from typing import Any

from kdns.commands.asking import BOLD, outline, parser, replies, show, styled
from kdns.commands.corefiles import laboratory
from kdns.core.explanation import explain
from kdns.core.generation import Generation
from kdns.core.plugin import Kept
from kdns.errors import KdnsError
from kdns.plugins.admin.desk import question
from kdns.server.load import load


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
        told = next(replies(given.socket, command="explain", name=given.name, type=given.type, client=client))
    if given.json:
        print(json.dumps(told))
    else:
        rest = {name: value for name, value in told.items() if name != "sentence"}
        show([styled(told["sentence"], BOLD), *outline(rest)])
    return 0


async def _of_manifests(paths: list[str], name: str, type: str, client: str) -> dict[str, Any]:
    """What a server of these manifests would say; nothing is listened on."""
    try:
        query = question(name, type, client)
    except ValueError as error:
        raise KdnsError(str(error)) from None
    generation = Generation()
    try:
        load(laboratory(paths, 53), generation=generation)
        await asyncio.gather(*(thing.start() for thing in list(generation.kept.values()) if isinstance(thing, Kept)))
        return await explain(next(iter(generation.listeners.values())), query)
    finally:
        await generation.close()
