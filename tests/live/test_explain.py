"""What a person is told over a real API server, with no more rights than kdns has; and a dump of it on a laptop."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane.plane import ControlPlane
from tests.support.processes import CLUSTER, comes_to, Kdns, pod, service, ZONE


@pytest.fixture
def broken(plane: ControlPlane, space: str) -> str:
    """A namespace with a headless Service of two Pods, one of them not ready."""
    plane.api.apply([
        service("db", space, clusterIP="None", selector={"app": "db"}),
        pod("db-0", space, "172.21.0.1", {"app": "db"}, hostname="db-0", subdomain="db"),
        pod("db-1", space, "172.21.0.2", {"app": "db"}, hostname="db-1", subdomain="db", ready=False),
    ])  # fmt: skip
    return space


def explained(name: str, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "kdns", "explain", name, "--json", *words]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def test_versions_and_ages(plane: ControlPlane, broken: str, tmp_path: Path) -> None:
    admin = str(tmp_path / "s")
    corefile = CLUSTER.replace("errors\n", f"errors\n    admin {admin}\n")
    name = f"db-1.db.{broken}.svc.{ZONE}"
    why = f"{name.rstrip('.')} does not exist: db-1, an endpoint of Service {broken}/db, is not ready; "
    with Kdns(corefile, tmp_path, kubeconfig=plane.kubeconfig("dns")):
        comes_to(why, lambda: explained(name, "--socket", admin)["sentence"][: len(why)])
        [told] = explained(name, "--socket", admin)["objects"]
    stored = plane.api.get("Service", f"{broken}/db")["metadata"]
    assert (stored["resourceVersion"], "s") == (told["resourceVersion"], told["age"][-1])
    [shown] = told["slices"]
    [kept] = plane.api.objects("EndpointSlice", broken)
    version = kept["metadata"]["resourceVersion"]
    assert (f"{broken}/{kept['metadata']['name']}", version) == (shown["slice"], shown["resourceVersion"])
    assert (["172.21.0.1 (db-0): ready"], ["db-1: not ready"]) == (shown["in"], shown["out"])


def test_a_dump_of_a_cluster_answers_as_the_cluster(plane: ControlPlane, broken: str, kdns: Kdns, tmp_path: Path) -> None:
    """kubectl get … -o yaml | kdns --manifests -, as docs/laptop.md has it."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is missing")
    kdns.comes_to_say("172.21.0.1", f"db.{broken}.svc.{ZONE}")
    words = ["--kubeconfig", str(plane.kubeconfig("admin")), "get", "ns,svc,endpointslices,pods,nodes", "-A", "-o", "yaml"]
    dump = subprocess.run([kubectl, *words], capture_output=True, check=True).stdout
    port = tmp_path / "port"
    command = [sys.executable, "-m", "kdns", "--manifests", "-", "-p", "0", "--port-file", str(port), "-quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(dump)
            process.stdin.close()
            comes_to(True, port.exists, 20)
            other = Kdns(CLUSTER, tmp_path, kubeconfig="")
            other.port = int(port.read_text())
            for asked in (f"db.{broken}", f"db-0.db.{broken}", f"db-1.db.{broken}", "kubernetes.default"):
                whole = f"{asked}.svc.{ZONE}"
                assert (asked, kdns.says(whole, "A")) == (asked, other.says(whole, "A"))
        finally:
            process.terminate()
