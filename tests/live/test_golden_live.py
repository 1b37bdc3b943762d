"""The golden answers over a real API server: its ClusterIPs, its controllers' endpoints, a cluster DNS's grants."""

import ipaddress
import json
import time
from collections.abc import Iterator
from string import Template
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest

from kdns.testing.ports import free_ports
from tests.support import TOWN
from tests.support.control_plane.plane import ControlPlane, SERVICE_RANGE
from tests.support.processes import Kdns

OPTIONS = {
    "kubeadm": ("pods insecure", "fallthrough in-addr.arpa ip6.arpa", "ttl 30"),
    "bare": (),
    "verified": ("pods verified", "endpoint_pod_names", "ttl 60"),
    "ignore-empty": ("ignore empty_service",),
    "noendpoints": ("noendpoints",),
    "namespaces": ("namespaces prod kube-system", "pods insecure"),
    "namespace-labels": ("namespace_labels env in (prod)", "pods verified"),
    "zonal": ("zonal", "pods insecure"),
}
BLOCK = Template("""
cluster.local:$port in-addr.arpa:$port ip6.arpa:$port {
    bind 127.0.0.1
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig $kubeconfig
        $options
    }
    loadbalance
}
""")
ALLOCATED = [ipaddress.ip_network(each) for each in SERVICE_RANGE.split(",")]
SETTLED_WITHIN = 20.0  # seconds, for the controllers
REPLACES = ("verified", "ignore-empty", "noendpoints", "namespaces", "namespace-labels", "zonal")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def ports(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kdns, dict[str, int]]]:
    """A kdns with a port for each golden file, over the town."""
    plane.api.apply(TOWN / "00-nodes.yaml")
    for file in ("10-seeds", "20-kinds", "30-crowd"):
        plane.api.apply(TOWN / f"{file}.yaml")
    names = list(OPTIONS)
    ports = dict(zip(names, free_ports(len(names) - 1), strict=False))
    kubeconfig = plane.kubeconfig("dns")
    kdns = Kdns("", tmp_path_factory.mktemp("golden"))
    ports[names[-1]] = kdns.port
    blocks = [
        BLOCK.substitute(port=ports[name], kubeconfig=kubeconfig, options="\n        ".join(OPTIONS[name])) for name in names
    ]
    kdns.write("".join(blocks))
    with kdns:
        yield kdns, ports


@pytest.mark.parametrize("name", OPTIONS)
def test_the_town_is_answered_as_expected(name: str, ports: tuple[Kdns, dict[str, int]]) -> None:
    kdns, by_name = ports
    kdns.port = by_name[name]
    left = rows(name)
    assert len(left) > 2000
    deadline = time.monotonic() + SETTLED_WITHIN
    while left:
        wrong = {(row["name"], row["type"]): found for row in left if (found := differences(kdns, row))}
        left = [row for row in left if (row["name"], row["type"]) in wrong]
        if left and time.monotonic() > deadline:
            pytest.fail(f"{len(left)} of {len(rows(name))}: " + "; ".join(map(str, list(wrong.items())[:5])))


def rows(name: str) -> list[Row]:
    """The questions of a golden file, over those of bare where it only replaces some; without those of allocated names."""
    files = (["bare"] if name in REPLACES else []) + [name]
    found: dict[tuple[str, str], Row] = {}
    for file in files:
        for line in (TOWN / "answers" / f"{file}.jsonl").read_text().splitlines():
            row = json.loads(line)
            found[row["name"], row["type"]] = row
    return [row for row in found.values() if "skip" not in row and not _allocated_name(row["name"])]


def differences(kdns: Kdns, row: Row) -> str:
    """What is not as expected, twice over: of a reply that was made, and of the memo's."""
    for _ in range(2):
        reply = kdns.ask(row["name"], row["type"])
        if reply.flags & dns.flags.TC:
            reply = kdns.ask(row["name"], row["type"], tcp=True)
        found = seen(reply)
        expected = {
            "rcode": row["rcode"],
            "answer": set(map(_free, row["answer"])),
            "additional": set(map(_free, row["additional"])),
            "soa": row.get("soa"),
            "aa": True,
        }
        if expected != found:
            wrong = [key for key in expected if expected[key] != found[key]]
            return "; ".join(f"{key} {found[key]}, expected {expected[key]}" for key in wrong)
    return ""


def seen(reply: dns.message.Message) -> Row:
    """A reply in the notation of the golden files."""
    soas = [text for text in _texts(reply.authority) if " SOA " in text]
    return {
        "rcode": dns.rcode.to_text(reply.rcode()),
        "answer": set(map(_free, _texts(reply.answer))),
        "additional": set(map(_free, _texts(reply.additional))),
        "soa": soas[0] if soas else None,
        "aa": bool(reply.flags & dns.flags.AA),
    }


def _texts(section: list[Any]) -> list[str]:
    out = []
    for rrset in section:
        kind = dns.rdatatype.to_text(rrset.rdtype)
        for rdata in rrset:
            fields = rdata.to_text().split()
            if kind == "SOA":
                fields[2] = "0"  # the serial may be any
            if kind in ("SRV", "CNAME", "PTR", "SOA"):
                fields = [field.lower() for field in fields]
            out.append(f"{str(rrset.name).lower()} {rrset.ttl} {kind} {' '.join(fields)}")
    return out


def _free(record: str) -> str:
    """A record; in place of an address that the API server allocated, its range."""
    fields = record.split(" ")
    if fields[2] in ("A", "AAAA"):
        address = ipaddress.ip_address(fields[3])
        fields[3] = next((str(network) for network in ALLOCATED if address in network), fields[3])
    return " ".join(fields)


def _allocated_name(name: str) -> bool:
    if not name.endswith("arpa."):
        return False
    try:
        address = ipaddress.ip_address(dns.reversename.to_address(dns.name.from_text(name)))
    except (dns.exception.DNSException, ValueError):
        return False
    return any(address in network for network in ALLOCATED)
