"""Label selectors.

The text of a selector is Kubernetes' own: `env in (prod, dev), !legacy, tier = front`, each part of which must hold. An API
server takes the text as it stands; manifests are matched here. No I/O.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

Labels = Mapping[str, str] | None
Selector = Callable[[Labels], bool]


_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+)")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SIGNS = ("==", "!=", "=", "!", "<", ">", "(", ")", ",", "")


@lru_cache(256)
def parse(text: str) -> Selector:
    """A selector as a function of labels; ValueError with one line where the text is none. Empty text selects all."""
    parser = _Parser(text)
    requirements = parser.requirements()
    return lambda labels: all(holds(labels or {}) for holds in requirements)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[str] = [*_TOKEN.findall(text), ""]
        self.at = 0

    def requirements(self) -> list[Callable[[Mapping[str, str]], bool]]:
        out: list[Callable[[Mapping[str, str]], bool]] = []
        if self.tokens == [""]:
            return out
        while True:
            out.append(self._requirement())
            if not (comma := self._next()):
                return out
            if comma != ",":
                raise self._error(f"',' expected before '{comma}'")

    def _requirement(self) -> Callable[[Mapping[str, str]], bool]:
        if self._peek() == "!":
            self._next()
            absent = self._key()
            return lambda labels: absent not in labels
        key, sign = self._key(), self._peek()
        if sign in ("", ","):
            return lambda labels: key in labels
        self._next()
        if sign in ("=", "=="):
            value = self._value()
            return lambda labels: labels.get(key) == value
        if sign == "!=":
            value = self._value()
            return lambda labels: labels.get(key) != value
        if sign == "in":
            values = self._values()
            return lambda labels: labels.get(key) in values
        if sign == "notin":
            values = self._values()
            return lambda labels: labels.get(key) not in values
        if sign in ("<", ">"):
            return self._compare(key, 1 if sign == ">" else -1)
        raise self._error(f"'{sign}' is no operator: one of =, ==, !=, in, notin, <, > expected")

    def _compare(self, key: str, way: int) -> Callable[[Mapping[str, str]], bool]:
        limit = _integer(self._value())
        if limit is None:
            raise self._error("< and > take a whole number")

        def holds(labels: Mapping[str, str]) -> bool:
            number = _integer(labels.get(key, ""))
            return number is not None and way * number > way * limit

        return holds

    def _key(self) -> str:
        key = self._next()
        if key in _SIGNS or not _KEY.fullmatch(key):
            raise self._error(f"'{key}' is no label key" if key else "a label key is missing at the end")
        return key

    def _value(self) -> str:
        """A value; an empty one is written as nothing."""
        if self._peek() in ("", ",", ")"):
            return ""
        value = self._next()
        if value in _SIGNS or not _VALUE.fullmatch(value):
            raise self._error(f"'{value}' is no label value")
        return value

    def _values(self) -> frozenset[str | None]:
        if (bracket := self._next()) != "(":
            raise self._error(f"'(' expected after in and notin, not '{bracket}'")
        if self._peek() == ")":
            raise self._error("in and notin take at least one value")
        values: set[str | None] = {self._value()}
        while (sign := self._next()) == ",":
            values.add(self._value())
        if sign != ")":
            raise self._error("')' is missing")
        return frozenset(values)

    def _peek(self) -> str:
        return self.tokens[self.at]

    def _next(self) -> str:
        token = self.tokens[self.at]
        self.at += bool(token)
        return token

    def _error(self, why: str) -> ValueError:
        shown = " ".join(self.text.split())
        return ValueError(f"label selector '{shown}': {why}")


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None
