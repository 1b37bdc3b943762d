"""kdns check: all findings with their lines, and what differs from an existing server."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from kdns import plugins
from kdns.commands import against
from kdns.commands.against import compared
from kdns.commands.check import check
from kdns.commands.corefiles import NO_COREFILE
from kdns.errors import KdnsError
from kdns.plugins.whoami import Whoami
from kdns.testing import serve
from tests.test_cli import ENVIRONMENT

CLUSTER = """apiVersion: v1
kind: Service
metadata: {{name: web, namespace: prod}}
spec: {{clusterIP: {address}, ports: [{{name: http, port: 80}}]}}
"""
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
clusters: [{name: c, cluster: {server: "https://192.0.2.1"}}]
"""


def errors(corefile: str) -> list[str]:
    return asyncio.run(check(corefile)).errors


def in_kubernetes(line: str) -> str:
    return f"cluster.local {{\n  kubernetes {{\n    {line}\n  }}\n}}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("manifests FOLDER/none.yaml", "Corefile:2: kubernetes: FOLDER/none.yaml: No such file or directory"),
        ("kubeconfig FOLDER/none", "Corefile:2: kubernetes: kubeconfig FOLDER/none: No such file or directory"),
        ("kubeconfig FOLDER/config other", "Corefile:2: kubernetes: kubeconfig FOLDER/config: contexts has no 'other'"),
        ("endpoint 192.0.2.1:6443",
         "Corefile:3: kubernetes: endpoint: '192.0.2.1:6443' has no scheme: write https://192.0.2.1:6443"),
        ("endpoint https://192.0.2.1\n    tls FOLDER/a FOLDER/config FOLDER/config",
         "Corefile:2: kubernetes: tls: cannot read FOLDER/a: no such file or directory"),
    ],
)  # fmt: skip
def test_what_a_start_would_miss(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "config").write_text(KUBECONFIG)
    found = errors(in_kubernetes(line.replace("FOLDER", str(tmp_path))))
    assert [expected.replace("FOLDER", str(tmp_path))] == found


def test_what_is_right_or_cannot_be_known_here(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(KUBECONFIG)
    (tmp_path / "c.yaml").write_text(CLUSTER.format(address="10.96.0.9"))
    for line in (f"kubeconfig {tmp_path}/config here", f"manifests {tmp_path}/c.yaml", "pods insecure", "manifests -"):
        assert [] == errors(in_kubernetes(line))


def test_all_that_is_wrong_is_found_at_once() -> None:
    lines = [". {", "wohami", "cache 30 {", "sucess 5", "}", "hosts nowhere.hosts zone {", "ttl x", "}", "forward . nowhere:x", "}"]
    corefile = "\n".join(lines) + "\n"
    assert [2, 4, 7, 9] == [int(line.split(":")[1]) for line in errors(corefile)]


def test_what_has_no_effect_and_what_differs() -> None:
    found = asyncio.run(check(".:53 {\n  loop\n  pprof\n  forward . 192.0.2.1\n  forward a. 192.0.2.1\n}\n"))
    assert [3] == [int(line.split(":")[1]) for line in found.notes]
    expected = [f"Corefile:2: loop: {text}" for text in plugins.differences("loop")]
    expected += [f"Corefile:4: forward: {text}" for text in plugins.differences("forward")]
    assert expected == found.differences
    assert ([".:53"], "ok") == (found.served, list(found.lines())[-1])


def kdns_check(folder: Path, *words: str, stdin: str | None = None) -> tuple[int, list[str]]:
    given = None
    if stdin is not None:
        (folder / "given").write_text(stdin)
        given = (folder / "given").open()
    done = subprocess.run(
        [sys.executable, "-m", "kdns", "check", *words],
        cwd=folder, env=ENVIRONMENT, stdin=given or subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    if given:
        given.close()
    return done.returncode, done.stdout.splitlines()


def test_the_ways_to_name_a_corefile(tmp_path: Path) -> None:
    good, bad = ".:53 {\n  whoami\n}\n", ". {\n  wohami\n}\n"
    (tmp_path / "Good").write_text(good)
    (tmp_path / "Bad").write_text(bad)
    wrong = "error: Bad:2: unknown plugin 'wohami', did you mean 'whoami'?"
    assert (0, [".:53", "ok"]) == kdns_check(tmp_path, "Good")
    assert (1, [wrong]) == kdns_check(tmp_path, "-conf", "Bad")
    assert (1, [wrong.replace("Bad", "Corefile")]) == kdns_check(tmp_path, stdin=bad)
    status, lines = kdns_check(tmp_path)
    assert (0, f"note: {NO_COREFILE}", "ok") == (status, lines[0], lines[-1])


# ------------------------------------------------------------ against another server


def test_the_same_questions_to_both(tmp_path: Path) -> None:
    manifests = [tmp_path / name for name in ("ours.yaml", "same.yaml", "theirs.yaml")]
    for path, address in zip(manifests, ("10.96.0.9", "10.96.0.9", "10.96.0.10"), strict=True):
        path.write_text(CLUSTER.format(address=address))
    corefile = in_kubernetes(f"manifests {manifests[0]}") + "in-addr.arpa {\n  whoami\n}\n"

    def found(theirs: Path, questions: str = "") -> list[str]:
        with serve(theirs) as server:
            where = f"127.0.0.1:{server.address[1]}"
            comparison = asyncio.run(compared(corefile, "Corefile", where, questions))
        return [line.replace(where, "THERE") for line in comparison.lines()]

    assert "ok" == found(manifests[1])[-1]
    (tmp_path / "questions").write_text("# of prod\nweb.prod.svc.cluster.local\nweb.prod.svc.cluster.local aaaa\n\n")
    assert [
        "web.prod.svc.cluster.local A: THERE says NOERROR web.prod.svc.cluster.local. a 10.96.0.10, "
        "kdns NOERROR web.prod.svc.cluster.local. a 10.96.0.9",
        "2 questions, 1 with the same answer",
        "some differ on purpose: `kdns check` without --against says what, in its lines `differs`",
    ] == found(manifests[2], str(tmp_path / "questions"))


def test_only_names_of_the_address_that_is_asked(tmp_path: Path, free_port: int) -> None:
    """A server block of another port has names that the server need not have at this one."""
    manifests = [tmp_path / name for name in ("here.yaml", "elsewhere.yaml")]
    for path, name in zip(manifests, ("web", "other"), strict=True):
        path.write_text(CLUSTER.format(address="10.96.0.9").replace("web", name))
    with serve(manifests[0]) as server:
        port = server.address[1]
        blocks = [(free_port, manifests[1]), (port, manifests[0])]
        corefile = "".join(f"cluster.local:{at} {{\n  kubernetes {{\n    manifests {path}\n  }}\n}}\n" for at, path in blocks)
        assert "ok" == asyncio.run(compared(corefile, "Corefile", f"127.0.0.1:{port}")).lines()[-1]


def test_a_server_that_says_nothing_is_one_line(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "WITHIN", 0.1)
    (tmp_path / "cluster.yaml").write_text(CLUSTER.format(address="10.96.0.9"))
    with pytest.raises(KdnsError) as caught:
        asyncio.run(compared(in_kubernetes(f"manifests {tmp_path}/cluster.yaml"), "Corefile", f"127.0.0.1:{free_port}"))
    why = "no answer: is a DNS server there, and may it be asked from here?"
    assert f"--against 127.0.0.1:{free_port}: {why}" == str(caught.value)


def test_what_is_not_known_yet_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Whoami, "ready", lambda self: "services: connection refused")
    with pytest.raises(KdnsError) as caught:
        asyncio.run(compared(". {\n  whoami\n}\n", "Corefile", "192.0.2.1"))
    assert "kdns has nothing to compare yet: services: connection refused" == str(caught.value)


@pytest.mark.parametrize(
    ("server", "questions", "why"),
    [
        ("dns.example:53", "", "--against dns.example:53: an IP address is expected, and perhaps a port, as in 10.96.0.10:53"),
        ("192.0.2.1:99999", "a", "--against 192.0.2.1:99999: an IP address is expected, and perhaps a port, as in 10.96.0.10:53"),
        ("192.0.2.1", "a b c", "questions:1: 'a b c' is no question: a name, and perhaps a type"),
        ("192.0.2.1", "a NONSENSE", "questions:1: 'a NONSENSE' is no question: a name, and perhaps a type"),
        ("192.0.2.1", "", "no plugin here has names of its own to ask for: give a file of questions after the server"),
    ],
)
def test_what_cannot_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, questions: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions").write_text(questions)
    with pytest.raises(KdnsError) as caught:
        asyncio.run(compared(". {\n  whoami\n}\n", "Corefile", server, "questions" if questions else ""))
    assert why == str(caught.value)
