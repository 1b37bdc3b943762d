"""What a chain of plugins comes to: a Response, silence, or a stream of Responses. No I/O; its wire is made in `encoding`.

RRsets hold their rdata as wire bytes, ready to send.
"""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import msgspec

from kdns.dns.types import NOERROR


class RRset(NamedTuple):
    """Records of one owner and type. TTL in seconds; rdata in wire form, names in it uncompressed."""

    name: str
    type: int
    ttl: int
    rdata: tuple[bytes, ...]


class ExtendedError(NamedTuple):
    """Why an answer is what it is (RFC 8914): a code, and text for a person.

    `remedy` goes into no reply: what whoever runs the server can do about it, as `kdns explain` says it.
    """

    code: int
    text: str = ""
    remedy: str = ""


Key = str | bytes  # "namespace/service", "namespace", "." (any change), a packed address, a file


class Made(NamedTuple):
    """How an answer was made, for log and metrics alone.

    `replayed` is told how often the memo gave the answer in its plugin's place.
    """

    by: str = ""  # the plugin that answered
    upstream: str = ""  # the upstream that was asked
    cached: str = ""  # hit, stale or miss, where a cache had a say
    replayed: Callable[[int], None] | None = None

    def counted(self, count: Callable[[int], None]) -> "Made":
        """The same, where this function is told of what the memo gives, besides whoever is already."""
        before = self.replayed
        if before is None:
            return self._replace(replayed=count)

        def both(times: int) -> None:
            before(times)
            count(times)

        return self._replace(replayed=both)


NOT_SAID = Made()


class Response(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An answer. Never changed in place: `replace`."""

    rcode: int = NOERROR
    authoritative: bool = True
    flags: int = 0  # RA, AD, CD, TC as an upstream said
    answer: tuple[RRset, ...] = ()
    authority: tuple[RRset, ...] = ()
    additional: tuple[RRset, ...] = ()
    stable_for: float = 0.0  # seconds for which the same query has the same octets
    depends: tuple[Key, ...] = ()  # what was looked at, what was not there included
    rotate: bool = False  # the last address RRset of the answer starts elsewhere each time
    foreign: bool = False  # from elsewhere: a cache may keep it for its TTL
    error: ExtendedError | None = None  # why
    options: bytes = b""  # EDNS options for who asked, as they stand on the wire
    cls: int = 0  # of the records, where it is not the question's
    without: int = 0  # flags that the reply does not have, whatever else says so
    made: Made = NOT_SAID


replace = msgspec.structs.replace


class Silence:
    """No reply at all."""


SILENCE = Silence()


class Stream:
    """Several messages for one query, in their order, as a zone transfer has them (RFC 5936 2.2). Over TCP only."""

    __slots__ = ("responses",)

    def __init__(self, responses: AsyncIterator[Response]) -> None:
        self.responses = responses


Answer = Response | Silence | Stream
