"""Clusters and answers in a notation that fits a table of cases.

A cluster has an object on each line; below, words in brackets may be left out:

    ns prod [env=prod ...]
    svc prod/web 10.96.0.1 fd00::1 http:80/tcp         ClusterIPs and ports; headless without addresses
    svc prod/db app=db                                 a selector
    svc prod/ext > api.example.com                     an ExternalName
    slice prod/db-1 prod/db 10.0.0.1[=hostname][%pod][@zone] mysql:3306/tcp [unready[:name]]
    slice prod/out-1 prod/out db.example.com.          an address that ends in a dot is a name: addressType FQDN
    pod prod/web-1 10.0.0.1

A question is `web.prod.svc A`, below cluster.local unless it ends in a dot. An answer is its records, sorted, with the owner
only where it is not the name asked, and `+` before those of the additional section, `SRV 0 100 80 web.prod.svc,
+ web.prod.svc A 10.96.0.1`; or NODATA, NXDOMAIN or another code. Names in rdata are relative to cluster.local
too. A line that begins with "..." goes on with the answer of the line before.
"""

import re
from collections.abc import Coroutine, Iterator
from typing import Any, cast, TypeVar

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from msgspec.structs import replace

from kdns.cluster.objects import joined, Namespace, Pod, Port, Service, Slice, Stored
from kdns.cluster.store import Store
from kdns.core.listener import Listener
from kdns.dns import names
from kdns.dns.query import Address, Transport
from kdns.plugins.kubernetes import Kubernetes
from kdns.server.load import load

ORIGIN = dns.name.from_text("cluster.local.")
ZONES = "cluster.local in-addr.arpa ip6.arpa"
CLIENT, LOCAL = Address("10.244.0.7", 41234), Address("10.96.0.10", 53)
T = TypeVar("T")


def rows(text: str) -> Iterator[tuple[str, str]]:
    """The questions and answers that the lines of a text have."""
    for line in filter(None, map(str.strip, re.sub(r"\n +\.\.\. *", " ", text).splitlines())):
        name, type, answer = line.split(maxsplit=2)
        yield f"{name} {type}", answer


def ip(text: str) -> bytes:
    return names.packed(text)


def objects(text: str) -> list[Stored]:
    """The objects that the lines of a text describe."""
    return [_object(*line.split()) for line in text.splitlines() if line.strip()]


def _object(kind: str, key: str, *words: str) -> Stored:
    if kind == "ns":
        return Namespace(key, tuple((word.partition("=")[0], word.partition("=")[2]) for word in words))
    if kind == "pod":
        return Pod(key, tuple(map(ip, words)))
    if kind == "svc" and words[:1] == (">",):
        return Service(key, (), (), names.absolute(words[1]))
    service, words = ("", words) if kind == "svc" else (words[0], words[1:])
    ports = tuple(_port(word) for word in words if "/" in word)
    every = [word for word in words if "/" not in word]
    if kind == "svc":
        ips = tuple(ip(word) for word in every if "=" not in word)
        return Service(key, ips, ports, None, ",".join(word for word in every if "=" in word))
    out = [word for word in every if word.startswith("unready")]
    made = slice_(key, service, [word for word in every if word not in out], ports, len(every))
    return replace(made, unready=joined([word.partition(":")[2] for word in out]))


def _port(word: str) -> Port:
    name, _, rest = word.rpartition(":")
    number, _, protocol = rest.partition("/")
    return Port(name, int(number), protocol)


def slice_(key: str, service: str, endpoints: list[str], ports: tuple[Port, ...], total: int) -> Slice:
    """A slice of endpoints in the notation above, all of one family."""
    column: dict[str, list[str | None]] = {sign: [] for sign in "=%@"}
    addresses = []
    for word in endpoints:
        for sign in "@%=":
            word, _, value = word.partition(sign)
            column[sign].append(value or None)
        addresses.append(word)
    if addresses and addresses[0].endswith("."):
        return Slice(key, service, 0, b"", joined(addresses), ports, total)
    packed = [ip(address) for address in addresses]
    hostnames, pods, zones = (tuple(values) if any(values) else None for values in column.values())
    called = joined([each or "" for each in hostnames or ()])
    return Slice(key, service, len(packed[0]) if packed else 4, b"".join(packed), called, ports, total, pods, zones)


def finished(coro: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that need not wait for anything."""
    try:
        coro.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coro.close()
    raise AssertionError("it waits")


class Cluster:
    """A server block that answers for objects in its store, asked as the UDP socket does: the memo first."""

    def __init__(self, text: str = "", options: str = "", zones: str = ZONES, more: str = "", more_plugins: str = "") -> None:
        corefile = f". {{\nkubernetes {zones} {{\nmanifests none\n{options}\n}}\n{more_plugins}}}\n{more}"
        self.generation = load(corefile)
        self.listener: Listener = self.generation.listeners["dns", "", 53]
        (self.kubernetes,) = cast(list[Kubernetes], self.listener.blocks["."][0].named("kubernetes"))
        self.store: Store = self.kubernetes.store
        self.store.put(*objects(text))
        self.store.synced = True

    def octets(self, wire: bytes, transport: Transport = Transport.UDP) -> bytes:
        """The reply to a message."""
        kept = self.listener.replay(wire[2:], CLIENT, transport) if transport is Transport.UDP else None
        if kept is not None:
            return wire[:2] + kept
        reply = finished(self.listener.reply(wire, CLIENT, LOCAL, transport))
        assert reply is not None
        return reply

    def ask(self, question: str, transport: Transport = Transport.UDP, payload: int = 1232) -> dns.message.Message:
        name, type = question.split()
        query = dns.message.make_query(dns.name.from_text(name, ORIGIN), type, id=7, use_edns=0, payload=payload)
        return dns.message.from_wire(self.octets(query.to_wire(), transport))

    def said(self, question: str) -> str:
        return spoken(self.ask(question))


def spoken(message: dns.message.Message) -> str:
    """An answer in the notation above."""
    asked = message.question[0].name
    records = [*_records(message.answer, asked), *("+ " + record for record in _records(message.additional, None))]
    code = dns.rcode.to_text(message.rcode())
    if not records:
        return "NODATA" if code == "NOERROR" else code
    return ", ".join([*([] if code == "NOERROR" else [code]), *records, *(["TC"] if message.flags & dns.flags.TC else [])])


def _records(section: Any, asked: dns.name.Name | None) -> Iterator[str]:
    found = []
    for rrset in section:
        owner = "" if rrset.name == asked else f"{rrset.name.relativize(ORIGIN)} "
        kind = dns.rdatatype.to_text(rrset.rdtype)
        found += [f"{owner}{kind} {rdata.to_text(origin=ORIGIN, relativize=True)}" for rdata in rrset]
    return iter(sorted(found))
