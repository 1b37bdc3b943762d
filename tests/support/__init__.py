"""What tests share: places, servers, clients, upstreams and API servers to be asked and to misbehave on demand."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the repository
TOWN = ROOT / "tests" / "golden" / "town"  # the cluster that golden questions are asked of
