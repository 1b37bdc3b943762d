"""Lines of *log*: what is the same for all queries with one reply is made once, and the rest put in for each query."""

import re
from collections.abc import Callable
from datetime import datetime, UTC
from operator import itemgetter
from typing import Any

import msgspec

from kdns.core.lines import Writer
from kdns.core.plugin import Exchange
from kdns.core.served import Line, Served
from kdns.dns import rdata
from kdns.dns.query import Query
from kdns.dns.response import RRset
from kdns.plugins.log import words

COMMON = (
    '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}"'
    " {rcode} {>rflags} {rsize} {duration}"
)
COMBINED = COMMON + ' "{>opcode}"'
MOST_ANSWERS = 20  # shown in a line of JSON
COST = 160  # octets that a line takes beside its text (measured)

Label = Callable[[Query, str], str | None]


class Format:
    """What a line says, as the user wrote it; braces around what is no word stay as they are. `label` knows of *metadata*.

    It is filled in twice: for all queries that get one reply, then for each of them.
    """

    def __init__(self, form: str, label: Label, head: str = "[INFO] ") -> None:
        form = form.replace("{common}", COMMON).replace("{combined}", COMBINED)
        self._label = label
        self._of_reply: list[Callable[[Exchange], str]] = []
        self._seldom: list[Callable[[Served], str]] = []
        picked: list[int] = []  # of the words of a query: of those of every day, then of the others
        text = head
        for part in re.split(r"(\{[^{}]*\})", form):
            name = part[1:-1].removeprefix(">") if part.startswith("{") else ""
            if (of_reply := words.OF_REPLY.get(name)) is not None:
                self._of_reply.append(of_reply)
                text += "%s"
            elif name in words.OF_QUERY:
                picked.append(words.OF_QUERY.index(name))
                text += "%%s"
            elif (seldom := words.SELDOM.get(name) or self._labelled(name)) is not None:
                picked.append(len(words.OF_QUERY) + len(self._seldom))
                self._seldom.append(seldom)
                text += "%%s"
            else:
                text += words.FIXED.get(name) or part.replace("%", "%%%%")
        self._text = text
        self._pick: Callable[[tuple[object, ...]], object] = itemgetter(*picked) if picked else lambda values: ()

    def _labelled(self, name: str) -> Callable[[Served], str] | None:
        """What *metadata* calls so."""

        def label(it: Served) -> str:
            query = it.query()
            value = None if query is None else self._label(query, name[1:])
            return "-" if value is None else value

        return label if name.startswith("/") else None

    def text_of(self, exchange: Exchange) -> str:
        """The text of all queries that get this reply, with `%s` for each word of their own."""
        return self._text % tuple([word(exchange).replace("%", "%%") for word in self._of_reply])

    def filled(self, text: str, served: Served, room: int) -> str:
        """The line of one of them; `room` is what it takes over UDP."""
        values = words.of_query(served, room)
        if self._seldom:
            values += tuple([word(served) for word in self._seldom])
        return text % self._pick(values)


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
        "qtype": words.type_of(query.type),
        "qclass": words.class_of(it),
        "opcode": 0,
        "dnssec_ok": query.do,
        "rcode": words.code_of(it),
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
    head = f"{rrset.name} {rrset.ttl} IN {words.type_of(rrset.type)} "
    return [head + rdata.to_text(rrset.type, octets) for octets in rrset.rdata[:MOST_ANSWERS]]
