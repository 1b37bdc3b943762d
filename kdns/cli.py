"""The command line: CoreDNS's flags, and a short way to serve manifests.

Whatever keeps kdns from serving is one line on stderr, and exit status 1; a wrong flag is one line and 2.
"""

import argparse
import asyncio
import logging
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from kdns import __version__, plugins
from kdns.core.generation import Generation
from kdns.errors import KdnsError, one_line
from kdns.server.load import load, notes, read_corefile, summary
from kdns.server.run import banner, serve, Server

DEFAULT = ".:{port} {{\n    whoami\n    log\n}}\n"  # CoreDNS's own, where there is no Corefile

LABORATORY = """.:{port} {{
    bind {addresses}
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        manifests {paths}{options}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    loadbalance
}}
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"kdns: {message}; kdns -h shows the flags\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        if words[:1] == ["help"]:
            return _help(words[1:])
        if words[:1] == ["check"]:
            return _check(words[1:])
        if any(word.lstrip("-").partition("=")[0] == "localip" for word in words):  # NodeLocal DNSCache's
            from kdns.server.node_local import prepared

            with prepared(words) as left:
                return _serve(left)
        if words[:1] == ["demo"]:
            words = ["--manifests", _sample(), *words[1:]]
        return _serve(words)
    except KdnsError as error:
        print(f"kdns: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _flags() -> _Parser:
    parser = _Parser(
        prog="kdns",
        allow_abbrev=False,
        description="The DNS server of a Kubernetes cluster.",
        epilog="kdns check [-conf FILE] tries a Corefile without serving; kdns help PLUGIN shows a plugin's manual; "
        "kdns demo serves a small cluster to look at.",
    )
    parser.add_argument("-conf", "--conf", metavar="FILE", help="the Corefile; - for stdin (default: ./Corefile)")
    parser.add_argument(
        "-dns.port", "--dns.port", "-p", "--port", dest="port", type=_port, metavar="PORT",
        help="the port of zones that name none (default: 53; with --manifests 1053)",
    )  # fmt: skip
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port")
    return int(text)


def _serve(words: list[str]) -> int:
    parser = _flags()
    parser.add_argument("--manifests", nargs="+", metavar="PATH", help="serve the cluster that these files describe")
    parser.add_argument("--lenient", action="store_true", help="take manifests that are almost right as they are")
    parser.add_argument("--pod-ips", metavar="CIDR", help="where Pods of workloads in manifests get addresses (10.244.0.0/16)")
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
        text, path = _laboratory(flags.manifests, port, options), ""
    else:
        port = 53 if flags.port is None else flags.port
        text, path = _corefile(flags.conf, port)

    def started(server: Server) -> None:
        if not flags.quiet:
            print("\n".join([banner(server.generation), *_hint(server.generation)]), flush=True)

    log_to_stdout()
    with _pidfile(flags.pidfile):
        asyncio.run(serve(text, path, port, started))
    return 0


def _hint(generation: Generation) -> list[str]:
    """A line to try, where a cluster's Services are known."""
    for where, listener in generation.listeners.items():
        for block in (block for several in listener.blocks.values() for block in several):
            for plugin in block.plugins:
                if name := plugin[1].example():
                    return [f"Try: dig @{where.address or '127.0.0.1'} -p {where.port} {name.removesuffix('.')}"]
    return []


def _corefile(conf: str | None, port: int) -> tuple[str, str]:
    """The text of the Corefile, and its path where it can be read again."""
    if conf is None and not Path("Corefile").is_file():
        return DEFAULT.format(port=port), ""
    path = conf or "Corefile"
    return read_corefile(path), "" if path in ("-", "stdin") else path


def _laboratory(paths: list[str], port: int, options: Sequence[str] = ()) -> str:
    """A Corefile for manifests, on the machine's own addresses alone."""
    quoted = " ".join('"' + (path if path == "-" else os.path.abspath(path)).replace('"', '\\"') + '"' for path in paths)
    more = "".join(f"\n        {option}" for option in options)
    return LABORATORY.format(port=port, addresses=" ".join(_own_addresses()), paths=quoted, options=more)


def _sample() -> str:
    """The manifests of a small cluster: in the installed package, else where the source is."""
    installed = Path(__file__).parent / "zones"
    return str((installed if installed.is_dir() else Path(__file__).parents[1] / "zones") / "cluster.yaml")


def _own_addresses() -> list[str]:
    import socket

    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "::1"]


class _pidfile:
    """A file with the process id, for as long as the process lives."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def __enter__(self) -> None:
        if self._path:
            try:
                Path(self._path).write_text(f"{os.getpid()}\n")
            except OSError as error:
                raise KdnsError(f"cannot write {self._path}: {error.strerror}") from None

    def __exit__(self, *_: object) -> None:
        if self._path:
            Path(self._path).unlink(missing_ok=True)


def _check(words: list[str]) -> int:
    parser = _flags()
    parser.prog = "kdns check"
    flags = parser.parse_args(words)
    port = 53 if flags.port is None else flags.port
    text, path = _corefile(flags.conf, port)

    async def check() -> list[str]:
        generation = load(text, path or "Corefile", port)
        lines = [*notes(generation), *summary(generation)]
        await generation.close()
        return lines

    log_to_stdout()
    print("\n".join(asyncio.run(check())))
    return 0


def _help(words: list[str]) -> int:
    if len(words) != 1:
        _flags().error("help takes the name of a plugin")
    print(plugins.manual(words[0]).rstrip())
    return 0


def _served(name: str) -> bool:
    try:
        plugins.load(name)
    except KdnsError:
        return False
    return True


class _Lines(logging.Formatter):
    """Lines as CoreDNS writes them: `[INFO] plugin/reload: …`."""

    PREFIX = "kdns.plugins."

    def format(self, record: logging.LogRecord) -> str:
        origin = f"plugin/{record.name[len(self.PREFIX) :]}: " if record.name.startswith(self.PREFIX) else ""
        return f"[{record.levelname}] {origin}{super().format(record)}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(one_line, super().formatException(ei).split("\n")))


def log_to_stdout(level: int = logging.INFO) -> None:
    """Send the log of this process to stdout."""
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(_Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)
    logging.getLogger("kdns").setLevel(level)
    logging.raiseExceptions = False


