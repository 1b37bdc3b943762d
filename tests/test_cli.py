"""The command line, as a process of its own where it serves."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from kdns import __version__, cli
from kdns.commands import check, corefiles, serve
from tests.support import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

WHOAMI = ".:{port} {{\n    bind 127.0.0.1\n    whoami\n}}\n"


def run(*words: str, cwd: Path, stdin: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "kdns", *words],
        cwd=cwd, env=ENVIRONMENT, input=stdin, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@contextmanager
def serving(port: int, *words: str, cwd: Path, stdin: str = "") -> "Iterator[subprocess.Popen[str]]":
    """A server that answers on 127.0.0.1."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kdns", *words],
        cwd=cwd, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None
        for _ in range(200):
            if answers(port):
                break
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def until(process: "subprocess.Popen[str]", words: str) -> list[str]:
    """The lines of a server up to the first one that has these words; all of them where none has."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if words in line:
            break
    return lines


def ended(process: "subprocess.Popen[str]") -> list[str]:
    """The lines of a server that is told to end."""
    assert process.stdout is not None
    process.send_signal(signal.SIGTERM)
    lines = process.stdout.read().splitlines()
    process.communicate(timeout=10)
    return lines


def answers(port: int, name: str = "a.test.") -> bool:
    try:
        return bool(dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", timeout=0.2, port=port))
    except (OSError, dns.exception.Timeout):
        return False


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_it_is_told_to_end(free_port: int, tmp_path: Path, signum: int) -> None:
    (tmp_path / "Corefile").write_text(WHOAMI.format(port=free_port))
    with serving(free_port, "-conf", "Corefile", "-pidfile", "pid", cwd=tmp_path) as process:
        assert f"{process.pid}\n" == (tmp_path / "pid").read_text()
        process.send_signal(signum)
        out, err = process.communicate(timeout=10)
    assert (0, "") == (process.returncode, err)
    assert [f".:{free_port} on 127.0.0.1", f"kdns-{__version__}"] == out.splitlines()[:2]
    assert not (tmp_path / "pid").exists()


def test_a_port_that_another_kdns_holds(free_port: int, tmp_path: Path) -> None:
    """In a cluster that is a line in the log; with manifests it is refused, unless it is asked for."""
    (tmp_path / "Corefile").write_text(WHOAMI.format(port=free_port))
    (tmp_path / "empty.yaml").write_text("")
    port = str(free_port)
    with serving(free_port, "-conf", "Corefile", cwd=tmp_path):
        with serving(free_port, "-conf", "Corefile", cwd=tmp_path) as second:
            lines = until(second, "kdns-") + ended(second)
        command = [sys.executable, "-m", "kdns", "--manifests", "empty.yaml", "-p", port]
        refused = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=20)
        with serving(free_port, "--manifests", "empty.yaml", "-p", port, "--share-port", cwd=tmp_path) as third:
            until(third, "kdns-")
            ended(third)
    told = f"127.0.0.1:{port} (UDP): another kdns has it, and each gets a part of what is asked"
    assert [f"[WARNING] {told}"] == [line for line in lines if "(UDP)" in line]
    assert refused.stderr.startswith(f"kdns: cannot listen on 127.0.0.1:{port} (UDP): another kdns has it; end that one")
    assert (1, 0) == (refused.returncode, third.returncode)


def test_without_flags_it_reads_the_corefile_that_is_there(free_port: int, tmp_path: Path) -> None:
    (tmp_path / "Corefile").write_text(".  {\n    bind 127.0.0.1\n    whoami\n}\n")
    with serving(free_port, "-quiet", "-dns.port", str(free_port), cwd=tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert (0, "", "") == (process.returncode, err, out)


def test_without_a_corefile_it_is_whoami(free_port: int, tmp_path: Path) -> None:
    with serving(free_port, "-p", str(free_port), cwd=tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert {f".:{free_port}", corefiles.NO_COREFILE} <= set(out.splitlines())  # the log may come before the banner


@pytest.mark.parametrize("name", ["stdin", "-"])
def test_a_corefile_from_stdin(free_port: int, tmp_path: Path, name: str) -> None:
    with serving(free_port, "-conf", name, cwd=tmp_path, stdin=WHOAMI.format(port=free_port)) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_sigusr1_reloads_and_a_bad_corefile_changes_nothing(free_port: int, tmp_path: Path) -> None:
    corefile = tmp_path / "Corefile"
    corefile.write_text(WHOAMI.format(port=free_port))
    with serving(free_port, "-conf", "Corefile", cwd=tmp_path) as process:
        lines = []
        good, bad = WHOAMI.format(port=free_port) + "# more", ". {\n  wohami\n}\n"
        for text, said in ((good, "Reloading complete"), (bad, "reload failed")):
            corefile.write_text(text)
            process.send_signal(signal.SIGUSR1)
            lines += until(process, said)
            assert answers(free_port)
        lines += ended(process)
    assert process.returncode == 0
    assert [
        "[INFO] Reloading",
        "[INFO] Reloading complete",
        "[INFO] Reloading",
        "[ERROR] reload failed, the configuration before stays: Corefile:2: unknown plugin 'wohami', did you mean 'whoami'?",
    ] == [line for line in lines if "reload" in line.lower()]


def test_sigusr1_during_a_start_is_a_reload_after_it(free_port: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as api:  # it says nothing, so that the start lasts
        source = f"kubernetes cluster.local {{\nendpoint http://127.0.0.1:{api.getsockname()[1]}\nstartup_timeout 1s\n}}"
        (tmp_path / "Corefile").write_text(f".:{free_port} {{\nbind 127.0.0.1\n{source}\n}}\n")
        command = [sys.executable, "-m", "kdns", "-conf", "Corefile"]
        with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
            try:
                api.accept()[0].close()
                process.send_signal(signal.SIGUSR1)
                lines = until(process, "Reloading complete")
            finally:
                process.terminate()
    assert ["[INFO] Reloading", "[INFO] Reloading complete"] == lines[-2:]


def test_a_port_in_use_is_one_line(free_port: int, tmp_path: Path) -> None:
    (tmp_path / "Corefile").write_text(WHOAMI.format(port=free_port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", free_port))
        status, _, err = run(cwd=tmp_path)
    assert (
        1,
        f"kdns: cannot listen on 127.0.0.1:{free_port} (UDP): another program has it; "
        "end that one, or choose another port (-dns.port)\n",
    ) == (status, err)


CASES = [
    (["-conf", "nowhere"], 1, "kdns: cannot read nowhere: no such file or directory\n"),
    (["-conf", "."], 1, "kdns: cannot read .: is a directory\n"),
    (["-conf", "Bad"], 1, "kdns: Bad:2: unknown plugin 'wohami', did you mean 'whoami'?\n"),
    (["-pidfile", "/proc/no/pid"], 1, "kdns: cannot write /proc/no/pid: No such file or directory\n"),
    (["-nonsense"], 2, "kdns: unrecognized arguments: -nonsense; kdns -h shows the flags\n"),
    (["-p", "x"], 2, "kdns: argument -dns.port/--dns.port/-p/--port: 'x' is not a port; kdns -h shows the flags\n"),
    (["help", "log", "cache"], 2, "kdns: help takes the name of a plugin, or nothing; kdns -h shows the flags\n"),
    (["help", "nothing"], 1, "kdns: unknown plugin 'nothing'\n"),
    (["help", "kubernets"], 1, "kdns: unknown plugin 'kubernets', did you mean 'kubernetes'?\n"),
    (["--manifest=x"], 2, "kdns: unrecognized arguments: --manifest=x, did you mean '--manifests'?; kdns -h shows the flags\n"),
    (["exlain", "a"], 2, "kdns: unrecognized arguments: exlain a, did you mean 'explain'?; kdns -h shows the flags\n"),
    (["explain"], 2, "kdns: the following arguments are required: NAME; kdns explain -h shows the flags\n"),
    (
        ["-conf", "Corefile", "--manifests", "x"],
        2,
        "kdns: -conf and --manifests exclude each other; kdns -h shows the flags\n",
    ),
    (["-quiet=maybe"], 2, "kdns: 'maybe' is neither true nor false for -quiet; kdns -h shows the flags\n"),
    (["--pod-ips", "10.0.0.0/33"], 2,
     "kdns: argument --pod-ips: '10.0.0.0/33' is not a network such as 10.244.0.0/16; kdns -h shows the flags\n"),
    (["--forward"], 2, "kdns: --forward goes with --manifests; in a Corefile it is a plugin; kdns -h shows the flags\n"),
]


@pytest.mark.parametrize(("words", "status", "line"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_whatever_is_wrong_is_one_line(
    words: list[str],
    status: int,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "Bad").write_text(". {\n  wohami\n}\n")
    monkeypatch.chdir(tmp_path)
    for command in (serve, check):
        monkeypatch.setattr(command, "log_to_stdout", lambda *_, **flags: None)
    try:
        found = cli.main(words)
    except SystemExit as end:
        found = int(str(end.code))
    assert (status, line) == (found, capsys.readouterr().err)


def test_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*words: str) -> str:
        assert cli.main(list(words)) == 0
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    for command in (serve, check):
        monkeypatch.setattr(command, "log_to_stdout", lambda *_, **flags: None)
    (tmp_path / "Corefile").write_text("cluster.local acme.local:5353 {\n  bind 127.0.0.1\n  whoami\n}\n")
    assert f"kdns-{__version__}" == shown("-version").splitlines()[0]
    assert f"kdns-{__version__}" == shown("--version").splitlines()[0]
    assert "dns.whoami" in shown("-plugins").splitlines()
    assert "whoami" in shown("help", "whoami")
    assert {"    kdns check", "    kubernetes"} <= {line[:14].rstrip() for line in shown("help").splitlines()}
    assert "cluster.local.:53 on 127.0.0.1\nacme.local.:5353 on 127.0.0.1\nok\n" == shown("check")
    assert "cluster.local.:1053 on 127.0.0.1\nacme.local.:5353 on 127.0.0.1\nok\n" == shown("check", "-dns.port=1053")


def test_options_of_manifests_stand_with_them() -> None:
    text = corefiles.laboratory(["/x"], 1053, ["lenient", "pod_ips 127.1.0.0/16"])
    assert '        manifests "/x"\n        lenient\n        pod_ips 127.1.0.0/16\n' in text


def test_a_corefile_for_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(corefiles, "own_addresses", lambda: ["127.0.0.1", "::1"])
    text = corefiles.laboratory(["a b.yaml", "-", "/x"], 1053)
    assert f'        manifests "{tmp_path}/a b.yaml" "-" "/x"' in text.splitlines()
    assert "    bind 127.0.0.1 ::1" in text.splitlines()
    assert text.startswith(".:1053 {")


def test_the_demo_serves_a_small_cluster(free_port: int, tmp_path: Path) -> None:
    with serving(free_port, "demo", "-p", str(free_port), cwd=tmp_path) as process:
        reply = dns.query.udp(dns.message.make_query("web.prod.svc.cluster.local.", "A"), "127.0.0.1", timeout=2, port=free_port)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert (1, "", 0) == (len(reply.answer), err, process.returncode)
    assert f"Try: dig @127.0.0.1 -p {free_port} " in out


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    heavy = {"aiohttp", "kubernetes", "yaml", "dns", "ctypes", "h2"}
    code = f"import sys, kdns.cli, kdns.commands.serve; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert "[]\n" == done.stdout


SERVED = """
import sys
from kdns.cli import main
main(["-version"])
import asyncio
from kdns.server.run import Server

async def served() -> None:
    server = Server(sys.argv[1], dns_port=0)
    await server.start()
    print(sorted({"_ssl", "_hashlib"} & sys.modules.keys()))
    await server.stop()

asyncio.run(served())
import ssl
print(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).verify_mode.name, asyncio.base_events.sslproto.SSLProtocol.__name__)
"""


def test_openssl_is_imported_where_it_is_used(tmp_path: Path) -> None:
    """Its 5 MB are a sixth of a resolver for a laptop; asyncio and hashlib would import it in any case."""
    cluster = f"kubernetes cluster.local {{\n        manifests {ROOT}/zones/cluster.yaml\n    }}"
    corefile = f". {{\n    bind 127.0.0.1\n    {cluster}\n    forward . 127.0.0.1\n    cache\n    loadbalance\n}}\n"
    done = subprocess.run([sys.executable, "-c", SERVED, corefile], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert ["[]", "CERT_REQUIRED SSLProtocol"] == done.stdout.splitlines()[-2:], done.stderr


@pytest.mark.parametrize(("upstream", "expected"), [("127.0.0.1 tls://127.0.0.1", []), ("https://127.0.0.1", ["h2", "hpack"])])
def test_http_2_is_imported_where_an_upstream_is_asked_by_it(upstream: str, expected: list[str], tmp_path: Path) -> None:
    corefile = f". {{\n    forward . {upstream}\n}}\n"
    names = "{'h2', 'hpack', 'aiohttp'} & sys.modules.keys()"
    code = f"import sys; from kdns.server.load import load; load({corefile!r}); print(sorted({names}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert f"{expected}\n" == done.stdout
