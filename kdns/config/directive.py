"""A directive of a Corefile, and its arguments one by one.

What a directive means is its plugin's affair, which says so by a table (see `options`); the methods of `Directive` are what
the readers of such a table are made of, so that errors are alike. No I/O.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from kdns.config.values import host_port, MAX_DURATION, octets, origins, seconds
from kdns.errors import CorefileError


@dataclass(frozen=True, slots=True)
class Directive:
    """A line of a server block, or of a block in it: a name, its arguments, and the block that it opens.

    `plugin` is the directive of the server block that this one stands below; empty where it is that directive itself.
    """

    name: str
    args: tuple[str, ...] = ()
    block: tuple["Directive", ...] = ()
    file: str = "Corefile"
    line: int = 1
    plugin: str = ""

    def error(self, message: str) -> CorefileError:
        """`Corefile:12: kubernetes: message`, to be raised."""
        return error_at(self.file, self.line, f"{self.plugin or self.name}: {message}")

    def unknown(self, known: Iterable[str]) -> CorefileError:
        """The error for a name that is none of the known options (or, in a server block, plugins)."""
        hint = did_you_mean(self.name, known)
        if self.plugin:
            return self.error(f"unknown option '{self.name}'{hint}")
        return error_at(self.file, self.line, f"unknown plugin '{self.name}'{hint}")

    def arguments(self, low: int = 0, high: int | None = None) -> tuple[str, ...]:
        """The arguments, which must be `low` to `high` in number. An option that is read so has no block."""
        if self.plugin and self.block:
            raise self.error(f"{self.name} takes no block")
        count = len(self.args)
        if count < low or (high is not None and count > high):
            wanted = str(low) if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            nouns = "argument" if wanted in ("1", "at least 1", "0 to 1") else "arguments"
            raise self.refused(f"takes {'no' if wanted == '0' else wanted} {nouns}, has {count or 'none'}")
        return self.args

    def no_args(self) -> None:
        self.arguments(0, 0)

    def no_block(self) -> None:
        if self.block:
            raise self.refused("takes no block")

    def one(self) -> str:
        """The one argument."""
        return self.arguments(1, 1)[0]

    def optional(self, default: str = "") -> str:
        """The one argument, or the default where there is none."""
        return (*self.arguments(0, 1), default)[0]

    def integer(self, low: int, high: int, at: int | None = None) -> int:
        """The one argument, or the one at an index, as a whole number from low to high."""
        value = self._value(at)
        if not re.fullmatch("[+-]?[0-9]{1,18}", value) or not low <= int(value) <= high:
            raise self.refused(f"'{value}' is not a whole number from {low} to {high}")
        return int(value)

    def duration(self, low: float = 0, high: float = MAX_DURATION, at: int | None = None) -> float:
        """The one argument, or the one at an index, as seconds from low to high; see `seconds`."""
        value = self._value(at)
        try:
            found = seconds(value)
        except ValueError as error:
            raise self.refused(str(error)) from None
        if not low <= found <= high:
            limit = f"at least {low:g}s" if found < low else f"at most {high:g}s"
            raise self.refused(f"'{value}' is out of range: {limit}")
        return found

    def octets(self, low: str, high: str) -> int:
        """The one argument as a size, from one to another; see `octets`."""
        value = self.one()
        try:
            found = octets(value)
        except ValueError as error:
            raise self.refused(str(error)) from None
        if not octets(low) <= found <= octets(high):
            raise self.refused(f"'{value}' is not a size from {low} to {high}")
        return found

    def choice(self, words: Iterable[str], at: int | None = None) -> str:
        """The one argument, or the one at an index, which must be one of the words."""
        value, known = self._value(at), list(words)
        if value not in known:
            raise self.refused(f"'{value}' is none of {', '.join(known)}")
        return value

    def origins(self, default: Iterable[str] = (), start: int = 0) -> tuple[str, ...]:
        """The arguments from an index on as zones (see `origins`), or the default where there are none."""
        try:
            found = [zone for argument in self.args[start:] for zone in origins(argument)]
        except ValueError as error:
            raise self.refused(str(error)) from None
        return tuple(found or default)

    def address(self, default: str) -> tuple[str, int]:
        """The one argument, or the default, as host and port: `:8080`, `localhost:8080`, `[::1]:8080`."""
        try:
            return host_port(self.optional(default))
        except ValueError as error:
            raise self.refused(str(error)) from None

    def _value(self, at: int | None) -> str:
        return self.one() if at is None else self.arguments(at + 1)[at]

    def refused(self, message: str) -> CorefileError:
        """An error about the arguments, to be raised: for an option its name comes first."""
        return self.error(f"{self.name}: {message}" if self.plugin else message)


def error_at(file: str, line: int, message: str) -> CorefileError:
    """One line, whatever words of the Corefile are in it."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in f"{file}:{line}: {message}")
    return CorefileError(shown)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f", did you mean '{close[0]}'?" if close else ""
