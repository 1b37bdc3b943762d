"""`kdns`: CoreDNS's flags, and a short way to serve manifests. Also NodeLocal DNSCache's arguments, where `-localip` is there."""

import asyncio
import contextlib
import os
import platform
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from kdns import __version__, plugins
from kdns.commands.corefiles import corefile, laboratory, NO_COREFILE, RESOLV_CONF
from kdns.commands.flags import Parser
from kdns.commands.flags import parser as flags_of_all
from kdns.commands.lines import log_to_stdout, say
from kdns.core.generation import Generation
from kdns.core.lines import end_all
from kdns.dns import names
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
    parser = _parser()
    flags = parser.read(words)
    if flags.version:
        print(f"kdns-{__version__}\n{sys.platform}/{platform.machine()}, Python {platform.python_version()}, {_build()}")
        return 0
    if flags.plugins:
        print("\n".join(f"dns.{name}" for name in (*plugins.ORDER, *plugins.elsewhere()) if _served(name)))
        return 0
    if not flags.manifests and (alone := [f"--{name}" for name in ("forward", "hosts") if getattr(flags, name)]):
        parser.error(f"{alone[0]} goes with --manifests; in a Corefile it is a plugin")
    log_to_stdout(flags.log_format, flags.quiet)
    if flags.manifests:
        if flags.conf:
            parser.error("-conf and --manifests exclude each other")
        port = 1053 if flags.port is None else flags.port
        options = ["lenient"] * flags.lenient + ([f'pod_ips "{flags.pod_ips}"'] if flags.pod_ips else [])
        text, path = laboratory(flags.manifests, port, options, flags.hosts or "", flags.forward or ""), ""
    else:
        port = 53 if flags.port is None else flags.port
        text, path = corefile(flags.conf, port)
    sharing = Sharing.REFUSED if flags.manifests and not flags.share_port else Sharing.TOLD
    with _written(flags.pidfile, os.getpid()), contextlib.ExitStack() as files:

        def started(server: Server) -> None:
            ports = [where.port for where in server.generation.listeners]
            files.enter_context(_written(flags.port_file, *ports[:1]))
            if not flags.quiet:
                told = [] if path or flags.conf or flags.manifests else [NO_COREFILE]
                say("\n".join([banner(server.generation), *told, *_hint(server.generation)]))

        try:
            asyncio.run(serve(text, path, port, started, sharing))
        finally:
            end_all()
    return 0


def _parser() -> Parser:
    parser = flags_of_all(epilog="kdns help lists the commands, such as kdns check, and the plugins.")
    parser.add_argument(
        "--manifests", nargs="+", action="extend", metavar="PATH", help="serve the cluster that these files describe"
    )
    parser.add_argument(
        "--forward", nargs="?", const=RESOLV_CONF, metavar="FILE|IP|NAME",
        help=f"with --manifests: who is asked for all other names ({RESOLV_CONF})",
    )  # fmt: skip
    parser.add_argument("--hosts", metavar="FILE", help="with --manifests: names as in /etc/hosts, before the cluster's")
    parser.switch("lenient", "with --manifests: take what is almost right as it is")
    parser.add_argument(
        "--pod-ips", type=_network, metavar="CIDR", help="with --manifests: where Pods of workloads get addresses (10.244.0.0/16)"
    )
    parser.switch("share-port", "with --manifests: serve beside another kdns on the port, each getting a part of the queries")
    parser.flag("pidfile", "FILE", "where to write the process id")
    parser.flag("port-file", "FILE", "where to write the port, once it is served")
    parser.switch("plugins", "list the plugins, in their order")
    parser.switch("quiet", "write warnings, errors and what plugins log of queries, and nothing else")
    parser.switch("version", "show the version")
    return parser


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is not a network such as 10.244.0.0/16") from None
    return text


def _hint(generation: Generation) -> list[str]:
    """A line to try, where a cluster's Services are known."""
    for where, listener in generation.listeners.items():
        for block in (block for several in listener.blocks.values() for block in several):
            for plugin in block.plugins:
                if name := plugin[1].example():
                    return [f"Try: dig @{where.address or '127.0.0.1'} -p {where.port} {name.removesuffix('.')}"]
    return []


@contextlib.contextmanager
def _written(path: str | None, *numbers: int) -> Iterator[None]:
    """A file with a number, for as long as it holds. It appears as a whole: whoever waits for it may read it at once."""
    if not path:
        yield
        return
    is_file = Path(path).is_file() or not Path(path).exists()  # else /dev/stdout, say
    try:
        new = f"{path}.new" if is_file else path
        Path(new).write_text("".join(f"{number}\n" for number in numbers))
        if is_file:
            os.replace(new, path)
    except OSError as error:
        raise KdnsError(f"cannot write {path}: {error.strerror}") from None
    try:
        yield
    finally:
        if is_file:
            Path(path).unlink(missing_ok=True)


def _served(name: str) -> bool:
    try:
        plugins.load(name)
    except KdnsError:
        return False
    return True


def _build() -> str:
    """Is what answers queries compiled (see hatch_build.py in the source), or plain Python?"""
    return "plain" if (names.__file__ or "").endswith(".py") else "compiled"
