"""All the records of a zone, held against what is said of each name when it is asked for; and in which steps they come."""

import random
from collections import defaultdict

import pytest

from kdns.cluster.answers import Answers, Schema
from kdns.cluster.listing import listing, STEP
from kdns.cluster.objects import Service
from kdns.cluster.store import Store
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Response
from kdns.dns.transfer import messages
from kdns.dns.types import A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT
from tests.support.notation import objects, slice_
from tests.support.random_objects import ADDRESSES, CLUSTER_IPS, LABELS, random_object, SERVICES, SIX
from tests.support.steps import steps

ZONES = ("cluster.local.", "in-addr.arpa.", "ip6.arpa.")
Records = dict[tuple[str, int], set[bytes]]


def listed(answers: Answers, origin: str) -> Records:
    """The records of a listing, none of which comes twice but the SOA."""
    found: Records = defaultdict(set)
    every = [rrset for step in listing(answers, Query(origin, 252), origin) for rrset in step]
    assert (every[0], SOA) == (every[-1], every[0].type)
    for rrset in every[:-1]:
        assert not found[rrset.name, rrset.type] & set(rrset.rdata)
        assert rrset.ttl == (28800 if rrset.type == TXT else answers.options.ttl)
        found[rrset.name, rrset.type] |= set(rrset.rdata)
    return found


def asked(answers: Answers, name: str, type: int, origin: str) -> set[bytes]:
    """What is said of a name, its own records of the type alone."""
    response = answers.look(Query(name, type), origin, 1 << 30)
    return {rdata for rrset in response.answer if (rrset.name, rrset.type) == (name, type) for rdata in rrset.rdata}


def universe() -> list[str]:
    """Every name that could have records and is not computed."""
    below = ["", *(f"{label}." for label in LABELS), "_tcp.", "_udp."]
    below += [f"_{port}._{protocol}." for port in ("http", "dns", "") for protocol in ("tcp", "udp")]
    every = [f"{b}{key.split('/')[1]}.{key.split('/')[0]}.svc.cluster.local." for key in SERVICES for b in below]
    every += ["cluster.local.", "svc.cluster.local.", "p.svc.cluster.local.", "dns-version.cluster.local.", "ns.dns.cluster.local."]
    return every + [names.reverse_name(names.packed(address)) for address in ADDRESSES + SIX + CLUSTER_IPS]


OPTIONS = [
    {},
    {"endpoint_pod_names": True, "zonal": True, "ignore_empty": True, "ttl": 30},
    {"noendpoints": True},
    {"namespaces": frozenset({"p"}), "pods": "insecure"},
    {"namespace_labels": lambda labels: labels.get("env") == "prod"},
]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options) or "no options")
def test_what_is_listed_is_what_is_said_and_nothing_is_missing(options: dict[str, object], seed: int) -> None:
    rnd = random.Random(seed)
    store = Store()
    store.put(*[random_object(rnd) for _ in range(30)])
    answers = Answers(store, Schema(zones=ZONES, **options))  # type: ignore[arg-type]
    for origin in ZONES:
        found = listed(answers, origin)
        for (name, type), rdata in found.items():
            assert asked(answers, name, type, origin) == rdata
        for name in universe():
            if names.is_below(name, origin):
                for type in (A, AAAA, CNAME, NS, PTR, SRV, TXT):
                    assert found.get((name, type), set()) == asked(answers, name, type, origin)


def test_a_zone_of_a_prefix_has_its_addresses_alone() -> None:
    store = Store()
    store.put(*objects("ns p\nsvc p/a 10.1.255.255\nsvc p/b 10.2.0.0\nsvc p/c 10.2.255.255\nsvc p/d 10.3.0.0"))
    answers = Answers(store, Schema(zones=("cluster.local.", "2.10.in-addr.arpa.")))
    found = {name for name, type in listed(answers, "2.10.in-addr.arpa.") if type == PTR}
    assert {"0.0.2.10.in-addr.arpa.", "255.255.2.10.in-addr.arpa."} == found


def test_a_listing_comes_in_short_steps_and_bears_changes() -> None:
    store = Store()
    store.put(*objects("ns p\nsvc p/web 10.96.0.1 http:80/tcp\nsvc p/late 10.96.0.2"), Service("p/db", (), ()))
    many = [f"10.1.{i >> 8}.{i & 255}" for i in range(5000)]
    store.put(slice_("p/db-1", "p/db", many, objects("svc p/x 10.9.9.9 a:1/tcp b:2/tcp")[0].ports, 5000))  # type: ignore[union-attr]
    answers = Answers(store, Schema(zones=ZONES))
    every = listing(answers, Query("cluster.local.", 252), "cluster.local.")
    first = next(every)
    records = sizes = 0
    for step in every:
        size = sum(len(rrset.rdata) for rrset in step)
        assert size <= STEP
        records += size
        sizes += 1
        store.remove(Service, "p/late")
        store.put(Service("p/new", (names.packed("10.96.0.3"),), ()))
    # addresses; SRV of both ports together and each; at each endpoint its address and SRV of both
    assert 5000 + 4 * 5000 + 3 * 5000 <= records <= 8 * 5000 + 20
    assert sizes >= 40_000 // STEP
    assert [] == [rrset for rrset in first if rrset.name.startswith("late.")]
    for origin in ("in-addr.arpa.",):
        every = listing(answers, Query(origin, 252), origin)
        pointers = 0
        for step in every:
            assert len(step) <= STEP
            pointers += sum(rrset.type == PTR for rrset in step)
            store.put(Service("p/new", (names.packed("10.0.0.3"),), ()))  # before what is listed already
        assert pointers == 5000 + 2


def test_what_changes_while_a_zone_is_transferred_has_a_later_serial() -> None:
    store = Store()
    store.put(*objects("ns p\nsvc p/web 10.96.0.1"))
    before = store.serial
    for _ in range(3):  # in one second
        assert before == store.hand_out()
        store.put(*objects(f"svc p/web 10.96.0.{2 + _}"))
        assert store.serial > before
        before = store.serial


def crowd(kind: str) -> Store:
    """A cluster in which there is much to look at, and little of it at a time to list."""
    store = Store()
    store.put(*objects("ns p"))
    if kind == "Services without endpoints":
        store.put(*[Service(f"p/s{i}", (), ()) for i in range(3000)])
        return store
    ports = objects("svc p/x 10.9.9.9 a:1/tcp")[0].ports  # type: ignore[union-attr]
    store.put(Service("p/db", (), ports))
    for n in range(100):
        addresses = [f"10.1.{n}.{i}" + ("=same" if kind == "one name" else "") for i in range(50)]
        store.put(slice_(f"p/db-{n}", "p/db", addresses, ports, 50))
    return store


@pytest.mark.parametrize("kind", ["Services without endpoints", "one Service", "one name"])
@pytest.mark.parametrize("origin", ["cluster.local.", "in-addr.arpa."])
def test_a_message_is_made_in_few_steps_whatever_there_is(kind: str, origin: str) -> None:
    """Between two of them others have their turn: work is counted, for a clock would tell how busy the machine is."""
    answers = Answers(crowd(kind), Schema(zones=ZONES))
    made = messages(listing(answers, Query(origin, 252), origin))
    most = records = 0
    code = ("kdns/cluster/listing.py", "cluster/records.py", "cluster/members.py", "cluster/store.py", "dns/transfer.py")
    response: Response | None = None
    while response is None or response.answer:
        held: list[Response | None] = []
        most = max(most, steps(lambda: held.append(next(made, Response())), code))  # noqa: B023 - called at once
        (response,) = held
        records += sum(len(rrset.rdata) for rrset in response.answer) if response is not None else 0
    assert records >= 3
    assert most < 40 * STEP
