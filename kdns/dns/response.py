"""What a plugin answers: RRsets with their rdata as wire bytes, ready to send. No I/O; its wire is made in `encoding`."""

from collections.abc import Callable
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
    """Why an answer is what it is (RFC 8914): a code, and text for a person."""

    code: int
    text: str = ""


Key = str | bytes  # "namespace/service", "namespace", "." (any change), a packed address, a file


class Response(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a plugin answers. Never changed in place: `replace`."""

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
    made_by: str = ""  # the plugin that answered
    upstream: str = ""  # the upstream that was asked, for log
    cached: str = ""  # hit, stale or miss, where a cache had a say, for log
    error: ExtendedError | None = None  # why
    replayed: Callable[[int], None] | None = None  # told how often the memo gave this answer in its plugin's place


replace = msgspec.structs.replace
NO_ANSWER = Response(rcode=-1)  # silence: compared by identity
