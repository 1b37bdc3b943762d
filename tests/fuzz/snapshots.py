"""Files with a snapshot, half of them with a checksum that is right again.

What must hold: the store has exactly what the file says, and each object is one that a store may have; or it has nothing.
"""

import tempfile
import zlib
from pathlib import Path
from random import Random

import msgspec

from kdns.cluster.apiserver.snapshot import Snapshot, sound
from kdns.cluster.manifests.loading import load
from kdns.cluster.objects import Selection
from kdns.cluster.store import Store
from tests.fuzz.judging import Cost
from tests.fuzz.mutation import mutated
from tests.support import ROOT, TOWN


class Snapshots:
    dear = 50
    bound, bound_by_octet = Cost(20_000, 80 << 20), Cost(300, 5000)  # a file is read into a buffer for the largest

    def __init__(self, rnd: Random) -> None:
        self._rnd = rnd

    async def prepare(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kdns-fuzz-")
        self._path = Path(self._folder.name) / "snapshot"
        self._snapshot = Snapshot(str(self._path), Selection())
        self._seeds = []
        for path in (ROOT / "zones" / "cluster.yaml", TOWN / "10-seeds.yaml", TOWN / "20-kinds.yaml"):
            store = Store()
            store.put(*load([str(path)]).objects)
            assert await self._snapshot.write(store, "uid-1")
            self._seeds.append(self._path.read_bytes())

    async def end(self) -> None:
        self._folder.cleanup()

    def make(self) -> bytes:
        octets = mutated(self._rnd, self._seeds)
        return _mended(octets) if self._rnd.random() < 0.5 else octets

    async def judge(self, octets: bytes) -> None:
        self._path.write_bytes(octets)
        self._path.chmod(0o600)
        store = Store()
        header = await self._snapshot.load(store)
        tables = (store.services, store.slices, store.namespaces, store.pods)
        if header is None:
            assert not any(tables), "it was refused, and something of it is in the store"
        for table in tables:
            for o in table.values():
                sound(o)


def _mended(octets: bytes) -> bytes:
    """With an end whose checksum is that of what is before it."""
    at = end = 0
    while at + 4 <= len(octets):
        size = int.from_bytes(octets[at : at + 4], "big")
        if not size or at + 4 + size > len(octets):
            break
        end, at = at, at + 4 + size
    last = msgspec.msgpack.encode([zlib.crc32(octets[:end])])
    return octets[:end] + len(last).to_bytes(4, "big") + last
