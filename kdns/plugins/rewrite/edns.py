"""Rules about EDNS options of the query: what upstreams are told beside the question. No I/O."""

import struct
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from kdns.dns import names
from kdns.dns.query import Edns, picked, Query, without
from kdns.dns.response import replace, Response
from kdns.dns.types import ECS, NSID, SMALLEST
from kdns.plugins.rewrite.rules import is_label, Labels, Rewritten

ACTIONS = ("set", "append", "replace", "unset")
Data = Callable[[Query, Labels], bytes | None]  # octets of an option for a query; None: it has none

VARIABLES: dict[str, Callable[[Query], bytes]] = {
    "qname": lambda query: query.name.encode(),
    "qtype": lambda query: query.type.to_bytes(2, "big"),
    "client_ip": lambda query: names.packed(query.client.host),
    "client_port": lambda query: query.client.port.to_bytes(2, "big"),
    "protocol": lambda query: query.transport.value.encode(),
    "server_ip": lambda query: names.packed(query.local.host),
    "server_port": lambda query: query.local.port.to_bytes(2, "big"),
}
OF_THE_QUESTION = ("qname", "qtype")


class EdnsRule(NamedTuple):
    """One option of the query is set, or taken away. The client never sees what was put in for it."""

    action: str
    code: int
    data: Data
    same_for_everyone: bool = True

    def apply(self, query: Query, labels: Labels) -> Rewritten | None:
        edns = query.edns or Edns(SMALLEST, False)
        there = bool(picked(edns.options, (self.code,)))
        if self.action == "unset":
            return Rewritten(_with(query, edns._replace(options=without(edns.options, (self.code,)))))
        if there == (self.action == "append") and self.action != "set":
            return None
        data = self.data(query, labels)
        if data is None:
            return None
        others = without(edns.options, (self.code,))
        changed = _with(query, edns._replace(options=others + struct.pack("!HH", self.code, len(data)) + data))
        return Rewritten(changed) if there else Rewritten(changed, (self._unsaid,))

    def _unsaid(self, response: Response) -> Response:
        """What an upstream said to an option that the client has not sent."""
        return replace(response, options=without(response.options, (self.code,))) if response.options else response


def _with(query: Query, edns: Edns) -> Query:
    return query.instead(query.name, query.type, query.cls, edns)


def edns_rule(words: list[str]) -> EdnsRule:
    """`local ACTION CODE DATA`, `nsid ACTION`, `subnet ACTION V4 V6`, each with `revert` at its end perhaps."""
    kind, action, *rest = [*words[:2], "", ""][:2] + words[2:]
    kind, action = kind.lower(), action.lower()
    if kind not in ("local", "nsid", "subnet"):
        raise ValueError(f"edns0 is followed by local, nsid or subnet, not by '{kind}'")
    if action not in ACTIONS:
        raise ValueError(f"'{action}' is none of {', '.join(ACTIONS)}")
    if rest[-1:] == ["revert"] and action != "unset":
        rest.pop()
    count = {"local": 2, "nsid": 0, "subnet": 2}[kind]
    if action == "unset":
        count = min(count, kind == "local")
    if len(rest) != count:
        raise ValueError(f"edns0 {kind} {action} is followed by {count or 'no'} words, has {len(rest) or 'none'}")
    if kind == "nsid":
        return EdnsRule(action, NSID, lambda query, labels: b"")
    if kind == "subnet":
        return EdnsRule(action, ECS, _subnet(*rest) if rest else _nothing, False)
    data, same = _local(rest[1]) if count == 2 else (_nothing, True)
    return EdnsRule(action, _number(rest[0], 65535, "a code"), data, same)


def _nothing(query: Query, labels: Labels) -> None:
    return None


def _local(word: str) -> tuple[Data, bool]:
    """The octets that a word stands for, and whether they are the same whoever asks."""
    if word.startswith("{") and word.endswith("}"):
        name = word[1:-1]
        if name in VARIABLES:
            return lambda query, labels: VARIABLES[name](query), name in OF_THE_QUESTION
        if not is_label(name):
            raise ValueError(f"'{name}' is neither a label such as kubernetes/client-namespace nor one of {', '.join(VARIABLES)}")
        return lambda query, labels: (labels(query, name) or "").encode() or None, False
    if not word.startswith("0x"):
        return lambda query, labels: word.encode(), True
    try:
        octets = bytes.fromhex(word[2:])
    except ValueError:
        raise ValueError(f"'{word}' is not hexadecimal") from None
    return lambda query, labels: octets, True


def _subnet(v4: str, v6: str) -> Data:
    """The client's network (RFC 7871 6), as many bits of its address as may be told."""
    bits = {4: _number(v4, 32, "bits of an IPv4 address"), 6: _number(v6, 128, "bits of an IPv6 address")}

    def subnet(query: Query, labels: Labels) -> bytes | None:
        address = ip_address(query.client.host)
        told = bits[address.version]
        network = ip_network((address, told), strict=False).network_address.packed
        return struct.pack("!HBB", 1 if address.version == 4 else 2, told, 0) + network[: (told + 7) // 8]

    return subnet


def _number(word: str, most: int, what: str) -> int:
    try:
        number = int(word, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        raise ValueError(f"'{word}' is not {what} up to {most}")
    return number
