"""The container image, built as the Dockerfile says and run as CoreDNS's Pod: read-only, unprivileged, 170 MiB, port 53."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdns import __version__
from kdns.testing.ports import free_ports
from tests.support import ROOT
from tests.support.control_plane.plane import control_plane_or_skip, ControlPlane
from tests.support.pod import Image, MEMORY, Pod
from tests.support.processes import granted

pytestmark = [pytest.mark.image, pytest.mark.timeout(1200)]  # building takes a minute, on a slow machine several

POD = """
.:53 {
    errors
    log
    health {
       lameduck 1s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       manifests /etc/coredns/cluster.yaml
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
secure.test:53 {
    forward . tls://127.0.0.1:853 {
       tls_servername dns.test
    }
}
"""
IN_CLUSTER = """
.:{port} {{
    bind 127.0.0.1
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        {where}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    loadbalance
}}
"""
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture(scope="session")
def image() -> Image:
    return Image.built()


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with control_plane_or_skip(controllers=False) as plane:
        plane.grant_dns()
        granted(plane)
        yield plane


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """/etc/coredns: a Corefile, and the cluster of zones/."""
    tmp_path.chmod(0o755)
    (tmp_path / "Corefile").write_text(POD)
    (tmp_path / "cluster.yaml").write_bytes((ROOT / "zones" / "cluster.yaml").read_bytes())
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")  # the Pod's network has no way there
    return tmp_path


# ---------------------------------------------------------------- what it is


def test_what_the_image_says_of_itself(image: Image) -> None:
    assert "65532:65532" == image.config["User"]
    assert ["/opt/kdns/bin/kdns"] == image.config["Entrypoint"]
    assert "Cmd" not in image.config
    assert __version__ == image.config["Labels"]["org.opencontainers.image.version"]
    assert "Apache-2.0" == image.config["Labels"]["org.opencontainers.image.licenses"]


def test_it_is_at_most_70_mb_over_its_base(image: Image) -> None:
    assert image.octets_over_base() < 70_000_000


def test_only_what_runs_is_there(image: Image) -> None:
    packages = {path.name for path in next(image.root.glob("opt/kdns/lib/python3.*/site-packages")).iterdir()}
    assert {"kdns", "kubernetes", "aiohttp"} <= packages
    assert set() == packages & {"pip", "setuptools", "requests", "oauthlib", "websocket", "pydantic", "pydantic_core", "urllib3"}
    assert {"kdns", "python3"} == {path.name for path in (image.root / "opt/kdns/bin").iterdir()}
    compilers = (list(image.root.glob(pattern)) for pattern in ("usr/bin/*gcc*", "usr/include/*", "opt/kdns/**/*.[co]"))
    assert [[], [], []] == list(compilers)


def test_all_byte_code_is_compiled_ahead(image: Image) -> None:
    [standard] = image.root.glob("usr/lib/python3.*/")
    sources = [*standard.rglob("*.py"), *(image.root / "opt/kdns/lib").rglob("*.py")]
    assert [] == [path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))]


# ---------------------------------------------------------------- each mode


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-version"], f"kdns-{__version__}\n"),
        (["-version"], ", compiled\n"),
        (["-plugins"], "dns.kubernetes"),
        (["help", "kubernetes"], "kubernetes"),
        (["check", "-conf", "/etc/coredns/Corefile"], "secure.test.:53"),
    ],
    ids=["version", "compiled", "plugins", "help", "check"],
)
def test_what_answers_and_ends(image: Image, etc: Path, arguments: list[str], expected: str) -> None:
    with Pod(image, arguments, mounts={"/etc/coredns": etc}) as pod:
        status, log = pod.wait()
    assert 0 == status, log
    assert expected in log


def test_the_authorities_of_debian_are_trusted(image: Image) -> None:
    code = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 100)"
    with Pod(image, ["-c", code], command=["/opt/kdns/bin/python3"]) as pod:
        assert (0, "True\n") == pod.wait()


def test_as_the_pod_of_coredns(image: Image, etc: Path) -> None:
    mounts = {"/etc/coredns": etc, "/etc/resolv.conf": etc / "resolv.conf"}
    with Pod(image, ["-conf", "/etc/coredns/Corefile"], mounts=mounts) as pod:
        pod.until_it_says("10.96.0.1", "kubernetes.default.svc.cluster.local")
        assert "10.96.0.1" == pod.dig("+short", "+tcp", "kubernetes.default.svc.cluster.local")
        assert "kubernetes.default.svc.cluster.local." == pod.dig("+short", "-x", "10.96.0.1")
        assert "OK" == pod.get("http://127.0.0.1:8080/health").strip()
        assert "OK" == pod.get("http://127.0.0.1:8181/ready").strip()
        assert 'coredns_dns_requests_total{family="1",proto="tcp"' in pod.get("http://127.0.0.1:9153/metrics")
        status = pod.status()
        assert "65532\t65532\t65532\t65532" == status["Uid"]
        assert {"0000000000000400"} == {status[which] for which in ("CapPrm", "CapEff", "CapBnd")}
        assert "1" == status["NoNewPrivs"]
        assert "1" == status["NSpid"].split()[-1]
        assert MEMORY == pod.memory()["limit"]
        pod.signal("TERM")
        code, log = pod.wait()
    assert 0 == code, log
    assert [] == [line for line in log.splitlines() if "[ERROR]" in line or "Traceback" in line]


def test_in_a_cluster_as_its_service_account(image: Image, plane: ControlPlane, etc: Path) -> None:
    [port] = free_ports(1)
    account = etc / "account"
    account.mkdir()
    (account / "token").write_text(plane.token("dns"))
    (account / "ca.crt").write_bytes(plane.authority.read_bytes())
    (etc / "Corefile").write_text(IN_CLUSTER.format(port=port, where=""))
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(plane.port)}
    mounts = {"/etc/coredns": etc, SERVICE_ACCOUNT: account}
    arguments = ["-conf", "/etc/coredns/Corefile"]
    with Pod(image, arguments, mounts=mounts, environment=environment, host_network=True) as pod:
        pod.until_it_says("10.96.0.1", f"-p{port}", "kubernetes.default.svc.cluster.local")


def test_with_a_kubeconfig_and_its_exec_plugin(image: Image, plane: ControlPlane, etc: Path) -> None:
    [port] = free_ports(1)
    credential = {"kind": "ExecCredential", "status": {"token": plane.token("dns")}}
    (etc / "credential").write_text(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", **credential}))
    (etc / "ca.crt").write_bytes(plane.authority.read_bytes())
    exec_ = {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": ["/etc/coredns/credential"]}
    (etc / "kubeconfig").write_text(json.dumps({
        "clusters": [{"name": "c", "cluster": {"server": plane.url, "certificate-authority": "/etc/coredns/ca.crt"}}],
        "users": [{"name": "u", "user": {"exec": exec_}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }))  # fmt: skip
    (etc / "Corefile").write_text(IN_CLUSTER.format(port=port, where="kubeconfig /etc/coredns/kubeconfig"))
    with Pod(image, ["-conf", "/etc/coredns/Corefile"], mounts={"/etc/coredns": etc}, host_network=True) as pod:
        pod.until_it_says("10.96.0.1", f"-p{port}", "kubernetes.default.svc.cluster.local")
