"""What Go's templates print, and their functions: of text, whole and broken numbers, truths, lists and maps. No I/O.

ValueError says what a function cannot take; some raise TypeError, IndexError or KeyError for values of another kind.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_VERB = re.compile(r"%([-+# 0]*)([0-9]{0,3})(?:\.([0-9]{1,3}))?(.)", re.DOTALL)


class _NoValue:
    """What is not in a map."""

    def __bool__(self) -> bool:
        return False


NO_VALUE = _NoValue()


def shown(value: Any) -> str:
    """A value as Go prints it."""
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return "true" if value else "false"
    if value is NO_VALUE or value is None:
        return "<no value>"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{shown(one)}" for key, one in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(shown, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, NO_VALUE)
        elif isinstance(key, int) and 0 <= key < len(value):
            value = value[key] if not isinstance(value, str) else value.encode()[key]
        else:
            raise ValueError(f"there is no {shown(key)} in {shown(value)}")
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if len(bounds) > 2 or any(not 0 <= bound <= len(value) for bound in bounds):
        raise ValueError(f"{shown(value)} has no such part")
    low, high = (*bounds, *(0, len(value))[len(bounds) :])
    return value[low:high]


def _equal(value: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("takes two values at least")
    return any(type(value) is type(other) and value == other for other in others)


def _less(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        raise ValueError(f"{shown(one)} and {shown(other)} are not alike")
    return bool(one < other)


def _print(*values: Any) -> str:
    out = ""
    for i, value in enumerate(values):
        if i and not isinstance(value, str) and not isinstance(values[i - 1], str):
            out += " "
        out += shown(value)
    return out


def _printf(form: str, *values: Any) -> str:
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if not rest:
            raise ValueError(f"'{form}' wants more values")
        value = rest.pop(0)
        if verb in "sv":
            text = shown(value)[: int(precision) if precision and verb == "s" else None]
            return f"{text:<{width or 0}}" if "-" in flags else f"{text:>{width or 0}}"
        if verb == "q":
            return json.dumps(shown(value), ensure_ascii=False)
        if verb in "xX" and isinstance(value, str):
            text = value.encode().hex()
            return text if verb == "x" else text.upper()
        if verb == "b":
            return format(value, f"{'0' if '0' in flags else ''}{width}b")
        if verb not in "dxXocfeg":
            raise ValueError(f"%{verb} is not known here")
        made: str = f"%{flags}{width}{'.' + precision if precision else ''}{verb}" % value
        return made

    text = _VERB.sub(one, form)
    if rest:
        raise ValueError(f"'{form}' wants fewer values")
    return text


def _parse_int(text: str, base: int, bits: int) -> int:
    """Go's ParseUint."""
    if not re.fullmatch("[0-9a-zA-Z]+", text):
        raise ValueError(f"'{text}' is not a number")
    number = int(text, base)
    if number >= 1 << (bits or 64):
        raise ValueError(f"{text} has more than {bits} bits")
    return number


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not value, "len": len, "index": _index, "slice": _slice, "print": _print,
    "println": lambda *values: " ".join(map(shown, values)) + "\n", "printf": _printf, "eq": _equal,
    "ne": lambda one, other: not _equal(one, other), "lt": _less, "gt": lambda one, other: _less(other, one),
    "le": lambda one, other: not _less(other, one), "ge": lambda one, other: not _less(one, other), "parseInt": _parse_int,
}  # fmt: skip
