"""Zones made at random, asked of NSD and of ourselves: the same codes, flags, answers and authority.

One difference is meant: an alias that leads into a delegation is left to the server, which may have that zone, too.
"""

import itertools
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rdatatype
import pytest

from kdns.dns import master
from kdns.dns.encoding import encode
from kdns.dns.query import Edns, Query, Transport
from kdns.dns.zone import Zone
from kdns.testing.ports import free_port
from tests.support.processes import comes_to

NSD = shutil.which("nsd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
ZONES, LABELS = 12, ("a", "b", "c", "*")
RDATA = {"A": "192.0.2.{n}", "AAAA": "2001:db8::{n}", "TXT": "x{n}", "MX": "10 {target}", "SRV": "0 0 {n} {target}",
         "CNAME": "{target}", "NS": "{target}", "DNAME": "{target}"}  # fmt: skip
Said = tuple[int, bool, list[str], list[str]]


def name(rnd: random.Random) -> str:
    return ".".join(rnd.choice(LABELS) for _ in range(rnd.randint(1, 3)))


def records(rnd: random.Random) -> list[str]:
    """A zone that may be: nothing beside an alias, nothing below a DNAME, no delegation of a wildcard."""
    types: dict[str, set[str]] = {}
    lines = []
    for _ in range(rnd.randint(3, 16)):
        owner, type = name(rnd), rnd.choice(list(RDATA))
        there = types.get(owner, set())
        alone = {"CNAME", "DNAME", "NS"}
        if (owner.startswith("*") and type in ("NS", "DNAME")) or (there and (alone & (there | {type}) and {type} != there)):
            continue
        if type in ("CNAME", "DNAME") and there:
            continue
        types.setdefault(owner, set()).add(type)
        lines.append(f"{owner} {type} " + RDATA[type].format(n=rnd.randint(1, 9), target=rnd.choice([name(rnd), "x.other."])))
    renamed = tuple(f".{owner}" for owner, there in types.items() if "DNAME" in there)
    return [line for line in lines if not line.split()[0].endswith(renamed)] if renamed else lines


def questions() -> Iterator[tuple[str, str]]:
    for depth in range(3):
        for labels in itertools.product((*LABELS, "q"), repeat=depth):
            for type in ("A", "MX", "NS", "CNAME", "DS"):
                yield "".join(f"{label}." for label in labels), type


def said(message: dns.message.Message) -> Said:
    def lines(section: list[dns.rrset.RRset]) -> list[str]:
        return sorted(f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}".lower() for rrset in section for rdata in rrset)

    return message.rcode(), bool(message.flags & dns.flags.AA), lines(message.answer), lines(message.authority)


@pytest.mark.skipif(not NSD, reason="needs nsd")
def test_zones_at_random_say_what_nsd_says(tmp_path: Path) -> None:
    rnd = random.Random(3)
    port = free_port()
    head = "$TTL 300\n@ SOA ns host 1 7200 1800 86400 60\n@ NS ns\n@ NS ns.other.\nns A 192.0.2.53\n"
    texts = {f"z{i}.test.": head + "\n".join(records(rnd)) + "\n" for i in range(ZONES)}
    conf = [f'server:\n ip-address: 127.0.0.1@{port}\n username: ""\n chroot: ""\n database: ""\n server-count: 1\n'
            f' zonesdir: "{tmp_path}"\n pidfile: "{tmp_path}/pid"\n xfrdfile: "{tmp_path}/xfrd"\n zonelistfile: "{tmp_path}/list"\n'
            " minimal-responses: yes\n rrl-ratelimit: 0\nremote-control:\n control-enable: no\n"]  # fmt: skip
    for origin, text in texts.items():
        (tmp_path / origin).write_text(text)
        conf.append(f'zone:\n name: "{origin}"\n zonefile: "{origin}"\n')
    (tmp_path / "conf").write_text("".join(conf))
    nsd = subprocess.Popen([str(NSD), "-d", "-c", str(tmp_path / "conf")], stderr=subprocess.DEVNULL)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port))
            sock.settimeout(5)
            comes_to(True, lambda: asked(sock, "z0.test.", "SOA") is not None)
            for origin, text in texts.items():
                zone = Zone(origin, master.read(origin, origin, lambda path, text=text: text).rrsets, "zone")  # type: ignore[misc]
                for below, type in questions():
                    theirs = asked(sock, below + origin, type)
                    ours, leads_out = answered(zone, below + origin, type)
                    assert theirs is not None
                    assert (theirs[:3] if leads_out else theirs) == (ours[:3] if leads_out else ours), f"{below}{origin} {type}"
    finally:
        nsd.terminate()
        nsd.wait()


def asked(sock: socket.socket, name: str, type: str) -> Said | None:
    try:
        sock.send(dns.message.make_query(name, type, use_edns=0, payload=4096).to_wire())
        return said(dns.message.from_wire(sock.recv(65535)))
    except OSError:
        return None


def answered(zone: Zone, name: str, type: str) -> tuple[Said, bool]:
    query = Query(name, dns.rdatatype.from_text(type), edns=Edns(4096, False))
    query.transport = Transport.TCP
    response, leads_out = zone.lookup(name, query.type)
    return said(dns.message.from_wire(b"\0\7" + bytes(encode(query, response)))), leads_out  # type: ignore[arg-type]
