import asyncio

import pytest

from kdns.core.behind import Request
from kdns.core.generation import Generation
from kdns.core.plugin import Plugin
from tests.support.configured import add, generation_of, in_block


class Waiting(Plugin):
    """A plugin that is ready when it is told to be."""

    def __init__(self, why: str | None) -> None:
        self.why = why

    def ready(self) -> str | None:
        return self.why


def page(generation: Generation, address: str = ":8181") -> tuple[int, str]:
    async def get() -> tuple[int, str, bytes]:
        return await generation.pages[address]["/ready"](Request({}, {}))

    status, _, body = asyncio.run(get())
    return status, body.decode()


def test_nobody_waits() -> None:
    assert (200, "OK") == page(generation_of(in_block("ready\nwhoami")))


@pytest.mark.parametrize(
    ("block", "later"),
    [
        ("ready", (200, "OK")),
        ("ready {\nmonitor until-ready\n}", (200, "OK")),
        ("ready {\nmonitor continuously\n}", (503, "kubernetes: lost\n")),
    ],
)
def test_who_waits_and_why(block: str, later: tuple[int, str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    generation = generation_of(in_block(block))
    waiting, other = Waiting("services: 403 Forbidden"), Waiting("no upstream")
    add(generation.blocks[0], "kubernetes", waiting)
    add(generation.blocks[0], "forward", other)
    pages = [page(generation), page(generation)]
    waiting.why = other.why = None
    pages.append(page(generation))
    waiting.why = "lost"
    pages.append(page(generation))
    why = (503, "kubernetes: services: 403 Forbidden\nforward: no upstream\n")
    assert [why, why, (200, "OK"), later] == pages
    lines = [record.message for record in caplog.records]
    assert ["not ready: kubernetes: services: 403 Forbidden; forward: no upstream", "ready"] == lines[:2]


def test_only_server_blocks_with_ready_count() -> None:
    generation = generation_of("a. {\nready\n}\nb. {\nready\n}\nc. {\nwhoami\n}\n")
    for block in generation.blocks:
        add(block, "kubernetes", Waiting(f"{block.zones[0]} is not synced"))
    assert (503, "kubernetes: a. is not synced\nkubernetes: b. is not synced\n") == page(generation)


def test_not_ready_when_stopping() -> None:
    generation = generation_of(in_block("ready localhost:8091"))
    generation.stopping = True
    assert (503, "shutting down\n") == page(generation, "localhost:8091")
