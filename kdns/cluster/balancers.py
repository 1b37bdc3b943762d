"""What the API says of a Service's load balancer, and what is kept of how a Service is reached from outside of the cluster."""

from typing import NamedTuple

from msgspec import Struct


class Ingress(Struct, gc=False):
    ip: str | None = None
    hostname: str | None = None


class LoadBalancer(Struct, gc=False):
    ingress: tuple[Ingress, ...] | None = None


class ServiceStatus(Struct, gc=False):
    loadBalancer: LoadBalancer | None = None


class External(NamedTuple):
    """How a Service is reached from outside of the cluster, and the names that it asks for there."""

    addresses: tuple[bytes, ...]
    names: tuple[str, ...]  # of its load balancer
    asked: tuple[str, ...]
