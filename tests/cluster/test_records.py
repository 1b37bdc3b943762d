"""What stands at the names of a Service: the rules of the Kubernetes DNS specification 1.1.0, shape by shape."""

import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import dns.flags
import dns.rdatatype
import pytest
from msgspec.structs import replace

from kdns.cluster import members, records
from kdns.cluster.members import label_of, Naming
from kdns.cluster.objects import (
    Conditions,
    EndpointObject,
    joined,
    Metadata,
    Service,
    Slice,
    slice_of,
    SliceObject,
    TargetRef,
)  # fmt: skip
from kdns.dns.query import Transport
from kdns.dns.types import A, SRV
from tests.support.notation import Cluster, objects, rows, slice_

HTTP = "http:80/tcp"
LONG = "a" * 63

# A cluster, and after it questions with their answers, a line each.
CASES = {
    "a Service of one family": """
        svc p/web 10.96.0.1 http:80/tcp :81/tcp dns:53/udp
        ?  web.p.svc A                A 10.96.0.1
        ?  web.p.svc AAAA             NODATA
        ?  web.p.svc MX               NODATA
        ?  web.p.svc ANY              A 10.96.0.1
        ?  WEB.p.SVC A                A 10.96.0.1
        ?  web.p.svc SRV              SRV 0 33 53 web.p.svc, SRV 0 33 80 web.p.svc, SRV 0 33 81 web.p.svc,
            ... + web.p.svc A 10.96.0.1
        ?  _http._tcp.web.p.svc SRV   SRV 0 100 80 web.p.svc, + web.p.svc A 10.96.0.1
        ?  _http._tcp.web.p.svc A     NODATA
        ?  _http._tcp.web.p.svc ANY   NODATA
        ?  _http._udp.web.p.svc SRV   NXDOMAIN
        ?  _dns._udp.web.p.svc SRV    SRV 0 100 53 web.p.svc, + web.p.svc A 10.96.0.1
        ?  _tcp.web.p.svc SRV         NODATA
        ?  _udp.web.p.svc A           NODATA
        ?  _sctp.web.p.svc A          NXDOMAIN
        ?  _._tcp.web.p.svc SRV       NXDOMAIN
        ?  http._tcp.web.p.svc SRV    NXDOMAIN
        ?  x._http._tcp.web.p.svc SRV NXDOMAIN
        ?  x.web.p.svc A              NXDOMAIN
        ?  x.y.web.p.svc A            NXDOMAIN
        ?  *.p.svc A                  NXDOMAIN
    """,
    "IPv6 alone": """
        svc p/web fd00:96::1 http:80/tcp
        svc p/db http:80/tcp
        slice p/db-1 p/db fd00:10::1 fd00:10::2=two http:80/tcp
        ?  web.p.svc A                NODATA
        ?  web.p.svc AAAA             AAAA fd00:96::1
        ?  web.p.svc ANY              AAAA fd00:96::1
        ?  _http._tcp.web.p.svc SRV   SRV 0 100 80 web.p.svc, + web.p.svc AAAA fd00:96::1
        ?  db.p.svc A                 NODATA
        ?  db.p.svc AAAA              AAAA fd00:10::1, AAAA fd00:10::2
        ?  fd00-10--1.db.p.svc AAAA   AAAA fd00:10::1
        ?  fd00-10-0-0-0-0-0-1.db.p.svc AAAA   NXDOMAIN
        ?  fd00-10--2.db.p.svc AAAA   NXDOMAIN
        ?  two.db.p.svc AAAA          AAAA fd00:10::2
        ?  1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa. PTR   PTR web.p.svc
        ?  2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.d.f.ip6.arpa. PTR   PTR two.db.p.svc
        ?  0.0.0.0.d.f.ip6.arpa. PTR  NODATA
        ?  1.0.0.0.d.f.ip6.arpa. PTR  NXDOMAIN
    """,
    "IPv6 addresses that end in zeros: no label ends in a hyphen": """
        svc p/db http:80/tcp
        slice p/db-1 p/db fd00:10:: ::3 http:80/tcp
        ?  fd00-10--0.db.p.svc AAAA   AAAA fd00:10::
        ?  fd00-10--.db.p.svc AAAA    NXDOMAIN
        ?  --3.db.p.svc AAAA          AAAA ::3
        ?  db.p.svc SRV               SRV 0 50 80 --3.db.p.svc, SRV 0 50 80 fd00-10--0.db.p.svc, + --3.db.p.svc AAAA ::3,
            ... + fd00-10--0.db.p.svc AAAA fd00:10::
        ?  0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.d.f.ip6.arpa. PTR   PTR fd00-10--0.db.p.svc
    """,
    "two families": """
        svc p/web 10.96.0.1 fd00:96::1 http:80/tcp
        svc p/db http:80/tcp
        slice p/db-4 p/db 10.0.0.1=a 10.0.0.2=b http:80/tcp
        slice p/db-6 p/db fd00::1=a fd00::2=b http:80/tcp
        ?  web.p.svc A                A 10.96.0.1
        ?  web.p.svc AAAA             AAAA fd00:96::1
        ?  web.p.svc ANY              A 10.96.0.1
        ?  _http._tcp.web.p.svc SRV   SRV 0 50 80 web.p.svc, + web.p.svc A 10.96.0.1, + web.p.svc AAAA fd00:96::1
        ?  a.db.p.svc A               A 10.0.0.1
        ?  a.db.p.svc AAAA            AAAA fd00::1
        ?  db.p.svc AAAA              AAAA fd00::1, AAAA fd00::2
        ?  _http._tcp.db.p.svc SRV    SRV 0 25 80 a.db.p.svc, SRV 0 25 80 b.db.p.svc, + a.db.p.svc A 10.0.0.1,
            ... + a.db.p.svc AAAA fd00::1, + b.db.p.svc A 10.0.0.2, + b.db.p.svc AAAA fd00::2
    """,
    "one hostname on several endpoints": """
        svc p/db http:80/tcp
        slice p/db-1 p/db 10.0.0.1=a 10.0.0.2=a 10.0.0.3 http:80/tcp
        slice p/db-2 p/db 10.0.0.4=a http:8080/tcp
        ?  a.db.p.svc A               A 10.0.0.1, A 10.0.0.2, A 10.0.0.4
        ?  a.db.p.svc ANY             A 10.0.0.1, A 10.0.0.2, A 10.0.0.4
        ?  a.db.p.svc AAAA            NODATA
        ?  10-0-0-1.db.p.svc A        NXDOMAIN
        ?  10-0-0-3.db.p.svc A        A 10.0.0.3
        ?  _http._tcp.db.p.svc SRV    SRV 0 25 80 10-0-0-3.db.p.svc, SRV 0 25 80 a.db.p.svc, SRV 0 25 8080 a.db.p.svc,
            ... + 10-0-0-3.db.p.svc A 10.0.0.3, + a.db.p.svc A 10.0.0.1, + a.db.p.svc A 10.0.0.2,
            ... + a.db.p.svc A 10.0.0.4
    """,
    "a hostname that looks like another endpoint's address": """
        svc p/db http:80/tcp
        slice p/db-1 p/db 10.0.0.1=10-0-0-2 10.0.0.2 10.0.0.3=x http:80/tcp
        ?  10-0-0-1.db.p.svc A        NXDOMAIN
        ?  10-0-0-2.db.p.svc A        A 10.0.0.1, A 10.0.0.2
        ?  10-0-0-3.db.p.svc A        NXDOMAIN
        ?  1.0.0.10.in-addr.arpa. PTR PTR 10-0-0-2.db.p.svc
        ?  2.0.0.10.in-addr.arpa. PTR PTR 10-0-0-2.db.p.svc
    """,
    "one port name with different numbers": """
        svc p/db http:80/tcp
        slice p/db-1 p/db 10.0.0.1=a http:8080/tcp
        slice p/db-2 p/db 10.0.0.2=b http:9090/tcp admin:1/tcp
        ?  _http._tcp.db.p.svc SRV    SRV 0 50 8080 a.db.p.svc, SRV 0 50 9090 b.db.p.svc, + a.db.p.svc A 10.0.0.1,
            ... + b.db.p.svc A 10.0.0.2
        ?  _admin._tcp.db.p.svc SRV   SRV 0 100 1 b.db.p.svc, + b.db.p.svc A 10.0.0.2
        ?  db.p.svc SRV               SRV 0 33 1 b.db.p.svc, SRV 0 33 8080 a.db.p.svc, SRV 0 33 9090 b.db.p.svc,
            ... + a.db.p.svc A 10.0.0.1, + b.db.p.svc A 10.0.0.2
    """,
    "endpoints without ports": """
        svc p/db
        slice p/db-1 p/db 10.0.0.1=a
        ?  db.p.svc A                 A 10.0.0.1
        ?  db.p.svc SRV               NODATA
        ?  a.db.p.svc SRV             NODATA
        ?  _tcp.db.p.svc SRV          NXDOMAIN
    """,
    "ports without a number: all ports, and SRV names none of them": """
        svc p/db
        slice p/db-1 p/db 10.0.0.1=a http:0/tcp dns:53/udp
        slice p/db-2 p/db 10.0.0.2=b any:0/tcp
        ?  db.p.svc A                 A 10.0.0.1, A 10.0.0.2
        ?  db.p.svc SRV               SRV 0 100 53 a.db.p.svc, + a.db.p.svc A 10.0.0.1
        ?  a.db.p.svc SRV             SRV 0 100 53 a.db.p.svc, + a.db.p.svc A 10.0.0.1
        ?  b.db.p.svc SRV             NODATA
        ?  _http._tcp.db.p.svc SRV    NODATA
    """,
    "one hostname, with ports and without": """
        svc p/db
        slice p/db-1 p/db 10.0.0.1=a http:80/tcp
        slice p/db-2 p/db 10.0.0.2=a
        ?  a.db.p.svc A               A 10.0.0.1, A 10.0.0.2
        ?  a.db.p.svc SRV             SRV 0 100 80 a.db.p.svc, + a.db.p.svc A 10.0.0.1
        ?  db.p.svc SRV               SRV 0 100 80 a.db.p.svc, + a.db.p.svc A 10.0.0.1
    """,
    "no endpoint is ready": """
        svc p/db http:80/tcp
        slice p/db-1 p/db unready unready http:80/tcp
        svc p/none http:80/tcp
        svc p/web 10.96.0.1 http:80/tcp
        ?  db.p.svc A                 NXDOMAIN
        ?  _http._tcp.db.p.svc SRV    NXDOMAIN
        ?  none.p.svc A               NXDOMAIN
        ?  web.p.svc A                A 10.96.0.1
    """,
    "an endpoint alone that is a name": """
        svc p/out http:80/tcp
        slice p/out-1 p/out db.p.svc.cluster.local. http:80/tcp
        svc p/db 10.96.0.9
        ?  out.p.svc CNAME            CNAME db.p.svc
        ?  out.p.svc ANY              CNAME db.p.svc
        ?  out.p.svc A                CNAME db.p.svc, db.p.svc A 10.96.0.9
        ?  out.p.svc AAAA             CNAME db.p.svc
        ?  x.out.p.svc A              NXDOMAIN
        ?  _http._tcp.out.p.svc SRV   NXDOMAIN
    """,
    "two endpoints that are names": """
        svc p/out http:80/tcp
        slice p/out-1 p/out a.example. b.example. http:80/tcp
        ?  out.p.svc A                NXDOMAIN
    """,
    "a name beside addresses": """
        svc p/out http:80/tcp
        slice p/out-1 p/out a.example. http:80/tcp
        slice p/out-2 p/out 10.0.0.1 http:80/tcp
        ?  out.p.svc A                A 10.0.0.1
        ?  out.p.svc CNAME            NODATA
        ?  out.p.svc SRV              SRV 0 100 80 10-0-0-1.out.p.svc, + 10-0-0-1.out.p.svc A 10.0.0.1
    """,
    "endpoints of a Service with a ClusterIP have names too": """
        svc p/web 10.96.0.1 http:80/tcp
        slice p/web-1 p/web 10.0.0.1=a 10.0.0.2 http:8080/tcp
        ?  a.web.p.svc A              A 10.0.0.1
        ?  10-0-0-2.web.p.svc A       A 10.0.0.2
        ?  a.web.p.svc SRV            SRV 0 100 8080 a.web.p.svc, + a.web.p.svc A 10.0.0.1
        ?  web.p.svc A                A 10.96.0.1
    """,
    "endpoints called by their Pods [endpoint_pod_names]": f"""
        svc p/db http:80/tcp
        slice p/db-1 p/db 10.0.0.1%db-0 10.0.0.2=h%db-1 10.0.0.3%{LONG} 10.0.0.4%{LONG}a 10.0.0.5%db.x http:80/tcp
        ?  db-0.db.p.svc A            A 10.0.0.1
        ?  10-0-0-1.db.p.svc A        NXDOMAIN
        ?  h.db.p.svc A               A 10.0.0.2
        ?  db-1.db.p.svc A            NXDOMAIN
        ?  {LONG}.db.p.svc A          A 10.0.0.3
        ?  10-0-0-4.db.p.svc A        A 10.0.0.4
        ?  10-0-0-5.db.p.svc A        A 10.0.0.5
        ?  x.db.p.svc A               NXDOMAIN
        ?  5.0.0.10.in-addr.arpa. PTR PTR 10-0-0-5.db.p.svc
    """,
    "topology zones [zonal]": """
        svc p/db http:80/tcp
        slice p/db-1 p/db 10.0.0.1=a@z.1 10.0.0.2@z2 10.0.0.3 http:80/tcp
        svc p/web 10.96.0.1 http:80/tcp
        ?  z2.pin._zone.db.p.svc A    A 10.0.0.2
        ?  z.1.pin._zone.db.p.svc A   A 10.0.0.1
        ?  z3.pin._zone.db.p.svc A    NODATA
        ?  z3.prefer._zone.db.p.svc A A 10.0.0.1, A 10.0.0.2, A 10.0.0.3
        ?  z2.prefer._zone.db.p.svc A A 10.0.0.2
        ?  pin._zone.db.p.svc A       NODATA
        ?  _zone.db.p.svc A           NODATA
        ?  x._zone.db.p.svc A         NXDOMAIN
        ?  z2.pin._zone.web.p.svc A   NXDOMAIN
        ?  db.p.svc A                 A 10.0.0.1, A 10.0.0.2, A 10.0.0.3
    """,
    "topology zones, not asked for": """
        svc p/db http:80/tcp
        slice p/db-1 p/db 10.0.0.1@z http:80/tcp
        ?  z.pin._zone.db.p.svc A     NXDOMAIN
        ?  _zone.db.p.svc A           NXDOMAIN
    """,
    "Services without a ready endpoint [ignore empty_service]": """
        svc p/web 10.96.0.1 http:80/tcp
        svc p/api 10.96.0.2 http:80/tcp
        slice p/api-1 p/api 10.0.0.1 http:80/tcp
        ?  web.p.svc A                NXDOMAIN
        ?  _http._tcp.web.p.svc SRV   NXDOMAIN
        ?  api.p.svc A                A 10.96.0.2
    """,
    "endpoints do not exist [noendpoints]": """
        svc p/web 10.96.0.1 http:80/tcp
        slice p/web-1 p/web 10.0.0.1=a http:80/tcp
        svc p/db http:80/tcp
        slice p/db-1 p/db 10.0.0.2=a http:80/tcp
        ?  web.p.svc A                A 10.96.0.1
        ?  a.web.p.svc A              NXDOMAIN
        ?  db.p.svc A                 NXDOMAIN
        ?  2.0.0.10.in-addr.arpa. PTR NXDOMAIN
        ?  1.0.96.10.in-addr.arpa. PTR   PTR web.p.svc
    """,
}


def every_row() -> Iterator[object]:
    for what, text in CASES.items():
        cluster, _, asked = text.partition("?")
        options = what.partition("[")[2].rstrip("]")
        for question, answer in rows(asked.replace("?", "")):
            yield pytest.param(cluster, options, question, answer, id=f"{what}: {question}")


@pytest.mark.parametrize(("cluster", "options", "question", "answer"), list(every_row()))
def test_a_service(cluster: str, options: str, question: str, answer: str) -> None:
    served = Cluster(cluster, options)
    assert answer == served.said(question)
    assert answer == served.said(question)  # from the memo, where it keeps it


@cache
def crowd(count: int, each: int = 100) -> tuple[Slice, ...]:
    """Endpoints of p/db, so many a slice."""
    every = [f"10.0.{n >> 8}.{n & 255}" for n in range(1, count + 1)]
    ports = objects("svc p/x " + HTTP)[0].ports  # type: ignore[union-attr]
    return tuple(slice_(f"p/db-{at}", "p/db", every[at : at + each], ports, each) for at in range(0, count, each))


def crowded(*slices: Slice) -> Cluster:
    cluster = Cluster(f"svc p/db {HTTP}")
    cluster.store.put(*slices)
    return cluster


def test_a_thousand_endpoints() -> None:
    cluster = crowded(*crowd(1000))
    for type, least in (("A", 70), ("SRV", 17)):
        short = cluster.ask(f"db.p.svc {type}")
        assert short.flags & dns.flags.TC
        assert least <= sum(map(len, short.answer))
        assert len(short.to_wire()) <= 1232
    whole = cluster.ask("db.p.svc A", Transport.TCP)
    assert not whole.flags & dns.flags.TC
    assert {f"10.0.{n >> 8}.{n & 255}" for n in range(1, 1001)} == {rdata.to_text() for rdata in whole.answer[0]}
    assert (1000, {1}) == weights(cluster.ask("db.p.svc SRV", Transport.TCP))


def found(count: int, type: int, room: int, below: str = "", each: int = 100) -> records.Found:
    """What a headless Service of so many endpoints says, in so many octets."""
    service, naming = Service("p/db", (), ()), Naming("cluster.local.", 5)
    labels = below.split(".") if below else []
    name = ".".join([*labels, "db.p.svc.cluster.local."])
    return records.at(service, crowd(count, each), labels, type, name, naming, room)


@pytest.mark.parametrize(
    ("count", "room", "made", "whole"),
    [
        (120, 512, 120, True),
        (256, 1232, 256, True),
        (257, 1232, 256, False),
        (20_000, 1232, 256, False),
        (1001, 65535, 1001, True),
        (4096, 65535, 4096, True),
        (20_000, 65535, 4096, False),
    ],
)
def test_addresses_that_no_reply_can_show_are_not_made(count: int, room: int, made: int, whole: bool) -> None:
    answer = found(count, A, room)
    assert (made, whole) == (len(answer.answer[0].rdata), answer.whole)


@pytest.mark.plain
@pytest.mark.parametrize("below", ["", "_http._tcp"])
@pytest.mark.parametrize(("count", "each"), [(120, 100), (1000, 1000), (20_000, 100), (2000, 4)])
@pytest.mark.parametrize(("room", "most"), [(512, 11), (1232, 25), (65535, 1270)])
def test_srv_records_that_do_not_fit_are_not_made(
    count: int, each: int, room: int, most: int, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what they are called, nor glue, however many slices there are."""
    made = 0

    def counted(*args: Any) -> str:
        nonlocal made
        made += 1
        return label_of(*args)

    monkeypatch.setattr(members, "label_of", counted)
    answer = found(count, SRV, room, below, each)
    assert made == len(answer.answer[0].rdata) <= most
    assert answer.whole == (count == made)
    assert answer.whole == bool(answer.additional)


def test_glue_that_does_not_fit_is_not_made() -> None:
    answer = found(18, SRV, 1232)
    assert (18, True) == (len(answer.answer[0].rdata), answer.whole)
    assert 0 < len(answer.additional) < 18


@pytest.mark.parametrize(("count", "type", "room", "shown"), [(120, SRV, 500, 8), (3000, A, 1232, 256), (300, A, 1232, 256)])
def test_each_endpoint_is_shown_as_often_as_any_other(count: int, type: int, room: int, shown: int) -> None:
    random.seed(1)
    times: Counter[bytes] = Counter()
    for _ in range(100 * count // shown):
        times.update(found(count, type, room).answer[0].rdata)
    assert count == len(times)
    usual = times.total() / count
    assert 0.65 < min(times.values()) / usual <= max(times.values()) / usual < 1.35


def test_a_part_is_another_one_each_second() -> None:
    random.seed(1)
    cluster = crowded(*crowd(1500))
    for question, transport in (("db.p.svc A", Transport.UDP), ("db.p.svc SRV", Transport.UDP)):
        seen = set()
        for _ in range(40):
            shown = frozenset(rdata.to_text() for rdata in cluster.ask(question, transport).answer[0])
            if question.endswith("SRV"):
                assert shown == {rdata.to_text() for rdata in cluster.ask(question, transport).answer[0]}  # from the memo
            seen.add(shown)
            cluster.listener.memo.tick()
        assert 35 < len(seen)


def test_a_hostname_that_all_have_is_answered_as_far_as_it_fits() -> None:
    ports = objects("svc p/x " + HTTP)[0].ports  # type: ignore[union-attr]
    every = [[f"10.0.{n}.{i}=a" for i in range(100)] for n in range(20)]
    cluster = crowded(*(slice_(f"p/db-{n}", "p/db", some, ports, 100) for n, some in enumerate(every)))
    assert 73 == len(cluster.ask("a.db.p.svc A").answer[0])
    assert 2000 == len(cluster.ask("a.db.p.svc A", Transport.TCP).answer[0])


@pytest.mark.parametrize("name", ["a.db", "z.pin._zone.db"])
def test_what_few_have_is_found_among_many_others(name: str) -> None:
    """Endpoints of another family, or without a port, do not count as enough."""
    ports = objects("svc p/x " + HTTP)[0].ports  # type: ignore[union-attr]
    four = [slice_(f"p/db-{n}", "p/db", [f"10.0.{n}.{i}=a@z" for i in range(100)], (), 100) for n in range(5)]
    six = slice_("p/db-six", "p/db", ["fd00::1=a@z", "fd00::2=a@z"], ports, 2)
    cluster = Cluster(f"svc p/db {HTTP}", "zonal")
    cluster.store.put(*four, six)
    for _ in range(5):  # whatever chance says
        assert "AAAA fd00::1, AAAA fd00::2" == cluster.said(f"{name}.p.svc AAAA")
        assert 1 == len(cluster.ask(f"{name}.p.svc SRV").answer[0])
        assert 70 < len(cluster.ask(f"{name}.p.svc A").answer[0])
        cluster.store.put(replace(six, total=3))
        cluster.store.put(six)


def test_one_name_of_a_slice_of_names_is_an_alias() -> None:
    """However many slices have none, and names are not taken apart to be counted."""
    slices = [Slice(f"p/db-{n}", "p/db", 0, b"", None, ()) for n in range(3)]
    service = Service("p/db", (), ())
    assert None is records.alias(service, tuple(slices))
    slices[1] = replace(slices[1], hostnames=joined(["db.example.com."]))
    assert "db.example.com." == records.alias(service, tuple(slices))
    slices[2] = replace(slices[2], hostnames=joined(["db.example.com.", "other.example.com."]))
    assert None is records.alias(service, tuple(slices))


def weights(message: dns.message.Message) -> tuple[int, set[int]]:
    return len(message.answer[0]), {rdata.weight for rdata in message.answer[0]}


def test_what_fits_is_whole_however_long_one_name_is() -> None:
    """The room counts octets: a long hostname among short ones leaves nothing out."""
    short = [f"10.0.0.{n}=h{n}" for n in range(1, 20)]
    ports = objects("svc p/x " + HTTP)[0].ports  # type: ignore[union-attr]
    cluster = crowded(slice_("p/db-1", "p/db", [f"10.0.0.99={LONG}", *short], ports, 20))
    reply = cluster.ask("db.p.svc SRV")
    assert (False, 20) == (bool(reply.flags & dns.flags.TC), len(reply.answer[0]))
    cluster = crowded(slice_("p/db-1", "p/db", [*short, f"10.0.0.99={LONG}", "10.0.0.98=last"], ports, 20))
    reply = cluster.ask("db.p.svc SRV")
    assert (False, 21) == (bool(reply.flags & dns.flags.TC), len(reply.answer[0]))


def test_the_same_from_every_slice() -> None:
    """An address in two slices, as while a slice is being rewritten, is answered once."""
    cluster = Cluster("svc p/db http:80/tcp\nslice p/db-1 p/db 10.0.0.1 http:80/tcp\nslice p/db-2 p/db 10.0.0.1 http:80/tcp")
    assert "A 10.0.0.1" == cluster.said("db.p.svc A")
    assert "SRV 0 50 80 10-0-0-1.db.p.svc, + 10-0-0-1.db.p.svc A 10.0.0.1" == cluster.said("db.p.svc SRV")
    assert "PTR 10-0-0-1.db.p.svc" == cluster.said("1.0.0.10.in-addr.arpa. PTR")
    assert dns.rdatatype.A == cluster.ask("10-0-0-1.db.p.svc A").answer[0].rdtype


def test_each_address_of_an_endpoint_counts() -> None:
    endpoints = [
        EndpointObject(("10.0.0.1", "10.0.0.2"), hostname="a", zone="z"),
        EndpointObject(("10.0.0.3",), targetRef=TargetRef("Pod", "c")),
        EndpointObject(("10.0.0.4", "10.0.0.5"), Conditions(ready=False)),
    ]
    metadata = Metadata("db-1", "p", labels={"kubernetes.io/service-name": "db"})
    found = slice_of(SliceObject(metadata, "IPv4", endpoints), pods=True, zones=True)
    expected = slice_("p/db-1", "p/db", ["10.0.0.1=a@z", "10.0.0.2=a@z", "10.0.0.3%c"], (), 3)
    assert replace(expected, unready=joined(["10.0.0.4"])) == found
