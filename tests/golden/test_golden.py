"""A running server against what a cluster's DNS is known to say: every golden question, over UDP and TCP.

golden/town/objects.json is a small cluster as its API server lists it, and the YAML beside it the manifests that it was made
from: served from those, ClusterIPs are kdns's own, so any address of their ranges will do and their reverse names are left
out. answers/*.jsonl has a row for each question; options that change few answers have only the rows that differ from `bare`.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest

from kdns.core.listener import Listener
from kdns.dns.query import Address, Transport
from tests.support import TOWN
from tests.support.running import Client, serving

RANGES = tuple(map(ip_network, ("10.96.0.0/12", "fd00:96::/112")))
OPTIONS = {
    "bare": "",
    "kubeadm": "pods insecure\nfallthrough in-addr.arpa ip6.arpa\nttl 30",
    "verified": "pods verified\nendpoint_pod_names\nttl 60",
    "ignore-empty": "ignore empty_service",
    "noendpoints": "noendpoints",
    "namespaces": "namespaces prod kube-system\npods insecure",
    "namespace-labels": "namespace_labels env in (prod)\npods verified",
    "zonal": "zonal\npods insecure",
}
SOURCES = {
    "objects.json": [TOWN / "objects.json"],
    "yaml": sorted(TOWN.glob("*.yaml")),
}
Row = dict[str, Any]


def golden_rows(options: str) -> list[Row]:
    """What is expected with some options; a row that says `skip` has two right answers."""
    rows: dict[tuple[str, str], Row] = {}
    for file in dict.fromkeys(("kubeadm",) if options == "kubeadm" else ("bare", options)):
        for line in (TOWN / "answers" / f"{file}.jsonl").read_text().splitlines():
            row = json.loads(line)
            rows[row["name"], row["type"]] = row
    return [row for row in rows.values() if "skip" not in row]


class Said(NamedTuple):
    """A reply, in the words of the golden rows."""

    rcode: str
    authoritative: bool
    answer: frozenset[str]
    additional: frozenset[str]
    soa: str | None


def said(message: dns.message.Message) -> Said:
    soas = [rr for rr in records(message.authority) if " SOA " in rr]
    return Said(
        dns.rcode.to_text(message.rcode()),
        bool(message.flags & dns.flags.AA),
        frozenset(records(message.answer)),
        frozenset(records(message.additional)),
        soas[0] if soas else None,
    )


def records(section: Any) -> Iterator[str]:
    """Each record as text; names in lower case, an SOA with serial 0."""
    for rrset in section:
        kind = dns.rdatatype.to_text(rrset.rdtype)
        for rdata in rrset:
            words = rdata.to_text().split()
            if kind == "SOA":
                words[2] = "0"
            if kind in ("SRV", "CNAME", "PTR", "SOA"):
                words = [word.lower() for word in words]
            yield f"{str(rrset.name).lower()} {rrset.ttl} {kind} {' '.join(words)}"


def expected(row: Row) -> Said:
    return Said(row["rcode"], True, frozenset(row["answer"]), frozenset(row["additional"]), row.get("soa"))


def without_cluster_ips(one: Said) -> Said:
    """Addresses of the ranges of ClusterIPs replaced by their range."""

    def freed(record: str) -> str:
        head, _, rdata = record.rpartition(" ")
        if not head.endswith((" A", " AAAA")):
            return record
        return f"{head} {next((network for network in RANGES if ip_address(rdata) in network), rdata)}"

    return one._replace(answer=frozenset(map(freed, one.answer)), additional=frozenset(map(freed, one.additional)))


def is_cluster_ip(name: str) -> bool:
    """Is it the reverse name of an address in the ranges of ClusterIPs?"""
    if not name.endswith("arpa."):
        return False
    try:
        address = ip_address(dns.reversename.to_address(dns.name.from_text(name)))
    except (dns.exception.DNSException, ValueError):
        return False
    return any(address in network for network in RANGES)


@cache
def question(name: str, type: str) -> bytes:
    return dns.message.make_query(name, type, use_edns=0, payload=4096).to_wire()


async def differences(client: Client, rows: list[Row], transport: str, freed: bool) -> list[str]:
    """The rows that a server answers otherwise."""
    judged: dict[bytes, Said] = {}

    async def judge(row: Row) -> str:
        query = question(row["name"], row["type"])
        right = without_cluster_ips(expected(row)) if freed else expected(row)
        turns = 3 if len(row["answer"]) > 1 and row["type"] in ("A", "AAAA") else 1
        for _ in range(turns):  # a rotation can go wrong
            reply = await client.octets(query, transport)
            if reply[2] & 0x02 and transport == "udp":
                reply = await client.octets(query, "tcp")
            got = judged.get(reply[2:])
            if got is None:
                got = said(dns.message.from_wire(reply))
                got = judged[reply[2:]] = without_cluster_ips(got) if freed else got
            if right != got:
                return f"{row['name']} {row['type']}: expected {right}, is {got} [{row.get('why', '')}]"
        return ""

    found = await asyncio.gather(*map(judge, rows))
    return [one for one in found if one]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("source", SOURCES)
def test_golden_questions(source: str, options: str, free_port: int) -> None:
    freed = source == "yaml"
    rows = [row for row in golden_rows(options) if not (freed and is_cluster_ip(row["name"]))]
    assert 2000 < len(rows)
    corefile = f"""
        .:{free_port} {{
            bind 127.0.0.1
            kubernetes cluster.local in-addr.arpa ip6.arpa {{
                manifests {" ".join(map(str, SOURCES[source]))}
                {OPTIONS[options]}
            }}
            {"loadbalance" if options == "kubeadm" else ""}
        }}
    """

    async def check() -> list[str]:
        async with serving(corefile), Client.of(free_port) as client:
            found = await differences(client, rows, "udp", freed)
            return found + await differences(client, rows, "tcp", freed)

    assert [] == asyncio.run(check())


def spelt(wire: bytes) -> bytes:
    """A query with every other letter of its name a capital."""
    end = wire.index(b"\0", 12)
    return wire[:12] + bytes(c - 32 if i % 2 and 97 <= c <= 122 else c for i, c in enumerate(wire[12:end])) + wire[end:]


def with_option(wire: bytes) -> bytes:
    """With a cookie that no other query has (RFC 7873 4)."""
    return wire[:-2] + b"\0\x0c\0\x0a\0\x08" + os.urandom(8)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a cookie": with_option,
    "a cookie and 0x20": lambda wire: with_option(spelt(wire)),
    "flags that mean nothing": lambda wire: wire[:2] + bytes((wire[2] | 0x06, wire[3] | 0xC5)) + wire[4:],
    "an odd size": lambda wire: wire[:-8] + b"\x10\x03" + wire[-6:],
}


@pytest.mark.parametrize("change", CHANGES)
def test_golden_questions_with_what_changes_nothing(change: str, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first time and the second, which is the memo's: the reply that the plain question has, spelt as it was asked."""
    monkeypatch.setattr("kdns.cluster.reasons.STEPS", 1e12)  # each denial says why, however many are asked at once
    rows = [row for row in golden_rows("bare") if not row["name"].endswith("arpa.")]
    corefile = f".:{free_port} {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n manifests {TOWN}/objects.json\n }}\n}}\n"
    make = CHANGES[change]

    async def check() -> list[str]:
        wrong = []
        async with serving(corefile) as server:
            listener = next(iter(server.generation.listeners.values()))
            for row in rows:
                asked = question(row["name"], row["type"])
                changed = make(asked)
                plain = await _reply(listener, asked, True)
                for fresh in (True, False):
                    reply = await _reply(listener, changed, fresh)
                    if not _same(plain, reply, changed):
                        wrong.append(f"{row['name']} {row['type']}: {plain!r}, {reply!r}")
        return wrong

    assert [] == asyncio.run(check())


def _same(plain: bytes, reply: bytes, asked: bytes) -> bool:
    """Is it the reply to the plain question, but for the spelling? Of a truncated one, any part will do."""
    end = asked.index(b"\0", 12)
    if reply[:end] != reply[:12] + asked[12:end]:
        return False
    if reply[2:12] + reply[end:] == plain[2:12] + plain[end:]:
        return True
    one, other = dns.message.from_wire(plain), dns.message.from_wire(reply)
    if one.flags != other.flags or one.options != other.options:
        return False
    return bool(one.flags & dns.flags.TC) or said(one) == said(other)


async def _reply(listener: Listener, wire: bytes, fresh: bool) -> bytes:
    """A reply that is made now, or the memo's."""
    client = Address("127.0.0.1", 5)
    if fresh:
        reply = await listener.reply(wire, client, client, Transport.UDP)
    else:
        kept = listener.replay(wire[2:], client, Transport.UDP)
        reply = wire[:2] + kept if kept is not None else await listener.reply(wire, client, client, Transport.UDP)
    assert isinstance(reply, bytes)
    return reply


def test_every_file_of_answers_is_asked() -> None:
    assert sorted(OPTIONS) == sorted(path.stem for path in (TOWN / "answers").iterdir())


def test_a_wrong_answer_is_seen(free_port: int) -> None:
    """The comparison itself can fail: on the code, the TTL, a record."""
    rows = [row for row in golden_rows("bare") if row["answer"] and row["type"] == "A"][:3]
    wrong = [
        {**rows[0], "rcode": "NXDOMAIN"},
        {**rows[1], "answer": [rows[1]["answer"][0].replace(" 5 A ", " 6 A ")]},
        {**rows[2], "answer": []},
        rows[0],
    ]
    corefile = f".:{free_port} {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n manifests {TOWN}/objects.json\n }}\n}}\n"

    async def check() -> list[str]:
        async with serving(corefile), Client.of(free_port) as client:
            return await differences(client, wrong, "udp", False)

    assert [row["name"] for row in wrong[:3]] == [one.partition(" ")[0] for one in asyncio.run(check())]
