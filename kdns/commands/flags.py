"""The words of the command line: which flags there are for all who read a Corefile, and what is said of a wrong one.

Flags are written as Go's programs take them, for a Pod's arguments were written for one: with one dash or two, a value after
`=` or as the next word, and switches as `-quiet`, `-quiet=true` or `-quiet=false`.
"""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from kdns.commands import COMMANDS
from kdns.config.directive import did_you_mean

TRUE = ("1", "t", "T", "true", "TRUE", "True")  # as Go's strconv.ParseBool has them
FALSE = ("0", "f", "F", "false", "FALSE", "False")


class Parser(argparse.ArgumentParser):
    """A wrong flag is one line on stderr, and exit status 2."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False, add_help=False)
        self._switches: set[str] = set()
        self.add_argument("-h", "-help", "--help", action="help", help="show this")
        self._switches |= {"h", "help"}

    def switch(self, name: str, help: str) -> None:
        """A flag that is on or off."""
        self._switches.add(name)
        self.add_argument(f"-{name}", f"--{name}", action="store_true", help=help)

    def flag(self, name: str, metavar: str, help: str) -> None:
        """A flag with a value, a text; None where it is not there."""
        self.add_argument(f"-{name}", f"--{name}", metavar=metavar, help=help)

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """What the words say."""
        given, others = self.parse_known_args([word for given in words if (word := self._switched(given))])
        if others:
            commands = COMMANDS if self.prog == "kdns" else {}
            near = did_you_mean(others[0].partition("=")[0], [*self._option_string_actions, *commands])
            self.error(f"unrecognized arguments: {' '.join(others)}{near}")
        return given

    def _switched(self, word: str) -> str:
        """`-quiet` for `-quiet=true`, nothing for `-quiet=false`."""
        flag, given, value = word.partition("=")
        name = flag.removeprefix("-").removeprefix("-")
        if not given or not flag.startswith("-") or name not in self._switches:
            return word
        if value not in (*TRUE, *FALSE):
            self.error(f"'{value}' is neither true nor false for -{name}")
        return flag if value in TRUE else ""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"kdns: {message}; {self.prog} -h shows the flags\n")


def parser(prog: str = "kdns", description: str = "The DNS server of a Kubernetes cluster.", epilog: str = "") -> Parser:
    """The flags of whoever reads a Corefile."""
    parser = Parser(prog, description, epilog)
    parser.flag("conf", "FILE", "the Corefile; - for standard input (./Corefile)")
    parser.add_argument(
        "-dns.port", "--dns.port", "-p", "--port", dest="port", type=_port, metavar="PORT",
        help="the port of zones that name none, 0 for any that is free (53; with --manifests 1053)",
    )  # fmt: skip
    parser.add_argument(
        "-log-format", "--log-format", choices=("text", "json"), default="text", help="how each line is written (text)"
    )
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port")
    return int(text)
