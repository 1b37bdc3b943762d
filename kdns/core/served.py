"""Queries as they were served, for who hears of each of them: those that the memo answers included (*log*). No I/O."""

from typing import Protocol

from kdns.dns.query import Address, decode, Query, Transport
from kdns.errors import FormatError


class Served:
    """A query that was answered: its octets as they came, who asked, what was asked, octets of the reply, and seconds it took.

    `client` and `local` are addresses, or struct sockaddr as the kernel wrote it.
    """

    __slots__ = ("client", "local", "seconds", "size", "transport", "wire")

    def __init__(
        self, wire: bytes, client: Address | bytes, local: Address | bytes, transport: Transport, size: int, seconds: float
    ) -> None:
        self.wire, self.client, self.local, self.transport = wire, client, local, transport
        self.size, self.seconds = size, seconds

    def query(self) -> Query | None:
        """The query itself, decoded anew: hits of the memo are not decoded otherwise."""
        try:
            return decode(self.wire, self.client, self.local, self.transport)
        except FormatError:
            return None


class Line(Protocol):
    """What is said of each query that gets one and the same reply: see `Plugin.line`."""

    def write(self, served: Served) -> None:
        """Such a query was served."""

    def __len__(self) -> int:
        """Octets of memory that it takes, beside what many share."""
