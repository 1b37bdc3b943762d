"""What expressions can ask of a query. No I/O."""

from collections.abc import Callable
from typing import Any

from kdns.core.expressions.language import Known
from kdns.dns.query import Query, Transport
from kdns.dns.types import LARGEST, SMALLEST, type_text

CLASSES = {1: "IN", 3: "CH", 4: "HS"}
CLIENT = "client_ip"
MORE = frozenset(("bufsize", "id", "port", "proto", "server_ip", "size", "metadata"))  # neither in a memo's key nor the address
FAILURES = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)  # of values that do not fit

OF_QUERY: dict[str, Callable[[Query], Any]] = {
    "name": lambda query: query.name,
    "type": lambda query: type_text(query.type),
    "class": lambda query: CLASSES.get(query.cls, f"CLASS{query.cls}"),
    CLIENT: lambda query: query.client.host,
    "port": lambda query: str(query.client.port),
    "server_ip": lambda query: query.local.host,
    "server_port": lambda query: str(query.local.port),
    "proto": lambda query: query.transport.value,
    "do": lambda query: query.do,
    "bufsize": lambda query: LARGEST if query.transport is Transport.TCP else max(query.edns.size if query.edns else 0, SMALLEST),
    "size": lambda query: len(query.wire),
    "id": lambda query: int.from_bytes(query.wire[:2], "big"),
    "opcode": lambda query: 0,  # another one is answered before
}
KNOWN = dict.fromkeys(OF_QUERY, 0) | {"metadata": 1}  # how many values each takes


def known_of(query: Query, label: Callable[[Query, str], str | None]) -> Known:
    """What is known of a query; `label` tells its labels of *metadata*."""

    def known(name: str, *words: Any) -> Any:
        return (label(query, *words) or "") if name == "metadata" else OF_QUERY[name](query, *words)

    return known
