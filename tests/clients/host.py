"""A host of its own: a network namespace with loopback alone, a resolv.conf, and kdns on port 53.

`ip netns exec` puts the files of /etc/netns/NAME in the place of those in /etc, so that real clients read a resolv.conf
as a Pod has it. Root and iproute2 are needed.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.support import ROOT

POD = "search prod.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n"

COREFILE = """
. {
    bind 127.0.0.1
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        manifests MANIFESTS
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    file ZONE chain.example
    loadbalance
}
"""

ZONE = (
    "$TTL 30\n@ IN SOA ns.chain.example. host.chain.example. 1 7200 1800 86400 30\n@ IN NS ns.chain.example.\n"
    + "".join(f"alias{n} IN CNAME alias{n + 1}\n" for n in range(7))
    + "".join(f"alias7 IN A 192.0.2.{n}\n" for n in range(1, 9))
)


def manifests() -> str:
    """A ClusterIP, headless Services of 3 and of 120 endpoints, an ExternalName that leads back to itself."""
    ports = [{"name": "http", "port": 80}]
    out: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}},
        service("web", {"clusterIP": "10.96.0.7", "ports": ports}),
        service("round", {"type": "ExternalName", "externalName": "round.prod.svc.cluster.local"}),
    ]
    for name, count in (("db", 3), ("crowd", 120)):
        out.append(service(name, {"clusterIP": "None", "ports": ports}))
        endpoints = [
            {"addresses": [f"10.1.{len(name)}.{n}"], "hostname": f"{name}-{n}", "conditions": {"ready": True}}
            for n in range(1, count + 1)
        ]
        labels = {"kubernetes.io/service-name": name}
        out.append({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": ports,
            "endpoints": endpoints, "metadata": {"name": f"{name}-1", "namespace": "prod", "labels": labels},
        })  # fmt: skip
    return "".join(json.dumps(each) + "\n" for each in out)


def service(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "prod"}, "spec": spec}


class Host:
    """A network namespace with kdns in it."""

    _numbers = itertools.count()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"kdns-{os.getpid()}-{next(self._numbers)}"
        self.etc = Path("/etc/netns") / self.name
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        self.etc.mkdir(parents=True)
        self.resolv_conf(POD)
        (self.folder / "cluster.json").write_text(manifests())
        (self.folder / "db.chain").write_text(ZONE)
        corefile = COREFILE.replace("MANIFESTS", str(self.folder / "cluster.json")).replace("ZONE", str(self.folder / "db.chain"))
        (self.folder / "Corefile").write_text(corefile)
        self.start([sys.executable, "-m", "kdns", "-conf", str(self.folder / "Corefile"), "-quiet"])
        self.until(["dig", "+short", "+tries=1", "+time=1", "@127.0.0.1", "web.prod.svc.cluster.local"], "10.96.0.7")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        subprocess.run(["ip", "netns", "del", self.name], check=True)
        shutil.rmtree(self.etc)

    def resolv_conf(self, text: str) -> None:
        (self.etc / "resolv.conf").write_text(text)

    def start(self, command: list[str]) -> None:
        """A program that runs on until the host ends; what it says is in the folder."""
        inside = ["ip", "netns", "exec", self.name, *command]
        with (self.folder / f"{Path(command[0]).name}.log").open("ab") as log:
            self._processes.append(subprocess.Popen(inside, stdout=log, stderr=log, cwd=ROOT, stdin=subprocess.DEVNULL))

    def said(self, command: list[str], timeout: float = 30) -> str:
        """What a program of this host writes to standard output."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *command], capture_output=True, text=True, timeout=timeout, cwd=self.folder
        )
        return done.stdout

    def until(self, command: list[str], expected: str, tries: int = 60) -> str:
        """The same, once it contains something."""
        said = ""
        for _ in range(tries):
            said = self.said(command)
            if expected in said:
                return said
            time.sleep(0.2)
        logs = "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))
        raise AssertionError(f"{' '.join(command)} never said {expected!r}, at last {said!r}; the logs:\n{logs}")
