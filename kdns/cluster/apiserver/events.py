"""What an API server says: events of a watch, pages of a list, refusals; from bytes, no I/O.

Of each only what is acted on is decoded.
"""

from typing import Generic, TypeVar

import msgspec
from msgspec import field, Raw, Struct

from kdns.cluster.objects import Metadata
from kdns.errors import Refused, SourceError

T = TypeVar("T")

INITIAL_END = "k8s.io/initial-events-end"  # annotates the bookmark that ends a streamed list
LINE = 64 << 20  # octets of a line: no object of an API server comes near it


class Event(Struct, Generic[T], gc=False):
    type: str
    object: T


class Bare(Struct, gc=False):
    """What is left to understand where an object's fields are not what they should be."""

    metadata: Metadata = field(default_factory=Metadata)


class ListMeta(Struct, gc=False):
    resourceVersion: str = ""
    continue_: str | None = field(default=None, name="continue")


class Page(Struct, gc=False):
    metadata: ListMeta
    items: list[Raw] | None = None


class _Details(Struct, gc=False):
    retryAfterSeconds: float = 0.0


class Status(Struct, gc=False):
    """What an API server says in place of what was asked for."""

    code: int = 0
    reason: str | None = None
    message: str | None = None
    details: _Details | None = None


UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)
bare = msgspec.json.Decoder(Event[Bare])
bare_item = msgspec.json.Decoder(Bare)
error = msgspec.json.Decoder(Event[Status])
page = msgspec.json.Decoder(Page)


class Lines:
    """Chunks to lines; a line of many MB is put together once, not with each chunk."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete now; SourceError where one is longer than any object."""
        lines = chunk.split(b"\n")
        lines[0] = b"".join([*self._parts, lines[0]]) if len(lines) > 1 else lines[0]
        last = lines.pop()
        if lines:
            self._parts, self._size = [], 0
        if last:
            self._parts.append(last)
            self._size += len(last)
        if self._size > LINE:
            raise SourceError(f"a line of more than {LINE >> 20} MiB, which no object has")
        return lines


def refused(code: int, status: Status, retry_after: float = 0.0) -> Refused:
    """A refusal in one line, as kubectl's users know it: 403 Forbidden: services is forbidden: ..."""
    said = " ".join((status.message or "").split())[:500]
    reason = status.reason or ""
    text = ": ".join(filter(None, (" ".join(filter(None, (str(code), reason))), said if said != reason else "")))
    return Refused(code, text, max(retry_after, status.details.retryAfterSeconds if status.details else 0.0))
