"""kdns as a process of its own, and questions to it, judged by dnspython.

    with Kdns(COREFILE, folder, kubeconfig=plane.kubeconfig("dns")) as kdns:
        assert "10.96.0.1" == kdns.says("kubernetes.default.svc.cluster.local")

A Corefile here is a string.Template: `$port` and `$http` (readiness and metrics) are ports of this process, the rest is
what the test gives.
"""

import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Self

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename

from kdns.testing.ports import free_ports
from tests.support.control_plane.plane import ControlPlane, until
from tests.support.control_plane.rest import Api, ApiError, Object

CLUSTER = """
.:$port {
    bind 127.0.0.1
    errors
    ready 127.0.0.1:$http
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig $kubeconfig
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus 127.0.0.1:$http
    loadbalance
}
"""
ZONE = "cluster.local."
SEEN_WITHIN = 5.0  # seconds; Kubernetes' own tests wait for 30


class Kdns:
    """A process that serves a Corefile; it is there once it answers anything at all."""

    def __init__(self, corefile: str, folder: Path, **values: object) -> None:
        self.folder = folder
        self.port, self.http = free_ports(2)
        self._values = values
        self._process: subprocess.Popen[bytes] | None = None
        self.write(corefile)

    def write(self, corefile: str) -> None:
        """Replace the Corefile; SIGUSR1 (`signal`) has it read."""
        text = Template(corefile).substitute(self._values, port=self.port, http=self.http)
        (self.folder / "Corefile").write_text(text)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 15.0) -> Self:
        command = [sys.executable, "-m", "kdns", "-conf", str(self.folder / "Corefile"), "-quiet"]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(self._answers, f"kdns answers; its log:\n{self.log}", timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"kdns has ended; its log:\n{self.log}"
        try:
            self.ask("dns-version." + ZONE, "TXT", timeout=0.2)
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """As a kubelet does."""
        if self._process is not None:
            self._process.terminate()
            try:
                assert 0 == self._process.wait(10), self.log
                assert "Traceback" not in self.log, self.log
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise
            finally:
                self._process = None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ask(self, name: str, type: str = "A", *, tcp: bool = False, timeout: float = 2.0) -> dns.message.Message:
        """The reply to one query; OSError where none comes."""
        query = dns.message.make_query(name, type, use_edns=0, payload=1232)
        try:
            if tcp:
                return dns.query.tcp(query, "127.0.0.1", timeout, self.port)
            with connected(self.port, timeout) as sock:
                return dns.message.from_wire(exchange(sock, query.to_wire()))
        except dns.exception.Timeout as error:
            raise OSError(f"{name} {type}: no reply") from error

    def says(self, name: str, type: str = "A", *, tcp: bool = False) -> str:
        return said(self.ask(name, type, tcp=tcp))

    def comes_to_say(self, expected: str, name: str, type: str = "A", timeout: float = SEEN_WITHIN) -> None:
        """Asks until the answer is the expected one."""
        comes_to(expected, lambda: self.says(name, type), timeout)

    def unready(self) -> list[str]:
        """The lines of /ready; none where it is ready."""
        status, text = self._get("/ready")
        return [] if status == 200 else text.splitlines()

    def metric(self, name: str) -> float:
        """The sum of a metric over all its labels."""
        lines = [line for line in self._get("/metrics")[1].splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def comes_to(expected: object, actual: Callable[[], object], timeout: float = SEEN_WITHIN) -> None:
    """Looks every 10 ms until what is there is what is expected; fails with both after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (found := actual()) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert expected == found


def connected(port: int, timeout: float = 2.0) -> socket.socket:
    """A UDP socket to a port of this machine."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(timeout)
    sock.connect(("127.0.0.1", port))
    return sock


def exchange(sock: socket.socket, wire: bytes) -> bytes:
    """A datagram and the one that answers it."""
    sock.send(wire)
    while (reply := sock.recv(65535))[:2] != wire[:2]:
        pass
    return reply


def said(reply: dns.message.Message) -> str:
    """The answer in a line: `10.96.0.1, 10.96.0.2`; an alias before what it leads to; NODATA; or the code."""
    rcode = dns.rcode.to_text(reply.rcode())
    parts = []
    for rrset in reply.answer:
        texts = ", ".join(sorted(rdata.to_text() for rdata in rrset))
        alias = rrset.rdtype == dns.rdatatype.CNAME
        parts.append(f"CNAME {texts}" if alias else texts)
    if rcode != "NOERROR":
        parts.append(rcode)
    return " -> ".join(parts) or "NODATA"


def why(reply: dns.message.Message) -> str:
    """The text of the extended error (RFC 8914), or the empty string."""
    found = [option for option in reply.options if option.otype == dns.edns.OptionType.EDE]
    return str(found[0].text) if found else ""


def reverse(address: str) -> str:
    return dns.reversename.from_address(address).to_text()


class Asking:
    """Asks the same names over and over, in a thread, and keeps every reply that one of them may not have."""

    def __init__(self, kdns: Kdns, expected: dict[str, set[str]], pause: float = 0.002) -> None:
        """`expected`: by name, what may be said of it."""
        self._kdns, self._expected, self._pause = kdns, expected, pause
        self.wrong: list[str] = []
        self.asked = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._end.is_set():
            for name, expected in self._expected.items():
                try:
                    found = self._kdns.says(name)
                except OSError as error:
                    found = f"no reply: {error}"
                self.asked += 1
                if found not in expected:
                    self.wrong.append(f"{name}: {found}")
            self._end.wait(self._pause)


# ------------------------------------------------------------ objects


def service(name: str, namespace: str, **spec: object) -> Object:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": ports, **spec},
    }  # fmt: skip


def external(name: str, namespace: str, target: str) -> Object:
    return service(name, namespace, type="ExternalName", externalName=target)


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def pod(name: str, of: str, ip: str, labels: dict[str, str], *, ready: bool = True, **spec: object) -> Object:
    """A Pod on node-a, with the status that its kubelet would write."""
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": of, "labels": labels},
        "spec": {"nodeName": "node-a", "containers": [{"name": "c", "image": "c"}], **spec},
        "status": running(ip, ready),
    }  # fmt: skip


def running(ip: str, ready: bool = True) -> Object:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}


def endpoint_slice(name: str, of: str, service: str, addresses: list[str], port: int = 80) -> Object:
    """A slice that somebody wrote by hand."""
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": of, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }  # fmt: skip


def granted(plane: ControlPlane, user: str = "dns") -> str:
    """The kubeconfig of a user, once the API server has taken in what was granted."""
    client = plane.client(user)
    try:
        until(lambda: _may_list(client), f"{user} may list")
    finally:
        client.close()
    return str(plane.kubeconfig(user))


def _may_list(client: Api) -> bool:
    try:
        client.objects("Service", "default")
    except ApiError:
        return False
    return True
