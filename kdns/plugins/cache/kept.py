"""An answer that *cache* keeps.

There are many, and the garbage collector need not look at any. mypyc drops the word that says so behind a class's name
(`gc=False`), so this module is not compiled.
"""

import msgspec

from kdns.dns.response import Key


class KeptAnswer(msgspec.Struct, gc=False):
    """One answer. `born` and `failed` (when it could last not be refreshed, or -1) are seconds of the clock."""

    key: str
    kind: str
    rcode: int
    flags: int
    born: int
    ttl: int  # seconds, of the shortest RRset
    packed: bytes
    depends: tuple[Key, ...]
    failed: int = -1
    hits: int = 0  # asked so often without a gap, and when last
    last: int = 0

    def left(self, second: int) -> int:
        """Seconds until it is stale: 0 and less where it is."""
        return self.born + self.ttl - second
