"""The format of a line of *log*: words in braces, and what they are replaced by."""

import re
from collections.abc import Callable
from operator import itemgetter

from kdns.core.plugin import Exchange
from kdns.core.served import Served
from kdns.dns.query import Query
from kdns.plugins.log import words

COMMON = (
    '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}"'
    " {rcode} {>rflags} {rsize} {duration}"
)
COMBINED = COMMON + ' "{>opcode}"'

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
