"""kdns on each node: what NodeLocal DNSCache's arguments ask for, done before kdns serves and undone after it.

    -localip 169.254.20.10,10.96.0.10 -conf /etc/Corefile -upstreamsvc kube-dns-upstream

With `-localip` three things happen. Its addresses are put on the loopback interface: that needs no kernel module, where the
dummy interface of NodeLocal DNSCache does, and its name makes no difference to anybody. Where there is an `iptables`, queries
to them are kept out of connection tracking, so that kube-proxy does not send those to the address of kube-dns elsewhere. And
the Corefile is made from a template (`-basecorefile`) and the ConfigMap kube-dns, now and whenever one of them changes;
taking up a changed Corefile is the work of the plugin *reload*.

What stays out: ebtables, and putting rules back that somebody else removed.
"""

import argparse
import contextlib
import errno
import json
import logging
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from kdns.errors import KdnsError

log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
LOOK_EACH = 5.0  # seconds; a kubelet takes a minute to bring a ConfigMap's change
NEWADDR, DELADDR = 20, 21  # rtnetlink(7)
REQUEST_ACK, CREATE = 0x1 | 0x4, 0x400
LOCAL, HOST_SCOPE = 2, 254

STUB = """
{domain}:{port} {{
    errors
    cache 30
    bind {local}
    forward . {servers}
}}
"""


@contextlib.contextmanager
def prepared(words: Sequence[str]) -> Iterator[list[str]]:
    """The words that are left for kdns, while what the others ask for holds.

    KdnsError where an address, a file or the address of the upstream Service cannot be had.
    """
    try:
        flags, rest = _flags().parse_known_args(words)
    except argparse.ArgumentError as error:
        raise KdnsError(str(error)) from None
    path = Path(flags.conf or flags.corefile)
    with contextlib.ExitStack() as undo:
        for address in flags.localip if flags.setupinterface else ():
            if put(address) and not flags.skipteardown:
                undo.callback(take_away, address)
        if flags.setupiptables:
            for rule in _possible(rules(flags.localip, (flags.port, flags.health_port))):
                if not _rule("-C", rule) and _rule("-A", rule) and not flags.skipteardown:
                    undo.callback(_rule, "-D", rule)
        template = Template(flags, os.environ)
        path.write_text(template.text())
        end = threading.Event()
        following = threading.Thread(target=template.follow, args=(path, end), daemon=True)
        following.start()
        undo.callback(following.join)
        undo.callback(end.set)
        yield ["-conf", str(path), "-dns.port", str(flags.port), *rest]


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    parser.add_argument("-localip", type=_addresses, required=True)
    parser.add_argument("-conf", "--conf", default="")
    parser.add_argument("-dns.port", "--dns.port", dest="port", type=int, default=53)
    parser.add_argument("-basecorefile", default="/etc/coredns/Corefile.base", type=Path)
    parser.add_argument("-corefile", default="/etc/Corefile")
    parser.add_argument("-kubednscm", default="/etc/kube-dns", type=Path)
    parser.add_argument("-upstreamsvc", default="kube-dns")
    parser.add_argument("-health-port", dest="health_port", type=int, default=8080)
    for name, default in (("setupinterface", True), ("setupiptables", True), ("skipteardown", False)):
        parser.add_argument(f"-{name}", nargs="?", const=True, default=default, type=_truth)
    for name in ("interfacename", "syncinterval", "initialdelay", "metrics-listen-address", "setupebtables"):
        parser.add_argument(f"-{name}", nargs="?")  # known, without effect
    return parser


def _addresses(text: str) -> list[Address]:
    try:
        return [ip_address(each) for each in text.split(",")]
    except ValueError as error:
        raise KdnsError(f"-localip: {error}") from None


def _truth(text: str) -> bool:
    return text.lower() in ("1", "t", "true")


# ------------------------------------------------------------ the Corefile


class Template:
    """The Corefile with its `__PILLAR__` words filled in."""

    def __init__(self, flags: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self._base, self._folder, self._port = flags.basecorefile, flags.kubednscm, flags.port
        self._local = " ".join(map(str, flags.localip))
        self._service = flags.upstreamsvc
        self._upstream = environment.get(self._service.upper().replace("-", "_") + "_SERVICE_HOST", "")

    def text(self) -> str:
        """KdnsError where a file cannot be read, or the upstream Service is asked for and was not there at start."""
        try:
            text = str(self._base.read_text(encoding="utf-8"))
        except OSError as error:
            raise KdnsError(f"cannot read {self._base}: {(error.strerror or str(error)).lower()}") from None
        if "__PILLAR__CLUSTER__DNS__" in text and not self._upstream:
            raise KdnsError(
                f"{self._base}: __PILLAR__CLUSTER__DNS__ is the Service '{self._service}', which was not there when this Pod "
                "began: create it in this namespace, or name another with -upstreamsvc"
            )
        servers = self._setting("upstreamNameservers", list)
        for word, value in (
            ("__PILLAR__CLUSTER__DNS__", self._upstream),
            ("__PILLAR__UPSTREAM__SERVERS__", " ".join(servers) or "/etc/resolv.conf"),
            ("__PILLAR__LOCAL__DNS__", self._local),
            ("__PILLAR__DNS__SERVER__", ""),
        ):
            text = text.replace(word, value)
        for domain, servers in self._setting("stubDomains", dict).items():
            text += STUB.format(domain=domain, port=self._port, local=self._local, servers=" ".join(servers))
        return text

    def _setting(self, name: str, kind: type) -> Any:
        """A key of the ConfigMap kube-dns: JSON, as its own documentation has it; empty where there is none."""
        path = self._folder / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            return kind()
        except ValueError as error:
            raise KdnsError(f"{path}: not JSON: {error}") from None
        if not isinstance(found, kind):
            raise KdnsError(f"{path}: not a {'list' if kind is list else 'map'}")
        return found

    def follow(self, path: Path, end: threading.Event) -> None:
        """Write the Corefile anew whenever it would be another, until `end`; what is wrong is told once."""
        told, written = "", path.read_text(encoding="utf-8")
        while not end.wait(LOOK_EACH):
            try:
                text = self.text()
                if text != written:
                    path.write_text(text)
                    written = text
                told = ""
            except (KdnsError, OSError) as error:
                if str(error) != told:
                    log.error("the Corefile stays as it is: %s", error)
                told = str(error)


# ------------------------------------------------------------ addresses


def put(address: Address) -> bool:
    """Put an address on the loopback interface; False where it is there. KdnsError where that is not permitted."""
    try:
        _netlink(NEWADDR, REQUEST_ACK | CREATE, address)
        return True
    except OSError as error:
        if error.errno == errno.EEXIST:
            return False
        raise KdnsError(
            f"cannot put {address} on the loopback interface: {(error.strerror or str(error)).lower()}; "
            "give the container NET_ADMIN, or put it there and say -setupinterface=false"
        ) from None


def take_away(address: Address) -> None:
    """Take it off again; it may be gone."""
    with contextlib.suppress(OSError):
        _netlink(DELADDR, REQUEST_ACK, address)


def _netlink(kind: int, flags: int, address: Address) -> None:
    """Ask the kernel for one change of an address, of scope host and full length (rtnetlink(7)); OSError as it says."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = struct.pack("=BBBBI", family, address.max_prefixlen, 0, HOST_SCOPE, socket.if_nametoindex("lo"))
    body += struct.pack("=HH", 4 + len(address.packed), LOCAL) + address.packed
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        (code,) = struct.unpack_from("=i", sock.recv(4096), 16)  # NLMSG_ERROR; 0 is yes
    if code:
        raise OSError(-code, os.strerror(-code))


# ------------------------------------------------------------ connection tracking


def rules(addresses: Sequence[Address], ports: Sequence[int]) -> list[list[str]]:
    """What iptables is told: neither queries to these addresses nor replies from them are tracked; they are let in and out."""
    found = []
    dns_port = ports[0]
    for address in addresses:
        program, host = ("iptables" if address.version == 4 else "ip6tables"), str(address)
        for protocol, port in [("udp", dns_port), *(("tcp", port) for port in ports)]:
            to = ["-d", host, "-p", protocol, "--dport", str(port)]
            back = ["-s", host, "-p", protocol, "--sport", str(port)]
            found += [
                [program, "raw", "PREROUTING", *to, "-j", "NOTRACK"],
                [program, "raw", "OUTPUT", *to, "-j", "NOTRACK"],
                [program, "raw", "OUTPUT", *back, "-j", "NOTRACK"],
                [program, "filter", "INPUT", *to, "-j", "ACCEPT"],
                [program, "filter", "OUTPUT", *back, "-j", "ACCEPT"],
            ]
    return found


def _possible(wanted: Sequence[list[str]]) -> list[list[str]]:
    """The rules whose program is there; a line in the log for each that is not."""
    missing = {program for program in {rule[0] for rule in wanted} if shutil.which(program) is None}
    for program in sorted(missing):
        log.warning("no %s here: queries to the local addresses are tracked, and kube-proxy may take those to a Service's", program)
    return [rule for rule in wanted if rule[0] not in missing]


def _rule(action: str, rule: Sequence[str]) -> bool:
    """Check, add or delete a rule; did that go well? A line in the log where one cannot be added."""
    program, table, *rest = rule
    done = subprocess.run([program, "-w", "-t", table, action, *rest], capture_output=True, text=True, check=False)
    if done.returncode and action == "-A":
        log.warning("not added: %s -t %s %s: %s", program, table, " ".join(rest), done.stderr.strip().partition("\n")[0])
    return done.returncode == 0
