import asyncio
import math
import random
from collections import Counter
from pathlib import Path

import dns.message
import pytest

from kdns.core.generation import Generation
from kdns.dns import names
from kdns.dns.query import Query, Transport
from kdns.dns.response import Response, RRset
from kdns.dns.ring import Ring
from kdns.dns.types import A, AAAA, CNAME, MX, SRV
from kdns.plugins.loadbalance import LoadBalance, parse_weights
from tests.support.configured import answers, ask, CLIENT, generation_of, in_block, listener_of, LOCAL

ADDRESSES = [f"10.0.0.{n}" for n in range(1, 8)]
PODS = RRset("example.org.", A, 5, tuple(map(names.packed, ADDRESSES)))
STABLE = Response(answer=(PODS,), stable_for=60, depends=("default/pods",))
MAIL = RRset("example.org.", MX, 5, tuple(bytes((0, 10)) + names.wire(f"mx{n}.example.org.") for n in range(3)))
ALIAS = RRset("example.org.", CNAME, 5, (names.wire("www.example.org."),))
TARGETS = PODS._replace(name="www.example.org.")

UNLIKELY = {2: 27.6, 6: 38.3}  # chi-square by degrees of freedom, once in a million


def chi_square(counts: Counter[str], shares: dict[str, float]) -> float:
    total = counts.total()
    whole = sum(shares.values())
    return sum((counts[key] - total * share / whole) ** 2 / (total * share / whole) for key, share in shares.items())


def first_and_fourth(reply: bytes) -> tuple[str, str]:
    order = sorted(ADDRESSES, key=lambda address: reply.index(names.packed(address)))
    return order[0], order[3]


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_every_address_stands_everywhere_equally_often(transport: Transport) -> None:
    generation = generation_of(in_block("loadbalance"), STABLE)
    wire = dns.message.make_query("example.org", "A").to_wire()

    async def run() -> tuple[Counter[str], Counter[str]]:
        first: Counter[str] = Counter()
        fourth: Counter[str] = Counter()
        for _ in range(10_000):
            reply = await listener_of(generation).reply(wire, CLIENT, LOCAL, transport)
            assert reply is not None
            one, four = first_and_fourth(reply)
            first[one] += 1
            fourth[four] += 1
        return first, fourth

    for counts in asyncio.run(run()):
        assert chi_square(counts, dict.fromkeys(ADDRESSES, 1)) < UNLIKELY[6]


def test_the_memo_turns_the_addresses() -> None:
    generation = generation_of(in_block("loadbalance"), STABLE)
    wire = dns.message.make_query("example.org", "A").to_wire()
    asyncio.run(listener_of(generation).reply(wire, CLIENT, LOCAL, Transport.UDP))
    entry = listener_of(generation).memo.get(wire[2:])
    assert entry is not None and isinstance(entry.ring, Ring)
    assert ("default/pods",) == entry.depends
    seen = [first_and_fourth(b"id" + entry.ring.turn())[0] for _ in range(14)]
    assert [ADDRESSES] * 2 == [sorted(seen[:7]), sorted(seen[7:])]


def test_srv_records_that_do_not_all_fit_turn() -> None:
    """All of them come to stand in some reply; where they fit, their order stays."""
    records = tuple(bytes(5) + bytes((i,)) + names.wire(f"pod-{i}.example.org.") for i in range(60))
    for count, seen in ((60, 60), (3, 3)):
        rrset = RRset("example.org.", SRV, 5, records[:count])
        generation = generation_of(in_block("loadbalance"), Response(answer=(rrset,), stable_for=math.inf, depends=("x",)))
        wire = dns.message.make_query("example.org", "SRV").to_wire()
        listener = listener_of(generation)
        asyncio.run(listener.reply(wire, CLIENT, LOCAL, Transport.UDP))
        replies = [listener.replay(wire[2:], CLIENT, Transport.UDP) for _ in range(200)]
        found = [[rr.port for rr in dns.message.from_wire(wire[:2] + reply).answer[0]] for reply in replies if reply]  # type: ignore[attr-defined]
        assert (200, seen) == (len(found), len({port for ports in found for port in ports}))
        assert (count == 60) == (len({tuple(ports) for ports in found}) > 1)


def through(block: str, response: Response, type: int = A) -> Response:
    """What the plugin makes of a response."""
    generation = generation_of(in_block(block), response)
    return asyncio.run(generation.blocks[0].answer(Query("example.org.", type)))


@pytest.mark.parametrize(
    ("answer", "rotate", "stable_for"),
    [
        ((PODS,), True, 60),
        ((PODS._replace(rdata=PODS.rdata[:1]),), False, 60),
        ((ALIAS, TARGETS), True, 60),
        ((), False, 60),
        ((MAIL,), False, 0),
        ((MAIL._replace(rdata=MAIL.rdata[:1]),), False, 60),
    ],
    ids=["addresses", "one address", "alias", "nothing", "mail", "one mail"],
)
def test_what_turns(answer: tuple[RRset, ...], rotate: bool, stable_for: float) -> None:
    made = through("loadbalance round_robin", Response(answer=answer, stable_for=60, depends=("a/b",)))
    assert (rotate, stable_for, ("a/b",)) == (made.rotate, made.stable_for, made.depends)
    assert [(rrset.name, rrset.type, sorted(rrset.rdata)) for rrset in answer] == [
        (rrset.name, rrset.type, sorted(rrset.rdata)) for rrset in made.answer
    ]


def test_aliases_stand_before_addresses() -> None:
    made = through("loadbalance", Response(answer=(TARGETS, ALIAS)))
    assert ((ALIAS, TARGETS), True) == (made.answer, made.rotate)


def test_mail_is_shuffled() -> None:
    firsts = {through("loadbalance", Response(answer=(MAIL,)), MX).answer[0].rdata[0] for _ in range(100)}
    assert set(MAIL.rdata) == firsts


def replies(generation: Generation, times: int, type: str = "A") -> list[list[str]]:
    async def run() -> list[list[str]]:
        return [answers(await ask(generation, "example.org", type)) for _ in range(times)]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("prefer", "front"),
    [
        ("10.0.0.6/31", [{"10.0.0.6", "10.0.0.7"}]),
        ("10.0.0.3/32 10.0.0.6/31", [{"10.0.0.3"}, {"10.0.0.6", "10.0.0.7"}]),
        ("2001:db8::/32 10.0.0.0/30", [{"10.0.0.1", "10.0.0.2", "10.0.0.3"}]),
    ],
)
def test_prefixes_that_are_preferred(prefer: str, front: list[set[str]]) -> None:
    generation = generation_of(in_block(f"loadbalance {{\nprefer {prefer}\n}}"), STABLE)
    for reply in (seen := replies(generation, 60)):
        at = 0
        for group in front:
            assert group == set(reply[at : at + len(group)])
            at += len(group)
        assert set(ADDRESSES) == set(reply)
    assert len({reply[-1] for reply in seen}) == len(ADDRESSES) - sum(map(len, front))
    assert 0 == len(listener_of(generation).memo)


def test_where_nothing_or_all_is_preferred_the_memo_serves() -> None:
    for prefer in ("192.168.0.0/16", "10.0.0.0/8"):
        made = through(f"loadbalance {{\nprefer {prefer}\n}}", STABLE)
        assert (True, 60) == (made.rotate, made.stable_for)


WEIGHTS = "# a comment\n\nexample.org\n10.0.0.1 3\n10.0.0.2 1\n10.0.0.3 2\n"


def weighted(path: Path, response: Response, options: str = "") -> Generation:
    return generation_of(in_block(f"loadbalance weighted {path} {{\n{options}\n}}"), response)


def test_weights_decide_who_is_first(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text(WEIGHTS)
    response = Response(answer=(PODS._replace(rdata=PODS.rdata[:3]),), stable_for=60)
    generation = weighted(tmp_path / "weights", response)
    seen = replies(generation, 3000)
    shares = {"10.0.0.1": 3, "10.0.0.2": 1, "10.0.0.3": 2}
    assert chi_square(Counter(reply[0] for reply in seen), shares) < UNLIKELY[2]
    assert all(set(shares) == set(reply) for reply in seen)
    assert 0 == len(listener_of(generation).memo)


def test_weights_in_the_additional_section(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("b.example.org\n::2 255\n")
    glue = tuple(RRset(f"{label}.example.org.", AAAA, 5, (names.packed(f"::{n}"),)) for n, label in enumerate("abc", 1))
    [plugin] = weighted(tmp_path / "weights", STABLE).blocks[0].named("loadbalance")
    assert isinstance(plugin, LoadBalance) and plugin.weighted is not None
    random.seed(1)
    made = plugin.weighted.turned(Query("example.org.", SRV), Response(additional=glue, stable_for=9, depends=("x",)))
    assert ((glue[1], glue[0], glue[2]), 0, ("x",)) == (made.additional, made.stable_for, made.depends)


def test_one_address_stays_in_the_memo(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text(WEIGHTS)
    [plugin] = weighted(tmp_path / "weights", STABLE).blocks[0].named("loadbalance")
    assert isinstance(plugin, LoadBalance) and plugin.weighted is not None
    response = Response(answer=(PODS._replace(rdata=PODS.rdata[:1]),), stable_for=60)
    assert plugin.weighted.turned(Query("example.org.", A), response) is response


def test_a_file_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "weights"

    caplog.set_level("WARNING")
    generation = weighted(path, STABLE, "reload 7s")
    [plugin] = generation.blocks[0].named("loadbalance")
    assert isinstance(plugin, LoadBalance) and plugin.weighted is not None
    [watched] = generation.watched
    assert ([str(path)], 7.0) == (list(watched.paths()), watched.every)
    seen = [plugin.weighted.weights]
    for text in ("example.org\n10.0.0.1 9\n", "example.org\n10.0.0.1 0\n", "Example.org.\n10.0.0.1 8\n"):
        path.write_text(text)
        watched.changed()
        seen.append(plugin.weighted.weights)
    key = ("example.org.", names.packed("10.0.0.1"))
    assert [{}, {key: 9}, {key: 9}, {key: 8}] == seen
    assert [
        f"there is no file '{path}' yet: all addresses weigh the same",
        f"the weights stay as they were: {path}:2: '0' is no weight from 1 to 255",
    ] == [record.message for record in caplog.records]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1 5", "w:1: a line is a name, or below a name an address and its weight"),
        ("a\n10.0.0.1 5 6", "w:2: a line is a name, or below a name an address and its weight"),
        ("a\n10.0.0.1 256", "w:2: '256' is no weight from 1 to 255"),
        ("a\n\n10.0.0.1 -1", "w:3: '-1' is no weight from 1 to 255"),
        ("a\nb 1", "w:2: 'b' is not an IP address"),
        ("a..b", "w:1: 'a..b.' is not a domain name: a label is empty"),
    ],
)
def test_a_wrong_file(text: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_weights(text, "w")
    assert expected == str(caught.value)
