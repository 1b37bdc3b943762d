"""A case made to run here, and the process that serves it: CoreDNS or kdns."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.servers import find_coredns, NO_COREDNS
from kdns.testing.ports import free_port
from tests.peer.case import Case
from tests.peer.questions import asked, question, Reply, seen
from tests.support import ROOT
from tests.support.certificates import Authority
from tests.support.control_plane.plane import until
from tests.support.mapped import Here

READY = 20.0  # seconds until the first answer
LEVEL = re.compile(r"^\S* ?\[(?:INFO|ERROR|WARNING|DEBUG)\] ")


class Place(Here):
    """As real Corefiles are mapped, but each of *health*, *ready* and *prometheus* has a port of its own, as CoreDNS needs it."""

    def http_port(self) -> int:
        return free_port()

    def mapped(self, corefile: str) -> str:
        """Addresses that name a port of this Corefile follow where it went."""
        text = super().mapped(corefile)
        for before, now in self.ports.items():
            text = text.replace(f"127.0.0.1:{before}", f"127.0.0.1:{now}")
        return text


class Stage:
    """A case with its files written and its ports chosen; both servers find the same."""

    def __init__(self, case: Case, folder: Path, kubeconfig: str = "") -> None:
        self.case, self.folder = case, folder
        self.place = Place(folder, f"kubeconfig {kubeconfig}" if kubeconfig else "")
        self.corefile = folder / "Corefile"
        self.corefile.write_text(self.place.mapped(case.corefile))
        if case.certificate:
            pair = Authority(folder).sign("dns.example")
            (folder / "cert.pem").write_bytes(Path(pair.cert).read_bytes())
            (folder / "key.pem").write_bytes(Path(pair.key).read_bytes())
        for name, text in case.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(re.sub(r":(\d+) \{$", self._port, text, flags=re.MULTILINE))

    def _port(self, found: re.Match[str]) -> str:
        """The port of a server block in a file that the Corefile imports."""
        return f":{self.place.ports.get(found[1], found[1])} {{"

    @contextlib.contextmanager
    def serving(self, program: str) -> Iterator["subprocess.Popen[bytes]"]:
        """From the moment on that its ports are open, or it has ended."""
        commands = {"coredns": [found_coredns()], "kdns": [sys.executable, "-m", "kdns"]}
        environment = {**os.environ, **self.case.environment, "PYTHONPATH": str(ROOT)}
        with open(self.folder / f"{program}.log", "wb") as log:
            process = subprocess.Popen(
                [*commands[program], "-conf", str(self.corefile), *self.case.flags], cwd=self.folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            until(lambda: process.poll() is not None or self._is_open(), f"{program} serves", READY)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            finally:
                process.kill()

    def _is_open(self) -> bool:
        lines = Path("/proc/net/udp").read_text().splitlines()[1:] + Path("/proc/net/tcp").read_text().splitlines()[1:]
        ports = {line.split()[1].partition(":")[2] for line in lines if line.split()[3] in ("07", "0A")}
        return all(f"{port:04X}" in ports for port in self.place.ports.values())

    def log(self, program: str) -> list[str]:
        """What a program wrote, without the times and levels before lines."""
        return [LEVEL.sub("", line) for line in (self.folder / f"{program}.log").read_text(errors="replace").splitlines()]

    def replies(self) -> dict[str, Reply]:
        """What is answered to each question of the case."""
        if self.case.until:
            end = time.monotonic() + READY
            while not self._reply(self.case.until).answer and time.monotonic() < end:
                time.sleep(0.05)
        return {text: self._reply(text) for text in self.case.asks}

    def _reply(self, text: str) -> Reply:
        asking = question(text)
        ports = self.place.ports
        port = ports[asking.port] if asking.port else ports.get("53") or next(iter(ports.values()))
        return seen(asking, asked(asking, port), self.case.ages)


def found_coredns() -> str:
    program = find_coredns()
    if program is None:
        pytest.fail(NO_COREDNS, pytrace=False)
    return program
