"""Queries in flight: a coroutine that is stepped at once behaves as in a Task."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import pytest

from kdns.core.prompt import Prompt
from kdns.server import in_flight as in_flight_module
from kdns.server.in_flight import InFlight, outcome, Stepped


def start(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that does not wait, or what steps it on."""
    stepped = Stepped(loop, coro, {})
    stepped.step()
    return stepped.result() if stepped.done() else stepped


async def run(coro: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Start a coroutine from a callback of the loop: was it done at once, and its result."""
    loop = asyncio.get_running_loop()
    made = loop.create_future()

    def begin() -> None:
        try:
            made.set_result(start(loop, coro))
        except BaseException as error:
            made.set_exception(error)

    loop.call_soon(begin)
    result = await made
    if isinstance(result, Stepped):
        return False, await ended(result)
    return True, result


async def ended(made: "Stepped[Any]") -> Any:
    """What a coroutine that waits comes to."""
    over = asyncio.Event()
    made.add_done_callback(lambda _: over.set())
    await asyncio.wait_for(over.wait(), 20)
    return made.result()


async def nothing() -> str:
    return "at once"


async def yields() -> str:
    await asyncio.sleep(0)
    return "later"


async def future() -> str:
    loop = asyncio.get_running_loop()
    awaited: asyncio.Future[str] = loop.create_future()
    loop.call_soon(awaited.set_result, "later")
    return await awaited


async def times_out() -> str:
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(5)
    except TimeoutError:
        return "timeout"
    return "no timeout"


async def at_once_timed_out() -> str:
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(5)
    except TimeoutError:
        return "timeout"
    return "no timeout"


async def in_time() -> str:
    async with asyncio.timeout(20):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "in time"


async def waits_for() -> str:
    try:
        await asyncio.wait_for(asyncio.sleep(5), 0.01)
    except TimeoutError:
        return "timeout"
    return "no timeout"


async def group() -> str:
    async with asyncio.TaskGroup() as tasks:
        one, two = tasks.create_task(nothing()), tasks.create_task(yields())
    return f"{one.result()}, {two.result()}"


async def failing_group() -> str:
    async def fails() -> None:
        raise ValueError("on purpose")

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())
            tasks.create_task(asyncio.sleep(5))
            await asyncio.sleep(5)
    except ExceptionGroup as group:
        return f"failed: {group.exceptions[0]}"
    return "not failed"


async def gathers() -> str:
    return ", ".join(await asyncio.gather(nothing(), yields()))


async def knows_itself() -> str:
    before = asyncio.current_task()
    await asyncio.sleep(0)
    after = asyncio.current_task()
    assert before is not None and after is not None
    return f"{before.done()} {before.cancelling()} {before.get_name() == after.get_name()}"


async def cancels_itself() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError:
        task.uncancel()
        return f"cancelled, {task.cancelling()}"
    return "not cancelled"


CASES = [
    (nothing, True, "at once"),
    (yields, False, "later"),
    (future, False, "later"),
    (times_out, False, "timeout"),
    (at_once_timed_out, False, "timeout"),
    (in_time, False, "in time"),
    (waits_for, False, "timeout"),
    (group, False, "at once, later"),
    (failing_group, False, "failed: on purpose"),
    (gathers, False, "at once, later"),
    (knows_itself, False, "False 0 True"),
    (cancels_itself, False, "cancelled, 0"),
]


@pytest.mark.parametrize(("make", "at_once", "result"), CASES, ids=[case[0].__name__ for case in CASES])
def test_stepped_as_in_a_task(make: Any, at_once: bool, result: str) -> None:
    assert (at_once, result) == asyncio.run(run(make()))


def test_nobody_is_current_after() -> None:
    async def check() -> Any:
        seen = asyncio.get_running_loop().create_future()

        def begin() -> None:
            start(asyncio.get_running_loop(), nothing())
            made = start(asyncio.get_running_loop(), yields())
            seen.set_result((asyncio.current_task(), made))

        asyncio.get_running_loop().call_soon(begin)
        current, made = await seen
        assert "later" == await ended(made)
        return current

    assert asyncio.run(check()) is None


def test_an_exception_is_the_callers() -> None:
    async def fails() -> None:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        asyncio.run(run(fails()))


def test_context_variables_are_its_own() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def sets() -> str:
        token = variable.set("inside")
        await asyncio.sleep(0)
        seen = variable.get()
        variable.reset(token)  # a token of another context would raise
        return seen

    async def check() -> tuple[Any, str]:
        return await run(sets()), variable.get()

    assert ((False, "inside"), "outside") == asyncio.run(check())


def test_cancelled_before_its_second_step() -> None:
    """The coroutine sees the cancellation, and so does what it waits for."""
    seen: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            seen.append("child")
            raise

    async def waits() -> None:
        task = asyncio.get_running_loop().create_task(child())
        try:
            await task
        finally:
            seen.append("finally")

    async def sleeps() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            seen.append("sleeps")

    async def check() -> list[bool]:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[list[Stepped[None]]] = loop.create_future()

        def begin() -> None:
            tasks = [start(loop, coro) for coro in (waits(), sleeps())]
            assert all(isinstance(task, Stepped) for task in tasks)
            loop.call_soon(lambda: [task.cancel() for task in tasks])  # type: ignore[union-attr]
            made.set_result(tasks)  # type: ignore[arg-type]

        loop.call_soon(begin)
        tasks = await made
        await asyncio.gather(*map(ended, tasks), return_exceptions=True)
        return [task.cancelled() for task in tasks]

    assert [True, True] == asyncio.run(check())
    assert {"sleeps", "finally"} <= set(seen)


@pytest.mark.parametrize("wait", [0, 5])
def test_cancelled_at_once(wait: float) -> None:
    """Cancelled in the callback that started it: before its Task has had any step."""
    seen: list[str] = []

    async def sleeps() -> None:
        try:
            await asyncio.sleep(wait)
        finally:
            seen.append("finally")

    async def check() -> bool:
        loop = asyncio.get_running_loop()
        made = loop.create_future()

        def begin() -> None:
            task = start(loop, sleeps())
            assert isinstance(task, Stepped)
            task.cancel()
            made.set_result(task)

        loop.call_soon(begin)
        task = await made
        await asyncio.gather(ended(task), return_exceptions=True)
        return bool(task.cancelled())

    assert asyncio.run(check()) is True
    assert ["finally"] == seen


def begun(*coros: Coroutine[Any, Any, Any]) -> "asyncio.Future[list[Any]]":
    """What `start` says of coroutines, from a callback of the loop."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[list[Any]] = loop.create_future()
    loop.call_soon(lambda: made.set_result([start(loop, coro) for coro in coros]))
    return made


async def asks(prompt: "Prompt[str]") -> str:
    try:
        said = await prompt
    except ValueError as error:
        said = str(error)
    task = asyncio.current_task()
    assert task is not None and not task.done()
    return said


def test_a_reply_is_no_turn_of_the_loop() -> None:
    """Whoever waits for a `Prompt` alone is done when that has its result, and so are the callbacks."""

    async def check() -> tuple[list[str], Any]:
        prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())
        (made,) = await begun(asks(prompt))
        seen: list[str] = []
        made.add_done_callback(lambda made: seen.append(made.result()))

        def reply() -> None:
            prompt.set_result("reply")
            seen.append("set")

        asyncio.get_running_loop().call_soon(reply)
        await asyncio.sleep(0)
        return seen, made.get_name()

    assert (["reply", "set"], "a query") == asyncio.run(check())


def test_a_reply_set_in_the_middle_of_a_task() -> None:
    """asyncio knows one current Task: the other goes on in the next turn."""

    async def check() -> str:
        prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())
        (made,) = await begun(asks(prompt))
        prompt.set_result("reply")
        assert not made.done()
        return str(await ended(made))

    assert "reply" == asyncio.run(check())


def test_no_reply() -> None:
    async def check() -> str:
        prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())
        (made,) = await begun(asks(prompt))
        prompt.set_exception(ValueError("no reply"))
        return str(await ended(made))

    assert "no reply" == asyncio.run(check())


def test_two_wait_for_one_reply() -> None:
    async def check() -> list[str]:
        prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())
        made = await begun(asks(prompt), asks(prompt))
        asyncio.get_running_loop().call_soon(prompt.set_result, "reply")
        return await asyncio.gather(*map(ended, made))

    assert ["reply", "reply"] == asyncio.run(check())


@pytest.mark.parametrize("replied", [False, True])
def test_cancelled_while_it_waits_for_a_reply(replied: bool) -> None:
    """Even where the reply came just then, as in any Task."""

    async def check() -> tuple[bool, bool]:
        prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())
        (made,) = await begun(asks(prompt))
        if replied:
            prompt.set_result("reply")  # from a Task: it goes on in the next turn
        made.cancel()
        await asyncio.gather(ended(made), return_exceptions=True)
        return made.cancelled(), prompt.cancelled()

    assert (True, not replied) == asyncio.run(check())


def test_a_reply_and_then_something_else() -> None:
    async def both(prompt: "Prompt[str]") -> str:
        said = await asks(prompt)
        async with asyncio.timeout(20):
            await asyncio.sleep(0)
        return said

    async def check() -> str:
        prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())
        (made,) = await begun(both(prompt))
        asyncio.get_running_loop().call_soon(prompt.set_result, "reply")
        return str(await ended(made))

    assert "reply" == asyncio.run(check())


@pytest.mark.parametrize(
    ("patience", "answered"),
    [(0, [None, None, b"reply", b"reply"]), (9, [b"reply", b"reply", None, None])],
    ids=["the oldest", "the newest"],
)
def test_one_is_dropped_beyond_the_limit(
    patience: float, answered: list[bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight_module, "PATIENCE", patience)

    async def query(wait: float) -> bytes:
        await asyncio.sleep(wait)
        return b"reply"

    async def check() -> tuple[list[bytes | None], int, int]:
        in_flight = InFlight(limit=2)
        loop = asyncio.get_running_loop()
        tasks: list[Any] = []
        loop.call_soon(lambda: tasks.extend(in_flight.start(query(0.05), "dns://:53") for _ in range(4)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (2, patience == 0) == (len(in_flight), in_flight.has_room())
        await in_flight.ended(1)
        assert in_flight.has_room()
        return [outcome(task) for task in tasks], dict(in_flight.dropped), len(in_flight)

    assert (answered, {"dns://:53": 2}, 0) == asyncio.run(check())


def test_failures_are_silence_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def at_once() -> bytes:
        raise ValueError("on purpose")

    async def later() -> bytes:
        await asyncio.sleep(0)
        raise ValueError("on purpose")

    async def check() -> list[bytes | None]:
        in_flight = InFlight()
        made: list[Any] = []
        asyncio.get_running_loop().call_soon(lambda: made.extend(in_flight.start(coro()) for coro in (at_once, later)))
        await asyncio.sleep(0)
        await asyncio.gather(ended(made[1]), return_exceptions=True)
        return [made[0], outcome(made[1])]

    assert [None, None] == asyncio.run(check())
    assert ["a query could not be answered"] * 2 == [record.message for record in caplog.records]
