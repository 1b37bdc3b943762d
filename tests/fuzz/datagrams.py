"""Queries as datagrams, made from golden questions: to a whole configuration, its memo before it.

What must hold: silence for what is no query, and for nothing else; the id, the opcode and the question of what was asked; no
more octets than the client takes; TC only where something is left out and never over TCP; dnspython reads each reply; the
memo says what the plugins say.
"""

import json
from collections.abc import Coroutine
from random import Random
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rdatatype
import dns.rrset

from kdns.core.plugin import Kept
from kdns.dns.query import Transport
from tests.fuzz.judging import Cost
from tests.fuzz.mutation import mutated
from tests.support import TOWN
from tests.support.configured import CLIENT, generation_of, listener_of, LOCAL

COREFILE = f"""
. {{
    bufsize 4096
    prometheus 127.0.0.1:0
    loadbalance
    hosts {{
        192.0.2.1 one.example
        192.0.2.2 one.example two.example
        2001:db8::1 one.example
        fallthrough
    }}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        manifests {TOWN}/00-nodes.yaml {TOWN}/10-seeds.yaml {TOWN}/20-kinds.yaml {TOWN}/30-crowd.yaml
        pods insecure
        fallthrough
    }}
    whoami
}}
"""
TYPES = (1, 1, 28, 28, 33, 12, 6, 2, 5, 15, 16, 255, 252, 251, 41, 0, 65, 43, 64, 65535)
OPTIONS = ("", "", "000a0008" + 8 * "5a", "0003" + "0000", "0008000700011800c00002", "000c0004" + "00000000", "000a", "ffff0001ff")
READ = 50_000  # replies that are known


class Datagrams:
    dear = 2000
    bound, bound_by_octet = Cost(6000, 1 << 20), Cost(200, 1000)

    def __init__(self, rnd: Random, closely: int = 1) -> None:
        """Of replies not met yet one in `closely` is read by dnspython."""
        self._rnd, self._closely_one_in = rnd, closely
        self._new = 0
        golden = (TOWN / "answers" / "kubeadm.jsonl").read_text().splitlines()
        asked = sorted({json.loads(line)["name"] for line in golden} | {"one.example.", "two.example.", "."})
        self._seeds = [self._query(name) for name in asked for _ in range(4)]
        self._read: set[bytes] = set()

    def _query(self, name: str) -> bytes:
        rnd = self._rnd
        type = rnd.choice(TYPES)
        query = dns.message.make_query(name, "A")
        query.flags = rnd.choice((0x100, 0x100, 0x100, 0x120, 0x110, 0, 0x8100, 0x2400, 0x7900))
        wire = query.to_wire()
        wire = wire[:-4] + type.to_bytes(2, "big") + rnd.choice((b"\0\1", b"\0\1", b"\0\1", b"\0\3", b"\0\xff", b"\0\xfe"))
        if rnd.random() < 0.2:
            wire = wire[:12] + wire[12:-4].upper() + wire[-4:]
        if rnd.random() < 0.5:
            size, flags = rnd.choice((0, 511, 512, 1232, 4096, 65535)), rnd.choice((0, 0, 0x8000, 1 << 16, 1 << 24))
            options = bytes.fromhex(rnd.choice(OPTIONS))
            wire = wire[:10] + b"\0\1" + wire[12:] + b"\0\0\x29" + size.to_bytes(2, "big") + flags.to_bytes(4, "big")
            wire += len(options).to_bytes(2, "big") + options
        return wire

    async def prepare(self) -> None:
        self._generation = generation_of(COREFILE)
        for kept in self._generation.kept.values():
            if isinstance(kept, Kept):
                await kept.start()
        self._listener = listener_of(self._generation)

    async def end(self) -> None:
        await self._generation.close()

    def make(self) -> bytes:
        return mutated(self._rnd, self._seeds)

    async def judge(self, wire: bytes) -> None:
        self.look(wire)

    def look(self, wire: bytes) -> None:
        listener = self._listener
        kept = listener.replay(wire[2:], CLIENT, Transport.UDP)
        if kept is not None:
            reply: bytes | None = wire[:2] + kept
        else:
            reply = self._reply(wire, Transport.UDP)
        if reply is None:
            assert len(wire) < 12 or wire[2] & 0x80, "silence"
            return
        assert reply[:2] == wire[:2], "another id"
        assert reply[2] & 0x80 and (reply[2] ^ wire[2]) & 0x78 == 0, "no reply, or another opcode"
        assert len(reply) <= 512 or (wire[10:12] != b"\0\0" and len(reply) <= 4096), f"{len(reply)} octets"
        end = _end_of_question(wire)
        if reply[4:6] != b"\0\0":
            assert reply[4:6] == b"\0\1" and reply[12:end] == wire[12:end], "another question"
        else:
            assert reply[3] & 15 in (1, 4), f"no question, and code {reply[3] & 15}"
        said = wire[10:12] + reply[2:]
        if said not in self._read:
            if len(self._read) > READ:
                self._read.clear()
            self._read.add(said)
            self._new += 1
            if not self._new % self._closely_one_in:
                self._closely(wire, reply)

    def _closely(self, wire: bytes, reply: bytes) -> None:
        """As dnspython reads it, beside what is said over TCP."""
        message = dns.message.from_wire(reply)
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return  # we take more than dnspython does, such as a key of TSIG that it does not have
        if query.opcode() == dns.opcode.QUERY and message.rcode() not in (1, 16):
            assert len(reply) <= max(512, min(query.payload, 4096) if query.edns >= 0 else 0), f"{len(reply)} octets"
            assert (query.edns >= 0) == (message.edns >= 0), "EDNS"
        octets = self._reply(wire, Transport.TCP)
        if octets is None or query.question[0].rdtype in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
            return
        whole = dns.message.from_wire(octets)
        assert not whole.flags & dns.flags.TC, "TC over TCP"
        assert whole.rcode() == message.rcode(), "another code over TCP"
        if message.flags & dns.flags.TC:
            assert _count(message.answer) + _count(message.authority) < _count(whole.answer) + _count(whole.authority), "TC"
        else:
            assert _sorted(message.answer) == _sorted(whole.answer), "another answer over TCP, or out of the memo"

    def _reply(self, wire: bytes, transport: Transport) -> bytes | None:
        reply = _finished(self._listener.reply(wire, CLIENT, LOCAL, transport))
        return reply if isinstance(reply, bytes) else None


def _finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine comes to that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("it waits")


def _end_of_question(wire: bytes) -> int:
    at = 12
    while at < len(wire) and wire[at]:
        at += wire[at] + 1
    return at + 5


def _sorted(section: list[dns.rrset.RRset]) -> list[str]:
    return sorted(line for rrset in section for line in rrset.to_text().split("\n"))


def _count(section: list[dns.rrset.RRset]) -> int:
    return sum(map(len, section))
