"""What the tests of plugins share: a Corefile as an instance without sockets, and questions to it through dnspython."""

from collections.abc import Callable
from typing import Any

import dns.message
import dns.rdatatype
import pytest

from kdns.core.plugin import Handler
from kdns.core.site import Instance, Listener
from kdns.dns.query import Address, Query, Transport
from kdns.dns.response import Response
from kdns.errors import CorefileError
from kdns.server.load import configure

CLIENT = Address("10.244.0.7", 41234)
LOCAL = Address("10.96.0.10", 53)


class Fixed:
    """A plugin that answers what it is told to."""

    def __init__(self, answer: Response | Callable[[Query], Response]) -> None:
        self._answer = answer if callable(answer) else lambda _: answer

    async def answer(self, query: Query, next: Handler) -> Response:
        return self._answer(query)


def instance_of(corefile: str, answer: Response | Callable[[Query], Response] | None = None) -> Instance:
    """An instance of a Corefile; `answer` takes the place of the last plugin of each server block's chain."""
    instance = configure(corefile)
    if answer is not None:
        for site in instance.sites:
            site.plugins.append(("fixed", Fixed(answer)))
            site.complete()
    return instance


def listener_of(instance: Instance) -> Listener:
    return next(iter(instance.listeners.values()))


async def ask(
    instance: Instance,
    name: str,
    type: str = "A",
    *,
    id: int = 4711,
    client: Address = CLIENT,
    transport: Transport = Transport.UDP,
    **options: Any,
) -> dns.message.Message:
    """The reply to a question, as dnspython reads it; `options` are make_query's."""
    query = dns.message.make_query(name, type, id=id, **options)
    reply = await listener_of(instance).reply(query.to_wire(), client, LOCAL, transport)
    assert reply is not None
    return dns.message.from_wire(reply)


def answers(message: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in message.answer for rdata in rrset]


def refused(corefile: str) -> str:
    """The one line that says why a Corefile cannot be served."""
    with pytest.raises(CorefileError) as caught:
        configure(corefile)
    return str(caught.value)


def in_block(line: str) -> str:
    """A Corefile of one server block whose second line, and on, is as given."""
    return f". {{\n{line}\n}}\n"
