"""One control plane for all tests here, and a kdns that follows it with no more than its ClusterRole grants."""

import re
from collections.abc import Iterator

import pytest

from tests.support.control_plane import programs
from tests.support.control_plane.plane import control_plane_or_skip, ControlPlane
from tests.support.processes import CLUSTER, granted, Kdns, namespace

NODE = {
    "apiVersion": "v1", "kind": "Node",
    "metadata": {"name": "node-a", "labels": {"topology.kubernetes.io/zone": "zone-a"}},
}  # fmt: skip


def pytest_runtestloop(session: pytest.Session) -> None:
    """Programs are built before the first test: no test's time limit runs meanwhile, and the terminal says what is going on."""
    terminal = session.config.pluginmanager.getplugin("terminalreporter")
    if session.config.option.collectonly or terminal is None:
        return
    try:
        programs.find_or_build(terminal.write_line)
    except programs.ProgramsMissing:
        pass  # each test that needs them says so


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with control_plane_or_skip() as plane:
        plane.grant_dns()
        plane.api.apply([NODE])
        granted(plane)
        yield plane


@pytest.fixture(scope="session")
def kdns(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdns]:
    """As kubeadm configures it. Tests that harm it start their own."""
    with Kdns(CLUSTER, tmp_path_factory.mktemp("kdns"), kubeconfig=plane.kubeconfig("dns")) as kdns:
        yield kdns


@pytest.fixture
def space(plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A namespace for one test; it stays, for its controller takes 5 s to remove one."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:60].strip("-")
    plane.api.apply([namespace(name)])
    return str(name)
