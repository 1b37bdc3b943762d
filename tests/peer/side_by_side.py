"""The cases of tests/peer: CoreDNS is asked, then kdns, and what they say is held against each other. `make test-peer`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peer.case import Case, cases
from tests.peer.questions import Reply
from tests.peer.servers import Stage
from tests.peer.standing import alike
from tests.peer.upstream import Script
from tests.support import ROOT
from tests.support.upstreams import upstreams

CASES = [pytest.param(case, id=f"{table}: {case.name}") for table, case in cases()]


def found(stage: Stage, program: str) -> tuple[dict[str, Reply], list[str]]:
    """The replies of one server, and what it logged; none where it did not start."""
    with stage.serving(program) as process:
        replies = stage.replies() if process.poll() is None else {}
        assert process.poll() is None or not stage.case.asks or program not in stage.case.runs, stage.log(program)[-5:]
        started = process.poll() is None
    said = stage.log(program)
    assert started == (program in stage.case.runs), f"{program} {'starts' if started else 'does not start'}: {said[-5:]}"
    return replies, sorted(re.findall(stage.case.logs, "\n".join(said), re.MULTILINE)) if stage.case.logs else []


def unlike(question: str, coredns: Reply, kdns: Reply) -> str:
    """What is not as it should be about two replies."""
    if alike(coredns, kdns, question.partition("~")[2].strip()):
        return ""
    return f"{question}\n  coredns {coredns}\n  kdns    {kdns}"


def test_kdns_check_against_coredns(kubeconfig: str, tmp_path: Path) -> None:
    """The names that kdns has are answered alike."""
    corefile = """. {
        kubernetes cluster.local in-addr.arpa {
            pods insecure
            fallthrough in-addr.arpa
        }
        template ANY ANY {
            rcode NXDOMAIN
        }
    }
    """
    case = Case("check", corefile, cluster=True, until="kubernetes.default.svc.cluster.local A")
    stage = Stage(case, tmp_path, kubeconfig)
    with stage.serving("coredns"):
        stage.replies()
        where = f"127.0.0.1:{stage.place.ports['53']}"
        command = [sys.executable, "-m", "kdns", "check", str(stage.corefile), "--against", where]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("\nok\n"), done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 40  # questions


@pytest.mark.parametrize("case", CASES)
def test_the_same_answers(case: Case, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    stage = Stage(case, tmp_path, request.getfixturevalue("kubeconfig") if case.cluster else "")
    with upstreams({port: Script(n) for n, port in enumerate(stage.place.upstreams.values(), 1)}):
        theirs, their_log = found(stage, "coredns")
        ours, our_log = found(stage, "kdns")
    wrong = [unlike(text, theirs[text], ours[text]) for text in case.asks if case.runs == ("coredns", "kdns")]
    assert not any(wrong), "\n" + "\n".join(filter(None, wrong))
    if case.log_differs:
        assert their_log != our_log
    else:
        assert their_log == our_log
