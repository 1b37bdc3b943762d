"""What the tests of plugins share: a Corefile as a generation without sockets, and questions to it through dnspython."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import dns.message
import dns.rdatatype
import pytest

from kdns import plugins
from kdns.core.block import Block
from kdns.core.generation import Generation
from kdns.core.listener import Listener
from kdns.core.plugin import Handler, Plugin
from kdns.dns.query import Address, Query, Transport
from kdns.dns.response import Answer
from kdns.errors import CorefileError
from kdns.server.load import load

CLIENT = Address("10.244.0.7", 41234)
LOCAL = Address("10.96.0.10", 53)


class Fixed(Plugin):
    """A plugin that answers by a function, which may wait, or always the same."""

    same_for_everyone = True

    def __init__(self, answer: Answer | Callable[[Query], Answer | Awaitable[Answer]]) -> None:
        self._answer = answer if callable(answer) else lambda _: answer

    async def answer(self, query: Query, next: Handler) -> Answer:
        found = self._answer(query)
        return await found if inspect.isawaitable(found) else found


def add(block: Block, name: str, plugin: Plugin) -> None:
    """Put a plugin at the end of a server block's chain."""
    block.complete([*block.plugins, (name, plugin)])


def generation_of(corefile: str, answer: Answer | Callable[[Query], Answer] | None = None) -> Generation:
    """A generation of a Corefile; `answer` takes the place of the last plugin of each server block's chain."""
    generation = load(corefile)
    if answer is not None:
        for block in generation.blocks:
            add(block, "fixed", Fixed(answer))
    generation.begin()
    return generation


def listener_of(generation: Generation) -> Listener:
    return next(iter(generation.listeners.values()))


async def ask(
    generation: Generation,
    name: str,
    type: str = "A",
    *,
    id: int = 4711,
    client: Address = CLIENT,
    transport: Transport = Transport.UDP,
    **options: Any,
) -> dns.message.Message:
    """The reply to a question, by the memo where it has that, as dnspython reads it; `options` are make_query's."""
    wire = dns.message.make_query(name, type, id=id, **options).to_wire()
    listener = listener_of(generation)
    reply = listener.recall(wire, client, LOCAL, transport) or await listener.reply(wire, client, LOCAL, transport)
    assert isinstance(reply, bytes)
    return dns.message.from_wire(reply)


def answers(message: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in message.answer for rdata in rrset]


def refused(corefile: str) -> str:
    """The one line that says why a Corefile cannot be served."""
    with pytest.raises(CorefileError) as caught:
        load(corefile)
    return str(caught.value)


def is_served(plugin: str) -> bool:
    """May a Corefile have a plugin of this name, with an effect or without?"""
    try:
        plugins.load(plugin)
    except CorefileError:
        return False
    return True


def in_block(line: str) -> str:
    """A Corefile of one server block whose second line, and on, is as given."""
    return f". {{\n{line}\n}}\n"
