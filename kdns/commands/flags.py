"""The words of the command line: which flags there are for all who read a Corefile, and what is said of a wrong one."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A wrong flag is one line on stderr, and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"kdns: {message}; kdns -h shows the flags\n")


def parser() -> Parser:
    """The flags of whoever reads a Corefile."""
    parser = Parser(
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
