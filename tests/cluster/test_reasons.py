"""Why a name has nothing: thirty broken clusters, each with its extended error."""

import math
from collections.abc import Iterator
from typing import Any

import dns.edns
import dns.message
import dns.rcode
import pytest

from kdns.cluster import objects as api
from kdns.cluster import reasons
from kdns.cluster.objects import slice_of
from kdns.dns import names
from kdns.dns.response import ExtendedError
from tests.support.notation import Cluster, objects

TOWN = """
    ns prod env=prod
    ns staging env=test
    ns kube-system env=prod
    svc prod/web 10.96.0.1 http:80/tcp
    slice prod/web-1 prod/web 10.244.0.1 http:80/tcp
    svc prod/webhooks 10.96.0.4
    svc prod/cip 10.96.0.2 http:80/tcp app=cip
    svc prod/stale 10.96.0.3 app=stale
    slice prod/stale-1 prod/stale unready:stale-x unready:stale-y
    svc prod/db app=db
    slice prod/db-1 prod/db 10.244.0.2=db-0 10.244.0.3=db-1 unready:db-2 mysql:3306/tcp
    svc prod/plain app=plain
    slice prod/plain-1 prod/plain 10.244.0.9 mysql:3306/tcp
    svc prod/nobody app=db,tier=back
    svc prod/byhand
    svc prod/out > api.example.com
    svc prod/six fd00:96::1
    svc staging/queue 10.96.0.9
    svc prod/me > me.prod.svc.cluster.local
    pod prod/one 10.244.0.1
"""
NO_POD = "no Pod with an address matches"
TRY = "nothing is called so; it looks like a try of a search list for"

# (options, question, code, reason)
CASES: list[tuple[str, str, str, str]] = [
    ("", "web.nons.svc A", "NXDOMAIN", "no namespace 'nons'"),
    ("", "web.prd.svc A", "NXDOMAIN", "no namespace 'prd' (nearest: prod)"),
    ("", "prd.svc A", "NXDOMAIN", "no namespace 'prd' (nearest: prod)"),
    ("", "prod.svc A", "NODATA", "names of Services stand below namespace 'prod'"),
    ("", "svc A", "NODATA", "names of Services stand below it: SERVICE.NAMESPACE.svc"),
    ("", "cluster.local. A", "NODATA", "the apex of the zone has SOA and NS only"),
    ("", "nosuch.prod.svc A", "NXDOMAIN", "no Service 'nosuch' in prod"),
    ("", "webhook.prod.svc A", "NXDOMAIN", "no Service 'webhook' in prod (nearest: webhooks)"),
    ("", "queue.prod.svc A", "NXDOMAIN", "no Service 'queue' in prod (there is one in staging)"),
    ("", "web.staging.svc A", "NXDOMAIN", "no Service 'web' in staging (there is one in prod)"),
    ("", "web.prod A", "NXDOMAIN", "nothing is called so: Service prod/web is web.prod.svc.cluster.local"),
    ("", "web A", "NXDOMAIN", "nothing is called so: names of Services are SERVICE.NAMESPACE.svc, of Pods ADDRESS.NAMESPACE.pod"),
    ("", "www.google.com.prod.svc A", "NXDOMAIN", f"{TRY} www.google.com"),
    ("", "google.com.svc A", "NXDOMAIN", f"{TRY} google.com"),
    ("", "www.google.com A", "NXDOMAIN", f"{TRY} www.google.com"),
    ("", "web.prod.svc.cluster.local.prod.svc A", "NXDOMAIN", f"{TRY} web.prod.svc.cluster.local"),
    ("", "web.prod.svc AAAA", "NODATA", "Service prod/web has no AAAA: its addresses are IPv4"),
    ("", "six.prod.svc A", "NODATA", "Service prod/six has no A: its addresses are IPv6"),
    ("", "web.prod.svc MX", "NODATA", "Service prod/web has no MX records"),
    ("", "_https._tcp.cip.prod.svc SRV", "NXDOMAIN", "Service prod/cip has no port 'https', it has http"),
    ("", "_http._udp.cip.prod.svc SRV", "NXDOMAIN", "port 'http' of Service prod/cip is of tcp, not of udp"),
    ("", "_http._tcp.six.prod.svc SRV", "NXDOMAIN", "Service prod/six has no port 'http', it has none with a name"),
    ("", "_http._tcp.cip.prod.svc A", "NODATA", "'_http._tcp' of Service prod/cip has SRV records only"),
    ("", "_tcp.cip.prod.svc A", "NODATA", "'_tcp' of Service prod/cip stands above names of ports"),
    ("", "_tcp.six.prod.svc A", "NXDOMAIN", "names of ports of Service prod/six are such as _http._tcp"),
    ("", "db-2.db.prod.svc A", "NXDOMAIN", "db-2, an endpoint of Service prod/db, is not ready"),
    ("", "db-7.db.prod.svc A", "NXDOMAIN", "no endpoint of Service prod/db is called 'db-7' (nearest: db-1)"),
    ("", "db-0.plain.prod.svc A", "NXDOMAIN",
     "no endpoint of Service prod/plain has a hostname: Pods have one where their spec.subdomain is 'plain'"),
    ("", "a.b.db.prod.svc A", "NXDOMAIN", "the names below Service prod/db are of ports and endpoints, 'a.b' is neither"),
    ("", "db-0.db.prod.svc AAAA", "NODATA", "'db-0' of Service prod/db has no AAAA: its addresses are IPv4"),
    ("", "nobody.prod.svc A", "NXDOMAIN", f"Service prod/nobody has no endpoints: {NO_POD} app=db,tier=back"),
    ("", "byhand.prod.svc A", "NXDOMAIN",
     "Service prod/byhand has no endpoints: it has no selector, and there is no EndpointSlice of it"),
    ("", "stale.prod.svc A", "A 10.96.0.3", "0 of 2 endpoints of prod/stale are ready, not stale-x, stale-y"),
    ("", "cip.prod.svc A", "A 10.96.0.2", f"Service prod/cip has no endpoints: {NO_POD} app=cip"),
    ("", "x.out.prod.svc A", "NXDOMAIN", "Service prod/out is an alias of api.example.com, nothing is below it"),
    ("", "me.prod.svc A", "NODATA", "me.prod.svc.cluster.local is an alias that leads back to itself"),
    ("", "10-244-0-1.prod.pod A", "NXDOMAIN", "names of Pods are not served (pods disabled)"),
    ("pods insecure", "10-244-0-1.prd.pod A", "NXDOMAIN", "no namespace 'prd' (nearest: prod)"),
    ("pods insecure", "db-0.prod.pod A", "NXDOMAIN", "'db-0' is no address with dashes, such as 10-0-0-1"),
    ("pods insecure", "10-244-0-1.prod.pod AAAA", "NODATA", "it has A only, as the address in it"),
    ("pods insecure", "prod.pod A", "NODATA", "names of Pods stand below namespace 'prod'"),
    ("pods verified", "10-244-0-7.prod.pod A", "NXDOMAIN", "no Pod in prod has the address 10.244.0.7"),
    ("noendpoints", "db.prod.svc A", "NXDOMAIN", "Service prod/db has endpoints only, and they have no names here (noendpoints)"),
    ("ignore empty_service", "stale.prod.svc A", "NXDOMAIN", "0 of 2 endpoints of prod/stale are ready, not stale-x, stale-y"),
    ("", "7.7.7.7.in-addr.arpa. PTR", "NXDOMAIN", "no Service and no endpoint has the address 7.7.7.7"),
    ("", "7.7.in-addr.arpa. PTR", "NXDOMAIN", "no Service and no endpoint has an address below it"),
    ("", "10.in-addr.arpa. PTR", "NODATA", "names of addresses stand below it"),
    ("", "x.in-addr.arpa. PTR", "NXDOMAIN", "it is no address: 1.0.0.10.in-addr.arpa stands for 10.0.0.1"),
    ("", "1.0.96.10.in-addr.arpa. A", "NODATA", "an address has PTR records only"),
    ("", "dns-version A", "NODATA", "it has a TXT record only"),
    # what is hidden is told of no more than what is not there
    ("namespaces prod", "queue.staging.svc A", "NXDOMAIN", "no namespace 'staging'"),
    ("namespaces prod", "queue.stagin.svc A", "NXDOMAIN", "no namespace 'stagin'"),
    ("namespaces prod", "queue.prod.svc A", "NXDOMAIN", "no Service 'queue' in prod"),
    ("namespaces prod", "queue.staging A", "NXDOMAIN",
     "nothing is called so: names of Services are SERVICE.NAMESPACE.svc, of Pods ADDRESS.NAMESPACE.pod"),
    ("namespace_labels env=prod", "queue.staging.svc A", "NXDOMAIN", "no namespace 'staging'"),
    ("namespace_labels env=prod", "queue.prod.svc A", "NXDOMAIN", "no Service 'queue' in prod"),
    ("namespaces prod\npods insecure", "1-1-1-1.staging.pod A", "NXDOMAIN", "no namespace 'staging'"),
]  # fmt: skip


def why(reply: dns.message.Message) -> list[str | None]:
    return [option.text for option in reply.options if isinstance(option, dns.edns.EDEOption)]


@pytest.mark.parametrize(("options", "question", "code", "reason"), CASES)
def test_why(options: str, question: str, code: str, reason: str) -> None:
    cluster = Cluster(TOWN, options)
    assert (code, [reason]) == (cluster.said(question), why(cluster.ask(question)))


def test_what_is_well_has_no_reason() -> None:
    for question in ("web.prod.svc A", "db.prod.svc A", "db-0.db.prod.svc A", "_http._tcp.web.prod.svc SRV", "cluster.local. SOA"):
        assert [] == why(Cluster(TOWN).ask(question))


# ---------------------------------------------------------------- when, and at what cost


@pytest.mark.parametrize(
    ("question", "before", "change", "after"),
    [
        # what rests on the Service asked for is new
        ("db-2.db.prod.svc A", "db-2, an endpoint of Service prod/db, is not ready",
         "slice prod/db-1 prod/db 10.244.0.2=db-0 10.244.0.3=db-2 mysql:3306/tcp", None),
        ("_https._tcp.cip.prod.svc SRV", "Service prod/cip has no port 'https', it has http",
         "svc prod/cip 10.96.0.2 web:80/tcp", "Service prod/cip has no port 'https', it has web"),
        ("cip.prod.svc A", f"Service prod/cip has no endpoints: {NO_POD} app=cip",
         "slice prod/cip-1 prod/cip unready:a", "0 of 1 endpoints of prod/cip are ready, not a"),
        # what rests on others is as of when it was made, as the SOA's serial
        ("queue.prod.svc A", "no Service 'queue' in prod (there is one in staging)",
         "svc kube-system/queue 10.96.0.8", "no Service 'queue' in prod (there is one in staging)"),
        ("stale.prod.svc A", "0 of 2 endpoints of prod/stale are ready, not stale-x, stale-y",
         "slice prod/stale-1 prod/stale unready:stale-x unready:stale-z",
         "0 of 2 endpoints of prod/stale are ready, not stale-x, stale-y"),
        ("nobody.prod.svc A", f"Service prod/nobody has no endpoints: {NO_POD} app=db,tier=back",
         "svc prod/nobody app=dbs", f"Service prod/nobody has no endpoints: {NO_POD} app=db,tier=back"),
    ],
)  # fmt: skip
def test_what_a_change_makes_of_a_reason(question: str, before: str, change: str, after: str | None) -> None:
    cluster = Cluster(TOWN)
    assert [before] == why(cluster.ask(question))
    cluster.store.put(*objects(change))
    assert ([after] if after else []) == why(cluster.ask(question))


@pytest.mark.parametrize("change", ["svc prod/nobody app=dbs", "slice prod/stale-1 prod/stale unready:stale-x unready:stale-z"])
def test_what_only_reasons_want_forgets_nothing(change: str) -> None:
    cluster, told = Cluster(TOWN), []
    cluster.store.listeners.append(told.append)
    cluster.store.put(*objects(change))
    assert [] == told
    assert objects(change)[0] in {**cluster.store.services, **cluster.store.slices}.values()


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (reasons.AT_ONCE, ["no namespace 'prd' (nearest: prod)"]),
        (reasons.AT_ONCE / 2, ["no namespace 'prd'"]),
        (reasons.SENTENCE, ["no namespace 'prd'"]),
        (reasons.SENTENCE - 1, []),
    ],
)
def test_a_flood_of_names_goes_without_hints_and_then_without_reasons(
    left: float, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(TOWN)
    monkeypatch.setattr(cluster.kubernetes.answers.reasons, "_left", left)
    monkeypatch.setattr(cluster.kubernetes.answers.reasons, "_since", math.inf)
    assert expected == why(cluster.ask("web.prd.svc A"))
    assert "NXDOMAIN" == cluster.said("web.prd.svc A")


@pytest.mark.plain
@pytest.mark.parametrize(("told", "expected"), [("", 0), ("log . {\nclass error\n}\n", 1)])
def test_a_reason_is_made_where_somebody_reads_it(told: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(TOWN, more_plugins=told)
    made: list[object] = []
    monkeypatch.setattr(cluster.kubernetes.answers.reasons, "namespace", lambda *of: made.append(of) or ExtendedError(0, "why"))
    plain = dns.message.make_query("web.nons.svc.cluster.local.", "A").to_wire()
    cluster.octets(plain)
    assert expected == len(made)


@pytest.mark.plain
def test_the_allowance_comes_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(TOWN)
    found = cluster.kubernetes.answers.reasons
    asked: Any = type("Asked", (), {"received": 100.0})()
    assert [True, False] == [found._affords(asked, int(reasons.AT_ONCE), 0), found._affords(asked, 1, 0)]
    asked.received = 100.125
    assert [True, False] == [found._affords(asked, int(reasons.STEPS / 8), 0), found._affords(asked, 1, 0)]


def test_very_many_services_are_not_looked_through() -> None:
    cluster = Cluster(TOWN)
    services = cluster.store.services
    services.update({f"prod/s{n}": services["prod/web"] for n in range(reasons.MOST)})
    assert ["no Service 'webhook' in prod"] == why(cluster.ask("webhook.prod.svc A"))


def long_names() -> Iterator[str]:
    long = "x" * 63
    yield f"{long}.{long}.svc A"
    yield f"{long}.{long}.{long}.svc A"
    yield f"{long}.prod.svc A"
    yield f"_{long[1:]}._tcp.cip.prod.svc SRV"


@pytest.mark.parametrize("question", list(long_names()))
def test_a_reason_is_no_longer_than_fits(question: str) -> None:
    reply = Cluster(TOWN).ask(question, payload=512)
    assert (True, dns.rcode.NXDOMAIN) == (len(reply.to_wire()) <= 512, reply.rcode())
    assert all(text is not None and len(text) <= 200 for text in why(reply))


def test_records_go_before_reasons() -> None:
    ports = " ".join(f"port-{n}:{n}/tcp" for n in range(1, 11))
    cluster = Cluster(f"ns p\nsvc p/many 10.96.0.1 {ports} app={'x' * 60}")
    for payload, expected in ((512, 0), (4096, 1)):
        reply = cluster.ask("many.p.svc SRV", payload=payload)
        assert (10, expected) == (len(reply.answer[0]), len(why(reply)))


# ---------------------------------------------------------------- what is kept for reasons


def test_what_is_kept_of_endpoints_that_are_not_ready() -> None:
    def endpoint(n: int, **more: Any) -> api.EndpointObject:
        return api.EndpointObject(addresses=(f"10.0.0.{n}",), conditions=api.Conditions(ready=False), **more)

    every = [
        endpoint(1, hostname="db-0"), endpoint(2, targetRef=api.TargetRef("Pod", "db-x")), endpoint(3),
        api.EndpointObject(addresses=("10.0.0.4",)),
    ]  # fmt: skip
    metadata = api.Metadata(name="db-1", namespace="p", labels={api.SERVICE_NAME: "db"})
    made = slice_of(api.SliceObject(metadata, endpoints=every))
    assert made is not None
    assert ("\0db-0\0db-x\x0010.0.0.3\0", 4, names.packed("10.0.0.4")) == (made.unready, made.total, made.addresses)
    assert None is slice_of(api.SliceObject(metadata, endpoints=every[3:])).unready  # type: ignore[union-attr]


def test_a_selector_is_kept_as_people_write_it() -> None:
    spec = api.ServiceSpec(selector={"app": "db", "tier": "back"})
    made = api.service(api.ServiceObject(api.Metadata(name="db", namespace="p"), spec))
    assert "app=db,tier=back" == made.selector
