"""kdns.testing: a server of its own for each test, and nothing else of the process touched."""

import asyncio
import gc
import logging
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.query
import dns.rcode
import pytest

from kdns.errors import ManifestError
from kdns.testing import Asked, serve, Server
from kdns.testing.ports import free_port
from tests.support import ROOT

WEB = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: prod}, spec: {clusterIP: 10.96.0.9}}"
DB = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": {"clusterIP": "10.96.0.10"}}
NAME = "web.prod.svc.cluster.local."


def says(server: Server, name: str = NAME, ask=dns.query.udp) -> list[str]:  # type: ignore[no-untyped-def]
    host, port = server.address
    reply = ask(dns.message.make_query(name, "A"), host, timeout=5, port=port)
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset] or [dns.rcode.to_text(reply.rcode())]


def test_what_is_applied_and_deleted_is_served_at_once() -> None:
    with serve(WEB) as server:
        found = [says(server), says(server, "db.default.svc.cluster.local.")]
        server.apply(DB, WEB.replace("10.96.0.9", "10.96.0.11"))
        found += [says(server, ask=dns.query.tcp), says(server, "db.default.svc.cluster.local.")]
        server.delete("Service", "web", "prod")
        found += [says(server), says(server, "db.default.svc.cluster.local.")]
    assert [["10.96.0.9"], ["NXDOMAIN"], ["10.96.0.11"], ["10.96.0.10"], ["NXDOMAIN"], ["10.96.0.10"]] == found


def test_a_mistake_is_said_and_changes_nothing() -> None:
    with serve(WEB) as server:
        wrong = [
            (WEB.replace("clusterIP", "clustrIP"), "spec.clustrIP: no such field, did you mean 'clusterIP'?"),
            (dict(DB, spec={"clusterIP": "10.96.0.9"}), "spec.clusterIP: 10.96.0.9 is that of Service prod/web"),
        ]
        for manifest, why in wrong:
            with pytest.raises(ManifestError) as caught:
                server.apply(manifest)
            assert why in str(caught.value)
        with pytest.raises(LookupError) as missing:
            server.delete("Service", "wbe", "prod")
        assert ["10.96.0.9"] == says(server)
    assert "no Service prod/wbe; there is prod/web" == str(missing.value)


def test_files_are_taken_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(WEB)
    for manifest in (path, str(path), tmp_path):
        with serve(manifest) as server:
            assert ["10.96.0.9"] == says(server)
    path.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  prots: []\n")
    with pytest.raises(ManifestError) as caught, serve(path):
        pass
    assert f"{path}:5: Service default/web: spec.prots: no such field, did you mean 'ports'?" == str(caught.value)


def test_what_is_not_begun_leaves_nothing_behind_and_what_has_ended_may_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    one = serve(WEB)
    found: list[list[Path] | list[str]] = [list(tmp_path.iterdir())]
    for _ in range(2):
        with one as server:
            found.append(says(server))
        found.append(list(tmp_path.iterdir()))
    assert [[], ["10.96.0.9"], [], ["10.96.0.9"], []] == found


def test_queries_are_written_down_each_time() -> None:
    with serve(WEB) as server:
        says(server)
        says(server)
        says(server, "no.prod.svc.cluster.local.", dns.query.tcp)
        found = server.queries
    once = Asked(NAME, "A", "NOERROR", "udp", "127.0.0.1")
    assert [once, once, Asked("no.prod.svc.cluster.local.", "A", "NXDOMAIN", "tcp", "127.0.0.1")] == found


def test_on_the_loop_that_runs() -> None:
    async def check() -> list[object]:
        async with serve(WEB) as server:
            await server.apply(DB)
            await server.delete("Service", "web", "prod")
            host, port = server.address
            query = dns.message.make_query("db.default.svc.cluster.local.", "A")
            reply = await dns.asyncquery.udp(query, host, timeout=5, port=port)
            return [reply.answer[0][0].to_text(), [asked.name for asked in server.queries]]

    assert ["10.96.0.10", ["db.default.svc.cluster.local."]] == asyncio.run(check())


def test_the_process_is_left_alone() -> None:
    def seen() -> list[object]:
        handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
        loggers = [(logger.handlers[:], logger.level) for logger in (logging.getLogger(), logging.getLogger("kdns"))]
        return [gc.get_threshold(), gc.get_freeze_count(), handlers, loggers, threading.active_count()]

    before = seen()
    with serve(WEB) as server, serve(WEB) as other:
        during = seen()
        assert server.address != other.address
    assert before[:-1] == during[:-1]
    assert before == seen()


def test_a_corefile_of_ones_own() -> None:
    with serve(corefile=".:0 {\n    bind 127.0.0.1\n    whoami\n}\n") as server:
        assert ["NOERROR"] == says(server, "a.test.")
    with pytest.raises(TypeError):
        serve(WEB, corefile=". {\n}\n")


# ------------------------------------------------------------ the fixture, in a project of its own


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("installed")
    wheel = folder / "wheel"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheel)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(folder / "site")]
    subprocess.run([*install, *map(str, wheel.glob("*.whl"))], check=True, capture_output=True, timeout=60)
    return folder / "site"


def code_blocks(text: str) -> dict[str, str]:
    """The code of a page by the name of the file that the line before says: `test_names.py`:"""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("`") and line.endswith("`:"):
            name = line[1:-2]
        elif line.startswith("    ") or (not line and name in found):
            if name:
                found[name] = found.get(name, "") + line[4:] + "\n"
        elif line:
            name = ""
    return found


def test_the_example_of_the_manual_runs_as_it_stands(installed: Path, tmp_path: Path) -> None:
    for name, code in code_blocks((ROOT / "docs" / "testing.md").read_text()).items():
        (tmp_path / name).write_text(code)
    tests = {"test_names.py", "test_async.py", "test_upstream.py", "test_api_server.py"}
    assert {"cluster.yaml", *tests} == {path.name for path in tmp_path.iterdir()}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", "-p", "no:cacheprovider"]
    environment = {"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_a_port_that_was_given_is_not_given_again_before_it_is_bound() -> None:
    assert 500 == len({free_port() for _ in range(500)})
