"""Zone files of tests, and what a server block that serves them says."""

import asyncio
from pathlib import Path

import dns.flags
import dns.rcode

from kdns.core.generation import Generation
from tests.support.configured import answers, ask

TOP = "$TTL 60\n@ SOA ns host {serial} 7200 1800 86400 30\n@ NS ns\n"


def write(path: Path, records: str, serial: int = 1) -> None:
    path.write_text(TOP.format(serial=serial) + records)


def asked(generation: Generation, name: str, type: str = "A") -> list[str]:
    """The code where it is not NOERROR, AA where it is set, and the records of the answer."""
    reply = asyncio.run(ask(generation, name, type))
    code = [] if reply.rcode() == dns.rcode.NOERROR else [dns.rcode.to_text(reply.rcode())]
    return code + (["AA"] if reply.flags & dns.flags.AA else []) + answers(reply)
