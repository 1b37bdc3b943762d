"""etcd, kube-apiserver and kube-controller-manager: found, or built once with Go.

Looked for, all three in one place: the folder KUBEBUILDER_ASSETS (the convention of envtest, whose own downloads lack
kube-controller-manager), PATH, the cache folder. Failing that they are built from the Go module beside this file,
which takes some minutes on two cores, into the cache folder. `python -m tests.support.control_plane.programs` does so and
prints where they are.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

MODULE = Path(__file__).parent
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
GO = ("go", "/usr/local/go/bin/go")


class ProgramsMissing(Exception):
    """One line: what is missing and how to get it."""


def kubernetes_version() -> str:
    """The version that the Go module requires, such as v1.35.4."""
    required = re.search(r"^\s*k8s\.io/kubernetes (v[\d.]+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if required is None:
        raise ProgramsMissing(f"{MODULE.name}/go.mod: no requirement of k8s.io/kubernetes")
    return required[1]


def cache_folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "kdns" / f"controlplane-{kubernetes_version()}"


def find() -> dict[str, Path] | None:
    """The path of each program by its name; None where no place has all three."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for path in [assets] * bool(assets) + [os.environ.get("PATH", os.defpath), str(cache_folder())]:
        found = {name: Path(where) for name in PACKAGES if (where := shutil.which(name, path=path))}
        if len(found) == len(PACKAGES):
            return found
    return None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def find_or_build(say: Callable[[str], None] = _say) -> dict[str, Path]:
    """As find(), building where there is nothing to find, with a line for each program; raises ProgramsMissing."""
    if (found := find()) is not None:
        return found
    go = next((go for place in GO if (go := shutil.which(place))), None)
    if go is None:
        raise ProgramsMissing(
            f"no control plane: put {', '.join(PACKAGES)} into one folder and its path into KUBEBUILDER_ASSETS, "
            "or install Go and they are built once"
        )
    return build(go, say)


def find_or_skip() -> dict[str, Path]:
    """As find_or_build(), but what is missing skips the test; where CI=true it fails it."""
    try:
        return find_or_build()
    except ProgramsMissing as missing:
        reason = str(missing)
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def build(go: str, say: Callable[[str], None] = _say) -> dict[str, Path]:
    """Builds all three beside the cache folder and moves them there at once; a second process waits for the first."""
    folder = cache_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / "controlplane.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as fresh:
                for name in PACKAGES:
                    say(f"building {name} with Go, once ({kubernetes_version()}); all three take some minutes")
                    _go_build(go, name, Path(fresh) / "bin" / name)
                (Path(fresh) / "bin").rename(folder)
    return {name: folder / name for name in PACKAGES}


def _go_build(go: str, name: str, target: Path) -> None:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamps.items())])
    command = [go, "build", "-trimpath", "-ldflags", flags if name != "etcd" else "-s -w", "-o", str(target)]
    built = subprocess.run(
        ["nice", "-n", "10", *command, PACKAGES[name]],
        cwd=MODULE, env={**os.environ, "CGO_ENABLED": "0"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if built.returncode != 0:
        said = built.stderr.strip().splitlines() or [f"exit code {built.returncode}"]
        raise ProgramsMissing(f"no control plane: go build of {name}: {said[-1]}")


if __name__ == "__main__":
    try:
        print(next(iter(find_or_build().values())).parent)
    except ProgramsMissing as missing:
        sys.exit(str(missing))
