"""A Corefile written for some other place, served here: its words stay, its ports, addresses and files become this machine's.

    with mapped(Path("k3s").read_text(), folder, files={"NodeHosts": "192.0.2.9 node-a"}) as server:
        assert "192.0.2.9" == server.says("node-a.")

- Ports of server blocks become free ones, each its own; addresses in *bind* become 127.0.0.1, 127.0.0.2, … in the order of
  their appearance, and a block without gets 127.0.0.1.
- *health*, *ready* and *prometheus* share one free port.
- *kubernetes* is given manifests in place of an API server.
- Each place that *forward* sends to is an upstream of its own: the n-th of the file has the address 192.0.2.n for each name.
- `/etc/coredns` is the folder.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dns.message
import dns.query
import yaml

from kdns.testing.ports import free_ports
from tests.support import ROOT
from tests.support.control_plane.rest import Object
from tests.support.processes import Kdns, said
from tests.support.upstreams import of_one_address, upstreams

MANIFESTS = ROOT / "zones" / "cluster.yaml"
HTTP = ("health", "ready", "prometheus")


class Mapped(Kdns):
    """A served Corefile; `ports` are those of its server blocks, by what the Corefile says."""

    def __init__(self, text: str, folder: Path, ports: dict[str, int]) -> None:
        self.ports = ports
        super().__init__(text.replace("$", "$$"), folder)

    def answers(self) -> bool:
        return all(self._reply(f"{port}.example.", at=port) is not None for port in self.ports)

    def answer(self, name: str, type: str = "A", cls: str = "IN", at: str = "", host: str = "127.0.0.1") -> str:
        """What it says, in a line."""
        return said(self._reply(name, type, cls, at, host))

    def _reply(
        self, name: str, type: str = "A", cls: str = "IN", at: str = "", host: str = "127.0.0.1"
    ) -> dns.message.Message:
        query = dns.message.make_query(name, type, cls, use_edns=0, payload=1232)
        return dns.query.udp(query, host, 5, self.ports[at] if at else self.port)


@contextlib.contextmanager
def mapped(
    corefile: str, folder: Path, files: Mapping[str, str] | None = None, objects: Sequence[Object] = ()
) -> Iterator[Mapped]:
    """A process that serves a Corefile here.

    `files` are beside it, by their name below /etc/coredns; `objects` are in the cluster, too.
    """
    (folder / "more.yaml").write_text(yaml.safe_dump_all(objects))
    for name, text in (files or {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    here = Here(folder)
    text = here.mapped(corefile)
    scripts = {port: of_one_address(f"192.0.2.{n}") for n, port in enumerate(here.upstreams.values(), 1)}
    server = Mapped(text, folder, here.ports)
    server.port = here.ports.get("53") or next(iter(here.ports.values()))
    server.http = here.http
    with upstreams(scripts), server:
        yield server


class Here:
    """What takes the place of what: filled while a Corefile is read. `source` tells *kubernetes* where its objects are."""

    def __init__(self, folder: Path, source: str = "") -> None:
        self.folder = folder
        self.source = source or f"manifests {MANIFESTS} {folder}/more.yaml"
        self.ports: dict[str, int] = {}
        self.hosts: dict[str, str] = {}
        self.upstreams: dict[str, int] = {}
        (self.http,) = free_ports(1)

    def mapped(self, corefile: str) -> str:
        out: list[str] = []
        depth = 0
        for line in corefile.splitlines():
            code = line.partition("#")[0].strip()
            if depth == 0 and code.startswith("("):  # a snippet, for import
                out.append(line)
            elif depth == 0 and code.endswith("{"):
                out.append(" ".join(map(self._key, code[:-1].split())) + " {")
                out += [] if re.search(r"^\s*bind\s", self._block(corefile, line), re.MULTILINE) else ["    bind 127.0.0.1"]
            else:
                out += self._line(line, code.split()) if depth == 1 else [self._option(line)]
            depth += code.endswith("{") - (code == "}")
        return "\n".join(out).replace("/etc/coredns", str(self.folder)) + "\n"

    @staticmethod
    def _block(corefile: str, head: str) -> str:
        rest = corefile.partition(head)[2]
        return rest[: rest.index("\n}")] if "\n}" in rest else rest

    def _key(self, key: str) -> str:
        zone, _, port = key.rpartition(":") if re.search(r":\d+$", key) else (key, "", "53")
        if port not in self.ports:
            (self.ports[port],) = free_ports(1)
        return f"{zone}:{self.ports[port]}"

    def _line(self, line: str, words: list[str]) -> list[str]:
        opens = " {" if words and words[-1] == "{" else ""
        match words[:1]:
            case ["bind"]:
                for host in words[1:]:
                    self.hosts.setdefault(host, f"127.0.0.{len(self.hosts) + 1}")
                return ["    bind " + " ".join(self.hosts[host] for host in words[1:])]
            case [name] if name in HTTP:
                return [f"    {name} 127.0.0.1:{self.http_port()}{opens}"]
            case ["kubernetes"]:
                source = f"        {self.source}"
                return [line, source] if opens else [f"{line} {{", source, "    }"]
            case ["forward"]:
                to = " ".join(words[2:]).removesuffix("{").strip()
                if to not in self.upstreams:
                    (self.upstreams[to],) = free_ports(1)
                return [f"    forward {words[1]} 127.0.0.1:{self.upstreams[to]}{opens}"]
            case _:
                return [line]

    def http_port(self) -> int:
        """The port of one of *health*, *ready*, *prometheus*."""
        return self.http

    @staticmethod
    def _option(line: str) -> str:
        return re.sub(r"lameduck \S+", "lameduck 100ms", line)
