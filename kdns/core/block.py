"""A server block at work: its chain of plugins, and what a plugin may ask for.

No sockets here: `Listener` asks a block for an answer, `server` for what its plugins arranged.
"""

import logging
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from kdns.config.corefile import ServerBlock
from kdns.config.directive import Directive
from kdns.core import aliases
from kdns.core.behind import Address, Behind, Encryption, Page
from kdns.core.chain import chain, known, UNANSWERED
from kdns.core.metrics import Labels, Metric, Metrics, OfServer
from kdns.core.plugin import Exchange, Fact, Handler, Known, Plugin
from kdns.core.served import Line
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, ExtendedError, Key, replace, Response, RRset
from kdns.dns.types import AXFR, IN, IXFR, LARGEST_UDP, NOTIMP, OPCODE, SERVFAIL

log = logging.getLogger(__name__)
T = TypeVar("T")

HOPS = 10  # aliases followed for one query
FAILED = Response(rcode=SERVFAIL, authoritative=False)


class Block:
    """One server block."""

    def __init__(self, parsed: ServerBlock, behind: Behind) -> None:
        self.parsed = parsed
        self.zones = tuple(dict.fromkeys(key.zone for key in parsed.keys))
        self.plugins: list[tuple[str, Plugin]] = []
        self.listeners: list[Address] = []
        self.addresses: list[str] = []  # to listen on; none: all of the machine
        self.encryption: Encryption | None = None  # of those addresses that are encrypted
        self.udp_size = LARGEST_UDP  # octets of the largest reply over UDP, whatever the client takes
        self.root = ""  # the folder that relative paths of files start from
        self.patience: dict[str, float] = {}  # with TCP: seconds to idle, read and write, and queries of one connection
        self.view = ""  # the name of the *view*
        self.near: tuple[str, ...] = ()  # zones that are answered from memory, without waiting
        self.memoized = False
        self.is_told_apart = True  # does the question, and the audience, tell whether it takes a query?
        self.audiences: list[Callable[[str], bytes]] = []
        self.counters: list[Callable[[Fact, int, float], None]] = []
        self.witnesses: list[Callable[[Exchange], None]] = []
        self.line: Callable[[Exchange], Line | None] | None = None
        self.conditions: list[Callable[[Query], bool]] = []
        self.notes: list[str] = []  # what a person should know who wrote this block, a line each
        self._behind = behind
        self.edns_options: frozenset[int] = frozenset()  # codes of the client's EDNS options that may change an answer
        self.sent_options: frozenset[int] = frozenset()  # of these, codes of those that go to upstreams, whoever put them in
        self.recursive = False  # do others answer what is not known here? Then all replies say RA
        self._any_class = False
        self._labelled: tuple[str, ...] = ()  # zones whose names have labels
        self._labels: list[Callable[[Query], Mapping[str, Callable[[], str]]]] = []
        self._handler: Handler = chain([])
        self._known: Known = known([])
        self._of_other_classes: Handler = chain([])
        self._transfers = False  # are zone transfers some plugin's affair?
        self._panics = behind.metrics.counter("coredns_panics_total", "Errors of kdns's own that met a query.")
        self._report: Callable[[Query, str, BaseException | None], None] = _report

    # ------------------------------------------------------------ what a plugin may ask

    def named(self, name: str) -> list[Plugin]:
        """The plugins of a name in this server block, in the order of the chain."""
        return [plugin for other, plugin in self.plugins if other == name]

    def directives(self, name: str) -> list[Directive]:
        """The directives of a name in this server block, in the order of the Corefile."""
        return [directive for directive in self.parsed.directives if directive.name == name]

    @property
    def all_blocks(self) -> Sequence["Block"]:
        """All server blocks, in the order of the Corefile."""
        return self._behind.blocks

    @property
    def server(self) -> str:
        """How metrics name the first address that it listens on: dns://:53."""
        return self.listeners[0].server if self.listeners else ""

    @property
    def stopping(self) -> bool:
        """Has SIGTERM come?"""
        return self._behind.stopping

    @property
    def corefile(self) -> str:
        """The path of the Corefile; empty where it cannot be read again."""
        return self._behind.corefile

    @property
    def files(self) -> Mapping[str, str]:
        """The text of the Corefile and of what it imports, by path."""
        return self._behind.files

    async def reload(self) -> bool:
        """Read the Corefile again; whether what it says could be served."""
        return await self._behind.reload()

    def path(self, file: str) -> str:
        """Where a file is that the Corefile names (see *root*)."""
        return posixpath.join(self.root, file)

    def keep(self, key: Any, make: Callable[[], T]) -> T:
        """What outlives a reload: the thing that the generation before made under an equal key, or a new one."""
        return self._behind.keep(key, make)

    def let_go(self, key: Any) -> None:
        """Keep this no more: nobody wants it."""
        self._behind.let_go(key)

    def http(self, address: str, path: str, page: Page) -> None:
        """Answer GET of a path at HOST:PORT or :PORT."""
        self._behind.http(address, path, page)

    def watch(self, paths: Callable[[], Sequence[str]], changed: Callable[[], None], every: float) -> None:
        """Call `changed` when one of the files is not what it was; look each so many seconds."""
        self._behind.watch(paths, changed, every)

    def on_forget(self, forget: Callable[[Iterable[Key]], None]) -> None:
        """Tell this function of keys that changed, as the memo is told: it keeps answers, too."""
        self._behind.on_forget(forget)

    def forget(self, keys: Iterable[Key]) -> None:
        """These changed: what depends on one of them is forgotten everywhere."""
        self._behind.forget(keys)

    def failed(self, query: Query, why: str, error: BaseException | None = None) -> None:
        """A query failed where nobody may be there to hear of it; `error` is a bug of ours, and counted."""
        if error is not None:
            self._panics.inc()
        self._report(query, why, error)

    @property
    def metrics(self) -> Metrics:
        """All metrics of the process, for parts that are shared between server blocks."""
        return self._behind.metrics

    def counter(self, name: str, help: str, labels: Labels = ()) -> Metric:
        """What only grows. A first label `server` is filled in."""
        return self._of_server(self.metrics.counter(name, help, labels), labels)

    def gauge(self, name: str, help: str, labels: Labels = ()) -> Metric:
        """What goes up and down. A first label `server` is filled in."""
        return self._of_server(self.metrics.gauge(name, help, labels), labels)

    def histogram(self, name: str, help: str, labels: Labels, buckets: Sequence[float]) -> Metric:
        """How values spread. A first label `server` is filled in."""
        return self._of_server(self.metrics.histogram(name, help, labels, buckets), labels)

    def _of_server(self, metric: Metric, labels: Labels) -> Metric:
        return OfServer(metric, lambda: self.server) if labels[:1] == ("server",) else metric

    def label(self, query: Query, name: str) -> str | None:
        """What a plugin here knows of a query by this name (`plugin/label`); None where none does, or *metadata* is not there."""
        if self._labelled and any(names.is_below(query.name, zone) for zone in self._labelled):
            for labels in self._labels:
                value = labels(query).get(name)
                if value is not None:
                    return value()
        return None

    def behind(self, plugin: Plugin) -> Handler:
        """The plugins after this one, as they answer names of the class IN."""
        every = [other for _, other in self.plugins]
        return chain(every[every.index(plugin) + 1 :])

    async def lookup(self, query: Query, name: str, type: int) -> Answer:
        """A question on behalf of a query to all server blocks of its listening address, as for the target of an alias."""
        if len(query.trail) >= HOPS:
            return replace(FAILED, error=ExtendedError(0, f"more than {HOPS} aliases in a row"))
        return await self.listeners[0].answer(query.about(name, type))

    async def follow(self, query: Query, alias: Response, soa: tuple[RRset, ...]) -> Answer:
        """An answer that ends in an alias, completed by what its target has of the type asked.

        The code is the target's, the SOA of a negative answer too (RFC 6604 2.1, RFC 2308 2.1); where nothing here can
        resolve the target, the alias stands alone. An alias that leads back to itself has nothing: `soa`, of its zone, says so.
        """
        return await aliases.follow(self.lookup, query, alias, soa)

    @property
    def is_overheard(self) -> bool:
        """Does somebody besides the client hear of each query, and why it was answered so?"""
        return bool(self.witnesses) or self.line is not None

    # ------------------------------------------------------------ what plugins arrange

    def listen_on(self, addresses: Iterable[str]) -> None:
        """Listen on these addresses besides those that were named already."""
        self.addresses += [address for address in dict.fromkeys(addresses) if address not in self.addresses]

    def encrypt(self, encryption: Encryption) -> None:
        """Encrypt the addresses that the keys want encrypted: tls://, https://."""
        self.encryption = encryption

    def bound_udp(self, octets: int) -> None:
        """No reply over UDP is larger, whatever the client takes."""
        self.udp_size = octets

    def bound_connections(self, bounds: Mapping[str, float]) -> None:
        """TCP connections have these bounds: seconds to `idle`, `read` and `write`, and `queries` of one of them."""
        self.patience |= bounds

    def bound_in_flight(self, queries: int) -> None:
        """No more queries wait, in all server blocks."""
        self._behind.most_in_flight = queries

    def bound_memo(self, octets: int) -> None:
        """The memos of all listening addresses take no more together."""
        self._behind.memo_budget = octets

    def answer_at_once(self, zones: Iterable[str]) -> None:
        """Names in these zones are answered from memory: under overload they go before those that may wait for others."""
        self.near += tuple(zones)

    def ask_others(self) -> None:
        """What is not known here is asked of upstreams, names of other classes than IN as well."""
        self.recursive = True

    def answer_any_class(self) -> None:
        """Names of other classes than IN are answered here, upstreams or not."""
        self._any_class = True

    def heed_options(self, codes: frozenset[int]) -> None:
        """EDNS options of these codes may change an answer: nobody else may have it."""
        self.edns_options |= codes

    def send_options(self, codes: frozenset[int]) -> None:
        """EDNS options of these codes, which a plugin puts into queries, go to upstreams."""
        self.sent_options |= codes
        self.heed_options(codes)

    def show_view(self, name: str) -> None:
        """Metrics name this view."""
        self.view = name

    def label_names(self, zones: Iterable[str]) -> None:
        """Queries for names in these zones have labels, see `label`."""
        self._labelled = tuple(zones)

    def start_paths_at(self, folder: str) -> None:
        """Relative paths start in this folder."""
        self.root = folder

    # ------------------------------------------------------------ at work

    def complete(self, plugins: list[tuple[str, Plugin]]) -> None:
        """These are the plugins, in their order: make the chain, and find out which hooks they have."""
        self.plugins = plugins
        every = [plugin for _, plugin in plugins]
        self._handler, self._known = chain(every), known(every)
        if self.recursive or self._any_class:
            self._of_other_classes = chain([plugin for plugin in every if not plugin.internet_only])
        self._transfers = any(name in ("transfer", "erratic") for name, _ in plugins)
        self.counters = [plugin.count for plugin in every if plugin.overrides("count") and not plugin.passed_by]
        self.witnesses = [plugin.witness for plugin in every if plugin.overrides("witness")]
        self.line = next((plugin.line for plugin in every if plugin.overrides("line")), None)
        self.conditions = [plugin.takes for plugin in every if plugin.overrides("takes")]
        self.audiences = [plugin.audience for plugin in every if plugin.overrides("audience") and not plugin.same_for_everyone]
        self._labels = [plugin.labels for plugin in every if plugin.overrides("labels")]
        self._report = next((plugin.report for plugin in reversed(every) if plugin.overrides("report")), _report)
        self.is_told_apart = all(_leaves_the_memo(plugin) for plugin in every if plugin.overrides("takes"))
        self.settle_memo()

    def settle_memo(self) -> None:
        """May the memo answer in the place of all plugins, and of those who watch each query?"""
        self.memoized = not self.witnesses and all(_leaves_the_memo(plugin) for _, plugin in self.plugins)

    def at_once(self, query: Query) -> Answer | None:
        """What the chain says where nobody has to wait; None: `answer` has to be asked, for errors too."""
        if query.flags & OPCODE or query.cls != IN or query.type in (AXFR, IXFR):
            return None
        try:
            answer = self._known(query)
        except Exception:  # `answer` meets it again
            return None
        return None if isinstance(answer, Response) and answer.rcode == SERVFAIL else answer

    async def answer(self, query: Query) -> Answer:
        """What the chain says. The one place where an error of a plugin is caught."""
        try:
            if query.type in (AXFR, IXFR) and not self._transfers:
                return UNANSWERED
            if query.flags & OPCODE:
                return await self._notified(query) if query.cls == IN else UNANSWERED
            answer = await (self._handler(query) if query.cls == IN else self._of_other_classes(query))
            if isinstance(answer, Response) and answer.rcode == SERVFAIL and answer.error is not None and answer.error.text:
                self._report(query, answer.error.text, None)
            return answer
        except Exception as error:
            self.failed(query, f"{type(error).__name__}: {error}", error)
            return FAILED

    async def _notified(self, query: Query) -> Response:
        """What is said to NOTIFY: by the plugin whose zone it is."""
        for _, plugin in self.plugins:
            if plugin.overrides("notified") and (response := await plugin.notified(query)) is not None:
                return response
        return Response(rcode=NOTIMP, authoritative=False)


def _leaves_the_memo(plugin: Plugin) -> bool:
    """May the memo answer in its place?"""
    decides = plugin.overrides("answer") or plugin.overrides("takes")
    return not decides or plugin.same_for_everyone or (plugin.overrides("audience") and not plugin.asks_more)


def _report(query: Query, why: str, error: BaseException | None) -> None:
    """How an error is logged where the plugin *errors* says nothing else: only what is a bug of ours."""
    if error is not None:
        log.error("%s %d: %s", query.name, query.type, why, exc_info=error)
