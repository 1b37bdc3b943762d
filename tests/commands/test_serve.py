"""What a process writes: quiet or not, text or JSON, and the port that it found."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import dns.message
import dns.query

from tests.test_cli import ENVIRONMENT

ON_ANY_PORT = ".:0 {\n    bind 127.0.0.1 127.0.0.2\n    whoami\n    log . {\n        class all\n    }\n}\n"


def served(folder: Path, *words: str) -> tuple[list[str], list[int]]:
    """The lines that a server on any port writes, and how many addresses it gave to UDP and TCP on two of its own."""
    (folder / "Corefile").write_text(ON_ANY_PORT)
    command = [sys.executable, "-m", "kdns", "-port-file", "port", *words]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, text=True, **output) as process:
        for _ in range(1000):
            if (folder / "port").exists():
                break
            time.sleep(0.01)
        port = int((folder / "port").read_text())
        query = dns.message.make_query("a.test.", "A")
        counts = [
            len(ask(query, host, timeout=5, port=port).additional)
            for ask in (dns.query.udp, dns.query.tcp) for host in ("127.0.0.1", "127.0.0.2")
        ]  # fmt: skip
        process.send_signal(signal.SIGTERM)
        lines = process.communicate(timeout=10)[0].splitlines()
    assert 0 == process.returncode
    assert not (folder / "port").exists()
    return [line.replace(str(port), "PORT") for line in lines], counts


def test_port_0_is_one_port_for_all(tmp_path: Path) -> None:
    lines, counts = served(tmp_path)
    assert [2, 2, 2, 2] == counts
    assert [".:PORT on 127.0.0.1", ".:PORT on 127.0.0.2"] == [line for line in lines if " on " in line]


def test_quiet_is_quiet_but_for_what_was_asked_for(tmp_path: Path) -> None:
    lines, _ = served(tmp_path, "-quiet")
    assert 4 == len(lines)
    assert all('"A IN a.test. ' in line for line in lines)


def test_each_line_is_json(tmp_path: Path) -> None:
    lines, _ = served(tmp_path, "-log-format=json")
    every = [json.loads(line) for line in lines]
    assert ["A"] * 4 == [one["qtype"] for one in every if one.get("plugin") == "log"]
    assert all({"time", "level"} <= one.keys() for one in every)
    assert ".:PORT on 127.0.0.1" in [one.get("msg") for one in every]


def test_an_error_is_json_too(tmp_path: Path) -> None:
    (tmp_path / "Corefile").write_text(". {\n  wohami\n}\n")
    command = [sys.executable, "-m", "kdns", "-log-format", "json"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=20)
    said = json.loads(done.stderr)
    del said["time"]
    assert {"level": "ERROR", "msg": "Corefile:2: unknown plugin 'wohami', did you mean 'whoami'?"} == said
