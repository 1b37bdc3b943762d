"""Options as a table: what a directive may say, declared once, beside the name under which a plugin reads it.

A plugin declares a frozen dataclass. Each field is an *option*, a line of the directive's block, with what reads it and its
default; one field may be the *argument*, what stands on the directive's own line. Parsing, the nearest known word for a
wrong one, and what `kdns check` says come from that table. A trailing underscore is not part of an option's name (`except_`).

A reader is a function from a Directive to a value; ValueError and CorefileError say what is wrong with it. Those below
are for the usual kinds; what a table cannot say is a function of the plugin's own. No I/O.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, Field, field, fields
from ipaddress import ip_address, ip_network, IPv4Network, IPv6Network
from typing import Any, NamedTuple, TypeVar

from kdns.config.directive import Directive
from kdns.errors import CorefileError

O = TypeVar("O")  # noqa: E741 - a dataclass of options
Reader = Callable[[Directive], Any]
Network = IPv4Network | IPv6Network


class Option(NamedTuple):
    """How one option is read. `note`: what a person should know who writes it; `many`: several lines of it add up."""

    read: Reader
    many: bool = False
    note: str = ""


class Read(NamedTuple):
    """What a directive says: its options, and a line for each that a person should know of."""

    options: Any
    notes: list[str]


def option(read: Reader, default: Any = None, *, many: bool = False, note: str = "") -> Any:
    """A field of a dataclass of options: a line of the block.

    Where the line stands twice the later one counts, as in CoreDNS; with `many` the values, tuples, are joined.
    """
    return field(default=default, metadata={"option": Option(read, many, note)})


def argument(read: Reader) -> Any:
    """The field for what stands on the directive's own line; without one it takes no arguments."""
    return field(default=None, metadata={"argument": read})


def lines(read: Reader) -> Any:
    """The field for lines of the block that are no option, all of them in their order: what each is read as, in a tuple.

    For what is a list rather than options: rules, records. `read` says what is wrong about a line that is neither.
    """
    return field(default=(), metadata={"lines": read})


@dataclass(frozen=True)
class NoOptions:
    """A directive that stands alone."""


def names_of(table: type) -> dict[str, Option]:
    """The options of a dataclass, by the name that a Corefile uses."""
    return {each.name.rstrip("_"): each.metadata["option"] for each in _fields(table) if "option" in each.metadata}


def read(table: type, directive: Directive) -> Read:
    """The options that a directive gives; CorefileError with a line for each thing that is wrong."""
    known = names_of(table)
    free = next(((each.name, each.metadata["lines"]) for each in _fields(table) if "lines" in each.metadata), None)
    values: dict[str, Any] = {}
    notes: list[str] = []
    wrong: list[str] = []
    try:
        values |= _argument(table, directive)
        if not known and free is None:
            directive.no_block()
    except CorefileError as error:
        wrong.append(str(error))
    for line in directive.block if known or free else ():
        try:
            if line.name not in known and free is not None:
                name, reader = free
                values[name] = (*values.get(name, ()), _value(reader, line))
                continue
            if line.name not in known:
                raise line.unknown(known)
            _take(line, known[line.name], values)
            if note := known[line.name].note:
                notes.append(str(line.error(note)))
        except CorefileError as error:
            wrong.append(str(error))
    if wrong:
        raise CorefileError("\n".join(wrong))
    by_field = {each.name: values[each.name.rstrip("_")] for each in _fields(table) if each.name.rstrip("_") in values}
    try:
        return Read(table(**by_field), notes)
    except ValueError as error:  # of __post_init__: options that exclude each other
        raise directive.error(str(error)) from None


def _fields(table: type) -> tuple[Field[Any], ...]:
    return fields(table)


def _argument(table: type, directive: Directive) -> dict[str, Any]:
    for each in _fields(table):
        if "argument" in each.metadata:
            return {each.name: _value(each.metadata["argument"], directive)}
    directive.no_args()
    return {}


def _take(line: Directive, option: Option, values: dict[str, Any]) -> None:
    value = _value(option.read, line)
    values[line.name] = values.get(line.name, ()) + value if option.many else value


def _value(read: Reader, line: Directive) -> Any:
    try:
        return read(line)
    except ValueError as error:
        raise line.refused(str(error)) from None


# ---------------------------------------------------------------- readers


def flag(o: Directive) -> bool:
    """The name alone."""
    o.no_args()
    return True


def word(o: Directive) -> str:
    """One word."""
    return o.one()


def words(low: int = 0, high: int | None = None) -> Reader:
    """So many words."""
    return lambda o: o.arguments(low, high)


def integer(low: int, high: int) -> Reader:
    return lambda o: o.integer(low, high)


def number(low: float, high: float, what: str = "") -> Reader:
    """A number that need not be whole; `what` says in an error what it should be."""

    def read(o: Directive) -> float:
        text = o.one()
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError(f"'{text}' is not {what or f'a number from {low:g} to {high:g}'}")
        return float(text)

    return read


def duration(low: float = 0, high: float | None = None) -> Reader:
    """Seconds, from what Go writes for them: 500ms, 1m30s, 30."""
    return lambda o: o.duration(low) if high is None else o.duration(low, high)


def choice(*known: str) -> Reader:
    """One of these words."""
    return lambda o: o.choice(known)


def zones(o: Directive) -> tuple[str, ...]:
    """Zones, and prefixes for their reverse zones; none where there are none."""
    return o.origins()


def some_zones(o: Directive) -> tuple[str, ...]:
    """One zone at least."""
    o.arguments(1)
    return o.origins()


def fallthrough(o: Directive) -> tuple[str, ...]:
    """The zones of `fallthrough [ZONES...]`: all names where none is given."""
    return o.origins(default=(".",))


def addresses(o: Directive) -> tuple[str, ...]:
    """IP addresses."""
    return tuple(str(_parsed(ip_address, text, "an IP address")) for text in o.arguments(1))


def address(o: Directive) -> str:
    """One IP address."""
    return str(_parsed(ip_address, o.one(), "an IP address"))


def networks(o: Directive) -> tuple[Network, ...]:
    """Prefixes; a bare address is one of full length."""
    return tuple(_parsed(_network, text, "a prefix such as 10.0.0.0/8 or 2001:db8::/32") for text in o.arguments(1))


def listen(default: str) -> Reader:
    """Where to listen by HTTP: `:8080`, `localhost:8080`, `[::1]:8080`, checked and as it is written."""

    def read(o: Directive) -> str:
        o.address(default)
        return o.optional(default)

    return read


def tls_files(o: Directive) -> tuple[str, str, str]:
    """Paths of `[CERT KEY] [CA]`, empty where there is none: the certificate to show, its key, the CA to trust."""
    paths = list(o.arguments(0, 3))
    ca = paths.pop() if len(paths) % 2 else ""
    cert, key = paths or ("", "")
    return cert, key, ca


def _network(text: str) -> Network:
    return ip_network(text, strict=False)


def _parsed(parse: Callable[[str], Any], text: str, what: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"'{text}' is not {what}") from None
