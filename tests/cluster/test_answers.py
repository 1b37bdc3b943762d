"""What the names of a cluster's zones say, zone by zone; and that nothing said is ever stale.

The last test is the one that holds the memo, the store and the answers together: after random changes every name that could
matter is asked again, and says what a server says that never knew the objects of before.
"""

import random
import struct
from collections.abc import Iterable, Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from msgspec.structs import replace

from kdns.cluster.answers import is_reverse
from kdns.cluster.columns import hostnames_of
from kdns.cluster.objects import joined, Namespace, Slice, Stored
from kdns.dns import names
from kdns.dns.query import Transport
from tests.support.notation import Cluster, objects, rows
from tests.support.random_objects import ADDRESSES, CLUSTER_IPS, LABELS, random_object, SERVICES, SIX

SMALL = """
    ns p
    ns default
    svc default/kubernetes 10.96.0.1 https:443/tcp
    svc p/web 10.96.0.7 fd00:96::7 http:80/tcp
    svc p/db http:80/tcp
    slice p/db-1 p/db 10.0.0.1=a 10.0.0.2 http:80/tcp
    slice p/db-6 p/db fd00:10::1=a http:80/tcp
"""
ALIASES = """
    ns p
    svc p/web 10.96.0.7
    svc p/near > web.p.svc.cluster.local
    svc p/far > near.p.svc.cluster.local
    svc p/nobody > gone.p.svc.cluster.local
    svc p/outside > api.example.com
    svc p/me > me.p.svc.cluster.local
    svc p/ping > pong.p.svc.cluster.local
    svc p/pong > ping.p.svc.cluster.local
    svc p/into > ping.p.svc.cluster.local
    svc p/ten > nine.p.svc.cluster.local
    svc p/nine > eight.p.svc.cluster.local
    svc p/eight > seven.p.svc.cluster.local
    svc p/seven > six.p.svc.cluster.local
    svc p/six > five.p.svc.cluster.local
    svc p/five > four.p.svc.cluster.local
    svc p/four > three.p.svc.cluster.local
    svc p/three > far.p.svc.cluster.local
    svc p/eleven > ten.p.svc.cluster.local
"""
PODS = """
    ns p
    ns q
    pod p/one 10.0.0.1 fd00::1
    pod p/host-1 192.168.0.5
    pod q/host-2 192.168.0.5
"""
SHARED = """
    svc p/plain http:80/tcp
    slice p/plain-1 p/plain 10.0.0.1 http:80/tcp
    svc p/called http:80/tcp
    slice p/called-1 p/called 10.0.0.1=a http:80/tcp
    svc p/both http:80/tcp
    slice p/both-1 p/both 10.0.0.1=x 10.0.0.1=y http:80/tcp
    svc p/vip 10.96.0.1
    svc p/behind http:80/tcp
    slice p/behind-1 p/behind 10.96.0.1=z http:80/tcp
    slice p/orphan-1 p/orphan 10.0.0.9 http:80/tcp
"""

# (cluster, options, zones, questions with their answers)
CASES: dict[str, tuple[str, str, str, str]] = {
    "the apex, the schema, empty non-terminals": (SMALL, "", "", """
        cluster.local. NS               NS ns.dns
        cluster.local. A                NODATA
        cluster.local. TXT              NODATA
        svc A                           NODATA
        svc ANY                         NODATA
        pod A                           NODATA
        dns A                           NODATA
        ns.dns A                        NODATA
        x.ns.dns A                      NXDOMAIN
        dns-version TXT                 TXT "1.1.0"
        dns-version ANY                 TXT "1.1.0"
        dns-version A                   NODATA
        x.dns-version TXT               NXDOMAIN
        other A                         NXDOMAIN
        p.svc A                         NODATA
        gone.svc A                      NXDOMAIN
        web.gone.svc A                  NXDOMAIN
        in-addr.arpa. NS                NS ns.dns.in-addr.arpa.
        ns.dns.in-addr.arpa. A          NODATA
        example.com. A                  REFUSED
    """),
    "the Service in front of this server": ("ns kube-system\nsvc kube-system/kube-dns 10.96.0.10 fd00:96::10", "", "", """
        cluster.local. NS               NS ns.dns, + ns.dns A 10.96.0.10, + ns.dns AAAA fd00:96::10
        ns.dns A                        A 10.96.0.10
        ns.dns AAAA                     AAAA fd00:96::10
        ns.dns ANY                      A 10.96.0.10
    """),
    "reverse names": (SMALL, "", "", """
        7.0.96.10.in-addr.arpa. PTR     PTR web.p.svc
        7.0.96.10.in-addr.arpa. ANY     PTR web.p.svc
        7.0.96.10.in-addr.arpa. A       NODATA
        1.0.0.10.in-addr.arpa. PTR      PTR a.db.p.svc
        2.0.0.10.in-addr.arpa. PTR      PTR 10-0-0-2.db.p.svc
        3.0.0.10.in-addr.arpa. PTR      NXDOMAIN
        0.0.10.in-addr.arpa. PTR        NODATA
        0.10.in-addr.arpa. PTR          NODATA
        10.in-addr.arpa. PTR            NODATA
        1.10.in-addr.arpa. PTR          NXDOMAIN
        11.in-addr.arpa. PTR            NXDOMAIN
        01.0.0.10.in-addr.arpa. PTR     NXDOMAIN
        x.1.0.0.10.in-addr.arpa. PTR    NXDOMAIN
        256.0.0.10.in-addr.arpa. PTR    NXDOMAIN
        d.f.ip6.arpa. PTR               NODATA
        0.0.d.f.ip6.arpa. PTR           NODATA
        1.0.d.f.ip6.arpa. PTR           NXDOMAIN
        g.ip6.arpa. PTR                 NXDOMAIN
        00.ip6.arpa. PTR                NXDOMAIN
    """),
    "several zones": (SMALL, "", "cluster.local internal in-addr.arpa", """
        web.p.svc A                     A 10.96.0.7
        web.p.svc.internal. A           A 10.96.0.7
        a.db.p.svc.internal. A          A 10.0.0.1
        _http._tcp.web.p.svc.internal. SRV   SRV 0 50 80 web.p.svc.internal., + web.p.svc.internal. A 10.96.0.7,
            ... + web.p.svc.internal. AAAA fd00:96::7
        x.internal. A                   NXDOMAIN
        7.0.96.10.in-addr.arpa. PTR     PTR web.p.svc
        d.f.ip6.arpa. PTR               REFUSED
    """),
    "PTR points to the first zone": (SMALL, "", "in-addr.arpa internal cluster.local", """
        7.0.96.10.in-addr.arpa. PTR     PTR web.p.svc.internal.
    """),
    "a zone below another": (SMALL, "", "local b.local", """
        web.p.svc.local. A              A 10.96.0.7
        web.p.svc.b.local. A            A 10.96.0.7
        b.local. NS                     NS ns.dns.b.local.
    """),
    "a reverse zone by its prefix": (SMALL + "svc p/high 10.0.200.1\n", "", "cluster.local 10.0.0.0/17", """
        1.0.0.10.in-addr.arpa. PTR      PTR a.db.p.svc
        9.127.0.10.in-addr.arpa. PTR    NXDOMAIN
        1.200.0.10.in-addr.arpa. PTR    REFUSED
        7.0.96.10.in-addr.arpa. PTR     REFUSED
        10.in-addr.arpa. PTR            REFUSED
    """),
    "a reverse zone of whole octets": (SMALL, "", "cluster.local 10.96.0.0/16", """
        7.0.96.10.in-addr.arpa. PTR     PTR web.p.svc
        0.96.10.in-addr.arpa. PTR       NODATA
        96.10.in-addr.arpa. NS          NS ns.dns.96.10.in-addr.arpa.
        1.0.0.10.in-addr.arpa. PTR      REFUSED
    """),
    "the root zone": (SMALL, "", ".", """
        web.p.svc. A                    A 10.96.0.7
        _http._tcp.db.p.svc. SRV        SRV 0 33 80 10-0-0-2.db.p.svc., SRV 0 33 80 a.db.p.svc.,
            ... + 10-0-0-2.db.p.svc. A 10.0.0.2, + a.db.p.svc. A 10.0.0.1, + a.db.p.svc. AAAA fd00:10::1
        . NS                            NS ns.dns.
        com. A                          NXDOMAIN
        7.0.96.10.in-addr.arpa. PTR     PTR web.p.svc.
        in-addr.arpa. PTR               NODATA
        8.0.96.10.in-addr.arpa. PTR     NXDOMAIN
    """),
    "aliases": (ALIASES, "", "", """
        near.p.svc A                    CNAME web.p.svc, web.p.svc A 10.96.0.7
        near.p.svc CNAME                CNAME web.p.svc
        near.p.svc ANY                  CNAME web.p.svc
        near.p.svc TXT                  CNAME web.p.svc
        far.p.svc A                     CNAME near.p.svc, near.p.svc CNAME web.p.svc, web.p.svc A 10.96.0.7
        nobody.p.svc A                  NXDOMAIN, CNAME gone.p.svc
        outside.p.svc A                 CNAME api.example.com.
        outside.p.svc ANY               CNAME api.example.com.
        x.outside.p.svc A               NXDOMAIN
        _http._tcp.outside.p.svc SRV    NXDOMAIN
        me.p.svc A                      NODATA
        me.p.svc CNAME                  CNAME me.p.svc
        ping.p.svc A                    NODATA
        pong.p.svc A                    NODATA
        into.p.svc A                    CNAME ping.p.svc
    """),
    "an alias that another zone of the same plugin answers": ("ns p\nsvc p/web 10.96.0.7\nsvc p/x > web.p.svc.internal", "",
        "cluster.local internal", """
        x.p.svc A                       CNAME web.p.svc.internal., web.p.svc.internal. A 10.96.0.7
        x.p.svc.internal. A             CNAME web.p.svc.internal., web.p.svc.internal. A 10.96.0.7
    """),
    "an alias of what falls through to nobody": ("ns p\nsvc p/x > gone.p.svc.cluster.local", "fallthrough", "", """
        gone.p.svc A                    REFUSED
        x.p.svc A                       CNAME gone.p.svc
    """),
    "no Pods": (PODS, "", "", """
        10-0-0-1.p.pod A                NXDOMAIN
        p.pod A                         NXDOMAIN
        pod A                           NODATA
    """),
    "any Pods": (PODS, "pods insecure", "", """
        10-0-0-1.p.pod A                A 10.0.0.1
        9-9-9-9.p.pod A                 A 9.9.9.9
        9-9-9-9.p.pod ANY               A 9.9.9.9
        9-9-9-9.p.pod AAAA              NODATA
        fd00--1.p.pod AAAA              AAAA fd00::1
        --1.p.pod AAAA                  AAAA ::1
        9-9-9-9.gone.pod A              NXDOMAIN
        9-9-9-256.p.pod A               NXDOMAIN
        09-9-9-9.p.pod A                NXDOMAIN
        9-9-9.p.pod A                   NXDOMAIN
        x.9-9-9-9.p.pod A               NXDOMAIN
        p.pod A                         NODATA
        gone.pod A                      NXDOMAIN
    """),
    "Pods that there are": (PODS, "pods verified", "", """
        10-0-0-1.p.pod A                A 10.0.0.1
        fd00--1.p.pod AAAA              AAAA fd00::1
        fd00--1.p.pod A                 NODATA
        10-0-0-1.q.pod A                NXDOMAIN
        10-0-0-2.p.pod A                NXDOMAIN
        192-168-0-5.p.pod A             A 192.168.0.5
        192-168-0-5.q.pod A             A 192.168.0.5
        192-168-0-5.gone.pod A          NXDOMAIN
    """),
    "an address of several Services": (SHARED, "", "", """
        1.0.0.10.in-addr.arpa. PTR      PTR 10-0-0-1.plain.p.svc, PTR a.called.p.svc, PTR x.both.p.svc, PTR y.both.p.svc
        1.0.96.10.in-addr.arpa. PTR     PTR vip.p.svc
        9.0.0.10.in-addr.arpa. PTR      NXDOMAIN
        orphan.p.svc A                  NXDOMAIN
    """),
    "some namespaces": ("ns p\nns q\nsvc p/a 10.96.0.1\nsvc q/b 10.96.0.2", "namespaces p", "", """
        a.p.svc A                       A 10.96.0.1
        b.q.svc A                       NXDOMAIN
        2.0.96.10.in-addr.arpa. PTR     NXDOMAIN
    """),
    "namespaces by label": ("ns p env=prod\nns q env=test\nsvc p/a 10.96.0.1\nsvc q/b 10.96.0.2\nsvc r/c 10.96.0.3",
        "namespace_labels env=prod\npods insecure", "", """
        a.p.svc A                       A 10.96.0.1
        b.q.svc A                       NXDOMAIN
        c.r.svc A                       NXDOMAIN
        1-1-1-1.p.pod A                 A 1.1.1.1
        1-1-1-1.q.pod A                 NXDOMAIN
    """),
}  # fmt: skip


def every_row() -> Iterator[object]:
    for what, (cluster, options, zones, lines) in CASES.items():
        for question, answer in rows(lines):
            yield pytest.param(cluster, options, zones, question, answer, id=f"{what}: {question}")


@pytest.mark.parametrize(("cluster", "options", "zones", "question", "answer"), list(every_row()))
def test_a_name(cluster: str, options: str, zones: str, question: str, answer: str) -> None:
    served = Cluster(cluster, options, **({"zones": zones} if zones else {}))
    assert answer == served.said(question)
    assert answer == served.said(question)  # from the memo, where it keeps it


def test_more_aliases_than_are_followed() -> None:
    assert 11 == len(Cluster(ALIASES).ask("ten.p.svc A").answer)
    reply = Cluster(ALIASES).ask("eleven.p.svc A")
    assert ("SERVFAIL", 11) == (dns.rcode.to_text(reply.rcode()), len(reply.answer))


@pytest.mark.parametrize(
    ("question", "owner"), [("me.p.svc A", "me"), ("ping.p.svc AAAA", "ping"), ("pong.p.svc A", "pong"), ("into.p.svc A", "ping")]
)
def test_an_alias_that_leads_back_to_itself_has_the_soa_and_says_so(question: str, owner: str) -> None:
    reply = Cluster(ALIASES).ask(question)
    assert ["cluster.local."] == [rrset.name.to_text() for rrset in reply.authority]
    said = f"{owner}.p.svc.cluster.local is an alias that leads back to itself"
    assert [said] == [option.text for option in reply.options]  # type: ignore[attr-defined]


def test_a_hostname_comes_before_a_dashed_address() -> None:
    """Most resolvers take the first PTR record for the name."""
    first = Cluster(SHARED).ask("1.0.0.10.in-addr.arpa. PTR").answer[0]
    assert "10-0-0-1.plain.p.svc.cluster.local." == [rdata.to_text() for rdata in first][-1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [("", (5, 5, 5)), ("ttl 0", (0, 0, 0)), ("ttl 30", (30, 30, 30)), ("ttl 3600", (3600, 300, 3600))],
)
def test_ttls(options: str, expected: tuple[int, int, int]) -> None:
    """Of an answer; of a negative answer's SOA, at most 300; its minimum (RFC 2308)."""
    cluster = Cluster(SMALL, options)
    soa = cluster.ask("gone A").authority[0]
    assert expected == (cluster.ask("web.p.svc A").answer[0].ttl, soa.ttl, soa[0].minimum)
    assert 28800 == cluster.ask("dns-version TXT").answer[0].ttl


def test_the_soa() -> None:
    cluster = Cluster(SMALL)
    soa = cluster.ask("cluster.local. SOA").answer[0]
    serial = cluster.store.serial
    assert f"ns.dns.cluster.local. hostmaster.cluster.local. {serial} 7200 1800 86400 5" == soa[0].to_text()
    assert [dns.rdatatype.SOA] == [rrset.rdtype for rrset in cluster.ask("cluster.local. ANY").answer]


def test_why_a_name_does_not_exist() -> None:
    cluster = Cluster("svc p/db\nslice p/db-1 p/db unready unready")
    (option,) = cluster.ask("db.p.svc A").options
    assert "EDE 0: 0 of 2 endpoints of p/db are ready" == option.to_text().replace(" (Other)", "")


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("in-addr.arpa.", True), ("10.in-addr.arpa.", True), ("d.f.ip6.arpa.", True), ("cluster.local.", False), (".", False),
     ("arpa.", False), ("my-in-addr.arpa.", False)],
)  # fmt: skip
def test_zones_of_addresses(zone: str, expected: bool) -> None:
    assert expected is is_reverse(zone)


# ---------------------------------------------------------------- nothing is stale


@pytest.mark.parametrize(
    ("before", "question", "said", "change", "after"),
    [
        ("", "web.p.svc A", "NXDOMAIN", "svc p/web 10.96.0.1", "A 10.96.0.1"),
        ("svc p/web 10.96.0.1", "web.p.svc A", "A 10.96.0.1", "svc p/web 10.96.0.2", "A 10.96.0.2"),
        ("svc p/web 10.96.0.1", "web.p.svc A", "A 10.96.0.1", "svc p/web > api.example.com", "CNAME api.example.com."),
        ("", "p.svc A", "NXDOMAIN", "ns p", "NODATA"),
        ("", "1-1-1-1.p.pod A", "NXDOMAIN", "ns p", "NXDOMAIN"),
        ("", "0.96.10.in-addr.arpa. A", "NXDOMAIN", "svc p/web 10.96.0.1", "NODATA"),
        ("", "1.0.96.10.in-addr.arpa. PTR", "NXDOMAIN", "svc p/web 10.96.0.1", "PTR web.p.svc"),
        ("svc p/db", "db.p.svc A", "NXDOMAIN", "slice p/db-1 p/db 10.0.0.1", "A 10.0.0.1"),
        ("slice p/db-1 p/db 10.0.0.1", "1.0.0.10.in-addr.arpa. PTR", "NXDOMAIN", "svc p/db", "PTR 10-0-0-1.db.p.svc"),
        ("svc p/db\nslice p/db-1 p/db 10.0.0.1", "1.0.0.10.in-addr.arpa. PTR", "PTR 10-0-0-1.db.p.svc",
         "svc p/db > api.example.com", "NXDOMAIN"),
        ("svc p/db\nslice p/db-1 p/db 10.0.0.1=a 10.0.0.1=b", "1.0.0.10.in-addr.arpa. PTR", "PTR a.db.p.svc, PTR b.db.p.svc",
         "slice p/db-1 p/db 10.0.0.1=c 10.0.0.1=b", "PTR b.db.p.svc, PTR c.db.p.svc"),
        ("svc p/x > y.p.svc.cluster.local", "x.p.svc A", "NXDOMAIN, CNAME y.p.svc", "svc p/y 10.96.0.1",
         "CNAME y.p.svc, y.p.svc A 10.96.0.1"),
        ("svc p/x > y.p.svc.cluster.local\nsvc p/y > x.p.svc.cluster.local", "x.p.svc A",
         "NODATA", "svc p/y 10.96.0.1", "CNAME y.p.svc, y.p.svc A 10.96.0.1"),
    ],
)  # fmt: skip
def test_a_change_is_seen_at_once(before: str, question: str, said: str, change: str, after: str) -> None:
    cluster = Cluster(before)
    assert said == cluster.said(question)
    cluster.store.put(*objects(change))
    assert after == cluster.said(question)


def test_an_alias_of_what_fell_through_follows_when_it_comes() -> None:
    cluster = Cluster("svc p/x > y.p.svc.cluster.local", "fallthrough")
    assert "CNAME y.p.svc" == cluster.said("x.p.svc A")
    cluster.store.put(*objects("svc p/y 10.96.0.1"))
    assert "CNAME y.p.svc, y.p.svc A 10.96.0.1" == cluster.said("x.p.svc A")


OPTIONS = {
    "bare": "",
    "all of it": "pods verified\nendpoint_pod_names\nzonal\nignore empty_service\nfallthrough",
    "namespaces by label": "pods insecure\nnamespace_labels env=prod",
}


def renamed(rnd: random.Random, known: dict[tuple[type[Stored], str], Stored]) -> Stored | None:
    """Now and then, a slice that is there already, its endpoints called otherwise."""
    slices = sorted(key for kind, key in known if kind is Slice)
    s = known[Slice, rnd.choice(slices)] if slices and rnd.random() < 0.2 else None
    if not isinstance(s, Slice) or not s.hostnames or not s.width:
        return None
    return replace(s, hostnames=joined([rnd.choice(("a", "b", "")) for _ in hostnames_of(s)]))


def questions() -> list[bytes]:
    """Every name that could matter, with every type that could."""
    below = ["", *(f"{label}." for label in LABELS), "_http._tcp.", "_tcp.", "_dns._udp.", "z.pin._zone.", "z.prefer._zone."]
    every = [f"{b}{key.split('/')[1]}.{key.split('/')[0]}.svc.cluster.local." for key in SERVICES for b in below]
    every += [f"{namespace}.{kind}.cluster.local." for namespace in "pq" for kind in ("svc", "pod")]
    every += [f"{a.replace('.', '-').replace(':', '-')}.{n}.pod.cluster.local." for a in ADDRESSES + SIX for n in "pq"]
    every += ["cluster.local.", "svc.cluster.local.", "ns.dns.cluster.local."]
    asked = [question(name, type) for name in every for type in (1, 28, 33, 255)]
    for address in ADDRESSES + SIX + CLUSTER_IPS:
        name = names.reverse_name(names.packed(address))
        while name not in ("in-addr.arpa.", "ip6.arpa."):
            asked.append(question(name, 12))
            name = names.parent(name)
    return list(dict.fromkeys([*asked, question("cluster.local.", 6), question("cluster.local.", 2)]))


def question(name: str, type: int) -> bytes:
    return struct.pack("!6H", 7, 0x0100, 1, 0, 0, 1) + names.wire(name) + struct.pack("!2H", type, 1) + EDNS


EDNS = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
QUESTIONS = questions()


class Canon:
    """Replies in one form: records in order, without what is as of when it was made (the serial of a negative answer, and why)."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}

    def __call__(self, octets: bytes) -> str:
        if octets not in self._known:
            message = dns.message.from_wire(octets)
            sections = [sorted(self._records(section)) for section in (message.answer, message.additional)]
            soa = [f"{rrset.name} {rrset.ttl} {rrset[0].replace(serial=0)}" for rrset in message.authority]
            head = f"{message.question[0]} {message.rcode()} {dns.flags.to_text(message.flags)}"
            self._known[octets] = f"{head} {sections} {soa}"
        return self._known[octets]

    @staticmethod
    def _records(section: Iterable[object]) -> Iterator[str]:
        for rrset in section:
            for rdata in rrset:  # type: ignore[attr-defined]
                yield f"{rrset.name} {rrset.ttl} {rrset.rdtype} {rdata}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_after_any_changes_nothing_is_stale(seed: int, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rnd = random.Random(f"{seed} {options}")
    clock = iter(range(10**9))
    monkeypatch.setattr("kdns.cluster.store.time.time", lambda: next(clock))
    canon = Canon()
    cluster = Cluster("", OPTIONS[options])
    known: dict[tuple[type[Stored], str], Stored] = {}
    for _ in range(18):
        for _ in range(rnd.choice((1, 1, 2, 8))):
            change(rnd, cluster, known)
        fresh = Cluster("", OPTIONS[options])
        fresh.store.put(*known.values())
        fresh.store.serial = cluster.store.serial
        for asked in QUESTIONS:
            assert canon(fresh.octets(asked)) == canon(cluster.octets(asked))
    assert any(entry.hits for entry in cluster.listener.memo._young.values())


def change(rnd: random.Random, cluster: Cluster, known: dict[tuple[type[Stored], str], Stored]) -> None:
    """An object comes, changes or goes."""
    if known and rnd.random() < 0.35:
        kind, key = rnd.choice(sorted(known, key=str))
        del known[kind, key]
        cluster.store.remove(kind, key)
    else:
        o = renamed(rnd, known) or random_object(rnd)
        known[type(o), o.name if isinstance(o, Namespace) else o.key] = o
        cluster.store.put(o)


def test_questions_are_answered_from_the_memo() -> None:
    """Or the test above would hold nothing: what depends on named objects is there the second time."""
    cluster = Cluster(SMALL)
    forward = [asked for asked in QUESTIONS if b"\3svc" in asked or b"\3pod" in asked]
    assert [cluster.octets(asked) for asked in forward] == [cluster.octets(asked) for asked in forward]
    assert len(forward) == len(cluster.listener.memo)


def test_what_is_the_same_over_udp_enters_the_memo_over_tcp() -> None:
    cluster = Cluster(SMALL)
    over_tcp = cluster.octets(QUESTIONS[0], Transport.TCP)
    assert 1 == len(cluster.listener.memo)
    assert over_tcp == cluster.octets(QUESTIONS[0])
