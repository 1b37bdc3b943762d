"""The Corefile that a person gives, and those that stand for manifests or for none; what one says, without a server."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from kdns.core.generation import Generation
from kdns.core.plugin import Kept
from kdns.server.load import load, read_corefile

DEFAULT = ".:{port} {{\n    whoami\n    log\n}}\n"  # CoreDNS's own, where there is no Corefile
NO_COREFILE = (
    "no Corefile here (-conf names one): as CoreDNS, whoami and log for all names; kdns --manifests FILE serves the names of "
    "a cluster, kdns help shows more"
)
RESOLV_CONF = "/etc/resolv.conf"

LABORATORY = """.:{port} {{
    bind {addresses}
    errors{around}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        manifests {paths}{options}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    loadbalance
}}
"""


def corefile(conf: str | None, port: int) -> tuple[str, str]:
    """The text of the Corefile, and its path where it can be read again."""
    if conf is None and not Path("Corefile").is_file():
        return DEFAULT.format(port=port), ""
    path = conf or "Corefile"
    return read_corefile(path), "" if path in ("-", "stdin") else path


def laboratory(paths: Sequence[str], port: int, options: Sequence[str] = (), hosts: str = "", forward: str = "") -> str:
    """A Corefile for manifests, on the machine's own addresses alone.

    `hosts` is a file of names that go before the cluster's, `forward` who is asked for all others: an address, or a file such
    as /etc/resolv.conf.
    """
    around = [f"hosts {_quoted(hosts)} {{\n        fallthrough\n    }}"] * bool(hosts)
    if forward:
        around += ["cache 30", "loop", f"forward . {_quoted(forward) if os.path.exists(forward) else forward}"]
    return LABORATORY.format(
        port=port, addresses=" ".join(own_addresses()), paths=" ".join(map(_quoted, paths)),
        options="".join(f"\n        {option}" for option in options), around="".join(f"\n    {each}" for each in around),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def at_work(text: str, filename: str = "Corefile") -> AsyncIterator[Generation]:
    """A Corefile as a generation that answers, with all that it rests on started, and no socket. KdnsError where it is wrong."""
    generation = Generation()
    try:
        load(text, filename, generation=generation)
        await asyncio.gather(*(thing.start() for thing in list(generation.kept.values()) if isinstance(thing, Kept)))
        generation.begin()
        yield generation
    finally:
        await generation.close()


def _quoted(path: str) -> str:
    """A path as a word of a Corefile, whatever folder that is read from."""
    return '"' + (path if path == "-" else os.path.abspath(path)).replace('"', '\\"') + '"'


def sample() -> str:
    """The manifests of a small cluster: in the installed package, else where the source is."""
    installed = Path(__file__).parents[1] / "zones"
    return str((installed if installed.is_dir() else Path(__file__).parents[2] / "zones") / "cluster.yaml")


def own_addresses() -> list[str]:
    """The loopback addresses of this machine."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "::1"]
