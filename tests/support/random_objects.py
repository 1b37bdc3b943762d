"""Objects of a cluster made at random, of few names and addresses, so that they meet."""

import random

from kdns.cluster.objects import Stored
from tests.support.notation import objects

LABELS = ["a", "b", "10-0-0-1", "10-0-0-2", "fd00--1", "pod-0", "pod-1"]
ADDRESSES = [f"10.0.0.{n}" for n in range(1, 4)] + ["10.96.0.1"]
SIX = ["fd00::1", "fd00::2"]
CLUSTER_IPS = [f"10.96.0.{n}" for n in range(1, 9)] + ["fd00:96::1", "fd00:96::2"]
SERVICES = [f"{namespace}/s{n}" for namespace in "pq" for n in range(2)]


def random_object(rnd: random.Random) -> Stored:
    key = rnd.choice(SERVICES)
    match rnd.choices(("ns", "pod", "alias", "svc", "slice"), (2, 2, 2, 4, 6))[0]:
        case "ns":
            return objects(f"ns {rnd.choice('pq')} env={rnd.choice(('prod', 'test'))}")[0]
        case "pod":
            return objects(f"pod {rnd.choice('pq')}/pod-{rnd.randrange(2)} {rnd.choice(ADDRESSES)} {rnd.choice(SIX)}")[0]
        case "alias":
            namespace, name = rnd.choice(SERVICES).split("/")
            return objects(f"svc {key} > {rnd.choice((f'{name}.{namespace}.svc.cluster.local', 'api.example.com'))}")[0]
        case "svc":
            n = 2 * SERVICES.index(key) + rnd.randrange(1, 3)  # no two Services have the same ClusterIP
            ips = rnd.choice(("", f"10.96.0.{n}", f"10.96.0.{n} fd00:96::{n}"))
            return objects(f"svc {key} {ips} {random_port(rnd)}")[0]
    if rnd.random() < 0.15:
        words = ["s0.p.svc.cluster.local."]
    else:
        family = rnd.choice((ADDRESSES, SIX))
        words = [random_endpoint(rnd, rnd.choice(family)) for _ in range(rnd.randrange(4))]
    words = [rnd.choice((key, key, "p/s0")), *words, random_port(rnd)]
    return objects(f"slice {key}-{rnd.randrange(2)} {' '.join(words)}")[0]


def random_port(rnd: random.Random) -> str:
    return rnd.choice(("", "http:80/tcp", "http:81/tcp", "dns:53/udp"))


def random_endpoint(rnd: random.Random, address: str) -> str:
    hostname, pod = rnd.choice(("", "=a", "=b", "=10-0-0-2")), rnd.choice(("", "%pod-0", "%pod-1"))
    return address + hostname + pod + rnd.choice(("", "@z"))
