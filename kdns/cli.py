"""The command line: which command it names, and how whatever went wrong is told.

Whatever keeps kdns from its work is one line on stderr, and exit status 1; a wrong flag is one line and 2.
"""

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from kdns.commands import COMMANDS
from kdns.errors import KdnsError

TLS = ("ssl", "asyncio.sslproto")  # asyncio imports them, used or not: 5 MB, a sixth of a resolver for a laptop


class _Later(ModuleType):
    """A module that is imported as soon as something in it is used; annotations name what is in it in quotes."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # only looked for, by whoever goes through all modules
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    for module in TLS:
        sys.modules.setdefault(module, _Later(module))
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
