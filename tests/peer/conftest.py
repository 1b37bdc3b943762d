"""One control plane for the cases of plugins that need a cluster, with the objects of cluster.yaml."""

from collections.abc import Iterator

import pytest

from tests.peer.case import FOLDER
from tests.support.control_plane.plane import control_plane_or_skip
from tests.support.processes import granted


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[str]:
    with control_plane_or_skip() as plane:
        plane.grant_dns()
        plane.api.apply(FOLDER / "cluster.yaml")
        yield granted(plane)
