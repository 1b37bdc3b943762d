"""*autopath* - goes through the search list in the client's place.

Description
    A client in a Pod asks for `example.com.default.svc.cluster.local.` first, then for two or more names that do not exist
    either, and for `example.com.` last. With this plugin the first of these is answered at once: where it does not exist, the
    names that would come next are looked up here, as any client's question would be, and the first that exists is the answer,
    with an alias from the name asked. Where none exists, or one cannot be looked up, the answer is as without this plugin, and
    the client goes on by itself.

    With `@kubernetes` the search list is NAMESPACE.svc.ZONE, svc.ZONE, ZONE, and after these what /etc/resolv.conf has where
    kdns runs:

    - with `pods verified` in *kubernetes*, NAMESPACE is that of the Pod whose address asks; where Pods of several namespaces
      have it, as on a host's network, nothing is completed. A replaced Pod's address counts as soon as the API server tells.
    - else the question itself says it: NAME.NAMESPACE.svc.ZONE, where there is such a namespace. No Pods are watched, and an
      answer is the same for everyone. It is for clusters whose Pods use search lists, as they all do by default: who asks
      for such a name with a final dot gets the answer of a shorter one, too.

    Answers are kept by the memo until something changes that they were made of, in the first case for each namespace.

Syntax
    autopath [ZONES...] FILE|@kubernetes

    - ZONES are those whose names are completed, the server block's own by default.
    - FILE has the search list, as /etc/resolv.conf has; a change is taken up within seconds.

Metrics
    `coredns_autopath_success_total{server}`: queries that were completed.

Examples
    The search lists of Pods, with no watch of Pods:

        . {
            autopath @kubernetes
            kubernetes cluster.local {
                manifests zones/cluster.yaml
            }
            whoami
        }

    One search list for all:

        . {
            autopath /etc/resolv.conf
            whoami
        }
"""

import logging
from dataclasses import dataclass

from kdns.config.directive import Directive
from kdns.config.options import argument
from kdns.config.values import origins
from kdns.core.block import Block
from kdns.core.chain import is_unanswered
from kdns.core.files import read_text
from kdns.core.plugin import Handler, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, Key, replace, Response, RRset
from kdns.dns.types import CNAME, NOERROR, NXDOMAIN
from kdns.errors import FileError

log = logging.getLogger(__name__)

RESOLV_CONF = "/etc/resolv.conf"
LARGEST = 1 << 16  # octets of a file
WATCH = 1.0  # seconds between looks at it


def _where(o: Directive) -> tuple[tuple[str, ...], str]:
    """The zones, and the last word."""
    *zones, source = o.arguments(1)
    return tuple(zone for word in zones for zone in origins(word)), source


@dataclass(frozen=True)
class Options:
    where: tuple[tuple[str, ...], str] = argument(_where)


class Autopath(Plugin):
    table = Options
    once = True
    internet_only = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.block = block
        zones, source = options.where
        self._zones = zones or block.zones
        self._knows = source.removeprefix("@") if source.startswith("@") else ""  # the plugin that knows search lists
        self._path = RESOLV_CONF if self._knows else block.path(source)
        self._key: Key = f"autopath {self._path}"
        self._search: tuple[str, ...] = ()
        self._completed = block.counter("coredns_autopath_success_total", "Queries that were completed.", ("server",))
        try:
            self._search = search_of(read_text(self._path, LARGEST))
        except (FileError, ValueError) as error:
            if not self._knows:
                raise directive.error(str(error)) from None
        if self._knows and not block.directives(self._knows):
            block.notes.append(str(directive.error(f"has no effect: there is no {self._knows} in this server block")))
        self.same_for_everyone = not any(_verified(each) for each in block.directives(self._knows))
        block.watch(lambda: [self._path], self._read_again, WATCH)

    def audience(self, client: str) -> bytes:
        """The namespace that the client is of, where that is asked."""
        return b"".join([plugin.audience(client) for plugin in self.block.named(self._knows)])

    async def answer(self, query: Query, next: Handler) -> Answer:
        response = await next(query)
        if not isinstance(response, Response) or query.trail:
            return response
        if response.rcode != NXDOMAIN and not is_unanswered(response):
            return response
        search, depends = self._search_list(query)
        response = replace(response, depends=(*response.depends, *depends))
        if not search or not names.is_below(query.name, search[0]) or query.name == search[0]:
            return response
        return await self._completed_by(query, response, search)

    def _search_list(self, query: Query) -> tuple[tuple[str, ...], tuple[Key, ...]]:
        """The search list of whoever asks, none where it is not known or the name is of no zone here; and what it was told from."""
        if not any(names.is_below(query.name, zone) for zone in self._zones):
            return (), ()
        if not self._knows:
            return self._search, (self._key,)
        depends: tuple[Key, ...] = ()
        for plugin in self.block.named(self._knows):
            found, keys = plugin.search_list(query)
            depends += keys
            if found:
                return found + self._search, (*depends, self._key)
        return (), depends

    async def _completed_by(self, query: Query, nothing: Response, search: tuple[str, ...]) -> Answer:
        """What the first name has that exists; `nothing` is what the one asked for has."""
        base = query.name[: -len(search[0])]
        for zone in (*search[1:], "."):
            name = base if zone == "." else base + zone
            if len(name) >= names.MAX_NAME:  # on the wire there is an octet more
                continue
            found = await self.block.lookup(query, name, query.type)
            if not isinstance(found, Response):
                return nothing
            nothing = replace(
                nothing,
                stable_for=min(nothing.stable_for, found.stable_for),
                depends=tuple(dict.fromkeys(nothing.depends + found.depends)),
            )
            if found.rcode == NXDOMAIN or is_unanswered(found):
                continue
            return nothing if found.rcode != NOERROR else self._aliased(query, found, nothing)
        return nothing

    def _aliased(self, query: Query, found: Response, nothing: Response) -> Response:
        """The answer of another name, for the one asked."""
        self._completed.inc()
        alias = tuple(RRset(query.name, CNAME, first.ttl, (names.wire(first.name),)) for first in found.answer[:1])
        return replace(
            found,
            answer=alias + found.answer,
            stable_for=nothing.stable_for,
            depends=nothing.depends,
            made=found.made.counted(self._completed.inc),
        )

    def _read_again(self) -> None:
        """The file has changed; what is wrong with it is logged, and the list before stays."""
        try:
            search = search_of(read_text(self._path, LARGEST))
        except (FileError, ValueError) as error:
            log.warning("the search list stays as it was: %s", error)
            return
        if search != self._search:
            self._search = search
            self.block.forget((self._key,))


def search_of(text: str) -> tuple[str, ...]:
    """The search list of a resolv.conf: its last line `search` or `domain` (resolv.conf(5)); ValueError where that has no names."""
    found: tuple[str, ...] = ()
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word in ("search", "domain"):
            found = tuple(map(names.absolute, rest))
    return tuple(name for name in found if name != ".")


def _verified(kubernetes: Directive) -> bool:
    """Are its Pods known?"""
    return [o.args for o in kubernetes.block if o.name == "pods"][-1:] == [("verified",)]
