"""Resolvers as programs have them: the C libraries in their modes, Go's, Python's."""

import sys

import pytest

from tests.clients.host import Host, POD

THREE = {f"10.1.2.{n}" for n in (1, 2, 3)}
CROWD = {f"10.1.5.{n}" for n in range(1, 121)}
CHAIN = {f"192.0.2.{n}" for n in range(1, 9)}
NAMES = [
    ("web", {"10.96.0.7"}),
    ("web.prod", {"10.96.0.7"}),
    ("web.prod.svc", {"10.96.0.7"}),
    ("web.prod.svc.cluster.local", {"10.96.0.7"}),
    ("WEB.Prod.svc.cluster.local.", {"10.96.0.7"}),
    ("db", THREE),
    ("db-2.db", {"10.1.2.2"}),
    ("crowd", CROWD),
    ("alias0.chain.example.", CHAIN),
]
GLIBC_MODES = ["", "edns0", "trust-ad", "single-request", "single-request-reopen", "use-vc", "rotate", "no-aaaa", "timeout:1"]


def addresses(said: str) -> set[str]:
    return set(said.split())


@pytest.mark.parametrize("mode", GLIBC_MODES)
def test_glibc(host: Host, glibc: str, mode: str) -> None:
    host.resolv_conf(POD + (f"options {mode}\n" if mode else ""))
    try:
        assert [expected for _, expected in NAMES] == [addresses(host.said([glibc, name])) for name, _ in NAMES]
        assert "error" in host.said([glibc, "nosuch.prod.svc.cluster.local."])
    finally:
        host.resolv_conf(POD)


def test_musl(host: Host, musl: str) -> None:
    """An old one has no TCP: what is cut it takes as it is, so of 120 there are some, and an alias's chain has to fit."""
    for name, expected in NAMES:
        found = addresses(host.said([musl, name]))
        assert found and found <= expected, name
        if len(expected) < 20:
            assert expected == found, name
    assert "error" in host.said([musl, "nosuch.prod.svc.cluster.local."])


def test_musl_over_512_octets(host: Host) -> None:
    """The chain of seven aliases and eight addresses fits a reply without EDNS."""
    said = host.said(["dig", "+noedns", "+ignore", "@127.0.0.1", "alias0.chain.example"])
    assert " tc" not in said.partition("flags:")[2].partition(";")[0]
    assert "ANSWER: 15" in said


@pytest.mark.parametrize("mode", ["", "use-vc", "single-request"])
def test_go(host: Host, go: str, mode: str) -> None:
    host.resolv_conf(POD + (f"options {mode}\n" if mode else ""))
    try:
        assert [expected for _, expected in NAMES] == [addresses(host.said([go, name])) for name, _ in NAMES]
        assert "no such host" in host.said([go, "nosuch.prod.svc.cluster.local."])
    finally:
        host.resolv_conf(POD)


def test_python(host: Host) -> None:
    program = "import socket, sys; print(*{a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)})"
    assert [expected for _, expected in NAMES] == [addresses(host.said([sys.executable, "-c", program, name])) for name, _ in NAMES]


def test_dnspython_as_a_stub(host: Host) -> None:
    """It follows aliases itself, and would fail on one that leads back to itself."""
    program = (
        "import dns.resolver, sys\n"
        "try:\n    print(*sorted(r.to_text() for r in dns.resolver.resolve(sys.argv[1], sys.argv[2])))\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    )

    def said(name: str, type: str) -> str:
        return host.said([sys.executable, "-c", program, name, type]).strip()

    assert "10.1.2.1 10.1.2.2 10.1.2.3" == said("db.prod.svc.cluster.local", "A")
    assert "0 100 80 web.prod.svc.cluster.local." == said("_http._tcp.web.prod.svc.cluster.local", "SRV")
    assert "web.prod.svc.cluster.local." == said("7.0.96.10.in-addr.arpa", "PTR")
    assert "NoAnswer" == said("round.prod.svc.cluster.local", "A")
    assert "NXDOMAIN" == said("nosuch.prod.svc.cluster.local", "A")
