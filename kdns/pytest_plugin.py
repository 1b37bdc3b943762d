"""The fixture `kdns_server` for pytest: a cluster's DNS for a test, see docs/testing.md.

    @pytest.mark.kdns_manifests("cluster.yaml")
    def test_names(kdns_server: kdns.testing.Server) -> None:
        assert my_lookup("web.prod.svc.cluster.local", *kdns_server.address) == ["10.96.0.9"]

pytest loads this module wherever kdns is installed: what costs time is imported when a test asks for the fixture.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kdns.testing import Server

MARKER = "kdns_manifests(*manifests, lenient=False, pod_ips='', corefile=None): what kdns_server serves, see kdns.testing.serve"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def kdns_server(request: pytest.FixtureRequest) -> "Iterator[Server]":
    """A server for this test alone, of the manifests of all `kdns_manifests` markers around it, the outermost first.

    Relative paths start in the folder of the test's file.
    """
    from kdns.testing import serve

    manifests: list[Any] = []
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("kdns_manifests"))):
        manifests += [_from(request.path.parent, manifest) for manifest in marker.args]
        options |= marker.kwargs
    with serve(*manifests, **options) as server:
        yield server


def _from(folder: Path, manifest: Any) -> Any:
    """A manifest, its path made absolute where it is one."""
    if isinstance(manifest, str):
        from kdns.testing import is_yaml

        manifest = manifest if is_yaml(manifest) else Path(manifest)
    return folder / manifest if isinstance(manifest, Path) else manifest
