"""How things are reached from outside of the cluster: what the API says of load balancers, and what is kept of it."""

from typing import NamedTuple

from msgspec import Struct

ROUTES = ("HTTPRoute", "GRPCRoute", "TLSRoute")  # to Gateways
ASKING = ("Ingress", *ROUTES)  # kinds that ask for host names, besides Services with an annotation


class Ingress(Struct, gc=False):
    ip: str | None = None
    hostname: str | None = None


class LoadBalancer(Struct, gc=False):
    ingress: tuple[Ingress, ...] | None = None


class ServiceStatus(Struct, gc=False):
    loadBalancer: LoadBalancer | None = None


class External(NamedTuple):
    """Where something is reached from outside of the cluster, and the names that it asks for there."""

    addresses: tuple[bytes, ...]
    names: tuple[str, ...]  # of its load balancer
    asked: tuple[str, ...]


class Entrance(NamedTuple):
    """An Ingress, a Gateway, or a route to Gateways. A Gateway asks for no name, a route has the addresses of its Gateways."""

    key: str  # "namespace/name kind", see `entrance_key`
    external: External
    gateways: tuple[str, ...] = ()  # of a route: the keys of its Gateways


def entrance_key(namespace: str, name: str, kind: str) -> str:
    """The kind belongs to it: an Ingress may be called as a Gateway is."""
    return f"{namespace}/{name} {kind}"


def kind_of(key: str) -> str:
    return key.rpartition(" ")[2]
