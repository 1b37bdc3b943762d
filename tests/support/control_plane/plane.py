"""A real control plane on loopback: etcd, kube-apiserver and a few controllers, for tests and benchmarks.

    with ControlPlane() as plane:
        plane.grant_dns()
        plane.api.apply(Path("town"))
        ... plane.kubeconfig("dns") ...

Everything lives in a temporary folder and dies with this process, however that ends. Ports stay the same when a
program is killed and started again. There is no kubelet: Pods' status is what a test writes, and the Node that a Pod
names must exist, or the controllers leave its address out. The programs themselves come from
tests.support.control_plane.programs, the requests from tests.support.control_plane.rest.
"""

import atexit
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import yaml

from kdns.testing.ports import free_ports
from tests.support.control_plane.programs import find_or_build, find_or_skip
from tests.support.control_plane.rest import Api, Object

SERVICE_RANGE = "10.96.0.0/12,fd00:96::/112"
USERS = {
    "admin": ("admin", "system:masters"),
    "dns": ("system:serviceaccount:kube-system:coredns", "system:serviceaccounts"),
    "nobody": ("system:serviceaccount:kube-system:nobody", "system:serviceaccounts"),
}
# The garbage collector is what deletes a Service's slices after it.
CONTROLLERS = (
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "namespace-controller",
    "garbage-collector-controller",
)
DNS_RULES = [
    {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
]
# Linux kills a child (PR_SET_PDEATHSIG = 1, SIGKILL = 9) when the thread that started it ends: so the threads of a
# test must not start any themselves, and this one lives as long as the process.
_STARTER = ThreadPoolExecutor(1)
_DIES_WITH_PARENT = """
import ctypes, os, sys
try: ctypes.CDLL(None).prctl(1, 9)
except AttributeError: pass
if os.getppid() == int(sys.argv[1]): os.execv(sys.argv[2], sys.argv[2:])
"""


class ControlPlaneError(Exception):
    """A program did not start or has died: which, and the last it said."""


class ControlPlane:
    """`start()` takes a few seconds; `controllers=False` leaves out kube-controller-manager, and what it would make."""

    def __init__(self, programs: dict[str, Path] | None = None, *, controllers: bool = True) -> None:
        self.programs = find_or_build() if programs is None else programs
        self.folder = Path(tempfile.mkdtemp(prefix="kdns-control-plane-"))
        self.controllers = controllers
        self.port, self.etcd_port, self._controllers_port, etcd_peers = free_ports(4)
        self._etcd_peers = f"http://127.0.0.1:{etcd_peers}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._tokens = {user: secrets.token_hex(16) for user in USERS}
        atexit.register(self.stop)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        try:
            self._write_credentials()
            self.start_etcd()
            self.start_apiserver()
            self.api = self.client("admin")
            if self.controllers:
                self._start_controllers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kills all and removes the folder; may be called again."""
        if hasattr(self, "api"):
            self.api.close()
        for name in reversed(list(self._running)):
            self._kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """The API server's certificate, signed by itself."""
        return self.folder / "apiserver" / "apiserver.crt"

    def token(self, user: str) -> str:
        return self._tokens[user]

    def client(self, user: str) -> Api:
        """Requests in the name of admin, dns or nobody; close() it after use."""
        return Api(self.port, self.authority, self._tokens[user])

    def kubeconfig(self, user: str) -> Path:
        """A kubeconfig for admin, for dns (what `grant_dns` grants) or for nobody (nothing granted)."""
        path = self.folder / f"{user}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority-data": b64encode(self.authority.read_bytes()).decode()}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def grant_dns(self) -> None:
        """ClusterRole and ClusterRoleBinding system:coredns, no more than a cluster gives its DNS server."""
        subject = {"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}
        self.api.apply([
            _rbac("ClusterRole", rules=DNS_RULES),
            _rbac("ClusterRoleBinding", subjects=[subject], roleRef={
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns",
            }),
        ])  # fmt: skip

    def load(self, objects: Iterable[Object]) -> None:
        """Writes thousands of objects straight into etcd, past validation, admission and controllers' defaults.

        The API server sees them as created. Each Service must say its clusterIP: allocating 10,000 takes the API server
        100 s, as it counts all addresses for a metric at each. Here it registers them afterwards, about 1,000 a second.
        """
        etcd = http.client.HTTPConnection("127.0.0.1", self.etcd_port, timeout=30)
        with closing(etcd):
            for obj in objects:  # one transaction each: objects must not share a resourceVersion
                key, value = (b64encode(part).decode() for part in stored(obj))
                etcd.request("POST", "/v3/kv/put", json.dumps({"key": key, "value": value}))
                response = etcd.getresponse()
                if response.status != 200:
                    raise ControlPlaneError(f"etcd: {response.read().decode(errors='replace').strip()}")
                response.read()

    def start_etcd(self) -> None:
        """On the same port with the same state as before."""
        clients = f"http://127.0.0.1:{self.etcd_port}"
        self._start("etcd", {
            "name": "test", "data-dir": self.folder / "etcd", "unsafe-no-fsync": "true", "log-level": "warn",
            "listen-client-urls": clients, "advertise-client-urls": clients,
            "listen-peer-urls": self._etcd_peers, "initial-advertise-peer-urls": self._etcd_peers,
            "initial-cluster": f"test={self._etcd_peers}",
        })  # fmt: skip
        self._until("etcd", lambda: etcd_is_healthy(clients), 30)

    def start_apiserver(self) -> None:
        """On the same port with the same certificate as before; returns once it is ready."""
        self._start("kube-apiserver", {
            "etcd-servers": f"http://127.0.0.1:{self.etcd_port}",
            "bind-address": "127.0.0.1", "secure-port": self.port, "cert-dir": self.folder / "apiserver",
            "endpoint-reconciler-type": "none",  # a loopback address may be nobody's endpoint
            "service-cluster-ip-range": SERVICE_RANGE,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self.folder / "service-accounts.key",
            "service-account-signing-key-file": self.folder / "service-accounts.key",
            "token-auth-file": self.folder / "tokens.csv", "authorization-mode": "RBAC",
            "disable-admission-plugins": "ServiceAccount",
            "enable-priority-and-fairness": "false", "profiling": "false",
        })  # fmt: skip
        self._until("kube-apiserver", lambda: self._ready(self.port, self.authority, "/readyz"), 60)

    def kill_etcd(self) -> None:
        """As by SIGKILL: open watches and lists at resourceVersion=0 go on; other lists and all changes wait."""
        self._kill("etcd")

    def kill_apiserver(self) -> None:
        """As by SIGKILL: the port refuses connections."""
        self._kill("kube-apiserver")

    def pid(self, program: str) -> int:
        """Of etcd, kube-apiserver or kube-controller-manager, while it runs."""
        return self._running[program].pid

    def resident_bytes(self) -> dict[str, int]:
        """Resident memory of each running program (Linux)."""
        pages = {name: Path(f"/proc/{self.pid(name)}/statm").read_text().split()[1] for name in self._running}
        return {name: int(resident) * 4096 for name, resident in pages.items()}

    def _start_controllers(self) -> None:
        self._start("kube-controller-manager", {
            "kubeconfig": self.kubeconfig("admin"), "controllers": ",".join(CONTROLLERS), "leader-elect": "false",
            "bind-address": "127.0.0.1", "secure-port": self._controllers_port, "cert-dir": self.folder / "controllers",
            "kube-api-qps": 1000, "kube-api-burst": 2000, "concurrent-gc-syncs": 2,
            "endpoint-updates-batch-period": "0s", "endpointslice-updates-batch-period": "0s",
            "mirroring-endpointslice-updates-batch-period": "0s", "profiling": "false",
        })  # fmt: skip
        certificate = self.folder / "controllers" / "kube-controller-manager.crt"
        self._until(
            "kube-controller-manager", lambda: self._ready(self._controllers_port, certificate, "/healthz"), 30
        )

    def _write_credentials(self) -> None:
        lines = [f'{self._tokens[user]},{name},{user},"{group}"' for user, (name, group) in USERS.items()]
        (self.folder / "tokens.csv").write_text("\n".join(lines) + "\n")
        (self.folder / "service-accounts.key").write_text(new_key())

    def _ready(self, port: int, certificate: Path, path: str) -> bool:
        if not certificate.exists():  # a server writes its own at its first start
            return False
        client = Api(port, certificate, self._tokens["admin"])
        try:
            return client.exchange("GET", path)[0] == 200
        finally:
            client.close()

    def _start(self, name: str, flags: dict[str, object]) -> None:
        program = [str(self.programs[name]), *(f"--{flag}={value}" for flag, value in flags.items())]
        launcher = [sys.executable, "-I", "-S", "-c", _DIES_WITH_PARENT, str(os.getpid()), *program]
        with open(self.folder / f"{name}.log", "ab") as log:
            started = _STARTER.submit(
                subprocess.Popen, launcher, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            self._running[name] = started.result()

    def _kill(self, name: str) -> None:
        if (program := self._running.pop(name, None)) is not None:
            program.kill()
            program.wait()

    def _until(self, name: str, ready: Callable[[], bool], timeout: float) -> None:
        """Asks every 50 ms; raises ControlPlaneError after `timeout` seconds or when the program has died."""
        deadline = time.monotonic() + timeout
        while not _holds(ready):
            code = self._running[name].poll()
            if code is not None or time.monotonic() > deadline:
                how = f"exit code {code}" if code is not None else f"not ready after {timeout:.0f} s"
                said = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-5:]
                raise ControlPlaneError("\n".join([f"{name}: {how}", *said]))
            time.sleep(0.05)


@contextmanager
def control_plane_or_skip(*, controllers: bool = True) -> Iterator[ControlPlane]:
    """For a session's fixture: a running control plane, or a skip (with CI=true a failure) that says what is missing."""
    with ControlPlane(find_or_skip(), controllers=controllers) as plane:
        yield plane


def until(holds: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Asks every 20 ms until it holds; raises TimeoutError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {timeout:g} s")
        time.sleep(0.02)


def stored(obj: Object) -> tuple[bytes, bytes]:
    """An object as the API server keeps it: key and value in etcd."""
    kind, metadata = obj["kind"], obj["metadata"]
    created = {"uid": str(uuid.uuid4()), "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    folder = {"Service": "services/specs", "Endpoints": "services/endpoints"}.get(kind, f"{kind.lower()}s")
    key = "/".join(["/registry", folder, *([metadata["namespace"]] if "namespace" in metadata else []), metadata["name"]])
    return key.encode(), json.dumps({**obj, "metadata": {**created, **metadata}}).encode()


def etcd_is_healthy(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/health", timeout=2) as response:
        return b"true" in response.read()


def new_key() -> str:
    """A P-256 private key as PEM (RFC 5915, without the public key: optional, and Go computes it)."""
    secret = (secrets.randbits(255) | 1).to_bytes(32, "big")
    der = bytes.fromhex("30310201010420") + secret + bytes.fromhex("a00a06082a8648ce3d030107")
    return f"-----BEGIN EC PRIVATE KEY-----\n{b64encode(der).decode()}\n-----END EC PRIVATE KEY-----\n"


def _rbac(kind: str, **fields: object) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "system:coredns"}, **fields
    }  # fmt: skip


def _holds(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except OSError:
        return False
