"""`kdns`: CoreDNS's flags, and a short way to serve manifests. Also NodeLocal DNSCache's arguments, where `-localip` is there."""

import asyncio
import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from kdns import __version__, plugins
from kdns.commands.corefiles import corefile, laboratory
from kdns.commands.flags import parser as flags_of_all
from kdns.commands.lines import log_to_stdout
from kdns.core.generation import Generation
from kdns.core.lines import end_all, stdout
from kdns.errors import KdnsError
from kdns.server.run import banner, serve, Server
from kdns.server.sockets import Sharing


def run(words: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    if any(word.lstrip("-").partition("=")[0] == "localip" for word in words):  # NodeLocal DNSCache's
        from kdns.server.node_local import prepared

        with prepared(words) as left:
            return _serve(left)
    return _serve(words)


def _serve(words: list[str]) -> int:
    parser = flags_of_all()
    parser.add_argument("--manifests", nargs="+", metavar="PATH", help="serve the cluster that these files describe")
    parser.add_argument("--lenient", action="store_true", help="take manifests that are almost right as they are")
    parser.add_argument("--pod-ips", metavar="CIDR", help="where Pods of workloads in manifests get addresses (10.244.0.0/16)")
    parser.add_argument(
        "--share-port", action="store_true",
        help="with --manifests: serve beside another kdns that has the port, each getting a part of the queries",
    )  # fmt: skip
    parser.add_argument("-pidfile", "--pidfile", metavar="FILE", help="where to write the process id")
    parser.add_argument("-plugins", "--plugins", action="store_true", help="list the plugins, in their order")
    parser.add_argument("-quiet", "--quiet", action="store_true", help="say nothing at start")
    parser.add_argument("-version", "--version", action="store_true", help="show the version")
    flags = parser.parse_args(words)
    if flags.version:
        print(f"kdns-{__version__}\n{sys.platform}/{platform.machine()}, Python {platform.python_version()}")
        return 0
    if flags.plugins:
        print("\n".join(f"dns.{name}" for name in plugins.ORDER if _served(name)))
        return 0
    if flags.manifests:
        if flags.conf:
            parser.error("-conf and --manifests exclude each other")
        port = 1053 if flags.port is None else flags.port
        options = ["lenient"] * flags.lenient + ([f'pod_ips "{flags.pod_ips}"'] if flags.pod_ips else [])
        text, path = laboratory(flags.manifests, port, options), ""
    else:
        port = 53 if flags.port is None else flags.port
        text, path = corefile(flags.conf, port)

    sharing = Sharing.REFUSED if flags.manifests and not flags.share_port else Sharing.TOLD

    def started(server: Server) -> None:
        if not flags.quiet:
            for line in (*banner(server.generation).splitlines(), *_hint(server.generation)):
                stdout().write(line)

    log_to_stdout()
    with _pidfile(flags.pidfile):
        try:
            asyncio.run(serve(text, path, port, started, sharing))
        finally:
            end_all()
    return 0


def _hint(generation: Generation) -> list[str]:
    """A line to try, where a cluster's Services are known."""
    for where, listener in generation.listeners.items():
        for block in (block for several in listener.blocks.values() for block in several):
            for plugin in block.plugins:
                if name := plugin[1].example():
                    return [f"Try: dig @{where.address or '127.0.0.1'} -p {where.port} {name.removesuffix('.')}"]
    return []


@contextlib.contextmanager
def _pidfile(path: str | None) -> Iterator[None]:
    """A file with the process id, for as long as the process lives."""
    if not path:
        yield
        return
    try:
        Path(path).write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise KdnsError(f"cannot write {path}: {error.strerror}") from None
    try:
        yield
    finally:
        Path(path).unlink(missing_ok=True)


def _served(name: str) -> bool:
    try:
        plugins.load(name)
    except KdnsError:
        return False
    return True
