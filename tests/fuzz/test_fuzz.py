"""A short run of each fuzzer, all that ever failed, and that they do find something."""

import asyncio
from random import Random

import pytest

from kdns.core.listener import Listener
from tests.fuzz import ALL
from tests.fuzz.corefiles import Corefiles
from tests.fuzz.datagrams import Datagrams
from tests.fuzz.judging import cases, Cost, cost, Found, run
from tests.fuzz.mutation import LONGEST, mutated

COUNT = 8000  # datagrams; of the rest as `make fuzz` has it


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_found(name: str) -> None:
    make, part = ALL[name]
    asyncio.run(run(make(Random(53)), max(30, int(COUNT * part)), cases(name)))


def test_the_same_seed_makes_the_same_inputs() -> None:
    assert _made(1) == _made(1) != _made(2)


def _made(seed: int) -> list[bytes]:
    fuzzer = Corefiles(Random(seed))
    return [fuzzer.make() for _ in range(20)]


def test_what_is_made_is_bounded() -> None:
    rnd = Random(1)
    assert LONGEST == max(len(mutated(rnd, [b"x" * 3000])) for _ in range(1000))


LIES = {
    "another id": lambda wire, reply: b"\0\0" + reply[2:] if wire[:2] != b"\0\0" else reply,
    "another question": lambda wire, reply: reply[:13] + bytes((reply[13] ^ 1,)) + reply[14:] if len(reply) > 14 else reply,
    "no reply, or another opcode": lambda wire, reply: reply[:2] + bytes((reply[2] & 0x7F,)) + reply[3:],
    "octets": lambda wire, reply: reply + bytes(5000),
    "silence": lambda wire, reply: None,
    "TrailingJunk": lambda wire, reply: reply + b"\0",
}


@pytest.mark.parametrize("why", LIES)
def test_a_wrong_reply_is_found(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Listener.reply

    async def reply(self: Listener, wire: bytes, *more: object) -> object:
        made = await honest(self, wire, *more)  # type: ignore[arg-type]
        return LIES[why](wire, made) if isinstance(made, bytes) else made

    monkeypatch.setattr(Listener, "reply", reply)
    with pytest.raises(Found, match=why):
        asyncio.run(run(Datagrams(Random(1)), 200, []))


class Dear:
    """What takes more steps than it may."""

    dear, bound, bound_by_octet = 1, Cost(10, 1 << 20), Cost(1, 0)

    async def prepare(self) -> None: ...
    async def end(self) -> None: ...
    def make(self) -> bytes:
        return b"abc"

    async def judge(self, octets: bytes) -> None:
        from kdns.dns import names

        for _ in range(20):
            names.labels("a.b.")


@pytest.mark.plain  # what is compiled takes steps that nobody counts
def test_steps_are_bounded() -> None:
    with pytest.raises(Found, match="of steps for 3 octets"):
        asyncio.run(run(Dear(), 1, []))


def test_cost_counts_memory() -> None:
    async def work() -> None:
        bytearray(1 << 20)

    assert (1 << 20) <= asyncio.run(cost(work)).memory < 2 << 20
