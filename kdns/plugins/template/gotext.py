"""Go's text/template, as far as records need it: text with actions in double braces. No I/O.

There are fields and variables, pipelines, `if`, `with`, `range`, comments, `{{-` and `-}}`, and Go's functions but `call`, `html`,
`js` and `urlquery`, which are of no use in a record; no templates in templates, no `break` and `continue`. A template is compiled
once to functions of a scope; what is wrong with it then, or with what it is given later, is a ValueError.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kdns.plugins.template.functions import FUNCTIONS, NO_VALUE, shown
from kdns.plugins.template.tokens import constant, pieces, Token, WORDS

LONGEST = 65536  # characters of what is made: a record has no use for more

class Scope:
    """What a template sees: the dot, and variables."""

    __slots__ = ("dot", "variables")

    def __init__(self, dot: Any, variables: dict[str, Any]) -> None:
        self.dot, self.variables = dot, variables

    def within(self, dot: Any) -> "Scope":
        """The same with another dot."""
        return Scope(dot, self.variables)


class Fields(dict[str, Any]):
    """A mapping whose keys are all there are, as a struct's."""


Value = Callable[[Scope], Any]
Node = Callable[[Scope], str]


class Text:
    """A template. `fields` are all fields that it names, and "." where it takes the dot as a whole."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.fields: set[str] = set()
        self._pieces = pieces(source)
        self._at = 0
        self._declared = [("$", "$")]  # variables that can be seen here, by name; each has a slot of its own
        self._node, end = self._block(())
        assert not end

    def render(self, values: Mapping[str, Any]) -> str:
        """The text that these fields make of it."""
        try:
            return self._node(Scope(values, {"$": values}))
        except (TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:  # of a pipeline that does not fit
            raise ValueError(f"{type(error).__name__}: {error}") from None

    def _declare(self, name: str) -> str:
        slot = f"{name} {len(self._declared)}"
        self._declared.append((name, slot))
        return slot

    def _slot(self, name: str) -> str:
        for other, slot in reversed(self._declared):
            if other == name:
                return slot
        raise ValueError(f"{name} is not declared")

    # ------------------------------------------------------------ blocks

    def _block(self, ends: Sequence[str]) -> tuple[Node, list[Token]]:
        """All up to an action that begins with one of these words, and that action."""
        nodes: list[Node] = []
        declared = len(self._declared)
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if isinstance(piece, str):
                nodes.append(_text(piece))
                continue
            word = piece[0].text if piece and piece[0].kind == "name" else ""
            if word in ("end", "else"):
                if word not in ends:
                    raise ValueError(f"{{{{{word}}}}} without a beginning")
                del self._declared[declared:]
                return _joined(nodes), piece
            if piece:
                nodes.append(self._action(word, piece))
        if ends:
            raise ValueError("an {{end}} is missing")
        return _joined(nodes), []

    def _action(self, word: str, tokens: list[Token]) -> Node:
        if word in ("if", "with"):
            return self._branch(word, tokens[1:])
        if word == "range":
            return self._range(tokens[1:])
        if word in ("define", "template", "block", "break", "continue"):
            raise ValueError(f"{{{{{word}}}}} is not known here")
        name, value = self._pipeline(tokens)
        if not name:
            return lambda scope: shown(value(scope))

        def assign(scope: Scope) -> str:
            scope.variables[name] = value(scope)
            return ""

        return assign

    def _branch(self, word: str, tokens: list[Token]) -> Node:
        declared = len(self._declared)
        name, value = self._pipeline(tokens)
        then, end = self._block(("else", "end"))
        other: Node = _nothing
        if end[0].text == "else":
            if len(end) > 1:  # else if, else with
                other = self._branch(end[1].text, end[2:])
            else:
                other, _ = self._block(("end",))
        del self._declared[declared:]

        def choose(scope: Scope) -> str:
            found = value(scope)
            if name:
                scope.variables[name] = found
            if not found:
                return other(scope)
            return then(scope.within(found) if word == "with" else scope)

        return choose

    def _range(self, tokens: list[Token]) -> Node:
        declared = len(self._declared)
        names: list[str] = []
        if ":=" in [token.text for token in tokens]:
            at = [token.text for token in tokens].index(":=")
            names = [token.text for token in tokens[:at] if token.kind == "variable"]
            if [token.text for token in tokens[:at]] not in (names[:1], [*names[:1], ",", *names[1:2]]):
                raise ValueError("'range' is followed by $value := or $key, $value :=")
            names = [self._declare(name) for name in names]
            tokens = tokens[at + 1 :]
        _, value = self._pipeline(tokens)
        body, end = self._block(("else", "end"))
        other = self._block(("end",))[0] if end[0].text == "else" else _nothing
        del self._declared[declared:]

        def each(scope: Scope) -> str:
            found = value(scope)
            pairs: Iterable[tuple[Any, Any]]
            if isinstance(found, Mapping):
                pairs = sorted(found.items())
            elif isinstance(found, list | tuple):
                pairs = enumerate(found)
            elif found is None:
                pairs = ()
            else:
                raise ValueError(f"range over {shown(found)}, which is neither a list nor a map")
            out = []
            for pair in pairs:
                scope.variables.update(zip(names, pair[2 - len(names) :], strict=True))
                out.append(body(scope.within(pair[1])))
            return _bounded("".join(out)) if out else other(scope)

        return each

    # ------------------------------------------------------------ pipelines

    def _pipeline(self, tokens: list[Token]) -> tuple[str, Value]:
        """The slot of the variable that it is assigned to, or "", and its value."""
        name = ""
        if len(tokens) > 1 and tokens[0].kind == "variable" and tokens[1].text in (":=", "="):
            name = tokens[0].text
        rest = tokens[2:] if name else list(tokens)
        value = self._piped(rest)
        if rest:
            raise ValueError(f"'{rest[0].text}' is not expected")
        if not name:
            return "", value
        return self._declare(name) if tokens[1].text == ":=" else self._slot(name), value

    def _piped(self, rest: list[Token]) -> Value:
        value = self._command(rest, None)
        while rest and rest[0].text == "|":
            rest.pop(0)
            value = self._command(rest, value)
        return value

    def _command(self, rest: list[Token], last: Value | None) -> Value:
        """One function, method or value with its arguments; `last` is what was piped into it."""
        function = ""
        if rest and rest[0].kind == "name" and rest[0].text not in WORDS:
            function = rest.pop(0).text
            if function not in FUNCTIONS and function not in _LAZY:
                raise ValueError(f"function '{function}' is not known here")
        given = []
        while rest and rest[0].text not in ("|", ")"):
            given.append(self._operand(rest))
        if not function and not given:
            raise ValueError("a value is missing")
        if last is not None:
            given.append(last)
        if function in _LAZY:
            return _LAZY[function](given)
        if function:
            return _called(FUNCTIONS[function], function, given)
        return _applied(given[0], given[1:])

    def _operand(self, rest: list[Token]) -> Value:
        token = rest.pop(0)
        value: Value
        if token.kind == "name" and token.text not in WORDS:
            if token.text not in FUNCTIONS:
                raise ValueError(f"function '{token.text}' is not known here")
            value = _called(FUNCTIONS[token.text], token.text, [])
        elif token.kind == "variable":
            if token.text == "$" and not (rest and rest[0].kind == "field" and rest[0].is_joined):
                self.fields.add(".")
            value = _variable(self._slot(token.text))
        elif token.kind == "field":
            self.fields.add(token.text[1:])
            value = _field(_dot, token.text[1:])
        elif token.text == ".":
            self.fields.add(".")
            value = _dot
        elif token.text == "(":
            value = self._piped(rest)
            if not rest or rest.pop(0).text != ")":
                raise ValueError("a ')' is missing")
        else:
            return _fixed(constant(token))
        while rest and rest[0].kind == "field" and rest[0].is_joined:
            self.fields.add(rest[0].text[1:])
            value = _field(value, rest.pop(0).text[1:])
        return value


def _joined(nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else lambda scope: _bounded("".join([node(scope) for node in nodes]))


def _bounded(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"it comes to more than {LONGEST} characters")
    return text


def _text(text: str) -> Node:
    return lambda scope: text


_nothing = _text("")


def _dot(scope: Scope) -> Any:
    return scope.dot


def _fixed(value: Any) -> Value:
    return lambda scope: value


def _variable(slot: str) -> Value:
    return lambda scope: scope.variables[slot]


def _field(value: Value, name: str) -> Value:
    def field(scope: Scope) -> Any:
        there = value(scope)
        if not isinstance(there, Mapping) or (isinstance(there, Fields) and name not in there):
            raise ValueError(f"there is no field .{name}")
        return there.get(name, NO_VALUE)

    return field


def _applied(value: Value, arguments: list[Value]) -> Value:
    """A value, or what a function comes to that is a field."""

    def applied(scope: Scope) -> Any:
        found = value(scope)
        if callable(found):
            return found(*[argument(scope) for argument in arguments])
        if arguments:
            raise ValueError(f"{shown(found)} is no function and has arguments")
        return found

    return applied


def _called(function: Callable[..., Any], name: str, arguments: list[Value]) -> Value:
    def called(scope: Scope) -> Any:
        try:
            return function(*[argument(scope) for argument in arguments])
        except (TypeError, IndexError, KeyError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None

    return called


def _and(arguments: list[Value]) -> Value:
    def all_or_first(scope: Scope) -> Any:
        found: Any = None
        for argument in arguments:
            if not (found := argument(scope)):
                break
        return found

    return all_or_first


def _or(arguments: list[Value]) -> Value:
    def first_or_last(scope: Scope) -> Any:
        found: Any = None
        for argument in arguments:
            if found := argument(scope):
                break
        return found

    return first_or_last


_LAZY = {"and": _and, "or": _or}  # what they do not need is not asked
