"""*log* - writes a line for each query to standard output.

Description
    Queries that the memo answers have their line, too: it keeps beside each reply what all of their lines say, some 250
    octets (400 for JSON), and so has room for fewer. Lines are gathered and written as fast as whoever reads them takes
    them; beyond a megabyte of waiting lines new ones are left out, and a line says how many. A refused message that is
    no valid query has no line.

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

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from kdns.config.directive import Directive
from kdns.config.options import argument, choice, option
from kdns.core.block import Block
from kdns.core.lines import stdout
from kdns.core.plugin import Exchange, Plugin
from kdns.core.served import Line
from kdns.dns import names
from kdns.plugins.log.formats import COMMON
from kdns.plugins.log.lines import line_in
from kdns.plugins.log.words import kind_of

CLASSES = ("all", "success", "denial", "error")


class Rule(NamedTuple):
    """What is written of queries below a zone whose answers are of some classes."""

    zone: str
    classes: frozenset[str]
    line: Callable[[Exchange], Line]


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
        line = line_in(stdout(), form, block.label, bool(options.format))
        every = frozenset(CLASSES) if "all" in options.class_ or not options.class_ else frozenset(options.class_)
        self.rules = [Rule(zone, every, line) for zone in zones]
        self.block = block
        self.all_rules: list[Rule] | None = None

    def line(self, exchange: Exchange) -> Line | None:
        """The first *log* of a server block has the rules of all of them."""
        if self.all_rules is None:
            every: list[Log] = self.block.named("log")  # type: ignore[assignment]
            self.all_rules = [rule for log in every for rule in log.rules]
        for rule in self.all_rules:
            if names.is_below(exchange.query.name, rule.zone):
                return rule.line(exchange) if kind_of(exchange.response)[0] in rule.classes else None
        return None
