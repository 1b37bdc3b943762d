"""What is said while work takes its time."""

import asyncio
import io
import sys

import pytest

from kdns.commands import lines


class Screen(io.StringIO):
    """A stderr that may be a terminal."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize(
    ("is_terminal", "ticks", "expected"),
    [(True, 0, "\r\x1b[K"), (True, 2, "\rat 1\x1b[K\rat 2\x1b[K\r\x1b[K"), (False, 2, "")],
)
def test_progress_is_for_terminals_and_work_that_lasts(
    is_terminal: bool, ticks: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, second = Screen(is_terminal), asyncio.Event
    monkeypatch.setattr(sys, "stderr", screen)

    async def run() -> None:
        passed, told = [second() for _ in range(ticks)], []
        waiting = iter(passed)
        sleep = asyncio.sleep

        async def later(seconds: float) -> None:
            await (event.wait() if (event := next(waiting, None)) is not None else sleep(3600))

        monkeypatch.setattr(lines.asyncio, "sleep", later)
        with lines.progress(lambda: told.append(1) or f"at {len(told)}"):  # type: ignore[func-returns-value]
            for event in passed:
                await sleep(0)
                event.set()
                await sleep(0)
            await sleep(0)

    asyncio.run(run())
    assert expected == screen.getvalue()
