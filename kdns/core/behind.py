"""What a server block has behind it: a generation of the configuration, and its listening addresses. No I/O."""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TYPE_CHECKING, TypeVar

from kdns.core.metrics import Metrics
from kdns.dns.query import Query
from kdns.dns.response import Answer, Key

if TYPE_CHECKING:
    from kdns.core.block import Block

T = TypeVar("T")


class Request(NamedTuple):
    """What a page of HTTP is asked with: headers, their names in any spelling, and what stands after the `?`."""

    headers: Mapping[str, str]
    query: Mapping[str, str]


Page = Callable[[Request], Awaitable[tuple[int, str, bytes]]]  # (status, content type, body)


class Behind(Protocol):
    """What a block has behind it, for itself and never for a plugin: a generation of the configuration."""

    blocks: list["Block"]
    metrics: Metrics
    corefile: str
    files: dict[str, str]
    stopping: bool
    most_in_flight: int
    memo_budget: int

    def keep(self, key: Any, make: Callable[[], T]) -> T: ...
    def let_go(self, key: Any) -> None: ...
    def http(self, address: str, path: str, page: Page) -> None: ...
    def watch(self, paths: Callable[[], Sequence[str]], changed: Callable[[], None], every: float) -> None: ...
    def on_forget(self, forget: Callable[[Iterable[Key]], None]) -> None: ...
    def forget(self, keys: Iterable[Key]) -> None: ...
    async def reload(self) -> bool: ...


class Encryption(Protocol):
    """How listening addresses are encrypted; equal are those that do it in the same way."""

    @property
    def context(self) -> "ssl.SSLContext":
        """What a new connection of DNS over TLS is encrypted by; another one once certificates have changed."""

    @property
    def http_context(self) -> "ssl.SSLContext":
        """The same of DNS over HTTPS: what is spoken inside, which the client is told (ALPN), is another."""


class Address(Protocol):
    """A listening address, as a block knows it."""

    server: str

    async def answer(self, query: Query) -> Answer: ...
