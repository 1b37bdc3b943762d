"""The server as `dig` sees it: search lists, transports, sizes, and the queries that RFC 8906 names.

Served is the town of the golden answers, by `kdns -conf` in a process of its own.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from kdns.testing.ports import free_port
from tests import support

TOWN = support.TOWN / "objects.json"
SEARCH = "prod.svc.cluster.local svc.cluster.local cluster.local corp.example.com"
CROWD = "crowd.prod.svc.cluster.local"  # 120 endpoints
HEADER = re.compile(
    r"status: (?P<status>\w+).*?flags: (?P<flags>[^;]*);.*?ANSWER: (?P<answers>\d+), AUTHORITY: (?P<authorities>\d+)",
    re.DOTALL,
)

if shutil.which("dig") is None:
    if os.environ.get("CI") == "true":
        pytest.fail("dig is missing: install bind9-dnsutils", pytrace=False)
    pytest.skip("dig is missing: install bind9-dnsutils", allow_module_level=True)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server on 127.0.0.1 and, where there is IPv6, ::1."""
    port = free_port()
    corefile = tmp_path_factory.mktemp("dig") / "Corefile"
    corefile.write_text(f"""
        .:{port} {{
            bind 127.0.0.1 {"::1" if has_ipv6() else ""}
            kubernetes cluster.local in-addr.arpa ip6.arpa {{
                manifests {TOWN}
            }}
            loadbalance
        }}
    """)
    command = [sys.executable, "-m", "kdns", "-conf", str(corefile)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=support.ROOT)
    try:
        for _ in range(100):
            assert server.poll() is None, "the server ended"
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        assert 0 == server.wait(20)


def dig(port: int, *words: str, server: str = "127.0.0.1") -> str:
    """What dig prints; `words` as on its command line."""
    command = ["dig", "-r", f"@{server}", "-p", str(port), "+tries=1", "+timeout=3", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert 0 == done.returncode, done.stdout
    return done.stdout


def short(port: int, *words: str, server: str = "127.0.0.1") -> list[str]:
    """The rdata of the answer, in order."""
    return dig(port, "+short", *words, server=server).split("\n")[:-1]


@pytest.mark.parametrize(
    ("name", "domain", "expected"),
    [
        ("kubernetes", "default.svc.cluster.local", True),
        ("kubernetes.default", "svc.cluster.local", True),
        ("kubernetes.default.svc", "cluster.local", True),
        ("kubernetes.default.svc.cluster.local", "", True),
        ("kubernetes.default", "prod.svc.cluster.local", False),
    ],
)
def test_short_names(name: str, domain: str, expected: bool, port: int) -> None:
    words = [f"+domain={domain}", "+ndots=5"] if domain else []
    found = short(port, *words, name)
    assert (["10.96.0.1"] if expected else []) == found


@pytest.mark.parametrize("name", ["kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"])
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_a_search_list_of_several_domains(name: str, transport: str, port: int) -> None:
    """As a Pod's resolver does it: each suffix in turn, until one has the name; NXDOMAIN sends it to the next."""
    found = [short(port, transport, f"{name}.{suffix}") for suffix in (*SEARCH.split(), "")]
    assert ["10.96.0.1"] == next(one for one in found if one)


@pytest.mark.parametrize(
    "words",
    [(), ("+tcp",), ("+noedns",), ("+bufsize=512",), ("+cookie",), ("+nocookie",), ("+dnssec",), ("+cdflag", "+adflag")],
)
def test_one_answer_whatever_the_way(words: tuple[str, ...], port: int) -> None:
    assert ["10.96.0.1"] == short(port, *words, "kubernetes.default.svc.cluster.local")


@pytest.mark.skipif(not has_ipv6(), reason="no ::1 here")
@pytest.mark.parametrize("words", [(), ("+tcp",)])
def test_over_ipv6(words: tuple[str, ...], port: int) -> None:
    assert ["10.96.0.1"] == short(port, *words, "kubernetes.default.svc.cluster.local", server="::1")


@pytest.mark.parametrize(
    ("words", "least", "most"), [(("+bufsize=512",), 27, 31), (("+noedns",), 27, 31), (("+bufsize=1232",), 70, 80)]
)
def test_a_crowd_is_truncated_and_turns(words: tuple[str, ...], least: int, most: int, port: int) -> None:
    seen: set[tuple[str, ...]] = set()
    for _ in range(6):
        text = dig(port, "+ignore", "+nocookie", *words, CROWD)
        found = re.findall(r"\tA\t(\S+)", text)
        assert "tc" in flags(text)
        assert least <= len(found) <= most
        assert len(set(found)) == len(found)
        seen.add(tuple(found))
    assert 6 == len(seen)
    assert len(found) < len({address for one in seen for address in one})


def test_a_crowd_over_tcp_is_whole(port: int) -> None:
    assert 120 == len(set(short(port, "+bufsize=512", CROWD)))  # dig asks again over TCP
    assert 120 == len(set(short(port, "+tcp", CROWD)))


def test_any_gets_one_rrset(port: int) -> None:
    text = dig(port, "+notcp", "+nocookie", "kubernetes.default.svc.cluster.local", "ANY")
    assert ["1"] == [HEADER.search(text)["answers"]]  # type: ignore[index]
    assert 120 == len(short(port, "+tcp", CROWD, "ANY"))


def test_the_spelling_asked_is_echoed(port: int) -> None:
    text = dig(port, "KuberNetes.default.SVC.Cluster.local")
    assert 2 == len(re.findall(r"^;?KuberNetes\.default\.SVC\.Cluster\.local\.", text, re.MULTILINE))


def test_a_reverse_name(port: int) -> None:
    assert ["kubernetes.default.svc.cluster.local."] == short(port, "-x", "10.96.0.1")


def flags(text: str) -> list[str]:
    found = HEADER.search(text)
    assert found is not None, text
    return found["flags"].split()


# dig's words; status; flags of the reply; records in answer and authority; what the text has, and (with "!") has not.
COMPLIANCE = """
    SOA +noedns +norec                          NOERROR qr,aa      1 0  ! EDNS:
    SOA +noedns +norec +cdflag                  NOERROR qr,aa,cd   1 0  ! EDNS:
    SOA +noedns +norec +adflag                  NOERROR qr,aa      1 0  ! EDNS:
    SOA +noedns +norec +tcp                     NOERROR qr,aa      1 0  ! EDNS:
    SOA +noedns +rec                            NOERROR qr,aa,rd   1 0  ! EDNS:
    TYPE1000 +noedns +norec                     NOERROR qr,aa      0 1  SOA
    SOA +noedns +norec +zflag                   NOERROR qr,aa      1 0  ! MBZ
    +noedns +norec +opcode=15 +header-only      NOTIMP  qr         0 0  ! SOA
    SOA +norec +edns=0 +nocookie                NOERROR qr,aa      1 0  EDNS: version: 0
    SOA +norec +edns=1 +noednsneg +nocookie     BADVERS qr         0 0  EDNS: version: 0
    SOA +norec +edns=1 +noednsneg +nocookie +ednsopt=100         BADVERS qr 0 0  ! OPT=100
    SOA +norec +edns=1 +noednsneg +nocookie +ednsflags=0x40      BADVERS qr 0 0  ! MBZ
    SOA +norec +edns=1 +noednsneg +nocookie +dnssec              BADVERS qr 0 0  EDNS: version: 0
    SOA +norec +edns=0 +nocookie +ednsopt=100   NOERROR qr,aa      1 0  ! OPT=100
    SOA +norec +edns=0 +cookie +nsid +expire +subnet=192.0.2.0/24  NOERROR qr,aa 1 0  EDNS: version: 0
    SOA +norec +edns=0 +cookie=0123456789abcdef NOERROR qr,aa      1 0  ! COOKIE
    SOA +norec +edns=0 +nsid +nocookie          NOERROR qr,aa      1 0  ! NSID
    SOA +norec +edns=0 +nocookie +ednsflags=0x40  NOERROR qr,aa    1 0  ! MBZ
    SOA +norec +edns=0 +nocookie +dnssec        NOERROR qr,aa      1 0  EDNS: version: 0
    SOA +norec +dnssec +bufsize=512 +nocookie   NOERROR qr,aa      1 0  EDNS: version: 0
    SOA +norec +edns=0 +nocookie +tcp           NOERROR qr,aa      1 0  EDNS: version: 0
    A +norec +edns=0 +nocookie                  NOERROR qr,aa      0 1  SOA
"""
ROW = re.compile(r"(.+?) +(NOERROR|NOTIMP|BADVERS) +(\S+) +(\d) (\d)  (!?) ?(.+)")


@pytest.mark.parametrize("row", [line.strip() for line in COMPLIANCE.splitlines() if line.strip()])
def test_rfc_8906_at_the_apex(row: str, port: int) -> None:
    found = ROW.fullmatch(row)
    assert found is not None
    words, status, expected_flags, answers, authorities, absent, text = found.groups()
    said = dig(port, "+noall", "+comments", "+question", "+answer", "+authority", *words.split(), *at_apex(words))
    header = HEADER.search(said)
    assert header is not None, said
    assert (status, answers, authorities) == (header["status"], header["answers"], header["authorities"])
    assert expected_flags.split(",") == flags(said)
    assert (not absent) is (text in said), said


def at_apex(words: str) -> list[str]:
    return [] if "+header-only" in words else ["cluster.local"]


def test_a_small_payload_keeps_the_opt_record(port: int) -> None:
    text = dig(port, "+norec", "+ignore", "+nocookie", "+bufsize=512", CROWD, "SRV")
    assert ["qr", "aa", "tc"] == flags(text)
    assert "EDNS: version: 0" in text
    assert 120 == len(short(port, "+norec", "+tcp", "+nocookie", CROWD, "SRV"))
