"""`kdns flush NAME`: forget what is kept of answers for a name."""

import json

from kdns.commands.asking import parser, reply


def run(words: list[str]) -> int:
    """Say what was forgotten."""
    flags = parser("flush", "Forget what the memo and caches keep of a name.")
    flags.add_argument("name", metavar="NAME")
    given = flags.read(words)
    told = reply(given.socket, command="flush", name=given.name)
    said = f"{told['flushed']}: {told['replies']} replies and {told['answers']} answers forgotten"
    print(json.dumps(told) if given.json else said)
    return 0
