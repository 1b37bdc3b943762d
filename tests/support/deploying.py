"""kubectl and helm, as a cluster's owner uses them.

kubectl is found on PATH. helm is found there, or built once with Go into the user's cache: `python -m tests.support.deploying`
does so and prints where it is.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT
from tests.support.control_plane.programs import cache_folder, GO, kubernetes_version

HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "chart" / "kdns"
Object = dict[str, Any]


def find_helm() -> str | None:
    """Where helm is, built where there is Go but no helm."""
    folder = cache_folder().parent / "bin"
    path = f"{os.environ.get('PATH', os.defpath)}:{folder}"
    go = next((found for place in GO if (found := shutil.which(place))), None)
    if shutil.which("helm", path=path) is None and go is not None:
        print(f"building {HELM}, once", file=sys.stderr, flush=True)
        environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}
        subprocess.run(["nice", "-n", "10", go, "install", HELM], env=environment, check=False)
    return shutil.which("helm", path=path)


def or_skip(program: str | None, how: str) -> str:
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(how, pytrace=False)
        pytest.skip(how)
    return program


def run(program: str, *words: str, text: str | None = None) -> str:
    """What a program says; an AssertionError with what it complains of."""
    done = subprocess.run([program, *words], input=text, capture_output=True, text=True, timeout=120, check=False)
    assert 0 == done.returncode, f"{program} {' '.join(words)}: {done.stderr}"
    return done.stdout


def kubectl(*words: str, text: str | None = None) -> str:
    return run(or_skip(shutil.which("kubectl"), "no kubectl: put it on PATH"), *words, text=text)


def kustomized(folder: str) -> list[Object]:
    """The objects of deploy/FOLDER."""
    return objects(kubectl("kustomize", str(DEPLOY / folder)))


def helm(*words: str, text: str | None = None) -> str:
    return run(or_skip(find_helm(), "no helm: put it on PATH, or install Go and it is built once"), *words, text=text)


def charted(values: Object, folder: Path, release: str = "dns") -> list[Object]:
    """The objects of the chart with some values; `folder` is for a file of them."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    version = kubernetes_version().removeprefix("v")
    return objects(
        helm("template", release, str(CHART), "-n", "kube-system", "--kube-version", version, "-f", str(path))
    )  # fmt: skip


def objects(text: str) -> list[Object]:
    return [obj for obj in yaml.load_all(text, yaml.CSafeLoader) if obj]


def corefiles(found: list[Object]) -> list[str]:
    return [obj["data"]["Corefile"] for obj in found if obj["kind"] == "ConfigMap" and "Corefile" in obj["data"]]


if __name__ == "__main__":
    print(find_helm() or sys.exit("no helm, and no Go to build it with"))
