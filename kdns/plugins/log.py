"""*log* - writes a line for each query to standard output.

Description
    It sees every query of its server block, so none of them is answered from the memo: that costs half of the speed
    and more. Lines are gathered and written as fast as whoever reads them takes them; beyond a megabyte of waiting
    lines new ones are left out, and a line says how many. A refused message that is no valid query has no line.

Syntax
    log [NAMES...] [FORMAT] {
        class CLASS...
        format json
    }

    - NAMES are the names below which queries are logged, all by default. Where several *log* stand in a server block,
      the first one that names what is asked decides.
    - FORMAT is a text with words that are replaced, see below; `{common}` (the default) and `{combined}` stand for
      texts of such words.
    - `class` takes `success`, `denial` (NXDOMAIN, and NOERROR without the type asked), `error` (all other codes) and
      `all`, the default.
    - `format json` writes one JSON object a line instead: `time`, `level`, `plugin`, `client_ip`, `client_port`,
      `qname`, `qtype`, `qclass`, `protocol`, `id`, `opcode`, `request_size`, `dnssec_ok`, `bufsize`, `rcode`,
      `response_size`, `duration_seconds` (all as CoreDNS has them), then `flags`, `answered_by` (a plugin),
      `upstream` and `cache` where they had a part, `answers` as text (the first 20), and `error`: why. The flag
      `-log-format json` does the same for each line of the process; a FORMAT then fills the field `msg`.

    The words: `{type}`, `{name}`, `{class}`, `{proto}`, `{remote}` and `{local}` (addresses), `{port}` (the
    client's), `{size}` and `{rsize}` (octets of query and reply), `{rcode}`, `{duration}`, `{>rflags}`, `{>id}`,
    `{>opcode}`, `{>do}`, `{>bufsize}` (also without `>`), `{/log/class}`, `{/log/type}` and `{/forward/upstream}`, `{/ede}`
    (why the answer is what it is, the text of its extended error), and with *metadata* what plugins know, such as
    `{/kubernetes/client-namespace}`. What is not known is `-`.

    `{common}` is `{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags}
    {rsize} {duration}`, and `{combined}` the same with `"{>opcode}"`:

        [INFO] 10.244.0.7:41234 - 4711 "A IN web.prod.svc.cluster.local. udp 48 false 1232" NOERROR qr,aa,rd 96 0.000123s

Metrics
    `kdns_log_dropped_total`: lines that were left out, those of everything else included.

Differences
    - `{rsize}` counts the octets that are sent; labels need no *metadata*.

Examples
    All queries:

        . {
            log
            whoami
        }

    What example.org does not have, in a format of one's own:

        . {
            log example.org "{proto} request: {name} {type} {>id} {/log/type}" {
                class denial error
            }
            whoami
        }

    For machines:

        . {
            log . {
                format json
            }
            whoami
        }
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, UTC
from functools import partial
from typing import Any, NamedTuple

import msgspec

from kdns.config.directive import Directive
from kdns.config.options import argument, choice, option
from kdns.core.block import Block
from kdns.core.lines import stdout
from kdns.core.plugin import Exchange, Plugin
from kdns.dns import names, rdata
from kdns.dns.query import Query, Transport
from kdns.dns.response import Response, RRset
from kdns.dns.types import NOERROR, NS, NXDOMAIN, RCODES, SMALLEST, SOA, TYPES
from kdns.errors import one_line

COMMON = (
    '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}"'
    " {rcode} {>rflags} {rsize} {duration}"
)
COMBINED = COMMON + ' "{>opcode}"'
CLASSES = ("all", "success", "denial", "error")
FLAGS = {0x8000: "qr", 0x400: "aa", 0x200: "tc", 0x100: "rd", 0x80: "ra", 0x40: "z", 0x20: "ad", 0x10: "cd"}  # RFC 6895 2
MOST_ANSWERS = 20  # shown in a line of JSON


class Rule(NamedTuple):
    """What is written of queries below a zone whose answers are of some classes."""

    zone: str
    classes: frozenset[str]
    line: Callable[[Exchange], str]


def _where(o: Directive) -> tuple[tuple[str, ...], str]:
    """Below which names queries are logged, and in which format."""
    words, form = list(o.args), COMMON
    if words and "{" in words[-1]:
        form = words.pop()
    return tuple(names.absolute(word) for word in words) or (".",), form


def _classes(o: Directive) -> tuple[str, ...]:
    return tuple(o.choice(CLASSES, at) for at in range(len(o.arguments(1))))


@dataclass(frozen=True)
class Options:
    where: tuple[tuple[str, ...], str] = argument(_where)
    class_: tuple[str, ...] = option(_classes, (), many=True)
    format: str = option(choice("json"), "")


class Log(Plugin):
    table = Options

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        zones, form = options.where
        self.writer = stdout()
        line = line_of(form, block.label)
        if self.writer.json and form != COMMON:
            line = partial(json_line, text=line_of(form, block.label, head=""))
        elif self.writer.json or options.format:
            line = json_line
        every = frozenset(CLASSES) if "all" in options.class_ or not options.class_ else frozenset(options.class_)
        self.rules = [Rule(zone, every, line) for zone in zones]
        self.block = block

    def witness(self, exchange: Exchange) -> None:
        """The first *log* of a server block has the rules of all of them."""
        every: list[Log] = self.block.named("log")  # type: ignore[assignment]
        if every[0] is not self:
            return
        for rule in [rule for log in every for rule in log.rules]:
            if names.is_below(exchange.query.name, rule.zone):
                if kind_of(exchange.response)[0] in rule.classes:
                    self.writer.write(rule.line(exchange))
                return


def kind_of(response: Response) -> tuple[str, str]:
    """The class of a response, and its kind within it."""
    if response.rcode == NXDOMAIN:
        return "denial", "NXDOMAIN"
    if response.rcode != NOERROR:
        return "error", "SERVERERROR" if response.rcode in (2, 4) else "OTHERERROR"
    if not response.answer and any(rrset.type == SOA for rrset in response.authority):
        return "denial", "NODATA"
    if not response.answer and any(rrset.type == NS for rrset in response.authority):
        return "success", "DELEGATION"
    return "success", "NOERROR"


def _type(type: int) -> str:
    return TYPES.get(type, f"TYPE{type}")


def _bufsize(query: Query) -> int:
    if query.transport is not Transport.UDP:
        return 65535
    return SMALLEST if query.edns is None else max(query.edns.size, SMALLEST)


def _flags(reply: bytes) -> str:
    flags = int.from_bytes(reply[:2], "big")
    return ",".join(name for bit, name in FLAGS.items() if flags & bit)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _seconds(seconds: float) -> str:
    return f"{seconds:.9f}".rstrip("0").rstrip(".")


WORDS: dict[str, Callable[[Exchange], str]] = {
    "type": lambda it: _type(it.query.type),
    "name": lambda it: it.query.name,
    "class": lambda it: "IN" if it.query.cls == 1 else "CH",
    "proto": lambda it: it.query.transport.value,
    "remote": lambda it: _host(it.query.client.host),
    "port": lambda it: str(it.query.client.port),
    "local": lambda it: _host(it.query.local.host),
    "size": lambda it: str(len(it.query.wire)),
    "rcode": lambda it: RCODES.get(it.response.rcode, str(it.response.rcode)),
    "rsize": lambda it: str(len(it.reply) + 2),
    "duration": lambda it: _seconds(it.seconds) + "s",
    "rflags": lambda it: _flags(it.reply),
    "id": lambda it: str(int.from_bytes(it.query.wire[:2], "big")),
    "opcode": lambda it: "0",  # another one is refused before
    "do": lambda it: "true" if it.query.do else "false",
    "bufsize": lambda it: str(_bufsize(it.query)),
    "/log/class": lambda it: kind_of(it.response)[0],
    "/log/type": lambda it: kind_of(it.response)[1],
    "/forward/upstream": lambda it: it.response.made.upstream or "-",
    "/ede": lambda it: one_line(it.response.error.text) or "-" if it.response.error is not None else "-",
}


def _unknown(query: Query, name: str) -> None:
    return None


def line_of(
    form: str, label: Callable[[Query, str], str | None] = _unknown, head: str = "[INFO] "
) -> Callable[[Exchange], str]:
    """A format as a function that writes lines; braces around what is no word stay as they are. `label` knows of *metadata*."""

    def labelled(name: str) -> Callable[[Exchange], str]:
        return lambda it: "-" if (value := label(it.query, name)) is None else value

    form = form.replace("{common}", COMMON).replace("{combined}", COMBINED)
    fixed = [head]
    words: list[Callable[[Exchange], str]] = []
    for part in re.split(r"(\{[^{}]*\})", form):
        word = WORDS.get(part[1:-1].removeprefix(">")) if part.startswith("{") else None
        if word is None and part.startswith("{/"):
            word = labelled(part[2:-1])
        if word is not None:
            words.append(word)
            fixed.append("")
        else:
            fixed[-1] += part
    return lambda it: fixed[0] + "".join([word(it) + after for word, after in zip(words, fixed[1:], strict=True)])


def json_line(it: Exchange, text: Callable[[Exchange], str] | None = None) -> str:
    """A JSON object; its first fields are CoreDNS's. `text` is a format of the user's own: its line is the field `msg`."""
    query, response = it.query, it.response
    fields: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z",
        "level": "INFO",
        "plugin": "log",
        "client_ip": query.client.host,
        "client_port": query.client.port,
        "qname": query.name,
        "qtype": _type(query.type),
        "qclass": WORDS["class"](it),
        "protocol": query.transport.value,
        "id": int.from_bytes(query.wire[:2], "big"),
        "opcode": 0,
        "request_size": len(query.wire),
        "dnssec_ok": query.do,
        "bufsize": _bufsize(query),
        "rcode": WORDS["rcode"](it),
        "response_size": len(it.reply) + 2,
        "duration_seconds": round(it.seconds, 9),
        "flags": _flags(it.reply),
        "answered_by": response.made.by,
        "upstream": response.made.upstream,
        "cache": response.made.cached,
        "answers": [text for rrset in response.answer for text in _texts(rrset)][:MOST_ANSWERS],
        "error": response.error.text if response.error is not None else "",
    }
    if not response.made.upstream:
        del fields["upstream"]
    if not response.made.cached:
        del fields["cache"]
    if not fields["error"]:
        del fields["error"]
    if text is not None:
        fields["msg"] = text(it)
    return msgspec.json.encode(fields).decode()


def _texts(rrset: RRset) -> list[str]:
    """The first records of an RRset as in a zone file."""
    head = f"{rrset.name} {rrset.ttl} IN {_type(rrset.type)} "
    return [head + rdata.to_text(rrset.type, octets) for octets in rrset.rdata[:MOST_ANSWERS]]
