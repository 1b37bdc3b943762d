"""What an entry of the memo costs, by Python's own account, and what depends on what."""

import gc
import tracemalloc

from kdns.core.dependents import Dependents, FEW
from kdns.core.entries import Entry, Many
from kdns.core.memo import Memo
from kdns.core.served import Served

COUNT = 24_000


def everyday(memo: Memo) -> int:
    """Replies as a cluster's Pods ask for them: of each Service A, AAAA, and what three search lists miss. How many octets."""
    octets = 0
    for i in range(COUNT // 5):
        name = b"\x0dservice-%05d\x07team-%02d\x03svc\x07cluster\x05local" % (i, i % 40)
        for n in range(3):
            key = bytes(10) + name + b"\x07team-%02d\x03svc\x07cluster\x05local\0\0\1\0\1" % ((i + n) % 40)
            reply = key + bytes(50)
            memo.put(key, reply, (f"team-{(i + n) % 40:02}/local",), "negative")
            octets += len(key) + len(reply)
        for type in (b"\1", b"\x1c"):
            key = bytes(10) + name + b"\0\0" + type + b"\0\1"
            reply = key + bytes(40)
            memo.put(key, reply, (f"team-{i % 40:02}/service-{i:05}",), "positive")
            octets += len(key) + len(reply)
    return octets


def test_an_entry_costs_no_more_than_its_estimate_says() -> None:
    memo = Memo(lambda entry, hits: None, 1 << 30)
    everyday(memo)  # what Python keeps once, it has
    memo.clear()
    tracemalloc.start()
    try:
        content = everyday(memo)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert COUNT == len(memo)
    assert (taken - content) / COUNT < 300
    assert 0.9 < memo.size / taken < 1.15


class Spoken:
    """A line that takes 100 octets."""

    def write(self, served: Served) -> None: ...

    def __len__(self) -> int:
        return 100


def test_what_is_said_of_an_entry_counts() -> None:
    memo = Memo(lambda entry, hits: None)
    memo.put(b"key", b"reply", (), None)
    plain = memo.size
    memo.put(b"yek", b"reply", (), None, line=Spoken())
    assert 2 * plain + 100 == memo.size
    memo.clear()
    assert 0 == memo.size


def entry(name: str, *depends: str) -> Entry:
    return Entry(b"reply", None, name.encode(), tuple(depends), "label", 0)


def test_one_a_few_and_many_depend_on_a_key() -> None:
    for count in (1, 2, FEW, FEW + 1, 5 * FEW):
        dependents = Dependents()
        entries = [entry(f"{i}", "key", f"own{i % 3}") for i in range(count)]
        for each in entries:
            dependents.add(each)
        dependents.remove(entries[0])
        there = dependents.pop("key")
        assert {e.key for e in entries[1:]} == {e.key for e in (there.take(count) if isinstance(there, Many) else there)}
        assert not len(dependents.pop("key"))
        for each in entries[1:]:
            dependents.remove(each)
        assert {} == dependents._by_key


def test_what_depends_alike_shares_the_octets() -> None:
    dependents = Dependents()
    entries = [entry(f"{i}", "key", "other") for i in range(5 * FEW)]
    for each in entries:
        dependents.add(each)
    assert 1 == len({id(each.depends) for each in entries})


def test_the_collector_looks_at_nothing_of_it() -> None:
    """Else each of its rounds would take milliseconds for 48,000 entries that are not in the processor's cache."""
    dependents = Dependents()
    for key, count in (("one", 1), ("few", FEW), ("many", FEW + 1)):
        for i in range(count):
            dependents.add(entry(f"{key}-{i}", key))
        assert not gc.is_tracked(dependents._by_key)
    dependents.remove(next(iter(dependents.pop("few"))))
    assert not gc.is_tracked(dependents._by_key)
