"""Regular expressions of a Corefile, and texts that their groups are put into.

They are Go's, which is RE2's syntax, and RE2 matches them: in time linear in what they are tried on, which are names that
anybody may make up. Python's own expressions take exponential time on some, and know others than Go. No I/O; the library is
loaded where the first expression is met.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

LONGEST = 10_000  # characters of an expression
_PLACE = re.compile(r"\{([0-9]{1,3})\}")


class Pattern:
    """A regular expression; ValueError where it is none. It is searched for anywhere in a text, as Go does it."""

    __slots__ = ("_search", "groups", "names", "text")

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError(f"the regular expression is over {LONGEST} characters long")
        compiled = _compile(text)
        self.text = text
        self.groups: int = compiled.groups
        self.names: dict[str, int] = dict(compiled.groupindex)  # groups that have a name
        self._search = compiled.search

    def matches(self, text: str) -> bool:
        return self._search(text) is not None

    def find(self, text: str) -> tuple[str, ...] | None:
        """What was found: the whole of it, then each group, empty where it has no part in it; None where nothing was."""
        found = self._search(text)
        return None if found is None else (found[0], *[group or "" for group in found.groups()])


class Template:
    """A text with places `{0}`, `{1}`, … for what a pattern found; ValueError where the pattern has no such group."""

    __slots__ = ("_parts",)

    def __init__(self, text: str, pattern: Pattern) -> None:
        parts: list[str | int] = list(_PLACE.split(text))
        for at in range(1, len(parts), 2):
            parts[at] = group = int(parts[at])
            if group > pattern.groups:
                raise ValueError(f"'{text}' names group {group}, and '{pattern.text}' has {pattern.groups}")
        self._parts = tuple(parts)

    def filled(self, found: Sequence[str]) -> str:
        return "".join([part if isinstance(part, str) else found[part] for part in self._parts])


@cache
def _compile(text: str) -> Any:
    import re2  # 3 MB, and only where a Corefile has an expression

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"'{text}' is no regular expression: {why}") from None
