"""*page* - shows the server at work to a browser: rates, upstreams, most asked names, search lists, objects, explain.

Description
    It is kdns's own, and off where it does not stand. Open http://localhost:8053/; in a cluster
    `kubectl -n kube-system port-forward POD 8053` first, which reaches a Pod's loopback address. Nothing can be changed by it,
    and nothing of it comes from elsewhere.

    While nobody has it open it costs nothing on hits of the memo. While somebody has, one query in ten milliseconds is looked at
    for the most asked names and clients and for search lists; the counts are those of *prometheus*. What a server block without
    *prometheus* answers is counted where it has *page*. What comes by https:// is counted, and not looked at.

    It concerns the whole process.

    Who may open it sees the names that are asked for, the addresses of those who ask, all Services with their endpoints (those
    that DNS hides, too), and upstreams; and may have a name explained, for which upstreams may be asked. So it listens on a
    loopback address unless told otherwise, where whoever may run programs on the machine, or port-forward, can open it. At
    another address it is for everybody who reaches that: a line in the log says so, and a NetworkPolicy has to keep the others
    out. It is answered where the browser's address is an IP address or localhost, and not to pages of other sites, so
    that no name of a stranger's leads to it.

Syntax
    page [ADDRESS]

    - ADDRESS is where to listen, `localhost:8053` by default.

Metrics
    Those of queries, with *prometheus* in another server block.

Examples
    On http://localhost:8053/:

        . {
            page
            whoami
        }
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from kdns.config.directive import Directive
from kdns.config.options import argument, listen
from kdns.config.values import host_port
from kdns.core.behind import Request
from kdns.core.block import Block
from kdns.core.plugin import Fact, Plugin
from kdns.core.queries import Queries
from kdns.plugins.page.figures import Figures
from kdns.plugins.page.onlooker import Onlooker
from kdns.plugins.page.questions import Questions
from kdns.plugins.page.values import octets_of
from kdns.upstream.tallies import Tallies

FILES = {  # what a browser is given, by path
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}
JSON = "application/json"
Asked = Callable[[Mapping[str, str]], Awaitable[tuple[int, Any]]]  # (status, plain values)


@dataclass(frozen=True)
class Options:
    address: str = argument(listen("localhost:8053"))


class Page(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        super().__init__(block, directive, options)
        self.passed_by = bool(block.directives("prometheus"))  # it counts the same
        self._queries = block.keep("queries", Queries)
        self._onlooker = block.keep("page", Onlooker)
        forwards = any(one.directives("forward") for one in block.all_blocks)
        upstreams = block.keep("forward tallies", lambda: Tallies(block.metrics)) if forwards else None
        figures = Figures(block, self._queries, upstreams, self._onlooker)
        questions = Questions(block)
        for path, (file, kind) in FILES.items():
            block.http(options.address, path, partial(_file, file, kind))
        asked: dict[str, Asked] = {
            "/figures": figures.asked, "/explain": questions.explain, "/objects": questions.objects, "/object": questions.object,
        }  # fmt: skip
        for path, answer in asked.items():
            block.http(options.address, path, partial(_json, answer))
        if not _is_loopback(host_port(options.address)[0]):
            open_to = "is on no loopback address: whoever reaches that sees names, clients and objects"
            block.notes.append(str(directive.error(open_to)))

    def count(self, fact: Fact, times: int, seconds: float) -> None:
        self._queries.count(fact, times, seconds)

    async def run(self) -> None:
        """From now on this generation is the one that is looked at."""
        self._onlooker.serve(self.block.all_blocks)


async def _file(file: str, kind: str, request: Request) -> tuple[int, str, bytes]:
    if why := _stranger(request):
        return 403, "text/plain; charset=utf-8", f"{why}\n".encode()
    return 200, kind, files(__name__).joinpath(file).read_bytes()


async def _json(answer: Asked, request: Request) -> tuple[int, str, bytes]:
    why = _stranger(request) or _elsewhere(request)
    status, values = (403, {"error": why}) if why else await answer(request.query)
    return status, JSON, octets_of(values)


def _stranger(request: Request) -> str:
    """Why it is not answered: a name that leads here may be anybody's, who then could read what is answered (DNS rebinding)."""
    host = request.headers.get("Host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name != "localhost":
            ip_address(name)
    except ValueError:
        return f"'{host}' may be anybody's name: ask by an IP address, or localhost"
    return ""


def _elsewhere(request: Request) -> str:
    """Why it is not answered: a page of another site has a browser ask this."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    return "" if site in ("same-origin", "none") else "a page of another site may not ask this"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
