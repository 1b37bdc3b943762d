"""Every metric and label that dashboards and alerts of CoreDNS's users read (metrics.md), found in one live scrape."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dns.message
import dns.query
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kdns.testing.ports import free_ports
from tests.support.control_plane.plane import ControlPlane
from tests.support.deploying import DEPLOY
from tests.support.processes import comes_to, endpoint_slice, Kdns, pod, service, ZONE
from tests.support.upstreams import of_one_address, upstreams

COREFILE = """
.:$port {
    bind 127.0.0.1
    errors
    health 127.0.0.1:$http {
        lameduck 100ms
    }
    ready 127.0.0.1:$http
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig $kubeconfig
        fallthrough in-addr.arpa ip6.arpa
        apiserver_qps 1000
    }
    prometheus 127.0.0.1:$http
    forward . 127.0.0.1:$upstream 127.0.0.1:$nobody {
        policy round_robin
        health_check 100ms
    }
    cache 30
    reload
    loadbalance
}
"""


class Row(NamedTuple):
    name: str
    labels: tuple[str, ...]
    values: dict[str, set[str]]  # of labels that have to have them


def rows() -> Iterator[Row]:
    """The table of metrics.md: names with `_x` go on from the one before; labels may have values."""
    for line in (Path(__file__).parent / "metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 2 or not re.match(r"[a-z]+_", cells[0]):
            continue
        names, labels, first = re.sub(r"\([^)]*\)", "", cells[0]), re.sub(r"\([^)]*\)", "", cells[1]), ""
        by_name = [each.strip() for each in labels.split(";")]
        for at, name in enumerate(each.strip() for each in names.replace(";", ",").split(",")):
            whole = _continued(first, name) if name.startswith("_") else name
            first = first or whole
            yield _row(whole, by_name[at] if len(by_name) > 1 else labels)


def _continued(first: str, rest: str) -> str:
    """`_drops_total` after `coredns_cache_misses_total` is `coredns_cache_drops_total`."""
    known = ("coredns_cache", "coredns_proxy_conn_cache", "coredns_forward", "coredns_kubernetes_rest_client")
    return next(prefix for prefix in sorted(known, key=len, reverse=True) if first.startswith(prefix)) + rest


def _row(name: str, labels: str) -> Row:
    values: dict[str, set[str]] = {}
    if ":" in labels:
        label, _, listed = labels.partition(":")
        labels, values = label, {label: {each.strip() for each in listed.split(",")}}
    found = []
    for label in filter(None, (each.strip() for each in labels.split(","))):
        label, _, value = label.partition("=")
        found.append(label)
        if value:
            values[label] = {value.strip('"')}
    return Row(name, tuple(found), values)


ROWS = list(rows())
OWN = [
    Row("kdns_memo_entries", ("server",), {}), Row("kdns_memo_bytes", ("server",), {}),
    Row("kdns_memo_hits_total", ("server",), {}), Row("kdns_memo_misses_total", ("server",), {}),
    Row("kdns_memo_forgotten_total", ("server",), {}), Row("kdns_event_loop_lag_seconds_bucket", ("le",), {}),
    Row("kdns_log_dropped_total", (), {}), Row("kdns_given_up_total", ("of",), {}),
    Row("kdns_kubernetes_watch_age_seconds", ("resource",), {"resource": {"services", "endpointslices", "namespaces"}}),
    Row("kdns_kubernetes_objects", ("kind",), {}), Row("kdns_kubernetes_events_total", ("resource", "type"), {}),
]  # fmt: skip
DURATIONS = [0.00025 * 2**n for n in range(16)]
SIZES = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3]
REST = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
BUCKETS = {
    "coredns_dns_request_duration_seconds": DURATIONS,
    "coredns_proxy_request_duration_seconds": DURATIONS,
    "coredns_dns_request_size_bytes": SIZES,
    "coredns_dns_response_size_bytes": SIZES,
    "coredns_health_request_duration_seconds": [0.00025 * 10**n for n in range(5)],
    "coredns_kubernetes_dns_programming_duration_seconds": [0.001 * 2**n for n in range(20)],
    "coredns_kubernetes_rest_client_request_duration_seconds": REST,
    "coredns_kubernetes_rest_client_rate_limiter_duration_seconds": REST,
}


def test_the_table_is_read_whole() -> None:
    assert 37 == len(ROWS)
    assert Row("coredns_cache_served_stale_total", ("server", "zones", "view"), {}) in ROWS
    assert Row("coredns_proxy_conn_cache_misses_total", ("proxy_name", "to", "proto"), {}) in ROWS
    assert Row("coredns_reload_version_info", ("hash", "value"), {}) in ROWS


@pytest.fixture(scope="module")
def text(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One scrape, after a bit of everything."""
    folder = tmp_path_factory.mktemp("metrics")
    up, nobody = free_ports(2)
    values = {"kubeconfig": plane.kubeconfig("dns"), "upstream": up, "nobody": nobody}
    with upstreams({up: of_one_address("192.0.2.1")}), Kdns(COREFILE, folder, **values) as kdns:
        comes_to([], kdns.unready)
        provoke(plane, kdns)
        return kdns._get("/metrics")[1]


@pytest.fixture(scope="module")
def scrape(text: str) -> dict[str, list[dict[str, str]]]:
    """The labels of all samples by name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


def provoke(plane: ControlPlane, kdns: Kdns) -> None:
    plane.api.apply([
        service("metrics-ip", "default"), service("metrics-own", "default", clusterIP="None"),
        service("metrics-with", "default", clusterIP="None", selector={"app": "metrics"}),
        pod("metrics-0", "default", "10.244.3.1", {"app": "metrics"}),
    ])  # fmt: skip
    by_hand = endpoint_slice("metrics-own-1", "default", "metrics-own", ["10.244.3.2"])
    by_hand["metadata"]["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"}
    plane.api.apply([by_hand])
    kdns.comes_to_say("10.244.3.1", f"metrics-with.default.svc.{ZONE}", timeout=20)
    kdns.comes_to_say("10.244.3.2", f"metrics-own.default.svc.{ZONE}")
    for name in ("one.example.", "one.example.", "two.example.", "none.default.svc.cluster.local."):
        for want_dnssec in (False, True):
            query = dns.message.make_query(name, "A", want_dnssec=want_dnssec)
            dns.query.udp(query, "127.0.0.1", 5, kdns.port)
            dns.query.tcp(query, "127.0.0.1", 5, kdns.port)
    (kdns.folder / "Corefile").write_text("nonsense {")
    kdns.signal(signal.SIGUSR1)
    comes_to(1.0, lambda: kdns.metric("coredns_reload_failed_total"))
    comes_to(True, lambda: kdns.metric("coredns_proxy_healthcheck_failures_total") > 0)


@pytest.mark.parametrize("row", ROWS + OWN, ids=lambda row: row.name)
def test_a_metric_with_its_labels(row: Row, scrape: dict[str, list[dict[str, str]]]) -> None:
    samples = scrape.get(row.name) or scrape.get(f"{row.name}_count")
    assert samples, f"{row.name} has no sample"
    assert {frozenset(row.labels)} == {frozenset(sample) for sample in samples}
    for label, values in row.values.items():
        assert values <= {sample[label] for sample in samples}


@pytest.mark.parametrize("name", BUCKETS)
def test_the_buckets_of_a_histogram(name: str, scrape: dict[str, list[dict[str, str]]]) -> None:
    bounds = {sample["le"] for sample in scrape[f"{name}_bucket"]}
    assert BUCKETS[name] == pytest.approx(sorted(float(bound) for bound in bounds - {"+Inf"}), rel=1e-4)


MIXIN = """
coredns_panics_total coredns_dns_responses_total coredns_forward_responses_total coredns_dns_request_duration_seconds_bucket
coredns_forward_request_duration_seconds_bucket coredns_dns_requests_total coredns_forward_requests_total coredns_plugin_enabled
coredns_kubernetes_dns_programming_duration_seconds_bucket coredns_dns_request_size_bytes_bucket coredns_build_info
coredns_dns_response_size_bytes_bucket coredns_cache_hits_total coredns_cache_misses_total coredns_cache_entries
process_resident_memory_bytes process_cpu_seconds_total go_goroutines
coredns_forward_healthcheck_failures_total coredns_forward_healthcheck_broken_total
"""  # what the dashboard and the alerts of CoreDNS's mixin ask for


def asked() -> dict[str, set[str]]:
    """The names of metrics that something asks for."""
    texts = {
        path.name: path.read_text()
        for path in (*(DEPLOY / "grafana").glob("*.json"), DEPLOY / "prometheus" / "alerts.yaml")
    }  # fmt: skip
    found = {name: set(re.findall(r"\b(?:coredns|kdns|process)_[a-z_]+(?=[{[])", text)) for name, text in texts.items()}
    return {**found, "CoreDNS's mixin": set(MIXIN.split())}


@pytest.mark.parametrize("by", asked())
def test_what_dashboards_and_alerts_ask_for_is_there(by: str, text: str) -> None:
    """With a sample, or told of by its type: a counter of what did not happen yet may have no labels to show."""
    there = set(re.findall(r"^([a-z_]+)[{ ]", text, re.MULTILINE)) | set(re.findall(r"^# TYPE ([a-z_]+)", text, re.MULTILINE))
    assert len(asked()[by]) > 9
    assert set() == asked()[by] - there
