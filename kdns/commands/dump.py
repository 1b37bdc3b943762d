"""`kdns dump [ZONE]`: zones as master files, or what is kept of answers."""

import json

from kdns.commands.asking import parser, replies, show


def run(words: list[str]) -> int:
    """Print all of it."""
    flags = parser("dump", "The zones that are answered here, as master files.")
    flags.add_argument("zone", metavar="ZONE", nargs="?", help="this zone alone")
    flags.switch("cached", "the replies in the memo instead: name, type and hits")
    given = flags.read(words)
    found = replies(given.socket, command="dump", zone=given.zone, cached=given.cached)
    show(json.dumps(told) if given.json else next(iter(told.values())) for told in found)
    return 0
