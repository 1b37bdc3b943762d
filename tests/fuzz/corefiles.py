"""Corefiles as they are found in the field, changed by words and lines.

What must hold: it can be served, or CorefileError has a line for each thing that is wrong, each with the file and, but for a
Corefile with nothing in it, the line.
"""

import re
from random import Random

from kdns import plugins
from kdns.config.options import names_of
from kdns.core.generation import Generation
from kdns.errors import CorefileError
from kdns.server.load import load
from tests.fuzz.judging import Cost
from tests.fuzz.mutation import changed_text
from tests.support import ROOT
from tests.support.configured import is_served

FIELD = ROOT / "tests" / "corefiles"
ODD = (
    "", "{", "}", "{ }", '"', '"a b"', "#", "{$X}", "{$X:y}", "{%X%}", "(s)", "import", "import s", ".:53", ":53", "dns://.",
    "tls://.", "example.org", "*.example.org", "10.0.0.0/8", "2001:db8::/32", "10.0.0.0/99", "0", "-1", "1", "70000", "1e9",
    "99999999999999999999", "5s", "1h1m1s", "-5s", "1.5s", "127.0.0.1", "::1", "127.0.0.1:53", "[::1]:53", ":0", "/nowhere",
    "/dev/null", "/", "a" * 300, "é", '\x00', '\\', "tls", "to", "except", "A", "ANY", "TYPE65", "NOERROR", "^(.*)$", "(",
    "{{ .Name }}", "name", "regex", "stop",
)  # fmt: skip
PLACED = re.compile(r"(Corefile|/[^:\n]*):\d+: .")


class Corefiles:
    dear = 100
    bound, bound_by_octet = Cost(40_000, 8 << 20), Cost(600, 10_000)

    def __init__(self, rnd: Random) -> None:
        self._rnd = rnd
        self._seeds = [path.read_text() for path in sorted(FIELD.iterdir()) if path.suffix != ".json"]
        served = [name for name in plugins.ORDER if is_served(name)]
        options = sorted({option for name in served for option in names_of(plugins.load(name).table)})
        self._words = [*ODD, *plugins.ORDER, *served, *options]

    async def prepare(self) -> None:
        pass

    async def end(self) -> None:
        pass

    def make(self) -> bytes:
        return changed_text(self._rnd, self._seeds, self._words).encode()

    async def judge(self, octets: bytes) -> None:
        generation = Generation()
        try:
            load(octets.decode(), "Corefile", 53, generation)
        except CorefileError as error:
            for line in str(error).split("\n"):
                assert PLACED.match(line) or line.startswith("Corefile: no server block"), f"no place: {line}"
                assert line.isprintable(), f"not to be shown: {line!r}"
        finally:
            await generation.close()
