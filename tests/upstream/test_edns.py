"""When a question carries EDNS: steps of what is asked and what comes, without sockets."""

import asyncio

import pytest

from kdns.upstream.edns import Edns, PROVEN_FOR, REFUSED_FOR

STEPS: list[tuple[str, list[str]]] = [  # seconds, what happened; expected: is it offered then, and after silence elsewhere
    ("", ["0: yes no"]),
    ("0 passed", ["1: yes yes", f"{PROVEN_FOR + 1}: yes no"]),
    ("0 silent", ["0: no no", "1000: no no"]),
    ("0 silent, 1 silent without", ["2: yes no"]),
    ("0 silent, 1 answered without", ["2: no no", "10000: no no"]),
    ("0 answered without", ["1: yes no"]),
    ("0 passed, 1 silent", ["2: yes yes"]),
    (f"0 passed, {PROVEN_FOR} silent", ["20: no no"]),
    ("0 refused", ["1: no no", f"{REFUSED_FOR + 1}: yes no"]),
]


@pytest.mark.parametrize(("steps", "expected"), STEPS)
def test_when_it_is_offered(steps: str, expected: list[str]) -> None:
    async def run() -> list[str]:
        async def check() -> bool:
            return False

        edns = Edns(check)
        for step in filter(None, steps.split(", ")):
            second, what = step.split(" ", 1)
            match what:
                case "passed":
                    edns.passed = float(second)
                case "silent":
                    edns.silent(float(second))
                case "silent without":
                    edns.silent_without()
                case "answered without":
                    edns.answered_without()
                case "refused":
                    edns.refused(float(second))
        seconds = [line.split(":")[0] for line in expected]
        said = [[edns.offered(float(second), silence) for silence in (False, True)] for second in seconds]
        edns.rest()
        return [f"{s}: {' '.join('yes' if offered else 'no' for offered in both)}" for s, both in zip(seconds, said, strict=True)]

    assert expected == asyncio.run(run())


def test_it_is_offered_again_once_a_check_has_its_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdns.upstream.edns.RECHECK", 0.0)
    checks: list[bool] = []

    async def run() -> None:
        async def check() -> bool:
            checks.append(len(checks) == 2)
            return checks[-1]

        edns = Edns(check)
        edns.silent(1.0)
        edns.answered_without()
        assert edns.absent(2.0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert ([False, False, True], True) == (checks, edns.offered(3.0, False))

    asyncio.run(run())


def test_nothing_is_left_behind() -> None:
    async def run() -> int:
        async def check() -> bool:
            return False

        edns = Edns(check)
        edns.silent(1.0)
        edns.answered_without()
        edns.rest()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert edns.offered(2.0, False)
        return len(asyncio.all_tasks())

    assert 1 == asyncio.run(run())
