"""kdns and the servers beside it, started for a benchmark: all follow one API server, or have the same names in a zone file."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.loads import FORWARDED_HOT, FORWARDED_NEW, HOT_NAMES, Load, PROBE, zones
from benchmarks.servers import compiler, corefile, echo, find, find_coredns, knot, kubeadm, limited, nsd, PINNED, Server, unbound
from kdns.testing.ports import free_port

LIMIT = 170 << 20  # octets: what kubeadm's Pods of CoreDNS may have
LOG = ("log . combined",)
ACL = ("acl {", "    allow net 127.0.0.0/8", "    block", "}")
Servers = dict[str, Server]
Wanted = Callable[[str], bool]


def package(place: Path) -> list[str]:
    """What starts the kdns of a folder."""
    return ["env", f"PYTHONPATH={place}", sys.executable, "-P", "-m", "kdns"]


def start(stack: ExitStack, folder: Path, kubeconfig: Path, upstream: int, ours: dict[str, Path], wanted: Wanted) -> Servers:
    """Those that are wanted and installed, by name, each in the first core, kdns and CoreDNS with the Pod's limit of memory."""
    out: Servers = {}

    def add(what: str, make: Callable[[], Server]) -> None:
        if wanted(what):
            print(f"starting {what}", file=sys.stderr, flush=True)
            out[what] = stack.enter_context(make())

    def follow(what: str, command: list[str], cached: bool = False, more: tuple[str, ...] = ()) -> None:
        port = free_port()
        lines = kubeadm(f"kubeconfig {kubeconfig} test", upstream=upstream, metrics=free_port(), cached=cached)
        conf = corefile(folder, port, *more, *lines, "loop")
        group = stack.enter_context(limited(str(port), LIMIT))
        add(what, lambda: Server([*group, *PINNED, *command, "-conf", str(conf)], folder, port, PROBE))

    for what, place in ours.items():
        follow(what, package(place))
    for more in (LOG, ACL):  # of the last one, which is the compiled one where there is one
        follow(f"kdns, {more[0].split()[0]}", package(list(ours.values())[-1]), more=more)
    if program := find_coredns():
        follow("CoreDNS", [program])
        follow("CoreDNS, cache", [program], cached=True)
        follow("CoreDNS, log", [program], more=LOG)
    files = zones(folder)
    if find("nsd"):
        add("NSD", lambda: nsd(folder, PROBE, files, PINNED))
    if find("knotd"):
        add("Knot", lambda: knot(folder, PROBE, files, PINNED))
    if find("unbound"):
        add("unbound", lambda: unbound(folder, PROBE, files, upstream, PINNED))
    if compiler():
        add("echo", lambda: echo(folder, PINNED))
    return out


def takes(what: str, load: Load) -> bool:
    """Is the load for the server?

    What has another Corefile shows what that costs hot names. Servers of zone files neither forward nor see changes, and the
    echo, which answers nothing, is the limit of hot names.
    """
    if what == "echo" or what.endswith((", log", ", acl")):
        return load.name == HOT_NAMES
    if load.name in (FORWARDED_HOT, FORWARDED_NEW):
        return what not in ("NSD", "Knot")
    return not load.changes or what not in ("NSD", "Knot", "unbound")
