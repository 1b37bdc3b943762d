"""*errors* - logs why queries failed.

Description
    One line for each query that ended in SERVFAIL for a reason that a plugin gave, or in an error of kdns's own:
    `[ERROR] plugin/errors: 2 example.org. A: why`, with the RCODE's number, the name and the type asked. Errors that
    come again and again can be counted instead, and reported once in a while.

    Only once in a server block.

Syntax
    errors [stdout] {
        stacktrace
        consolidate DURATION REGEXP [LEVEL] [show_first]
    }

    - `stacktrace` logs an error of kdns's own with its traceback; otherwise that is logged at level DEBUG only.
    - `consolidate` counts the errors that the regular expression (at most 10000 characters) finds, and logs their
      number once DURATION has passed since the first of them, at LEVEL: `warning`, `error` (the default), `info` or
      `debug`. An error counts for the first expression that finds it. With `show_first` the first error is logged at
      once, as it is, and its number later only where more followed. Expressions are Python's; they see the first 500
      characters of an error.

Metrics
    `coredns_panics_total`: errors of kdns's own, with or without this plugin.

Differences
    - Expressions are Python's.

Examples
    Log why queries for example.org failed:

        example.org {
            whoami
            errors
        }

    Count timeouts for five minutes, and show the first:

        . {
            whoami
            errors {
                consolidate 5m ".* timeout$" warning show_first
                consolidate 30s "^Failed to .+"
            }
        }
"""

import asyncio
import logging
import re
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument, flag, option
from kdns.core.block import Block
from kdns.core.plugin import Plugin
from kdns.dns.query import Query
from kdns.dns.types import SERVFAIL, type_text

log = logging.getLogger(__name__)

LEVELS = {"warning": logging.WARNING, "error": logging.ERROR, "info": logging.INFO, "debug": logging.DEBUG}
LONGEST_REGEXP = 10_000  # characters
SEEN = 500  # characters of an error that an expression is tried on: it may take long, and names are the clients' to choose


def _stdout(o: Directive) -> None:
    if o.arguments(0, 1) not in ((), ("stdout",)):
        raise ValueError(f"cannot log to '{o.args[0]}', only to stdout")


def _pattern(o: Directive) -> tuple["Pattern"]:
    arguments = o.arguments(2, 4)
    period = o.duration(at=0)
    if len(arguments[1]) > LONGEST_REGEXP:
        raise ValueError(f"the regular expression is over {LONGEST_REGEXP} characters long")
    try:
        regexp = re.compile(arguments[1])
    except re.error as error:
        raise ValueError(f"'{arguments[1]}' is no regular expression: {error}") from None
    rest = list(arguments[2:])
    level = LEVELS[rest.pop(0)] if rest and rest[0] in LEVELS else logging.ERROR
    show_first = rest[:1] == ["show_first"]
    if len(rest) > show_first:
        raise ValueError(f"'{rest[-1]}' is neither {', '.join(LEVELS)} nor, after it, show_first")
    return (Pattern(period, arguments[0], regexp, level, show_first),)


@dataclass(frozen=True)
class Options:
    where: None = argument(_stdout)
    stacktrace: bool = option(flag, False)
    consolidate: tuple["Pattern", ...] = option(_pattern, (), many=True)


class Errors(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.patterns, self.stacktrace = options.consolidate, options.stacktrace

    def report(self, query: Query, why: str, error: BaseException | None) -> None:
        """Log an error, or count it; `error` is what a plugin raised."""
        if error is not None:
            level = logging.ERROR if self.stacktrace else logging.DEBUG
            log.log(level, "the error's traceback:", exc_info=error)
        level = logging.ERROR
        for pattern in self.patterns:
            if pattern.regexp.search(why[:SEEN]):
                if not pattern.count_one():
                    return
                level = pattern.level
                break
        words = " ".join(why.split())
        log.log(level, "%d %s %s: %s", SERVFAIL, query.name, type_text(query.type), words)

    async def run(self) -> None:
        """Until the server block ends: then what was counted is logged, and no timer stays."""
        try:
            await asyncio.Event().wait()
        finally:
            for pattern in self.patterns:
                pattern.tell()


class Pattern:
    """Errors of one kind: how many since the first of them, at most `period` seconds ago."""

    def __init__(self, period: float, written: str, regexp: re.Pattern[str], level: int, show_first: bool) -> None:
        self.period, self.written, self.regexp = period, written, regexp
        self.level, self.show_first = level, show_first
        self.count = 0
        self.timer: asyncio.TimerHandle | None = None

    def count_one(self) -> bool:
        """Count an error; True where it is to be shown all the same."""
        self.count += 1
        if self.count == 1:
            self.timer = asyncio.get_running_loop().call_later(self.period, self.tell)
            return self.show_first
        return False

    def tell(self) -> None:
        """Log how many there were, and begin anew."""
        if self.timer is not None:
            self.timer.cancel()
        if self.count > self.show_first:
            shown = self.regexp.pattern
            log.log(self.level, "%d errors like '%s' occurred in last %s", self.count, shown, self.written)
        self.count, self.timer = 0, None
