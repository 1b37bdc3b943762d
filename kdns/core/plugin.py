"""The contract of plugins.

A plugin is one file, `plugins/<name>.py`, with one class that derives from `Plugin`, and a place in `plugins.ORDER`. Its
module's docstring is its manual. An object of it is made for each time its directive stands in a server block, in the order of
ORDER. How to write one is shown step by step in docs/plugin.md.

Rules that must never be broken:

- A hook counts where a class overrides it, and only there: a class without `answer` is no link of the chain.
- The memo answers for the whole chain. What may be answered differently by who asks, when, or how often, says so: a class
  that overrides `answer` and does not set `same_for_everyone` (or give an `audience`) keeps its server block out of the memo.
- A Response says for how long its bytes hold (`stable_for`, 0 unless said) and what it was made from (`depends`, what was not
  there included). A link that changes another's Response keeps the least of the one and the sum of the other.
- Who is to hear of each query has a `line`, which the memo keeps beside the reply and tells of hits.
- EDNS options, flags without a meaning and the spelling of a name change nothing: the memo answers as if they were not there.
  A plugin that looks at an option says so (`Block.heed_options`, `Block.send_options`).
- `at_once` says what `answer` says. It counts where the class that has the last word on `answer` has it on both.
- What is raised in `answer` is logged, counted and answered with SERVFAIL, in one place (`Block.answer`).
- A plugin asks its block for what it needs, and reaches nothing behind it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TYPE_CHECKING

from kdns.config.directive import Directive
from kdns.config.options import NoOptions
from kdns.core.served import Line
from kdns.dns.query import Query, Transport
from kdns.dns.response import Answer, Key, Response, RRset
from kdns.dns.transfer import Outgoing

if TYPE_CHECKING:
    from kdns.core.block import Block

Handler = Callable[[Query], Awaitable[Answer]]
Known = Callable[[Query], Answer | None]  # the same where nobody has to wait, None where somebody has


class Exchange(NamedTuple):
    """A query, what was answered, the reply without its id, and how many seconds that took."""

    query: Query
    response: Response
    reply: bytes
    seconds: float


class Fact(NamedTuple):
    """What is counted of a query and its reply."""

    server: str
    zone: str
    view: str
    transport: Transport
    ipv6: bool
    type: int
    do: bool
    rcode: int
    plugin: str
    request_size: int  # octets
    response_size: int


class Plugin:
    """What stands in a server block under its name. Each hook has a default; a class overrides those that it needs."""

    table: ClassVar[type] = NoOptions  # its options, a dataclass: see config.options
    once: ClassVar[bool] = False  # may stand only once in a server block
    same_for_everyone: bool = False  # `answer` does not ask who asks, nor when, nor how often; an object may know better
    asks_more: bool = False  # it has an `audience`, and yet asks more than that: the memo is left out
    told: Sequence[str] = (".",)  # zones whose names `at_once` may answer; of others it says no more than `next`
    passed_by: bool = False  # `answer` and `count` of this object are left out, as where the first of several does it for all
    internet_only: ClassVar[bool] = False  # `answer` is not asked for names of other classes, such as version.bind CH
    note: ClassVar[str] = ""  # what a person should know who writes it, such as that it has no effect here

    def __init__(self, block: "Block", directive: Directive, options: Any) -> None:
        """The directive and its options as they were read; CorefileError (`directive.error`) where they cannot be served.

        Nothing is bound, dialled or started here. Other plugins of the block may not be there yet.
        """
        self.block, self.directive, self.options = block, directive, options

    def answer(self, query: Query, next: Handler) -> Awaitable[Answer]:
        """Answer, or `return await next(query)`.

        Most override it with `async def`. One that passes most queries on unchanged spares each of them a coroutine where it
        is a plain function: `return next(query)`, or what a coroutine of its own comes to.
        """
        return next(query)

    def at_once(self, query: Query, next: Known) -> Answer | None:
        """What `answer` would say, where that can be said without waiting; None: `answer` is asked, as if nothing had been.

        It is worth it where most queries pass or end, for a coroutine costs more than many an answer. `next` is None, too,
        where somebody behind has to wait. Nothing is counted or kept before it is known that there is an answer.
        """
        return None

    def audience(self, client: str) -> bytes:
        """A few octets that stand for all clients whom `answer` treats as it does this one (an address as text).

        For a class whose answers depend on the client's address besides the question, and on nothing else. The memo then
        keeps replies by audience; that costs each hit of this listening address a look-up. What an address is treated by
        may change where the plugin tells the block to forget the packed address.
        """
        return b""

    def takes(self, query: Query) -> bool:
        """Does the server block take this query? Where not, the next one of the same zone is asked (*view*)."""
        return True

    def labels(self, query: Query) -> Mapping[str, Callable[[], str]]:
        """What this plugin knows of a query, by names such as `kubernetes/client-namespace` (*metadata*)."""
        return {}

    def search_list(self, query: Query) -> tuple[tuple[str, ...], tuple[Key, ...]]:
        """The search list of whoever asks, where this plugin knows it, for *autopath*: the name asked is below the first of it.

        And what it was told from: where there is none, another answer is due as soon as one of these changes.
        """
        return (), ()

    def transferable(self) -> Mapping[str, Key]:
        """The zones that this plugin has and others may take over, by origin, each with the key that its changes touch."""
        return {}

    def outgoing(self, origin: str, query: Query) -> Outgoing:
        """One of these zones as it is now, for who asks for all of it."""
        raise NotImplementedError

    async def notified(self, query: Query) -> Response | None:
        """What is said to a server that says that a zone of its own has changed (RFC 1996); None where it is not ours."""
        return None

    def witness(self, exchange: Exchange) -> None:
        """A query was answered. A server block where a plugin overrides this is not answered from the memo."""

    def line(self, exchange: Exchange) -> Line | None:
        """What is said of this query, and of each that the memo answers with the same reply (*log*); None: nothing.

        The first plugin of a server block that overrides this has the say.
        """
        return None

    def count(self, fact: Fact, times: int, seconds: float) -> None:
        """So many queries alike were answered, by the memo or not, and took so many seconds each (*prometheus*)."""

    def report(self, query: Query, why: str, error: BaseException | None) -> None:
        """A query ended in SERVFAIL, `why` is what its plugin gave as the reason; `error` is what a plugin raised.

        The last one that overrides this has the say (*errors*).
        """

    def ready(self) -> str | None:
        """Why it cannot answer yet, for *ready*."""
        return None

    def remarks(self) -> list[str]:
        """What is amiss though queries are answered, a line each, for *ready*."""
        return []

    async def account(self, query: Query) -> Mapping[str, Any]:
        """What it knows of the objects behind a name, in plain values, for `kdns explain`; it may wait a second for more."""
        return {}

    async def find(self, text: str, after: str, most: int) -> list[Mapping[str, Any]]:
        """At most so many objects whose names have the text in them, in order of name, those after one only.

        In plain values, for a person; `name` is what `account` and `records` are asked by.
        """
        return []

    def records(self, name: str) -> Iterable[RRset]:
        """All records of the object behind a name, those of names below it too."""
        return ()

    def search_try(self, name: str) -> tuple[str, str] | None:
        """Of a name that does not exist and that nobody meant: what was asked for, and the suffix that a search list put behind."""
        return None

    def meant(self, query: Query) -> str:
        """The whole name of what a person perhaps means who asks for this name, which is not of its zones; empty where none is."""
        return ""

    def flush(self, name: str) -> int:
        """Forget what it keeps of others' answers for a name; how many those were."""
        return 0

    def example(self) -> str | None:
        """A name that it answers, for a person to try."""
        return None

    async def check(self) -> None:
        """Awaited by `kdns check`: CorefileError (`directive.error`) for what only a start would find, such as a missing file.

        Nothing that the Corefile does not name itself is asked for: a Corefile is checked elsewhere than where it will serve.
        """

    async def run(self) -> None:
        """Lives as long as the block serves, and is cancelled then; where it fails it is begun again."""

    async def lame(self) -> None:
        """Awaited between SIGTERM and the end of service."""

    def close(self) -> None:
        """This generation ends."""

    @classmethod
    def overrides(cls, hook: str) -> bool:
        """Does the class have a hook of its own?"""
        return getattr(cls, hook) is not getattr(Plugin, hook)


class Kept:
    """What outlives a reload and has a beginning and an end; see `Block.keep`."""

    async def start(self) -> None:
        """Awaited once, before the first query."""

    async def close(self) -> None:
        """No generation wants it any more."""
