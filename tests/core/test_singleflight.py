import asyncio

import pytest

from kdns.core.singleflight import Singleflight


class Work:
    """Work that goes on when it is told to."""

    def __init__(self, result: int | Exception = 7) -> None:
        self.result, self.begun, self.may = result, 0, asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        await self.may.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def test_those_who_come_meanwhile_have_the_same() -> None:
    async def run() -> tuple[list[int], int, list[int], bool]:
        flight, work, joined = Singleflight[int](), Work(), list[int]()
        asking = [asyncio.ensure_future(flight.ask("k", work, joined.append)) for _ in range(3)]
        await asyncio.sleep(0)
        under_way = "k" in flight.under_way
        work.may.set()
        return await asyncio.gather(*asking), work.begun, joined, under_way and "k" not in flight.under_way

    assert ([7, 7, 7], 1, [7, 7], True) == asyncio.run(run())


def test_an_error_is_everybodys() -> None:
    async def run() -> list[str]:
        flight, work = Singleflight[int](), Work(ValueError("no"))
        asking = [asyncio.ensure_future(flight.ask("k", work)) for _ in range(2)]
        await asyncio.sleep(0)
        work.may.set()
        return [str(error) for error in await asyncio.gather(*asking, return_exceptions=True)]

    assert ["no", "no"] == asyncio.run(run())


@pytest.mark.parametrize(("gone", "begun"), [(0, 2), (1, 1)])
def test_one_who_is_cancelled_takes_nobody_along(gone: int, begun: int) -> None:
    async def run() -> tuple[list[bool], int]:
        flight, work = Singleflight[int](), Work()
        asking = [asyncio.ensure_future(flight.ask("k", work)) for _ in range(3)]
        await asyncio.sleep(0)
        asking[gone].cancel()
        await asyncio.sleep(0.001)
        work.may.set()
        await asyncio.wait(asking)
        assert "k" not in flight.under_way
        return [task.cancelled() for task in asking], work.begun

    assert ([n == gone for n in range(3)], begun) == asyncio.run(run())


def test_other_keys_are_other_work() -> None:
    async def run() -> int:
        flight, work = Singleflight[int](), Work()
        work.may.set()
        await asyncio.gather(flight.ask("a", work), flight.ask("b", work))
        return work.begun

    assert 2 == asyncio.run(run())
