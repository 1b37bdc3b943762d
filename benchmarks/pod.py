"""The container image as CoreDNS's Pod: its size, its start, its memory: `python -m benchmarks.pod`, as root.

The image is built as the tests do it and run by runc with a limit of 170 MiB, read-only and unprivileged. A start is from
before runc to the first right answer, asked for every 2 ms (median of five), and what its first process took of the CPU
until then, which a busy machine changes less. Memory is what the kernel says of its processes (resident, and of that their
own) and of its control group, caches of files included.
"""

import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cluster import write_manifest
from benchmarks.control_plane import cpu, loaded, rest
from benchmarks.load import load, wire, write
from benchmarks.manifests import distinct_names
from benchmarks.servers import kubeadm, server_block
from kdns.testing.ports import free_port, free_ports
from tests.support.control_plane.plane import ControlPlane
from tests.support.pod import Image, Pod

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
SAMPLE = Path(__file__).parents[1] / "zones" / "cluster.yaml"


class Served:
    """A folder for /etc/coredns, and what a Pod with it is asked."""

    def __init__(self, image: Image, *lines: str, plane: ControlPlane | None = None) -> None:
        self.image, self.plane = image, plane
        self.folder = Path(tempfile.mkdtemp(prefix="kdns-bench-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        (self.folder / "Corefile").write_text(server_block(self.port, *lines))
        if plane is not None:
            (self.folder / "token").write_text(plane.token("dns"))
            (self.folder / "ca.crt").write_bytes(plane.authority.read_bytes())

    def pod(self) -> Pod:
        mounts, environment = {"/etc/coredns": self.folder}, {}
        if self.plane is not None:
            mounts[ACCOUNT] = self.folder
            environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.plane.port)}
        return Pod(
            self.image, ["-conf", "/etc/coredns/Corefile"], mounts=mounts, environment=environment, host_network=True
        )

    @contextmanager
    def answering(self, name: str) -> Iterator[tuple[Pod, float]]:
        """A Pod that has answered with an address, and the seconds it took."""
        question = wire(name, "A", 1)
        began = time.perf_counter()
        with self.pod() as pod, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(("127.0.0.1", self.port))
            asking.settimeout(0.002)
            while not _answered(asking, question):
                if time.perf_counter() > began + 60:
                    raise TimeoutError(pod.log)
            yield pod, time.perf_counter() - began


def _answered(asking: socket.socket, question: bytes) -> bool:
    try:
        asking.send(question)
        reply = asking.recv(4096)
    except ConnectionRefusedError:
        time.sleep(0.002)
        return False
    except TimeoutError:
        return False
    return reply[3] & 15 == 0  # SERVFAIL until all is known


def started(what: str, served: Served, name: str) -> None:
    seconds, worked = [], []
    for _ in range(5):
        with served.answering(name) as (pod, took):
            seconds.append(took)
            worked.append(cpu(pod.pid))
            time.sleep(2)  # what is done once after the start
            resident = processes(pod)
            group = pod.memory()
    first = f"{statistics.median(seconds):.2f} s to the first answer, {statistics.median(worked):.2f} of the CPU"
    row(what, f"{first}; {resident}; group {group['usage'] >> 20} MiB")


def processes(pod: Pod) -> str:
    """Resident memory of each process, the first one first."""
    found = Path(f"/proc/{pod.pid}/root/proc")
    sizes = []
    for status in sorted(found.glob("[0-9]*/status"), key=lambda path: int(path.parent.name)):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        sizes.append(f"{int(fields['VmRSS'].split()[0]) / 1000:.0f} MB ({int(fields['RssAnon'].split()[0]) / 1000:.0f} its own)")
    return " and ".join(sizes)


def under_load(what: str, served: Served, name: str) -> None:
    with served.answering(name) as (pod, took):
        time.sleep(5)
        row(what, f"synced after {took:.1f} s; {processes(pod)}; group {pod.memory()['usage'] >> 20} MiB")
        with tempfile.TemporaryDirectory() as folder:
            for turn in ("asked once", "twice"):
                came = load(served.port, write(Path(folder) / "questions", distinct_names()))
                memory = pod.memory()
                row(
                    f"100,000 distinct names, {turn}",
                    f"{came.answered} answered, {came.lost} lost; {processes(pod)}; "
                    f"group {memory['usage'] >> 20} MiB, at most {memory['max'] >> 20} of {memory['limit'] >> 20}",
                )


def kubeadms(*source: str) -> list[str]:
    """kubeadm's plugins, with ports of their own and nobody to forward to."""
    ready, metrics = free_ports(2)
    return [f"ready 127.0.0.1:{ready}", *kubeadm(*source, upstream=9, metrics=metrics, cached=True), "loop", "reload"]


def row(what: str, figures: str) -> None:
    print(f"{what:44} {figures}", flush=True)


def main() -> None:
    image = Image.built()
    row("size over the base", f"{image.octets_over_base() / 1e6:.0f} MB")
    started("whoami", Served(image, "whoami"), "a.test")
    sample = Served(image, *kubeadms("manifests /etc/coredns/cluster.yaml"))
    (sample.folder / "cluster.yaml").write_bytes(SAMPLE.read_bytes())
    started("a small cluster, manifests", sample, "web.prod.svc.cluster.local")
    with ControlPlane(controllers=False) as plane:
        plane.grant_dns()
        started("a small cluster, API server", Served(image, *kubeadms(), plane=plane), "kubernetes.default.svc.cluster.local")
        plane.load(loaded(10_000, 1_000))
        rest(plane)
        large = Served(image, *kubeadms(), plane=plane)
        under_load("10,000 Services, 100,000 endpoints, API", large, "service-05000.team-00.svc.cluster.local")
    large = Served(image, *kubeadms("manifests /etc/coredns/cluster.json"))
    write_manifest(large.folder / "cluster.json", 10_000, 1_000)
    under_load("the same, manifests", large, "service-05000.team-00.svc.cluster.local")


if __name__ == "__main__":
    sys.exit(main())
