"""Servers that stand between clients and kdns, and proxies that resolve by themselves."""

import socket
import time
from pathlib import Path

import pytest

from tests.clients.conftest import program
from tests.clients.host import Host

NAMES = [
    ("web.prod.svc.cluster.local", "A", "10.96.0.7"),
    ("_http._tcp.web.prod.svc.cluster.local", "SRV", "0 100 80 web.prod.svc.cluster.local."),
    ("7.0.96.10.in-addr.arpa", "PTR", "web.prod.svc.cluster.local."),
    ("db-3.db.prod.svc.cluster.local", "A", "10.1.2.3"),
    ("alias0.chain.example", "CNAME", "alias1.chain.example."),
]
CODES = [
    ("nosuch.prod.svc.cluster.local", "NXDOMAIN"),
    ("web.prod.svc.cluster.local", "NOERROR"),
    ("round.prod.svc.cluster.local", "NOERROR"),
]


def ask(host: Host, port: int, name: str, type: str = "A") -> list[str]:
    return host.said(["dig", "+short", "+tries=2", f"-p{port}", "@127.0.0.1", name, type]).split("\n")[:-1]


def holds(host: Host, port: int) -> None:
    """What a server in front of kdns has to hand on."""
    host.until(["dig", "+short", "+tries=1", "+time=1", f"-p{port}", "@127.0.0.1", "web.prod.svc.cluster.local"], "10.96.0.7")
    assert [[expected] for _, _, expected in NAMES] == [ask(host, port, name, type) for name, type, _ in NAMES]
    assert {f"10.1.5.{n}" for n in range(1, 121)} == set(ask(host, port, "crowd.prod.svc.cluster.local"))
    for name, code in CODES:
        said = host.said(["dig", "+tries=2", f"-p{port}", "@127.0.0.1", name, "AAAA"])
        assert f"status: {code}" in said, name


def test_unbound(host: Host, tmp_path: Path) -> None:
    config = tmp_path / "unbound.conf"
    config.write_text(f"""
server:
    interface: 127.0.0.1@5301
    do-daemonize: no
    use-syslog: no
    username: ""
    chroot: ""
    directory: "{tmp_path}"
    pidfile: ""
    do-not-query-localhost: no
    use-caps-for-id: yes
    qname-minimisation: yes
    module-config: "iterator"
    local-zone: "10.in-addr.arpa." nodefault
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@53
""")
    host.start([program("unbound", "unbound"), "-d", "-c", str(config)])
    holds(host, 5301)


def test_dnsmasq(host: Host) -> None:
    host.start([
        program("dnsmasq", "dnsmasq-base"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--server=127.0.0.1#53",
        "--port=5302", "--listen-address=127.0.0.1", "--bind-interfaces", "--user=root", "--pid-file",
    ])  # fmt: skip
    holds(host, 5302)


def test_knot_resolver(host: Host, tmp_path: Path) -> None:
    config = tmp_path / "kresd.conf"
    config.write_text(
        "net.listen('127.0.0.1', 5303, { kind = 'dns' })\ncache.size = 4 * MB\ntrust_anchors.remove('.')\n"
        "policy.add(policy.all(policy.STUB('127.0.0.1')))\n"
    )
    host.start([program("kresd", "knot-resolver"), "-n", "-c", str(config), str(tmp_path)])
    holds(host, 5303)


@pytest.mark.parametrize("size", [512, 1232, 4096, 8192])
def test_haproxy_drops_what_is_cut(host: Host, tmp_path: Path, size: int) -> None:
    """It never asks over TCP, so it has all addresses, or (where it takes too little) none."""
    port, config, control = 5400 + size // 512, tmp_path / "haproxy.cfg", tmp_path / "socket"
    config.write_text(f"""
global
    stats socket {control} level admin
defaults
    mode tcp
    timeout connect 1s
    timeout client 1s
    timeout server 1s
resolvers cluster
    nameserver kdns 127.0.0.1:53
    accepted_payload_size {size}
    resolve_retries 1
    timeout resolve 200ms
    timeout retry 200ms
    hold valid 1s
frontend in
    bind 127.0.0.1:{port}
    default_backend crowd
backend crowd
    server-template s 120 crowd.prod.svc.cluster.local:80 resolvers cluster init-addr none
""")
    host.start([program("haproxy", "haproxy"), "-db", "-f", str(config)])
    expected = 120 if size >= 4096 else 0
    found = 0
    for n in range(50):
        found = known(host, control)
        if found == expected and (expected or n > 8):  # that there are none has to last
            break
        time.sleep(0.2)
    assert expected == found


def known(host: Host, control: Path) -> int:
    """How many of its servers HAProxy has an address for."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(control))
        except OSError:
            return 0
        sock.sendall(b"show servers state crowd\n")
        said = b""
        while octets := sock.recv(65536):
            said += octets
    lines = [line.split() for line in said.decode().splitlines() if line.startswith("3 ") or " crowd s" in line]
    return sum(1 for line in lines if len(line) > 4 and line[4].startswith("10.1.5."))
