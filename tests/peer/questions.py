"""A question in words, and its reply in a form that two servers can be held against each other in.

    NAME TYPE [CLASS] [+WORD...] [@PORT] [from=ADDRESS[:PORT]] [~ DIFFERENCE]

PORT is one of the Corefile's, ADDRESS one of 127.0.0.0/8. Words, as those of dig:

    +tcp +tls +https +opcode=N +norec +cd +ad +noedns +version=N +dnssec +nsid +bufsize=N +subnet=PREFIX +option=CODE:HEX

Of a reply count: the code, the flags AA TC RD RA AD CD, the records of each section with their TTLs, in answers the order of
owners (an alias before what it leads to), and of EDNS whether it is there, DO, and its options but for extended errors. The order
of an owner's records counts for nothing, nor do large letters; extended errors and the size that a server takes are its own, and
so is a SOA's serial that is the time.
"""

import socket
import time
from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import httpx2

WAIT = 3.0  # seconds for a reply
TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)
ID = 4711
DAY = 86400


@dataclass(frozen=True)
class Question:
    message: dns.message.QueryMessage
    port: str  # of the Corefile; "" for its first
    client: str
    client_port: int  # 0 for any
    transport: str  # udp, tcp, tls, https

    @property
    def is_transfer(self) -> bool:
        return self.message.question[0].rdtype in TRANSFERS


class Reply(NamedTuple):
    """What counts; texts that are the same where it is."""

    code: str
    flags: str
    answer: list[str]
    authority: list[str]
    additional: list[str]
    edns: str

    def __str__(self) -> str:
        sections = (f"{name}: {'; '.join(found)}" for name, found in zip(self._fields[2:5], self[2:5], strict=True) if found)
        return " | ".join([f"{self.code} {self.flags}", *sections, *([self.edns] if self.edns else [])])


def question(text: str) -> Question:
    """The question that a text asks; ValueError where it is none."""
    name, type, *words = text.partition("~")[0].split()
    port, client, client_port, cls, plus = "", "", "", "IN", []
    for word in words:
        if word.startswith("@"):
            port = word[1:]
        elif word.startswith("from="):
            client, _, client_port = word.removeprefix("from=").partition(":")
        elif word.startswith("+"):
            plus.append(word[1:])
        else:
            cls = word
    message = dns.message.make_query(name, type, cls, id=ID, use_edns=-1 if "noedns" in plus else 0, payload=1232)
    if message.question[0].rdtype == dns.rdatatype.IXFR:
        message.authority.append(dns.rrset.from_text(name, 0, "IN", "SOA", ". . 1 0 0 0 0"))
    for word in plus:
        _with(message, word)
    transport = next((word for word in ("https", "tls", "tcp") if word in plus), "udp")
    return Question(message, port, client, int(client_port or 0), transport)


def _with(message: dns.message.Message, word: str) -> None:
    word, _, value = word.partition("=")
    match word:
        case "norec":
            message.flags &= ~dns.flags.RD
        case "cd" | "ad":
            message.flags |= dns.flags.from_text(word)
        case "opcode":
            message.set_opcode(dns.opcode.Opcode.make(int(value)))
        case "version":
            message.use_edns(int(value), payload=1232)
        case "dnssec":
            message.want_dnssec()
        case "bufsize":
            message.use_edns(0, payload=int(value))
        case "nsid" | "subnet" | "option":
            message.use_edns(0, payload=1232, options=[*message.options, _option(word, value)])
        case "tcp" | "tls" | "https" | "noedns":
            pass
        case _:
            raise ValueError(f"+{word}")


def _option(word: str, value: str) -> dns.edns.Option:
    if word == "nsid":
        return dns.edns.NSIDOption(b"")
    if word == "subnet":
        network = ip_network(value)
        return dns.edns.ECSOption(str(network.network_address), network.prefixlen)
    code, _, octets = value.partition(":")
    return dns.edns.GenericOption(dns.edns.OptionType.make(int(code, 0)), bytes.fromhex(octets))


def asked(question: Question, port: int, host: str = "127.0.0.1") -> list[dns.message.Message]:
    """All messages of the reply; none where there is no reply."""
    if question.is_transfer:
        return _transferred(question, port, host)
    ask = getattr(dns.query, question.transport)
    how = {"verify": False} if question.transport in ("tls", "https") else {}
    host = f"https://{host}:{port}/dns-query" if question.transport == "https" else host
    try:
        return [ask(question.message, host, WAIT, port, question.client or None, question.client_port, **how)]
    except (dns.exception.DNSException, OSError, httpx2.HTTPError):
        return []


def _transferred(question: Question, port: int, host: str) -> list[dns.message.Message]:
    """Messages until the SOA that began is there again, or one that is no transfer."""
    found: list[dns.message.Message] = []
    end = time.time() + WAIT
    try:
        with socket.create_connection((host, port), WAIT, (question.client, 0) if question.client else None) as sock:
            dns.query.send_tcp(sock, question.message)
            soas = 0
            while soas < 2:
                message, _ = dns.query.receive_tcp(sock, end, one_rr_per_rrset=True)
                found.append(message)
                soas += sum(rrset.rdtype == dns.rdatatype.SOA for rrset in message.answer)
                if not soas or (len(found) == 1 and len(message.answer) == 1):
                    break
    except (dns.exception.DNSException, OSError, EOFError):
        pass
    return found


def seen(question: Question, messages: list[dns.message.Message], ages: bool = False) -> Reply:
    """What counts of the reply to a question; records of several messages together, without their order."""
    if not messages:
        return Reply("no reply", "", [], [], [], "")
    first = messages[0]
    flags = dns.flags.from_text("AA TC RD RA AD CD") & first.flags
    answer = [record for message in messages for record in _records(message.answer, ages)]
    return Reply(
        dns.rcode.to_text(first.rcode()),
        dns.flags.to_text(flags),
        sorted(answer) if question.is_transfer else answer,
        sorted(_records(first.authority, ages)),
        sorted(_records(first.additional, ages)),
        _edns(first, question.message),
    )


def _records(section: list[dns.rrset.RRset], ages: bool) -> list[str]:
    """Records as text, those of an owner sorted; the owners in their order."""
    found: dict[dns.name.Name, list[str]] = {}
    for rrset in section:
        ttl = -(-rrset.ttl // 10) * 10 if ages else rrset.ttl
        head = f"{rrset.name} {ttl} {dns.rdataclass.to_text(rrset.rdclass)} {dns.rdatatype.to_text(rrset.rdtype)}"
        found.setdefault(rrset.name, []).extend(f"{head} {_text(rdata)}".lower() for rdata in rrset)
    return [record for records in found.values() for record in sorted(records)]


def _text(rdata: dns.rdata.Rdata) -> str:
    is_time = rdata.rdtype == dns.rdatatype.SOA and abs(rdata.serial - time.time()) < DAY
    return (rdata.replace(serial=0) if is_time else rdata).to_text()


def _edns(message: dns.message.Message, query: dns.message.Message) -> str:
    """Version, DO and options; what of EDNS and DO the query had not is UNASKED."""
    if message.edns < 0:
        return ""
    options = sorted(f"{option.otype}:{option.to_wire().hex()}" for option in message.options if option.otype != dns.edns.EDE)
    do = ["DO" if query.ednsflags & dns.flags.DO else "UNASKED-DO"] if message.ednsflags & dns.flags.DO else []
    return " ".join([f"EDNS{message.edns}" if query.edns >= 0 else "UNASKED-EDNS", *do, *options])
