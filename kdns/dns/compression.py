"""The names of one message, each of them written once (RFC 1035 4.1.4). No I/O.

Owner names are compressed, and the names in rdata of the types that RFC 1035 defined and that are in use. No other type's:
RFC 3597 4 forbids it, for SRV too (RFC 2782). Names in rdata keep their spelling (RFC 4343 4): they point at what is spelled
alike. Owner names, which are lower case in kdns, point at what is the same name, as the question in the client's spelling.
"""

from functools import lru_cache

from kdns.dns import names
from kdns.dns.types import CNAME, MX, NS, PTR, SOA

COMPRESSED = {NS: 0, CNAME: 0, SOA: 0, PTR: 0, MX: 2}  # types with names to compress, and the octets before these
REACH = 0x4000  # a pointer leads to an octet before this one
POINTER = 0xC000

_wire = lru_cache(1024)(names.wire)  # the targets of aliases come again and again


class Places:
    """Where names stand in a message that begins with a question."""

    __slots__ = ("_asked", "_begun", "_folded", "_places", "_plain", "_question", "_spelt", "cls")

    def __init__(self, asked: str, question: bytes) -> None:
        self._asked = asked
        self._plain = "\\" not in asked
        self._spelt = question[:-4]
        self.cls = int.from_bytes(question[-2:], "big")  # of records: the question's, unless somebody says otherwise
        self._question = self._spelt.lower()  # the octets of lengths are no letters
        self._places: dict[bytes, int] = {}  # of names, by their octets
        self._folded: dict[bytes, int] = {}  # of names with capitals, by their octets in lower case
        self._begun = False  # the question's own are among them

    def owner(self, name: str, at: int) -> bytes:
        """An owner name to stand at `at`.

        Without escapes a name has one character less than octets, so where an end of the question stands is a subtraction:
        most owners are the question, stand above it, or have one label below such a name.
        """
        asked = self._asked
        if name == asked:
            return b"\xc0\x0c"
        if not self._plain or "\\" in name or name == ".":
            return self._written(_wire(name), at, True)
        if asked.endswith("." + name):
            return (POINTER | 12 + len(asked) - len(name)).to_bytes(2, "big")
        label, _, rest = name.partition(".")
        above = len(asked) - len(rest)
        if not rest or not asked.endswith(rest) or (above and asked[above - 1] != "."):
            return self._written(_wire(name), at, True)
        octets = bytes((len(label),)) + label.encode()
        whole = octets + self._question[above:]
        there = self._places.get(whole) or self._folded.get(whole)
        if there is not None:
            return (POINTER | there).to_bytes(2, "big")
        if at < REACH:
            (self._places if self._spelt == self._question else self._folded)[whole] = at
        return octets + (POINTER | 12 + above).to_bytes(2, "big")

    def _written(self, wire: bytes, at: int, is_owner: bool = False) -> bytes:
        """A name to stand at `at`: its labels up to one that is there already, and a pointer to that."""
        places = self._places
        if not self._begun and wire[-2:-1].lower() == self._question[-2:-1]:  # else they have no label in common
            self._begun = True
            self._add(self._spelt, 12, len(self._spelt))
        if wire in places:  # an alias's target, as the owner of what follows
            return (POINTER | places[wire]).to_bytes(2, "big")
        for start in names.starts(wire):
            rest = wire[start:]
            there = places.get(rest)
            if there is None and is_owner:
                there = self._folded.get(rest)
            if there is not None:
                self._add(wire, at, start)
                return wire[:start] + (POINTER | there).to_bytes(2, "big")
        self._add(wire, at, len(wire))
        return wire

    def _add(self, wire: bytes, at: int, written: int) -> None:
        """A name stands at `at`, so many octets of it as labels."""
        low = wire.lower()
        for start in names.starts(wire):
            if start >= written or at + start >= REACH:
                return
            self._places.setdefault(wire[start:], at + start)
            if low != wire:
                self._folded.setdefault(low[start:], at + start)

    def rdata(self, type: int, octets: bytes, at: int) -> bytes:
        """The rdata of a type in COMPRESSED, to stand at `at`."""
        before = COMPRESSED[type]
        if type != SOA:
            return octets[:before] + self._written(octets[before:], at + before)
        end = names.end(octets)
        first = self._written(octets[:end], at)
        after = names.end(octets, end)
        return first + self._written(octets[end:after], at + len(first)) + octets[after:]
