"""Never stale: whatever changes in a cluster, the memo says what the plugins would say. Judged by dnspython."""

import asyncio
import random
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from kdns.cluster.balancers import Entrance, External
from kdns.cluster.objects import joined, Namespace, Pod, Port, Service, Slice
from kdns.cluster.store import Store
from kdns.core.listener import Listener
from kdns.dns import names
from kdns.dns.query import Address, Transport
from tests.support.configured import generation_of, listener_of, LOCAL

OPTIONS = [  # of kubernetes, and of k8s_external
    ("pods verified\nfallthrough in-addr.arpa", "hostnames\nresources Ingress HTTPRoute\nheadless\nfallthrough"),
    ("namespace_labels shown=yes\nignore empty_service\nendpoint_pod_names", "hostnames\nresources HTTPRoute TLSRoute Ingress"),
    ("namespaces a b\npods insecure\nnoendpoints", "hostnames\nheadless"),
    ("ttl 30\nzonal", "resources Ingress\napex b"),
]
COREFILE = """. {{
    kubernetes cluster.local 10.in-addr.arpa {{
        manifests {empty}
        {inside}
    }}
    k8s_external example.org 192.0.2.0/24 {{
        {outside}
    }}
    autopath @kubernetes
    loadbalance
    template IN A net {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.200"
    }}
}}
"""
NAMESPACES, SERVICES, KINDS = ("a", "b", "c"), ("web", "db"), ("Ingress", "HTTPRoute", "TLSRoute")
HOSTS = ("www.example.org.", "*.example.org.", "a.example.org.", "web.a.example.org.", "*.w.example.org.", "x.w.example.org.")
ALIASES = (None, None, None, "t.net.", "web.a.svc.cluster.local.", "www.example.org.", "nowhere.test.")
PORTS: tuple[tuple[Port, ...], ...] = ((), (Port("http", 80, "tcp"),), (Port("http", 80, "tcp"), Port("dns", 53, "udp")))
CLIENTS = (Address("10.0.0.1", 5353), Address("10.0.0.2", 5353))
BOTH = [f"{service}.{namespace}" for service in SERVICES for namespace in NAMESPACES]
ASKED = [
    *[f"{head}{name}.svc.cluster.local" for name in BOTH for head in ("", "_http._tcp.", "h1.")],
    *[f"{name}.example.org" for name in ("www", "a", "q", "w", "y.w", "x.w", "z.x.w", *BOTH)],
    *[f"{namespace}.svc.cluster.local" for namespace in NAMESPACES],
    *[f"{n}.0.0.10.in-addr.arpa" for n in range(1, 6)], *[f"{n}.2.0.192.in-addr.arpa" for n in range(1, 6)],
    *[f"{name}.{namespace}.svc.cluster.local" for name in ("web.a.svc.cluster.local", "t.net") for namespace in NAMESPACES],
    "0.0.10.in-addr.arpa", "10-0-0-1.a.pod.cluster.local", "b.pod.cluster.local",
]  # fmt: skip


def external(rnd: random.Random, most_asked: int = 2) -> External:
    addresses = {names.packed(f"192.0.2.{rnd.randrange(1, 6)}") for _ in range(rnd.randrange(3))}
    called = ("lb.net.",) if rnd.random() < 0.3 else ()
    return External(tuple(sorted(addresses)), called, tuple(rnd.sample(HOSTS, rnd.randrange(most_asked + 1))))


def change(rnd: random.Random, store: Store) -> None:
    """An object that comes, is another than before, or goes."""
    namespace, service = rnd.choice(NAMESPACES), rnd.choice(SERVICES)
    key, number = f"{namespace}/{service}", rnd.randrange(2)
    addresses = tuple(names.packed(f"10.0.0.{rnd.randrange(1, 6)}") for _ in range(rnd.randrange(3)))
    alias, kind = rnd.choice(ALIASES), rnd.choice(KINDS)
    gateways = tuple(f"{one}/g Gateway" for one in rnd.sample(NAMESPACES, rnd.randrange(3))) if kind != "Ingress" else ()
    new: list[Any] = [
        Service(key, () if alias else tuple(dict.fromkeys(addresses)), rnd.choice(PORTS), alias, "", external(rnd)),
        Slice(f"{key}-{number}", key, 4, b"".join(addresses), joined([rnd.choice(("", "h1")) for _ in addresses]),
              rnd.choice(PORTS), len(addresses)),
        Namespace(namespace, rnd.choice(((), (("shown", "yes"),)))),
        Pod(f"{namespace}/p{number}", addresses[:1]),
        Entrance(f"{namespace}/e{number} {kind}", external(rnd), gateways),
        Entrance(f"{namespace}/g Gateway", external(rnd, 0)),
    ]  # fmt: skip
    one = rnd.choice(new)
    if rnd.random() < 0.7:
        store.put(one)
    else:
        store.remove(type(one), one.name if isinstance(one, Namespace) else one.key)


def said(wire: bytes) -> tuple[Any, ...]:
    """A reply without what turns, and without the serial."""
    message = dns.message.from_wire(wire)
    records = [
        sorted((r.name.to_text(), r.ttl, rdata.to_text() if r.rdtype != dns.rdatatype.SOA else "") for r in section for rdata in r)
        for section in message.sections[1:]
    ]
    return message.rcode(), dns.flags.to_text(message.flags), records


async def compared(listener: Listener, wire: bytes, client: Address) -> bool:
    """Ask, and where the memo has the reply hold it against a new one; was it there?"""
    kept = listener.replay(wire[2:], client, Transport.UDP)
    if kept is None:
        await listener.reply(wire, client, LOCAL, Transport.UDP)
        return False
    with patch.object(listener.memo, "put"):
        made = await listener.reply(wire, client, LOCAL, Transport.UDP)
    assert isinstance(made, bytes)
    assert said(made) == said(wire[:2] + kept), dns.message.from_wire(wire).question[0].to_text()
    return True


@pytest.mark.parametrize("options", OPTIONS, ids=["verified", "labels", "namespaces", "zonal"])
@pytest.mark.parametrize("seed", [1, 2])
def test_never_stale(options: tuple[str, str], seed: int, tmp_path: Path) -> None:
    rnd = random.Random(seed)
    (tmp_path / "empty.yaml").write_text("kind: List\napiVersion: v1\nitems: []\n")
    generation = generation_of(COREFILE.format(empty=tmp_path / "empty.yaml", inside=options[0], outside=options[1]))
    store: Store = generation.blocks[0].named("kubernetes")[0].store  # type: ignore[attr-defined]
    store.synced = True
    every = [dns.message.make_query(name, type).to_wire() for name in ASKED for type in ("A", "SRV", "PTR")]

    async def run() -> int:
        hits = 0
        for _ in range(40):
            for wire in rnd.sample(every, 60):
                hits += await compared(listener_of(generation), wire, rnd.choice(CLIENTS))
            for _ in range(rnd.randrange(1, 3)):
                change(rnd, store)
        return hits

    assert asyncio.run(run()) > 500
