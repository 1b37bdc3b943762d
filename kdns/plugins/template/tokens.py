"""Go's templates taken apart: text, and actions as tokens. No I/O."""

import re
from typing import Any, NamedTuple

_PIECE = re.compile(
    r"""\{\{(-\s)? ((?:"(?:[^"\\\n]|\\.)*" | `[^`]*` | '(?:[^'\\\n]|\\.)+' | /\*.*?\*/ | [^"`'}] | \}(?!\}))*?) (\s-)?\}\}""",
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(
    r"""(?P<space>\s+) | (?P<string>"(?:[^"\\\n]|\\.)*") | (?P<raw>`[^`]*`) | (?P<char>'(?:[^'\\\n]|\\.)+')
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?)) | (?P<variable>\$\w*) | (?P<field>\.[A-Za-z_]\w*)
    | (?P<name>[A-Za-z_]\w*) | (?P<mark>:=|[=|(),.])""",
    re.VERBOSE,
)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
WORDS = {"true": True, "false": False, "nil": None}


class Token(NamedTuple):
    kind: str
    text: str
    is_joined: bool  # no space before it


def pieces(source: str) -> list[str | list[Token]]:
    """Text and actions, by turns; an action as its tokens."""
    pieces: list[str | list[Token]] = []
    at, trims = 0, False
    for found in _PIECE.finditer(source):
        text = source[at : found.start()]
        pieces.append(_plain(_trimmed(text, trims, bool(found[1]))))
        pieces.append(_tokens(found[2]))
        at, trims = found.end(), bool(found[3])
    pieces.append(_plain(_trimmed(source[at:], trims, False)))
    return pieces


def _plain(text: str) -> str:
    if "{{" in text:
        raise ValueError("'{{' without '}}'")
    return text


def _trimmed(text: str, before: bool, after: bool) -> str:
    text = text.lstrip() if before else text
    return text.rstrip() if after else text


def _tokens(text: str) -> list[Token]:
    text = text.strip()
    if text.startswith("/*"):
        if not text.endswith("*/"):
            raise ValueError("a comment stands alone in its braces")
        return []
    tokens: list[Token] = []
    at, joined = 0, False
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"'{text[at]}' is not expected in '{text}'")
        if found.lastgroup != "space":
            tokens.append(Token(found.lastgroup or "", found[0], joined))
        joined = found.lastgroup != "space"
        at = found.end()
    if not tokens:
        raise ValueError("'{{}}' says nothing")
    return tokens


def constant(token: Token) -> Any:
    kind, text = token.kind, token.text
    if kind == "string":
        return _unquoted(text[1:-1])
    if kind == "raw":
        return text[1:-1]
    if kind == "char":
        return ord(_unquoted(text[1:-1]))
    if kind == "number":
        return float(text) if "." in text else int(text, 0 if "x" in text.lower() else 10)
    if kind == "name":
        return WORDS[text]
    raise ValueError(f"'{text}' is not expected")


def _unquoted(text: str) -> str:
    try:
        return re.sub(
            r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([0-7]{3})|(.))",
            lambda m: chr(int(m[1] or m[2], 16)) if m[1] or m[2] else chr(int(m[3], 8)) if m[3] else _ESCAPES.get(m[4], m[4]),
            text,
        )
    except ValueError:
        raise ValueError(f"'{text}' has an escape that is none") from None
