"""`kdns check`: is the Corefile right? All that is to be said of it, with lines; nothing is served.

What would keep it from starting is found as far as the machine that checks can know: files that it names are looked into, an API
server is not asked. What differs from CoreDNS is what the manuals of the plugins that are used say of it. With `--against` the
questions of `kdns.commands.against` are asked instead.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kdns import plugins
from kdns.commands.corefiles import corefile, NO_COREFILE
from kdns.commands.flags import parser as flags_of_all
from kdns.commands.lines import log_to_stdout
from kdns.core.generation import Generation
from kdns.core.lines import end_all
from kdns.errors import CorefileError, KdnsError
from kdns.server.load import load, notes, summary


class Findings(NamedTuple):
    """Lines, each with the place that it is about."""

    errors: list[str]  # it would not start
    notes: list[str]  # what has no effect, or not the one that might be expected
    differences: list[str]  # from CoreDNS, on purpose
    served: list[str]  # zones and addresses

    def lines(self) -> Iterator[str]:
        """As they are shown, the gravest first; `ok` where it would start."""
        for word, found in (("error", self.errors), ("note", self.notes), ("differs", self.differences)):
            yield from (f"{word}: {line}" for line in found)
        if not self.errors:
            yield from self.served
            yield "ok"


def run(words: list[str]) -> int:
    """Print what was found; 1 where it would not start, or where answers differ."""
    parser = flags_of_all("kdns check", "Is a Corefile right? Nothing is served.")
    parser.add_argument("corefile", nargs="?", metavar="Corefile", help="the same as -conf; else ./Corefile, or standard input")
    parser.add_argument(
        "--against", nargs="+", metavar=("SERVER[:PORT]", "QUERIES"),
        help="ask this server and kdns the same questions and print what differs; QUERIES is a file of lines NAME [TYPE], "
        "else they are made from the names that kdns has",
    )  # fmt: skip
    flags = parser.read(words)
    if flags.corefile and flags.conf:
        parser.error("-conf and the name of a Corefile exclude each other")
    if flags.against and len(flags.against) > 2:
        parser.error("--against takes a server and a file of questions")
    port = 53 if flags.port is None else flags.port
    log_to_stdout(flags.log_format, quiet=True)
    given = flags.corefile or flags.conf or ("-" if _is_given() else None)
    text, path = corefile(given, port)
    try:
        if flags.against:
            from kdns.commands.against import compared

            found = asyncio.run(compared(text, path or "Corefile", *flags.against))
            status = int(bool(found.different))
            lines = found.lines()
        else:
            findings = asyncio.run(check(text, path or "Corefile", port))
            status = int(bool(findings.errors))
            lines = [*([] if given or path else [f"note: {NO_COREFILE}"]), *findings.lines()]
    finally:
        end_all()
    print("\n".join(lines))
    return status


def _is_given() -> bool:
    """Is a Corefile to be read from standard input? A file that it is, or a pipe where there is no ./Corefile."""
    with contextlib.suppress(OSError):
        mode = os.fstat(0).st_mode
        return stat.S_ISREG(mode) or (stat.S_ISFIFO(mode) and not Path("Corefile").exists())
    return False


async def check(text: str, filename: str = "Corefile", port: int = 53) -> Findings:
    """All that there is to be said of the text of a Corefile."""
    generation = Generation()
    errors: list[str] = []
    try:
        load(text, filename, port, generation)
    except KdnsError as error:
        errors += str(error).splitlines()
    for block in generation.blocks:
        for name, plugin in block.plugins:
            try:
                await plugin.check()
            except CorefileError as error:
                errors += str(error).splitlines()
            except Exception as error:  # a plugin from elsewhere
                errors.append(f"{filename}: {name}: {type(error).__name__}: {error}")
    served = [] if errors else summary(generation)
    found = Findings(errors, notes(generation), list(_differences(generation)), served)
    await generation.close()
    return found


def _differences(generation: Generation) -> Iterator[str]:
    """What the manuals say of the plugins that are used, with the line where each is used first."""
    seen: set[str] = set()
    for block in generation.blocks:
        for directive in block.parsed.directives:
            if directive.name not in seen:
                seen.add(directive.name)
                with contextlib.suppress(CorefileError):  # there is no such plugin, which has been said
                    yield from (str(directive.error(text)) for text in plugins.differences(directive.name))
