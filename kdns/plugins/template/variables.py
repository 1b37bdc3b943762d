"""The variables and conditions of *template*: expressions about the query and what its name was found to be. No I/O."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kdns.config.directive import Directive
from kdns.core.expressions.language import Node, Reader, RESERVED
from kdns.core.expressions.queries import CLIENT, FAILURES, KNOWN, known_of, MORE
from kdns.dns.query import Query

_KNOWN = {**KNOWN, "group": 1}


class Variables:
    """`var` and `expr` as a Corefile has them; each variable may use those before it, a condition all.

    CorefileError, with the line, for what cannot be read.
    """

    def __init__(self, variables: Iterable[Directive], conditions: Iterable[Directive]) -> None:
        self._variables: dict[str, Node] = {}
        for o in variables:
            name = o.args[0]
            if not name.isidentifier() or not name.isascii():
                raise o.refused(f"'{name}' is no name of a variable")
            if name in RESERVED or name in _KNOWN:
                raise o.refused(f"'{name}' is a word of the language")
            self._variables[name] = self._read(o, o.args[1:])
        self._conditions = [self._read(o, o.args) for o in conditions]
        asked = frozenset[str]().union(*[node.needs for node in (*self._variables.values(), *self._conditions)])
        self.ask_more = bool(asked & (MORE | {CLIENT}))  # than the question
        self.decide = self.ask_more and bool(self._conditions)  # by that whether the query is taken

    def __bool__(self) -> bool:
        return bool(self._variables or self._conditions)

    def _read(self, o: Directive, words: tuple[str, ...]) -> Node:
        try:
            return Reader(" ".join(words), _KNOWN, self._variables).read()
        except RecursionError:
            raise o.refused("it is too long") from None
        except ValueError as error:
            raise o.refused(str(error)) from None

    def of(
        self, query: Query, match: tuple[str, ...], groups: Mapping[str, str], label: Callable[[Query, str], str | None]
    ) -> dict[str, Any] | None:
        """The values of the variables; None where a condition is not true. ValueError where one cannot be told."""
        asked = known_of(query, label)

        def known(name: str, *words: Any) -> Any:
            if name != "group":
                return asked(name, *words)
            (which,) = words
            return groups.get(which, "") if isinstance(which, str) else match[which] if 0 <= which < len(match) else ""

        values: dict[str, Any] = {}
        try:
            for name, node in self._variables.items():
                values[name] = node.run(known, values)
            return values if all(node.run(known, values) is True for node in self._conditions) else None
        except FAILURES as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None
