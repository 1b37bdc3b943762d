"""What an API server says: events of a watch, pages of a list, refusals; from bytes, no I/O.

Of each only what is acted on is decoded.
"""

from typing import Generic, TypeVar

import msgspec
from msgspec import field, Raw, Struct, UNSET, UnsetType

from kdns.cluster.objects import Metadata
from kdns.errors import Refused, SourceError

T = TypeVar("T")

INITIAL_END = "k8s.io/initial-events-end"  # annotates the bookmark that ends a streamed list
OBJECT = 4 << 20  # octets of an object: an API server takes none of more than 3 MiB


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
    kind: str = ""
    metadata: ListMeta = field(default_factory=ListMeta)
    items: list[Raw] | UnsetType | None = UNSET


class _Marked(Struct, gc=False):
    """A bookmark by what it marks."""

    kind: str = ""


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
bookmark = msgspec.json.Decoder(Event[_Marked])


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
        if self._size > OBJECT:
            raise SourceError(f"an object of more than {OBJECT >> 20} MiB")
        return lines


def refused(code: int, status: Status, retry_after: float = 0.0) -> Refused:
    """A refusal in one line, as kubectl's users know it: 403 Forbidden: services is forbidden: ..."""
    said = " ".join((status.message or "").split())[:500]
    reason = (status.reason or "")[:100]
    text = ": ".join(filter(None, (" ".join(filter(None, (str(code), reason))), said if said != reason else "")))
    return Refused(code, text, max(retry_after, status.details.retryAfterSeconds if status.details else 0.0))
