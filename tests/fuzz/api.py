"""What an API server says, lists and streams of events, to a reflector; in pieces.

The first octet of an input says what is asked for: which resource, as a list or as a stream. What must hold: nothing ends in an
error of kdns's own, and each object that the store then has is one that a store may have.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from kdns.cluster.apiserver import reflector
from kdns.cluster.apiserver.reflector import Reflector, Timing
from kdns.cluster.apiserver.resources import Resource, resources
from kdns.cluster.apiserver.snapshot import sound
from kdns.cluster.objects import Selection
from kdns.cluster.store import Store
from kdns.errors import Refused
from kdns.testing.messages import bookmark_event, error_event
from tests.fuzz.judging import Cost
from tests.fuzz.mutation import mutated
from tests.support import TOWN

AT_ONCE = Timing(first=0, unreachable=0, refused=0, retry_after=0)
PIECE = 700  # octets
SOME = 6  # objects of an input
_every = [one for some in resources(Selection(pods=True, pod_names=True, zones=True)) for one in some]
LISTED = 0x80  # in the first octet


class Bugs(logging.Handler):
    """What the log tells of errors of kdns's own."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.told.append(record.getMessage())


class Api:
    dear = 100
    bound, bound_by_octet = Cost(20_000, 4 << 20), Cost(300, 5000)

    def __init__(self, rnd: Random) -> None:
        self._rnd = rnd
        objects = json.loads((TOWN / "objects.json").read_text())
        objects = objects["items"] if isinstance(objects, dict) else objects
        self._seeds = {i: self._said(one, [o for o in objects if o["kind"] == one.api]) for i, one in enumerate(_every)}

    def _said(self, resource: Resource, objects: list[dict[str, object]]) -> list[bytes]:
        seeds = []
        for at in range(0, len(objects), SOME):
            some = objects[at : at + SOME]
            events = [{"type": self._rnd.choice(("ADDED", "MODIFIED", "DELETED")), "object": o} for o in some]
            end = [bookmark_event(resource.name, 7, initial_events_end=True), error_event(410, "Expired", "too old")]
            seeds.append(b"".join(json.dumps(event).encode() + b"\n" for event in [*events, *end]))
            page = {"kind": f"{resource.api}List", "metadata": {"resourceVersion": "7"}, "items": some}
            seeds.append(json.dumps(page).encode())
        return seeds

    async def prepare(self) -> None:
        self._bugs = Bugs()
        logging.getLogger(reflector.__name__).addHandler(self._bugs)
        logging.getLogger("kdns.cluster.apiserver").propagate = False

    async def end(self) -> None:
        logging.getLogger(reflector.__name__).removeHandler(self._bugs)
        logging.getLogger("kdns.cluster.apiserver").propagate = True

    def make(self) -> bytes:
        which = self._rnd.choice([i for i, seeds in self._seeds.items() if seeds])
        octets = mutated(self._rnd, self._seeds[which])
        return bytes((which | (LISTED if octets[:6] == b'{"kind' else 0),)) + octets

    async def judge(self, octets: bytes) -> None:
        first, said = (octets or b"\0")[0], octets[1:]
        resource, listed = _every[(first & ~LISTED) % len(_every)], bool(first & LISTED)
        store = Store()
        requests = 0

        @asynccontextmanager
        async def ask(path: str, query: list[tuple[str, str]]) -> AsyncIterator[AsyncIterator[bytes]]:
            nonlocal requests
            requests += 1
            if listed and ("sendInitialEvents", "true") in query:
                raise Refused(400, "not here")
            if requests > 1 + listed:
                raise asyncio.CancelledError
            yield _pieces(said)

        following = Reflector((resource,), ask, store, lambda: None, lambda o: None, AT_ONCE)
        try:
            await following.run()
        except asyncio.CancelledError:
            pass
        assert [] == self._bugs.told, self._bugs.told.pop()
        for table in (store.services, store.slices, store.namespaces, store.pods):
            for o in table.values():
                sound(o)


async def _pieces(octets: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(octets), PIECE):
        yield octets[at : at + PIECE]
