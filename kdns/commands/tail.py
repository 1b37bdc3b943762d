"""`kdns tail`: queries as they are answered."""

import contextlib
import json
from typing import Any

from kdns.commands.asking import BOLD, DIM, parser, replies, styled


def run(words: list[str]) -> int:
    """Print a line for each, until it is interrupted."""
    flags = parser("tail", "Queries as they are answered. Meanwhile the server answers none from its memo.")
    flags.flag("name", "ZONE", "those for names in it")
    flags.flag("code", "CODE", "those with this code, or NODATA")
    flags.flag("client", "IP", "those of this client")
    given = flags.read(words)
    with contextlib.suppress(KeyboardInterrupt):
        for told in replies(given.socket, command="tail", name=given.name, code=given.code, client=given.client):
            print(json.dumps(told) if given.json else line(told), flush=True)
    return 0


def line(told: dict[str, Any]) -> str:
    """A query in a line."""
    kind = styled(told["kind"], DIM if told["kind"] == "NOERROR" else BOLD)
    by = "/".join(filter(None, (told["by"], told["upstream"])))
    why = f"  {styled(told['why'], DIM)}" if told["why"] else ""
    lost = f"  ({told['left out']} left out before it)" if "left out" in told else ""
    return f"{styled(told['client'], DIM)} {styled(told['name'], BOLD)} {told['type']} {kind} {by} {told['ms']} ms{why}{lost}"
