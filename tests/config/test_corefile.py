"""The Corefile's grammar, case by case; each kind of bad Corefile with its message; no text breaks the parser."""

import fnmatch
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdns.config.corefile import parse
from kdns.config.directive import Directive
from kdns.config.values import host_port, origins, seconds
from kdns.errors import CorefileError, FileError

KUBEADM = """
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""


class Memory(dict[str, str]):
    """Files by path."""

    def read(self, path: str) -> str:
        if path not in self:
            raise FileError(path, "no such file or directory", missing=True)
        if self[path] == "denied":
            raise FileError(path, "permission denied")
        if self[path] == "latin":
            raise FileError(path, "it is not UTF-8 text")
        return self[path]

    def glob(self, pattern: str) -> list[str]:
        return [path for path in self if fnmatch.fnmatchcase(path, pattern)]


def shape(directive: Directive) -> str:
    """A directive on one line: its words, and its block in braces."""
    words = " ".join([directive.name, *(f"<{arg}>" for arg in directive.args)])
    return f"{words} {{{'; '.join(map(shape, directive.block))}}}" if directive.block else words


def shapes(text: str, files: dict[str, str] | None = None, environ: dict[str, str] | None = None) -> list[str]:
    blocks = parse(text, "Corefile", Memory(files or {}), environ=environ or {})
    return [f"{' '.join(map(str, b.keys))}: {'; '.join(map(shape, b.directives))}" for b in blocks]


def refusal(text: str, files: dict[str, str] | None = None) -> str:
    with pytest.raises(CorefileError) as caught:
        parse(text, "Corefile", Memory(files or {}), environ={})
    return str(caught.value)


def test_kubeadm() -> None:
    assert [
        ".:53: errors; health {lameduck <5s>}; ready; "
        "kubernetes <cluster.local> <in-addr.arpa> <ip6.arpa> "
        "{pods <insecure>; fallthrough <in-addr.arpa> <ip6.arpa>; ttl <30>}; "
        "prometheus <:9153>; forward <.> </etc/resolv.conf> {max_concurrent <1000>}; "
        "cache <30> {disable <success> <cluster.local>; disable <denial> <cluster.local>}; loop; reload; loadbalance"
    ] == shapes(KUBEADM)


def test_lines_and_plugins_are_kept() -> None:
    (block,) = parse(KUBEADM, "/etc/coredns/Corefile", Memory())
    assert ("/etc/coredns/Corefile", 2) == (block.file, block.line)
    health = block.directives[1]
    assert ("health", 4, "") == (health.name, health.line, health.plugin)
    assert [Directive("lameduck", ("5s",), (), "/etc/coredns/Corefile", 5, "health")] == list(health.block)


GRAMMAR = {
    "nothing": ("", []),
    "only a comment": ("# a\n", []),
    "byte order mark": ("\ufeff. {\n}\n", [".:53: "]),
    "carriage returns": (". {\r\n log\r\n}\r\n", [".:53: log"]),
    "no final newline": (". {\nlog\n}", [".:53: log"]),
    "no braces": (".:1053\nlog\nhealth {\n lameduck 1s\n}\n", [".:1053: log; health {lameduck <1s>}"]),
    "a zone alone": ("example.org", ["example.org.:53: "]),
    "several blocks": (". {\nlog\n}\norg {\nerrors\n}\n", [".:53: log", "org.:53: errors"]),
    "several keys": ("a b,c, d:1 {\n}", ["a.:53 b.:53 c.:53 d.:1: "]),
    "keys over lines": ("a,\nb,\n\nc {\n}", ["a.:53 b.:53 c.:53: "]),
    "brace on the next line": (".\n{\nlog\n}", [".:53: log"]),
    "something after the brace": (". { log\nerrors { stacktrace\n}\n}", [".:53: log; errors {stacktrace}"]),
    "an empty block": (". {\nloadbalance { }\n}", [".:53: loadbalance"]),
    "a block after a brace": (". {\n} org {\n}", [".:53: ", "org.:53: "]),
    "braces in words": (". {\nlog {combined} a{ }b\n}", [".:53: log <{combined}> <a{> <}b>"]),
    "comments": (". { # a { b\n#}\nlog#ged it\nerrors # x\n}", [".:53: log; errors"]),
    "quotes": ('. {\nlog "a b" "" "#" "{"\n}', [".:53: log <a b> <> <#> <{>"]),
    "escapes in quotes": ('. {\nlog "a\\"b" "c\\d" "e\\\\"\n}', ['.:53: log <a"b> <c\\d> <e\\\\>']),
    "quotes over lines": ('. {\nlog "a\nb" c\nerrors\n}', [".:53: log <a\nb> <c>; errors"]),
    "a quote in a word": ('. {\nlog a"b c"d\n}', ['.:53: log <a"b> <c"d>']),
    "no backquotes, no continuation": (". {\nlog `a b` \\\nerrors\n}", [".:53: log <`a> <b`> <\\>; errors"]),
    "nested blocks": (". {\na {\nb {\nc d\n}\n}\n}", [".:53: a {b {c <d>}}"]),
    "a directive twice": (". {\nlog a\nlog b\n}", [".:53: log <a>; log <b>"]),
    "a Go template": (". {\ntemplate {\nanswer {{ .Name }}\n}\n}", [".:53: template {answer <{{> <.Name> <}}>}"]),
    "snippet": (
        "(s) {\nlog\ncache {\n serve_stale\n}\n}\n. {\nimport s\nloop\n}",
        [".:53: log; cache {serve_stale}; loop"],
    ),
    "snippet in a snippet": ("(a) {\nlog\n}\n(b) {\nimport a\nimport a\n}\n. {\nimport b\n}", [".:53: log; log"]),
    "snippet of an option": ("(s) {\nttl 5\n}\n. {\nkubernetes {\nimport s\n}\n}", [".:53: kubernetes {ttl <5>}"]),
    "snippet of a server block": ("(s) {\n. {\nlog\n}\n}\nimport s", [".:53: log"]),
    "same zone, other port or scheme": (". {\n}\n.:54 {\n}\ntls://. {\n}", [".:53: ", ".:54: ", "tls://.:853: "]),
    "same zone, other addresses": (". {\nbind ::1\n}\n. {\nbind ::2\n}", [".:53: bind <::1>", ".:53: bind <::2>"]),
    "same zone, a view": (". {\nview a {\nexpr b\n}\n}\n. {\n}", [".:53: view <a> {expr <b>}", ".:53: "]),
}


@pytest.mark.parametrize(("text", "expected"), GRAMMAR.values(), ids=GRAMMAR)
def test_grammar(text: str, expected: list[str]) -> None:
    assert expected == shapes(text)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("{$UP}", "9.9.9.9"),
        ("{%UP%}", "9.9.9.9"),
        ("a{$UP}b{$PORT}", "a9.9.9.9b53"),
        ("{$NONE}", ""),
        ("{$NONE:1.1.1.1:53}", "1.1.1.1:53"),
        ("{$UP:1.1.1.1}", "9.9.9.9"),
        ("{$SPACED}", "a { b"),
        ('"x {$UP}"', "x 9.9.9.9"),
        ("{$SELF}", "{$SELF}"),
        ("{remote}", "{remote}"),
        ("{$}", "{$}"),
    ],
)
def test_environment(word: str, expected: str) -> None:
    environ = {"UP": "9.9.9.9", "PORT": "53", "SPACED": "a { b", "SELF": "{$SELF}"}
    assert [f".:53: forward <{expected}>"] == shapes(f". {{\nforward {word}\n}}", environ=environ)


def test_environment_in_keys_names_and_imports() -> None:
    environ = {"ZONE": "org", "PORT": "54", "PLUGIN": "log", "FILE": "x"}
    text = "{$ZONE}:{$PORT} {\n{$PLUGIN}\nimport {$FILE}\n}"
    assert ["org.:54: log; loop"] == shapes(text, {"x": "loop"}, environ)


IMPORTS = {
    "a file in a block": (". {\nimport sub/a\n}", {"sub/a": "log\nloop"}, [".:53: log; loop"]),
    "a file of server blocks": ("import a\norg {\n}", {"a": ". {\nlog\n}"}, [".:53: log", "org.:53: "]),
    "a file of snippets": ("import a\n. {\nimport s\n}", {"a": "(s) {\nlog\n}"}, [".:53: log"]),
    "a pattern": (
        "import c/*.server\n. {\nimport c/*.override\n}",
        {"c/b.override": "loop", "c/a.override": "log", "c/x.server": "org {\n}"},
        ["org.:53: ", ".:53: log; loop"],
    ),
    "a pattern that matches nothing": (". {\nimport c/*.override\nlog\n}", {}, [".:53: log"]),
    "a pattern of many": (
        ". {\nimport c/*\n}",
        {f"c/{n:02}": f"log {n}" for n in range(30)},
        [".:53: " + "; ".join(f"log <{n}>" for n in range(30))],
    ),
    "relative to the file that imports": (
        ". {\nimport sub/a\n}",
        {"sub/a": "import b\nimport ../c", "sub/b": "log", "c": "loop"},
        [".:53: log; loop"],
    ),
    "absolute": (". {\nimport /etc/a\n}", {"/etc/a": "log"}, [".:53: log"]),
    "the same file twice": (". {\nimport a\nimport a\n}", {"a": "log"}, [".:53: log; log"]),
    "a snippet before a file of its name": ("(a) {\nlog\n}\n. {\nimport a\n}", {"a": "loop"}, [".:53: log"]),
}


@pytest.mark.parametrize(("text", "files", "expected"), IMPORTS.values(), ids=IMPORTS)
def test_import(text: str, files: dict[str, str], expected: list[str]) -> None:
    assert expected == shapes(text, files)


def test_imported_lines_keep_their_file() -> None:
    (block,) = parse(". {\nimport sub/a\n}", "conf/Corefile", Memory({"conf/sub/a": "\nlog"}))
    assert [("conf/sub/a", 2)] == [(d.file, d.line) for d in block.directives]


REFUSED = {
    ". {\nlog\n": "Corefile:1: '{' is never closed",
    ". {\nhealth {\n\n}\n": "Corefile:1: '{' is never closed",
    "a,\nb {\n": "Corefile:2: '{' is never closed",
    "(s) {\nlog\n": "Corefile:1: '{' is never closed",
    "}\n": "Corefile:1: '}' without '{'",
    ". {\n}\n}\n": "Corefile:3: '}' without '{'",
    ".\nlog\n}\n": "Corefile:3: '}' without '{'",
    ". {\nlog }\n}": "Corefile:2: '}' must stand on a line of its own",
    ". { whoami }": "Corefile:1: '}' must stand on a line of its own",
    ". {\nkubernetes\n{\n}\n}": "Corefile:3: '{' belongs at the end of the line before",
    "{\nlog\n}": "Corefile:1: a server block needs a zone before '{', such as '.'",
    '"" {\n}': "Corefile:1: a server block needs a zone before '{', such as '.'",
    "a, {\n}": "Corefile:1: another zone must follow the comma",
    "a,\n{\n}": "Corefile:2: another zone must follow the comma",
    "a,": "Corefile:1: another zone must follow the comma",
    '. {\nlog "a\nb\n}': "Corefile:2: this quote is never closed",
    ". {\n" + "a {\n" * 16: "Corefile:17: blocks are nested more than 16 deep",
    ". {\n}\na .:53 {\n}": "Corefile:3: .:53 is already served by the server block at Corefile:1",
    "a A. {\n}": "Corefile:1: a.:53 is already served by the server block at Corefile:1",
    "10.0.0.0/15 {\n}\n1.10.in-addr.arpa {\n}": (
        "Corefile:3: 1.10.in-addr.arpa.:53 is already served by the server block at Corefile:1"
    ),
    ". {\n}\n. {\nbind ::1\n}": "Corefile:3: .:53 is already served by the server block at Corefile:1",
    ". {\nbind ::1\n}\n. {\n}": "Corefile:4: .:53 is already served by the server block at Corefile:1",
    ". {\nbind ::1 ::2\n}\n. {\nbind ::2\n}": "Corefile:4: .:53 is already served by the server block at Corefile:1",
    "a,\nb..c {\n}": "Corefile:2: 'b..c.' is not a domain name: a label is empty",
    ":53 {\n}": "Corefile:1: a zone is missing, write '.' for the root",
    "dns:// {\n}": "Corefile:1: a zone is missing, write '.' for the root",
    ".:dns {\n}": "Corefile:1: 'dns' is not a port, in '.:dns'",
    ".:70000 {\n}": "Corefile:1: '70000' is not a port, in '.:70000'",
    ".: {\n}": "Corefile:1: '' is not a port, in '.:'",
    "udp://. {\n}": "Corefile:1: unknown scheme 'udp://', known are dns, tls, quic, grpc, https, https3",
    "10.0.0.0/33 {\n}": "Corefile:1: '10.0.0.0/33' is not a prefix such as 10.0.0.0/8 or 2001:db8::/32",
    "10.0/16 {\n}": "Corefile:1: '10.0/16' is not a prefix such as 10.0.0.0/8 or 2001:db8::/32",
    '"a b" {\n}': "Corefile:1: 'a b' is neither a zone nor a prefix such as 10.0.0.0/8 or 2001:db8::/32",
    '. {\n}\n"a\nb" {\n}': "Corefile:3: 'a\\nb' is neither a zone nor a prefix such as 10.0.0.0/8 or 2001:db8::/32",
    "bücher.example {\n}": "Corefile:1: 'bücher.example.' is not a domain name: what is not ASCII is written \\DDD",
    f"{'a' * 64} {{\n}}": (
        f"Corefile:1: '{'a' * 64}.' is not a domain name: a label is over 63 octets, or the name over 255"
    ),
    "()\n": "Corefile:1: a snippet is written '(name) {', its lines, and '}'",
    "(s)\nlog\n": "Corefile:1: a snippet is written '(name) {', its lines, and '}'",
    "(s) {\n}\n(s) {\n}": "Corefile:3: snippet 's' is already defined at Corefile:1",
    "import": "Corefile:1: import takes one snippet, file or pattern",
    ". {\nimport a b\n}": "Corefile:2: import takes one snippet, file or pattern",
    ". {\nimport a {\n}\n}": "Corefile:2: import takes one snippet, file or pattern",
    '. {\nimport ""\n}': "Corefile:2: import takes one snippet, file or pattern",
    ". {\nimport gone\n}": "Corefile:2: cannot import gone: no such file or snippet",
    "(common) {\n}\n. {\nimport comon\n}": (
        "Corefile:4: cannot import comon: no such file or snippet, did you mean 'common'?"
    ),
    ". {\nimport secret\n}": "Corefile:2: cannot import secret: permission denied",
    ". {\nimport latin\n}": "Corefile:2: cannot import latin: it is not UTF-8 text",
    ". {\nimport loop\n}": "loop:1: imports go in a circle: loop -> loop",
    ". {\nimport ping\n}": "pong:2: imports go in a circle: ping -> pong -> ping",
    "import Corefile": "Corefile:1: imports go in a circle: Corefile -> Corefile",
    "(s) {\nimport s\n}\n. {\nimport s\n}": "Corefile:2: imports go in a circle: (s) -> (s)",
    ". {\nimport chain0\n}": "chain15:1: imports are nested more than 16 deep",
    ". {\nimport open\n}": "open:1: '{' is never closed",
    ". {\nimport close\n}": "close:2: '}' without '{'",
}
BAD_FILES = {
    "secret": "denied",
    "latin": "latin",
    "loop": "import loop",
    "ping": "import pong",
    "pong": "log\nimport ping",
    "open": "health {",
    "close": "log\n}",
    "Corefile": "import Corefile",
    **{f"chain{n}": f"import chain{n + 1}" for n in range(20)},
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items())
def test_refused(text: str, expected: str) -> None:
    assert expected == refusal(text, BAD_FILES)


def test_imports_that_double_are_stopped() -> None:
    doubling = "".join(f"(s{n}) {{\nimport s{n + 1}\nimport s{n + 1}\n}}\n" for n in range(15))
    assert "more than 10000 imports" in refusal(doubling + "(s15) {\nlog\n}\n. {\nimport s0\n}")


def test_imports_of_too_many_lines_are_stopped() -> None:
    wide = "(s) {\n" + "log\n" * 5_000 + "}\n. {\n" + "import s\n" * 101 + "}"
    assert "Corefile:2: imports come to more than 500000 lines" == refusal(wide)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".", ["dns .:1053"]),
        ("Example.ORG", ["dns example.org.:1053"]),
        ("example.org.:53", ["dns example.org.:53"]),
        ("dns://.:0", ["dns .:0"]),
        ("tls://example.org", ["tls example.org.:853"]),
        ("quic://example.org", ["quic example.org.:853"]),
        ("https://example.org", ["https example.org.:443"]),
        ("https3://example.org", ["https3 example.org.:443"]),
        ("grpc://example.org:1443", ["grpc example.org.:1443"]),
        (r"a\.b.\195\188", [r"dns a\.b.\195\188.:1053"]),
        ("0/25.2.0.192.in-addr.arpa", ["dns 0/25.2.0.192.in-addr.arpa.:1053"]),
        ("10.0.0.0/8:53", ["dns 10.in-addr.arpa.:53"]),
        ("10.0.0.0/15", ["dns 0.10.in-addr.arpa.:1053", "dns 1.10.in-addr.arpa.:1053"]),
        ("2001:db8::/32:53", ["dns 8.b.d.0.1.0.0.2.ip6.arpa.:53"]),
    ],
)
def test_keys(text: str, expected: list[str]) -> None:
    (block,) = parse(f"{text} {{\n}}", "Corefile", Memory(), dns_port=1053)
    assert expected == [f"{key.scheme} {key.zone}:{key.port}" for key in block.keys]


@pytest.mark.parametrize(
    ("prefix", "count", "first", "last"),
    [
        ("0.0.0.0/0", 1, "in-addr.arpa.", "in-addr.arpa."),
        ("10.9.3.0/18", 64, "0.9.10.in-addr.arpa.", "63.9.10.in-addr.arpa."),
        ("10.0.0.0/17", 128, "0.0.10.in-addr.arpa.", "127.0.10.in-addr.arpa."),
        ("10.0.0.0/24", 1, "0.0.10.in-addr.arpa.", "0.0.10.in-addr.arpa."),
        ("10.0.0.128/27", 32, "128.0.0.10.in-addr.arpa.", "159.0.0.10.in-addr.arpa."),
        ("10.0.0.1/32", 1, "1.0.0.10.in-addr.arpa.", "1.0.0.10.in-addr.arpa."),
        ("2001:db8::/29", 8, "8.b.d.0.1.0.0.2.ip6.arpa.", "f.b.d.0.1.0.0.2.ip6.arpa."),
        ("2001:db8::/33", 8, "0.8.b.d.0.1.0.0.2.ip6.arpa.", "7.8.b.d.0.1.0.0.2.ip6.arpa."),
        ("2001:db8::/112", 1, "0." * 20 + "8.b.d.0.1.0.0.2.ip6.arpa.", "0." * 20 + "8.b.d.0.1.0.0.2.ip6.arpa."),
        ("2001:db8::/115", 2, "0." * 21 + "8.b.d.0.1.0.0.2.ip6.arpa.", "1." + "0." * 20 + "8.b.d.0.1.0.0.2.ip6.arpa."),
    ],
)
def test_prefixes(prefix: str, count: int, first: str, last: str) -> None:
    zones = origins(prefix)
    assert (count, first, last) == (len(zones), zones[0], zones[-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5s", 5),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1h", 3600),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("30", 30),
        ("0", 0),
        ("-2s", -2),
    ],
)
def test_seconds(text: str, expected: float) -> None:
    assert expected == seconds(text)


@pytest.mark.parametrize("text", ["", "s", "5x", "5 s", "1m 2s", "--5s", "٣s", "1e3s", "infs", ".s"])
def test_not_seconds(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "port", "expected"),
    [
        (":8080", None, ("", 8080)),
        ("localhost:0", None, ("localhost", 0)),
        ("[::1]:9153", None, ("::1", 9153)),
        ("[fe80::1%eth0]:53", None, ("fe80::1%eth0", 53)),
        ("10.0.0.1", 53, ("10.0.0.1", 53)),
        ("fe80::1", 53, ("fe80::1", 53)),
        ("[::1]", 53, ("::1", 53)),
        ("10.0.0.1:54", 53, ("10.0.0.1", 54)),
    ],
)
def test_host_port(text: str, port: int | None, expected: tuple[str, int]) -> None:
    assert expected == host_port(text, port)


@pytest.mark.parametrize("text", ["", "8080", "localhost", "::1", "::1:8080", ":70000", ":http", "[::1]8080", "[]:1"])
def test_not_host_port(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address and port"):
        host_port(text)


def option(line: str) -> Directive:
    (block,) = parse(f". {{\nkubernetes {{\n{line}\n}}\n}}", "Corefile", Memory())
    return block.directives[0].block[0]


READERS: list[tuple[str, Callable[[Directive], object], object]] = [
    ("tls a b c", lambda d: d.arguments(3, 3), ("a", "b", "c")),
    ("tls a b c", lambda d: d.arguments(1), ("a", "b", "c")),
    ("noendpoints", lambda d: d.no_args(), None),
    ("labels a=b", lambda d: d.one(), "a=b"),
    ("log", lambda d: d.optional("x"), "x"),
    ("log y", lambda d: d.optional("x"), "y"),
    ("ttl 30", lambda d: d.integer(0, 3600), 30),
    ("success 9984 60", lambda d: d.integer(0, 3600, at=1), 60),
    ("lameduck 5s", lambda d: d.duration(), 5.0),
    ("prefetch 10 1m 10%", lambda d: d.duration(at=1), 60.0),
    ("pods verified", lambda d: d.choice(["insecure", "verified"]), "verified"),
    ("fallthrough", lambda d: d.origins(["."]), (".",)),
    ("fallthrough A.org", lambda d: d.origins(), ("a.org.",)),
    ("fallthrough dns://10.0.0.0/15:54", lambda d: d.origins(), ("0.10.in-addr.arpa.", "1.10.in-addr.arpa.")),
    ("disable success b", lambda d: d.origins(["."], start=1), ("b.",)),
    ("health", lambda d: d.address(":8080"), ("", 8080)),
]


@pytest.mark.parametrize(("line", "read", "expected"), READERS)
def test_readers(line: str, read: Callable[[Directive], object], expected: object) -> None:
    assert expected == read(option(line))


REFUSING: list[tuple[str, Callable[[Directive], object], str]] = [
    ("tls a", lambda d: d.arguments(3, 3), "tls: takes 3 arguments, has 1"),
    ("tls", lambda d: d.arguments(1), "tls: takes at least 1 argument, has none"),
    ("ttl 1 2", lambda d: d.optional(), "ttl: takes 0 to 1 argument, has 2"),
    ("ttl", lambda d: d.integer(0, 3600), "ttl: takes 1 argument, has none"),
    ("noendpoints x", lambda d: d.no_args(), "noendpoints: takes no arguments, has 1"),
    ("noendpoints {\nx\n}", lambda d: d.no_args(), "noendpoints takes no block"),
    ("ttl 5s", lambda d: d.integer(0, 3600), "ttl: '5s' is not a whole number from 0 to 3600"),
    ("ttl 3601", lambda d: d.integer(0, 3600), "ttl: '3601' is not a whole number from 0 to 3600"),
    ("ttl 1_0", lambda d: d.integer(0, 3600), "ttl: '1_0' is not a whole number from 0 to 3600"),
    ("lameduck 5x", lambda d: d.duration(), "lameduck: '5x' is not a duration such as 5s, 1m30s or 500ms"),
    ("lameduck -5s", lambda d: d.duration(), "lameduck: '-5s' is out of range: at least 0s"),
    ("lameduck 2h", lambda d: d.duration(1, 3600), "lameduck: '2h' is out of range: at most 3600s"),
    ("pods some", lambda d: d.choice(["insecure", "verified"]), "pods: 'some' is none of insecure, verified"),
    ("fallthrough a..b", lambda d: d.origins(), "fallthrough: 'a..b.' is not a domain name: a label is empty"),
    (
        "health 8080",
        lambda d: d.address(":8080"),
        "health: '8080' is not an address and port such as 127.0.0.1:8080, [::1]:8080 or :8080",
    ),
]


@pytest.mark.parametrize(("line", "read", "expected"), REFUSING)
def test_readers_refuse(line: str, read: Callable[[Directive], object], expected: str) -> None:
    with pytest.raises(CorefileError) as caught:
        read(option(line))
    assert f"Corefile:3: kubernetes: {expected}" == str(caught.value)


def test_the_plugin_itself_is_named_once() -> None:
    (block,) = parse(". {\nwhoami x {\ny\n}\n}", "Corefile", Memory())
    whoami = block.directives[0]
    with pytest.raises(CorefileError, match=r"^Corefile:2: whoami: takes no arguments, has 1$"):
        whoami.no_args()
    with pytest.raises(CorefileError, match=r"^Corefile:2: whoami: takes no block$"):
        whoami.no_block()


def test_unknown_words() -> None:
    assert "Corefile:3: kubernetes: unknown option 'podz', did you mean 'pods'?" == str(
        option("podz").unknown(["ttl", "pods"])
    )
    assert "Corefile:3: kubernetes: unknown option 'x'" == str(option("x").unknown(["ttl", "pods"]))
    assert "Corefile:2: unknown plugin 'kubernets', did you mean 'kubernetes'?" == str(
        Directive("kubernets", line=2).unknown(["cache", "kubernetes"])
    )


# Whatever the text, there is a result or a CorefileError of one line.

FRAGMENTS = [
    "{",
    "}",
    "\n",
    " ",
    '"',
    "\\",
    "#",
    ",",
    ".",
    ":",
    "(s)",
    "import",
    "s",
    "f",
    "*",
    "bind",
    "view",
    "a",
    "5",
]
FRAGMENTS += ["{$A}", "{$A:b}", "{%A%}", "\r\n", "10.0.0.0/15", "2001:db8::/33", "tls://", "\x00", "é", "²", "\udc80"]
corefiles = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join))


def complaint(call: Callable[[], object]) -> str:
    try:
        call()
    except CorefileError as error:
        return str(error)
    return ""


@given(text=corefiles, imported=corefiles, value=corefiles)
@example(text=". {\n" * 5000, imported="", value="")
@example(text='"' + "\\" * 20_001, imported="", value="")
def test_no_text_breaks_the_parser(text: str, imported: str, value: str) -> None:
    files = Memory({"f": imported, "s": text})
    assert complaint(lambda: parse(text, "Corefile", files, environ={"A": value})).isprintable()


@given(word=corefiles)
def test_no_word_breaks_a_reader(word: str) -> None:
    ttl = Directive("ttl", (word,), plugin="kubernetes")
    for read in (lambda: ttl.integer(0, 10), ttl.duration, ttl.origins, lambda: ttl.address(":1")):
        assert complaint(read).isprintable()


words = st.text(st.characters(exclude_characters="\\{\r", exclude_categories=["Cs"])).filter("import".__ne__)
directives = st.recursive(
    st.builds(Directive, words, st.lists(words, max_size=3).map(tuple)),
    lambda inner: st.builds(Directive, words, st.just(()), st.lists(inner, max_size=3).map(tuple)),
    max_leaves=8,
)


def written(directive: Directive) -> str:
    """A directive as Corefile text, each word in quotes."""
    line = " ".join('"' + word.replace('"', '\\"') + '"' for word in (directive.name, *directive.args))
    return f"{line} {{\n{''.join(map(written, directive.block))}}}\n" if directive.block else f"{line}\n"


@given(st.lists(directives, max_size=4))
def test_what_is_written_is_read(expected: list[Directive]) -> None:
    (block,) = parse(". {\n" + "".join(map(written, expected)) + "}\n", "Corefile", Memory(), environ={})
    assert list(map(shape, expected)) == list(map(shape, block.directives))
