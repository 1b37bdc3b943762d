"""What a release is made of fits together: the locked versions, the sample cluster."""

import re
import tomllib

import pytest

from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements" / "image.txt").read_text()
LOCKED = re.findall(r"^([\w-]+)==\S+ (?:;.*)?\\\n    --hash=sha256:", LOCK, re.MULTILINE)


@pytest.mark.parametrize("dependency", PROJECT["project"]["dependencies"])
def test_each_dependency_is_bounded_and_locked_with_its_hashes(dependency: str) -> None:
    found = re.fullmatch(r"([\w-]+)>=[\d.]+,<[\d.]+(?:; .*)?", dependency)
    assert found, "a lower and an upper version"
    assert found[1].lower() in LOCKED, "make lock"


def test_the_wheel_has_the_sample_cluster() -> None:
    assert {"zones": "kdns/zones"} == PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert (ROOT / "zones" / "cluster.yaml").is_file()
