"""Answers from elsewhere, kept for as long as their TTLs allow. No I/O; whoever asks brings the time.

Time here is whole seconds of a clock that never goes back: all TTLs count down together as a second begins, so what is made
from an entry has the same octets until then. An entry holds its records as one packed string, about 400 octets for an
address in all, and makes a Response of it when it is asked for.

Positive answers and denials (RFC 2308) have a number of places each, and together a budget of octets. Where either is used
up the oldest answers go; one that was asked for anew, and so took the place of an older one, counts as new. What an answer
depends on (the Service that was not there when it fell through) is kept in an index, and a
change there drops it. Asking, waiting and refreshing are the plugin's part.
"""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import msgspec

from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import ExtendedError, Key, Made, replace, Response, RRset
from kdns.dns.types import AD, ANY, CD, CNAME, NOERROR, NOTIMP, NXDOMAIN, OPT, RA, SERVFAIL, SOA, TC
from kdns.plugins.cache.kept import KeptAnswer

SUCCESS, DENIAL, FAILURE = "success", "denial", "failure"
CACHED_ERROR = 13  # an extended error (RFC 8914 4.14)
ANY_TYPE = OPT  # no question has this type
BUDGET = 32 << 20  # octets of all answers together
LARGEST = 16 << 10  # octets of records of one answer
OVERHEAD = 300  # octets of an entry beside its key, its records and what it depends on

Section = tuple[RRset, ...]
_Plain = tuple[tuple[str, int, int, tuple[bytes, ...]], ...]
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[_Plain, _Plain, _Plain, ExtendedError | None]).decode
_rrset = tuple.__new__  # half the time of RRset(…)


class Limits(NamedTuple):
    """How many answers, and for how many seconds: a longer TTL is cut to `most`, a shorter one raised to `least`."""

    capacity: int
    most: int
    least: int


def key_of(query: Query) -> str:
    """What an answer is kept by. DO and CD apart: with them an upstream says more, or what does not validate."""
    return query.name + chr(query.type) + "0123"[2 * query.do + (1 if query.flags & CD else 0)]


def _of_name(key: str) -> str:
    """The key under which it is kept that a name does not exist, whatever type is asked."""
    return key[:-2] + chr(ANY_TYPE) + key[-1]


def kind(response: Response, name: str, type: int) -> str | None:
    """What an answer to a question is to a cache, or None where it must not keep it.

    A truncated one is not kept, nor a denial without SOA (RFC 2308 5), a referral, an alias whose chain does not reach the
    type asked, and one whose chain branches or runs in circles.
    """
    if response.flags & TC:
        return None
    if response.answer and response.rcode == NOERROR and response.answer[0].type == type and response.answer[0].name == name:
        return SUCCESS
    if response.rcode in (SERVFAIL, NOTIMP):
        return FAILURE
    if response.rcode not in (NOERROR, NXDOMAIN):
        return None
    if response.answer:
        reached = _is_reached(response.answer, name, type)
        if reached is None:
            return None
        if reached and response.rcode == NOERROR:
            return SUCCESS
    return DENIAL if any(rrset.type == SOA for rrset in response.authority) else None


def _is_reached(answer: Section, name: str, type: int) -> bool | None:
    """Do aliases lead from a name to records of a type? None where the chain branches or runs in circles."""
    found = {(rrset.name, rrset.type): rrset.rdata for rrset in answer}
    if type == ANY:
        return any(owner == name for owner, _ in found)
    passed = set()
    while (name, type) not in found:
        targets = found.get((name, CNAME), ())
        if not targets:
            return False
        passed.add(name)
        name = names.text(targets[0].lower())
        if len(targets) > 1 or name in passed:
            return None
    return True


class Cache:
    """The answers of one server block. `failure`: seconds for SERVFAIL; `cut`: NXDOMAIN holds for names below (RFC 8020).

    `budget`: octets of all answers.
    """

    def __init__(
        self, success: Limits, denial: Limits, failure: int = 5, cut: bool = False, budget: int = BUDGET
    ) -> None:  # fmt: skip
        self.limits = {SUCCESS: success, DENIAL: denial}
        self.failure, self.cut, self.budget = failure, cut, budget
        self.entries: dict[str, dict[str, KeptAnswer]] = {SUCCESS: {}, DENIAL: {}}
        self.octets = {SUCCESS: 0, DENIAL: 0}
        self.evictions = {SUCCESS: 0, DENIAL: 0}
        self.changes = 0  # how often something was forgotten; what was asked before that and depends on it is not kept
        self._success, self._denial = self.entries[SUCCESS], self.entries[DENIAL]
        self._index: dict[Key, str | set[str]] = {}  # keys of entries by what they depend on; a set where there are several

    def __len__(self) -> int:
        return len(self._success) + len(self._denial)

    def find(self, key: str) -> KeptAnswer | None:
        """The entry of a key, fresh or not; of two the positive one."""
        entry = self._success.get(key) or self._denial.get(key)
        if entry is None and self.cut:
            return self._denial.get(_of_name(key))
        return entry

    def find_above(self, key: str, second: int) -> KeptAnswer | None:
        """A fresh entry that says that a name above that of a key does not exist: so neither does this one.

        Not in reverse zones: names below a missing one may be answered here, when a Service gets the address.
        """
        name, tail = key[:-2], _of_name(key)[-2:]
        if "\\" in name or name.endswith((names.IN_ADDR, names.IP6)):
            return None
        while name != ".":
            name = names.parent(name)
            entry = self._denial.get(name + tail)
            if entry is not None and entry.left(second) > 0:
                return entry
        return None

    def put(self, key: str, kind: str, response: Response, second: int, made: Made | None = None) -> Response:
        """Keep an answer of a kind in the place of what was kept of the key, unless it is too large.

        What comes back is what clients should see of it: its TTLs are within the limits, and it says how it was `made`.
        """
        made = made or response.made
        old = self.find(key)
        where = DENIAL if kind == FAILURE else kind
        limits = self.limits[where]
        ttl = self.failure
        if kind == FAILURE:
            response = response if made is response.made else replace(response, made=made)
        else:
            response, ttl = _limited(response, limits, kind == DENIAL, made)
        if old is not None:
            self.drop(key)
        if ttl <= 0 or limits.capacity <= 0:
            return response
        if self.cut and response.rcode == NXDOMAIN and not response.answer:
            key = _of_name(key)
        packed = _pack((response.answer, response.authority, response.additional, response.error))
        if len(packed) > LARGEST:
            return response
        entry = KeptAnswer(key, kind, response.rcode, response.flags & (RA | AD), second, ttl, packed, response.depends)
        if old is not None:
            entry.hits, entry.last = old.hits, old.last
        self._add(where, entry)
        return response

    def _add(self, where: str, entry: KeptAnswer) -> None:
        if len(self.entries[where]) >= self.limits[where].capacity:
            self._evict(where)
        size, octets = _size(entry), self.octets
        while octets[SUCCESS] + octets[DENIAL] + size > self.budget and len(self):
            self._evict(SUCCESS if octets[SUCCESS] >= octets[DENIAL] else DENIAL)
        octets[where] += size
        self.entries[where][entry.key] = entry
        for key in entry.depends:
            there = self._index.get(key)
            if there is None:
                self._index[key] = entry.key
            elif isinstance(there, set):
                there.add(entry.key)
            elif there != entry.key:
                self._index[key] = {there, entry.key}

    def _evict(self, where: str) -> None:
        """The oldest go, several at once: a dictionary is slow to find its first key behind many that are gone."""
        oldest = list(islice(self.entries[where].values(), max(1, len(self.entries[where]) // 128)))
        self.evictions[where] += len(oldest)
        for gone in oldest:
            self._remove(gone)

    def _remove(self, entry: KeptAnswer | None) -> None:
        if entry is None:
            return
        where = DENIAL if entry.kind == FAILURE else entry.kind
        del self.entries[where][entry.key]
        self.octets[where] -= _size(entry)
        for key in entry.depends:
            there = self._index.get(key)
            if isinstance(there, set):
                there.discard(entry.key)
                if not there:
                    del self._index[key]
            elif there == entry.key:
                del self._index[key]

    def drop(self, key: str) -> None:
        """Forget what was kept of a key."""
        self._remove(self._success.get(key))
        self._remove(self._denial.get(key))
        if self.cut:
            self._remove(self._denial.get(_of_name(key)))

    def flush(self, name: str) -> int:
        """Forget a name; how many answers those were."""
        found = {key for entries in self.entries.values() for key in entries if key[:-2] == name}
        for key in found:
            self.drop(key)
        return len(found)

    def forget(self, keys: Iterable[Key]) -> None:
        """Something changed: what depends on one of the keys is dropped."""
        self.changes += 1
        for changed in keys:
            there = self._index.get(changed)
            if there is not None:
                for key in list(there) if isinstance(there, set) else (there,):
                    self.drop(key)


def _size(entry: KeptAnswer) -> int:
    """Octets that an entry takes, about."""
    size = OVERHEAD + len(entry.key) + len(entry.packed)
    return size + sum(map(len, entry.depends)) if entry.depends else size


HIT, STALE = Made("cache", cached="hit"), Made("cache", cached="stale")


def fresh_response(entry: KeptAnswer, second: int, keepttl: bool = False) -> Response:
    """A Response as the entry says now, its TTLs counted down; `stable_for` is the caller's to say."""
    answer, authority, additional, error = _unpack(entry.packed)
    past = 0 if keepttl else second - entry.born
    if entry.kind == FAILURE:
        error = ExtendedError(CACHED_ERROR, error.text if error is not None else "it failed a moment ago")
    return Response(
        rcode=entry.rcode, authoritative=False, flags=entry.flags, answer=_aged(answer, past),
        authority=_aged(authority, past), additional=_aged(additional, past), depends=entry.depends, foreign=True,
        made=HIT, error=error,
    )  # fmt: skip


_STALE, _STALE_NXDOMAIN = ExtendedError(3, "Stale Answer"), ExtendedError(19, "Stale NXDOMAIN Answer")


def stale_response(entry: KeptAnswer, ttl: int) -> Response:
    """A Response as the entry said before its TTL was over (RFC 8767 4), and that it is stale (RFC 8914 4.4, 4.20)."""
    answer, authority, additional, _ = _unpack(entry.packed)
    error = _STALE_NXDOMAIN if entry.rcode == NXDOMAIN else _STALE
    return Response(
        rcode=entry.rcode, authoritative=False, flags=entry.flags & ~AD, answer=_lasting(answer, ttl),
        authority=_lasting(authority, ttl), additional=_lasting(additional, ttl), depends=entry.depends, foreign=True,
        made=STALE, error=error,
    )  # fmt: skip


def _aged(section: _Plain, past: int) -> Section:
    return tuple([_rrset(RRset, (name, type, ttl - past, rdata)) for name, type, ttl, rdata in section])


def _lasting(section: _Plain, ttl: int) -> Section:
    return tuple([RRset(name, type, ttl, rdata) for name, type, _, rdata in section])


def _limited(response: Response, limits: Limits, denial: bool, made: Made) -> tuple[Response, int]:
    """The answer as it was made, with all its TTLs within limits, and the least of these."""
    if len(response.answer) == 1 and not (denial or response.authority or response.additional):
        name, type, ttl, rdata = response.answer[0]
        ttl = min(max(0 if ttl >> 31 else ttl, limits.least), limits.most)
        return replace(response, answer=(_rrset(RRset, (name, type, ttl, rdata)),), made=made), ttl
    shortest = limits.most
    sections = []
    for section in (response.answer, response.authority, response.additional):
        out = []
        for rrset in section:
            ttl = min(max(_ttl(rrset, denial), limits.least), limits.most)
            shortest = min(shortest, ttl)
            out.append(_rrset(RRset, (rrset.name, rrset.type, ttl, rrset.rdata)))
        sections.append(tuple(out))
    answer, authority, additional = sections
    return replace(response, answer=answer, authority=authority, additional=additional, made=made), shortest


def _ttl(rrset: RRset, denial: bool) -> int:
    """Seconds: 0 where the highest bit is set (RFC 2181 8); of a denial's SOA at most its minimum (RFC 2308 5)."""
    ttl = 0 if rrset.ttl >> 31 else rrset.ttl
    if denial and rrset.type == SOA:
        ttl = min(ttl, int.from_bytes(rrset.rdata[0][-4:], "big"))
    return ttl
