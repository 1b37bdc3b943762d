"""A container image run as a kubelet would run CoreDNS's Pod, by runc: no kubelet, no daemon, root on Linux.

    image = Image.built()
    with Pod(image, ["-conf", "/etc/coredns/Corefile"], mounts={"/etc/coredns": folder}) as pod:
        pod.dig("+short", "kubernetes.default.svc.cluster.local")

The user is the image's, all capabilities are dropped but NET_BIND_SERVICE, which the process has to have by its file; it
gains no privileges, its root is read-only (and /tmp, unless `writable_tmp`), its memory is limited, it is process 1, and the
network is its own (with no other address than 127.0.0.1) unless `host_network`.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support import ROOT
from tests.support.control_plane.plane import until

MEMORY = 170 << 20  # octets, the limit of CoreDNS's Pod
NEEDED = {"buildah": "buildah", "debootstrap": "debootstrap", "runc": "runc", "nsenter": "util-linux", "dig": "bind9-dnsutils"}
INPUTS = ("Dockerfile", ".dockerignore", "Makefile", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE")
FOLDERS = ("requirements", "kdns", "zones", "deploy/image")


class Image:
    """A built image: its root as a folder, its configuration, and the root that it stands on."""

    def __init__(self, name: str, base: str) -> None:
        self.root, self.base = _mounted(name), _mounted(base)
        self.config: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", name))["OCIv1"]["config"]

    @classmethod
    def built(cls) -> Self:
        """Of the files as they are now, built unless it is in the cache; what is missing here skips the test."""
        if missing := [package for command, package in NEEDED.items() if not shutil.which(command, path=_path())]:
            _missing(f"no image: install {' '.join(missing)}")
        if os.geteuid() != 0:
            _missing("no image: building it without a registry needs root")
        name = f"kdns:{_fingerprint()}"
        with _storage():
            if name not in (kept := _buildah("images", "--format", "{{.Name}}:{{.Tag}}")):
                _run(str(ROOT / "deploy/image/base"))
                _run(str(ROOT / "deploy/image/build"), name)
                for line in kept.splitlines():
                    if line.startswith("localhost/kdns:"):  # of other files than now
                        _buildah("rmi", "--force", line)
            return cls(name, "debian:trixie-slim")

    def octets_over_base(self) -> int:
        return _octets(self.root) - _octets(self.base)


class Pod:
    """A running container of an image; `command` goes before the arguments, and is the image's own unless given."""

    def __init__(
        self, image: Image, arguments: list[str], *, mounts: dict[str, Path] | None = None, command: list[str] | None = None,
        environment: dict[str, str] | None = None, host_network: bool = False, memory: int = MEMORY, writable_tmp: bool = False,
    ) -> None:  # fmt: skip
        self.name = f"kdns-test-{uuid.uuid4().hex[:8]}"
        self.folder = Path(tempfile.mkdtemp(prefix="kdns-pod-"))
        spec = _spec(image, [*(command or image.config["Entrypoint"]), *arguments], mounts or {}, environment or {}, memory)
        if writable_tmp:
            options = ["nosuid", "nodev", "mode=1777"]
            spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": options})
        if not host_network:
            spec["linux"]["namespaces"].append({"type": "network"})
        spec["linux"]["cgroupsPath"] = f"/{self.name}"
        (self.folder / "config.json").write_text(json.dumps(spec))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with open(self.folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                ["runc", "run", "--bundle", str(self.folder), self.name], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            subprocess.run(["runc", "kill", self.name, "KILL"], capture_output=True)
            self._process.wait(timeout=20)
        subprocess.run(["runc", "delete", "--force", self.name], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Of its process 1, as this machine counts."""
        return int(json.loads(_run("runc", "state", self.name))["pid"])

    def status(self) -> dict[str, str]:
        """Of its process 1, as proc(5) has it."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def memory(self) -> dict[str, int]:
        """Octets that its control group has taken, now and at most: `usage`, `max`, `limit`; `rss`: its own alone."""
        memory = json.loads(_run("runc", "events", "--stats", self.name))["data"]["memory"]
        raw = memory["raw"]
        return {**memory["usage"], "rss": raw.get("total_rss") or raw.get("anon")}

    def inside(self, *command: str) -> str:
        """What a command of this machine prints, in the network of the Pod."""
        return _run("nsenter", f"--net=/proc/{self.pid}/ns/net", *command)

    def dig(self, *words: str) -> str:
        return self.inside("dig", "@127.0.0.1", "+tries=1", "+time=2", *words).strip()

    def get(self, url: str) -> str:
        code = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"
        return self.inside(sys.executable, "-c", code, url)

    def until_it_says(self, expected: str, *question: str, timeout: float = 20.0) -> None:
        """Until dig +short with these words prints what is expected."""
        until(lambda: self._says(expected, question), f"{expected} for {' '.join(question)}; {self.log}", timeout)

    def _says(self, expected: str, question: tuple[str, ...]) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            return expected == self.dig("+short", *question)
        except (subprocess.CalledProcessError, ValueError):
            return False

    def wait(self, timeout: float = 20.0) -> tuple[int, str]:
        """Its exit status and all that it printed."""
        assert self._process is not None
        return self._process.wait(timeout), self.log

    def signal(self, name: str) -> None:
        _run("runc", "kill", self.name, name)


def _spec(
    image: Image, arguments: list[str], mounts: dict[str, Path], environment: dict[str, str], memory: int
) -> dict[str, Any]:
    user, _, group = image.config["User"].partition(":")
    port_53 = ["CAP_NET_BIND_SERVICE"]
    system = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ]
    given = [
        {"destination": inside, "type": "bind", "source": str(outside), "options": ["rbind", "ro"]}
        for inside, outside in mounts.items()
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": int(user), "gid": int(group)},
            "args": arguments,
            "env": [*image.config["Env"], *(f"{name}={value}" for name, value in environment.items())],
            "cwd": "/",
            "capabilities": {"bounding": port_53, "effective": port_53, "permitted": port_53},
            "noNewPrivileges": True,
        },
        "root": {"path": str(image.root), "readonly": True},
        "mounts": system + given,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")],
            "resources": {"memory": {"limit": memory, "swap": memory}},
        },
    }


def _fingerprint() -> str:
    """Of all that the image is made from."""
    inside = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")))
    files = [path for path in [*(ROOT / name for name in INPUTS), *inside] if path.is_file() and path.suffix != ".pyc"]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kdns" / "image"


@contextmanager
def _storage() -> Iterator[None]:
    """buildah keeps its images in the cache folder; one process at a time."""
    folder = _cache()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
    )
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _mounted(name: str) -> Path:
    """The root of an image, the same folder each time."""
    container = "mounted-" + name.replace(":", "-")
    if container not in _buildah("containers", "--format", "{{.ContainerName}}").split():
        _buildah("from", "--pull-never", "--name", container, name)
    return Path(_buildah("mount", container).strip())


def _buildah(*words: str) -> str:
    return _run("buildah", *words)


def _path() -> str:
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def _run(*command: str) -> str:
    environment = {
        **os.environ, "PATH": _path(), "CONTAINERS_STORAGE_CONF": str(_cache() / "storage.conf"),
        "BUILDAH_ISOLATION": "chroot", "IMAGE_TOOL": "buildah",
    }  # fmt: skip
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise subprocess.CalledProcessError(done.returncode, " ".join([*command, "\n", *said]))
    return done.stdout


def _octets(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
