"""The language of expr-lang as far as a question about a query needs it, read into functions.

Nothing here evaluates Python: a text becomes a tree of `Node`s, each a function of what is known of the query and of the
variables in scope. ValueError says what is wrong with a text. No I/O.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kdns.config.directive import did_you_mean
from kdns.config.patterns import Pattern
from kdns.core.expressions.functions import FUNCTIONS, item, network, OPERATORS, WITH_PREDICATE

DEEPEST = 50  # brackets within each other

Known = Callable[..., Any]  # what is known of the query, by the name of a function and its arguments
Scope = Mapping[str, Any]  # variables; `#` is the element that a predicate is asked about
Run = Callable[[Known, Scope], Any]

_TOKEN = re.compile(
    r"""\s*(?:/\*.*?\*/\s*)*(?:
        (?P<number>0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
      | (?P<word>[A-Za-z_$][A-Za-z0-9_]*)
      | (?P<sign>\?\?|\?\.|\.\.|\*\*|==|!=|<=|>=|&&|\|\||[-+*/%^<>!?:()\[\]{},.#|;=])
      | (?P<end>$)
    )""",
    re.VERBOSE,
)  # fmt: skip
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}

_BINARY = {
    "|": 0, "||": 10, "or": 10, "&&": 15, "and": 15, "==": 20, "!=": 20, "<": 20, ">": 20, "<=": 20, ">=": 20, "in": 20,
    "matches": 20, "contains": 20, "startsWith": 20, "endsWith": 20, "..": 25, "+": 30, "-": 30, "*": 60, "/": 60, "%": 60,
    "**": 100, "^": 100, "??": 500,
}  # fmt: skip
_NEGATABLE = ("in", "matches", "contains", "startsWith", "endsWith")
_CONSTANTS = {"true": True, "false": False, "nil": None}
RESERVED = frozenset((*FUNCTIONS, *WITH_PREDICATE, *_CONSTANTS, *filter(str.isalpha, _BINARY), "let", "not", "if", "else"))


class Node(NamedTuple):
    """A part of an expression: a function, what it needs to know, and the parts that it is made of.

    It needs functions that tell of a query, by name, and variables from around it, each with `$` before its name.
    """

    run: Run
    needs: frozenset[str] = frozenset()
    parts: tuple["Node", ...] = ()
    constant: Any = ...  # its value, where that is written


def constant(value: Any) -> Node:
    return Node(lambda known, scope: value, constant=value)


def made(run: Run, *parts: Node, needs: frozenset[str] = frozenset()) -> Node:
    return Node(run, needs.union(*[part.needs for part in parts]), parts)


class Reader:
    """One expression, from its first token to its last.

    `known`: the functions that tell of a query, and how many values each takes; `variables`: what is in scope.
    """

    def __init__(self, text: str, known: Mapping[str, int], variables: Iterable[str] = ()) -> None:
        self._known = known
        self._tokens = list(_tokens(text))
        self._at = self._depth = 0
        self._variables = set(variables)

    def read(self) -> Node:
        node = self._statement()
        if self._peek() != ("end", ""):
            raise ValueError(f"'{self._peek()[1]}' is not expected there")
        return node

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _next(self) -> tuple[str, str]:
        self._at += 1
        return self._tokens[self._at - 1]

    def _is(self, *signs: str) -> bool:
        """Is one of these next? Then it is taken."""
        kind, token = self._peek()
        found = kind in ("sign", "word") and token in signs
        self._at += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._is(sign):
            raise ValueError(f"'{sign}' is expected where '{self._peek()[1]}' stands")

    def _statement(self) -> Node:
        if not self._is("let"):
            return self._expression()
        kind, name = self._next()
        if kind != "word":
            raise ValueError(f"let is followed by a name, not by '{name}'")
        self._expect("=")
        value = self._expression()
        self._expect(";")
        self._variables.add(name)
        rest = self._statement()
        return Node(
            lambda known, scope: rest.run(known, {**scope, name: value.run(known, scope)}),
            value.needs | rest.needs - {f"${name}"}, (value, rest),
        )  # fmt: skip

    def _expression(self, least: int = 0) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"it is more than {DEEPEST} levels deep")
        left = self._unary()
        while True:
            at = self._at
            negated = self._is("not")
            kind, operator = self._peek()
            if kind not in ("sign", "word") or _BINARY.get(operator, -1) < least or (negated and operator not in _NEGATABLE):
                self._at = at
                break
            self._next()
            left = self._binary(operator, left)
            if negated:
                left = _not(left)
        self._depth -= 1
        if not least and self._is("?"):
            return self._conditional(left)
        return left

    def _binary(self, operator: str, left: Node) -> Node:
        if operator == "|":
            _, name = self._next()
            self._expect("(")
            return self._call(name, (left,))
        right = self._expression(_BINARY[operator] + (operator not in ("**", "^")))
        if operator == "matches":
            return _matches(left, right)
        if operator in ("||", "or"):
            return made(lambda known, scope: _truth(left.run(known, scope)) or _truth(right.run(known, scope)), left, right)
        if operator in ("&&", "and"):
            return made(lambda known, scope: _truth(left.run(known, scope)) and _truth(right.run(known, scope)), left, right)
        if operator == "??":
            return made(
                lambda known, scope: right.run(known, scope) if (value := left.run(known, scope)) is None else value, left, right
            )
        work = OPERATORS[operator]
        return made(lambda known, scope: work(left.run(known, scope), right.run(known, scope)), left, right)

    def _conditional(self, test: Node) -> Node:
        yes = self._expression()
        self._expect(":")
        no = self._expression()
        return made(lambda known, scope: (yes if _truth(test.run(known, scope)) else no).run(known, scope), test, yes, no)

    def _unary(self) -> Node:
        if self._is("not", "!"):
            return _not(self._expression(50))
        if self._is("-"):
            value = self._expression(90)
            return made(lambda known, scope: -value.run(known, scope), value)
        self._is("+")
        return self._postfix(self._primary())

    def _postfix(self, node: Node) -> Node:
        while True:
            if self._is("["):
                node = self._item(node)
            elif self._is(".", "?."):
                kind, name = self._next()
                if kind != "word":
                    raise ValueError(f"a name is expected where '{name}' stands")
                node = _field(node, name)
            else:
                return node

    def _item(self, of: Node) -> Node:
        """What stands in brackets after a value: one element, or a slice."""
        first = constant(None) if self._peek()[1] == ":" else self._expression(1)
        if not self._is(":"):
            self._expect("]")
            return made(lambda known, scope: item(of.run(known, scope), first.run(known, scope)), of, first)
        last = constant(None) if self._peek()[1] == "]" else self._expression(1)
        self._expect("]")
        return made(lambda known, scope: of.run(known, scope)[first.run(known, scope) : last.run(known, scope)], of, first, last)

    def _primary(self) -> Node:
        kind, token = self._next()
        if kind == "number":
            digits = token.lower()
            whole = digits.isdecimal() or digits[:2] in ("0x", "0o", "0b")
            return constant(int(digits, 0 if digits[:1] == "0" and not digits.isdecimal() else 10) if whole else float(digits))
        if kind == "text":
            return constant(_unescaped(token))
        if kind == "word":
            return self._named(token)
        if token == "(":
            node = self._expression()
            self._expect(")")
            return node
        if token == "[":
            return self._array()
        if token == "{":
            return self._map()
        if token == "#":
            if "#" not in self._variables:
                raise ValueError("# stands in predicates only")
            return Node(lambda known, scope: scope["#"], frozenset(("$#",)))
        raise ValueError(f"a value is expected where '{token}' stands" if token else "it ends where a value is expected")

    def _named(self, name: str) -> Node:
        if name in _CONSTANTS:
            return constant(_CONSTANTS[name])
        if self._is("("):
            return self._call(name, ())
        if name not in self._variables and (name in self._known or name in FUNCTIONS or name in WITH_PREDICATE):
            raise ValueError(f"'{name}' is a function: brackets belong behind it")
        if name not in self._variables:
            raise ValueError(f"there is no variable '{name}'{did_you_mean(name, [*self._variables, *self._known])}")
        return Node(lambda known, scope: scope[name], frozenset((f"${name}",)))

    def _list(self, end: str) -> list[Node]:
        found = []
        while not self._is(end):
            found.append(self._expression())
            if not self._is(","):
                self._expect(end)
                break
        return found

    def _array(self) -> Node:
        nodes = self._list("]")
        return made(lambda known, scope: [node.run(known, scope) for node in nodes], *nodes)

    def _map(self) -> Node:
        nodes: dict[str, Node] = {}
        while not self._is("}"):
            kind, token = self._next()
            self._expect(":")
            nodes[_unescaped(token) if kind == "text" else token] = self._expression()
            if not self._is(","):
                self._expect("}")
                break
        return made(lambda known, scope: {key: node.run(known, scope) for key, node in nodes.items()}, *nodes.values())

    def _call(self, name: str, first: tuple[Node, ...]) -> Node:
        """A call whose bracket has been taken; `first` came by a pipe."""
        if name in WITH_PREDICATE:
            return self._with_predicate(name, first)
        nodes = [*first, *self._list(")")]
        if name in self._known:
            if len(nodes) != self._known[name]:
                raise ValueError(f"{name}() takes {'one value' if self._known[name] else 'nothing'} in its brackets")
            return made(
                lambda known, scope: known(name, *[node.run(known, scope) for node in nodes]), *nodes, needs=frozenset((name,))
            )
        if name not in FUNCTIONS:
            raise ValueError(f"there is no function '{name}'{did_you_mean(name, [*self._known, *FUNCTIONS, *WITH_PREDICATE])}")
        if name == "incidr" and len(nodes) == 2 and isinstance(nodes[1].constant, str):
            network(nodes[1].constant)  # is it one?
        work = FUNCTIONS[name]
        _check_count(name, work, nodes)
        return made(lambda known, scope: work(*[node.run(known, scope) for node in nodes]), *nodes)

    def _with_predicate(self, name: str, first: tuple[Node, ...]) -> Node:
        array = first[0] if first else self._expression()
        if not first:
            self._expect(",")
        before = set(self._variables)
        self._variables.add("#")
        braced = self._is("{")
        predicate = self._statement()
        self._variables = before
        if braced:
            self._expect("}")
        self._expect(")")
        work = WITH_PREDICATE[name]

        def run(known: Known, scope: Scope) -> Any:
            elements = array.run(known, scope)
            return work(elements, [predicate.run(known, {**scope, "#": each}) for each in elements])

        return Node(run, array.needs | predicate.needs - {"$#"}, (array, predicate))


def _check_count(name: str, work: Callable[..., Any], nodes: list[Node]) -> None:
    try:
        signature = inspect.signature(work)
    except ValueError:  # of some that are Python's own
        return
    try:
        signature.bind(*nodes)
    except TypeError:
        raise ValueError(f"{name}() does not take {len(nodes) or 'no'} values") from None


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while not found or found[-1][0] != "end":
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"'{text[at:].strip()[:20]}' is not understood")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _unescaped(token: str) -> str:
    if token[0] == "`":
        return token[1:-1]
    return _ESCAPE.sub(
        lambda m: chr(int(m[1] or m[2], 16)) if m[1] or m[2] else _ESCAPED.get(m[3], m[3]), token[1:-1]
    )


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("it is neither true nor false")
    return value


def _not(node: Node) -> Node:
    return made(lambda known, scope: not _truth(node.run(known, scope)), node)


def _field(node: Node, name: str) -> Node:
    return made(lambda known, scope: None if (of := node.run(known, scope)) is None else item(of, name), node)


def _matches(left: Node, right: Node) -> Node:
    if not isinstance(right.constant, str):
        raise ValueError("matches is followed by a regular expression between quotes")
    pattern = Pattern(right.constant)
    return made(lambda known, scope: pattern.matches(left.run(known, scope)), left)
