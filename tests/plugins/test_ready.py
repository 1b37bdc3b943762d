import asyncio

import pytest

from kdns.core.plugin import Handler
from kdns.core.site import Instance
from kdns.dns.query import Query
from kdns.dns.response import Response
from tests.support.configured import in_block, instance_of


class Waiting:
    """A plugin that is ready when it is told to be."""

    def __init__(self, why: str | None) -> None:
        self.why = why

    async def answer(self, query: Query, next: Handler) -> Response:
        return await next(query)

    def ready(self) -> str | None:
        return self.why


def page(instance: Instance, address: str = ":8181") -> tuple[int, str]:
    async def get() -> tuple[int, str, bytes]:
        return await instance.http[address]["/ready"]()

    status, _, body = asyncio.run(get())
    return status, body.decode()


def test_nobody_waits() -> None:
    assert (200, "OK") == page(instance_of(in_block("ready\nwhoami")))


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
    instance = instance_of(in_block(block))
    waiting, other = Waiting("services: 403 Forbidden"), Waiting("no upstream")
    instance.sites[0].plugins += [("kubernetes", waiting), ("forward", other)]
    pages = [page(instance), page(instance)]
    waiting.why = other.why = None
    pages.append(page(instance))
    waiting.why = "lost"
    pages.append(page(instance))
    why = (503, "kubernetes: services: 403 Forbidden\nforward: no upstream\n")
    assert [why, why, (200, "OK"), later] == pages
    lines = [record.message for record in caplog.records]
    assert ["not ready: kubernetes: services: 403 Forbidden; forward: no upstream", "ready"] == lines[:2]


def test_only_server_blocks_with_ready_count() -> None:
    instance = instance_of("a. {\nready\n}\nb. {\nready\n}\nc. {\nwhoami\n}\n")
    for site in instance.sites:
        site.plugins.append(("kubernetes", Waiting(f"{site.zones[0]} is not synced")))
    assert (503, "kubernetes: a. is not synced\nkubernetes: b. is not synced\n") == page(instance)


def test_not_ready_when_stopping() -> None:
    instance = instance_of(in_block("ready localhost:8091"))
    instance.stopping = True
    assert (503, "shutting down\n") == page(instance, "localhost:8091")
