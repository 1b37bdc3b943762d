"""Lines of *log*: what is the same for all queries with one reply is made once, and the rest put in for each query.

The memo keeps many of them, which the garbage collector need not look at. mypyc drops the word that says so behind a class's
name (`gc=False`), so this module is not compiled.
"""

from collections.abc import Callable
from datetime import datetime, UTC
from typing import Any

import msgspec

from kdns.core.lines import Writer
from kdns.core.plugin import Exchange
from kdns.core.served import Line, Served
from kdns.dns import rdata
from kdns.dns.response import RRset
from kdns.dns.types import rcode_text, type_text
from kdns.plugins.log import words
from kdns.plugins.log.formats import COMMON, Format, Label

MOST_ANSWERS = 20  # shown in a line of JSON
COST = 160  # octets that a line takes beside its text (measured)


class Text(msgspec.Struct, gc=False, eq=False):
    """The line of queries with one reply."""

    writer: Writer
    form: Format
    text: str
    room: int

    def write(self, served: Served) -> None:
        self.writer.write(self.form.filled(self.text, served, self.room))

    def __len__(self) -> int:
        return COST + len(self.text)


class Json(Text, gc=False, eq=False):
    """The same as a JSON object; its first fields are CoreDNS's. A text of the user's own is the field `msg`."""

    rest: str = ""

    def write(self, served: Served) -> None:
        fields: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z",
            "level": "INFO",
            "plugin": "log",
            "client_ip": words.host_of(served.client),
            "client_port": words.port_of(served.client),
            "protocol": served.transport,
            "id": words.id_of(served.wire),
            "request_size": len(served.wire),
            "bufsize": words.bufsize_of(served, self.room),
            "response_size": served.size,
            "duration_seconds": round(served.seconds, 9),
        }
        if self.text:
            fields["msg"] = self.form.filled(self.text, served, self.room)
        self.writer.write(f"{_json(fields)[:-1]},{self.rest}")

    def __len__(self) -> int:
        return COST + len(self.text) + len(self.rest)


def line_in(writer: Writer, form: str, label: Label, json: bool) -> Callable[[Exchange], Line]:
    """What makes the line of an exchange in a format, for a writer."""
    if not (writer.json or json):
        text = Format(form, label)
        return lambda it: Text(writer, text, text.text_of(it), words.room_of(it))
    msg = Format(form if writer.json and form != COMMON else "", label, head="")
    return lambda it: Json(writer, msg, msg.text_of(it), words.room_of(it), _json(_fields_of(it))[1:])


def _json(fields: dict[str, Any]) -> str:
    return msgspec.json.encode(fields).decode()


def _fields_of(it: Exchange) -> dict[str, Any]:
    """What is the same for all queries with this reply."""
    query, response = it.query, it.response
    fields: dict[str, Any] = {
        "qname": query.name,
        "qtype": type_text(query.type),
        "qclass": words.class_of(it),
        "opcode": 0,
        "dnssec_ok": query.do,
        "rcode": rcode_text(response.rcode),
        "flags": words.flags_of(it),
        "answered_by": response.made.by,
        "upstream": response.made.upstream,
        "cache": response.made.cached,
        "answers": [text for rrset in response.answer for text in _texts(rrset)][:MOST_ANSWERS],
        "error": response.error.text if response.error is not None else "",
    }
    return {name: value for name, value in fields.items() if value or name not in ("upstream", "cache", "error")}


def _texts(rrset: RRset) -> list[str]:
    """The first records of an RRset as in a zone file."""
    head = f"{rrset.name} {rrset.ttl} IN {type_text(rrset.type)} "
    return [head + rdata.to_text(rrset.type, octets) for octets in rrset.rdata[:MOST_ANSWERS]]
