"""The Corefile: text to server blocks and directives, each with its file and line.

The grammar is CoreDNS's (corefile(5)), which is Caddy's first: words in lines, `{` at the end of a line, `}` at the
start of one, double quotes (only `\\"` is an escape, a quoted word may span lines), `#` to the end of the line,
`{$NAME}` and `{%NAME%}` from the environment (`{$NAME:default}` too), snippets `(name) { … }`, and `import` of a
snippet, a file or a pattern. So a backquote or a backslash at the end of a line is a word like any other, and `import`
takes one argument. Zones may be separated by commas.

Text becomes lines, import puts lines in place of a line, lines become blocks. What a directive means is its plugin's
affair: the readers of `Directive` make that short and its errors alike. No I/O: the caller brings `Files`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Protocol

from kdns import names
from kdns.errors import CorefileError

PORTS = {"dns": 53, "tls": 853, "quic": 853, "grpc": 443, "https": 443, "https3": 443}  # by scheme

MAX_NESTING = 16  # of blocks, and of imports
MAX_IMPORTS = 10_000  # as CoreDNS has it
MAX_IMPORTED_LINES = 500_000  # a ConfigMap (1 MiB) holds fewer
MAX_DURATION = (2**63 - 1) / 1e9  # seconds; what Go's own duration holds


class Files(Protocol):
    """How `import` reads files."""

    def read(self, path: str) -> str:
        """The text of a file; OSError where it cannot be read, ValueError where it is no text."""

    def glob(self, pattern: str) -> list[str]:
        """The paths that match."""


@dataclass(frozen=True, slots=True)
class Directive:
    """A line of a server block, or of a block in it: a name, its arguments, and the block that it opens.

    `plugin` is the directive of the server block that this one stands below; empty where it is that directive itself.
    """

    name: str
    args: tuple[str, ...] = ()
    block: tuple["Directive", ...] = ()
    file: str = "Corefile"
    line: int = 1
    plugin: str = ""

    def error(self, message: str) -> CorefileError:
        """`Corefile:12: kubernetes: message`, to be raised."""
        return _error(self.file, self.line, f"{self.plugin or self.name}: {message}")

    def unknown(self, known: Iterable[str]) -> CorefileError:
        """The error for a name that is none of the known options (or, in a server block, plugins)."""
        hint = _did_you_mean(self.name, known)
        if self.plugin:
            return self.error(f"unknown option '{self.name}'{hint}")
        return _error(self.file, self.line, f"unknown plugin '{self.name}'{hint}")

    def arguments(self, low: int = 0, high: int | None = None) -> tuple[str, ...]:
        """The arguments, which must be `low` to `high` in number. An option that is read so has no block."""
        if self.plugin and self.block:
            raise self.error(f"{self.name} takes no block")
        count = len(self.args)
        if count < low or (high is not None and count > high):
            wanted = str(low) if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            nouns = "argument" if wanted in ("1", "at least 1", "0 to 1") else "arguments"
            raise self._refused(f"takes {'no' if wanted == '0' else wanted} {nouns}, has {count or 'none'}")
        return self.args

    def no_args(self) -> None:
        self.arguments(0, 0)

    def no_block(self) -> None:
        if self.block:
            raise self._refused("takes no block")

    def one(self) -> str:
        """The one argument."""
        return self.arguments(1, 1)[0]

    def optional(self, default: str = "") -> str:
        """The one argument, or the default where there is none."""
        return (*self.arguments(0, 1), default)[0]

    def integer(self, low: int, high: int, at: int | None = None) -> int:
        """The one argument, or the one at an index, as a whole number from low to high."""
        value = self._value(at)
        if not re.fullmatch("[+-]?[0-9]{1,18}", value) or not low <= int(value) <= high:
            raise self._refused(f"'{value}' is not a whole number from {low} to {high}")
        return int(value)

    def duration(self, low: float = 0, high: float = MAX_DURATION, at: int | None = None) -> float:
        """The one argument, or the one at an index, as seconds from low to high; see `seconds`."""
        value = self._value(at)
        try:
            found = seconds(value)
        except ValueError as error:
            raise self._refused(str(error)) from None
        if not low <= found <= high:
            limit = f"at least {low:g}s" if found < low else f"at most {high:g}s"
            raise self._refused(f"'{value}' is out of range: {limit}")
        return found

    def choice(self, words: Iterable[str], at: int | None = None) -> str:
        """The one argument, or the one at an index, which must be one of the words."""
        value, known = self._value(at), list(words)
        if value not in known:
            raise self._refused(f"'{value}' is none of {', '.join(known)}")
        return value

    def boolean(self) -> bool:
        """on, off, true or false; on where there is no argument."""
        if not self.arguments(0, 1):
            return True
        return self.choice(("on", "off", "true", "false")) in ("on", "true")

    def origins(self, default: Iterable[str] = (), start: int = 0) -> tuple[str, ...]:
        """The arguments from an index on as zones (see `origins`), or the default where there are none."""
        try:
            found = [zone for argument in self.args[start:] for zone in origins(argument)]
        except ValueError as error:
            raise self._refused(str(error)) from None
        return tuple(found or default)

    def address(self, default: str) -> tuple[str, int]:
        """The one argument, or the default, as host and port: `:8080`, `localhost:8080`, `[::1]:8080`."""
        try:
            return host_port(self.optional(default))
        except ValueError as error:
            raise self._refused(str(error)) from None

    def _value(self, at: int | None) -> str:
        return self.one() if at is None else self.arguments(at + 1)[at]

    def _refused(self, message: str) -> CorefileError:
        """An error about the arguments: for an option its name comes first."""
        return self.error(f"{self.name}: {message}" if self.plugin else message)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a server block: the zone (absolute, lower case) that it serves, how, and on which port."""

    scheme: str
    zone: str
    port: int

    def __str__(self) -> str:
        scheme = "" if self.scheme == "dns" else f"{self.scheme}://"
        return f"{scheme}{self.zone}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """The plugins that serve some zones, as written; directives of one name may come several times."""

    keys: tuple[Key, ...]
    directives: tuple[Directive, ...]
    file: str
    line: int

    @property
    def zones(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key.zone for key in self.keys))


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
    seen: dict[Key, dict[str, ServerBlock]] = {}
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
                    raise _error(block.file, block.line, f"{key} is already served by {where}")
            hosts.update(dict.fromkeys(bound, block))


# Values.

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


def seconds(text: str) -> float:
    """A duration as Go writes it (`500ms`, `1m30s`), a bare number being seconds; ValueError where it is none."""
    if re.fullmatch("[+-]?[0-9]+", text):
        return float(text)
    if not re.fullmatch(f"[+-]?(?:{_DURATION.pattern})+", text):
        raise ValueError(f"'{text}' is not a duration such as 5s, 1m30s or 500ms")
    size = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    return -size if text.startswith("-") else size


def host_port(text: str, port: int | None = None) -> tuple[str, int]:
    """`host:port`, `:port` (every address), `[v6]:port`, and with a default port also a bare host; else ValueError."""
    match = re.fullmatch(r"(?:\[([^][]+)\]|([^][:]*))(?::([0-9]{1,5}))?", text)
    if match is None and port is not None and text.count(":") > 1 and "[" not in text:
        return text, port
    if match is None or not text or (match[3] is None and port is None) or int(match[3] or port or 0) > 65535:
        raise ValueError(f"'{text}' is not an address and port such as 127.0.0.1:8080, [::1]:8080 or :8080")
    return match[1] or match[2], int(match[3]) if match[3] else port or 0


def origins(text: str) -> tuple[str, ...]:
    """A zone as plugins take it for an argument: one origin, or several for a prefix; ValueError where it is none."""
    return tuple(key.zone for key in _keys(text, 0))


def _keys(text: str, dns_port: int) -> list[Key]:
    """`[SCHEME://]ZONE[:PORT]`, where ZONE may be a prefix (10.0.0.0/17), which stands for reverse zones."""
    scheme, separator, rest = text.rpartition("://")
    scheme = scheme if separator else "dns"
    if scheme not in PORTS:
        raise ValueError(f"unknown scheme '{scheme}://', known are {', '.join(PORTS)}")
    zone, port = rest, dns_port if scheme == "dns" else PORTS[scheme]
    if match := re.fullmatch(r"(.*):([^:/]*)", rest, re.DOTALL):
        zone, digits = match[1], match[2]
        if not re.fullmatch("[0-9]{1,5}", digits) or int(digits) > 65535:
            raise ValueError(f"'{digits}' is not a port, in '{text}'")
        port = int(digits)
    return [Key(scheme, origin, port) for origin in _reverse_zones(zone) or [_origin(zone)]]


def _origin(zone: str) -> str:
    if not zone:
        raise ValueError("a zone is missing, write '.' for the root")
    if ":" in zone or re.search(r"\s", zone):
        raise ValueError(f"'{zone}' is neither a zone nor a prefix such as 10.0.0.0/8 or 2001:db8::/32")
    return names.absolute(zone)


def _reverse_zones(zone: str) -> list[str]:
    """The reverse zones of a prefix; several where it ends inside an octet (IPv4) or a nibble (IPv6); else none."""
    if not re.fullmatch(r"[0-9.]+/[0-9]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/[0-9]+", zone):
        return []
    try:
        network = ip_network(zone, strict=False)
    except ValueError:
        raise ValueError(f"'{zone}' is not a prefix such as 10.0.0.0/8 or 2001:db8::/32") from None
    step = 8 if network.version == 4 else 4
    bits = -(-network.prefixlen // step) * step
    above = (network.max_prefixlen - bits) // step
    return [
        names.reverse_name(subnet.network_address.packed).split(".", above)[-1]
        for subnet in network.subnets(new_prefix=bits)
    ]


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
        return _error(self.file, self.number, message)


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
            raise _error(file, number, "this quote is never closed")
        if kind == "bare" and word == "{":
            lines.append(_Line(tuple(words), file, start, opens=True))
            words = []
        elif kind == "bare" and word == "}":
            if words:
                raise _error(file, number, "'}' must stand on a line of its own")
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


def _error(file: str, line: int, message: str) -> CorefileError:
    """One line, whatever words of the Corefile are in it."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in f"{file}:{line}: {message}")
    return CorefileError(shown)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f", did you mean '{close[0]}'?" if close else ""


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

    def keys(self, word: str, line: _Line) -> list[Key]:
        try:
            return _keys(word, self.dns_port)
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
        except FileNotFoundError:
            hint = _did_you_mean(line.words[1], self.snippets)
            raise line.error(f"cannot import {path}: no such file or snippet{hint}") from None
        except OSError as error:
            raise line.error(f"cannot import {path}: {error.strerror or error}") from None
        except ValueError:
            raise line.error(f"cannot import {path}: it is not UTF-8 text") from None
        return self.known.setdefault(path, _lines(text, path, self.environ))

    def push(self, name: str, lines: list[_Line], line: _Line) -> None:
        chain = [source.name for source in self.sources]
        if name in chain:
            raise line.error(f"imports go in a circle: {' -> '.join([*chain[chain.index(name) :], name])}")
        if len(chain) > MAX_NESTING:
            raise line.error(f"imports are nested more than {MAX_NESTING} deep")
        self.sources.append(_Source(name, iter(lines), len(self.opened)))
