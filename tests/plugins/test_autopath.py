"""*autopath*: search lists gone through here, by the question, by the client's Pod, or by a file."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.message
import pytest

from kdns.cluster.objects import Namespace, Pod
from kdns.core.generation import Generation
from kdns.dns import names
from kdns.dns.query import Address, Query
from kdns.dns.response import Response, RRset, SILENCE
from kdns.dns.types import A, AAAA, NOERROR, NXDOMAIN, SERVFAIL
from kdns.plugins import autopath
from kdns.plugins.autopath import search_of
from kdns.plugins.kubernetes import Kubernetes
from tests.support.configured import add, ask, Fixed, generation_of, in_block, listener_of, refused

TEAM_A, TEAM_B, HOST = (Address(f"10.244.0.{n}", 5353) for n in (7, 8, 9))
PODS = (
    Pod("team-a/web", (names.packed(TEAM_A.host),)),
    Pod("team-b/web", (names.packed(TEAM_B.host),)),
    Pod("team-a/agent", (names.packed(HOST.host),)),
    Pod("team-b/agent", (names.packed(HOST.host),)),
)
CLUSTER = "kubernetes cluster.local {{\nmanifests zones/cluster.yaml\npods {}\n}}"


@pytest.fixture(autouse=True)
def _search_list_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.1\nsearch corp.example\n")
    monkeypatch.setattr(autopath, "RESOLV_CONF", str(tmp_path / "resolv.conf"))


class World:
    """What is outside of the cluster: names that have an address, and those that fail; `asked` is told of each."""

    def __init__(self, *there: str, failing: tuple[str, ...] = ()) -> None:
        self.there, self.failing = there, failing
        self.asked: list[str] = []

    def __call__(self, query: Query) -> Response:
        self.asked.append(query.name)
        if query.name in self.failing:
            return Response(rcode=SERVFAIL)
        if query.name not in self.there:
            return Response(rcode=NXDOMAIN, stable_for=60, depends=(query.name,))
        answer = (RRset(query.name, A, 5, (b"\xc0\0\2\1",)),) if query.type == A else ()
        return Response(answer=answer, stable_for=60, depends=(query.name,))


def served(line: str, answer: Callable[[Query], Any], pods: str = "") -> Generation:
    generation = generation_of(in_block(f"{line}\n{CLUSTER.format(pods) if pods else ''}"), answer)
    for plugin in generation.blocks[0].named("kubernetes"):
        assert isinstance(plugin, Kubernetes)
        plugin.store.put(Namespace("team-a", ()), Namespace("team-b", ()), *PODS)
        plugin.store.synced = True
    return generation


def shown(reply: dns.message.Message) -> str:
    records = [f"{rrset.name} {rrset[0].to_text()}" for rrset in reply.answer]
    return " | ".join([dns.rcode.to_text(reply.rcode()), *records])


FOUND = "NOERROR | {0} example.com. | example.com. 192.0.2.1"
QUESTION = "example.com.team-a.svc.cluster.local."


@pytest.mark.parametrize(
    ("pods", "client", "name", "completed"),
    [
        ("insecure", TEAM_A, QUESTION, True),
        ("insecure", TEAM_B, QUESTION, True),
        ("disabled", TEAM_B, "example.com.team-b.svc.cluster.local.", True),
        ("insecure", TEAM_A, "example.com.team-c.svc.cluster.local.", False),
        ("insecure", TEAM_A, "example.com.svc.cluster.local.", False),
        ("insecure", TEAM_A, "example.com.cluster.local.", False),
        ("insecure", TEAM_A, "team-a.svc.cluster.local.", False),
        ("insecure", TEAM_A, "example.com.team-a.pod.cluster.local.", False),
        ("verified", TEAM_A, QUESTION, True),
        ("verified", TEAM_B, QUESTION, False),
        ("verified", TEAM_B, "example.com.team-b.svc.cluster.local.", True),
        ("verified", HOST, QUESTION, False),
        ("verified", Address("192.0.2.7", 53), QUESTION, False),
    ],
)
def test_whose_search_list_it_is(pods: str, client: Address, name: str, completed: bool) -> None:
    generation = served("autopath @kubernetes", World("example.com."), pods)
    reply = shown(asyncio.run(ask(generation, name, client=client)))
    if completed:
        assert FOUND.format(name) == reply
    else:
        assert "example.com. 192" not in reply


def test_names_are_tried_in_their_order() -> None:
    world = World("example.com.corp.example.")
    reply = shown(asyncio.run(ask(served("autopath @kubernetes", world, "insecure"), QUESTION)))
    assert f"NOERROR | {QUESTION} example.com.corp.example. | example.com.corp.example. 192.0.2.1" == reply
    assert ["example.com.corp.example."] == world.asked


@pytest.mark.parametrize(
    ("world", "type", "expected"),
    [
        (World(), "A", "NXDOMAIN"),
        (World("example.com.", failing=("example.com.corp.example.",)), "A", "NXDOMAIN"),
        (World("example.com."), "AAAA", "NOERROR"),
    ],
    ids=["nothing", "a failure", "another type"],
)
def test_what_is_not_there(world: World, type: str, expected: str) -> None:
    assert expected == shown(asyncio.run(ask(served("autopath @kubernetes", world, "insecure"), QUESTION, type)))


def test_what_exists_is_not_completed() -> None:
    world = World("a.corp.example.")
    generation = served("autopath corp.example @kubernetes", world, "insecure")
    assert "NOERROR | a.corp.example. 192.0.2.1" == shown(asyncio.run(ask(generation, "a.corp.example.")))
    assert ["a.corp.example."] == world.asked


def test_a_name_that_nobody_answers_is_completed(tmp_path: Path) -> None:
    (tmp_path / "search").write_text("search first second")
    generation = generation_of(f"first {{\nautopath {tmp_path / 'search'}\n}}\nsecond {{\n}}\n")
    add(generation.blocks[1], "fixed", Fixed(World("www.second.")))
    reply = asyncio.run(ask(generation, "www.first."))
    assert "NOERROR | www.first. www.second. | www.second. 192.0.2.1" == shown(reply)


def test_silence_on_the_way_leaves_the_answer_as_it_was() -> None:
    def answer(query: Query) -> Any:
        return SILENCE if query.name == "a.second." else Response(rcode=NXDOMAIN)

    generation = served("autopath @kubernetes", answer, "insecure")
    generation.blocks[0].named("autopath")[0]._search = ("second.",)  # type: ignore[attr-defined]
    assert "NXDOMAIN" == shown(asyncio.run(ask(generation, "a.team-a.svc.cluster.local.")))


def test_names_that_become_too_long_are_left_out() -> None:
    name = ".".join(["x" * 60] * 3 + ["y" * 40, "team-a.svc.cluster.local."])
    base = ".".join(["x" * 60] * 3 + ["y" * 40 + "."])
    world = World(base)
    generation = served("autopath @kubernetes", world, "insecure")
    generation.blocks[0].named("autopath")[0]._search = (f"{'z' * 60}.example.",)  # type: ignore[attr-defined]
    assert f"NOERROR | {name} {base} | {base} 192.0.2.1" == shown(asyncio.run(ask(generation, name, use_edns=0)))
    assert [base] == world.asked


# ---------------------------------------------------------------- a file


def with_file(path: Path, text: str, world: World, zones: str = "") -> Generation:
    path.write_text(text)
    return served(f"autopath {zones} {path}", world)


@pytest.mark.parametrize(
    ("zones", "name", "expected"),
    [
        ("", "www.first.", "NOERROR | www.first. www.second. | www.second. 192.0.2.1"),
        ("", "www.second.", "NOERROR | www.second. 192.0.2.1"),
        ("", "first.", "NXDOMAIN"),
        ("", "www.unfirst.", "NXDOMAIN"),
        ("first", "www.first.", "NOERROR | www.first. www.second. | www.second. 192.0.2.1"),
        ("example", "www.first.", "NXDOMAIN"),
    ],
)
def test_a_file(zones: str, name: str, expected: str, tmp_path: Path) -> None:
    generation = with_file(tmp_path / "search", "search first second", World("www.second."), zones)
    assert expected == shown(asyncio.run(ask(generation, name)))


def test_a_file_that_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "search"
    generation = with_file(path, "search first second", World("www.third."))
    [watched] = generation.watched
    assert [str(path)] == list(watched.paths())
    seen = [shown(asyncio.run(ask(generation, "www.first.")))]
    for text in ("search first third", "search first a..b"):
        path.write_text(text)
        watched.changed()
        seen.append(shown(asyncio.run(ask(generation, "www.first."))))
    found = "NOERROR | www.first. www.third. | www.third. 192.0.2.1"
    assert ["NXDOMAIN", found, found] == seen
    assert ["the search list stays as it was: 'a..b' is not a domain name: a label is empty"] == [
        record.message.replace("a..b.", "a..b") for record in caplog.records
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search a.example B.example.", ("a.example.", "b.example.")),
        ("domain a\nsearch b c\nnameserver 10.0.0.1\n", ("b.", "c.")),
        ("search .", ()),
        ("", ()),
        ("# search a", ()),
    ],
)
def test_search_lists(text: str, expected: tuple[str, ...]) -> None:
    assert expected == search_of(text)


# ---------------------------------------------------------------- the memo


def memo_of(generation: Generation, *clients: Address) -> list[str]:
    """What some clients were told, one after the other, from the memo where it has that."""

    async def run() -> list[str]:
        return [shown(await ask(generation, QUESTION, client=client)) for client in clients]

    return asyncio.run(run())


def test_the_memo_has_what_all_are_told() -> None:
    generation = served("autopath @kubernetes", World("example.com."), "insecure")
    wire = dns.message.make_query(QUESTION, "A").to_wire()
    memo_of(generation, TEAM_A)
    entry = listener_of(generation).memo.get(wire[2:])
    assert entry is not None and {"team-a/com", "example.com."} <= set(entry.depends)
    generation.forget(["example.com."])
    assert None is listener_of(generation).memo.get(wire[2:])


def test_the_memo_has_what_each_namespace_is_told() -> None:
    generation = served("autopath @kubernetes", World("example.com."), "verified")
    listener, found = listener_of(generation), FOUND.format(QUESTION)
    assert [found, "NXDOMAIN"] == memo_of(generation, TEAM_A, TEAM_B)
    wire = dns.message.make_query(QUESTION, "A").to_wire()
    keys = [listener.key(wire, client) for client in (TEAM_A, TEAM_B, HOST)]
    assert (3, [True, True, False]) == (len(set(keys)), [listener.memo.get(key) is not None for key in keys])


def test_a_namespace_that_comes_and_goes() -> None:
    generation = served("autopath @kubernetes", World("example.com."), "insecure")
    [plugin] = generation.blocks[0].named("kubernetes")
    assert isinstance(plugin, Kubernetes)
    plugin.store.remove(Namespace, "team-a")
    assert "NXDOMAIN" == shown(asyncio.run(ask(generation, QUESTION)))
    plugin.store.put(Namespace("team-a", ()))
    assert FOUND.format(QUESTION) == shown(asyncio.run(ask(generation, QUESTION)))
    plugin.store.remove(Namespace, "team-a")
    assert "NXDOMAIN" == shown(asyncio.run(ask(generation, QUESTION)))


def test_a_file_that_names_another_zone_first(tmp_path: Path) -> None:
    generation = with_file(tmp_path / "search", "search other second", World("www.second."))
    [watched] = generation.watched
    assert "NXDOMAIN" == shown(asyncio.run(ask(generation, "www.first.")))
    (tmp_path / "search").write_text("search first second")
    watched.changed()
    assert "NOERROR | www.first. www.second. | www.second. 192.0.2.1" == shown(asyncio.run(ask(generation, "www.first.")))


def test_an_address_that_is_anothers_now() -> None:
    generation = served("autopath @kubernetes", World("example.com."), "verified")
    [plugin] = generation.blocks[0].named("kubernetes")
    assert isinstance(plugin, Kubernetes)
    listener = listener_of(generation)
    raw = b"\x02\0" + TEAM_A.port.to_bytes(2, "big") + names.packed(TEAM_A.host) + bytes(8)
    mapped = b"\x0a\0" + bytes(6 + 10) + b"\xff\xff" + names.packed(TEAM_A.host) + bytes(4)
    seen = [(listener.key(b"id", raw), listener.key(b"id", mapped))]
    plugin.store.remove(Pod, "team-a/web")
    plugin.store.put(Pod("team-b/other", (names.packed(TEAM_A.host),)))
    seen.append((listener.key(b"id", raw), listener.key(b"id", mapped)))
    assert [(b"\x06team-a",) * 2, (b"\x06team-b",) * 2] == seen
    assert "NXDOMAIN" == shown(asyncio.run(ask(generation, QUESTION, client=TEAM_A)))


def test_what_was_completed_is_counted_hits_of_the_memo_too() -> None:
    generation = served("prometheus 127.0.0.1:0\nautopath @kubernetes", World("example.com."), "insecure")
    registry = generation.metrics.registry()
    memo_of(generation, TEAM_A)
    entry = listener_of(generation).memo.get(dns.message.make_query(QUESTION, "A").to_wire()[2:])
    assert entry is not None
    entry.hits += 6
    listener_of(generation).memo.fold()

    async def counted() -> float | None:
        return registry.get_sample_value("coredns_autopath_success_total", {"server": "dns://:53"})

    assert 7 == asyncio.run(counted())


# ---------------------------------------------------------------- what is wrong


def test_what_is_wrong(tmp_path: Path) -> None:
    assert "Corefile:2: autopath: takes at least 1 argument, has none" == refused(in_block("autopath"))
    missing = refused(in_block(f"autopath {tmp_path / 'missing'}"))
    assert missing.startswith("Corefile:2: autopath: ") and str(tmp_path / "missing") in missing
    generation = generation_of(in_block("autopath @kubernetes"), Response(rcode=NOERROR))
    assert ["Corefile:2: autopath: has no effect: there is no kubernetes in this server block"] == generation.blocks[0].notes
    assert AAAA == asyncio.run(ask(generation, "a.", "AAAA")).question[0].rdtype
