"""`kdns check --against`: an existing server and kdns are asked the same questions, and what differs is told.

So that people can try before they switch. kdns answers here without a socket, out of the Corefile that is checked; the other server
is asked over UDP, and over TCP where a reply is cut. What counts are the code and the records of the answer: TTLs count down,
records turn, and whether a name's letters are large says nothing.
"""

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, NamedTuple

import dns.asyncquery
import dns.edns
import dns.exception
import dns.message
import dns.rcode
import dns.rdata
import dns.rdatatype

from kdns.commands.corefiles import at_work
from kdns.commands.lines import progress
from kdns.config.values import host_port
from kdns.core.files import read_text
from kdns.core.generation import Generation
from kdns.core.listener import Listener
from kdns.dns import names
from kdns.dns.query import Address, Query, Transport
from kdns.dns.types import A, AXFR, type_text
from kdns.errors import FileError, KdnsError

MOST = 2000  # questions made from the names that kdns has; of more, as many that lie evenly
AT_ONCE = 20
WITHIN = 5.0  # seconds for a reply
HERE = Address("127.0.0.1", 53)

MEANT = "some differ on purpose: `kdns check` without --against says what, in its lines `differs`"

Question = tuple[str, str]  # name and type, as text


class Compared(NamedTuple):
    """How many questions were asked, and a line for each that was answered differently."""

    asked: int
    different: list[str]

    def lines(self) -> list[str]:
        same = self.asked - len(self.different)
        return [*self.different, f"{self.asked} questions, {same} with the same answer", MEANT if self.different else "ok"]


async def compared(text: str, filename: str, server: str, questions: str = "") -> Compared:
    """Ask both; KdnsError where the Corefile, the server's address or the file of questions is wrong."""
    where = _address(server)
    asked = _read(questions) if questions else []
    async with at_work(text, filename) as generation:
        for why in filter(None, (plugin.ready() for block in generation.blocks for _, plugin in block.plugins)):
            raise KdnsError(f"kdns has nothing to compare yet: {why}")
        listener = _listener(generation, where.port)
        asked = asked or list(_own(listener))
        await _answers(where, asked[0])
        room = asyncio.Semaphore(AT_ONCE)
        tasks = [asyncio.ensure_future(_difference(listener, where, question, room)) for question in asked]
        with progress(lambda: f"{sum(task.done() for task in tasks)} of {len(tasks)} questions asked"):
            found = await asyncio.gather(*tasks)
    return Compared(len(asked), [line for line in found if line])


def _address(text: str) -> Address:
    """`10.96.0.10`, `10.96.0.10:53`, `[::1]:53`, `::1`."""
    try:
        host, port = host_port(text, 53)
        return Address(str(ip_address(host)), port)
    except ValueError:
        raise KdnsError(f"--against {text}: an IP address is expected, and perhaps a port, as in 10.96.0.10:53") from None


def _read(path: str) -> list[Question]:
    """The questions of a file, a line each: NAME [TYPE]; what begins with # is none."""
    found = []
    try:
        lines = read_text(path).splitlines()
    except FileError as error:
        raise KdnsError(str(error)) from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            name, type = (*words, "A")[:2] if len(words) < 3 else ("", "")
            dns.message.make_query(name or line, type)
        except (dns.exception.DNSException, TypeError, ValueError):
            raise KdnsError(f"{path}:{number}: '{line.strip()}' is no question: a name, and perhaps a type") from None
        found.append((name, type.upper()))
    return found


def _listener(generation: Generation, port: int) -> Listener:
    """The listening address that has the other server's port, or the first: blocks of others are not asked there either."""
    every = generation.listeners
    return next((listener for where, listener in every.items() if where.port == port), next(iter(every.values())))


async def _answers(where: Address, question: Question) -> None:
    """KdnsError where the other server says nothing: else each question would wait for it."""
    try:
        await dns.asyncquery.udp(dns.message.make_query(*question), where.host, WITHIN, where.port)
    except (dns.exception.Timeout, OSError):
        raise KdnsError(f"--against {where}: no answer: is a DNS server there, and may it be asked from here?") from None
    except dns.exception.DNSException:  # it says something
        pass


def _own(listener: Listener) -> Iterator[Question]:
    """Questions for names that are here, and one in each zone for a name that is not."""
    every: dict[Question, None] = {}
    for block in dict.fromkeys(block for blocks in listener.blocks.values() for block in blocks):
        for _, plugin in block.plugins:
            for origin in plugin.transferable():
                every[names.text(names.wire(f"no-such-name.{origin.lstrip('.')}")), "A"] = None
                for step in plugin.outgoing(origin, Query(origin, AXFR)).steps:
                    for rrset in step:
                        every[rrset.name, type_text(rrset.type)] = None
                        if rrset.type == A:
                            every[rrset.name, "AAAA"] = None
    if not every:
        raise KdnsError("no plugin here has names of its own to ask for: give a file of questions after the server")
    questions = list(every)
    yield from questions[:: -(-len(questions) // MOST)]


async def _difference(listener: Listener, where: Address, question: Question, room: asyncio.Semaphore) -> str:
    """What is different between the two answers, in a line; nothing where they are the same."""
    query = dns.message.make_query(*question, use_edns=0, payload=1232)
    async with room:
        try:
            reply, _ = await dns.asyncquery.udp_with_fallback(query, where.host, WITHIN, where.port)
            theirs = _said(reply)
        except (dns.exception.DNSException, OSError) as error:
            theirs = f"no answer ({type(error).__name__})"
        octets = await listener.reply(query.to_wire(), HERE, HERE, Transport.TCP)
    assert isinstance(octets, bytes) or octets is None
    ours = "no answer" if octets is None else _said(message := dns.message.from_wire(octets))
    if theirs == ours:
        return ""
    why = "" if octets is None else _why(message)
    return f"{' '.join(question)}: {where} says {theirs}, kdns {ours}" + (f" ({why})" if why else "")


def _text(rdata: dns.rdata.Rdata) -> str:
    """A record's text; without the serial of a SOA, which is each server's own time."""
    return (rdata.replace(serial=0) if rdata.rdtype == dns.rdatatype.SOA else rdata).to_text()


def _said(reply: dns.message.Message) -> str:
    """The code and the records, in a form that is the same for the same answer."""
    records = sorted(
        f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {_text(rdata)}".lower() for rrset in reply.answer for rdata in rrset
    )
    code = dns.rcode.to_text(reply.rcode())
    return f"{code} {', '.join(records)}" if records else ("NODATA" if code == "NOERROR" else code)


def _why(reply: Any) -> str:
    """What kdns's own extended error says of an answer without records."""
    if reply.answer:
        return ""
    return next((option.text or "" for option in reply.options if option.otype == dns.edns.OptionType.EDE), "")
