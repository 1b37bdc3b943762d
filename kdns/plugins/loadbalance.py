"""*loadbalance* - lets answers with several addresses begin with another one each time.

Description
    Most clients use the first address of an answer. `round_robin` turns the addresses: each answer starts one
    further, and the first of them anywhere, so that over many answers every address stands first equally often, in
    replies from the memo too. SRV records turn where not all of them fit a reply, so that each is in some; the order of
    others is what their priorities say. MX records are shuffled. Aliases stand before addresses, as some clients need.

    `weighted` takes one address by chance, as a file weighs them, and puts it first; the others stay as they are.

    `prefer` then moves the addresses within some prefixes to the front.

Syntax
    loadbalance [round_robin | weighted FILE] {
        reload DURATION
        prefer PREFIX...
    }

    - `round_robin` is the default.
    - FILE has lines of a name, and below each name lines of an address and its weight, 1 to 255; an address that is
      not there weighs 1. A line that starts with `#` is a comment. A relative path starts where *root* says.
    - `reload`, with `weighted`, is how often the file is read again, 30s by default; 0s for never. A file that became
      wrong is reported in the log, and the weights stay as they were.
    - `prefer` takes prefixes such as 10.9.20.0/24, the most wanted first.

    Replies that `weighted` made, and those that `prefer` reordered, do not come from the memo.

Metrics
    None.

Examples
    The default:

        . {
            loadbalance
            whoami
        }

    Addresses of one's own network first:

        . {
            loadbalance round_robin {
                prefer 10.9.20.0/24 192.168.1.0/24
            }
            whoami
        }

    By weight, from a file that may come later:

        example.com {
            loadbalance weighted db.example.com.weights {
                reload 10s
            }
            whoami
        }
"""

import logging
import random
from dataclasses import dataclass
from ipaddress import ip_address

from kdns.config.directive import Directive
from kdns.config.options import argument, duration, Network, networks, option
from kdns.core.block import Block
from kdns.core.files import read_text
from kdns.core.plugin import Handler, Known, Plugin
from kdns.dns import names
from kdns.dns.query import Query
from kdns.dns.response import Answer, replace, Response, RRset
from kdns.dns.types import A, AAAA, MX, NOERROR, SRV
from kdns.errors import FileError

log = logging.getLogger(__name__)

ADDRESSES = (A, AAAA)
TURNING = (A, AAAA, SRV)
Section = tuple[RRset, ...]
Weights = dict[tuple[str, bytes], int]  # by owner name and packed address


def _file(o: Directive) -> str:
    """The file of weights; empty for round_robin."""
    if not o.args or o.choice(("round_robin", "weighted"), at=0) == "round_robin":
        o.arguments(0, 1)
        return ""
    return o.arguments(2, 2)[1]


@dataclass(frozen=True)
class Options:
    file: str = argument(_file)
    reload: float | None = option(duration())
    prefer: tuple[Network, ...] = option(networks, (), many=True)

    def __post_init__(self) -> None:
        if self.reload is not None and not self.file:
            raise ValueError("reload is for weighted, which reads a file: take it out")


class LoadBalance(Plugin):
    table = Options
    once = True
    same_for_everyone = True
    told = ()

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        self.prefer = options.prefer
        self.weighted = self._weighted(block, directive, options) if options.file else None

    def _weighted(self, block: Block, directive: Directive, options: Options) -> "Weighted":
        weighted = Weighted(block.path(options.file))
        every = 30.0 if options.reload is None else options.reload
        try:
            weighted.read()
        except (FileError, ValueError) as error:
            if not every or not (isinstance(error, FileError) and error.missing):
                raise directive.error(str(error)) from None
            log.warning("there is no file '%s' yet: all addresses weigh the same", weighted.path)
        if every:
            block.watch(lambda: [weighted.path], weighted.read_again, every)
        return weighted

    async def answer(self, query: Query, next: Handler) -> Answer:
        return self._balanced(query, await next(query))

    def at_once(self, query: Query, next: Known) -> Answer | None:
        response = next(query)
        if not isinstance(response, Response) or not response.answer:
            return response
        return self._balanced(query, response)

    def _balanced(self, query: Query, response: Answer) -> Answer:
        if not isinstance(response, Response):
            return response
        answer = response.answer
        if response.rcode != NOERROR or not answer:
            return response
        if answer[-1].type not in ADDRESSES and any(rrset.type in ADDRESSES for rrset in answer):
            response = replace(response, answer=tuple(sorted(answer, key=lambda rrset: rrset.type in ADDRESSES)))
        response = turned(response) if self.weighted is None else self.weighted.turned(query, response)
        return self.preferred(response) if self.prefer else response

    def preferred(self, response: Response) -> Response:
        """The same with what is preferred first; the octets are then others each time."""
        found = [rrset for rrset in response.answer if rrset.type in ADDRESSES and len(rrset.rdata) > 1]
        if len({self._rank(octets) for rrset in found for octets in rrset.rdata}) < 2:
            return response
        answer = []
        for rrset in response.answer:
            if rrset in found:
                before = _shuffled(rrset).rdata if response.rotate else rrset.rdata
                rrset = rrset._replace(rdata=tuple(sorted(before, key=self._rank)))
            answer.append(rrset)
        return replace(response, answer=tuple(answer), rotate=False, stable_for=0.0)

    def _rank(self, octets: bytes) -> int:
        address = ip_address(octets)
        return next((rank for rank, prefix in enumerate(self.prefer) if address in prefix), len(self.prefer))


def turned(response: Response) -> Response:
    """The same with another address first each time; or, of more SRV records than fit, with others."""
    last = response.answer[-1]
    if last.type in TURNING:
        return replace(response, rotate=True) if len(last.rdata) > 1 else response
    if any(rrset.type == MX and len(rrset.rdata) > 1 for rrset in response.answer):
        shuffled = tuple(_shuffled(rrset) if rrset.type == MX else rrset for rrset in response.answer)
        return replace(response, answer=shuffled, stable_for=0.0)
    return response


class Weighted:
    """The weights of a file, and the choice by them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = ""  # of the file as it was read last
        self.trouble = ""
        self.weights: Weights = {}

    def turned(self, query: Query, response: Response) -> Response:
        """The same with one address, chosen by chance, first; the octets are then others each time."""
        if query.type not in (A, AAAA, SRV):
            return response
        answer, additional = self.first(response.answer), self.first(response.additional)
        if answer is response.answer and additional is response.additional:
            return response
        return replace(response, answer=answer, additional=additional, stable_for=0.0)

    def first(self, section: Section) -> Section:
        """The section with one of its addresses moved to the front of them."""
        places = [(i, j) for i, rrset in enumerate(section) if rrset.type in ADDRESSES for j in range(len(rrset.rdata))]
        if len(places) < 2:
            return section
        weights = [self.weights.get((section[i].name, section[i].rdata[j]), 1) for i, j in places]
        i, j = random.choices(places, weights)[0]
        rrset = section[i]
        taken = rrset._replace(rdata=(rrset.rdata[j], *rrset.rdata[:j], *rrset.rdata[j + 1 :]))
        at = places[0][0]
        others = [other for other in section if other is not rrset]
        return (*others[:at], taken, *others[at:])

    def read(self) -> None:
        """Take the weights from the file; FileError, or ValueError with file and line, where that cannot be."""
        text = read_text(self.path)
        if text != self.text:
            self.text = text
            self.weights = parse_weights(text, self.path)
            log.info("%d weights are read from '%s'", len(self.weights), self.path)

    def read_again(self) -> None:
        """The file has changed; where it is wrong now, that is logged once."""
        try:
            self.read()
            self.trouble = ""
        except (FileError, ValueError) as error:
            if str(error) != self.trouble:
                self.trouble = str(error)
                log.error("the weights stay as they were: %s", error)


def _shuffled(rrset: RRset) -> RRset:
    return rrset._replace(rdata=tuple(random.sample(rrset.rdata, len(rrset.rdata))))


def parse_weights(text: str, path: str) -> Weights:
    """The weights that a file gives; ValueError with file and line where it is wrong."""
    weights: Weights = {}
    owner = ""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if len(words) == 1:
                owner = names.absolute(words[0])
                continue
            if len(words) > 2 or not owner:
                raise ValueError("a line is a name, or below a name an address and its weight")
            if not (words[1].isascii() and words[1].isdigit() and 1 <= int(words[1]) <= 255):
                raise ValueError(f"'{words[1]}' is no weight from 1 to 255")
            weights[owner, names.packed(words[0])] = int(words[1])
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
    return weights
