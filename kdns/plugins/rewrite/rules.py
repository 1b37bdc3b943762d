"""The rules of *rewrite*, one a directive: what each makes of a query, and what is then done to the reply. No I/O."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from kdns.config.patterns import Pattern
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Response
from kdns.plugins.rewrite.matching import dotted, Matching
from kdns.plugins.rewrite.replies import Names, put_back, suffix_put_back

Labels = Callable[[Query, str], str | None]  # what is known of a query, by name
Change = Callable[[Response], Response]


class NewTarget(NamedTuple):
    """The target of an alias in the reply becomes another, and what that has takes the place of what follows."""

    matching: Matching

    def target(self, old: str) -> str | None:
        """None where the alias stays as it is, as where the new target would be no name."""
        new = self.matching.replaced(old)
        try:
            return None if new is None else names.absolute(new)
        except ValueError:
            return None


class Rewritten(NamedTuple):
    """A query as it is now, and what is done to the reply, the last first."""

    query: Query
    changes: tuple[Change | NewTarget, ...] = ()


class NoName(Exception):
    """What a rule made of a name is none."""


class Rule(Protocol):
    @property
    def same_for_everyone(self) -> bool:
        """Does it not ask who asks, nor how?"""

    def apply(self, query: Query, labels: Labels) -> Rewritten | None:
        """None where the rule is not for the query; NoName."""


class NameRule:
    """Another name. `auto`: names in the reply are put back."""

    same_for_everyone = True

    def __init__(self, matching: Matching, auto: bool, changes: Sequence[Change]) -> None:
        self._matching = matching
        self._auto = auto and matching.kind != "suffix"
        ends = (Names(suffix_put_back(matching.to, matching.text)),) if auto and not self._auto else ()
        self._changes: tuple[Change, ...] = (*ends, *changes)

    def apply(self, query: Query, labels: Labels) -> Rewritten | None:
        replaced = self._replaced(query, labels)
        if replaced is None:
            return None
        try:
            name = names.absolute(replaced)
        except ValueError as error:
            raise NoName(str(error)) from None
        own = (Names(put_back(name, query.name)),) if self._auto else ()
        return Rewritten(query.instead(name, query.type, query.cls, query.edns), (*own, *self._changes))

    def _replaced(self, query: Query, labels: Labels) -> str | None:
        return self._matching.replaced(query.name)


class LabelledNameRule(NameRule):
    """Another name, where a regular expression fits, with what is known of the query in it."""

    same_for_everyone = False

    def __init__(self, matching: Matching, to: "Labelled", auto: bool, changes: Sequence[Change]) -> None:
        super().__init__(matching, auto, changes)
        self._to = to

    def _replaced(self, query: Query, labels: Labels) -> str | None:
        assert self._matching.pattern is not None
        found = self._matching.pattern.find(query.name)
        return None if found is None else self._to.filled(found, lambda name: labels(query, name))


class Labelled:
    """A text with places `{1}` for groups of a pattern, and `{plugin/label}`; ValueError where there is no such thing."""

    def __init__(self, text: str, pattern: Pattern) -> None:
        self._parts: list[str | int] = []
        self._labels: list[str | None] = []  # beside each part
        for literal, place in re.findall(r"([^{]*)(\{[^}]*\}?)?", text):
            if "}" in literal or (place and not place.endswith("}")):
                raise ValueError(f"'{text}' has a brace without its other one")
            self._add(literal.lower(), None)
            word = place[1:-1]
            if word.isdecimal() and int(word) > pattern.groups:
                raise ValueError(f"'{text}' names group {word}, and '{pattern.text}' has {pattern.groups}")
            if place and not word.isdecimal() and not is_label(word):
                raise ValueError(f"'{word}' is neither a group nor a label such as kubernetes/client-namespace")
            self._add(int(word) if word.isdecimal() else "", word if is_label(word) else None)

    def _add(self, part: str | int, label: str | None) -> None:
        if part != "" or label is not None:
            self._parts.append(part)
            self._labels.append(label)

    def filled(self, found: Sequence[str], value: Callable[[str], str | None]) -> str | None:
        """None where nothing is known by a label."""
        filled = []
        for part, label in zip(self._parts, self._labels, strict=True):
            text = value(label) if label is not None else part if isinstance(part, str) else found[part]
            if label is not None and not text:
                return None
            filled.append(text or "")
        return dotted("".join(filled))


def is_label(word: str) -> bool:
    """Is it a name such as `kubernetes/client-namespace`?"""
    plugin, slash, name = word.partition("/")
    return bool(plugin and slash and name) and not set(word) & set("{} ")


class TypeRule(NamedTuple):
    old: int
    new: int
    same_for_everyone: bool = True

    def apply(self, query: Query, labels: Labels) -> Rewritten | None:
        if query.type != self.old:
            return None
        return Rewritten(query.instead(query.name, self.new, query.cls, query.edns))


class ClassRule(NamedTuple):
    old: int
    new: int
    same_for_everyone: bool = True

    def apply(self, query: Query, labels: Labels) -> Rewritten | None:
        if query.cls != self.old:
            return None
        return Rewritten(query.instead(query.name, query.type, self.new, query.edns))


class ReplyRule(NamedTuple):
    """What is done to replies about some names, the query left as it is."""

    matching: Matching
    change: Change
    same_for_everyone: bool = True

    def apply(self, query: Query, labels: Labels) -> Rewritten | None:
        return Rewritten(query, (self.change,)) if self.matching.fits(query.name) else None


class TargetRule(NamedTuple):
    matching: Matching
    same_for_everyone: bool = True

    def apply(self, query: Query, labels: Labels) -> Rewritten | None:
        return Rewritten(query, (NewTarget(self.matching),))
