"""Who asks for what: a query looked at now and then, while somebody has the page open.

Hits cost next to nothing and are to stay so: nobody writes them down. But each hundredth of a second at the most one query of
a listening address is looked at, after its answer; it stands for all that were asked there since the last one. It is laid
aside, and looked into when somebody asks for the figures: many at a time take a tenth of the time. What is found goes into
sketches of bounded size, where it counts half after a minute: what is shown is as of a minute or two ago.

Rules that must never be broken: nothing is looked at unless somebody asked for the figures in the last seconds; nothing raises.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from kdns.core.block import Block
from kdns.core.explanation import listeners_of
from kdns.core.listener import Listener
from kdns.core.plugin import Kept
from kdns.core.sketch import Sketch
from kdns.dns import names
from kdns.dns.query import Address
from kdns.dns.types import NOERROR, NXDOMAIN, type_text

EVERY = 0.01  # seconds from one query that is looked at to the next, at a listening address
PATIENCE = 5.0  # seconds after which nobody looks any more where nobody asks
HALF = 60.0  # seconds after which what was seen counts half
ASIDE = 10_000  # queries that are laid aside
PLACES = 1000  # of each sketch
SHOWN = 12  # rows of a table
SUFFIXES = 6  # of search lists, rows of a table
TRIED = 3  # names that are shown of each suffix of search lists


class Onlooker(Kept):
    """It is kept over reloads; `serve` says which server blocks are at work."""

    def __init__(self) -> None:
        self.since = 0.0  # time.monotonic() when somebody began to look; 0: nobody does
        self._blocks: Sequence[Block] = ()
        self._asked: dict[int, int] = {}  # queries when one was last looked at, by the id of the address's counts
        self._end: asyncio.TimerHandle | None = None
        self._begin()

    def _begin(self) -> None:
        self.names: Sketch[bytes] = Sketch(PLACES)  # by name and type on the wire
        self.clients: Sketch[bytes] = Sketch(PLACES)  # by address on the wire
        self.suffixes: Sketch[str] = Sketch(PLACES)  # of search lists
        self.tries: Sketch[str] = Sketch(PLACES)  # suffix, and what was asked for, with a blank between
        self._aside: list[tuple[bytes, Address | bytes, int, int]] = []  # with the code, and for how many it stands
        self._halved = time.monotonic()

    async def close(self) -> None:
        self._rest()

    def serve(self, blocks: Sequence[Block]) -> None:
        """These are at work from now on."""
        self._stop()
        self._blocks = blocks
        if self.since:
            self._look()

    def ask(self) -> None:
        """Somebody wants to know: look for some seconds more."""
        now = time.monotonic()
        if not self.since:
            self.since = now
            self._begin()
            self._look()
        elif now - self._halved > HALF:
            self._halved = now
            for sketch in (self.names, self.clients, self.suffixes, self.tries):
                sketch.halve()
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(PATIENCE, self._rest)

    def _look(self) -> None:
        for listener in listeners_of(self._blocks):
            counts = listener.counts
            self._asked[id(counts)] = counts.hits + counts.misses
            listener.look, listener.look_at = partial(self._see, listener), 0.0

    def _stop(self) -> None:
        for listener in listeners_of(self._blocks):
            listener.look_at = math.inf
        self._asked = {}

    def _rest(self) -> None:
        """Nobody has asked for a while."""
        self._stop()
        self.since = 0.0
        self._begin()
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _see(self, listener: Listener, wire: bytes, client: Address | bytes, reply: bytes | None) -> None:
        """A query that stands for all since the last one, and its reply, where that was there at once."""
        counts = listener.counts
        listener.look_at = time.monotonic() + EVERY
        asked = counts.hits + counts.misses
        if len(self._aside) < ASIDE:
            self._aside.append((wire, client, reply[3] & 15 if reply else NOERROR, asked - self._asked.get(id(counts), 0)))
            self._asked[id(counts)] = asked

    def _look_into(self) -> None:
        """Count what was laid aside."""
        aside, self._aside = self._aside, []
        for wire, client, code, asked in aside:
            times = max(1, asked)
            self.clients.add(_host(client), times)
            question = _question(wire)
            if question is not None:
                self.names.add(question, times)
                if code == NXDOMAIN:
                    self._not_found(names.text(question[:-2]), times)

    def _not_found(self, name: str, times: int) -> None:
        for block in self._blocks:
            for _, plugin in block.plugins:
                if plugin.overrides("search_try") and (found := plugin.search_try(name)) is not None:
                    asked, suffix = found
                    self.suffixes.add(suffix, times)
                    self.tries.add(f"{suffix} {asked}", times)
                    return

    # ------------------------------------------------------------ what was seen

    def table(self) -> dict[str, Any]:
        """The tables of the page, in plain values: of each row how often it was asked for, of all that were asked."""
        self._look_into()
        return {
            "seconds": time.monotonic() - self.since if self.since else 0.0,
            "queries": self.clients.total,
            "names": [
                {"name": names.text(found.key[:-2]), "type": type_text(int.from_bytes(found.key[-2:], "big")), "times": found.times}
                for found in self.names.top(SHOWN)
            ],
            "clients": [{"client": _text(found.key), "times": found.times} for found in self.clients.top(SHOWN)],
            "tries": self.suffixes.total,
            "suffixes": [self._suffix(found.key, found.times) for found in self.suffixes.top(SUFFIXES)],
        }

    def _suffix(self, suffix: str, times: float) -> dict[str, Any]:
        """A suffix, what was tried with it most, and the ndots that spares these the search list."""
        tried = [found.key.partition(" ")[2] for found in self.tries.top(TRIED, lambda key: key.startswith(suffix + " "))]
        dots = min((name.count(".") - 1 for name in tried), default=2)
        return {"suffix": suffix, "times": times, "tried": tried, "ndots": max(1, min(2, dots))}


def _question(wire: bytes) -> bytes | None:
    """The name in lower case and the type that a query asks for, on the wire; None where it is no everyday query."""
    at = 12
    while at < len(wire) and (size := wire[at]):
        at += size + 1
    return wire[12 : at + 3].lower() if at + 5 <= len(wire) and wire[4:6] == b"\0\1" else None


def _host(client: Address | bytes) -> bytes:
    """The address of a client, out of what a socket says: 4 octets, or 16."""
    if isinstance(client, Address):
        return names.packed(client.host.partition("%")[0])
    return client[4:8] if len(client) == 16 else client[8:24]


def _text(host: bytes) -> str:
    return names.unpacked(host).removeprefix("::ffff:")
