"""`kdns check`: is the Corefile right? Nothing is served."""

import asyncio

from kdns.commands.corefiles import corefile
from kdns.commands.flags import parser as flags_of_all
from kdns.commands.lines import log_to_stdout
from kdns.core.lines import end_all
from kdns.server.load import load, notes, summary


def run(words: list[str]) -> int:
    """Say what would be served, or what keeps it from being served."""
    parser = flags_of_all("kdns check", "Is a Corefile right? Nothing is served.")
    flags = parser.read(words)
    port = 53 if flags.port is None else flags.port
    text, path = corefile(flags.conf, port)

    async def check() -> list[str]:
        generation = load(text, path or "Corefile", port)
        lines = [*notes(generation), *summary(generation)]
        await generation.close()
        return lines

    log_to_stdout(flags.log_format)
    found = asyncio.run(check())
    end_all()
    print("\n".join(found))
    return 0
