"""The Corefile: text to server blocks and directives, each with its file and line.

The grammar is CoreDNS's (corefile(5)), which is Caddy's first: words in lines, `{` at the end of a line, `}` at the
start of one, double quotes (only `\\"` is an escape, a quoted word may span lines), `#` to the end of the line,
`{$NAME}` and `{%NAME%}` from the environment (`{$NAME:default}` too), snippets `(name) { … }`, and `import` of a
snippet, a file or a pattern. So a backquote or a backslash at the end of a line is a word like any other, and `import`
takes one argument. Zones may be separated by commas.

Text becomes lines, import puts lines in place of a line, lines become blocks of directives (see `directive`). No I/O: the
caller brings `Files`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from kdns.config.directive import did_you_mean, Directive, error_at
from kdns.config.values import keys, PORTS, ZoneKey
from kdns.errors import CorefileError, FileError

MAX_NESTING = 16  # of blocks, and of imports
MAX_IMPORTS = 10_000  # as CoreDNS has it
MAX_IMPORTED_LINES = 500_000  # a ConfigMap (1 MiB) holds fewer


class Files(Protocol):
    """How `import` reads files."""

    def read(self, path: str) -> str:
        """The text of a file; FileError where it cannot be read."""

    def glob(self, pattern: str) -> list[str]:
        """The paths that match."""


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """The plugins that serve some zones, as written; directives of one name may come several times."""

    keys: tuple[ZoneKey, ...]
    directives: tuple[Directive, ...]
    file: str
    line: int



def parse(
    text: str,
    filename: str,
    files: Files,
    dns_port: int = PORTS["dns"],
    environ: Mapping[str, str] = os.environ,
) -> list[ServerBlock]:
    """The server blocks of a Corefile, none where it is empty; CorefileError is all that it raises.

    `dns_port` is for zones that name neither port nor another scheme. `filename` is shown in errors as it stands, and
    its folder is where a relative `import` looks.
    """
    blocks = list(_Parser(text, filename, files, dns_port, environ).blocks())
    _refuse_twice(blocks)
    return blocks


def _refuse_twice(blocks: list[ServerBlock]) -> None:
    """Two blocks may share zone and port only where each is bound to addresses of its own, or is a *view*."""
    seen: dict[ZoneKey, dict[str, ServerBlock]] = {}
    for block in blocks:
        if any(directive.name == "view" for directive in block.directives):
            continue
        bound = [host for directive in block.directives if directive.name == "bind" for host in directive.args] or [""]
        for key in block.keys:
            hosts = seen.setdefault(key, {})
            for host in dict.fromkeys(bound):
                other = hosts.get(host) or hosts.get("") or (not host and next(iter(hosts.values()), None))
                if other:
                    where = f"the server block at {other.file}:{other.line}"
                    raise error_at(block.file, block.line, f"{key} is already served by {where}")
            hosts.update(dict.fromkeys(bound, block))


# Text to lines.


@dataclass(frozen=True, slots=True)
class _Line:
    """Some words; or `}` alone, without words. `opens`: a `{` ends the line."""

    words: tuple[str, ...]
    file: str
    number: int
    opens: bool = False
    closes: bool = False

    def error(self, message: str) -> CorefileError:
        return error_at(self.file, self.number, message)


_TOKEN = re.compile(
    r"""(?P<newline>\n) | [^\S\n]+ | \#[^\n]*
      | "(?P<quoted>(?:\\.|[^"\\])*+)" | (?P<unclosed>") | (?P<bare>[^\s#"][^\s#]*)""",
    re.VERBOSE | re.DOTALL,
)
_VARIABLE = re.compile(r"\{\$([^{}\s:]+)(?::([^{}]*))?\}|\{%([^{}%\s]+)%\}")


def _lines(text: str, file: str, environ: Mapping[str, str]) -> list[_Line]:
    """A file as lines, without those that are empty."""

    def value(match: re.Match[str]) -> str:
        return environ.get(match[1] or match[3], match[2] or "")

    lines: list[_Line] = []
    words: list[str] = []
    start = number = 1
    for token in _TOKEN.finditer(text.removeprefix("\ufeff").replace("\r\n", "\n")):
        kind, word = token.lastgroup, token[0]
        if not words:
            start = number
        if kind == "unclosed":
            raise error_at(file, number, "this quote is never closed")
        if kind == "bare" and word == "{":
            lines.append(_Line(tuple(words), file, start, opens=True))
            words = []
        elif kind == "bare" and word == "}":
            if words:
                raise error_at(file, number, "'}' must stand on a line of its own")
            lines.append(_Line((), file, start, closes=True))
        elif kind == "quoted":
            words.append(_VARIABLE.sub(value, token["quoted"].replace('\\"', '"')))
        elif kind == "bare":
            words.append(_VARIABLE.sub(value, word))
        elif kind == "newline" and words:
            lines.append(_Line(tuple(words), file, start))
            words = []
        number += word.count("\n")
    if words:
        lines.append(_Line(tuple(words), file, start))
    return lines


# Lines to blocks.


@dataclass(slots=True)
class _Source:
    """A file or a snippet that lines are being taken from; `depth` is how many braces were open where it began."""

    name: str
    lines: Iterator[_Line]
    depth: int


class _Parser:
    def __init__(self, text: str, filename: str, files: Files, dns_port: int, environ: Mapping[str, str]) -> None:
        self.files = files
        self.dns_port = dns_port
        self.environ = environ
        self.sources = [_Source(os.path.normpath(filename), iter(_lines(text, filename, environ)), 0)]
        self.snippets: dict[str, tuple[_Line, list[_Line]]] = {}
        self.known: dict[str, list[_Line]] = {}  # files already read, by path
        self.opened: list[_Line] = []
        self.ahead: _Line | None = None
        self.imports = self.imported_lines = 0

    def blocks(self) -> Iterator[ServerBlock]:
        while line := self.next():
            words, brace = self.key_words(line)
            if len(words) == 1 and re.fullmatch(r"\(.*\)", words[0][0], re.DOTALL):
                self.define_snippet(words[0][0][1:-1], line, brace)
                continue
            keys = tuple(key for word, at in words for key in self.keys(word, at))
            if not keys:
                raise line.error("a server block needs a zone before '{', such as '.'")
            yield ServerBlock(keys, self.directives(brace), line.file, line.number)

    def key_words(self, line: _Line) -> tuple[list[tuple[str, _Line]], _Line | None]:
        """The keys of a server block, to which a comma at the end of a line adds the next; and the line that opens it.

        None opens it where the Corefile has but one server block, and that without braces.
        """
        found: list[tuple[str, _Line]] = []
        comma = False
        while True:
            if line.closes:
                raise line.error("'}' without '{'")
            comma = line.words[-1].endswith(",") if line.words else comma
            found += [(word, line) for item in line.words for word in item.split(",") if word]
            following = None if line.opens else self.next()
            if comma and not following:
                raise line.error("another zone must follow the comma")
            if not following:
                return found, line if line.opens else None
            if not comma and (following.words or not following.opens):
                self.ahead = following
                return found, None
            line = following

    def keys(self, word: str, line: _Line) -> list[ZoneKey]:
        try:
            return keys(word, self.dns_port)
        except ValueError as error:
            raise line.error(str(error)) from None

    def directives(self, opener: _Line | None, plugin: str = "") -> tuple[Directive, ...]:
        """The directives up to the `}` that belongs to the opener, or without one, to the end."""
        found = []
        if opener:
            self.open(opener)
        while line := self.next():
            if line.closes:
                self.close(line)
                break
            if not line.words:
                raise line.error("'{' belongs at the end of the line before")
            name, args = line.words[0], line.words[1:]
            block = self.directives(line, plugin or name) if line.opens else ()
            found.append(Directive(name, args, block, line.file, line.number, plugin))
        return tuple(found)

    def define_snippet(self, name: str, line: _Line, brace: _Line | None) -> None:
        if not name or brace is None:
            raise line.error("a snippet is written '(name) {', its lines, and '}'")
        if name in self.snippets:
            first = self.snippets[name][0]
            raise line.error(f"snippet '{name}' is already defined at {first.file}:{first.number}")
        body: list[_Line] = []
        self.open(brace)
        while inner := self.next(expand=False):
            if inner.opens:
                self.open(inner)
            elif inner.closes:
                self.close(inner)
            if not self.opened:
                break
            body.append(inner)
        self.snippets[name] = line, body

    def open(self, line: _Line) -> None:
        if len(self.opened) >= MAX_NESTING:
            raise line.error(f"blocks are nested more than {MAX_NESTING} deep")
        self.opened.append(line)

    def close(self, line: _Line) -> None:
        """A file or a snippet closes what it opened, no more and no less: so an error can say where."""
        if len(self.opened) <= self.sources[-1].depth:
            raise line.error("'}' without '{'")
        self.opened.pop()

    def next(self, expand: bool = True) -> _Line | None:
        """The next line, with imports expanded, or None at the end."""
        if self.ahead:
            line, self.ahead = self.ahead, None
            return line
        while self.sources:
            source = self.sources[-1]
            found = next(source.lines, None)
            if found is None:
                if len(self.opened) > source.depth:
                    raise self.opened[-1].error("'{' is never closed")
                self.sources.pop()
            elif expand and found.words[:1] == ("import",):
                self.expand(found)
            else:
                self.imported_lines += len(self.sources) > 1
                if self.imported_lines > MAX_IMPORTED_LINES:
                    raise found.error(f"imports come to more than {MAX_IMPORTED_LINES} lines")
                return found
        return None

    def expand(self, line: _Line) -> None:
        """Put the lines of a snippet, or of the files that a pattern matches, in place of an import."""
        if len(line.words) != 2 or not line.words[1] or line.opens:
            raise line.error("import takes one snippet, file or pattern")
        self.imports += 1
        if self.imports > MAX_IMPORTS:
            raise line.error(f"more than {MAX_IMPORTS} imports")
        name = line.words[1]
        if name in self.snippets:
            self.push(f"({name})", self.snippets[name][1], line)
        else:
            path = os.path.normpath(os.path.join(os.path.dirname(line.file), name))
            paths = sorted(self.files.glob(path)) if re.search(r"[*?[]", path) else [path]
            self.push(path, [found for match in paths for found in self.read(match, line)], line)

    def read(self, path: str, line: _Line) -> list[_Line]:
        if path in self.known:
            return self.known[path]
        try:
            text = self.files.read(path)
        except FileError as error:
            hint = did_you_mean(line.words[1], self.snippets)
            why = f"no such file or snippet{hint}" if error.missing else error.why
            raise line.error(f"cannot import {path}: {why}") from None
        return self.known.setdefault(path, _lines(text, path, self.environ))

    def push(self, name: str, lines: list[_Line], line: _Line) -> None:
        chain = [source.name for source in self.sources]
        if name in chain:
            raise line.error(f"imports go in a circle: {' -> '.join([*chain[chain.index(name) :], name])}")
        if len(chain) > MAX_NESTING:
            raise line.error(f"imports are nested more than {MAX_NESTING} deep")
        self.sources.append(_Source(name, iter(lines), len(self.opened)))
