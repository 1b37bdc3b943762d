"""A control plane without controllers: what is applied stays as it is."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.control_plane.plane import control_plane_or_skip, ControlPlane
from tests.support.deploying import kubectl

Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with control_plane_or_skip(controllers=False) as plane:
        yield plane


@pytest.fixture(scope="session")
def at(plane: ControlPlane) -> Kubectl:
    """kubectl as the cluster's administrator."""

    def run(*words: str, text: str | None = None) -> str:
        return kubectl("--kubeconfig", str(plane.kubeconfig("admin")), *words, text=text)

    return run
