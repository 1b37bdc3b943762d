"""The functions and operators of expressions. All are bounded: what would grow beyond LARGEST is an error. No I/O."""

import math
import statistics
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address, ip_network, IPv4Network, IPv6Network
from typing import Any

_WORD = (1 << 63) - 1
DEEPEST = 20  # arrays within arrays
LARGEST = 10_000  # elements of an array, characters of a text


@lru_cache(1024)
def network(text: str) -> IPv4Network | IPv6Network:
    """ValueError where it is no prefix."""
    if "/" not in text:
        raise ValueError(f"'{text}' is not a prefix such as 10.0.0.0/8 or 2001:db8::/32")
    return ip_network(text, strict=False)


def in_network(address: str, prefix: str) -> bool:
    return ip_address(address) in network(prefix)


def text_of(value: Any) -> str:
    """As Go prints it."""
    if value is None or isinstance(value, bool):
        return {None: "<nil>", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bounded(size: int) -> int:
    if size > LARGEST:
        raise ValueError(f"more than {LARGEST} elements")
    return size


def span(low: int, high: int) -> list[int]:
    """`low..high`, both included."""
    _bounded(high - low)
    return list(range(low, high + 1))


def equal(one: Any, other: Any) -> bool:
    """Values of different kinds are not equal, but numbers."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def added(one: Any, other: Any) -> Any:
    if isinstance(one, str) != isinstance(other, str) or isinstance(one, list | dict):
        raise TypeError("+ is for numbers, or for texts")
    if isinstance(one, str):
        _bounded(len(one) + len(other))
    return one + other


def within(one: Any, other: Any) -> bool:
    """`in`: an element of an array, a key of a map."""
    return one in other if isinstance(other, dict) else any(equal(one, each) for each in other)


def item(of: Any, key: Any) -> Any:
    """`of[key]`: of a map None where it is not there; of an array from its end where negative."""
    return of.get(key) if isinstance(of, dict) else of[key]


def _get(of: Any, key: Any) -> Any:
    """The same, and None of an array that has no such place."""
    return item(of, key) if isinstance(of, dict) or -len(of) <= key < len(of) else None


def _remainder(one: int, other: int) -> int:
    return int(math.fmod(one, other))  # its sign is the dividend's, as in Go


def _repeat(text: str, times: int) -> str:
    _bounded(len(text) * times)
    return text * times


def _replace(text: str, old: str, new: str) -> str:
    _bounded(len(text) * (len(new) + 1))
    return text.replace(old, new)


def _round(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _split(text: str, by: str, most: int = 0) -> list[str]:
    return text.split(by, most - 1 if most > 0 else -1)


def _numbers(values: tuple[Any, ...]) -> list[Any]:
    """Of arrays and numbers; none is 0."""
    return _flat(list(values), 0) or [0]


def _flat(array: list[Any], depth: int) -> list[Any]:
    if depth > DEEPEST:
        raise ValueError(f"arrays more than {DEEPEST} levels deep")
    return [one for each in array for one in (_flat(each, depth + 1) if isinstance(each, list) else [each])]


def _places(said: list[Any]) -> list[int]:
    """Where a predicate is true."""
    return [at for at, yes in enumerate(said) if yes is True]


def _grouped(array: list[Any], said: list[Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for each, key in zip(array, said, strict=True):
        groups.setdefault(key, []).append(each)
    return groups


def _sorted_by(array: list[Any], said: list[Any]) -> list[Any]:
    return [array[at] for at in sorted(range(len(array)), key=said.__getitem__)]


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": equal,
    "!=": lambda one, other: not equal(one, other),
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
    "in": within,
    "contains": lambda one, other: other in one,
    "startsWith": lambda one, other: one.startswith(other),
    "endsWith": lambda one, other: one.endswith(other),
    "..": span,
    "+": added,
    "-": lambda one, other: one - other,
    "*": lambda one, other: float(one) * float(other) if isinstance(one, float) or isinstance(other, float) else one * int(other),
    "/": lambda one, other: one / other,
    "%": _remainder,
    "**": lambda one, other: float(one) ** float(other),
    "^": lambda one, other: float(one) ** float(other),
}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "incidr": in_network,
    "len": len,
    "trim": lambda text, chars=None: text.strip(chars),
    "trimPrefix": lambda text, prefix: text.removeprefix(prefix),
    "trimSuffix": lambda text, suffix: text.removesuffix(suffix),
    "upper": lambda text: text.upper(),
    "lower": lambda text: text.lower(),
    "split": _split,
    "replace": _replace,
    "repeat": _repeat,
    "indexOf": lambda text, part: text.find(part),
    "lastIndexOf": lambda text, part: text.rfind(part),
    "hasPrefix": lambda text, prefix: text.startswith(prefix),
    "hasSuffix": lambda text, suffix: text.endswith(suffix),
    "join": lambda array, by="": by.join(array),
    "int": int,
    "float": float,
    "string": text_of,
    "abs": abs,
    "ceil": lambda value: float(math.ceil(value)),
    "floor": lambda value: float(math.floor(value)),
    "round": _round,
    "max": lambda *values: max(values[0] if len(values) == 1 and isinstance(values[0], list) else values),
    "min": lambda *values: min(values[0] if len(values) == 1 and isinstance(values[0], list) else values),
    "sum": sum,
    "first": lambda array: array[0] if array else None,
    "last": lambda array: array[-1] if array else None,
    "take": lambda array, count: array[:count],
    "reverse": lambda array: array[::-1],
    "sort": lambda array, order="asc": sorted(array, reverse=order == "desc"),
    "uniq": lambda array: list(dict.fromkeys(array)),
    "concat": lambda *arrays: [each for array in arrays for each in array],
    "flatten": lambda array: _flat(array, 0),
    "mean": lambda *values: statistics.fmean(_numbers(values)),
    "median": lambda *values: statistics.median(_numbers(values)),
    "splitAfter": lambda text, by: [part + by for part in text.split(by)[:-1]] + text.split(by)[-1:],
    "get": _get,
    "toPairs": lambda of: [list(pair) for pair in of.items()],
    "fromPairs": dict,
    "bitand": lambda one, other: one & other,
    "bitor": lambda one, other: one | other,
    "bitxor": lambda one, other: one ^ other,
    "bitnand": lambda one, other: one & ~other,
    "bitnot": lambda one: ~one,
    "bitshl": lambda one, by: one << by & _WORD if 0 <= by < 64 else 0,
    "bitshr": lambda one, by: one >> min(by, 64),
    "keys": lambda of: list(of),
    "values": lambda of: list(of.values()),
}

# with a predicate: told of the array and of what the predicate says of each element
WITH_PREDICATE: dict[str, Callable[[list[Any], list[Any]], Any]] = {
    "all": lambda array, said: all(each is True for each in said),
    "any": lambda array, said: any(each is True for each in said),
    "one": lambda array, said: said.count(True) == 1,
    "none": lambda array, said: not any(each is True for each in said),
    "map": lambda array, said: said,
    "filter": lambda array, said: [each for each, yes in zip(array, said, strict=True) if yes is True],
    "count": lambda array, said: sum(each is True for each in said),
    "find": lambda array, said: next((array[at] for at in _places(said)), None),
    "findIndex": lambda array, said: next(iter(_places(said)), None),
    "findLast": lambda array, said: next((array[at] for at in reversed(_places(said))), None),
    "findLastIndex": lambda array, said: next(reversed(_places(said)), None),
    "groupBy": _grouped,
    "sortBy": _sorted_by,
}
