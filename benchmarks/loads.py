"""The everyday loads of a cluster's DNS server: 10,000 Services, and what their clients ask."""

import random
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import cluster
from benchmarks.load import Question, wire

SUFFIX = "svc.cluster.local"
SERVICES = 10_000
HEADLESS = (3, 30, 120)  # endpoints of the headless Services
DISTINCT = 48_000
FORWARDED = 30_000
HOT = 1_000
PROBE = f"service-05000.{cluster.namespace(5000)}.{SUFFIX}"
COOKIE = ("-E", "10:0123456789abcdef")


class Load(NamedTuple):
    """Questions; what dnsperf is told besides; how many seconds, 0 asks each question once; changes of Services meanwhile.

    `fresh`: for a server that has just started, so that a first time is one in each round.
    """

    name: str
    questions: list[Question]
    how: tuple[str, ...] = ()
    seconds: float = 1.0
    changes: int = 0  # a second
    one_each: bool = False  # a TCP connection for each question
    fresh: bool = False


def objects() -> Iterator[dict[str, Any]]:
    """10,000 Services with addresses, and one headless Service of each size."""
    for item in cluster.items(SERVICES, 0):
        item["metadata"].pop("resourceVersion", None)
        yield item
    for i, count in enumerate(HEADLESS):
        service = cluster.service(SERVICES + i, True)
        piece = cluster.endpoint_slice(SERVICES + i)
        every = [(f"10.200.{i}.{n + 1}", f"pod-{i}-{n}") for n in range(count)]
        piece["endpoints"] = [{"addresses": [ip], "conditions": {"ready": True}, "hostname": pod} for ip, pod in every]
        for item in (service, piece):
            item["metadata"].pop("resourceVersion", None)
            yield item


def changed(n: int) -> dict[str, Any]:
    """One of the hot Services with another port, so that what is known of it has to be forgotten."""
    service = cluster.service(n % HOT, False)
    service["metadata"].pop("resourceVersion", None)
    service["spec"]["ports"][0]["port"] = 1 + n % 60_000
    return service


def zones(folder: Path) -> dict[str, Path]:
    """The same for servers of zone files: forward and reverse."""
    soa = "30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30"
    out = {"cluster.local": folder / "forward.zone", "10.in-addr.arpa": folder / "reverse.zone"}
    forward, reverse = ([f"{zone}. {soa}", f"{zone}. 30 IN NS ns.dns.cluster.local."] for zone in out)
    for i in range(SERVICES):
        forward.append(f"{name(i)}. 30 IN A 10.{96 + (i >> 16)}.{i >> 8 & 255}.{i & 255}")
        forward.append(f"_http._tcp.{name(i)}. 30 IN SRV 0 100 80 {name(i)}.")
        reverse.append(f"{pointer(i)}. 30 IN PTR {name(i)}.")
    for i, count in enumerate(HEADLESS):
        forward += [f"{name(SERVICES + i)}. 30 IN A 10.200.{i}.{n + 1}" for n in range(count)]
    for path, lines in zip(out.values(), (forward, reverse), strict=True):
        path.write_text("\n".join(lines) + "\n")
    return out


def name(i: int) -> str:
    return f"service-{i:05}.{cluster.namespace(i)}.{SUFFIX}"


def pointer(i: int) -> str:
    return f"{i & 255}.{i >> 8 & 255}.{96 + (i >> 16)}.10.in-addr.arpa"


def distinct(turn: int) -> list[Question]:
    """48,000 names, each once: a fifth of them Services, SRV and PTR, the rest what search lists make of Services."""
    chance = random.Random(turn)
    out: list[Question] = []
    for i in chance.sample(range(SERVICES), DISTINCT // 5):
        here = cluster.namespace(turn * 3 + i)
        out += [(f"{name(i)}.{cluster.namespace(i + n)}.{SUFFIX}", "A") for n in range(3 * turn + 1, 3 * turn + 4)]
        out += [(f"_http._tcp.{name(i)}", "SRV") if i % 2 else (pointer(i), "PTR")]
        out += [(name(i), "A") if i % 2 else (f"10-{i & 255}-{turn}-{i >> 8}.{here}.pod.cluster.local", "A")]
    chance.shuffle(out)
    return out


def mix(turn: int) -> list[Question]:
    """The everyday: 30 % Services, 45 % misses of search lists, 10 % SRV, 10 % names of Pods, 5 % PTR; few are hot."""
    chance = random.Random(100 + turn)
    out: list[Question] = []
    for kind in chance.choices("smrpt", (30, 45, 10, 10, 5), k=30_000):
        i = int(chance.paretovariate(0.7)) * 7919 % SERVICES
        at = cluster.namespace(i)
        out.append({
            "s": (name(i), "A"), "m": (f"{name(i)}.{cluster.namespace(i + 1 + turn)}.{SUFFIX}", "A"),
            "r": (f"_http._tcp.{name(i)}", "SRV"), "p": (f"10-1-{turn}-{i & 255}.{at}.pod.cluster.local", "A"),
            "t": (pointer(i), "PTR"),
        }[kind])  # fmt: skip
    return out


HOT_NAMES = "1,000 hot names"
FORWARDED_HOT, FORWARDED_NEW = "forwarded and cached", "forwarded, never asked before"


def loads(turn: int) -> Iterator[Load]:
    """All of a round, in their order."""
    hot = [(name(i), "A") for i in range(HOT)]
    fresh = distinct(turn)
    yield Load("48,000 distinct names, first", fresh, (), 0, fresh=True)
    yield Load("48,000 distinct names, again", fresh, (), 0)
    yield Load("the real mix, first pass", mix(turn), (), 0, fresh=True)
    yield Load(HOT_NAMES, hot)
    for rate in (10, 200):
        yield Load(f"hot, {rate} changes a second", hot, changes=rate)
    yield Load("hot, a cookie in each", hot, COOKIE)
    yield Load("hot, spelt at random", [(spelt(each), type) for each, type in hot])
    for count in (1, 8, 100):
        yield Load(f"hot, TCP, {count} connection{'s' * (count > 1)}", hot, ("-m", "tcp", "-c", str(count)))
    yield Load("hot, TCP, a connection each", hot, one_each=True)
    for i, count in enumerate(HEADLESS):
        yield Load(f"headless of {count}", [(name(SERVICES + i), "A")], ("-e",))
    yield Load(FORWARDED_HOT, [(f"hot-{n}.example.test", "A") for n in range(20)])
    yield Load(FORWARDED_NEW, [(f"name-{turn}-{n}.example.test", "A") for n in range(FORWARDED)], (), 0)


def spelt(name: str) -> str:
    """In letters of either case, as a resolver asks that guards against forged replies."""
    return "".join(random.choice((c.lower(), c.upper())) for c in name)


def ask_one_each(port: int, questions: Iterable[Question], seconds: float) -> int:
    """Ask over TCP, one question a connection, one after the other; how many were answered.

    From several addresses, for a port is not free again at once.
    """
    asked = [wire(name, type, 7) for name, type in questions]
    messages = [len(octets).to_bytes(2) + octets for octets in asked]
    answered, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port), 2.0, (f"127.0.1.{answered % 8 + 1}", 0)) as connection:
            connection.sendall(messages[answered % len(messages)])
            answered += len(connection.recv(4096)) > 12
    return answered
