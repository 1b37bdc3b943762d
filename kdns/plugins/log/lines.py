"""Lines of *log*: what is the same for all queries with one reply is made once, and the rest put in for each query."""

import re
from collections.abc import Callable
from datetime import datetime, UTC
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
    """What a line says, as the user wrote it; braces around what is no word stay as they are. `label` knows of *metadata*."""

    def __init__(self, form: str, label: Label, head: str = "[INFO] ") -> None:
        form = form.replace("{common}", COMMON).replace("{combined}", COMBINED)
        self._label = label
        self._parts: list[str | Callable[[Exchange], str]] = [head]
        self._words: list[Callable[[Served, int], object]] = []
        for part in re.split(r"(\{[^{}]*\})", form):
            name = part[1:-1].removeprefix(">") if part.startswith("{") else ""
            if (of_query := words.OF_QUERY.get(name) or self._labelled(name)) is not None:
                self._words.append(of_query)
                self._parts.append("%s")
            else:
                self._parts.append(words.OF_REPLY.get(name) or part.replace("%", "%%"))

    def _labelled(self, name: str) -> Callable[[Served, int], object] | None:
        if not name.startswith("/") or name in words.OF_REPLY:
            return None

        def label(it: Served, room: int) -> str:
            query = it.query()
            value = None if query is None else self._label(query, name[1:])
            return "-" if value is None else value

        return label

    def text_of(self, exchange: Exchange) -> str:
        """The text of all queries that get this reply, with `%s` for each word of their own."""
        return "".join([part if isinstance(part, str) else part(exchange).replace("%", "%%") for part in self._parts])

    def filled(self, text: str, served: Served, room: int) -> str:
        """The line of one of them; `room` is what it takes over UDP."""
        return text % tuple([word(served, room) for word in self._words])


class Text:
    """The line of queries with one reply."""

    __slots__ = ("_form", "_room", "_text", "_writer")

    def __init__(self, writer: Writer, form: Format, exchange: Exchange) -> None:
        self._writer, self._form = writer, form
        self._text, self._room = form.text_of(exchange), words.room_of(exchange)

    def write(self, served: Served) -> None:
        self._writer.write(self._form.filled(self._text, served, self._room))

    def __len__(self) -> int:
        return COST + len(self._text)


class Json:
    """The same as a JSON object; its first fields are CoreDNS's. `form` is of the user's own: its line is the field `msg`."""

    __slots__ = ("_form", "_rest", "_room", "_text", "_writer")

    def __init__(self, writer: Writer, form: Format | None, exchange: Exchange) -> None:
        self._writer, self._form = writer, form
        self._rest = _json(_fields_of(exchange))[1:]
        self._text, self._room = "" if form is None else form.text_of(exchange), words.room_of(exchange)

    def write(self, served: Served) -> None:
        fields: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z",
            "level": "INFO",
            "plugin": "log",
            "client_ip": words.host_of(served.client),
            "client_port": words.port_of(served.client),
            "protocol": served.transport.value,
            "id": words.id_of(served.wire),
            "request_size": len(served.wire),
            "bufsize": words.bufsize_of(served, self._room),
            "response_size": served.size,
            "duration_seconds": round(served.seconds, 9),
        }
        if self._form is not None:
            fields["msg"] = self._form.filled(self._text, served, self._room)
        self._writer.write(f"{_json(fields)[:-1]},{self._rest}")

    def __len__(self) -> int:
        return COST + len(self._rest) + len(self._text)


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


def line_in(writer: Writer, form: str, label: Label, json: bool) -> Callable[[Exchange], Line]:
    """What makes the line of an exchange in a format, for a writer."""
    if writer.json or json:
        own = None if form == COMMON or not writer.json else Format(form, label, head="")
        return lambda exchange: Json(writer, own, exchange)
    text = Format(form, label)
    return lambda exchange: Text(writer, text, exchange)
