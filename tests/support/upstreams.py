"""Upstreams for what is no part of a loop: each on a port of 127.0.0.1, in a thread."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping

import dns.rdatatype

from kdns.testing.upstream import answer, Asked, FakeUpstream, Script, Step


@contextlib.contextmanager
def upstreams(scripts: Mapping[int, Script]) -> Iterator[None]:
    """An upstream for each port, which does as its script says."""
    began, end = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with contextlib.AsyncExitStack() as running:
            for port, script in scripts.items():
                await running.enter_async_context(FakeUpstream(script, port=port))
            began.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert began.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


def of_one_address(address: str) -> Script:
    """Any name has this address (IPv4)."""

    def script(asked: Asked) -> list[Step]:
        is_a = asked.message.question[0].rdtype == dns.rdatatype.A
        return [answer(asked, *([f"{asked.name} 60 IN A {address}"] if is_a else []))]

    return script
