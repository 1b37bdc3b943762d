"""Arguments of NodeLocal DNSCache: what they make of a Corefile, and what of the network, in a network namespace of its own."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from kdns.errors import KdnsError
from kdns.server.node_local import prepared, rules, Template
from tests.support import ROOT

BASE = """cluster.local:53 {
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__
}
.:53 {
    forward . __PILLAR__UPSTREAM__SERVERS__
}
"""
OFF = ["-setupinterface=false", "-setupiptables=false"]


def template(folder: Path, base: str = BASE, service: str = "kube-dns-upstream") -> Template:
    (folder / "Corefile.base").write_text(base)
    flags = argparse.Namespace(
        basecorefile=folder / "Corefile.base", kubednscm=folder / "kube-dns", port=53, upstreamsvc=service,
        localip=[ip_address("169.254.20.10"), ip_address("10.96.0.10")],
    )  # fmt: skip
    return Template(flags, {"KUBE_DNS_UPSTREAM_SERVICE_HOST": "10.96.7.7"})


def test_the_words_of_a_template(tmp_path: Path) -> None:
    assert """cluster.local:53 {
    bind 169.254.20.10 10.96.0.10\x20
    forward . 10.96.7.7
}
.:53 {
    forward . /etc/resolv.conf
}
""" == template(tmp_path).text()


def test_the_config_map_of_kube_dns(tmp_path: Path) -> None:
    (tmp_path / "kube-dns").mkdir()
    (tmp_path / "kube-dns" / "upstreamNameservers").write_text('["192.0.2.1", "192.0.2.2"]')
    (tmp_path / "kube-dns" / "stubDomains").write_text('{"acme.local": ["192.0.2.3"]}')
    lines = template(tmp_path).text().splitlines()
    assert "    forward . 192.0.2.1 192.0.2.2" in lines
    assert ["acme.local:53 {", "    errors", "    cache 30", "    bind 169.254.20.10 10.96.0.10", "    forward . 192.0.2.3", "}"] \
        == lines[-6:]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: (folder / "Corefile.base").unlink(), "cannot read {}/Corefile.base: no such file or directory"),
        (
            lambda folder: (folder / "kube-dns" / "stubDomains").write_text("acme"),
            "{}/kube-dns/stubDomains: not JSON: Expecting value: line 1 column 1 (char 0)",
        ),
        (lambda folder: (folder / "kube-dns" / "upstreamNameservers").write_text("{{}}"[1:-1]),
         "{}/kube-dns/upstreamNameservers: not a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(change: object, expected: str, tmp_path: Path) -> None:
    (tmp_path / "kube-dns").mkdir()
    made = template(tmp_path)
    assert callable(change)
    change(tmp_path)
    with pytest.raises(KdnsError) as raised:
        made.text()
    assert expected.format(tmp_path) == str(raised.value)


def test_an_upstream_service_that_was_not_there(tmp_path: Path) -> None:
    with pytest.raises(KdnsError, match="is the Service 'other', which was not there"):
        template(tmp_path, service="other").text()
    assert ".:53 {\n}\n" == template(tmp_path, ".:53 {\n}\n", service="other").text()


def test_a_changed_template_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdns.server.node_local.LOOK_EACH", 0.01)
    made, corefile, end = template(tmp_path), tmp_path / "Corefile", threading.Event()
    corefile.write_text(made.text())
    following = threading.Thread(target=made.follow, args=(corefile, end))
    following.start()
    try:
        (tmp_path / "Corefile.base").write_text("bind __PILLAR__LOCAL__DNS__\n")
        deadline = time.monotonic() + 10
        while corefile.read_text() != "bind 169.254.20.10 10.96.0.10\n":
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        end.set()
        following.join()


def test_what_is_left_for_kdns(tmp_path: Path) -> None:
    (tmp_path / "base").write_text(".:53 {\n}\n")
    words = [
        "-localip", "169.254.20.10", "-conf", f"{tmp_path}/Corefile", "-basecorefile", f"{tmp_path}/base", "-pidfile", "p",
        "-upstreamsvc", "kube-dns-upstream", "-interfacename", "nodelocaldns", "-metrics-listen-address=0.0.0.0:9353", *OFF,
    ]  # fmt: skip
    with prepared(words) as left:
        assert ["-conf", f"{tmp_path}/Corefile", "-dns.port", "53", "-pidfile", "p"] == left
        assert ".:53 {\n}\n" == (tmp_path / "Corefile").read_text()


@pytest.mark.parametrize("words", [["-localip", "nowhere"], ["-localip", "192.0.2.1", "-health-port", "x"]])
def test_a_wrong_argument(words: list[str]) -> None:
    with pytest.raises(KdnsError), prepared([*words, *OFF]):
        pass


def test_queries_and_replies_are_not_tracked() -> None:
    assert [
        ["iptables", "raw", "PREROUTING", "-d", "169.254.20.10", "-p", "udp", "--dport", "53", "-j", "NOTRACK"],
        ["iptables", "raw", "OUTPUT", "-d", "169.254.20.10", "-p", "udp", "--dport", "53", "-j", "NOTRACK"],
        ["iptables", "raw", "OUTPUT", "-s", "169.254.20.10", "-p", "udp", "--sport", "53", "-j", "NOTRACK"],
        ["iptables", "filter", "INPUT", "-d", "169.254.20.10", "-p", "udp", "--dport", "53", "-j", "ACCEPT"],
        ["iptables", "filter", "OUTPUT", "-s", "169.254.20.10", "-p", "udp", "--sport", "53", "-j", "ACCEPT"],
    ] == rules([ip_address("169.254.20.10")], [53, 8080])[:5]
    assert {"ip6tables"} == {rule[0] for rule in rules([ip_address("fd00::10")], [53])}


UP = """
import fcntl, json, socket, struct, subprocess, sys, time
with socket.socket() as sock:  # a new network namespace has its loopback interface down
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
"""
INSIDE = UP + """
from kdns.server.node_local import prepared
def seen():
    table = subprocess.run(["iptables", "-t", "raw", "-S"], capture_output=True, text=True).stdout.splitlines()
    return [open("/proc/net/fib_trie").read().count("169.254.20.10") > 0, sum("NOTRACK" in line for line in table)]
found = [seen()]
with prepared(sys.argv[1:]):
    found.append(seen())
    with prepared(sys.argv[1:]):  # what is there already is no error, and not ours to take away
        pass
    found.append(seen())
found.append(seen())
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("iptables") is None, reason="needs Linux and iptables")
def test_addresses_and_rules_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "base").write_text(".:53 {\n}\n")
    words = ["-localip", "169.254.20.10", "-conf", f"{tmp_path}/Corefile", "-basecorefile", f"{tmp_path}/base"]
    assert [[False, 0], [True, 9], [True, 9], [False, 0]] == in_a_namespace(INSIDE, words)


def in_a_namespace(program: str, words: list[str]) -> object:
    """What a program prints as JSON, in a network namespace of its own."""
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


SERVED = UP + """
import dns.message, dns.query
server = subprocess.Popen([sys.executable, "-m", "kdns", *sys.argv[1:]], stdout=subprocess.DEVNULL)
found = None
for _ in range(100):
    try:
        query = dns.message.make_query("kubernetes.default.svc.cluster.local", "A")
        found = [rdata.to_text() for rdata in dns.query.udp(query, "169.254.20.10", 0.2).answer[0]]
        break
    except (OSError, dns.exception.Timeout):
        time.sleep(0.1)
server.terminate()
print(json.dumps([found, server.wait(20), open("/proc/net/fib_trie").read().count("169.254.20.10")]))
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("iptables") is None, reason="needs Linux and iptables")
def test_a_node_is_served(tmp_path: Path) -> None:
    """As the DaemonSet has it: on port 53 of an address that nobody had, and none has afterwards."""
    corefile = (ROOT / "deploy" / "overlays" / "node-local-api" / "Corefile").read_text()
    kept = [line for line in corefile.splitlines() if not re.match(r"\s*(forward|loop|cache|health|ready|prometheus)", line)]
    kept.insert(1 + kept.index(next(line for line in kept if "kubernetes" in line)), f"manifests {ROOT}/zones/cluster.yaml")
    (tmp_path / "base").write_text("\n".join(kept) + "\n")
    words = ["-localip", "169.254.20.10", "-conf", f"{tmp_path}/Corefile", "-basecorefile", f"{tmp_path}/base"]
    assert [["10.96.0.1"], 0, 0] == in_a_namespace(SERVED, words)
