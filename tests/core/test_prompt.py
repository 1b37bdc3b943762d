"""A Future that lets whoever waits for it go on at once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kdns.core.prompt import Prompt

Settle = Callable[["Prompt[str]"], Any]


@pytest.mark.parametrize(
    ("settle", "at_once"),
    [
        (lambda prompt: prompt.set_result("said"), ["went on"]),
        (lambda prompt: prompt.set_exception(ValueError("on purpose")), []),
        (lambda prompt: prompt.cancel(), []),
    ],
    ids=["a result", "an error", "cancelled"],
)
def test_a_result_lets_go_on_at_once_and_an_error_soon(settle: Settle, at_once: list[str]) -> None:
    async def check() -> tuple[list[str], list[str]]:
        prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())
        seen: list[str] = []
        prompt.go_on = lambda: seen.append("went on")
        settle(prompt)
        before = list(seen)
        await asyncio.sleep(0)
        prompt.cancelled() or prompt.exception()
        return before, seen

    assert (at_once, ["went on"]) == asyncio.run(check())


def test_others_wait_for_it_as_for_any_future() -> None:
    async def check() -> list[str]:
        loop = asyncio.get_running_loop()
        prompt: Prompt[str] = Prompt(loop=loop)

        async def waits() -> str:
            return await prompt

        tasks = [loop.create_task(waits()) for _ in range(2)]
        loop.call_later(0.001, prompt.set_result, "said")
        return await asyncio.gather(*tasks, asyncio.wait_for(prompt, 20))

    assert ["said"] * 3 == asyncio.run(check())
