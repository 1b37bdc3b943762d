"""Zone files: text to records (RFC 1035 5.1, RFC 2308 4 for $TTL). No I/O: the caller reads files.

The lines are taken apart here, and only rdata is left to dnspython: its own reader takes 60 µs a record where this one takes 6,
opens included files by itself, and says nothing of records that are not in the zone. $GENERATE, an invention of BIND, is refused.
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from kdns.dns import names, rdata
from kdns.dns.response import RRset
from kdns.dns.types import ANY, CNAME, NSEC, OPT, RRSIG, SOA, type_number
from kdns.dns.zone import Timers
from kdns.errors import FileError, ZoneFileError

DEEPEST = 10  # files that include each other
MOST_TTL = 2**31 - 1  # seconds (RFC 2181 8)

_TOKEN = re.compile(
    r"""(?P<blank>[^\S\n]+) | (?P<comment>;[^\n]*) | (?P<newline>\n) | (?P<open>\() | (?P<close>\))
    | (?P<word>"(?:[^"\\\n]|\\.)*" | (?:[^\s;()"\\]|\\.)+(?:"(?:[^"\\\n]|\\.)*")?) | (?P<wrong>.)""",
    re.VERBOSE,
)
_TTL = re.compile(r"[0-9]{1,10}|(?:[0-9]{1,10}[smhdw])+", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_CLASSES = re.compile(r"CH|HS|CS|CLASS[0-9]+", re.IGNORECASE)


class Master(NamedTuple):
    """What zone files say: RRsets of a record each, the files that were read, and what is amiss though it is served."""

    rrsets: list[RRset]
    files: tuple[str, ...]
    remarks: tuple[str, ...]


def read(path: str, origin: str, text_of: Callable[[str], str]) -> Master:
    """The records of a zone from the file at a path and those that it includes.

    `text_of` reads a file, or raises FileError; a path in $INCLUDE is relative to the file that it stands in. ZoneFileError
    (`db.example:12: A: '10.0.0' is not an IP address`) where it cannot be served.
    """
    reader = _Reader(origin, text_of)
    reader.file(path, origin)
    if reader.soa is None:
        raise ZoneFileError(f"{path}: has no SOA record at {origin}")
    return Master(reader.rrsets, tuple(dict.fromkeys(reader.files)), (*reader.outside(), *reader.beside_aliases()))


def record(text: str, ttl: int = 3600) -> RRset:
    """The one record that a text says, `a.example. 60 IN A 192.0.2.1`, of whatever class; ValueError where it is none.

    Names in it are relative to the root; a record that states no TTL has this one (seconds).
    """
    entries = list(_lines(text.strip()))
    if len(entries) != 1:
        raise ValueError(f"'{text}' is not one record")
    _, _, (owner, *words) = entries[0]
    for word in words[:2]:
        seconds = _seconds(word)
        if seconds is not None:
            ttl = seconds
        elif word.upper() != "IN" and not _CLASSES.fullmatch(word):
            break
        del words[0]
    if not words:
        raise ValueError(f"'{text}' has no type")
    type = _type(words[0].upper())
    return RRset(names.absolute(names.relative(owner, ".")), type, ttl, (rdata.to_wire(type, " ".join(words[1:]), "."),))


class _Unbalanced(ValueError):
    """What begins on a line and does not end."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


class _Reader:
    """What is known so far of the zone."""

    def __init__(self, origin: str, text_of: Callable[[str], str]) -> None:
        self.zone = origin
        self.text_of = text_of
        self.rrsets: list[RRset] = []
        self.files: list[str] = []
        self.soa: RRset | None = None
        self._depth = 0
        self._ttl: int | None = None  # of $TTL
        self._last: int | None = None  # the one stated last (RFC 1035 5.1)
        self._outsiders: list[str] = []  # the first record that is not in the zone
        self._out = 0  # how many more there are
        self._aliases: dict[str, str] = {}  # owner names of CNAMEs, and where they stand

    def file(self, path: str, origin: str) -> None:
        """Read a file from an origin on."""
        self.files.append(path)
        self._depth += 1
        owner = ""
        line = 1
        try:
            for line, is_indented, words in _lines(self.text_of(path)):
                if words[0].startswith("$") and not is_indented:
                    origin = self._directive(path, line, origin, words)
                    continue
                if not is_indented:
                    owner = names.absolute(names.relative(words[0], origin))
                elif not owner:
                    raise ValueError("the first record has no owner name")
                self._record(f"{path}:{line}", owner, words if is_indented else words[1:], origin)
        except ValueError as error:
            at = error.line if isinstance(error, _Unbalanced) else line
            raise ZoneFileError(f"{path}:{at}: {error}") from None
        self._depth -= 1

    def _directive(self, path: str, line: int, origin: str, words: list[str]) -> str:
        """A line that begins with "$"; the origin from here on."""
        match words:
            case [word, text] if word.upper() == "$TTL":
                self._ttl = _seconds(text)
                if self._ttl is None:
                    raise ValueError(f"'{text}' is not a time to live in seconds, such as 300 or 1h")
            case [word, text] if word.upper() == "$ORIGIN":
                return names.absolute(names.relative(text, origin))
            case [word, text, *below] if word.upper() == "$INCLUDE" and len(below) < 2:
                self._include(path, text.strip('"'), names.absolute(names.relative(below[0], origin)) if below else origin)
            case [word, *_] if word.upper() == "$GENERATE":
                raise ValueError("$GENERATE is not served: write its records out")
            case [word, *_] if word.upper() in ("$TTL", "$ORIGIN", "$INCLUDE"):
                raise ValueError(f"{word} has {len(words) - 1} words after it")
            case [word, *_]:
                raise ValueError(f"unknown word '{word}': there are $TTL, $ORIGIN and $INCLUDE")
        return origin

    def _include(self, path: str, other: str, origin: str) -> None:
        if self._depth >= DEEPEST:
            raise ValueError(f"{other} is included {DEEPEST} deep: does it include itself?")
        try:
            self.file(posixpath.join(posixpath.dirname(path), other), origin)
        except FileError as error:
            raise ValueError(f"{other}: {error.why}") from None

    def _record(self, place: str, owner: str, words: list[str], origin: str) -> None:
        """`[TTL] [class] type rdata`, class and TTL in either order."""
        ttl, at = None, 0
        for word in words[:2]:
            if ttl is None and (ttl := _seconds(word)) is not None:
                self._last = ttl
            elif _CLASSES.fullmatch(word):
                raise ValueError(f"class {word} is not served: only IN is")
            elif word.upper() != "IN" or "IN" in map(str.upper, words[:at]):
                break
            at += 1
        if at == len(words):
            raise ValueError(f"the record of {owner} has no type")
        kind = words[at].upper()
        type = _type(kind)
        if not names.is_below(owner, self.zone):
            self._outsiders = self._outsiders or [f"{place}: {owner} is not in the zone {self.zone} and is left out"]
            self._out += 1
            return
        try:
            octets = rdata.to_wire(type, " ".join(words[at + 1 :]), origin)
        except ValueError as error:
            raise ValueError(f"{kind}: {error}") from None
        if ttl is None:
            ttl = self._default(type, octets)
        rrset = RRset(owner, type, ttl, (octets,))
        if type == SOA:
            self._top(rrset)
        elif type == CNAME:
            self._aliases.setdefault(owner, place)
        self.rrsets.append(rrset)

    def _default(self, type: int, octets: bytes) -> int:
        """The TTL of a record that states none."""
        if self._ttl is not None:
            return self._ttl
        if self._last is not None:
            return self._last
        if type == SOA:
            return Timers.of(octets).minimum
        if self.soa is not None:
            return Timers.of(self.soa.rdata[0]).minimum
        raise ValueError("the record has no TTL: state one, or put $TTL above it")

    def _top(self, rrset: RRset) -> None:
        if rrset.name != self.zone:
            raise ValueError(f"the SOA record of {rrset.name} is not that of the zone {self.zone}")
        if self.soa is not None and self.soa.rdata != rrset.rdata:
            raise ValueError("a second SOA record: a zone has one")
        self.soa = rrset

    def outside(self) -> Iterator[str]:
        """What is said of records that are not in the zone: of the first, and how many more there are."""
        for first in self._outsiders:
            yield first + (f", with {self._out - 1} more" if self._out > 1 else "")

    def beside_aliases(self) -> Iterator[str]:
        """What is said of names that are aliases and have other records (RFC 1034 3.6.2)."""
        first: dict[str, tuple[int, bytes]] = {}
        for owner, type, _, (octets,) in self.rrsets:
            if owner in self._aliases and type not in (NSEC, RRSIG) and first.setdefault(owner, (type, octets)) != (type, octets):
                left = "the alias is left out" if owner == self.zone else "they are left out"
                yield f"{self._aliases.pop(owner)}: {owner} is an alias and has other records: {left}"


def _type(kind: str) -> int:
    """The number of a type; ValueError where it is none that a record may have."""
    number = type_number(kind)
    if number == OPT or 249 <= number <= ANY or not number:  # those of queries (RFC 6895 3.1)
        raise ValueError(f"no record is of type {kind}")
    return number


def _seconds(text: str) -> int | None:
    """A TTL, `300` or `1h30m`; None where it is none."""
    if not _TTL.fullmatch(text):
        return None
    total = sum(int(n) * _UNITS[unit.lower() or "s"] for n, unit in re.findall(r"([0-9]+)([a-zA-Z]?)", text))
    return total if total <= MOST_TTL else None


def _lines(text: str) -> Iterator[tuple[int, bool, list[str]]]:
    """The entries of a text: (the line where one begins, is it indented, its words); strings keep their quotes.

    _Unbalanced where the text is not made of such.
    """
    line = start = opened = 1
    depth = 0
    is_indented = False
    words: list[str] = []
    at = 1 if text.startswith("\ufeff") else 0
    for token in _TOKEN.finditer(text + "\n", at):
        kind = token.lastgroup
        if kind == "word":
            if not words:
                start = line
            words.append(token.group())
        elif kind == "blank":
            is_indented = is_indented or not words
        elif kind == "newline":
            line += 1
            if not depth:
                if words:
                    yield start, is_indented, words
                is_indented, words = False, []
        elif kind == "open":
            opened = line
            depth += 1
        elif kind == "close":
            depth -= 1
            if depth < 0:
                raise _Unbalanced("')' without '('", line)
        elif kind == "wrong":
            what = "a string that does not end on its line" if token.group() == '"' else "a backslash at the end of a line"
            raise _Unbalanced(what, line)
    if depth:
        raise _Unbalanced("'(' without ')'", opened)
