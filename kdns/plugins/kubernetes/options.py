"""What a *kubernetes* directive says: its options as a table, and how their words are read."""

from dataclasses import dataclass
from ipaddress import ip_network

from kdns.cluster.answers import Schema
from kdns.cluster.manifests.controllers import DEFAULT_RANGES, Ranges, ranges
from kdns.cluster.manifests.workloads import DEFAULT_POD_RANGES
from kdns.cluster.objects import Selection
from kdns.cluster.selectors import parse as parse_selector
from kdns.config.directive import Directive
from kdns.config.options import argument, choice, duration, fallthrough, flag, integer, Network, number, option, word, words, zones

GONE = "has no effect any more, the line may go"


def _ignore(o: Directive) -> bool:
    return bool(o.choice(("empty_service",)))


def _networks(o: Directive) -> tuple[Network, ...]:
    return tuple(map(ip_network, o.arguments(1)))


def _selector(o: Directive) -> str:
    parse_selector(" ".join(o.arguments(1)))
    return " ".join(o.args)


def _endpoint(o: Directive) -> str:
    """One is asked; CoreDNS, too, takes the first."""
    url = o.arguments(1)[0]
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"'{url}' has no scheme: write https://{url}")
    return url


def _tls(o: Directive) -> tuple[str, str, str]:
    cert, key, ca = o.arguments(3, 3)
    return cert, key, ca


def _cluster_ips(o: Directive) -> Ranges:
    return ranges(*o.arguments(1))


def _given(o: Directive) -> bool:
    return True


@dataclass(frozen=True)
class Options:
    zones: tuple[str, ...] = argument(zones)
    manifests: tuple[str, ...] = option(words(1), ())
    cluster_ips: Ranges = option(_cluster_ips, DEFAULT_RANGES)
    pod_ips: Ranges = option(_cluster_ips, DEFAULT_POD_RANGES)
    lenient: bool = option(flag, False)
    endpoint: str = option(_endpoint, "")
    tls: tuple[str, str, str] | None = option(_tls)
    kubeconfig: tuple[str, ...] = option(words(1, 2), ())
    apiserver_qps: float = option(number(0, 1e7, "a number of requests a second"), 0.0)
    apiserver_burst: int = option(integer(0, 1_000_000), 0)
    apiserver_max_inflight: int = option(integer(0, 1_000_000), 0)
    startup_timeout: float = option(duration(), 5.0)
    snapshot: str = option(word, "")
    namespaces: tuple[str, ...] = option(words(1), ())
    namespace_labels: str = option(_selector, "")
    labels: str = option(_selector, "")
    pods: str = option(choice("disabled", "insecure", "verified"), "disabled")
    endpoint_pod_names: bool = option(flag, False)
    ttl: int = option(integer(0, 3600), 5)
    noendpoints: bool = option(flag, False)
    ignore: bool = option(_ignore, False)
    zonal: bool = option(flag, False)
    fallthrough: tuple[str, ...] = option(fallthrough, ())
    reverse_local: tuple[Network, ...] = option(_networks, ())
    multicluster: bool = option(
        _given, False, note="multicluster is not served yet, its zones are answered without ServiceImports"
    )
    upstream: bool = option(_given, False, note=f"upstream {GONE}")
    resyncperiod: bool = option(_given, False, note=f"resyncperiod {GONE}")

    def __post_init__(self) -> None:
        if self.namespaces and self.namespace_labels:
            raise ValueError("namespaces and namespace_labels exclude each other: keep one")

    def schema(self, origins: tuple[str, ...]) -> Schema:
        """Which names there are."""
        return Schema(
            zones=origins, ttl=self.ttl, pods=self.pods, endpoint_pod_names=self.endpoint_pod_names,
            noendpoints=self.noendpoints, ignore_empty=self.ignore, zonal=self.zonal,
            namespaces=frozenset(self.namespaces), labels=self.labels,
            namespace_labels=parse_selector(self.namespace_labels) if self.namespace_labels else None,
        )  # fmt: skip

    def selection(self, labelled: bool, external: bool, asking: tuple[str, ...]) -> Selection:
        """Which objects are asked for; `labelled`: somebody may ask for the labels of Pods, `external`: for load balancers.

        `asking`: kinds whose host names are names here.
        """
        return Selection(
            endpoints=not self.noendpoints, pod_names=self.endpoint_pod_names, zones=self.zonal, labels=self.labels,
            namespaces=tuple(sorted(set(self.namespaces))), pods=self.pods == "verified",
            pod_labels=labelled and self.pods == "verified", external=external, asking=asking,
        )  # fmt: skip
