"""From the words of a Corefile to a rule. ValueError says what is wrong. No I/O."""

from collections.abc import Callable

from kdns.config.directive import did_you_mean, Directive
from kdns.config.patterns import Pattern
from kdns.dns.types import RCODES, type_number
from kdns.plugins.rewrite.edns import edns_rule
from kdns.plugins.rewrite.matching import KINDS, Matching, matching, replacing
from kdns.plugins.rewrite.replies import Names, Rcode, Renaming, Ttl
from kdns.plugins.rewrite.rules import (
    Change,
    ClassRule,
    Labelled,
    LabelledNameRule,
    NameRule,
    ReplyRule,
    Rule,
    TargetRule,
    TypeRule,
)

CLASSES = {"IN": 1, "CH": 3, "HS": 4}
CODES = {**RCODES, 16: "BADSIG", 17: "BADKEY", 18: "BADTIME", 19: "BADMODE", 20: "BADNAME", 21: "BADALG", 22: "BADTRUNC"}
LARGEST_TTL = 2**31 - 1  # RFC 2181 8


def read_rule(o: Directive) -> tuple[Rule, bool]:
    """A rule, and whether it is the last where it fits. ValueError says what is wrong."""
    words = [*o.args]
    for line in o.block:
        if line.block or len(o.args) > 1:
            raise ValueError("a block stands alone, or after continue or stop")
        words += (line.name, *line.args)
    stop = words[:1] != ["continue"]
    if words and words[0].lower() in ("continue", "stop"):
        stop = words.pop(0).lower() == "stop"
    if not words:
        raise ValueError(f"what is to be rewritten? One of {', '.join(READERS)}")
    field, *rest = words
    if field == "answer":
        raise ValueError("answer stands after a name rule")
    if field.lower() not in READERS:
        raise ValueError(f"'{field}' is none of {', '.join(READERS)}{did_you_mean(field, READERS)}")
    return READERS[field.lower()](rest), stop


def _name_rule(words: list[str]) -> Rule:
    kind, (old, new), rest = _kind(words, "FROM", "TO")
    labelled = rest[:1] == ["metadata"]
    if labelled and kind != "regex":
        raise ValueError("metadata goes with regex")
    auto, changes = _answers(rest[labelled:])
    if labelled:
        return LabelledNameRule(matching(kind, old), Labelled(new, Pattern(old)), auto, changes)
    return NameRule(replacing(kind, old, new), auto or kind == "exact", changes)


def _kind(words: list[str], *wanted: str) -> tuple[str, list[str], list[str]]:
    """How names are matched (exact where nothing is said), the words that are wanted, and the rest."""
    after = len(wanted)
    kind = words[0].lower() if words and len(words) > after else "exact"
    if kind not in KINDS:
        raise ValueError(f"'{words[0]}' is none of {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    found = words[1:] if len(words) > after else words
    if len(found) < after:
        raise ValueError(f"takes [KIND] {' '.join(wanted)}, has {' '.join(found) or 'none'}; KIND is one of {', '.join(KINDS)}")
    return kind, found[:after], found[after:]


def _answers(words: list[str]) -> tuple[bool, list[Change]]:
    """What stands after a name rule: `answer auto`, `answer name FROM TO`, `answer value FROM TO`, `answer` once at least."""
    auto = named = False
    changes: list[Change] = []
    left = [*words]
    if left and left[0] != "answer":
        raise ValueError(f"'{left[0]}' stands where 'answer' is expected")
    while left:
        if left[0] == "answer":
            left.pop(0)
        kind = left.pop(0) if left else ""
        if kind == "auto":
            auto = True
        elif kind == "name" and left[:1] == ["auto"]:
            auto = bool(left.pop(0))
        elif kind in ("name", "value"):
            if len(left) < 2:
                raise ValueError(f"answer {kind} needs a regular expression and what takes its place")
            renamed = _renaming(replacing("regex", left.pop(0), left.pop(0)))
            named |= kind == "name"
            changes.append(Names(renamed, kind == "name", kind == "value"))
        else:
            raise ValueError(f"answer is followed by auto, name or value, not by '{kind}'")
    if auto and named:
        raise ValueError("answer auto and answer name exclude each other: keep one")
    return auto, changes


def _renaming(matching: Matching) -> Renaming:
    return lambda name: matching.replaced(name) or name


def _two(words: list[str], known: Callable[[str], int]) -> tuple[int, int]:
    if len(words) != 2:
        raise ValueError(f"takes two words, from and to, has {len(words)}")
    return known(words[0]), known(words[1])


def _class(word: str) -> int:
    if word.upper() not in CLASSES:
        raise ValueError(f"'{word}' is none of {', '.join(CLASSES)}")
    return CLASSES[word.upper()]


def _code(word: str) -> int:
    numbers = {text: number for number, text in CODES.items()} | {"BADVERS": 16}
    if word.upper() in numbers:
        return numbers[word.upper()]
    if not word.isdecimal() or int(word) > max(CODES):
        raise ValueError(f"'{word}' is none of {', '.join(numbers)}, nor a number up to {max(CODES)}")
    return int(word)


def _only(rest: list[str]) -> None:
    if rest:
        raise ValueError(f"'{rest[0]}' is one word too many")


def _ttl_rule(words: list[str]) -> Rule:
    kind, (of, ttl), rest = _kind(words, "NAME", "TTL")
    _only(rest)
    least, dash, most = ttl.partition("-")
    low, high = least or "0", (most or str(LARGEST_TTL)) if dash else least
    if ttl == "-" or not (low.isdecimal() and high.isdecimal()) or not int(low) <= int(high) < 2**32:
        raise ValueError(f"'{ttl}' is neither seconds nor a range of them such as 30-300, -30 or 30-")
    return ReplyRule(matching(kind, of), Ttl(min(int(low), LARGEST_TTL), min(int(high), LARGEST_TTL)))


def _rcode_rule(words: list[str]) -> Rule:
    kind, (of, old, new), rest = _kind(words, "NAME", "FROM", "TO")
    _only(rest)
    return ReplyRule(matching(kind, of), Rcode(_code(old), _code(new)))


def _target_rule(words: list[str]) -> Rule:
    kind, (old, new), rest = _kind(words, "FROM", "TO")
    _only(rest)
    if kind in ("exact", "regex"):
        return TargetRule(replacing(kind, old, new))
    return TargetRule(Matching(kind, old.lower(), new.lower()))


def _type_rule(words: list[str]) -> Rule:
    return TypeRule(*_two(words, type_number))


def _class_rule(words: list[str]) -> Rule:
    return ClassRule(*_two(words, _class))


READERS: dict[str, Callable[[list[str]], Rule]] = {
    "name": _name_rule,
    "type": _type_rule,
    "class": _class_rule,
    "ttl": _ttl_rule,
    "rcode": _rcode_rule,
    "cname": _target_rule,
    "edns0": edns_rule,
}
