"""Server blocks at work: which one answers, what catches an error, how aliases cross them, what the memo keeps."""

import asyncio
import logging
import math
from collections.abc import Callable

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import pytest

from kdns.core.generation import Generation
from kdns.core.listener import Listener
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query, Transport
from kdns.dns.response import Response, RRset, SILENCE
from kdns.dns.types import CNAME, NXDOMAIN, REFUSED, SERVFAIL
from kdns.server.load import load
from tests.support.configured import add, Fixed, generation_of, listener_of
from tests.support.configured import ask as asked

Answer = Response | Callable[[Query], Response]
ADDRESS = b"\x0a\0\0\1"


def address(name: str, octets: bytes = ADDRESS) -> Response:
    return Response(answer=(RRset(name, 1, 5, (octets,)),), stable_for=math.inf, depends=("k",))


def alias(name: str, target: str) -> Response:
    return Response(answer=(RRset(name, CNAME, 5, (names.wire(target),)),), stable_for=math.inf, depends=(name,))


class Aliases(Plugin):
    """A plugin that has aliases, and an address at every name besides."""

    same_for_everyone = True

    def __init__(self, generation: Generation, at: int, of: dict[str, str]) -> None:
        self.block, self.of = generation.blocks[at], of

    async def answer(self, query: Query, next: Handler) -> Response:
        target = self.of.get(query.name)
        return address(query.name) if target is None else await self.block.follow(query, alias(query.name, target), ())


def served(**zones: Answer) -> Generation:
    """A server block for each zone, all on one port, that answers as told."""
    generation = load("".join(f"{zone} {{\n}}\n" for zone in zones))
    for block, answer in zip(generation.blocks, zones.values(), strict=True):
        add(block, "fixed", Fixed(answer))
    return generation


def with_aliases(of: dict[str, str], *zones: str) -> Generation:
    """The same aliases in each zone's server block."""
    generation = load("".join(f"{zone} {{\n}}\n" for zone in zones))
    for at, block in enumerate(generation.blocks):
        add(block, "aliases", Aliases(generation, at, of))
    return generation


def shown(message: dns.message.Message) -> str:
    """The code, and the records of the answer in their order."""
    records = [f"{rrset.name} {rdata.to_text()}" for rrset in message.answer for rdata in rrset]
    return ", ".join([dns.rcode.to_text(message.rcode()), *records])


def panics(generation: Generation) -> float:
    """How many errors of plugins were counted, since this was first called."""
    return generation.metrics.registry().get_sample_value("coredns_panics_total") or 0.0


def ask(generation: Generation, name: str, type: str = "A", **options: object) -> str:
    return shown(asyncio.run(asked(generation, name, type, **options)))  # type: ignore[arg-type]


# ---------------------------------------------------------------- which server block


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.", "10.0.0.1"),
        ("x.a.", "10.0.0.1"),
        ("b.a.", "10.0.0.2"),
        ("x.b.a.", "10.0.0.2"),
        ("X.B.A.", "10.0.0.2"),
        ("xb.a.", "10.0.0.1"),
        ("other.", ""),
        ("xa.", ""),
        (".", ""),
    ],
)
def test_the_longest_zone_takes_the_query(name: str, expected: str) -> None:
    generation = served(**{"a": lambda query: address(query.name), "b.a": lambda query: address(query.name, b"\x0a\0\0\2")})
    said = f"NOERROR, {name} {expected}" if expected else "REFUSED"
    assert said == ask(generation, name)


def test_outside_every_zone_is_refused_and_says_why() -> None:
    reply = asyncio.run(asked(served(a=address("a.")), "b.", use_edns=0))
    assert "REFUSED" == dns.rcode.to_text(reply.rcode())
    assert not reply.flags & dns.flags.AA
    assert ["EDE 20 (Not Authoritative): no plugin here answers for this name"] == [o.to_text() for o in reply.options]


def test_a_class_that_nobody_serves_is_refused() -> None:
    generation = served(**{".": lambda query: address(query.name)})
    for rdclass in (dns.rdataclass.CH, dns.rdataclass.HS, dns.rdataclass.ANY):
        assert "REFUSED" == ask(generation, "version.bind.", "TXT", rdclass=rdclass)


def test_transfers_are_refused() -> None:
    generation = served(**{".": lambda query: address(query.name)})
    assert "REFUSED" == ask(generation, "a.", "AXFR", transport=Transport.TCP)


def test_silence() -> None:
    listener = listener_of(served(**{".": SILENCE}))
    query = dns.message.make_query("a.", "A").to_wire()
    for transport in Transport:
        assert None is asyncio.run(listener.reply(query, ("", 0), ("", 0), transport))  # type: ignore[arg-type]
    assert 0 == len(listener.memo)


# ---------------------------------------------------------------- errors


def test_an_error_of_a_plugin_is_servfail_once_and_the_next_query_is_fine(caplog: pytest.LogCaptureFixture) -> None:
    def answer(query: Query) -> Response:
        if query.name == "bad.":
            raise ValueError("on purpose")
        return address(query.name)

    generation = served(**{".": answer})
    caplog.set_level(logging.INFO)
    assert 0 == panics(generation)
    assert "SERVFAIL" == ask(generation, "bad.")
    assert ["bad. 1: ValueError: on purpose"] == caplog.messages
    assert 1 == panics(generation)
    assert "NOERROR, good. 10.0.0.1" == ask(generation, "good.")
    assert "SERVFAIL" == ask(generation, "bad.")  # not from the memo
    assert 2 == panics(generation)


# ---------------------------------------------------------------- aliases


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ({"x.a.": "y.b."}, "NOERROR, x.a. y.b., y.b. 10.0.0.1"),
        ({"x.a.": "y.b.", "y.b.": "z.a."}, "NOERROR, x.a. y.b., y.b. z.a., z.a. 10.0.0.1"),
        ({"x.a.": "y.c."}, "NOERROR, x.a. y.c."),
        ({"x.a.": "x.a."}, "NOERROR"),
        ({"x.a.": "y.b.", "y.b.": "x.a."}, "NOERROR"),
        ({"x.a.": "y.b.", "y.b.": "z.a.", "z.a.": "x.a."}, "NOERROR"),
        ({"x.a.": "y.b.", "y.b.": "z.a.", "z.a.": "y.b."}, "NOERROR, x.a. y.b."),
    ],
)
def test_aliases_over_two_server_blocks(of: dict[str, str], expected: str) -> None:
    assert expected == ask(with_aliases(of, "a", "b"), "x.a.")


@pytest.mark.parametrize(
    ("hops", "code", "records"), [(1, "NOERROR", 2), (10, "NOERROR", 11), (11, "SERVFAIL", 11), (50, "SERVFAIL", 11)]
)
def test_how_many_aliases_are_followed(hops: int, code: str, records: int) -> None:
    of = {f"{n}.a.": f"{n + 1}.b." if n % 2 else f"{n + 1}.a." for n in range(hops)} | {
        f"{n}.b.": f"{n + 1}.a." for n in range(hops)
    }
    reply = asyncio.run(asked(with_aliases(of, "a", "b"), "0.a.", use_edns=0))
    assert (code, records) == (dns.rcode.to_text(reply.rcode()), len(reply.answer))
    said = ["EDE 0 (Other): more than 10 aliases in a row"] if code == "SERVFAIL" else []
    assert said == [option.to_text() for option in reply.options]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Response(rcode=NXDOMAIN), "NXDOMAIN, x.a. y.b."),
        (Response(), "NOERROR, x.a. y.b."),
        (Response(rcode=SERVFAIL), "SERVFAIL, x.a. y.b."),
        (Response(rcode=REFUSED), "REFUSED, x.a. y.b."),
    ],
)
def test_the_code_is_the_targets(target: Response, expected: str) -> None:
    """RFC 6604 2.1."""
    generation = with_aliases({"x.a.": "y.b."}, "a")
    other = served(b=target)
    listener_of(generation).blocks |= listener_of(other).blocks
    assert expected == ask(generation, "x.a.")


def test_silence_of_the_target_is_silence() -> None:
    generation = with_aliases({"x.a.": "y.b."}, "a")
    listener_of(generation).blocks |= listener_of(served(b=SILENCE)).blocks
    query = dns.message.make_query("x.a.", "A").to_wire()
    assert None is asyncio.run(listener_of(generation).reply(query, ("", 0), ("", 0), Transport.UDP))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (address("y.b."), True),
        (Response(rcode=NXDOMAIN, stable_for=math.inf), True),
        (Response(rcode=SERVFAIL), False),
        (Response(rcode=REFUSED), False),
        (Response(rcode=NXDOMAIN), False),
        (None, True),
    ],
)
def test_an_answer_over_an_alias_is_kept_as_long_as_both_hold(target: Response | None, kept: bool) -> None:
    generation = with_aliases({"x.a.": "y.b."}, "a")
    if target is not None:
        listener_of(generation).blocks |= listener_of(served(b=target)).blocks
    ask(generation, "x.a.")
    assert int(kept) == len(listener_of(generation).memo)
    if target is not None and target.depends:
        listener_of(generation).memo.forget(target.depends)
        query = dns.message.make_query("x.a.", "A", id=4711).to_wire()
        assert None is listener_of(generation).memo.get(query[2:])


# ---------------------------------------------------------------- the memo


def by_udp(listener: Listener, wire: bytes) -> tuple[bool, bytes]:
    """As the socket does: the memo first, then a reply; and whether it was the memo's."""
    kept = replayed(listener, wire)
    if kept is not None:
        return True, wire[:2] + kept
    reply = asyncio.run(listener.reply(wire, ("10.0.0.9", 4000), ("10.0.0.10", 53), Transport.UDP))  # type: ignore[arg-type]
    assert reply is not None
    return False, reply


KUBERNETES = """
. {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        manifests none
        pods insecure
    }
}
"""


@pytest.mark.parametrize(
    "question",
    [
        "web.p.svc.cluster.local. A", "web.p.svc.cluster.local. AAAA", "_http._tcp.web.p.svc.cluster.local. SRV",
        "db.p.svc.cluster.local. SRV", "gone.p.svc.cluster.local. A", "p.svc.cluster.local. A", "cluster.local. SOA",
        "dns-version.cluster.local. TXT", "1-2-3-4.p.pod.cluster.local. A", "ext.p.svc.cluster.local. A",
        "near.p.svc.cluster.local. A", "1.0.96.10.in-addr.arpa. PTR", "2.0.96.10.in-addr.arpa. PTR",
        "example.com. A", "web.p.svc.cluster.local. ANY", "web.p.svc.cluster.local. TYPE1000",
    ],
)  # fmt: skip
def test_a_hit_has_the_octets_of_a_miss(question: str) -> None:
    from tests.support.notation import objects

    listener = listener_of(load(KUBERNETES))
    store = listener.blocks["."][0].named("kubernetes")[0].store  # type: ignore[attr-defined]
    store.put(*objects("""
        ns p
        svc p/web 10.96.0.1 fd00::1 http:80/tcp
        svc p/db http:80/tcp
        slice p/db-1 p/db 10.0.0.1 10.0.0.2 http:80/tcp
        svc p/ext > example.com
        svc p/near > web.p.svc.cluster.local
    """))
    store.synced = True
    name, type = question.split()
    for edns in ({}, {"use_edns": 0, "payload": 1232}, {"use_edns": 0, "payload": 512, "want_dnssec": True}):
        one, other = (dns.message.make_query(name, type, id=id, **edns).to_wire() for id in (1, 2))  # type: ignore[arg-type]
        miss, first = by_udp(listener, one)
        hit, second = by_udp(listener, other)
        assert (False, True) == (miss, hit)
        assert first[2:] == second[2:]
        assert (1, 2) == (first[1], second[1])


@pytest.mark.parametrize(
    ("what", "options", "kept"),
    [
        ("plain", {}, True),
        ("EDNS", {"use_edns": 0}, True),
        ("DO", {"use_edns": 0, "want_dnssec": True}, True),
        ("CD", {"flags": dns.flags.RD | dns.flags.CD}, True),
        ("over TCP", {"transport": Transport.TCP}, True),
        ("an option", {"options": [dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")]}, True),
    ],
)
def test_what_enters_the_memo(what: str, options: dict[str, object], kept: bool) -> None:
    generation = served(**{".": address("a.")})
    asyncio.run(asked(generation, "a.", **options))  # type: ignore[arg-type]
    assert int(kept) == len(listener_of(generation).memo)


def replayed(listener: Listener, wire: bytes) -> bytes | None:
    return listener.replay(wire[2:], ("10.0.0.9", 4000), Transport.UDP)  # type: ignore[arg-type]


def test_what_changes_nothing_is_a_hit() -> None:
    """Random case, cookies, flags without a meaning: each gets its own spelling, and no cookie back."""
    generation = served(**{".": lambda query: address(query.name)})
    listener = listener_of(generation)
    asyncio.run(asked(generation, "wEb.", use_edns=0, payload=1232))
    asyncio.run(asked(generation, "web.", use_edns=0, payload=1232))
    assert 2 == len(listener.memo)  # those in lower case and the others
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    for name in ("web.", "Web.", "weB.", "WEB."):
        query = dns.message.make_query(name, "A", use_edns=0, payload=1232, options=[cookie], flags=dns.flags.RD | 0x0040)
        reply = replayed(listener, query.to_wire())
        assert reply is not None
        message = dns.message.from_wire(query.to_wire()[:2] + reply)
        assert (name, (), 0) == (str(message.question[0].name), message.options, message.flags & 0x0040)
        assert [f"{name} 5 IN A 10.0.0.1"] == [rrset.to_text() for rrset in message.answer]
    assert 2 == len(listener.memo)


def test_what_may_change_an_answer_is_none() -> None:
    generation = served(**{".": lambda query: address(query.name)})
    listener = listener_of(generation)
    asyncio.run(asked(generation, "web.", use_edns=0, payload=1232))
    for options in ({"payload": 4096}, {"want_dnssec": True}, {"flags": dns.flags.RD | dns.flags.CD}, {"flags": 0}):
        query = dns.message.make_query("web.", "A", use_edns=0, **{"payload": 1232, **options})  # type: ignore[arg-type]
        assert None is replayed(listener, query.to_wire())
    query = dns.message.make_query("web.", "A", use_edns=0, payload=1232, options=[dns.edns.ECSOption("192.0.2.0", 24)])
    assert None is not replayed(listener, query.to_wire())
    listener.heeded = frozenset((8,))
    assert None is replayed(listener, query.to_wire())


def test_names_in_rdata_keep_their_spelling() -> None:
    """They must not point into a question that the next client spells otherwise."""
    alias = Response(answer=(RRset("www.example.", 5, 5, (names.wire("web.example."),)),), stable_for=math.inf)
    listener = listener_of(served(**{".": alias}))
    for name in ("wWw.exAMple.", "WWW.EXAMPLE.", "wwW.exAmple."):
        wire = dns.message.make_query(name, "CNAME").to_wire()
        _, reply = by_udp(listener, wire)
        message = dns.message.from_wire(reply)
        assert [f"{name} 5 IN CNAME web.example."] == [rrset.to_text() for rrset in message.answer]
    assert 1 == len(listener.memo)


def test_what_is_not_stable_is_never_kept() -> None:
    count = iter(range(1, 9))
    generation = served(**{".": lambda query: Response(answer=(RRset(query.name, 1, 5, (bytes((10, 0, 0, next(count))),)),))})
    assert ["NOERROR, a. 10.0.0.1", "NOERROR, a. 10.0.0.2"] == [ask(generation, "a."), ask(generation, "a.")]
    assert 0 == len(listener_of(generation).memo)


@pytest.mark.parametrize(("depends", "kept"), [(("k",), 0), ((), 1)])
def test_a_reply_that_waited_while_something_changed_is_not_kept(depends: tuple[str, ...], kept: int) -> None:
    """What depends on nothing is kept all the same."""
    generation = load(". {\n}\n")

    async def answer(query: Query) -> Response:
        await asyncio.sleep(0)
        generation.forget(["another"])
        return Response(stable_for=math.inf, depends=depends)

    add(generation.blocks[0], "waiting", Fixed(answer))
    assert "NOERROR" == ask(generation, "a.")
    assert kept == len(listener_of(generation).memo)


def test_a_change_forgets_what_was_made_from_it_and_nothing_else() -> None:
    keys = {"a.": ("one",), "b.": ("one", "two"), "c.": ("three",), "d.": ()}
    generation = served(**{".": lambda query: Response(stable_for=math.inf, depends=keys[query.name])})
    for name in keys:
        ask(generation, name)
    generation.forget(["one", "nothing"])
    listener = listener_of(generation)
    wires = {name: dns.message.make_query(name, "A", id=4711).to_wire() for name in keys}
    assert ["c.", "d."] == [name for name, wire in wires.items() if listener.memo.get(wire[2:])]


def test_that_nobody_answers_is_kept() -> None:
    """The end of a chain says the same as long as the configuration stands."""
    generation = generation_of(". {\n}\n")
    assert ["REFUSED", "REFUSED"] == [ask(generation, "a."), ask(generation, "a.")]
    assert 1 == len(listener_of(generation).memo)
