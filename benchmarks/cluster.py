"""A large cluster as kubectl would list it: `python benchmarks/cluster.py > cluster.json`.

10,000 Services: 1,000 headless ones with 100 endpoints each, the rest with a ClusterIP. The same octets each time, some
31 MB. `--services` and `--headless` make it smaller.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

ENDPOINTS = 100  # of each headless Service
NAMESPACES = 40

SEED = 53
chance = random.Random(SEED)


def uid() -> str:
    return str(UUID(int=chance.getrandbits(128)))


def namespace(i: int) -> str:
    return f"team-{i % NAMESPACES:02}"


def metadata(i: int, name: str, **more: Any) -> dict[str, Any]:
    return {
        "creationTimestamp": "2026-01-05T10:11:12Z",
        **more,
        "name": name,
        "namespace": namespace(i),
        "resourceVersion": str(100_000 + i),
        "uid": uid(),
    }


def service(i: int, headless: bool) -> dict[str, Any]:
    name = f"service-{i:05}"
    ip = "None" if headless else f"10.{96 + (i >> 16)}.{i >> 8 & 255}.{i & 255}"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(i, name, labels={"app": name}),
        "spec": {
            "clusterIP": ip,
            "clusterIPs": [ip],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [
                {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080},
                {"name": "metrics", "port": 9090, "protocol": "TCP", "targetPort": "metrics"},
            ],
            "selector": {"app": name},
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }


def endpoint(i: int, n: int, name: str) -> dict[str, Any]:
    address = i * ENDPOINTS + n
    zone = f"eu-west-1{'abc'[address % 3]}"
    found: dict[str, Any] = {
        "addresses": [f"10.{128 + (address >> 16)}.{address >> 8 & 255}.{address & 255}"],
        "conditions": {"ready": n % 50 != 49, "serving": n % 50 != 49, "terminating": False},
        "nodeName": f"node-{address % 997}",
        "targetRef": {"kind": "Pod", "name": f"{name}-{n}", "namespace": namespace(i), "uid": uid()},
        "zone": zone,
    }
    return {**found, "hostname": f"{name}-{n}"} if n % 2 else found


def endpoint_slice(i: int) -> dict[str, Any]:
    name = f"service-{i:05}"
    labels = {
        "app": name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": name,
        "service.kubernetes.io/headless": "",
    }
    return {
        "addressType": "IPv4",
        "apiVersion": "discovery.k8s.io/v1",
        "endpoints": [endpoint(i, n, name) for n in range(ENDPOINTS)],
        "kind": "EndpointSlice",
        "metadata": metadata(i, f"{name}-{chance.getrandbits(20):05x}", generateName=f"{name}-", labels=labels),
        "ports": [
            {"name": "http", "port": 8080, "protocol": "TCP"},
            {"name": "metrics", "port": 9090, "protocol": "TCP"},
        ],
    }


def items(services: int, headless: int) -> Iterator[dict[str, Any]]:
    for i in range(NAMESPACES):
        labels = {"kubernetes.io/metadata.name": namespace(i)}
        yield {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"labels": labels, "name": namespace(i), "uid": uid()},
        }
    for i in range(services):
        yield service(i, i < headless)
    for i in range(headless):
        yield endpoint_slice(i)


def write(out: TextIO, services: int, headless: int) -> None:
    chance.seed(SEED)
    out.write('{"apiVersion":"v1","items":[\n')
    for n, item in enumerate(items(services, min(headless, services))):
        out.write(",\n" if n else "")
        out.write(json.dumps(item, separators=(",", ":")))
    out.write('\n],"kind":"List","metadata":{"resourceVersion":""}}\n')


def write_manifest(path: Path, services: int, headless: int) -> Path:
    with open(path, "w") as out:
        write(out, services, headless)
    return path


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--services", type=int, default=10_000)
    arguments.add_argument("--headless", type=int, default=1_000)
    asked = arguments.parse_args()
    write(sys.stdout, asked.services, asked.headless)


if __name__ == "__main__":
    main()
