"""The memo: what it keeps, what it forgets, what it counts; against a plain dictionary."""

from collections import Counter
from collections.abc import Callable

import dns.message
from hypothesis import given
from hypothesis import strategies as st

from kdns.core.entries import Entry
from kdns.core.memo import Memo, SLICE
from kdns.dns.encoding import encode
from kdns.dns.query import Query
from kdns.dns.response import Response, RRset
from kdns.dns.ring import Ring
from kdns.dns.types import A


def made(budget: int = 1 << 20) -> tuple[Memo, Counter[str]]:
    counted: Counter[str] = Counter()

    def fold(entry: Entry, hits: int) -> None:
        counted[entry.label] += hits

    return Memo(fold, budget), counted


def hit(memo: Memo, key: bytes) -> bytes | None:
    """As the socket's side does it."""
    entry = memo.find(key)
    if entry is None or entry.reply is None:
        entry = memo.get(key)
        if entry is None:
            return None
    entry.hits += 1
    return entry.reply or (entry.ring.turn() if entry.ring else None)


def test_a_reply_is_kept_until_something_it_depends_on_changes() -> None:
    memo, counted = made()
    memo.put(b"web", b"1", ("prod/web", b"\x0a\0\0\1"), "web")
    memo.put(b"db", b"2", ("prod/db",), "db")
    assert b"1" == hit(memo, b"web")
    memo.forget(["prod/other"])
    assert b"1" == hit(memo, b"web")
    memo.forget([b"\x0a\0\0\1"])
    assert hit(memo, b"web") is None
    assert b"2" == hit(memo, b"db")
    assert 1 == memo.forgotten
    assert Counter(web=2) == counted  # counted when it died
    memo.fold()
    assert Counter(web=2, db=1) == counted


def test_a_forgotten_reply_can_come_back() -> None:
    memo, _ = made()
    memo.put(b"q", b"old", ("k",), "q")
    memo.forget(["k"])
    memo.put(b"q", b"new", ("k",), "q")
    assert b"new" == hit(memo, b"q")
    memo.forget(["k"])
    assert hit(memo, b"q") is None


def test_a_scan_of_names_does_not_flush_what_is_hot() -> None:
    memo, counted = made(200_000)
    memo.put(b"hot", b"reply", ("hot",), "hot")
    asked = 0
    for i in range(5000):
        memo.put(b"scan%d" % i, b"x" * 100, (f"n{i}",), "scan")
        if i % 50 == 0:
            asked += 1
            assert b"reply" == hit(memo, b"hot")
    assert memo.size <= 200_000 + 1000
    assert len(memo) < 600
    memo.forget(["hot"])
    assert hit(memo, b"hot") is None
    assert Counter(hot=asked) == counted


def test_hits_of_what_leaves_are_counted() -> None:
    memo, counted = made(50_000)
    for i in range(1000):
        memo.put(b"%d" % i, b"x" * 50, (), "all")
        assert hit(memo, b"%d" % i)
    memo.fold()
    assert Counter(all=1000) == counted
    memo.clear()
    assert 0 == len(memo) == memo.size
    assert Counter(all=1000) == counted


def test_the_fleeting_die_at_the_tick() -> None:
    memo, _ = made()
    memo.put(b"cached", b"1", (), "c", fleeting=True)
    memo.put(b"own", b"2", ("k",), "o")
    memo.tick()
    assert hit(memo, b"cached") is None
    assert b"2" == hit(memo, b"own")


def test_a_ring_is_replayed() -> None:
    memo, _ = made()
    addresses = tuple(bytes((10, 0, 0, i)) for i in range(3))
    ring = encode(Query("web.", A), Response(answer=(RRset("web.", A, 5, addresses),), rotate=True))
    assert isinstance(ring, Ring)
    memo.put(b"web", ring, ("k",), "w")
    turns = [hit(memo, b"web") for _ in range(6)]
    assert 3 == len({reply[-20:-16] for reply in turns[1:4] if reply})


def test_nothing_is_kept_of_what_died() -> None:
    """By another key, by a tick, or for want of room; be they one, a few or many of a key."""
    memo, _ = made(50_000)
    for count in (1, 3, 30):
        for i in range(50 * count):
            memo.put(b"%d" % i, b"reply", (f"quiet{i % 50}", "busy"), "q", fleeting=i % 2 == 0)
        memo.tick()
        memo.forget(["busy"])
        assert (0, 0) == (len(memo), memo.size)
        assert {} == memo._dependents._by_key


def test_a_name_is_looked_for_in_slices() -> None:
    memo, _ = made(1 << 30)
    asked = dns.message.make_query("web.example", "A").to_wire()[2:]
    for i in range(3 * SLICE):
        memo.put(b"%d" % i, b"reply", (), "other")
    memo.put(asked, b"reply", (), "web")
    found = [[entry.key for entry in some] for some in memo.at(b"\3web\7example\0")]
    assert [[], [], [], [asked]] == found
    assert (1, 0) == (memo.flush(b"\3web\7example\0"), memo.flush(b"\3web\7example\0"))


def test_very_many_replies_are_dead_at_once_and_buried_in_slices() -> None:
    turns: list[Callable[[], None]] = []
    counted: Counter[str] = Counter()
    memo = Memo(lambda entry, hits: counted.update({entry.label: hits}), 1 << 30, turns.append)
    for i in range(10 * SLICE):
        memo.put(b"%d" % i, b"reply", ("crowded", f"own{i}"), "crowd")
    memo.put(b"other", b"reply", ("quiet",), "other")
    assert b"reply" == hit(memo, b"5")
    memo.forget(["crowded"])
    assert memo.forgotten <= SLICE  # no more than a slice is done at once
    assert [None] * 10 == [hit(memo, b"%d" % i) for i in range(0, 10 * SLICE, SLICE)]
    assert b"reply" == hit(memo, b"other")
    memo.put(b"5", b"new", ("crowded",), "new")
    assert b"new" == hit(memo, b"5")
    steps = 0
    while turns:
        before = memo.forgotten
        turns.pop(0)()
        steps += 1
        assert memo.forgotten - before <= SLICE
    assert 10 * SLICE == memo.forgotten
    assert steps >= 9
    assert (b"new", b"reply", None) == (hit(memo, b"5"), hit(memo, b"other"), hit(memo, b"7"))
    memo.fold()
    assert Counter(crowd=1, new=2, other=2) == counted


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 30), st.sets(st.integers(0, 5), max_size=3)),
        st.tuples(st.just("forget"), st.integers(0, 5)),
        st.tuples(st.just("ask"), st.integers(0, 30)),
        st.tuples(st.just("tick")),
    ),
    max_size=200,
)


@given(ACTIONS, st.sampled_from([3_000, 20_000, 1 << 20]))
def test_it_never_says_what_was_forgotten(actions: list[tuple[object, ...]], budget: int) -> None:
    memo, counted = made(budget)
    model: dict[bytes, tuple[bytes, set[str]]] = {}
    hits = 0
    for n, action in enumerate(actions):
        match action:
            case ("put", int(q), set(ks)):
                key, depends = b"%d" % q, {f"k{k}" for k in ks}
                if hit(memo, key) is not None:
                    hits += 1
                    continue
                model[key] = (b"%d" % n, depends)
                memo.put(key, b"%d" % n, tuple(depends), "any")
            case ("forget", int(k)):
                memo.forget([f"k{k}"])
                model = {key: v for key, v in model.items() if f"k{k}" not in v[1]}
            case ("ask", int(q)):
                reply = hit(memo, b"%d" % q)
                hits += reply is not None
                kept = model.get(b"%d" % q, (None,))[0]
                assert reply == kept or (reply is None and budget < 1 << 20)  # with room, nothing goes unforgotten
            case _:
                memo.tick()
    memo.fold()
    assert hits == counted["any"]


def test_what_goes_for_want_of_room_is_counted() -> None:
    """But not what was dead before it went."""
    memo, _ = made(20_000)
    for i in range(200):
        memo.put(b"%d" % i, b"x", ("k",), "x")
    assert 200 == memo.evicted + len(memo)
    assert memo.evicted > 100
    evicted = memo.evicted
    memo.forget(["k"])
    for i in range(200, 200 + len(memo)):  # as many as push out all that is dead
        memo.put(b"%d" % i, b"x", ("other",), "x")
    assert memo.evicted == evicted
