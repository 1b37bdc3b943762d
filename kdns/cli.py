"""The command line: which command it names, and how whatever went wrong is told.

Whatever keeps kdns from its work is one line on stderr, and exit status 1; a wrong flag is one line and 2.
"""

import importlib
import os
import sys

from kdns.commands import COMMANDS
from kdns.errors import KdnsError


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    words = sys.argv[1:] if argv is None else argv
    name, rest = (words[0], words[1:]) if words[:1] and words[0] in COMMANDS else ("serve", words)
    try:
        status: int = importlib.import_module(f"kdns.commands.{name}").run(rest)
        return status
    except KdnsError as error:
        from kdns.commands.lines import say_error

        say_error(str(error))
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
