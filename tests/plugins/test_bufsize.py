import asyncio

import dns.flags
import pytest

from kdns.dns.response import Response, RRset
from kdns.dns.types import A
from tests.support.configured import ask, generation_of, in_block

MANY = Response(answer=(RRset("example.org.", A, 5, tuple(bytes((10, 0, n, 1)) for n in range(250))),))


@pytest.mark.parametrize(
    ("block", "payload", "size", "announced"),
    [
        ("errors", 4096, 4096, 1232),
        ("errors", 65535, 65507, 1232),
        ("bufsize", 4096, 1232, 1232),
        ("bufsize 512", 4096, 512, 1232),
        ("bufsize 1452", 4096, 1452, 1232),
        ("bufsize 4096", 4096, 4096, 1232),
        ("bufsize 4096", 1400, 1400, 1232),
        ("bufsize 4096", None, 512, None),
    ],
)
def test_the_size_of_replies(block: str, payload: int | None, size: int, announced: int | None) -> None:
    options = {} if payload is None else {"use_edns": 0, "payload": payload}
    reply = asyncio.run(ask(generation_of(in_block(block), MANY), "example.org", **options))
    assert (announced or 0) == reply.payload
    room = size - 12 - 17 - (11 if payload else 0)
    assert min(250, room // 16) == len(reply.answer[0])
    assert (room // 16 < 250) == bool(reply.flags & dns.flags.TC)

