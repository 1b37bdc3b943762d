"""Manifests, changed by words and lines.

What must hold: objects that a store may have, or ManifestError with the file, in one line.
"""

import tempfile
from pathlib import Path
from random import Random

from kdns.cluster.apiserver.snapshot import sound
from kdns.cluster.manifests.loading import load, Options
from kdns.errors import ManifestError
from tests.fuzz.judging import Cost
from tests.fuzz.mutation import changed_text
from tests.support import ROOT, TOWN

WORDS = (
    "", "-", "---", "...", ":", "{", "}", "[", "]", "{a: b}", "[a]", "&a", "*a", "<<: *a", "!!binary", "!x", "|", ">", "'",
    '"', "null", "~", "true", "1", "-1", "1e400", "0x10", "0o7", "99999999999999999999999", "2026-01-01", ".inf", "é", '\t',
    "a" * 300, "kind:", "Service", "Pod", "EndpointSlice", "Endpoints", "Namespace", "Deployment", "StatefulSet", "List",
    "items:", "metadata:", "spec:", "name:", "namespace:", "clusterIP:", "None", "clusterIPs:", "10.96.0.1", "::1",
    "999.1.1.1", "ports:", "port:", "selector:", "replicas:", "1000000", "externalName:", "type:", "ExternalName", "a.b.",
    "..", "addresses:", "labels:",
)  # fmt: skip


class Manifests:
    dear = 50
    bound, bound_by_octet = Cost(200_000, 144 << 20), Cost(3000, 20_000)  # a file is read into a buffer for the largest

    def __init__(self, rnd: Random) -> None:
        self._rnd = rnd
        paths = [ROOT / "zones" / "cluster.yaml", *sorted(TOWN.glob("*.yaml"))]
        texts = [path.read_text() for path in paths]
        self._seeds = [part for text in texts for part in _parts(text.split("\n---\n"))]

    async def prepare(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kdns-fuzz-")
        self._path = Path(self._folder.name) / "a.yaml"

    async def end(self) -> None:
        self._folder.cleanup()

    def make(self) -> bytes:
        return changed_text(self._rnd, self._seeds, WORDS).encode()

    async def judge(self, octets: bytes) -> None:
        self._path.write_bytes(octets)
        for lenient in (False, True):
            try:
                loaded = load([str(self._path)], Options(lenient=lenient))
            except ManifestError as error:
                assert str(self._path) in str(error), f"no place: {error}"
                assert "\n" not in str(error), f"several lines: {error}"
                continue
            for o in loaded.objects:
                sound(o)


def _parts(documents: list[str]) -> list[str]:
    """A few documents each."""
    return ["\n---\n".join(documents[at : at + 4]) for at in range(0, len(documents), 3)]
