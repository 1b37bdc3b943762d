"""The loader's own program and the reading of dnsperf's figures, on which all figures of benchmarks rest."""

import itertools
import re
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import dns.message
import dns.reversename
import dns.zone
import pytest

from benchmarks.bench import table
from benchmarks.load import Loaded, read_dnsperf, run, wire
from benchmarks.loads import ask_one_each, DISTINCT, distinct, zones
from benchmarks.overload import Asked, DIGITS, Flood, FLOODS
from benchmarks.soak import faults, Held
from benchmarks.upstream import answer

SAID = """
  Queries sent:         9
  Queries completed:    8 (88.89%)
  Queries lost:         1 (11.11%)

  Response codes:       NOERROR 5 (62.50%), SERVFAIL 2 (25.00%), NXDOMAIN 1 (12.50%)
"""


def test_dnsperf() -> None:
    assert Loaded(answered=8, lost=1, failed=2) == read_dnsperf(SAID)
    with pytest.raises(ValueError, match="no such file"):
        read_dnsperf("Error: no such file")


def test_question() -> None:
    assert "a-b.test. IN SRV" == dns.message.from_wire(wire("a-b.test.", "SRV", 7)).question[0].to_text()


@pytest.mark.parametrize(("type", "expected"), [("A", ["x.test. 60 IN A 192.0.2.1"]), ("AAAA", [])])
def test_upstream(type: str, expected: list[str]) -> None:
    asked = dns.message.make_query("x.test.", type, use_edns=True)
    reply = dns.message.from_wire(answer(asked.to_wire(), 60))
    assert asked.is_response(reply)
    assert expected == [rrset.to_text() for rrset in reply.answer]
    assert len(expected) == 1 - len(reply.authority)


@pytest.mark.skipif(sys.platform != "linux", reason="sendmmsg is Linux's")
def test_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers each question but the last, and one of them with REFUSED.

    The loader's clock stands still until the server has seen all of them: however slow this machine is, only that one is lost.
    """
    monkeypatch.setattr("benchmarks.load.WINDOW", 40)  # so many fit into any socket's buffer
    seen_all = threading.Event()
    ticks = itertools.count()
    monkeypatch.setattr("benchmarks.load.time", SimpleNamespace(monotonic=lambda: next(ticks) if seen_all.is_set() else 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)

        def serve() -> None:
            try:
                for n in range(300):
                    wire, client = server.recvfrom(512)
                    if n < 299:
                        server.sendto(wire[:2] + (b"\x81\x85" if n == 7 else b"\x81\x80") + wire[4:], client)
            finally:
                seen_all.set()

        thread = threading.Thread(target=serve)
        thread.start()
        loaded = run(server.getsockname()[1], [(f"n{n}.test.", "A") for n in range(300)], 0)
        thread.join()
    assert Loaded(answered=299, lost=1, failed=1) == loaded


def test_soak() -> None:
    before = Held(40.0, 3, 20)
    assert [] == faults(before, [60, 80, 82, 81, 84], Held(84.0, 3, 20), 0, 0)
    assert ["2 queries lost", "memory grew from 80 to 99 MB", "1 tasks were left behind"] == faults(
        before, [60, 80, 82, 90, 99], Held(99.0, 4, 19), 2, 0
    )


def test_no_round_asks_for_names_of_another() -> None:
    searched = [{each for each in distinct(turn) if each[0].count("svc") == 2} for turn in range(3)]
    assert DISTINCT == len(set(distinct(0)))
    assert set() == searched[0] & searched[1] | searched[1] & searched[2]


def test_table() -> None:
    expected = ["| hot | 20 ±50% | 7 |", "| log | 5 |  |", "| memory afterwards, MB | 50 | 60 |"]
    made = table({"hot": {"kdns": [10, 20, 30], "NSD": [7]}, "log": {"kdns": [5]}}, {"kdns": 50.4, "NSD": 60.0})
    assert expected == made.splitlines()[2:]


def test_zones_are_what_the_cluster_is(tmp_path: Path) -> None:
    some = re.compile(" SOA | NS |service-00300")  # to read all of it takes seconds
    forward, reverse = (
        dns.zone.from_text("\n".join(line for line in path.read_text().splitlines() if some.search(line)), name)
        for name, path in zones(tmp_path).items()
    )
    service = forward.find_rdataset("_http._tcp.service-00300.team-20.svc", "SRV")[0].target
    address = forward.find_rdataset(service, "A")[0].address
    pointer = dns.reversename.from_address(address).relativize(dns.name.from_text("10.in-addr.arpa."))
    assert "service-00300.team-20.svc.cluster.local." == reverse.find_rdataset(pointer, "PTR")[0].target.to_text()


def test_a_connection_for_each_question() -> None:
    """Every other reply is too short to be one."""
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(512))
                if asked[-1] == b"":
                    return
                connection.sendall(bytes(2 if len(asked) % 2 else 14))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        answered = ask_one_each(server.getsockname()[1], [("a.test", "A")], 0.1)
        socket.create_connection(server.getsockname()).close()
        thread.join()
    assert "a.test. IN A" == dns.message.from_wire(asked[0][2:]).question[0].to_text()
    assert answered == len(asked[:-1]) // 2


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_asks_what_it_says(flood: Flood) -> None:
    asked = [dns.message.from_wire(bytes(octets)) for octets in itertools.islice(flood.datagrams(), 2)]
    names = [flood.name.replace(DIGITS, f"{n:08}") for n in (1, 2)]
    assert [f"{name}. IN A" for name in names] == [query.question[0].to_text() for query in asked]
    cookies = [option.to_text() for query in asked for option in query.options]
    assert (["COOKIE 3030303030303031", "COOKIE 3030303030303032"] if flood.cookie else []) == cookies


def test_what_was_asked() -> None:
    asked = Asked([(0.0, 5.0), (1.0, None), (2.0, 7.0), (3.0, None), (4.0, 9.0), (5.0, 1.0)])
    assert (40.0, 7.0) == (asked.between(0, 5).lost, asked.between(0, 5).percentile(50))
